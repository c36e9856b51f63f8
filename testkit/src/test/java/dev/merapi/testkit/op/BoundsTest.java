// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.check.OpCheck;
import dev.merapi.dispatch.Context;
import dev.merapi.error.AliasException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Nothing reads or writes outside of its tensor, whatever an op's author does. */
class BoundsTest {
    public record X(Tensor x) {}

    public record XY(Tensor x, Tensor y) {}

    private static Op<X, Tensor> op(Kernel<X, Tensor> kernel) {
        return Op.define("test::bounds", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, kernel)
                .nonDifferentiable();
    }

    @ParameterizedTest
    @ValueSource(longs = {-1, 4, 1_000_000, 1L << 32, Long.MAX_VALUE, Long.MIN_VALUE})
    void aJavaKernelCannotLeaveItsTensor(long index) {
        Tensor x = Tensor.ones(4);
        for (DType dtype : DType.values()) {
            Tensor t = Tensor.ones(dtype, 4);
            assertOutside(() -> Elements.of(t).setDouble(index, 1), index);
            assertOutside(() -> Elements.of(t).setLong(index, 1), index);
            assertOutside(() -> Elements.of(t).getDouble(index), index);
            assertOutside(() -> Elements.of(t).getLong(index), index);
        }
        assertOutside(() -> op((a, out) -> Elements.of(out).setDouble(index, 1)).call(new X(x)), index);
    }

    @ParameterizedTest
    @ValueSource(longs = {-1, 4, 1_000_000, Long.MAX_VALUE})
    void norAStridedOne(long index) {
        Elements e = Elements.of(Tensor.ones(2, 4).t().slice(0, 1, 3));
        assertThat(e.numel()).isEqualTo(4);
        assertOutside(() -> e.getDouble(index), index);
        assertOutside(() -> e.setDouble(index, 1), index);
    }

    private static void assertOutside(Runnable access, long index) {
        assertThatThrownBy(access::run)
                .isInstanceOf(IndexOutOfBoundsException.class)
                .hasMessageContaining(Long.toString(index));
    }

    @Test
    void opCheckFindsAKernelThatRunsOneOver() {
        Op<X, Tensor> over = op((a, out) -> {
            for (long i = 0; i <= out.numel(); i++) {
                Elements.of(out).setDouble(i, 1);
            }
        });
        assertThat(OpCheck.of(over).samples(new X(Tensor.ones(3))).run().ok()).isFalse();
    }

    @Test
    void opCheckTellsAKernelsOwnBugFromARefusal() {
        Op<X, Tensor> small = op((a, out) -> {
            double[] buffer = new double[6];
            for (int i = 0; i < out.numel(); i++) {
                buffer[i] = Elements.of(a.x()).getDouble(i);
                Elements.of(out).setDouble(i, buffer[i]);
            }
        });
        OpCheck.Report report = OpCheck.of(small).samples(new X(Tensor.ones(6))).run();
        assertThat(report.toString())
                .contains("FAILED       sample 0: odd sizes")
                .contains("Index 6 out of bounds");
    }

    @Test
    void aViewRuleCannotReachBeyondTheMemory() {
        Tensor x = Tensor.ones(2);
        List<Layout> beyond = List.of(
                Layout.of(Shape.of(3), new long[] {1}, 0),
                Layout.of(Shape.of(2), new long[] {1L << 62}, 0),
                Layout.of(Shape.of(3, 3), new long[] {Long.MAX_VALUE / 2, Long.MAX_VALUE / 2}, 0),
                Layout.of(Shape.of(2), new long[] {1}, Long.MAX_VALUE));
        for (Layout layout : beyond) {
            Op<X, Tensor> view =
                    Op.define("test::beyond", X.class, Tensor.class).view("x", a -> layout);
            assertThatThrownBy(() -> view.call(new X(x)))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("test::beyond")
                    .hasMessageContaining("beyond the memory");
            assertThatThrownBy(() -> TENSORS.viewAs(x, layout, Context.current()))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("float32[2] cpu");
            assertThatThrownBy(() -> TENSORS.over(TENSORS.storage(x), layout, DType.FLOAT32))
                    .isInstanceOf(ShapeException.class);
        }
    }

    @Test
    void twoDestinationsMayNotMeet() {
        Op<XY, Tensor> both = Op.define("test::both", XY.class, Tensor.class)
                .mutates("x", "y")
                .returnsMutated()
                .shape(XY::x)
                .kernel(DeviceType.CPU, (a, out) -> {
                    a.x().fill_(7);
                    a.y().fill_(8);
                });
        Tensor x = Tensor.ones(4);
        assertThatThrownBy(() -> both.call(new XY(x.slice(0, 0, 3), x.slice(0, 2, 4))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("test::both")
                .hasMessageContaining("overlap");
        assertThatThrownBy(() -> both.call(new XY(x, x))).isInstanceOf(AliasException.class);
        assertThat(x.toFloatArray()).containsExactly(1, 1, 1, 1);
        both.call(new XY(x.slice(0, 0, 3), x.slice(0, 3, 4)));
        assertThat(x.toFloatArray()).containsExactly(7, 7, 7, 8);
        both.call(new XY(x.slice(0, 0, 4, 2), x.slice(0, 1, 4, 2)));
        assertThat(x.toFloatArray()).containsExactly(7, 8, 7, 8);
    }
}
