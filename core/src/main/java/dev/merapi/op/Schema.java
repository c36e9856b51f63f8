// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.SchemaException;
import dev.merapi.op.tree.Plain;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.lang.annotation.Annotation;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.AnnotatedParameterizedType;
import java.lang.reflect.AnnotatedType;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The arguments of an op as its record declares them, and the way to reach the tensors in a record value.
 *
 * <p>Allowed components: {@code Tensor}, {@code long}, {@code int}, {@code double}, {@code boolean}, {@code String},
 * {@code DType}, {@code Device}, {@code Number} (a scalar that keeps whether it is integral), enums, {@code long[]},
 * {@code int[]}, {@code double[]}, lists of those, {@code @Nullable} or {@code Optional} of those, lists of optional
 * tensors, and nested records of all this. A component that is not nullable may not be null.
 */
public final class Schema {
    private static final Map<Class<?>, Schema> PUBLIC = new ConcurrentHashMap<>();
    private static final Map<Class<?>, Schema> NESTED = new ConcurrentHashMap<>();

    /** How tensors stand in a component. */
    public enum Kind {
        /** No tensors in it: a number, flag, text, dtype, enum, shape, or list of such. */
        PLAIN,
        /** One tensor. */
        TENSOR,
        /** A list of tensors. */
        TENSORS,
        /** A record with tensors in it. */
        RECORD
    }

    /**
     * One argument.
     *
     * @param name the component's name
     * @param kind whether and how tensors are in it
     * @param optional whether the argument as a whole may be absent
     * @param optionalElements whether single tensors of a list may be absent
     * @param type what schema texts call it, such as {@code float[]} or {@code Tensor?[]}
     */
    public record Argument(String name, Kind kind, boolean optional, boolean optionalElements, String type) {}

    private final RecordType record;
    private final Kind[] kinds;
    // Made when they are asked for, or something is null: annotations are what starting up would be spent on.
    private final @Nullable Argument[] arguments;
    private final int[] tensorArguments; // indices of arguments that can hold tensors
    private final boolean simple; // every one of them is a single tensor
    private final List<String> tensorNames;
    private final int[] oneEach;
    private final boolean ownsAll; // nothing in a value could be changed by its caller
    private static final int FEW = 16;
    private @Nullable MethodHandle tensorReader; // all tensors of a simple record at once; made when calls are many
    private volatile int[]
            required; // indices of plain arguments that could be null; once one was, of those that may not
    private @Nullable MethodHandle firstAbsent; // made when calls are many
    private int calls;
    private final MethodHandles.@Nullable Lookup lookup;

    private Schema(RecordType record, Kind[] kinds, MethodHandles.@Nullable Lookup lookup) {
        this.record = record;
        this.kinds = kinds;
        this.arguments = new Argument[kinds.length];
        this.lookup = lookup;
        int[] holding = new int[kinds.length];
        int[] plain = new int[kinds.length];
        List<String> names = new ArrayList<>(kinds.length);
        int references = 0;
        boolean allSingle = true;
        boolean owns = true;
        for (int i = 0; i < kinds.length; i++) {
            owns &= kinds[i] == Kind.TENSOR || !record.mayChange(i);
            if (kinds[i] != Kind.PLAIN) {
                holding[names.size()] = i;
                names.add(record.name(i));
                allSingle &= kinds[i] == Kind.TENSOR && !isOptionalWrapper(i);
            } else if (!record.component(i).getType().isPrimitive()) {
                plain[references++] = i;
            }
        }
        this.tensorArguments = Arrays.copyOf(holding, names.size());
        this.simple = allSingle;
        this.tensorNames = List.copyOf(names);
        this.oneEach = new int[names.size()];
        Arrays.fill(oneEach, 1);
        this.ownsAll = owns;
        this.required = Arrays.copyOf(plain, references);
    }

    private boolean isOptionalWrapper(int i) {
        return record.component(i).getType() == Optional.class;
    }

    /**
     * Takes a record class apart.
     *
     * @param type the class
     * @param lookup who may read it; null for the public
     * @return a schema
     * @throws SchemaException naming the component and the allowed types if one is of another type
     */
    public static Schema of(Class<? extends Record> type, MethodHandles.@Nullable Lookup lookup) {
        return of(type, lookup, List.of());
    }

