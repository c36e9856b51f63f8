// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Builds and runs the tests that are written in C++: {@code src/test/cpp}, linked to the kernels of this build. */
class NativeTestsTest {
    private static final Path SOURCES = Path.of("src/test/cpp");
    private static final Path KERNELS = Path.of("target/native/libmerapi_cpu_kernels.a");

    private static final String LEAKS = "-fsanitize=leak";
    /** Among the options of a test that brings what it tests. */
    private static final String NO_KERNELS = "no kernels";

    @TempDir
    Path folder;

    private static String compiler() {
        String named = System.getenv("CXX");
        return named == null || named.isBlank() ? "g++" : named;
    }

    private static void require(boolean there, String reason) {
        if (!there) {
            System.out.println("skipped: the tests in C++: " + reason);
        }
        assumeTrue(there, reason);
    }

    private String run(String... command) throws IOException, InterruptedException {
        Ended ended = start(command);
        assertThat(ended.status())
                .as("%s%n%s", List.of(command), ended.output())
                .isZero();
        return ended.output();
    }

    private record Ended(int status, String output) {}

    private Ended start(String... command) throws IOException, InterruptedException {
        Path log = Files.createTempFile(folder, "output", ".txt");
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        boolean ended = process.waitFor(5, TimeUnit.MINUTES);
        if (!ended) {
            process.destroyForcibly();
        }
        String output = Files.readString(log);
        assertThat(ended)
                .as("ended within 5 minutes: %s%n%s", List.of(command), output)
                .isTrue();
        return new Ended(process.exitValue(), output);
    }

    private String build(String source, String... options) throws IOException, InterruptedException {
        require(Files.isDirectory(SOURCES), "no " + SOURCES.toAbsolutePath());
        try {
            new ProcessBuilder(compiler(), "--version").start().waitFor();
        } catch (IOException e) {
            require(false, "no C++ compiler '" + compiler() + "'");
        }
        String program = folder.resolve(source).toString();
        List<String> command = new ArrayList<>(List.of(
                compiler(),
                "-O1",
                "-std=c++17",
                "-w",
                "-fno-math-errno",
                "-ffp-contract=off",
                "-fno-strict-aliasing",
                "-Isrc/main/cpp"));
        command.addAll(Arrays.asList(options));
        command.remove(NO_KERNELS);
        command.addAll(List.of("-x", "c++", SOURCES.resolve(source + ".cpp").toString(), "-x", "none"));
        if (!List.of(options).contains(NO_KERNELS)) {
            require(Files.exists(KERNELS), "no " + KERNELS);
            command.add(KERNELS.toString());
        }
        command.addAll(List.of("-pthread", "-o", program));
        run(command.toArray(new String[0]));
        return program;
    }

    /** Right results, and at the end no memory is left that nothing points to. */
    @ParameterizedTest
    @ValueSource(strings = {"interp_test", "reduce_test", "kernels_test"})
    void kernels(String source) throws Exception {
        run(findsLeaks() ? build(source, LEAKS) : build(source));
    }

    /** Whether compiler and system can look for leaks: a planted one is found. */
    private boolean findsLeaks() throws Exception {
        require(Files.isDirectory(SOURCES), "no " + SOURCES.toAbsolutePath());
        Path source = folder.resolve("leak.cpp");
        Files.writeString(source, "int main() { return new int[100] == nullptr; }");
        String program = folder.resolve("leak").toString();
        String reason;
        try {
            Ended built = start(compiler(), LEAKS, "-w", source.toString(), "-o", program);
            Ended ran = built.status() == 0 ? start(program) : built;
            if (ran.status() != 0 && ran.output().contains("400 byte(s) leaked")) {
                return true;
            }
            reason = ran.output();
        } catch (IOException e) {
            reason = e.getMessage();
        }
        System.out.println("skipped: leaks of the kernels: no leak sanitizer: " + reason);
        return false;
    }

    /** Every function on floats, for each instruction set that this processor has. */
    @Test
    void functions() throws Exception {
        String[][] builds = {
            {"base"}, {"avx2", "-march=x86-64-v3"}, {"avx512", "-march=x86-64-v4", "-mprefer-vector-width=512"}
        };
        for (int level = 0; level <= Native.isa_level(); level++) {
            String[] options = builds[level].clone();
            options[0] = "-DMERAPI_ISA=" + options[0];
            List<String> all = new ArrayList<>(List.of(options));
            all.add(NO_KERNELS);
            run(build("vmath_test", all.toArray(new String[0])), "9973");
        }
    }
}
