// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.BatchNorm;
import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.junit.jupiter.api.Test;

class NormalizationTest {
    private static final double EPS = 1e-5;

    @Test
    void layerNormMeetsItsDefinition() {
        Tensor x = normal(1, 2, 3, 4);
        Tensor w = normal(2, 3, 4);
        Tensor b = normal(3, 3, 4);
        int[] dims = {1, 2};
        Tensor centred = x.sub(x.mean(dims, true));
        Tensor expected =
                centred.div(x.var(dims, false, true).add(EPS).sqrt()).mul(w).add(b);
        close(Normalization.layerNorm(x, new long[] {3, 4}, w, b, EPS), expected, 1e-13);
        Tensor plain = Normalization.layerNorm(x, new long[] {4}, null, null, EPS);
        close(plain.mean(2), Tensor.zeros(DType.FLOAT64, 2, 3), 1e-13);
    }

    @Test
    void rmsNormMeetsItsDefinition() {
        Tensor x = normal(4, 3, 4);
        Tensor w = normal(5, 4);
        Tensor expected =
                x.div(x.square().mean(new int[] {1}, true).add(EPS).sqrt()).mul(w);
        close(Normalization.rmsNorm(x, new long[] {4}, w, EPS), expected, 1e-14);
    }

    @Test
    void gradientsOfBothOrders() {
        long[] four = {4};
        gradients(
                in -> Normalization.layerNorm(in.get(0), four, in.get(1), in.get(2), EPS),
                leaf(6, 3, 4),
                leaf(7, 4),
                leaf(8, 4));
        gradients(in -> Normalization.layerNorm(in.get(0), new long[] {2, 2}, null, null, EPS), leaf(9, 2, 2, 2));
        gradients(in -> Normalization.layerNorm(in.get(0), four, in.get(1), null, EPS), normal(10, 3, 4), leaf(11, 4));
        gradients(in -> Normalization.rmsNorm(in.get(0), four, in.get(1), EPS), leaf(12, 3, 4), leaf(13, 4));
        gradients(in -> Normalization.rmsNorm(in.get(0), four, null, EPS), leaf(14, 3, 4));
    }

    @Test
    void emptyInputsGiveEmptyResults() {
        Tensor y = Normalization.layerNorm(Tensor.zeros(0, 4), new long[] {4}, Tensor.ones(4), null, EPS);
        assertThat(y.shape().toArray()).containsExactly(0, 4);
        Tensor x = Tensor.zeros(0, 4).requiresGrad(true);
        Tensor w = Tensor.ones(4).requiresGrad(true);
        dev.merapi.autograd.Autograd.backward(
                Normalization.layerNorm(x, new long[] {4}, w, null, EPS).sum());
        assertThat(java.util.Objects.requireNonNull(w.grad()).toFloatArray())
                .containsOnly(0)
                .hasSize(4);
    }

    @Test
    void misfitsAreNamed() {
        assertThatThrownBy(() -> Normalization.layerNorm(normal(15, 2, 4), new long[] {3}, null, null, EPS))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("the last dimensions of x are not [3]");
        assertThatThrownBy(() -> Normalization.layerNorm(normal(16, 2, 4), new long[] {4}, normal(17, 3), null, EPS))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("weight has shape [3]");
    }

    @Test
    void batchNormInTrainingAndEvaluation() {
        Tensor x = leaf(20, 3, 2, 2, 2);
        Tensor w = leaf(21, 2);
        Tensor b = leaf(22, 2);
        Tensor mean = Tensor.zeros(DType.FLOAT64, 2);
        Tensor variance = Tensor.ones(DType.FLOAT64, 2);
        int[] others = {0, 2, 3};
        Tensor m = x.mean(others, true);
        Tensor expected = x.sub(m)
                .div(x.var(others, false, true).add(EPS).sqrt())
                .mul(w.view(1, 2, 1, 1))
                .add(b.view(1, 2, 1, 1));
        close(BatchNorm.batchNorm(x, w, b, mean, variance, true, 0.1, EPS), expected, 1e-13);
        close(mean, x.mean(others).mul(0.1), 1e-14);
        close(variance, x.var(others).mul(0.1).add(0.9), 1e-14);
        gradients(in -> BatchNorm.batchNorm(in.get(0), in.get(1), in.get(2), null, null, true, 0.1, EPS), x, w, b);
        gradients(in -> BatchNorm.batchNorm(in.get(0), in.get(1), in.get(2), mean, variance, false, 0.1, EPS), x, w, b);
        gradients(in -> BatchNorm.batchNorm(in.get(0), null, null, mean, variance, false, 0.1, EPS), x);
        assertThatThrownBy(() -> BatchNorm.batchNorm(x.slice(0, 0, 0), w, b, mean, variance, true, 0.1, EPS))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("at least 2 elements a channel");
    }
}