    /** @param within the records that this one is a part of */
    private static Schema of(
            Class<? extends Record> type, MethodHandles.@Nullable Lookup lookup, List<Class<?>> within) {
        Schema known = lookup == null ? PUBLIC.get(type) : null;
        if (known != null) {
            return known;
        }
        RecordType record = RecordType.of(type, lookup);
        Kind[] kinds = new Kind[record.size()];
        List<Class<?>> path = new ArrayList<>(within);
        path.add(type);
        for (int i = 0; i < kinds.length; i++) {
            kinds[i] = kind(type, record.component(i), lookup, path);
        }
        Schema made = new Schema(record, kinds, lookup);
        if (lookup == null) {
            PUBLIC.putIfAbsent(type, made);
        }
        return made;
    }

    private static Kind kind(
            Class<?> owner, RecordComponent c, MethodHandles.@Nullable Lookup lookup, List<Class<?>> within) {
        Type type = declared(c);
        Class<?> raw = raw(type);
        Class<?> element = element(type);
        if (raw == Tensor.class) {
            return Kind.TENSOR;
        }
        if (element == Tensor.class) {
            return Kind.TENSORS;
        }
        if (plainName(raw) != null || element != null && plainName(element) != null) {
            return Kind.PLAIN;
        }
        if (raw.isRecord()) {
            if (within.contains(raw)) {
                throw new SchemaException("schema of " + owner.getSimpleName() + ": component " + c.getName()
                        + " is of the record " + raw.getSimpleName() + ", which " + owner.getSimpleName()
                        + " is a part of\n  fix: arguments have a fixed depth; use lists.");
            }
            of(raw.asSubclass(Record.class), lookup, within);
            return Kind.RECORD;
        }
        throw new SchemaException("schema of " + owner.getSimpleName() + ": component " + c.getName()
                + " has the unsupported type " + c.getGenericType().getTypeName()
                + "\n  allowed: Tensor, long, int, double, boolean, String, DType, Device, Number, enums, lists of those,"
                + " long[], int[], double[], @Nullable or Optional of those, and records of those"
                + (raw.isArray() && plainName(raw.getComponentType()) != null
                        ? "\n  fix: use List<"
                                + MethodType.methodType(raw.getComponentType())
                                        .wrap()
                                        .returnType()
                                        .getSimpleName() + ">."
                        : ""));
    }

    /** What is declared, or what it is an optional of. */
    private static Type declared(RecordComponent c) {
        Type type = c.getGenericType();
        return c.getType() == Optional.class && type instanceof ParameterizedType p
                ? p.getActualTypeArguments()[0]
                : type;
    }

    /** Of what it is a list; null if it is none. */
    private static @Nullable Class<?> element(Type type) {
        return type instanceof ParameterizedType p && p.getRawType() == List.class
                ? raw(p.getActualTypeArguments()[0])
                : null;
    }

    private Argument argument(int i) {
        Argument known = arguments[i];
        if (known == null) {
            known = made(i);
            arguments[i] = known;
        }
        return known;
    }

    private Argument made(int i) {
        RecordComponent c = record.component(i);
        AnnotatedType annotated = c.getAnnotatedType();
        Type type = declared(c);
        Class<?> element = element(type);
        boolean optionalElements = kinds[i] == Kind.TENSORS
                && annotated instanceof AnnotatedParameterizedType p
                && isNullable(p.getAnnotatedActualTypeArguments()[0]);
        String text = switch (kinds[i]) {
            case TENSOR -> "Tensor";
            case TENSORS -> optionalElements ? "Tensor?[]" : "Tensor[]";
            case RECORD -> of(raw(type).asSubclass(Record.class), lookup).argumentText();
            case PLAIN -> element == null ? plainName(raw(type)) : plainName(element) + "[]";
        };
        return new Argument(
                c.getName(),
                kinds[i],
                isOptionalWrapper(i) || isNullable(annotated),
                optionalElements,
                Objects.requireNonNull(text));
    }

    private static boolean isNullable(AnnotatedType type) {
        for (Annotation a : type.getAnnotations()) {
            if (a.annotationType().getSimpleName().equals("Nullable")) {
                return true;
            }
        }
        return false;
    }

    private static Class<?> raw(Type type) {
        if (type instanceof Class<?> c) {
            return c;
        }
        if (type instanceof ParameterizedType p) {
            return (Class<?>) p.getRawType();
        }
        return Object.class;
    }

