// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.cuda.Cuda;
import dev.merapi.types.Device;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Objects;
import java.util.stream.Stream;

/** A device {@code cuda:0} whose driver does nothing, at once, as does its compiler of kernels; made by the host's C compiler. */
final class NullCuda {
    /** Of its only device. */
    private static final String NAME = "none";

    private NullCuda() {}

    /** Whether it is this driver that a device is reached through. */
    static boolean isOne(Device device) {
        return Cuda.deviceName(device).equals(NAME);
    }

    /**
     * From now on this process knows no other CUDA device. Comes before anything of CUDA is touched.
     *
     * @throws IOException if there is no C compiler
     */
    static Device install() throws IOException, InterruptedException {
        return install(true);
    }

    /** As above, but kernels are compiled, by NVIDIA's compiler. */
    static Device installWithoutCompiler() throws IOException, InterruptedException {
        return install(false);
    }

    private static Device install(boolean compiler) throws IOException, InterruptedException {
        Path folder = Files.createTempDirectory("null-cuda");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
        Path driver = build(folder, compiler);
        String others = System.getProperty("merapi.cuda.libraries");
        System.setProperty("merapi.cuda.libraries", folder + (others == null ? "" : File.pathSeparator + others));
        System.setProperty("merapi.cuda.cache", folder.resolve("kernels").toString());
        System.load(driver.toString()); // found by its name from now on, before any other
        return Device.of("cuda:0");
    }

    /**
     * Makes the driver in a folder, {@code libcuda.so.1}, and with it a compiler if one is wanted, {@code libnvrtc.so.13}.
     *
     * @throws IOException if there is no C compiler
     */
    static Path build(Path folder, boolean compiler) throws IOException, InterruptedException {
        Path source = folder.resolve("null_cuda.c");
        try (InputStream in = NullCuda.class.getResourceAsStream("null_cuda.c")) {
            Files.copy(Objects.requireNonNull(in), source);
        }
        Path driver = folder.resolve("libcuda.so.1");
        Process p = new ProcessBuilder(
                        System.getenv().getOrDefault("CC", "cc"),
                        "-O2",
                        "-shared",
                        "-fPIC",
                        "-Wl,-soname,libcuda.so.1",
                        compiler ? "-DWITH_COMPILER" : "-DWITHOUT_COMPILER",
                        "-o",
                        driver.toString(),
                        source.toString())
                .inheritIO()
                .start();
        if (p.waitFor() != 0) {
            throw new IOException("null CUDA: " + source + " does not compile");
        }
        if (compiler) {
            Files.copy(driver, folder.resolve("libnvrtc.so.13"));
        }
        return driver;
    }

    private static void delete(Path folder) {
        try (Stream<Path> all = Files.walk(folder)) {
            all.sorted(Comparator.reverseOrder()).forEach(p -> p.toFile().delete());
        } catch (IOException e) {
            System.err.println("null CUDA: " + folder + " stays: " + e.getMessage());
        }
    }
}
