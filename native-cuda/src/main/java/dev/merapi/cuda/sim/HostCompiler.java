// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.KernelSource;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** The host's C++ compiler: the one that CXX names, else g++ or clang++ on the path. */
public final class HostCompiler {
    /** No contraction: a·b + c rounds twice, as the device code is compiled. CUDA code puns types through pointers. */
    private static final List<String> OPTIONS = List.of(
            "-x",
            "c++",
            "-std=c++17",
            "-O1",
            "-fPIC",
            "-shared",
            "-w",
            "-fno-strict-aliasing",
            "-ffp-contract=off",
            "-fno-exceptions",
            "-fno-rtti",
            "-fno-threadsafe-statics",
            "-fvisibility=hidden",
            "-nostdlib");

    /** Nothing may be left to be found at the call: that would end the process. */
    private static final List<String> LIBRARIES = List.of("-lm", "-lc", "-lgcc", "-Wl,-z,defs");

    /** What lets the engine see every load and store, and tell its line; {@code cudasim_checks.h} has the other half. */
    private static final List<String> CHECKS = List.of(
            "-g1",
            "-gdwarf-4", // of version 5, addr2line takes one file for another
            "-fsanitize=thread",
            "-fsanitize=bounds-strict,alignment,integer-divide-by-zero",
            "-DCUDASIM_CHECKED");

    /** For our own tests: undefined behaviour of a kernel ends the process. Checks have the same in part, and go on. */
    private static final boolean SANITISED = Boolean.getBoolean("merapi.cuda.sim.sanitise");

    private static final List<String> UNDEFINED =
            List.of("-g1", "-fsanitize=undefined", "-fno-sanitize=vptr", "-fno-sanitize-recover=undefined");

    /** A place that is not the user's: what is compiled before the source, and what is printed around a body. */
    private static final Set<String> NOT_USERS = Set.of("<stdin>", KernelSource.GENERATED, "??");

    /** A variable in shared memory, or one of the engine's, by its offset from where such variables begin. */
    record Variable(String name, long offset, long bytes, boolean builtIn) {}

    private final String command;
    private final String version;

    private HostCompiler(String command, String version) {
        this.command = command;
        this.version = version;
    }

    /** Null if there is none. */
    static @Nullable HostCompiler find() {
        String named = System.getenv("CXX");
        for (String candidate :
                named != null && !named.isBlank() ? new String[] {named} : new String[] {"g++", "clang++"}) {
            try {
                Result r = run(List.of(candidate, "--version"), null);
                if (r.status == 0) {
                    return new HostCompiler(
                            candidate, r.output.lines().findFirst().orElse(candidate));
                }
            } catch (IOException e) {
                continue; // not there: the next one
            }
        }
        return null;
    }

    String version() {
        return version;
    }

    /** All that decides what comes out, the source apart. */
    String fingerprint(boolean checked) {
        return version + options(checked) + LIBRARIES;
    }

    private static List<String> options(boolean checked) {
        List<String> all = new ArrayList<>(OPTIONS);
        if (checked) {
            all.addAll(CHECKS);
        } else if (SANITISED) {
            all.addAll(UNDEFINED);
        }
        return all;
    }

    /** Compiles to a shared library. Null if that went well, else what the compiler said. */
    @Nullable
    String compile(String source, Path library, boolean checked) throws IOException {
        List<String> call = new ArrayList<>();
        call.add(command);
        call.addAll(options(checked));
        call.addAll(List.of("-o", library.toString(), "-"));
        if (SANITISED && !checked) {
            call.add("-lubsan");
        }
        call.addAll(LIBRARIES);
        Result r = run(call, source);
        return r.status == 0 ? null : r.output;
    }

    /**
     * The source line of a place in a library that was compiled with checks: of what was inlined there, the innermost that
     * the user wrote. Null if no tool can tell.
     */
    static @Nullable String place(String library, String offset) {
        try {
            Result r = run(List.of("addr2line", "-s", "-i", "-e", library, offset), null);
            List<String> chain = r.output
                    .lines()
                    .map(line -> line.replaceAll(" \\(discriminator.*", ""))
                    .toList();
            if (r.status != 0 || chain.isEmpty()) {
                return null;
            }
            return chain.stream()
                    .filter(line -> !NOT_USERS.contains(line.replaceAll(":[0-9?]*$", "")))
                    .findFirst()
                    .orElse(null);
        } catch (IOException e) {
            return null;
        }
    }

    /** The thread-local variables of a library: where {@code __shared__} ones lie. */
    static List<Variable> variables(String library) {
        Result r;
        try {
            r = run(List.of("readelf", "--symbols", "--wide", "--demangle", library), null);
        } catch (IOException e) {
            r = new Result(-1, e.toString());
        }
        if (r.status != 0) {
            throw new CudaException("cuda-sim: checks need to know the variables of a kernel: " + r.output.strip()
                    + "\n  fix: install binutils, with readelf and addr2line.");
        }
        List<Variable> all = new ArrayList<>();
        for (String line : r.output.lines().toList()) {
            // Num: Value Size Type Bind Vis Ndx Name
            String[] f = line.strip().split("\\s+", 8);
            if (f.length == 8 && f[3].equals("TLS")) {
                String name = f[7].substring(f[7].lastIndexOf(':') + 1);
                boolean builtIn = Set.of("threadIdx", "blockIdx", "blockDim", "gridDim", "dynamic_shared")
                        .contains(name);
                all.add(new Variable(name, Long.parseLong(f[1], 16), Long.decode(f[2]), builtIn));
            }
        }
        return List.copyOf(all);
    }

    private record Result(int status, String output) {}

    private static Result run(List<String> command, @Nullable String input) throws IOException {
        Path output = Files.createTempFile("merapi", ".log");
        try {
            Process p = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(output.toFile())
                    .start();
            try (var out = p.getOutputStream()) {
                if (input != null) {
                    out.write(input.getBytes(StandardCharsets.UTF_8));
                }
            } catch (IOException e) {
                // The compiler ended before it read everything; its status and output say why.
            }
            if (!p.waitFor(120, TimeUnit.SECONDS)) {
                p.destroyForcibly();
                return new Result(-1, command.get(0) + " did not end within two minutes");
            }
            return new Result(p.exitValue(), Files.readString(output));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while " + command.get(0) + " was running", e);
        } finally {
            Files.deleteIfExists(output);
        }
    }
}
