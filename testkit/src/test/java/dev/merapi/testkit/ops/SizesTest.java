// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Pooling;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Sizes at the edge of what there is, with the values that PyTorch gives. */
class SizesTest {
    private static final long HUGE = 1L << 40;

    @Test
    void aConvolutionWithoutImagesHasAGradientOfZeros() {
        Tensor x = Tensor.zeros(0, 2, 5, 5).requiresGrad(true);
        Tensor w = Tensor.ones(3, 2, 3, 3).requiresGrad(true);
        Tensor y = Convolution.conv2d(x, w, null, 1, 1, 1, 1);
        List<Tensor> g = Autograd.grad(List.of(y.sum()), List.of(x, w), null, Autograd.Graph.FREE, false);
        assertThat(g.get(0).shape()).isEqualTo(Shape.of(0, 2, 5, 5));
        assertThat(g.get(1).toFloatArray()).containsOnly(0).hasSize(54);
    }

    @Test
    void windowsLargerThanTheImageAreQuick() {
        Tensor x = Tensor.of(new float[] {1, 5, 3, 2}, 1, 1, 2, 2).requiresGrad(true);
        Tensor y = Pooling.maxPool2d(x, HUGE, HUGE, HUGE / 2);
        assertThat(y.toFloatArray()).containsExactly(5);
        assertThat(Autograd.grad(List.of(y.sum()), List.of(x), null, Autograd.Graph.FREE, false)
                        .get(0)
                        .toFloatArray())
                .containsExactly(0, 1, 0, 0);
        assertThat(Pooling.avgPool2d(x, 1L << 20, 1L << 20, 1L << 19).toDoubleArray()[0])
                .isEqualTo(11 * Math.pow(2, -40));
    }

