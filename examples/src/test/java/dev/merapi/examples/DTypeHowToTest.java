// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.source.util.JavacTask;
import dev.merapi.types.DType;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/**
 * What ARCHITECTURE.md says of a new dtype: its table names each file that has something for each dtype, they all have it
 * for those that are there, and what it says that the compiler finds, the compiler finds.
 */
@Tag("once")
class DTypeHowToTest {
    private static final Path TOP = Path.of("..");
    private static final String NAMED = "javac names it";

    /** The dtypes that a row is about, as the table calls them. */
    private static final Map<String, Predicate<DType>> KINDS = Map.of(
            "all", d -> true,
            "floats", DType::isFloating,
            "floats below float64", d -> d.isFloating() && d.byteSize() < 8,
            "integers", DType::isIntegral,
            "narrow integers", d -> d.isIntegral() && d.byteSize() < 4,
            "16-bit floats, narrow integers", d -> d.byteSize() < 4 && d != DType.BOOL,
            "all but 16-bit floats", d -> !d.isFloating() || d.byteSize() > 2,
            "wider than a byte", d -> d.byteSize() > 1);

    private record Row(Path file, String kind, String what) {}

    private static List<Row> table() throws IOException {
        String text = Files.readString(TOP.resolve("ARCHITECTURE.md"));
        Matcher m = Pattern.compile("(?m)^\\| `([\\w./-]+)` \\| ([^|]+) \\| ([^|]+) \\|$")
                .matcher(text.substring(text.indexOf("**A dtype**")));
        List<Row> rows = new ArrayList<>();
        while (m.find()) {
            rows.add(new Row(TOP.resolve(m.group(1)), m.group(2), m.group(3)));
        }
        assertThat(rows).hasSizeGreaterThan(15);
        return rows;
    }

    @Test
    void eachPlaceHasEachDType() throws IOException {
        List<String> missing = new ArrayList<>();
        for (Row row : table()) {
            assertThat(KINDS).as(row.toString()).containsKey(row.kind);
            String text = Files.readString(row.file);
            for (DType d : DType.values()) {
                if (KINDS.get(row.kind).test(d) && !mentions(row.file, text, d)) {
                    missing.add(d + " in " + row.file);
                }
            }
        }
        assertThat(missing).isEmpty();
    }

    /** By the constant in Java, by the short name in C++, by the type of an operand in CUDA; or by what wraps integers. */
    private static boolean mentions(Path file, String text, DType d) {
        String s = d.shortName();
        String name = file.toString();
        if (name.endsWith(".java")) {
            return word(d.name(), text) || word("WRAP" + s.toUpperCase(Locale.ROOT), text);
        }
        if (name.endsWith(".cuh")) {
            String type = Map.of("f32", "float", "f64", "double", "i32", "int", "bool", "b8")
                    .getOrDefault(s, s);
            return text.contains("(" + type + " x)");
        }
        String id = d == DType.BOOL ? "boolean" : s;
        return word("Storage::" + id, text) || text.contains("X(" + id + ",") || text.contains("\"wrap" + s + "\"");
    }

    private static boolean word(String word, String text) {
        return Pattern.compile("\\b" + word + "\\b").matcher(text).find();
    }

    /** A file that tells dtypes apart is one that a new dtype comes to. */
    @Test
    void eachFileThatTellsDTypesApartIsInTheTable() throws IOException {
        Set<String> listed =
                table().stream().map(r -> TOP.relativize(r.file).toString()).collect(Collectors.toSet());
        Map<String, Set<String>> apart = new TreeMap<>();
        for (String module : List.of("core", "native-cpu", "native-cuda")) {
            try (Stream<Path> files = Files.walk(TOP.resolve(module).resolve("src/main"))) {
                for (Path file : files.filter(f -> f.toString().matches(".*\\.(java|h|cpp|cuh)"))
                        .toList()) {
                    Set<String> cases = cases(Files.readString(file));
                    if (cases.size() >= 3) {
                        apart.put(TOP.relativize(file).toString(), cases);
                    }
                }
            }
        }
        assertThat(apart).hasSizeGreaterThan(10);
        apart.keySet().removeAll(listed);
        assertThat(apart).as("files with a case for each of some dtypes").isEmpty();
    }

    private static Set<String> cases(String text) {
        Set<String> found = new HashSet<>();
        Set<String> names = Stream.of(DType.values()).map(DType::name).collect(Collectors.toSet());
        Matcher m = Pattern.compile("case Storage::(\\w+):|case ([\\w, ]+?) *(?:->|:)")
                .matcher(text);
        while (m.find()) {
            if (m.group(1) != null) {
                found.add(m.group(1)); // in C++
            } else {
                Stream.of(m.group(2).split(","))
                        .map(String::trim)
                        .filter(names::contains)
                        .forEach(found::add);
            }
        }
        return found;
    }

    /** A copy of the table of dtypes with one more, and what javac says of those who tell them apart. */
    @Test
    void theCompilerNamesWhatTheTableSays() throws Exception {
        Path own = TOP.resolve("core/src/main/java/dev/merapi/types/DType.java");
        String longer = Files.readString(own)
                .replaceFirst("(?m)^    INT32\\(", "    NEW(2, \"new\", false, UINT8),\n    INT32(");
        assertThat(longer).contains("NEW(2");
        Map<String, Row> rows = new LinkedHashMap<>();
        for (Row row : table()) {
            boolean alone = row.what.contains(NAMED) || row.file.startsWith(TOP.resolve("core"));
            if (alone && row.file.toString().endsWith(".java") && !row.file.equals(own)) {
                rows.put(row.file.getFileName().toString(), row);
            }
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        try (StandardJavaFileManager manager = compiler.getStandardFileManager(said, null, null)) {
            List<JavaFileObject> units = new ArrayList<>();
            manager.getJavaFileObjectsFromPaths(
                            rows.values().stream().map(Row::file).toList())
                    .forEach(units::add);
            units.add(
                    new SimpleJavaFileObject(
                            URI.create("string:///dev/merapi/types/DType.java"), JavaFileObject.Kind.SOURCE) {
                        @Override
                        public CharSequence getCharContent(boolean ignoreErrors) {
                            return longer;
                        }
                    });
            String path = place(DType.class) + File.pathSeparator + place(Nullable.class);
            List<String> options = List.of(
                    "-XDshould-stop.ifError=FLOW", "-proc:none", "-implicit:none", "-nowarn", "-classpath", path);
            ((JavacTask) compiler.getTask(null, manager, said, options, null, units)).analyze();
        }
        Set<String> named = new TreeSet<>();
        said.getDiagnostics().stream()
                .filter(d -> d.getCode().startsWith("compiler.err.not.exhaustive") && d.getSource() != null)
                .forEach(d ->
                        named.add(Path.of(d.getSource().getName()).getFileName().toString()));
        Set<String> told = rows.values().stream()
                .filter(r -> r.what.contains(NAMED))
                .map(r -> r.file.getFileName().toString())
                .collect(Collectors.toCollection(TreeSet::new));
        assertThat(named).as("%s", said.getDiagnostics()).isEqualTo(told).isNotEmpty();
    }

    private static String place(Class<?> type) throws Exception {
        CodeSource source = Objects.requireNonNull(type.getProtectionDomain().getCodeSource());
        return Path.of(source.getLocation().toURI()).toString();
    }
}
