// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** A program as Java source that can be compiled and run by itself. */
final class JavaPrinter {
    private JavaPrinter() {}

    static String print(Program program, Device device) {
        String body = lines(program);
        StringBuilder text = new StringBuilder();
        for (String name : List.of("autograd", "op", "ops", "tensor", "types")) {
            text.append("import dev.merapi.").append(name).append(".*;\n");
        }
        text.append("import dev.merapi.random.Generator;\nimport dev.merapi.dispatch.Context;\nimport java.util.*;\n");
        text.append("import java.util.concurrent.CompletableFuture;\n\n// seed ")
                .append(program.seed());
        text.append("\npublic class Fuzzed {\n    static final Device DEVICE = Device.of(\"")
                .append(device);
        text.append("\");\n\n    public static void main(String[] args) throws Exception {\n");
        text.append("        Context.current().setGenerator(new Generator(")
                .append(program.seed())
                .append("L));\n");
        text.append("        Deque<AutoCloseable> open = new ArrayDeque<>();\n        open.push(Scope.open());\n");
        text.append(body);
        text.append("        while (!open.isEmpty()) {\n            open.pop().close();\n        }\n    }\n");
        if (body.contains("named(")) {
            text.append("""

                        static Map<String, Object> named(Object... pairs) {
                            Map<String, Object> map = new HashMap<>();
                            for (int i = 0; i < pairs.length; i += 2) {
                                map.put((String) pairs[i], pairs[i + 1]);
                            }
                            return map;
                        }
                    """.replaceAll("(?m)^ {20}", ""));
        }
        if (body.contains("COPYING")) {
            text.append("""

                        static final SavedTensorHooks.Pair COPYING = new SavedTensorHooks.Pair() {
                            public Object pack(Tensor t) {
                                return t.detach().copy();
                            }

                            public Tensor unpack(Object packed) {
                                return ((Tensor) packed).copy();
                            }
                        };
                    """.replaceAll("(?m)^ {20}", ""));
        }
        return text.append("}\n").toString();
    }

    /** The steps alone. */
    static String lines(Program program) {
        StringBuilder text = new StringBuilder();
        int results = 0;
        for (Step s : program.steps()) {
            String call = s.callee().print(arguments(s));
            if (s.callee().isStatement()) {
                text.append("        ").append(call).append(";\n");
            } else if (s.count() == 0) {
                text.append("        var r")
                        .append(results++)
                        .append(" = ")
                        .append(call)
                        .append("; // refused, or nothing\n");
            } else if (s.callee().part(0).isEmpty()) {
                text.append("        Tensor t")
                        .append(s.first())
                        .append(" = ")
                        .append(call)
                        .append(";\n");
            } else {
                int r = results++;
                text.append("        var r")
                        .append(r)
                        .append(" = ")
                        .append(call)
                        .append(";\n");
                for (int i = 0; i < s.count(); i++) {
                    text.append("        Tensor t")
                            .append(s.first() + i)
                            .append(" = r")
                            .append(r);
                    text.append(s.callee().part(i)).append(";\n");
                }
            }
        }
        return text.toString();
    }

    private static List<String> arguments(Step s) {
        List<String> all = new ArrayList<>();
        for (Object a : s.args()) {
            all.add(argument(a));
        }
        return all;
    }

    private static String argument(@Nullable Object a) {
        if (a instanceof Ref r) {
            return r.toString();
        }
        if (a instanceof List<?> list && list.stream().anyMatch(Ref.class::isInstance)) {
            String each = list.stream().map(JavaPrinter::argument).collect(Collectors.joining(", "));
            return list.stream().anyMatch(java.util.Objects::isNull)
                    ? "Arrays.asList(" + each + ")"
                    : "List.of(" + each + ")";
        }
        if (a instanceof List<?> list && list.stream().allMatch(Number.class::isInstance)) {
            return "List.<Number>of(" + list.stream().map(Literals::of).collect(Collectors.joining(", ")) + ")";
        }
        if (a instanceof dev.merapi.autograd.Autograd.Graph g) {
            return "Autograd.Graph." + g.name();
        }
        return Literals.of(a);
    }
}
