// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.examples.Documents.Block;
import dev.merapi.tensor.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * What the documents say is true: every Java program in them compiles and runs, and prints what they say it prints. Classes
 * of all documents are compiled in one go, so no two have one name.
 */
final class DocumentationTest {
    private static final Pattern CLASS_NAME = Pattern.compile("public (?:final )?class (\\w+)");
    private static final String PRINTS = "prints";
    private static final String NEEDS_NATIVES = "needs: native kernels";

    @TempDir
    static Path folder;

    private static final Map<Block, String> CLASSES = new LinkedHashMap<>();
    private static final Map<Block, Block> PRINTED = new LinkedHashMap<>();
    private static final List<Block> IN_CPP = new ArrayList<>();
    private static URLClassLoader loader;

    @BeforeAll
    static void compile() throws IOException {
        List<Path> files = new ArrayList<>();
        for (String document : Documents.all()) {
            Block header = null;
            Block last = null;
            for (Block block : Documents.blocks(document)) {
                switch (block.language()) {
                    case "cpp" -> header = block;
                    case "java" -> {
                        if (block.text().startsWith("module ")) {
                            continue; // the module strangers has such an application
                        }
                        Matcher name = CLASS_NAME.matcher(block.text());
                        assertThat(!block.title().isEmpty() && name.find())
                                .as(block + " begins with '// file:', and has a public class")
                                .isTrue();
                        files.add(write(document.replace('/', '_') + "/" + name.group(1) + ".java", block.text()));
                        CLASSES.put(block, name.group(1));
                        if (header != null) {
                            write("cpp/" + header.title(), header.text());
                            IN_CPP.add(block);
                            header = null;
                        }
                        last = block;
                    }
                    default -> {
                        if (block.remark().equals(PRINTS)) {
                            PRINTED.put(java.util.Objects.requireNonNull(last), block);
                        }
                    }
                }
            }
        }
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter problems = new StringWriter();
        Path classes = Files.createDirectories(folder.resolve("classes"));
        boolean compiled = compiler.getTask(
                        problems,
                        null,
                        null,
                        List.of("-proc:none", "-nowarn", "-d", classes.toString(), "-cp", classPath()),
                        null,
                        compiler.getStandardFileManager(null, null, null).getJavaFileObjectsFromPaths(files))
                .call();
        assertThat(compiled).as(problems.toString()).isTrue();
        loader = new URLClassLoader(new URL[] {classes.toUri().toURL()}, DocumentationTest.class.getClassLoader());
    }

    private static Path write(String name, String text) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(java.util.Objects.requireNonNull(file.getParent()));
        return Files.writeString(file, text);
    }

    @AfterAll
    static void close() throws IOException {
        loader.close();
    }

    @TestFactory
    Stream<DynamicTest> programsRun() {
        return CLASSES.entrySet().stream()
                .filter(e -> !IN_CPP.contains(e.getKey()))
                .filter(e -> !e.getKey().text().contains("@Test")) // JUnit's to run
                .map(e -> DynamicTest.dynamicTest(
                        e.getKey().toString(), () -> requirePrinted(e.getKey(), run(e.getKey(), e.getValue()))));
    }

    private static String run(Block program, String className) throws Exception {
        if (program.remark().equals(NEEDS_NATIVES)) {
            assumeTrue(Tensor.ones(1).address() != 0, "needs native kernels");
        }
        PrintStream before = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            loader.loadClass(className).getMethod("main", String[].class).invoke(null, (Object) new String[0]);
        } finally {
            System.setOut(before);
        }
        return said.toString(StandardCharsets.UTF_8);
    }

    /** {@code …} in a document stands for anything. */
    private static void requirePrinted(Block program, String said) {
        Block printed = PRINTED.get(program);
        if (printed != null && !said.isEmpty()) { // without a C++ compiler the simulator's programs say nothing
            String pattern = Pattern.quote(printed.text().strip())
                    .replace("…", "\\E.*?\\Q")
                    .replace("\n", "\\E\\s*\\n\\Q");
            assertThat(said.strip().replace("\r", ""))
                    .as(program + " prints")
                    .matches(Pattern.compile(pattern, Pattern.DOTALL));
        }
    }

    /** As the page says: compiled by JavaCPP's builder, in a process of its own. */
    @Test
    void theKernelInCppIsBuiltAndRuns() throws Exception {
        assumeTrue(Tensor.ones(1).address() != 0, "needs native kernels");
        String classes = folder.resolve("classes").toString();
        assertThat(IN_CPP).isNotEmpty();
        for (Block program : IN_CPP) {
            String name = java.util.Objects.requireNonNull(CLASSES.get(program));
            java(
                    List.of(
                            "org.bytedeco.javacpp.tools.Builder",
                            "-classpath",
                            classes,
                            "-Dplatform.includepath=" + folder.resolve("cpp"),
                            name,
                            "-Xcompiler",
                            "-O0"),
                    classPath());
            requirePrinted(program, java(List.of(name), classes + File.pathSeparator + classPath()));
        }
    }

    private static String java(List<String> arguments, String classPath) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                classPath));
        command.addAll(arguments);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(said).isZero();
        return said;
    }

    /** Both paths: under the module system the engine stands on the module path. */
    private static String classPath() {
        return System.getProperty("java.class.path") + File.pathSeparator + System.getProperty("jdk.module.path", "");
    }
}