    private static @Nullable String plainName(Class<?> type) {
        if (type == long.class || type == Long.class || type == int.class || type == Integer.class) {
            return "int";
        }
        if (type == double.class || type == Double.class) {
            return "float";
        }
        if (type == boolean.class || type == Boolean.class) {
            return "bool";
        }
        if (type == String.class) {
            return "str";
        }
        if (type == Number.class) {
            return "Scalar";
        }
        if (type == DType.class || type == Device.class) {
            return type.getSimpleName();
        }
        if (type == long[].class || type == int[].class) {
            return "int[]";
        }
        if (type == double[].class) {
            return "float[]";
        }
        return type.isEnum() ? type.getSimpleName() : null;
    }

    /** {@return the record of the arguments} */
    public Class<?> type() {
        return record.type();
    }

    RecordType record() {
        return record;
    }

    MethodHandles.@Nullable Lookup lookup() {
        return lookup;
    }

    /** {@return all arguments, in the order of the record's components} */
    public List<Argument> arguments() {
        Argument[] all = new Argument[kinds.length];
        Arrays.setAll(all, this::argument);
        return Collections.unmodifiableList(Arrays.asList(all));
    }

    /**
     * Position of an argument, or −1.
     *
     * @param name of an argument
     * @return from 0
     */
    public int indexOf(String name) {
        for (int i = 0; i < kinds.length; i++) {
            if (record.name(i).equals(name)) {
                return i;
            }
        }
        return -1;
    }

    /**
     * The names that a gradient may be given for, in order.
     *
     * @return of arguments that are a tensor, a list of tensors, or a record of them
     */
    public List<String> tensorNames() {
        return tensorNames;
    }

    /**
     * All tensors of a value in order, lists and records flattened; absent ones are null, so slots are stable.
     *
     * @param op its name, for messages
     * @param args a record of this class
     * @return a new array
     */
    public @Nullable Tensor[] tensors(String op, Record args) {
        if (args instanceof Slotted slotted) {
            Tensor[] slots = slotted.slots();
            if (slots != null) {
                return slots;
            }
        }
        requirePlain(op, args);
        if (simple) {
            MethodHandle reader = tensorReader;
            @Nullable Tensor[] result = reader != null ? (Tensor[]) RecordType.read(reader, args) : firstTensors(args);
            for (int i = 0; i < result.length; i++) {
                if (result[i] == null && !argument(tensorArguments[i]).optional) {
                    throw missing(op, tensorArguments[i]);
                }
            }
            return result;
        }
        List<@Nullable Tensor> all = new ArrayList<>(8);
        for (int i : tensorArguments) {
            collect(op, i, record.get(args, i), all);
        }
        return all.toArray(new Tensor[0]);
    }

    /** One by one, as long as calls are few: to put a reader of all together takes as long as many calls, at each start. */
    private @Nullable Tensor[] firstTensors(Record args) {
        if (calls >= FEW) {
            tensorReader = record.arrayReader(Tensor.class, tensorArguments);
        }
        calls++; // racy on purpose
        @Nullable Tensor[] result = new Tensor[tensorArguments.length];
        for (int i = 0; i < result.length; i++) {
            result[i] = (Tensor) record.get(args, tensorArguments[i]);
        }
        return result;
    }

    /** The first of these arguments that is absent; −1 for none. */
    private int firstAbsent(Record args, int[] of) {
        if (calls >= FEW) {
            firstAbsent = record.firstNull(of);
        }
        calls++;
        for (int i : of) {
            if (Plain.isAbsent(record.get(args, i))) {
                return i;
            }
        }
        return -1;
    }

    /** Something is absent. That may be; then it is not looked at any more, and so only now it is read what may be. */
    private void requireAllOf(String op, Record args) {
        int[] needed = new int[kinds.length];
        int n = 0;
        for (int i : required) {
            if (!argument(i).optional) {
                needed[n++] = i;
            }
        }
        required = Arrays.copyOf(needed, n);
        firstAbsent = null;
        for (int i : required) {
            Object value = record.get(args, i);
            if (Plain.isAbsent(value)) {
                throw value instanceof List<?> list ? missing(op, i, list.indexOf(null)) : missing(op, i);
            }
        }
    }

