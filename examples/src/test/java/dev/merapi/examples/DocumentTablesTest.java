// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import dev.merapi.check.OpCheck;
import dev.merapi.ops.Arithmetic;
import java.io.IOException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Tables that go with the sources: properties, the words of other frameworks, and the names of checks. */
final class DocumentTablesTest {
    /** Of Java's own library, in the tables of words. */
    private static final Set<String> JAVA = Set.of("FloatBuffer", "List", "TensorFlow", "CSV");

    // ---------------------------------------------------------------- properties

    @Test
    void propertiesAndVariablesAreInOneTable() throws IOException {
        Set<String> used = new TreeSet<>();
        String java = "\"(merapi(?:\\.[a-zA-Z0-9]+)+|MERAPI_[A-Z0-9_]+|require\\.gpu)\"";
        collect("(\\w|-)+/src/(main|test)/.*", ".*\\.java", java, used);
        collect("(\\w|-)+/src/main/cpp/.*", ".*\\.(cpp|h)", "getenv\\(\"(MERAPI_[A-Z0-9_]+)\"", used);
        collect("scripts/.*", "[a-z-]+(\\.sh)?", "\\$\\{?(MERAPI_[A-Z0-9_]+)", used);
        collect("([a-z-]+/)?pom\\.xml", "pom\\.xml", "<(merapi(?:\\.[a-zA-Z0-9]+)+)>", used);
        collect("([a-z-]+/)?pom\\.xml", "pom\\.xml", "<name>!?(merapi(?:\\.[a-zA-Z0-9]+)+)</name>", used);
        Set<String> told = new TreeSet<>();
        for (List<String> row : Documents.rows("docs/properties.md")) {
            told.addAll(Documents.code(row.get(0)));
        }
        told.remove("name");
        assertThat(told).as("the tables of docs/properties.md").isEqualTo(used);
    }

    private static void collect(String folders, String files, String pattern, Set<String> into) throws IOException {
        Pattern wanted = Pattern.compile(pattern);
        for (Path file : Documents.sources(folders, files)) {
            if (!file.endsWith("DocumentTablesTest.java")) {
                Matcher m = wanted.matcher(Files.readString(file));
                while (m.find()) {
                    into.add(m.group(1));
                }
            }
        }
    }

    @Test
    void artifactsAreOursAndHaveTheVersion() throws IOException {
        Set<String> ours = new TreeSet<>();
        for (Path pom : Documents.sources("[a-z-]+/pom\\.xml", "pom\\.xml")) {
            Matcher m = Pattern.compile("</parent>.*?<artifactId>([\\w-]+)", Pattern.DOTALL)
                    .matcher(Files.readString(pom));
            assertThat(m.find()).as(pom.toString()).isTrue();
            ours.add(m.group(1));
        }
        Matcher own = Pattern.compile("<version>([^<]+)").matcher(Files.readString(Documents.ROOT.resolve("pom.xml")));
        assertThat(own.find()).isTrue();
        Pattern named = Pattern.compile(
                "dev\\.merapi(?:</groupId>\\s*<artifactId>|:)([\\w-]+)(?:(?:</artifactId>\\s*<version>|:)([^<\"]+))?");
        int found = 0;
        for (String document : Documents.all()) {
            Matcher m = named.matcher(Documents.text(document));
            while (m.find()) {
                found++;
                assertThat(ours).as(document).contains(m.group(1));
                assertThat(m.group(2)).as(document + ": " + m.group(1)).isIn(null, own.group(1));
            }
        }
        assertThat(found).isGreaterThan(3);
    }

    // ---------------------------------------------------------------- words

    @Test
    void whatIsNamedExistsAndWhatIsCalledMissingDoesNot() throws Exception {
        Api api = Api.exported();
        List<String> wrong = new ArrayList<>();
        int compared = 0;
        for (String page : List.of("docs/from-pytorch.md", "docs/from-djl.md")) {
            for (List<String> row : Documents.rows(page)) {
                if (row.size() == 3 && "✔~✘".contains(row.get(0)) && !row.get(0).isEmpty()) {
                    compared++;
                    for (String here : Documents.code(row.get(2))) {
                        api.unknown(here).forEach(name -> wrong.add(page + ": there is no " + name + ": " + row));
                    }
                    if (row.get(0).equals("✘")) {
                        for (String there : Documents.code(row.get(1))) {
                            api.sameAs(there)
                                    .forEach(name -> wrong.add(page + ": " + name + " is not missing: " + row));
                        }
                    }
                }
            }
        }
        assertThat(wrong).isEmpty();
        assertThat(compared).isGreaterThan(60);
        assertThat(api.unknown("Tensor.einsumm(x)")).containsExactly("einsumm");
        assertThat(api.sameAs("torch.log_softmax")).containsExactly("log_softmax");
    }

