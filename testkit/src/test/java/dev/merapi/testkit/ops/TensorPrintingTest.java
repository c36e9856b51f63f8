// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import org.junit.jupiter.api.Test;

/** What toString shows. */
class TensorPrintingTest {
    @Test
    void numbersAlign() {
        assertThat(Tensor.of(new float[] {0.5f, -1, 2, 3.25f}, 2, 2))
                .hasToString("[[ 0.5000, -1.0000],\n [ 2.0000,  3.2500]]  float32[2, 2] cpu");
        assertThat(Tensor.of(1f, -20f)).hasToString("[  1., -20.]  float32[2] cpu");
        assertThat(Tensor.of(7, -123)).hasToString("[   7, -123]  int32[2] cpu");
        assertThat(Tensor.of(true, false)).hasToString("[ true, false]  bool[2] cpu");
        assertThat(Tensor.of(1e-7, 1)).hasToString("[1.0000e-07, 1.0000e+00]  float64[2] cpu");
        assertThat(Tensor.of(Double.NaN, Double.NEGATIVE_INFINITY, 0.5))
                .hasToString("[   nan,   -inf, 0.5000]  float64[3] cpu");
    }

    @Test
    void blocksAreSetApart() {
        assertThat(Tensor.arange(8).reshape(2, 2, 2))
                .hasToString("[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]  int64[2, 2, 2] cpu");
    }

    @Test
    void largeOnesShowTheirEdges() {
        assertThat(Tensor.arange(1001)).hasToString("[   0,    1,    2, ...,  998,  999, 1000]  int64[1001] cpu");
        String square = Tensor.arange(10_000).reshape(100, 100).t().toString();
        assertThat(square)
                .startsWith("[[   0,  100,  200, ..., 9700, 9800, 9900],\n [   1,  101,")
                .contains("\n ...,\n [  97,")
                .endsWith("9999]]  int64[100, 100] cpu");
        assertThat(square.lines().count()).isEqualTo(7);
    }

    @Test
    void oddOnesDoNotThrow() {
        assertThat(Tensor.scalar(3)).hasToString("3  int32[] cpu");
        assertThat(Tensor.zeros(0, 3)).hasToString("[]  float32[0, 3] cpu");
        assertThat(Tensor.meta(Shape.of(2), DType.FLOAT16, Device.CPU)).hasToString("meta float16[2] cpu");
        Tensor closed = Tensor.zeros(2);
        closed.close();
        assertThat(closed).hasToString("closed float32[2] cpu");
        assertThat(Tensor.of(1.0).requiresGrad(true)).hasToString("[1.]  float64[1] cpu requires grad");
        assertThat(Tensor.zeros(2).expand(3, 2)).hasToString("[[0., 0.],\n [0., 0.],\n [0., 0.]]  float32[3, 2] cpu");
    }
}
