// SPDX-License-Identifier: Apache-2.0
package dev.merapi.openblas;

import dev.merapi.cpu.BlasLibrary;
import java.io.File;
import java.util.Arrays;
import java.util.Comparator;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.openblas.global.openblas_nolapack;

/** OpenBLAS, or what takes its place by the preset's own switch: {@code -Dorg.bytedeco.openblas.load=mkl}. */
public final class OpenBlas implements BlasLibrary {
    /** For the service loader. */
    public OpenBlas() {}

    @Override
    public String name() {
        return "openblas";
    }

    @Override
    public String load() {
        String jni = Loader.load(openblas_nolapack.class);
        if (jni == null) {
            throw new IllegalStateException("there are no natives of OpenBLAS for " + Loader.getPlatform()
                    + "; add org.bytedeco:openblas with the classifier " + Loader.getPlatform());
        }
        File[] beside = new File(jni).getParentFile().listFiles((folder, name) -> name.matches("(lib)?openblas.*"));
        // The switch puts its library under the name that the preset's own library is linked to.
        return Arrays.stream(beside == null ? new File[0] : beside)
                .min(Comparator.comparing((File f) -> !f.getName().contains("_nolapack"))
                        .thenComparing(File::getName))
                .orElseThrow(() -> new IllegalStateException("no OpenBLAS library beside " + jni))
                .getPath();
    }
}
