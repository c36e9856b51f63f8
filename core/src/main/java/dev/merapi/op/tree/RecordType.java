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
    private static final String BUILT_IN = "dev.merapi.ops";
    private static final MethodType READER = MethodType.methodType(Object.class, Record.class);
    private static final MethodType MAKER = MethodType.methodType(Object.class, Object[].class);

    private final Class<?> type;
    private final RecordComponent[] components;
    private final MethodHandles.Lookup lookup;
    // Made at their first use: most components are not read at first, nor are most records rebuilt, and handles are
    // what
    // starting up is spent on.
    private final @Nullable MethodHandle[] readers;
    private @Nullable MethodHandle allReader;
    private @Nullable MethodHandle maker;
    private boolean @Nullable [] mayHoldTensors;

    private RecordType(Class<?> type, MethodHandles.Lookup lookup) throws IllegalAccessException {
        this.type = type;
        this.lookup = lookup;
        lookup.accessClass(type); // what is read of it is public
        this.components = type.getRecordComponents();
        this.readers = new MethodHandle[components.length];
    }

    /**
     * The parts of a record class.
     *
     * @param lookup who may read it; null for the public, or ourselves if it is of a built-in op
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
            made = new RecordType(type, lookup == null ? reader(type) : lookupIn(type, lookup));
        } catch (IllegalAccessException e) {
            throw unreadable(type, e);
        }
        KNOWN.putIfAbsent(type, made);
        return KNOWN.getOrDefault(type, made);
    }

    /** Who reads a record if nobody says so: the public, and we ourselves what the built-in ops keep for backward. */
    private static MethodHandles.Lookup reader(Class<?> type) throws IllegalAccessException {
        boolean ours = type.getModule() == RecordType.class.getModule()
                && type.getPackageName().equals(BUILT_IN);
        return ours ? MethodHandles.privateLookupIn(type, MethodHandles.lookup()) : MethodHandles.publicLookup();
    }

    private static SchemaException unreadable(Class<?> type, ReflectiveOperationException why) {
        return new SchemaException("record " + type.getName() + " cannot be read by the engine: " + why.getMessage()
                + "\n  fix: make it public in an exported package, or define the op with"
                + " Op.define(MethodHandles.lookup(), …).");
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

    private MethodHandle reader(int i) {
        MethodHandle known = readers[i];
        if (known != null) {
            return known;
        }
        MethodType accessor = MethodType.methodType(components[i].getType());
        try {
            MethodHandle made = lookup.findVirtual(type, name(i), accessor).asType(READER);
            readers[i] = made;
            return made;
        } catch (IllegalAccessException | NoSuchMethodException e) {
            throw unreadable(type, e);
        }
    }

    /** Reads one component. */
    public @Nullable Object get(Record value, int i) {
        MethodHandle reader = readers[i];
        if (reader == null) {
            reader = reader(i);
        }
        try {
            return (Object) reader.invokeExact(value);
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
        return !Plain.isKnown(components[i].getType());
    }

    /** Whether component {@code i} can have a tensor in it. */
    public boolean mayHoldTensors(int i) {
        boolean[] known = mayHoldTensors;
        if (known == null) {
            known = new boolean[components.length];
            for (int k = 0; k < known.length; k++) {
                known[k] = mayHoldTensors(components[k].getGenericType());
            }
            mayHoldTensors = known;
        }
        return known[i];
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
            each[i] = reader(indices[i]).asType(MethodType.methodType(element, Record.class));
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
        MethodHandle isNull;
        try {
            isNull = MethodHandles.lookup()
                    .findStatic(Plain.class, "isAbsent", MethodType.methodType(boolean.class, Object.class));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
        MethodHandle next = MethodHandles.dropArguments(MethodHandles.constant(int.class, -1), 0, Record.class);
        for (int i = indices.length - 1; i >= 0; i--) {
            MethodHandle value = reader(indices[i]).asType(MethodType.methodType(Object.class, Record.class));
            next = MethodHandles.guardWithTest(
                    MethodHandles.filterReturnValue(value, isNull),
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

    private MethodHandle maker() {
        Class<?>[] types = new Class<?>[components.length];
        for (int i = 0; i < types.length; i++) {
            types[i] = components[i].getType();
        }
        try {
            return lookup.findConstructor(type, MethodType.methodType(void.class, types))
                    .asSpreader(Object[].class, types.length)
                    .asType(MAKER);
        } catch (IllegalAccessException | NoSuchMethodException e) {
            throw unreadable(type, e);
        }
    }

    /** Makes a new value. Exceptions of the record's constructor come through. */
    public Record make(@Nullable Object[] values) {
        MethodHandle make = maker;
        if (make == null) {
            make = maker();
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