    @Test
    void windowsThatLeave64BitsAreRefused() {
        Tensor x = Tensor.ones(1, 1, 4, 4);
        Tensor w = Tensor.ones(1, 1, 2, 2);
        for (long size : new long[] {1L << 62, Long.MAX_VALUE, Long.MIN_VALUE, -1}) {
            assertThatThrownBy(() -> Convolution.conv2d(x, w, null, 1, size, 1, 1))
                    .isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> Convolution.conv2d(x, w, null, 1, 0, size, 1))
                    .isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> Convolution.conv2d(x, w, null, 1, 0, 1, size))
                    .isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> Pooling.maxPool2d(x, size, 1, 0)).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> Pooling.maxPool2d(x, 2, 1, size)).isInstanceOf(ShapeException.class);
        }
        assertThat(Convolution.conv2d(x, w, null, Long.MAX_VALUE, 0, 1, 1).toFloatArray())
                .containsExactly(4);
    }

    @Test
    void aLayoutKnowsThatItReachesBeyond64Bits() {
        Layout wraps = Layout.of(Shape.of(2, 4), new long[] {1L << 62, 1L << 62}, 1L << 62);
        assertThat(wraps.end()).isEqualTo(Long.MAX_VALUE);
        assertThat(wraps.fits(4, 1 << 20)).isFalse();
        assertThat(wraps.isInjective()).isFalse();
        assertThatThrownBy(() -> TENSORS.viewAs(Tensor.ones(4), wraps, Context.current()))
                .isInstanceOf(ShapeException.class);
    }

    @Test
    void zeroDimensionalTensorsAreOneSlice() {
        Tensor x = Tensor.scalar(5f);
        assertThat(x.indexSelect(0, Tensor.of(0L)).item()).isEqualTo(5);
        assertThat(x.indexAdd(0, Tensor.of(-1L), Tensor.scalar(2f)).item()).isEqualTo(7);
        assertThat(x.moveDim(0, 0).item()).isEqualTo(5);
        for (Tensor index : List.of(Tensor.of(0L, 0L), Tensor.zeros(DType.INT64, 0))) {
            assertThatThrownBy(() -> x.indexSelect(0, index))
                    .hasMessageContaining("index_select")
                    .hasMessageContaining("0-d");
            assertThatThrownBy(() -> x.indexAdd(0, index, x))
                    .hasMessageContaining("index_add")
                    .hasMessageContaining("0-d");
            assertThatThrownBy(() -> x.copy().indexAdd_(0, index, x)).isInstanceOf(ShapeException.class);
        }
        for (Runnable call : List.<Runnable>of(
                () -> x.size(0),
                () -> x.narrow(0, 0, 1),
                () -> x.split(1, 0),
                () -> x.chunk(1, 0),
                () -> x.roll(1, 0),
                () -> x.unbind(0))) {
            assertThatThrownBy(call::run).isInstanceOf(ShapeException.class).hasMessageContaining("0-d");
        }
    }

    @Test
    void partsAreFewEnoughForAList() {
        Tensor wide = Tensor.ones(1).expand(HUGE);
        assertThatThrownBy(() -> wide.unbind(0))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("unbind");
        assertThatThrownBy(() -> wide.split(1, 0))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("split");
        assertThat(wide.split(Long.MAX_VALUE, 0)).hasSize(1);
        assertThat(wide.chunk(3, 0)).hasSize(3);
    }

    @Test
    void rangesAndShiftsAtTheEndsOf64Bits() {
        assertThat(Tensor.arange(Long.MIN_VALUE, Long.MAX_VALUE, Long.MAX_VALUE).toLongArray())
                .containsExactly(Long.MIN_VALUE, -1, Long.MAX_VALUE - 1);
        assertThatThrownBy(() -> Tensor.arange(Long.MIN_VALUE, Long.MAX_VALUE, 1))
                .isInstanceOf(ShapeException.class);
        assertThat(Tensor.of(0f, 1f, 2f).roll(Long.MIN_VALUE, 0).toFloatArray()).containsExactly(2, 0, 1);
        Tensor m = Tensor.ones(2, 3);
        assertThat(m.triu(Long.MIN_VALUE).sum().item()).isEqualTo(6);
        assertThat(m.triu(Long.MAX_VALUE).sum().item()).isEqualTo(0);
        assertThat(m.tril(Long.MIN_VALUE).sum().item()).isEqualTo(0);
        assertThat(m.tril(Long.MAX_VALUE).sum().item()).isEqualTo(6);
    }

    @Test
    void aPaddingRowMayBeNamedFromTheEnd() {
        Tensor w = Tensor.ones(4, 2).requiresGrad(true);
        Tensor index = Tensor.of(1L, -3L, 2L); // rows 1, 1, 2
        Tensor u = Tensor.ones(3, 2).requiresGrad(true);
        Tensor g = Autograd.grad(List.of(w.embedding(index, 1)), List.of(w), List.of(u), Autograd.Graph.CREATE, false)
                .get(0);
        assertThat(g.toFloatArray()).containsExactly(0, 0, 0, 0, 1, 1, 0, 0);
        Tensor second = Autograd.grad(List.of(g.sum()), List.of(u), null, Autograd.Graph.FREE, false)
                .get(0);
        assertThat(second.toFloatArray()).containsExactly(0, 0, 0, 0, 1, 1);
    }

    @Test
    void numbersAtTheirEnds() {
        Tensor x = Tensor.of(Long.MIN_VALUE, (1L << 53) + 1, 5L);
        Tensor y = Tensor.of(Long.MAX_VALUE, 1L << 53, 5L);
        assertThat(x.isClose(y, 0, 0).toBooleanArray()).containsExactly(false, false, true);
        assertThat(x.isClose(y, 1e-5, 1e-8).toBooleanArray()).containsExactly(false, true, true);
        assertThat(Tensor.of(-1e8, -1e9, Double.NEGATIVE_INFINITY, 0.5).acosh().toDoubleArray())
                .containsOnly(Double.NaN);
        Tensor.full(Shape.of(64), 127, DType.UINT8, Device.CPU).close();
        assertThat(Tensor.empty(Shape.of(64), DType.BOOL, Device.CPU)
                        .to(DType.UINT8)
                        .max()
                        .itemLong())
                .isLessThan(2);
    }
}
