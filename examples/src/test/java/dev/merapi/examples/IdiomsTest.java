// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.io.File;
import java.io.IOException;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every line of docs/pytorch-idioms.md compiles, and has the value that PyTorch found for its left side, which {@code
 * idioms.py} wrote to idioms.txt. Lines without such a value are compiled only.
 */
final class IdiomsTest {
    private static final String PAGE = "docs/pytorch-idioms.md";
    private static final int LEAST = 150;
    private static final double NEAR = 2e-5;

    @TempDir
    static Path folder;

    private static final Map<String, String> LINES = new LinkedHashMap<>();
    private static final Map<String, String> VALUES = new LinkedHashMap<>();
    private static @Nullable URLClassLoader loader;

    @BeforeAll
    static void compile() throws IOException {
        StringBuilder code = new StringBuilder();
        for (String name : List.of(
                "Merapi",
                "autograd.*",
                "autograd.Autograd.*",
                "cpu.Cpu",
                "data.*",
                "device.*",
                "io.*",
                "nn.*",
                "op.*",
                "ops.*",
                "ops.Losses.Reduction",
                "ops.Recurrent.Cell",
                "ops.Scattering.Reduce",
                "optim.*",
                "random.*",
                "tensor.*",
                "train.*",
                "types.*")) {
            code.append("import dev.merapi.").append(name).append(";\n");
        }
        code.append("import static dev.merapi.tensor.Index.*;\nimport java.nio.file.*;\nimport java.util.*;\n");
        code.append("public class Idioms {\n");
        for (List<String> row : Documents.rows(PAGE)) {
            List<String> cells = row.stream()
                    .map(cell -> Documents.code(cell).stream().findFirst().orElse(""))
                    .toList();
            if (cells.size() == 3) {
                code.append("  final var_ ".replace("var_", type(cells.get(2))))
                        .append(cells.get(0))
                        .append(" = ")
                        .append(cells.get(2))
                        .append(";\n");
            } else if (cells.size() == 2) {
                String here = cells.get(1);
                boolean statement = here.endsWith(";") || here.endsWith("}");
                code.append("  public Object line").append(LINES.size()).append("() throws Exception {\n    ");
                code.append(statement ? here + "\n    return x;" : returned(here))
                        .append("\n  }\n");
                assertThat(LINES.put(cells.get(0), here)).as(cells.get(0)).isNull();
            }
        }
        Path file = Files.writeString(folder.resolve("Idioms.java"), code.append("}\n"));
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter problems = new StringWriter();
        boolean compiled = compiler.getTask(
                        problems,
                        null,
                        null,
                        List.of("-proc:none", "-nowarn", "-d", folder.toString(), "-cp", classPath()),
                        null,
                        compiler.getStandardFileManager(null, null, null).getJavaFileObjects(file))
                .call();
        assertThat(compiled).as(problems.toString()).isTrue();
        loader = new URLClassLoader(new URL[] {folder.toUri().toURL()}, IdiomsTest.class.getClassLoader());
        try (var in = Objects.requireNonNull(IdiomsTest.class.getResourceAsStream("idioms.txt"))) {
            new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().forEach(line -> {
                int tab = line.indexOf('\t');
                VALUES.put(line.substring(0, tab), line.substring(tab + 1));
            });
        }
    }

    /** A call that returns nothing is an expression there all the same. */
    private static String returned(String code) {
        return code.matches("(Merapi|Cpu|Safetensors\\.save|Npy\\.save).*")
                ? code + "; return x;"
                : "return " + code + ";";
    }

    private static String type(String definition) {
        return definition.startsWith("new ")
                ? definition.substring(4, definition.indexOf('('))
                : definition.startsWith("Path") ? "Path" : "Tensor";
    }

    private static String classPath() {
        return System.getProperty("java.class.path") + File.pathSeparator + System.getProperty("jdk.module.path", "");
    }

    @AfterAll
    static void close() throws IOException {
        if (loader != null) {
            loader.close();
        }
    }

    @Test
    void thereAreManyAndPyTorchWasAskedForEach() {
        assertThat(LINES).hasSizeGreaterThanOrEqualTo(LEAST);
        assertThat(VALUES.keySet())
                .as("lines of idioms.txt, which idioms.py writes")
                .isEqualTo(LINES.keySet());
    }

    @TestFactory
    Stream<DynamicTest> linesHaveTheValuesOfPyTorch() {
        List<String> all = new ArrayList<>(LINES.keySet());
        return all.stream()
                .filter(code -> !VALUES.getOrDefault(code, "-").equals("-"))
                .map(code ->
                        dynamicTest(code, () -> compare(all.indexOf(code), Objects.requireNonNull(VALUES.get(code)))));
    }

    private static void compare(int line, String expected) throws Exception {
        try (Scope scope = Scope.open()) {
            Class<?> idioms = Objects.requireNonNull(loader).loadClass("Idioms");
            Object found;
            try {
                found = idioms.getMethod("line" + line)
                        .invoke(idioms.getDeclaredConstructor().newInstance());
            } catch (InvocationTargetException e) {
                throw new AssertionError(e.getCause());
            }
            String[] parts = expected.split(" ; ");
            List<Object> values = parts(found);
            assertThat(values).as(expected).hasSize(parts.length);
            for (int i = 0; i < parts.length; i++) {
                near(values.get(i), parts[i]);
            }
        }
    }

    private static List<Object> parts(@Nullable Object found) throws ReflectiveOperationException {
        if (found instanceof List<?> list) {
            return new ArrayList<>(list);
        }
        if (found instanceof Record record && !(found instanceof Shape)) {
            List<Object> parts = new ArrayList<>();
            for (RecordComponent c : record.getClass().getRecordComponents()) {
                parts.add(c.getAccessor().invoke(record));
            }
            return parts;
        }
        return List.of(Objects.requireNonNull(found));
    }

    private static void near(Object found, String expected) {
        int split = expected.indexOf(" = ");
        if (split < 0) {
            assertThat(found.toString()).isEqualTo(expected);
            return;
        }
        if (found instanceof Tensor t) {
            String sizes = Arrays.toString(t.shape().toArray()).replaceAll("[\\[\\] ]", "");
            assertThat(sizes.isEmpty() ? "-" : sizes).isEqualTo(expected.substring(0, split));
        }
        String text = expected.substring(split + 3);
        double[] wanted = text.isEmpty()
                ? new double[0]
                : Arrays.stream(text.split(" "))
                        .mapToDouble(n ->
                                Double.parseDouble(n.replace("inf", "Infinity").replace("nan", "NaN")))
                        .toArray();
        double[] actual = numbers(found);
        assertThat(actual).hasSameSizeAs(wanted);
        double largest = Arrays.stream(wanted)
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
        for (int i = 0; i < wanted.length; i++) {
            assertThat(Double.compare(actual[i], wanted[i]) == 0
                            || Math.abs(actual[i] - wanted[i]) <= NEAR * Math.max(1, largest))
                    .as("element %d: %s instead of %s", i, actual[i], wanted[i])
                    .isTrue();
        }
    }

    private static double[] numbers(Object found) {
        if (found instanceof Tensor t) {
            return t.detach().toDoubleArray();
        } else if (found instanceof Shape shape) {
            return Arrays.stream(shape.toArray()).asDoubleStream().toArray();
        } else if (found instanceof float[] floats) {
            return Tensor.of(floats).toDoubleArray();
        } else if (found instanceof Boolean yes) {
            return new double[] {yes ? 1 : 0};
        } else if (found instanceof Number number) {
            return new double[] {number.doubleValue()};
        }
        throw new AssertionError("a value of " + found.getClass());
    }
}
