// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** What the documents say is true: each program in them compiles and runs, and each path that they name exists. */
final class DocumentationTest {
    private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
    private static final List<String> DOCUMENTS = List.of(
            "README.md",
            "ARCHITECTURE.md",
            "CONTRIBUTING.md",
            "docs/simulator.md",
            "docs/custom-kernels.md",
            "docs/checking.md",
            "docs/forward-mode.md",
            "docs/layers.md");
    private static final Pattern PROGRAM = Pattern.compile("```java\\n// file: ([^\\n]+)\\n(.*?)```", Pattern.DOTALL);
    private static final Pattern CLASS_NAME = Pattern.compile("public (?:final )?class (\\w+)");
    private static final Pattern NAMED_PATH = Pattern.compile(
            "`((?:core|testkit|native-cpu|native-cuda|examples|" + "benchmarks|scripts|docs)(?:/[\\w./-]+)?)`");

    @TempDir
    Path folder;

    @TestFactory
    Stream<DynamicTest> programsRun() throws IOException {
        List<DynamicTest> tests = new ArrayList<>();
        for (String document : DOCUMENTS) {
            Matcher m = PROGRAM.matcher(Files.readString(ROOT.resolve(document)));
            while (m.find()) {
                String title = m.group(1);
                String source = m.group(2);
                tests.add(DynamicTest.dynamicTest(document + ": " + title, () -> compileAndRun(source)));
            }
        }
        assertThat(tests).as("programs in the documents").hasSizeGreaterThanOrEqualTo(2);
        return tests.stream();
    }

    private void compileAndRun(String source) throws Exception {
        Matcher name = CLASS_NAME.matcher(source);
        assertThat(name.find()).as("a public class in the program").isTrue();
        Path file = Files.createDirectories(folder.resolve(name.group(1))).resolve(name.group(1) + ".java");
        Files.writeString(file, source);
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter problems = new StringWriter();
        boolean compiled = compiler.getTask(
                        problems,
                        null,
                        null,
                        List.of("-proc:none", "-d", file.getParent().toString(), "-cp", classPath()),
                        null,
                        compiler.getStandardFileManager(null, null, null).getJavaFileObjects(file))
                .call();
        assertThat(compiled).as(problems.toString()).isTrue();
        if (source.contains("@Test")) {
            return; // a test class: JUnit's to run
        }
        URL[] urls = {file.getParent().toUri().toURL()};
        try (URLClassLoader loader = new URLClassLoader(urls, DocumentationTest.class.getClassLoader())) {
            Method main = loader.loadClass(name.group(1)).getMethod("main", String[].class);
            main.invoke(null, (Object) new String[0]);
        }
    }

    /** Both paths: under the module system the engine stands on the module path. */
    private static String classPath() {
        return System.getProperty("java.class.path")
                + java.io.File.pathSeparator
                + System.getProperty("jdk.module.path", "");
    }

    @TestFactory
    Stream<DynamicTest> namedPathsExist() throws IOException {
        List<DynamicTest> tests = new ArrayList<>();
        for (String document : DOCUMENTS) {
            Matcher m = NAMED_PATH.matcher(Files.readString(ROOT.resolve(document)));
            while (m.find()) {
                String path = m.group(1);
                tests.add(DynamicTest.dynamicTest(
                        document + ": " + path,
                        () -> assertThat(ROOT.resolve(path)).exists()));
            }
        }
        assertThat(tests).isNotEmpty();
        return tests.stream();
    }
}
