// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.Backends;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.BackendContract;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The rows of the test kit with OpenBLAS for the products of matrices, small ones, too. All of them with
 * {@code scripts/test --full}; otherwise those whose kernels call it.
 */
class OpenBlasContractTest extends BackendContract {
    private static final Set<String> PRODUCTS = Set.of("merapi::matmul", "merapi::linear", "merapi::feed_forward");

    private static long threshold;

    @BeforeAll
    static void everyProductIsLarge() {
        assertThat(Backends.of(DeviceType.CPU)).isInstanceOf(CpuBackend.class);
        assertThat(Blas.serving()).isEqualTo("openblas");
        threshold = Native.blas_threshold(0);
    }

    @AfterAll
    static void restore() {
        Native.blas_threshold(threshold);
    }

    @Override
    protected Device device() {
        return Device.CPU;
    }

    @Override
    protected boolean concerns(OpSamples<?, ?> row) {
        return Boolean.getBoolean("merapi.tests.full")
                || PRODUCTS.contains(row.op().name());
    }

    /** It adds in another order than we do, so other bits say that it was called. */
    @Test
    void itIsReallyCalled() {
        try (Scope scope = Scope.open()) {
            Tensor a = Tensor.randn(64, 3000);
            Tensor b = Tensor.randn(3000, 64);
            Tensor theirs = a.matmul(b);
            Native.blas_threshold(-1);
            Tensor ours = a.matmul(b);
            Native.blas_threshold(0);
            assertThat(theirs.toFloatArray()).isNotEqualTo(ours.toFloatArray());
            assertThat(theirs.sub(ours).abs().max().item()).isLessThan(1e-3);
        }
        assertThat(Backends.of(DeviceType.CPU).description()).endsWith("large products by openblas");
    }
}