    /**
     * Whether all is there that must be, but for tensors, which {@link #tensors} looks at.
     *
     * @param op its name, for messages
     * @param args a record of this class
     * @throws SchemaException if the arguments are null, or one is that is not a tensor and not optional
     */
    @SuppressWarnings("NullAway") // a caller may be from code that is not checked for null
    public void requirePlain(String op, Record args) {
        if (args == null) {
            throw new SchemaException(op + ": the arguments are null\n  schema: " + argumentText());
        }
        int[] some = required;
        if (some.length > 0) {
            MethodHandle handle = firstAbsent;
            int absent = handle != null ? RecordType.readIndex(handle, args) : firstAbsent(args, some);
            if (absent >= 0) {
                requireAllOf(op, args);
            }
        }
    }

    private void collect(String op, int argument, @Nullable Object given, List<@Nullable Tensor> into) {
        Kind kind = kinds[argument];
        Object value = given instanceof Optional<?> o ? o.orElse(null) : given;
        if (value == null && !argument(argument).optional) {
            throw missing(op, argument);
        }
        if (kind == Kind.TENSORS) {
            if (value instanceof List<?> list) {
                for (int k = 0; k < list.size(); k++) {
                    Object element = list.get(k);
                    if (element == null && !argument(argument).optionalElements) {
                        throw missing(op, argument, k);
                    }
                    into.add((Tensor) element);
                }
            }
        } else if (kind == Kind.RECORD) {
            if (value != null) {
                into.addAll(Arrays.asList(nested(value).tensors(op, (Record) value)));
            }
        } else {
            into.add((Tensor) value);
        }
    }

    private SchemaException missing(String op, int argument, int element) {
        return new SchemaException(op + ": element " + element + " of argument '" + record.name(argument)
                + "' is null\n  schema: " + argumentText() + "\n  fix: pass a value.");
    }

    private SchemaException missing(String op, int argument) {
        return new SchemaException(op + ": argument '" + record.name(argument) + "' is null, but it is required"
                + "\n  schema: " + argumentText()
                + "\n  fix: pass a value, or declare the component @Nullable.");
    }

    /**
     * The value with its tensors replaced, in the order of {@link #tensors}.
     *
     * @param <A> the record
     * @param args a record of this class
     * @param tensors one for each slot
     * @return a new record, or the same if nothing changed
     */
    @SuppressWarnings("unchecked")
    public <A extends Record> A rebuild(A args, @Nullable Tensor[] tensors) {
        int[] next = {0};
        Object[] values = new Object[record.size()];
        for (int i = 0; i < values.length; i++) {
            Object value = record.get(args, i);
            values[i] = kinds[i] == Kind.PLAIN ? value : rebuilt(kinds[i], value, tensors, next);
        }
        return (A) record.make(values);
    }

    /**
     * The same value for one who keeps it beyond the call: what the caller could change later is copied.
     *
     * @param <A> the record
     * @param args a record of this class
     * @return a new record, or the same if nothing could change
     */
    public <A extends Record> A own(A args) {
        return ownsAll ? args : owned(args);
    }

    @SuppressWarnings("unchecked")
    private <A extends Record> A owned(A args) {
        @Nullable Object[] values = record.values(args);
        for (int i = 0; i < values.length; i++) {
            Object value = values[i];
            values[i] = kinds[i] == Kind.RECORD && value instanceof Record r
                    ? nested(r).own(r)
                    : kinds[i] == Kind.RECORD && value instanceof Optional<?> o
                            ? o.map(r -> nested(r).own((Record) r))
                            : Plain.own(value);
        }
        return (A) record.make(values);
    }

    private @Nullable Object rebuilt(Kind kind, @Nullable Object value, @Nullable Tensor[] tensors, int[] next) {
        if (value instanceof Optional<?> o) {
            return Optional.ofNullable(rebuilt(kind, o.orElse(null), tensors, next));
        }
        if (kind == Kind.TENSORS) {
            if (value == null) {
                return null;
            }
            int n = ((List<?>) value).size();
            List<@Nullable Tensor> list = Arrays.asList(Arrays.copyOfRange(tensors, next[0], next[0] + n));
            next[0] += n;
            return Collections.unmodifiableList(list);
        }
        if (kind == Kind.RECORD) {
            if (value == null) {
                return null;
            }
            Schema nested = nested(value);
            int n = nested.tensors("rebuild", (Record) value).length;
            Record result = nested.rebuild((Record) value, Arrays.copyOfRange(tensors, next[0], next[0] + n));
            next[0] += n;
            return result;
        }
        return tensors[next[0]++];
    }

