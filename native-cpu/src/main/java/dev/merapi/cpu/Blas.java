// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.io.File;
import java.util.Set;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * OpenBLAS out of the JavaCPP preset, called from our kernels by address, one thread a tile, so that one pool serves both.
 * It serves the large products of processors that our own micro-kernels are not tuned for: on x86-64, where they are, it
 * is not loaded at all.
 */
final class Blas {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    /** Architectures with micro-kernels of our own. */
    private static final Set<String> TUNED = Set.of("amd64", "x86_64");

    private Blas() {}

    private static final class Holder {
        static final boolean LOADED = load();
    }

    /** Loads BLAS once, where it is of use; false if it does not serve. */
    static boolean ensure() {
        return Holder.LOADED;
    }

    private static boolean load() {
        if (TUNED.contains(System.getProperty("os.arch", "")) || Boolean.getBoolean("merapi.cpu.noBlas")) {
            return false;
        }
        try {
            Loader.load(openblas_nolapack.class);
            String library = library();
            long file = NativeMemory.permanentText(library);
            long sgemm = symbol(file, "cblas_sgemm");
            long dgemm = symbol(file, "cblas_dgemm");
            long threads = symbol(file, "openblas_set_num_threads");
            if (sgemm == 0 || dgemm == 0) {
                LOG.warn("cpu: no cblas_sgemm in {}; large matrix products will be slower", library);
                return false;
            }
            Native.blas_init(sgemm, dgemm, threads);
            LOG.debug("cpu: BLAS from {}", library);
            return true;
        } catch (LinkageError | RuntimeException e) {
            LOG.warn("cpu: OpenBLAS cannot be loaded, large matrix products will be slower: {}", e.toString());
            return false;
        }
    }

    private static long symbol(long file, String name) {
        return Native.symbol_address(file, NativeMemory.permanentText(name));
    }

    /** The file that the preset's JNI library was linked to, in the folder that it was unpacked to. */
    private static String library() {
        File jni = new File(Loader.load(openblas_nolapack.class));
        File[] found = jni.getParentFile()
                .listFiles((folder, name) -> name.matches("(lib)?openblas.*\\.(so|dylib|dll)(\\.0)?|libopenblas.*"));
        if (found == null || found.length == 0) {
            throw new IllegalStateException("no OpenBLAS library beside " + jni.getName());
        }
        for (File f : found) {
            if (f.getName().equals("libopenblas.so.0")) {
                return f.getPath();
            }
        }
        return found[0].getPath();
    }
}
