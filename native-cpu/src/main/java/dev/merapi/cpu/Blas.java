// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import java.util.ArrayList;
import java.util.List;
import java.util.ServiceLoader;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * Who multiplies large matrices: our own micro-kernels, or a {@link BlasLibrary}, which is called from our kernels by
 * address, one thread a tile, so that one pool of threads serves both.
 */
final class Blas {
    private static final String PROPERTY = "merapi.cpu.blas";
    private static final String OPENBLAS = "openblas";

    /** Architectures with micro-kernels of our own, on which auto is own: docs/performance.md has the table. */
    private static final Set<String> TUNED = Set.of("amd64", "x86_64");

    private static volatile boolean chosen;
    private static @Nullable String serving;

    private Blas() {}

    /**
     * Chooses at the first call.
     *
     * @throws DeviceException if the library that {@code merapi.cpu.blas} names isn't there or does not load
     */
    static void ensure() {
        if (!chosen) {
            choose();
        }
    }

    /** The library that serves, or null if our own products do. */
    static @Nullable String serving() {
        ensure();
        return serving;
    }

    private static synchronized void choose() {
        if (chosen) {
            return;
        }
        String wanted = System.getProperty(PROPERTY, "auto");
        if (wanted.equals("auto")) {
            serving = TUNED.contains(System.getProperty("os.arch", "")) ? null : loadIfThere();
        } else if (!wanted.equals("own")) {
            serving = load(wanted);
        }
        chosen = true;
    }

    private static @Nullable String loadIfThere() {
        try {
            return load(OPENBLAS);
        } catch (DeviceException e) {
            LoggerFactory.getLogger("dev.merapi")
                    .info("large matrix products are slower: {}", String.valueOf(e.getMessage()));
            return null;
        }
    }

    private static String load(String name) {
        List<String> names = new ArrayList<>(List.of("auto", "own"));
        for (BlasLibrary library : ServiceLoader.load(BlasLibrary.class, Blas.class.getClassLoader())) {
            names.add(library.name());
            if (library.name().equals(name)) {
                init(library);
                return name;
            }
        }
        Message message = Message.of("cpu: there is no library '" + name + "' for products of matrices")
                .fact(PROPERTY, System.getProperty(PROPERTY, "auto"))
                .fact("what it may be here", names);
        throw new DeviceException(name.equals(OPENBLAS) ? message.fixByArtifact("merapi-openblas") : message);
    }

    private static void init(BlasLibrary library) {
        try {
            String path = library.load();
            long file = NativeMemory.permanentText(path);
            long sgemm = symbol(file, "cblas_sgemm");
            long dgemm = symbol(file, "cblas_dgemm");
            if (sgemm == 0 || dgemm == 0) {
                throw new IllegalStateException("no cblas_sgemm and cblas_dgemm in " + path);
            }
            long threads = symbol(file, "openblas_set_num_threads");
            Native.blas_init(sgemm, dgemm, threads != 0 ? threads : symbol(file, "MKL_Set_Num_Threads"));
            LoggerFactory.getLogger("dev.merapi").debug("cpu: {} from {}", library.name(), path);
        } catch (LinkageError | RuntimeException e) {
            DeviceException failed = new DeviceException(
                    Message.of("cpu: " + library.name() + " cannot be loaded").fact("cause", e));
            failed.initCause(e);
            throw failed;
        }
    }

    private static long symbol(long file, String name) {
        return Native.symbol_address(file, NativeMemory.permanentText(name));
    }
}