    /** How many slots of {@link #tensors} each tensor argument takes in this value, in order of {@link #tensorNames}. */
    int[] slotCounts(String op, Record args) {
        if (simple) {
            return oneEach; // for reading only
        }
        int[] counts = new int[tensorArguments.length];
        for (int i = 0; i < counts.length; i++) {
            Object value = record.get(args, tensorArguments[i]);
            counts[i] = value instanceof Tensor
                    ? 1
                    : value instanceof List<?> list ? list.size() : slots(op, tensorArguments[i], value);
        }
        return counts;
    }

    private int slots(String op, int argument, @Nullable Object value) {
        List<@Nullable Tensor> part = new ArrayList<>();
        collect(op, argument, value, part);
        return part.size();
    }

    /** The schema of a record within a record, of its own class; worked out once. */
    private Schema nested(Object value) {
        return NESTED.computeIfAbsent(value.getClass(), type -> of(type.asSubclass(Record.class), lookup));
    }

    /** Whether the tensor at {@code slot} may be absent. */
    boolean isOptional(int[] slotCounts, int slot) {
        int end = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            end += slotCounts[i];
            if (slot < end) {
                Argument a = tensorArgument(i);
                return a.kind == Kind.TENSOR ? a.optional : a.optionalElements;
            }
        }
        return false;
    }

    /** As {@link #tensors}, of a record in which any tensor may be absent. */
    @Nullable
    Tensor[] sparse(Record value, int[] slotCounts) {
        List<@Nullable Tensor> all = new ArrayList<>(8);
        for (int i = 0; i < slotCounts.length; i++) {
            Object part = record.get(value, tensorArguments[i]);
            for (int k = 0; k < slotCounts[i]; k++) {
                all.add(part instanceof List<?> list ? (Tensor) list.get(k) : (Tensor) part);
            }
        }
        return all.toArray(new Tensor[0]);
    }

    /** What messages call a slot of {@link #tensors}: {@code x}, or of a list or record {@code tensors[2]}. */
    String slotName(int[] slotCounts, int slot) {
        int first = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            if (slot < first + slotCounts[i]) {
                Argument a = tensorArgument(i);
                return a.kind == Kind.TENSOR ? a.name : a.name + "[" + (slot - first) + "]";
            }
            first += slotCounts[i];
        }
        throw new IndexOutOfBoundsException("slot " + slot + " of " + first);
    }

    /** Index among all arguments of tensor argument {@code i}. */
    int tensorIndex(int i) {
        return tensorArguments[i];
    }

    /** True if no call is without a tensor. */
    boolean hasRequiredTensor() {
        for (int i : tensorArguments) {
            if (kinds[i] == Kind.TENSOR && !argument(i).optional) {
                return true;
            }
        }
        return false;
    }

    Argument tensorArgument(int i) {
        return argument(tensorArguments[i]);
    }

    boolean isSimple() {
        return simple;
    }

    /**
     * {@code (Tensor x, float slope)}.
     *
     * @return text for people
     */
    public String argumentText() {
        return text(Map.of(), Map.of());
    }

    /**
     * With marks and defaults, and lists whose elements have names written out.
     *
     * @param elements by the name of a list, the names of its elements
     */
    String text(Map<String, ?> marks, Map<String, List<String>> elements) {
        StringBuilder s = new StringBuilder("(");
        for (int i = 0; i < kinds.length; i++) {
            Argument a = argument(i);
            String type = a.type;
            List<String> named = elements.get(a.name);
            if (named != null) {
                String element = type.replace("[]", "");
                named.forEach(n -> s.append(s.length() == 1 ? "" : ", ").append(element + " " + n));
                continue;
            }
            Object mark = marks.get(a.name);
            if (mark == Mark.MUTATED) {
                type = type.replaceFirst("Tensor", "Tensor(a" + i + "!)");
            }
            s.append(s.length() == 1 ? "" : ", ")
                    .append(type)
                    .append(a.optional ? "? " : " ")
                    .append(a.name);
            if (mark != null && mark != Mark.MUTATED) {
                s.append('=').append(defaultText(mark));
            }
        }
        return s.append(')').toString();
    }

    enum Mark {
        MUTATED
    }

    private static String defaultText(Object value) {
        if (value == Definition.ABSENT) {
            return "None";
        }
        if (value.getClass().isArray()) {
            String inArray = Arrays.deepToString(new Object[] {value});
            return inArray.substring(1, inArray.length() - 1);
        }
        return value instanceof String || value instanceof Device ? "\"" + value + "\"" : String.valueOf(value);
    }
}