    /** Names of the public classes of exported packages, and of their public and protected methods. */
    private record Api(Set<String> classes, Set<String> methods, Set<String> plain) {
        private static final Pattern NAME = Pattern.compile("[A-Za-z_][A-Za-z0-9_]*\\(?");

        static Api exported() throws IOException, ClassNotFoundException {
            Set<String> classes = new TreeSet<>();
            Set<String> methods = new TreeSet<>();
            for (String module : List.of("core", "native-cpu", "native-cuda")) {
                Path sources = Documents.ROOT.resolve(module + "/src/main/java");
                Matcher exports = Pattern.compile("exports ([\\w.]+);")
                        .matcher(Files.readString(sources.resolve("module-info.java")));
                while (exports.find()) {
                    try (Stream<Path> files =
                            Files.list(sources.resolve(exports.group(1).replace('.', '/')))) {
                        for (Path file : files.filter(f -> f.toString().endsWith(".java"))
                                .toList()) {
                            String name = file.getFileName().toString().replace(".java", "");
                            if (!name.equals("package-info")) {
                                String type = exports.group(1) + "." + name; // looked at only: natives may be missing
                                add(Class.forName(type, false, Api.class.getClassLoader()), classes, methods);
                            }
                        }
                    }
                }
            }
            Set<String> plain = Stream.concat(classes.stream(), methods.stream())
                    .map(Api::plain)
                    .collect(Collectors.toSet());
            return new Api(classes, methods, plain);
        }

        private static void add(Class<?> type, Set<String> classes, Set<String> methods) {
            if (!Modifier.isPublic(type.getModifiers())) {
                return;
            }
            classes.add(type.getSimpleName());
            for (Method m : type.getMethods()) {
                methods.add(m.getName());
            }
            for (Method m : type.getDeclaredMethods()) {
                if (Modifier.isProtected(m.getModifiers())) {
                    methods.add(m.getName());
                }
            }
            for (Class<?> nested : type.getClasses()) {
                add(nested, classes, methods);
            }
        }

        private static String plain(String name) {
            return name.replace("_", "").toLowerCase(Locale.ROOT);
        }

        /** Calls and classes in a piece of code that are nobody's. */
        List<String> unknown(String code) {
            List<String> unknown = new ArrayList<>();
            String text = code.replaceAll("\"[^\"]*\"|-D\\S+|\\b[A-Z]+\\d+\\b|\\b[A-Z][A-Z_]+\\b", "");
            Matcher m = NAME.matcher(text);
            while (m.find()) {
                String name = m.group().replace("(", "");
                boolean call = m.group().endsWith("(");
                boolean type = Character.isUpperCase(name.charAt(0));
                if (type && !classes.contains(name) && !JAVA.contains(name)
                        || call && !type && !methods.contains(name)) {
                    unknown.add(name);
                }
            }
            return unknown;
        }

        /** Names of another framework that are ours, too. Short ones are nobody's in particular. */
        List<String> sameAs(String code) {
            return Pattern.compile("[A-Za-z_][A-Za-z0-9_]{2,}")
                    .matcher(code)
                    .results()
                    .map(r -> r.group())
                    .filter(name -> plain.contains(plain(name)))
                    .toList();
        }
    }

    // ---------------------------------------------------------------- checks

    @Test
    void whatEachCheckMeansIsTold() throws IOException {
        String names = String.valueOf(
                catchThrowable(() -> OpCheck.of(Arithmetic.ADD.op()).only("no such check"))
                        .getMessage());
        Set<String> checks = new TreeSet<>(List.of(
                names.substring(names.indexOf('[') + 1, names.lastIndexOf(']')).split(", ")));
        Set<String> told = new TreeSet<>();
        String page = Documents.text("docs/checking.md");
        String table = page.substring(page.indexOf("## What a failure means"));
        for (String line : table.substring(0, table.indexOf("\n`skip(")).lines().toList()) {
            if (line.startsWith("| `")) {
                told.addAll(Documents.code(line.split("(?<!\\\\)\\|")[1]));
            }
        }
        assertThat(told).isEqualTo(checks);
    }
}
