// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.SchemaException;
import dev.merapi.op.tree.Plain;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
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
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
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
    private final Argument[] arguments;
    private final int[] tensorArguments; // indices of arguments that can hold tensors
    private final boolean simple; // every one of them is a single tensor
    private final List<String> tensorNames;
    private final int[] oneEach;
    private final boolean ownsAll; // nothing in a value could be changed by its caller
    private static final int FEW = 16;
    private @Nullable MethodHandle tensorReader; // all tensors of a simple record at once; made when calls are many
    private final int[] required; // indices of plain arguments that could be null, and may not
    private @Nullable MethodHandle firstMissing; // made when calls are many
    private int calls;
    private final MethodHandles.@Nullable Lookup lookup;

    private Schema(RecordType record, Argument[] arguments, MethodHandles.@Nullable Lookup lookup) {
        this.record = record;
        this.arguments = arguments;
        this.lookup = lookup;
        int[] indices = new int[arguments.length];
        int n = 0;
        boolean allSingle = true;
        for (int i = 0; i < arguments.length; i++) {
            if (arguments[i].kind != Kind.PLAIN) {
                indices[n++] = i;
                allSingle &= arguments[i].kind == Kind.TENSOR && !isOptionalWrapper(i);
            }
        }
        this.tensorArguments = Arrays.copyOf(indices, n);
        this.simple = allSingle;
        this.tensorNames =
                Arrays.stream(tensorArguments).mapToObj(i -> arguments[i].name).toList();
        this.oneEach = new int[n];
        Arrays.fill(oneEach, 1);
        this.ownsAll = IntStream.range(0, arguments.length)
                .noneMatch(i -> arguments[i].kind != Kind.TENSOR && record.mayChange(i));
        this.required = IntStream.range(0, arguments.length)
                .filter(i -> arguments[i].kind == Kind.PLAIN
                        && !arguments[i].optional
                        && !record.component(i).getType().isPrimitive())
                .toArray();
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
        Argument[] arguments = new Argument[record.size()];
        List<Class<?>> path = new ArrayList<>(within);
        path.add(type);
        for (int i = 0; i < arguments.length; i++) {
            arguments[i] = argument(type, record.component(i), lookup, path);
        }
        Schema made = new Schema(record, arguments, lookup);
        if (lookup == null) {
            PUBLIC.putIfAbsent(type, made);
        }
        return made;
    }

    private static Argument argument(
            Class<?> owner, RecordComponent c, MethodHandles.@Nullable Lookup lookup, List<Class<?>> within) {
        AnnotatedType annotated = c.getAnnotatedType();
        boolean optional = isNullable(annotated);
        Type type = c.getGenericType();
        if (c.getType() == Optional.class && type instanceof ParameterizedType p) {
            optional = true;
            type = p.getActualTypeArguments()[0];
        }
        Class<?> raw = raw(type);
        if (raw == Tensor.class) {
            return new Argument(c.getName(), Kind.TENSOR, optional, false, "Tensor");
        }
        if (raw == List.class && type instanceof ParameterizedType p) {
            Class<?> element = raw(p.getActualTypeArguments()[0]);
            boolean optionalElements = annotated instanceof AnnotatedParameterizedType ap
                    && isNullable(ap.getAnnotatedActualTypeArguments()[0]);
            if (element == Tensor.class) {
                return new Argument(
                        c.getName(),
                        Kind.TENSORS,
                        optional,
                        optionalElements,
                        optionalElements ? "Tensor?[]" : "Tensor[]");
            }
            if (plainName(element) != null) {
                return new Argument(c.getName(), Kind.PLAIN, optional, false, plainName(element) + "[]");
            }
        }
        String plain = plainName(raw);
        if (plain != null) {
            return new Argument(c.getName(), Kind.PLAIN, optional, false, plain);
        }
        if (raw.isRecord()) {
            if (within.contains(raw)) {
                throw new SchemaException("schema of " + owner.getSimpleName() + ": component " + c.getName()
                        + " is of the record " + raw.getSimpleName() + ", which " + owner.getSimpleName()
                        + " is a part of\n  fix: arguments have a fixed depth; use lists.");
            }
            Schema nested = of(raw.asSubclass(Record.class), lookup, within);
            return new Argument(c.getName(), Kind.RECORD, optional, false, nested.argumentText());
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

    private static boolean isNullable(AnnotatedType type) {
        return Arrays.stream(type.getAnnotations())
                .anyMatch(a -> a.annotationType().getSimpleName().equals("Nullable"));
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
        return Collections.unmodifiableList(Arrays.asList(arguments));
    }

    /**
     * Position of an argument, or −1.
     *
     * @param name of an argument
     * @return from 0
     */
    public int indexOf(String name) {
        for (int i = 0; i < arguments.length; i++) {
            if (arguments[i].name.equals(name)) {
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
                if (result[i] == null && !arguments[tensorArguments[i]].optional) {
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

    /** The first of the required arguments that is absent; −1 for none. */
    private int firstMissing(Record args) {
        if (calls >= FEW) {
            firstMissing = record.firstNull(required);
        }
        calls++;
        for (int i : required) {
            if (Plain.isAbsent(record.get(args, i))) {
                return i;
            }
        }
        return -1;
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
        if (required.length > 0) {
            MethodHandle handle = firstMissing;
            int missing = handle != null ? RecordType.readIndex(handle, args) : firstMissing(args);
            if (missing >= 0) {
                if (record.get(args, missing) instanceof List<?> list) {
                    throw missing(op, missing, list.indexOf(null));
                }
                throw missing(op, missing);
            }
        }
    }

    private void collect(String op, int argument, @Nullable Object given, List<@Nullable Tensor> into) {
        Argument a = arguments[argument];
        Object value = given instanceof Optional<?> o ? o.orElse(null) : given;
        if (value == null && !a.optional) {
            throw missing(op, argument);
        }
        if (a.kind == Kind.TENSORS) {
            if (value instanceof List<?> list) {
                for (int k = 0; k < list.size(); k++) {
                    Object element = list.get(k);
                    if (element == null && !a.optionalElements) {
                        throw missing(op, argument, k);
                    }
                    into.add((Tensor) element);
                }
            }
        } else if (a.kind == Kind.RECORD) {
            if (value != null) {
                into.addAll(Arrays.asList(nested(value).tensors(op, (Record) value)));
            }
        } else {
            into.add((Tensor) value);
        }
    }

    private SchemaException missing(String op, int argument, int element) {
        return new SchemaException(op + ": element " + element + " of argument '" + arguments[argument].name
                + "' is null\n  schema: " + argumentText() + "\n  fix: pass a value.");
    }

    private SchemaException missing(String op, int argument) {
        return new SchemaException(op + ": argument '" + arguments[argument].name + "' is null, but it is required"
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
            values[i] = arguments[i].kind == Kind.PLAIN ? value : rebuilt(arguments[i], value, tensors, next);
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
            values[i] = arguments[i].kind == Kind.RECORD && value instanceof Record r
                    ? nested(r).own(r)
                    : arguments[i].kind == Kind.RECORD && value instanceof Optional<?> o
                            ? o.map(r -> nested(r).own((Record) r))
                            : Plain.own(value);
        }
        return (A) record.make(values);
    }

    private @Nullable Object rebuilt(Argument a, @Nullable Object value, @Nullable Tensor[] tensors, int[] next) {
        if (value instanceof Optional<?> o) {
            return Optional.ofNullable(rebuilt(a, o.orElse(null), tensors, next));
        }
        if (a.kind == Kind.TENSORS) {
            if (value == null) {
                return null;
            }
            int n = ((List<?>) value).size();
            List<@Nullable Tensor> list = Arrays.asList(Arrays.copyOfRange(tensors, next[0], next[0] + n));
            next[0] += n;
            return Collections.unmodifiableList(list);
        }
        if (a.kind == Kind.RECORD) {
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
            if (arguments[i].kind == Kind.TENSOR && !arguments[i].optional) {
                return true;
            }
        }
        return false;
    }

    Argument tensorArgument(int i) {
        return arguments[tensorArguments[i]];
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
        for (int i = 0; i < arguments.length; i++) {
            Argument a = arguments[i];
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
