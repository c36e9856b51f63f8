// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op.tree;

import dev.merapi.error.SchemaException;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A record class, taken apart once: readers of its components and its canonical constructor. Values of it are then read
 * and rebuilt without reflection.
 */
public final class RecordType {
    private static final Map<Class<?>, RecordType> KNOWN = new ConcurrentHashMap<>();
    private static final MethodType READER = MethodType.methodType(Object.class, Record.class);
    private static final MethodType MAKER = MethodType.methodType(Object.class, Object[].class);

    private static final MethodHandle IS_NULL;

    static {
        try {
            IS_NULL = MethodHandles.lookup()
                    .findStatic(Plain.class, "isAbsent", MethodType.methodType(boolean.class, Object.class));
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Class<?> type;
    private final RecordComponent[] components;
    private final MethodHandle[] readers;
    private final MethodHandle constructor;
    // Made at their first use: most records are never rebuilt, and handles are what starting up is spent on.
    private @Nullable MethodHandle allReader;
    private @Nullable MethodHandle maker;
    private final boolean[] mayHoldTensors;
    private final boolean[] mayChange;

    private RecordType(Class<?> type, MethodHandles.Lookup lookup)
            throws IllegalAccessException, NoSuchMethodException {
        this.type = type;
        this.components = type.getRecordComponents();
        this.readers = new MethodHandle[components.length];
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            readers[i] = lookup.findVirtual(type, components[i].getName(), MethodType.methodType(types[i]))
                    .asType(READER);
        }
        mayHoldTensors = new boolean[components.length];
        mayChange = new boolean[components.length];
        for (int i = 0; i < components.length; i++) {
            mayChange[i] = !Plain.isKnown(types[i]);
            mayHoldTensors[i] = mayHoldTensors(components[i].getGenericType());
        }
        constructor = lookup.findConstructor(type, MethodType.methodType(void.class, types));
    }

    /**
     * The parts of a record class.
     *
     * @param lookup who may read it; null for the public
     * @throws SchemaException if it is no record, or may not be read
     */
    public static RecordType of(Class<?> type, MethodHandles.@Nullable Lookup lookup) {
        RecordType known = KNOWN.get(type);
        if (known != null) {
            return known;
        }
        if (!type.isRecord()) {
            throw new SchemaException(type.getName() + " is not a record");
        }
        RecordType made;
        try {
            made = new RecordType(type, lookup == null ? MethodHandles.publicLookup() : lookupIn(type, lookup));
        } catch (IllegalAccessException | NoSuchMethodException e) {
            throw new SchemaException("record " + type.getName() + " cannot be read by the engine: " + e.getMessage()
                    + "\n  fix: make it public in an exported package, or define the op with"
                    + " Op.define(MethodHandles.lookup(), …).");
        }
        KNOWN.putIfAbsent(type, made);
        return KNOWN.getOrDefault(type, made);
    }

    private static MethodHandles.Lookup lookupIn(Class<?> type, MethodHandles.Lookup lookup) {
        try {
            return MethodHandles.privateLookupIn(type, lookup);
        } catch (IllegalAccessException e) {
            return lookup;
        }
    }

    public Class<?> type() {
        return type;
    }

    public int size() {
        return components.length;
    }

    public RecordComponent component(int i) {
        return components[i];
    }

    public String name(int i) {
        return components[i].getName();
    }

    /** Reads one component. */
    public @Nullable Object get(Record value, int i) {
        try {
            return (Object) readers[i].invokeExact(value);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new SchemaException("record " + type.getName() + ": reading " + name(i) + " failed: " + e);
        }
    }

    /** False only for types that are known to be plain: a walk over a tree need not look there. */
    private static boolean mayHoldTensors(Type type) {
        if (type instanceof ParameterizedType p && p.getRawType() == List.class) {
            return mayHoldTensors(p.getActualTypeArguments()[0]);
        }
        if (!(type instanceof Class<?> c)) {
            return true;
        }
        if (c.isArray()) {
            return mayHoldTensors(c.getComponentType());
        }
        return !Plain.isKnown(c);
    }

    /** Whether component {@code i} is an array, or something else that its owner could change. */
    public boolean mayChange(int i) {
        return mayChange[i];
    }

    /** Whether component {@code i} can have a tensor in it. */
    public boolean mayHoldTensors(int i) {
        return mayHoldTensors[i];
    }

    /** All components. */
    @Nullable
    public Object[] values(Record value) {
        MethodHandle reader = allReader;
        if (reader == null) {
            int[] indices = new int[components.length];
            Arrays.setAll(indices, i -> i);
            reader = arrayReader(Object.class, indices);
            allReader = reader;
        }
        return (Object[]) read(reader, value);
    }

    /** Reads these components, all of one class, into an array: what the engine does on every call, in one step. */
    public MethodHandle arrayReader(Class<?> element, int[] indices) {
        MethodHandle[] each = new MethodHandle[indices.length];
        for (int i = 0; i < each.length; i++) {
            each[i] = readers[indices[i]].asType(MethodType.methodType(element, Record.class));
        }
        MethodHandle collector =
                MethodHandles.identity(element.arrayType()).asCollector(element.arrayType(), each.length);
        MethodHandle filtered = MethodHandles.filterArguments(collector, 0, each);
        return MethodHandles.permuteArguments(
                        filtered, MethodType.methodType(element.arrayType(), Record.class), new int[each.length])
                .asType(READER);
    }

    /** Which of these components is the first that is null, or a list with null in it; −1 for none. */
    public MethodHandle firstNull(int[] indices) {
        MethodHandle next = MethodHandles.dropArguments(MethodHandles.constant(int.class, -1), 0, Record.class);
        for (int i = indices.length - 1; i >= 0; i--) {
            MethodHandle value = readers[indices[i]].asType(MethodType.methodType(Object.class, Record.class));
            next = MethodHandles.guardWithTest(
                    MethodHandles.filterReturnValue(value, IS_NULL),
                    MethodHandles.dropArguments(MethodHandles.constant(int.class, indices[i]), 0, Record.class),
                    next);
        }
        return next;
    }

    /** Applies what {@link #firstNull} made. */
    public static int readIndex(MethodHandle reader, Record value) {
        try {
            return (int) reader.invokeExact(value);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new SchemaException("record " + value.getClass().getName() + ": reading it failed: " + e);
        }
    }

    /** Applies what {@link #arrayReader} made. */
    public static Object read(MethodHandle reader, Record value) {
        try {
            return (Object) reader.invokeExact(value);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new SchemaException("record " + value.getClass().getName() + ": reading it failed: " + e);
        }
    }

    /** Makes a new value. Exceptions of the record's constructor come through. */
    public Record make(@Nullable Object[] values) {
        MethodHandle make = maker;
        if (make == null) {
            make = constructor.asSpreader(Object[].class, components.length).asType(MAKER);
            maker = make;
        }
        try {
            return (Record) (Object) make.invokeExact(values);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new SchemaException("record " + type.getName() + ": its constructor failed: " + e);
        }
    }
}
