// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.backend.KernelTable;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.FallbackBackend;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.Definition;
import dev.merapi.op.Op;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Softmax;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.KernelTables;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Tables of kernels: what they hold is found, and what they must not hold is found out. */
@Tag("once")
class KernelTableTest {
    private static void nothing(Softmax.Along args, Tensor out) {}

    @Test
    void theReferenceHasKernelsOfBuiltInOpsOnly() {
        KernelTable table = BackendChoice.fallback().kernelTable();
        assertThat(table.signatures()).hasSizeGreaterThan(50);
        assertThat(KernelTables.faults(table)).isEmpty();
    }

    @Test
    void misspeltNamesAndWrongRecordsAreFoundOut() {
        KernelTable table = new KernelTable();
        table.put("softmaks", Softmax.Along.class, KernelTable.FLOATING, KernelTableTest::nothing);
        table.put("layer_norm", Softmax.Along.class, KernelTable.FLOATING, KernelTableTest::nothing);
        table.put("softmax", Softmax.Along.class, KernelTable.FLOATING, KernelTableTest::nothing);
        table.put("topk", Ordering.TopK.class, KernelTable.ALL, (a, out) -> {});
        assertThat(KernelTables.faults(table))
                .hasSize(3)
                .anyMatch(f -> f.contains("merapi::topk: the op is") && f.contains("-> " + Tensor.class.getName()))
                .anyMatch(f -> f.contains("merapi::softmaks: there is no such op") && f.contains("merapi::softmax"))
                .anyMatch(f -> f.contains("merapi::layer_norm: the op is " + Normalization.LayerNorm.class.getName()));
        Definition<?, ?> layerNorm = Normalization.LAYER_NORM.definition();
        assertThatThrownBy(() -> table.get(layerNorm, DType.FLOAT32))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("merapi::layer_norm")
                .hasMessageContaining(Normalization.LayerNorm.class.getName())
                .hasMessageContaining(Softmax.Along.class.getName());
        assertThatThrownBy(() -> table.get(Ordering.TOPK.definition(), DType.FLOAT32))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("merapi::topk")
                .hasMessageContaining("the result of the op");
    }

    @Test
    void aKernelServesItsDtypesAndIsPutOnce() {
        KernelTable table = new KernelTable();
        table.put("softmax", Softmax.Along.class, KernelTable.FLOATING, KernelTableTest::nothing);
        Definition<?, ?> softmax = Softmax.SOFTMAX.definition();
        assertThat(table.get(softmax, DType.FLOAT16)).isNotNull();
        assertThat(table.get(softmax, DType.INT32)).isNull();
        assertThat(table.get(softmax, null)).isNull();
        assertThat(table.get(Softmax.LOG_SUM_EXP.definition(), DType.FLOAT16)).isNull();
        assertThatThrownBy(() ->
                        table.put("merapi::softmax", Softmax.Along.class, KernelTable.ALL, KernelTableTest::nothing))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("merapi::softmax");
    }

    /** What is neither a view nor made of other ops runs in plain Java: on every device whose memory Java sees. */
    @Test
    void everyOpWithoutACompositionHasAPlainJavaKernel() {
        TreeSet<String> missing = new TreeSet<>();
        int found = 0;
        for (Op<?, ?> op : Ops.builtIn()) {
            Definition<?, ?> d = op.definition();
            boolean kernel = BackendChoice.javaKernel(d, DType.FLOAT32) != null;
            found += kernel ? 1 : 0;
            if (!kernel && !d.isView() && d.compose() == null) {
                missing.add(op.name());
            }
        }
        assertThat(found).isGreaterThan(150);
        assertThat(missing).isEmpty();
    }

    /**
     * Where the files of services were lost but the engine's own, as when jars are put together in one and the last
     * {@code META-INF/services/…Backend} stays, and whatever the thread's own class loader knows.
     */
    @Test
    void plainJavaIsFoundWhereServicesOfOthersWereLost(@TempDir Path folder) throws Exception {
        Path services = Files.createDirectories(folder.resolve("META-INF/services"));
        Files.writeString(services.resolve("dev.merapi.backend.Backend"), "# none of them\n");
        try (Isolated isolated = new Isolated(classPath())) {
            Thread thread = Thread.currentThread();
            ClassLoader before = thread.getContextClassLoader();
            try (URLClassLoader foreign =
                    new URLClassLoader(new URL[] {folder.toUri().toURL()}, null)) {
                thread.setContextClassLoader(foreign);
                Class<?> backends = isolated.loadClass(BackendChoice.class.getName());
                assertThat(backends.getClassLoader()).isSameAs(isolated);
                Object fallback = backends.getMethod("fallback").invoke(null);
                assertThat(fallback.getClass().getSimpleName()).isEqualTo("JavaBackend");
                assertThat(fallback.getClass().getClassLoader()).isSameAs(isolated);
            } finally {
                thread.setContextClassLoader(before);
            }
        }
    }

    @Test
    void aLostServiceIsNamed() throws Exception {
        try (Isolated isolated = new Isolated(classPath()) {
            @Override
            public java.util.Enumeration<URL> getResources(String name) throws IOException {
                return name.endsWith(FallbackBackend.class.getName())
                        ? java.util.Collections.emptyEnumeration()
                        : super.getResources(name);
            }
        }) {
            Class<?> backends = isolated.loadClass(BackendChoice.class.getName());
            assertThatThrownBy(() -> backends.getMethod("fallback").invoke(null))
                    .cause()
                    .hasMessageContaining("META-INF/services/" + FallbackBackend.class.getName());
        }
    }

    private static List<String> classPath() {
        return Arrays.asList(System.getProperty("java.class.path").split(java.io.File.pathSeparator));
    }

    /** The engine once more, without the classes of the tests' loader. */
    private static class Isolated extends URLClassLoader {
        Isolated(List<String> classPath) {
            super(classPath.stream().map(Isolated::url).toArray(URL[]::new), ClassLoader.getPlatformClassLoader());
        }

        private static URL url(String entry) {
            try {
                return Path.of(entry).toUri().toURL();
            } catch (java.net.MalformedURLException e) {
                throw new IllegalArgumentException(e);
            }
        }
    }
}
