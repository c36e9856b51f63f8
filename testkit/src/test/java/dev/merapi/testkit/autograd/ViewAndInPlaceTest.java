// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.check.GradCheck;
import dev.merapi.error.GradientException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Views, writes in place, and gradients through both. */
class ViewAndInPlaceTest {
    public record X(Tensor x) {}

    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    @Test
    void gradientsPassThroughEveryView() {
        Tensor x = Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3).requiresGrad(true);
        GradCheck.ofMany(
                        in -> {
                            Tensor t = in.get(0);
                            return List.of(
                                    t.transpose(0, 1).mul(2),
                                    t.permute(1, 0).select(0, 1),
                                    t.slice(1, 1, 3),
                                    t.select(0, 1).expand(4, 3),
                                    t.view(3, 2).diagonal(0, 0, 1),
                                    t.reshape(6).view(1, 6),
                                    t.split(new long[] {1, 2}, 1).get(1));
                        },
                        List.of(x))
                .run()
                .orThrow();
    }

    @Test
    void splitGivesEachPartItsShare() {
        Tensor x = leaf(1, 2, 3, 4, 5);
        List<Tensor> parts = x.split(new long[] {2, 3}, 0);
        Autograd.backward(parts.get(1).mul(parts.get(1)).sum().add(parts.get(0).sum()));
        assertThat(x.grad().toDoubleArray()).containsExactly(1, 1, 6, 8, 10);
    }

    @Test
    void aWriteThroughAViewGivesTheBaseANewHistory() {
        Tensor x = leaf(1, 1, 1, 1);
        Tensor base = x.mul(1);
        Tensor front = base.slice(0, 0, 2);
        front.mul_(Tensor.of(3.0));
        assertThat(base.toDoubleArray()).containsExactly(3, 3, 1, 1);
        Autograd.backward(base.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(3, 3, 1, 1);
    }

    @Test
    void siblingsAndTheBaseDeriveTheirHistoryAgain() {
        Tensor x = leaf(1, 2, 3, 4);
        Tensor base = x.mul(1);
        Tensor left = base.slice(0, 0, 3);
        Tensor right = base.slice(0, 1, 4);
        Tensor y = leaf(10, 20, 30);
        left.mul_(y);
        Autograd.backward(right.mul(Tensor.of(1.0, 10.0, 100.0)).sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(0, 20, 300, 100);
        assertThat(y.grad().toDoubleArray()).containsExactly(0, 2, 30);
    }

    @Test
    void lookingAtAViewDoesNotChangeWhatItIsWhenItsBaseIsFrozen() {
        for (boolean look : new boolean[] {false, true}) {
            Tensor base = leaf(1, 2);
            try (var unused = Autograd.noGrad()) {
                Tensor view = base.slice(0, 1, 2);
                base.exp_();
                if (look) {
                    assertThat(view.requiresGrad()).isTrue();
                }
                base.requiresGrad(false);
                assertThat(view.requiresGrad()).as("looked: " + look).isFalse();
                base.requiresGrad(true);
                assertThat(view.requiresGrad()).as("looked: " + look).isTrue();
            }
        }
    }

    @Test
    void aWriteToTheBaseReachesItsViews() {
        Tensor x = leaf(1, 2);
        Tensor base = x.mul(1);
        Tensor view = base.slice(0, 1, 2);
        base.mul_(Tensor.of(5.0));
        assertThat(view.item()).isEqualTo(10);
        Autograd.backward(view.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(0, 5);
    }

    @Test
    void viewsOfViewsAndChainsOfWritesAreRight() {
        Tensor x = Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3).requiresGrad(true);
        Tensor w = leaf(2, 3);
        GradCheck.of(
                        in -> {
                            Tensor base = in.get(0).mul(1);
                            Tensor t = base.transpose(0, 1);
                            Tensor row = t.select(0, 1);
                            row.mul_(in.get(1));
                            t.slice(0, 0, 2)
                                    .add_(base.transpose(0, 1).slice(0, 1, 3).mul(0.5));
                            row.mul_(row.add(1));
                            return base.mul(base);
                        },
                        List.of(x, w))
                .run()
                .orThrow();
    }

    @Test
    void aConstantGetsAHistoryByAWrite() {
        Tensor y = leaf(3);
        Tensor x = Tensor.of(1.0, 1.0);
        Tensor view = x.slice(0, 0, 1);
        x.mul_(y.expand(2));
        assertThat(x.requiresGrad()).isTrue();
        assertThat(view.requiresGrad()).isTrue();
        Autograd.backward(view.mul(7));
        assertThat(y.grad().item()).isEqualTo(7);
    }

    @Test
    void copyIntoReplacesTheHistory() {
        Tensor x = leaf(1, 2);
        Tensor y = leaf(5);
        Tensor t = x.mul(2);
        t.slice(0, 0, 1).copy_(y);
        Autograd.backward(t.mul(t).sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(0, 16);
        assertThat(y.grad().item()).isEqualTo(10);
    }

    @Test
    void writesToLeavesAreRefusedWhileRecordingAndAllowedWithout() {
        Tensor x = leaf(1, 2);
        assertThatThrownBy(() -> x.mul_(Tensor.of(2.0)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("leaf that requires a gradient")
                .hasMessageContaining("noGrad");
        assertThatThrownBy(() -> x.slice(0, 0, 1).mul_(Tensor.of(2.0)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("view of a leaf");
        assertThat(x.toDoubleArray()).as("nothing was changed").containsExactly(1, 2);
        assertThat(x.version()).isZero();
        Autograd.noGrad(() -> x.mul_(Tensor.of(2.0)));
        assertThat(x.toDoubleArray()).containsExactly(2, 4);
        Autograd.backward(x.mul(x).sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 8);
    }

    @Test
    void writesToOneOfSeveralViewsAreRefused() {
        Tensor x = leaf(1, 2, 3).mul(1);
        Tensor part = x.split(new long[] {1, 2}, 0).get(0);
        assertThatThrownBy(() -> part.mul_(Tensor.of(2.0)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("one of several views");
    }

    @Test
    void aWriteWithoutRecordingIsSeenByTheVersionCheck() {
        Tensor x = leaf(3);
        Tensor a = x.mul(2);
        Tensor y = a.mul(a);
        Autograd.noGrad(() -> a.detach().zero_());
        assertThatThrownBy(() -> Autograd.backward(y)).isInstanceOf(SavedTensorException.class);
    }

    @Test
    void detachedTensorsShareMemoryAndVersionsButNoGraph() {
        Tensor x = leaf(1, 2);
        Tensor d = x.detach();
        d.mul_(Tensor.of(3.0));
        assertThat(x.toDoubleArray()).containsExactly(3, 6);
        assertThat(x.version()).isEqualTo(1);
        assertThat(d.requiresGrad()).isFalse();
    }

    /** x ← x² in place, with a formula that saves a copy of the result. */
    private static Op<X, Tensor> squareInto() {
        return Op.define("test::square_", X.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(X::x)
                .reference((a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        double v = Elements.of(out).getDouble(i);
                        Elements.of(out).setDouble(i, v * v);
                    }
                })
                .autograd(
                        (a, out) -> out.copy(),
                        (c, y, g) -> Grads.of("x", g.mul(y.sqrt()).mul(2)))
                .register();
    }

    @Test
    void aUsersInPlaceOpIsRecordedOnBasesAndViews() {
        Op<X, Tensor> op = squareInto();
        try {
            Tensor x = leaf(2, 3, 4);
            GradCheck.of(
                            in -> {
                                Tensor base = in.get(0).mul(1);
                                op.call(new X(base));
                                op.call(new X(base.slice(0, 1, 3)));
                                return base;
                            },
                            List.of(x))
                    .run()
                    .orThrow();
            Tensor t = x.mul(1);
            assertThat(op.call(new X(t))).isSameAs(t);
            assertThat(Autograd.gradFn(t).name()).isEqualTo("test::square_");
        } finally {
            dev.merapi.op.OpRegistry.destroy("test::square_");
        }
    }

    @Test
    void secondDerivativesPassThroughInPlaceWrites() {
        Tensor x = leaf(1.5, 2);
        GradCheck.second(
                        in -> {
                            Tensor base = in.get(0).mul(in.get(0));
                            base.slice(0, 0, 1).mul_(in.get(0).slice(0, 1, 2));
                            return base;
                        },
                        List.of(x))
                .run()
                .orThrow();
    }

    @Test
    void aViewMadeWithoutRecordingFollowsItsBaseLater() {
        Tensor x = leaf(1, 2);
        Tensor base = x.mul(1);
        Tensor view = Autograd.noGrad(() -> base.slice(0, 0, 1));
        assertThat(view.requiresGrad()).isFalse();
        base.mul_(Tensor.of(4.0));
        Autograd.backward(view.sum(), null, Graph.FREE);
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 0);
    }

    /** Windows of two: [x0, x1], [x1, x2], … in a square. */
    private static Op<X, Tensor> windows() {
        return Op.define("test::windows", X.class, Tensor.class).view("x", a -> {
            Layout x = a.x().layout();
            return Layout.of(Shape.of(a.x().numel() - 1, 2), new long[] {1, 1}, x.offset());
        });
    }

    @Test
    void windowsThatOverlapAddUp() {
        Tensor square = Tensor.of(new double[] {1, 2, 3}, 3).requiresGrad(true);
        Autograd.backward(windows().call(new X(square)).sum());
        assertThat(square.grad().toDoubleArray()).containsExactly(1, 2, 1);
        // Here the gradient has the very shape of the input.
        Op<X, Tensor> diagonal = Op.define("test::diagonal", X.class, Tensor.class)
                .view("x", a -> Layout.of(Shape.of(2, 2), new long[] {1, 1}, 0));
        Tensor x = Tensor.of(new double[] {1, 2, 3, 4}, 2, 2).requiresGrad(true);
        Autograd.backward(diagonal.call(new X(x)).sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(1, 2, 1, 0);
        GradCheck.second(in -> windows().call(new X(in.get(0))).square().square(), List.of(square))
                .run()
                .orThrow();
    }

    @Test
    void longChainsOfViewsAreMadeAgainWithoutRecursion() {
        Tensor x = leaf(1, 2, 3, 4);
        Tensor base = x.mul(1);
        Tensor view = base;
        for (int i = 0; i < 20_000; i++) {
            view = view.view(4);
        }
        base.mul_(2);
        Autograd.backward(view.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(2, 2, 2, 2);
        view.mul_(3);
        x.setGrad(null);
        Autograd.backward(base.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(6, 6, 6, 6);
    }

    /** The value is made of a scalar alone, which is no float32 on its way. */
    @Test
    void whatIsFilledWhileAGradientIsRecordedHasAllDigits() {
        Tensor x = Tensor.of(new double[] {1, 2}).requiresGrad(true);
        Tensor y = x.mul(1);
        y.fill_(0.1);
        assertThat(y.toDoubleArray()).containsExactly(0.1, 0.1);
        Autograd.backward(y.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(0, 0);
    }

    @Test
    void aClosedViewSaysWhetherItWantedAGradient() {
        Tensor x = Tensor.of(1.0, 2.0).requiresGrad(true);
        Tensor base = x.mul(2);
        Tensor view = base.view(2, 1);
        base.mul_(3);
        base.close();
        view.close();
        assertThat(view.requiresGrad()).isTrue();
    }
}
