// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.junit.jupiter.api.Test;

class SoftmaxTest {
    @Test
    void isExponentialsOverTheirSum() {
        Tensor x = normal(1, 3, 4, 5);
        for (int dim = -1; dim < 3; dim++) {
            Tensor e = x.exp();
            close(x.softmax(dim), e.div(e.sum(new int[] {dim}, true)), 1e-14);
            close(x.logSoftmax(dim), x.sub(e.sum(new int[] {dim}, true).log()), 1e-14);
        }
        Tensor turned = x.transpose(0, 2);
        close(turned.softmax(1), turned.copy().softmax(1), 0);
    }

    @Test
    void largeNumbersDoNotOverflow() {
        Tensor x = Tensor.of(1000.0, 1001, Double.NEGATIVE_INFINITY);
        double p = 1 / (1 + Math.E);
        close(x.softmax(0), new double[] {p, 1 - p, 0}, 1e-14);
        close(x.logSoftmax(0), new double[] {Math.log(p), Math.log(1 - p), Double.NEGATIVE_INFINITY}, 1e-14);
        assertThat(x.logSumExp().item())
                .isCloseTo(1001 + Math.log1p(Math.exp(-1)), org.assertj.core.data.Offset.offset(1e-12));
        assertThat(Tensor.full(Double.NEGATIVE_INFINITY, 3).logSumExp().item()).isEqualTo(Double.NEGATIVE_INFINITY);
        assertThat(Tensor.zeros(2, 0).logSumExp(1).toFloatArray())
                .containsOnly(Float.NEGATIVE_INFINITY)
                .hasSize(2);
    }

    @Test
    void smallFloatsRoundOnce() {
        Tensor x = normal(2, 2, 7).to(DType.BFLOAT16);
        close(x.softmax(1), x.to(DType.FLOAT64).softmax(1), 0x1p-8);
        assertThat(x.softmax(1).dtype()).isEqualTo(DType.BFLOAT16);
    }

    @Test
    void gradientsOfBothOrders() {
        gradients(in -> in.get(0).softmax(1), leaf(3, 2, 4));
        gradients(in -> in.get(0).softmax(0), leaf(4, 3, 2));
        gradients(in -> in.get(0).logSoftmax(1), leaf(5, 2, 4));
        gradients(in -> in.get(0).logSumExp(0, 2), leaf(6, 2, 2, 2));
    }

    @Test
    void refusesIntegersAndMissingDimensions() {
        assertThatThrownBy(() -> Tensor.of(1, 2).softmax(0))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("softmax: needs a floating dtype");
        assertThatThrownBy(() -> normal(7, 2, 2).softmax(2)).isInstanceOf(ShapeException.class);
    }
}
