// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.op.Schema;
import dev.merapi.op.Site;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** A Java program that runs the checks that failed, on the sample that they failed on. */
final class Reproducer {
    /** Elements of a tensor that are printed; a method of Java holds some more. */
    private static final long PRINTED = 4000;

    private static final String PROGRAM = """
            import dev.merapi.check.OpCheck;
            import dev.merapi.op.Op;
            import dev.merapi.op.OpRegistry;
            import dev.merapi.tensor.Tensor;
            import dev.merapi.types.DType;
            import dev.merapi.types.Device;
            import java.lang.reflect.Constructor;
            import java.lang.reflect.Field;
            import java.util.Arrays;
            import java.util.LinkedHashMap;
            import java.util.Map;
            import java.util.Optional;

            /** Fails as %s did: %s. */
            public class Reproduce {
                public static void main(String[] none) throws Exception {
            %s        Map<String, Object> arguments = new LinkedHashMap<>();
            %s        check(op, arguments);
                }

                static <A extends Record, R> void check(Op<A, R> op, Map<String, Object> arguments) {
                    OpCheck.of(op).samples(op.arguments(arguments)).seed(%dL)%s.run().orThrow();
                }
            %s%s}
            """;

    private static final String OF_RECORDS = """

                static Object make(String type, Object... values) throws Exception {
                    Constructor<?> constructor = Class.forName(type).getDeclaredConstructors()[0];
                    constructor.setAccessible(true);
                    return constructor.newInstance(values);
                }
            """;

    private static final String OF_ENUMS = """

                @SuppressWarnings({"unchecked", "rawtypes"})
                static Object constant(String type, String name) throws Exception {
                    return Enum.valueOf((Class) Class.forName(type), name);
                }
            """;

    private final StringBuilder tensors = new StringBuilder();
    private int count;
    private boolean records;
    private boolean enums;

    private Reproducer() {}

    /** @param options calls of {@code OpCheck} that the failure may hang on */
    static <A extends Record> String program(Op<A, ?> op, A sample, List<String> failed, long seed, String options) {
        Reproducer printer = new Reproducer();
        StringBuilder arguments = new StringBuilder();
        for (Schema.Argument a : op.schema().arguments()) {
            Object value = RecordType.of(op.schema().type(), null)
                    .get(sample, op.schema().indexOf(a.name()));
            arguments.append("        arguments.put(\"" + a.name() + "\", " + printer.value(value) + ");\n");
        }
        String only = failed.stream().map(Reproducer::quoted).collect(Collectors.joining(", ", ".only(", ")"));
        return PROGRAM.formatted(
                op.name(),
                String.join(", ", failed),
                findOp(op),
                arguments,
                seed,
                options + only,
                printer.tensors,
                (printer.records ? OF_RECORDS : "") + (printer.enums ? OF_ENUMS : ""));
    }

    // ---------------------------------------------------------------- the op

    private static String findOp(Op<?, ?> op) {
        Site site = op.definedAt();
        int dot = site.method().lastIndexOf('.');
        String type = dot < 0 ? "" : site.method().substring(0, dot);
        String field = field(type, op);
        if (field != null) {
            return "        Field field = Class.forName(\"" + type + "\").getDeclaredField(\"" + field + "\");\n"
                    + "        field.setAccessible(true);\n"
                    + "        Op<?, ?> op = (Op<?, ?>) field.get(null);\n";
        }
        boolean registered = OpRegistry.all().contains(op);
        if (registered && site.method().endsWith(".<clinit>")) {
            return "        Class.forName(\"" + type + "\"); // which registers the op\n"
                    + "        Op<?, ?> op = OpRegistry.get(\"" + op.name() + "\");\n";
        }
        return "        // The op is made at " + site + ", in " + site.method()
                + (registered
                        ? ": call what makes it here.\n        Op<?, ?> op = OpRegistry.get(\"" + op.name() + "\");\n"
                        : ", is not registered and in no static field of its class: put it here.\n"
                                + "        Op<?, ?> op = null;\n");
    }

    /** The static field of a class that holds the op; null if there is none that can be seen. */
    private static @Nullable String field(String type, Op<?, ?> op) {
        try {
            Class<?> owner = Class.forName(type, false, Thread.currentThread().getContextClassLoader());
            for (Field f : owner.getDeclaredFields()) {
                if (Modifier.isStatic(f.getModifiers()) && f.getType() == Op.class && f.trySetAccessible()) {
                    if (f.get(null) == op) {
                        return f.getName();
                    }
                }
            }
        } catch (ClassNotFoundException | IllegalAccessException | LinkageError | SecurityException e) {
            return null; // of another class loader, or not open to us: by its name, then
        }
        return null;
    }

