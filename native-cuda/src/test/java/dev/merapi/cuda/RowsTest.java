// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows that a block keeps in registers (up to 4,096 elements with 256 threads) and longer ones, values and gradients. */
@Tag("kernels")
class RowsTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor rows(int size, long seed) {
        java.util.Random random = new java.util.Random(seed);
        float[] v = new float[3 * size];
        for (int i = 0; i < v.length; i++) {
            v[i] = (float) random.nextGaussian() * 3;
        }
        v[size - 1] = Float.NEGATIVE_INFINITY; // a class that is ruled out
        v[size] = 80; // the first of its row is far ahead
        return Tensor.of(v, 3, size);
    }

    /** f, and the gradient of Σ f·w, on both devices. */
    private static void compare(Tensor x, UnaryOperator<Tensor> f) {
        Tensor[] results = new Tensor[4];
        int i = 0;
        for (Device device : List.of(Device.CPU, Simulator.DEVICE)) {
            Tensor in = x.to(device).detach().requiresGrad(true);
            Tensor out = f.apply(in);
            Tensor w = Tensor.arange(0, out.numel(), 1)
                    .to(DType.FLOAT32)
                    .sin()
                    .reshape(out.shape().toArray());
            Tensor finite = out.maskedFill(out.isFinite().logicalNot(), 0);
            results[i++] = out.detach().to(Device.CPU);
            results[i++] = Autograd.grad(finite.mul(w.to(device)).sum(), List.of(in))
                    .get(0)
                    .to(Device.CPU);
        }
        assertArrayEquals(results[0].toFloatArray(), results[2].toFloatArray(), 4e-5f);
        assertArrayEquals(results[1].toFloatArray(), results[3].toFloatArray(), 4e-5f);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 33, 300, 4096, 4097, 20_000})
    void softmaxNormsAndLosses(int size) {
        try (Scope scope = Scope.open()) {
            Tensor x = rows(size, size);
            compare(x, t -> t.softmax(1));
            compare(x, t -> t.logSoftmax(1));
            compare(x, t -> t.logSumExp(1));
            Tensor targets = Tensor.of(new long[] {0, 0, 1}, 3);
            compare(x, t -> Losses.crossEntropy(t, targets.to(t.device())));
            Tensor finite = x.clamp(-20, 20);
            compare(finite, t -> Normalization.layerNorm(t, new long[] {size}, null, null, 1e-5));
        }
    }
}
