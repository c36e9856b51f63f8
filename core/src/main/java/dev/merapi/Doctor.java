// SPDX-License-Identifier: Apache-2.0
package dev.merapi;

import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.DeviceException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * Looks at what a program would run on, and says of each thing that it is right, or what to do:
 *
 * <pre>{@code java -cp … dev.merapi.Doctor [--report]}</pre>
 *
 * <p>{@code --report} adds what a bug report needs: properties and variables of Merapi's, and the class path. The exit code is
 * 0 if native kernels work, else 1.
 */
public final class Doctor {
    private final PrintStream out;
    private boolean healthy = true;

    private Doctor(PrintStream out) {
        this.out = out;
    }

    /**
     * Prints the findings, and ends the process.
     *
     * @param args {@code --report}, or nothing
     */
    public static void main(String[] args) {
        System.exit(examine(System.out, List.of(args).contains("--report")) ? 0 : 1);
    }

    /**
     * Prints the findings.
     *
     * @param out where to
     * @param report whether with all that a bug report needs
     * @return whether native kernels work
     */
    public static boolean examine(PrintStream out, boolean report) {
        Doctor doctor = new Doctor(out);
        doctor.system();
        doctor.memory();
        doctor.devices();
        if (report) {
            doctor.report();
        }
        return doctor.healthy;
    }

    private void ok(String what, String text) {
        out.printf("ok  %-12s %s%n", what, text);
    }

    /** Something that need not be here. */
    private void none(String what, String text) {
        out.printf("--  %-12s %s%n", what, text.strip().replaceAll("\\s*\\R\\s*", "; "));
    }

    private void wrong(String what, String text) {
        healthy = false;
        out.printf("!!  %-12s %s%n", what, text.strip().replaceAll("\\R\\s*", "\n                 "));
    }

    // ---------------------------------------------------------------- what it runs on

    private void system() {
        boolean modules = Doctor.class.getModule().isNamed();
        ok("merapi", Merapi.version() + ", on the " + (modules ? "module path" : "class path"));
        ok(
                "java",
                Runtime.version() + ", " + System.getProperty("java.vendor") + ", " + System.getProperty("java.home"));
        ok(
                "system",
                System.getProperty("os.name") + " " + System.getProperty("os.version") + ", "
                        + System.getProperty("os.arch"));
        if (System.getProperty("os.name").equals("Linux")) {
            cLibrary();
        }
    }

    private void cLibrary() {
        String said = said("getconf", "GNU_LIBC_VERSION");
        if (said.startsWith("glibc")) {
            ok("C library", said);
        } else if (hasMusl()) {
            wrong(
                    "C library",
                    "musl: native kernels need glibc\nfix: an image with glibc, such as Debian's slim ones.");
        } else {
            none("C library", "not known: getconf GNU_LIBC_VERSION says " + (said.isEmpty() ? "nothing" : said));
        }
    }

    private static boolean hasMusl() {
        try (var files = Files.list(Path.of("/lib"))) {
            return files.anyMatch(f -> String.valueOf(f.getFileName()).startsWith("ld-musl"));
        } catch (IOException e) {
            return false;
        }
    }

    /** What a command prints first; nothing if there is no such command. */
    private static String said(String... command) {
        try {
            Process process =
                    new ProcessBuilder(command).redirectErrorStream(true).start();
            process.getOutputStream().close();
            String text = new String(process.getInputStream().readNBytes(1000), StandardCharsets.UTF_8);
            process.waitFor(5, TimeUnit.SECONDS);
            return text.lines().findFirst().orElse("").strip();
        } catch (IOException e) {
            return "";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "";
        }
    }

    private void memory() {
        ok(
                "processors",
                Runtime.getRuntime().availableProcessors()
                        + " for Java (as a container or -XX:ActiveProcessorCount allows)");
        ok("heap", mib(Runtime.getRuntime().maxMemory()) + " at most; tensors lie outside of it");
        for (String file : new String[] {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
            try {
                long limit = Long.parseLong(Files.readString(Path.of(file)).strip());
                if (limit < 1L << 50) {
                    ok("container", mib(limit) + " of memory");
                }
                return;
            } catch (IOException | NumberFormatException e) {
                // no container, or no limit: the next one
            }
        }
    }

    private static String mib(long bytes) {
        return String.format(Locale.ROOT, "%,d MiB", bytes >> 20);
    }

    // ---------------------------------------------------------------- what it has

    private void devices() {
        for (DeviceType type : DeviceType.all()) {
            try {
                var backend = Backends.of(type);
                for (int i = 0; i < backend.deviceCount(); i++) {
                    device(Device.of(type, i), backend.description());
                }
                if (backend.deviceCount() == 0) {
                    none(type.toString(), "there is no such device");
                }
            } catch (DeviceException e) {
                none(type.toString(), String.valueOf(e.getMessage()));
            }
        }
    }

    private void device(Device device, String description) {
        String text = description + ", " + mib(Memory.stats(device).cap()) + " of memory at most";
        boolean plain = device.type() == DeviceType.CPU && description.startsWith("plain Java");
        try {
            Tensor ones = Tensor.ones(Shape.of(64, 64), DType.FLOAT32, device);
            double sum = ones.matmul(ones).sum().item();
            if (sum != 64 * 64 * 64) {
                wrong(device.toString(), text + ": a product of ones adds up to " + sum + "\nfix: please report this.");
                return;
            }
        } catch (RuntimeException | LinkageError e) {
            wrong(device.toString(), text + ": a product failed: " + e.getMessage());
            return;
        }
        if (plain && !Boolean.getBoolean("merapi.cpu.java")) {
            wrong(device.toString(), text + ", which is many times slower than native kernels; stderr said why");
        } else {
            ok(device.toString(), text + "; a product came out right");
        }
    }

    // ---------------------------------------------------------------- for a bug report

    private void report() {
        out.println();
        new TreeMap<>(System.getProperties()).forEach((name, value) -> {
            String n = String.valueOf(name);
            if (n.startsWith("merapi.") || n.startsWith("org.bytedeco.") || n.equals("java.vm.name")) {
                out.println(n + " = " + value);
            }
        });
        new TreeMap<>(System.getenv()).forEach((name, value) -> {
            if (name.startsWith("MERAPI_") || name.equals("CUDA_VISIBLE_DEVICES") || name.equals("CXX")) {
                out.println(name + " = " + value);
            }
        });
        List<String> jars = new ArrayList<>();
        for (String name : new String[] {"java.class.path", "jdk.module.path"}) {
            for (String entry : System.getProperty(name, "").split(java.io.File.pathSeparator)) {
                if (!entry.isEmpty()) {
                    jars.add(String.valueOf(Path.of(entry).getFileName()));
                }
            }
        }
        out.println("jars: " + String.join(", ", jars));
    }
}