    // ---------------------------------------------------------------- arguments

    private String value(@Nullable Object value) {
        if (value == null) {
            return "null";
        }
        if (value instanceof Tensor t) {
            return tensor(t);
        }
        if (value instanceof Optional<?> o) {
            return o.isEmpty() ? "Optional.empty()" : "Optional.of(" + value(o.get()) + ")";
        }
        if (value instanceof List<?> list) {
            return list.stream().map(this::value).collect(Collectors.joining(", ", "Arrays.asList(", ")"));
        }
        if (value instanceof Record record) {
            records = true;
            return Stream.of(record.getClass().getRecordComponents())
                    .map(c -> value(component(record, c.getAccessor())))
                    .collect(Collectors.joining(
                            ", ", "make(\"" + record.getClass().getName() + "\", ", ")"));
        }
        return plain(value);
    }

    private static @Nullable Object component(Record record, java.lang.reflect.Method accessor) {
        try {
            accessor.trySetAccessible();
            return accessor.invoke(record);
        } catch (ReflectiveOperationException e) {
            return null;
        }
    }

    private String plain(Object value) {
        if (value instanceof DType d) {
            return "DType." + d.name();
        }
        if (value instanceof Device d) {
            return "Device.of(" + quoted(d.toString()) + ")";
        }
        if (value instanceof Enum<?> e) {
            enums = true;
            return "constant(\"" + e.getDeclaringClass().getName() + "\", \"" + e.name() + "\")";
        }
        if (value instanceof String s) {
            return quoted(s);
        }
        if (value instanceof long[] a) {
            return "new long[] {"
                    + java.util.Arrays.stream(a).mapToObj(x -> x + "L").collect(Collectors.joining(", ")) + "}";
        }
        if (value instanceof int[] a) {
            return "new int[] {"
                    + java.util.Arrays.stream(a).mapToObj(String::valueOf).collect(Collectors.joining(", ")) + "}";
        }
        if (value instanceof double[] a) {
            return "new double[] {" + numbers(a) + "}";
        }
        if (value instanceof Double d) {
            return number(d);
        }
        if (value instanceof Float f) {
            return "(float) " + number(f);
        }
        return value instanceof Long ? value + "L" : value.toString();
    }

    /** A method that makes the tensor, and a call of it. */
    private String tensor(Tensor t) {
        String name = "tensor" + count++;
        long n = t.numel();
        String shape = java.util.Arrays.stream(t.shape().toArray())
                .mapToObj(s -> s + "L")
                .collect(Collectors.joining(", ", "new long[] {", "}"));
        String values;
        if (n > PRINTED) {
            values = "new java.util.SplittableRandom(1).doubles(" + n + ", 0.5, 2).toArray()";
        } else if (t.dtype().isFloating()) {
            values = "new double[] {" + numbers(t.toDoubleArray()) + "}";
        } else {
            values = "new long[] {"
                    + java.util.Arrays.stream(t.toLongArray())
                            .mapToObj(x -> x + "L")
                            .collect(Collectors.joining(", ")) + "}";
        }
        tensors.append("\n    /** ")
                .append(t.describe())
                .append(n > PRINTED ? ", of which the values are not printed: these are others" : "")
                .append(" */\n    static Tensor ")
                .append(name)
                .append("() {\n        return Tensor.of(")
                .append(values)
                .append(", ")
                .append(shape)
                .append(")\n                .to(DType.")
                .append(t.dtype().name())
                .append(")")
                .append(
                        t.device() == Device.CPU
                                ? ""
                                : ".to(Device.of(" + quoted(t.device().toString()) + "))")
                .append(".detach()")
                .append(t.requiresGrad() ? ".requiresGrad(true)" : "")
                .append(";\n    }\n");
        return name + "()";
    }

    private static String numbers(double[] values) {
        return java.util.Arrays.stream(values).mapToObj(Reproducer::number).collect(Collectors.joining(", "));
    }

    private static String number(double d) {
        return Double.isNaN(d)
                ? "Double.NaN"
                : Double.isInfinite(d) ? (d > 0 ? "Double.POSITIVE_INFINITY" : "Double.NEGATIVE_INFINITY") : "" + d;
    }

    private static String quoted(String s) {
        return "\"" + s.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + "\"";
    }
}
