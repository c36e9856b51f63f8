// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.autograd.Node;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Running backward: accumulation, subsets, graphs kept and created, modes, hooks, depth, threads. */
class BackwardTest {
    public record X(Tensor x) {}

    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    private static Tensor second(Tensor first, Tensor x) {
        return Autograd.grad(first, List.of(x), Graph.CREATE).get(0);
    }

    // ---------------------------------------------------------------- accumulation

    @Test
    void leavesAccumulateOverPassesIntoTheSameTensor() {
        Tensor x = leaf(1, 2);
        Autograd.backward(x.mul(x).sum());
        Tensor grad = x.grad();
        assertThat(grad.toDoubleArray()).containsExactly(2, 4);
        Autograd.backward(x.mul(3).sum());
        assertThat(x.grad()).isSameAs(grad);
        assertThat(grad.toDoubleArray()).containsExactly(5, 7);
        x.setGrad(null);
        assertThat(x.grad()).isNull();
        assertThat(grad.isClosed()).isTrue();
    }

    @Test
    void accumulationGoesIntoAGivenBuffer() {
        Tensor flat = Tensor.zeros(DType.FLOAT64, 5);
        Tensor x = leaf(1, 2);
        x.setGrad(flat.slice(0, 2, 4));
        Autograd.backward(x.mul(x).sum());
        assertThat(flat.toDoubleArray()).containsExactly(0, 0, 2, 4, 0);
        assertThatThrownBy(() -> x.setGrad(Tensor.zeros(2)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("float32[2]");
    }

    @Test
    void aLeafUsedManyTimesGetsTheSum() {
        Tensor x = leaf(3);
        Tensor y = x.mul(x).add(x).add(x.mul(x.mul(x)));
        Autograd.backward(y);
        assertThat(x.grad().item()).isEqualTo(2 * 3 + 1 + 3 * 9);
    }

    @Test
    void onlyTheNamedLeavesAccumulate() {
        Tensor x = leaf(2);
        Tensor w = leaf(3);
        Tensor unused = leaf(4);
        w.setGrad(Tensor.of(10.0));
        int[] calls = {0};
        Autograd.hookAfterAccumulate(x, leaf -> calls[0]++);
        Autograd.hook(w, g -> {
            throw new AssertionError("not on the way to a leaf that was named");
        });
        Autograd.backward(x.mul(x).mul(w).sum(), List.of(x, unused));
        assertThat(x.grad().item()).isEqualTo(12);
        assertThat(w.grad().item()).as("keeps what it has").isEqualTo(10);
        assertThat(unused.grad()).as("the loss does not depend on it").isNull();
        assertThat(calls[0]).isEqualTo(1);
        Autograd.backward(x.mul(5), List.of(x, x));
        assertThat(x.grad().item()).as("named twice, accumulated once").isEqualTo(17);
    }

    @Test
    void whatIsNoLeafIsRefusedBeforeAnythingAccumulates() {
        Tensor x = leaf(2);
        Tensor y = x.mul(x);
        assertThatThrownBy(() -> Autograd.backward(y, List.of(x, y)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("leaves[1], float64[1] cpu")
                .hasMessageContaining("grad(loss, inputs)");
        assertThatThrownBy(() -> Autograd.backward(y, List.of(x, Tensor.of(1.0))))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("leaves[1]")
                .hasMessageContaining("requiresGrad(true)");
        assertThatThrownBy(() -> Autograd.backward(y, List.of()))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("no leaf is named");
        assertThat(x.grad()).isNull();
        Autograd.backward(y, List.of(x));
        assertThat(x.grad().item()).isEqualTo(4);
    }

    @Test
    void gradientsOfUnusedInputsMayBeZeros() {
        Tensor x = leaf(3);
        Tensor unused = leaf(1, 2);
        List<Tensor> first = Autograd.gradOrZeros(x.mul(x).mul(x), List.of(unused, x), Graph.CREATE);
        assertThat(first.get(0).toDoubleArray()).containsExactly(0, 0);
        assertThat(first.get(0).dtype()).isEqualTo(DType.FLOAT64);
        assertThat(first.get(1).item()).isEqualTo(27);
        assertThat(Autograd.gradOrZeros(first.get(1), List.of(x)).get(0).item())
                .as("6x")
                .isEqualTo(18);
        assertThatThrownBy(() -> Autograd.grad(x.mul(2), List.of(unused)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("gradOrZeros");
    }

    @Test
    void severalOutputsGoInOnePass() {
        Tensor x = leaf(2);
        int[] accumulated = {0};
        Autograd.hookAfterAccumulate(x, leaf -> accumulated[0]++);
        Tensor a = x.mul(3);
        Tensor b = a.mul(x);
        Autograd.backward(List.of(a, b, a), null, Graph.FREE);
        assertThat(x.grad().item()).isEqualTo(3 + 12 + 3);
        assertThat(accumulated[0]).isOne();
    }

    @Test
    void anIncomingGradientIsLeftAloneAndMayBeExpanded() {
        Tensor x = leaf(1, 2, 3);
        Tensor seed = Tensor.of(2.0).expand(3);
        Autograd.backward(x.mul(1), seed, Graph.FREE);
        Autograd.backward(x.mul(1), seed, Graph.FREE);
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 4, 4);
        assertThat(seed.toDoubleArray()).containsExactly(2, 2, 2);
        Tensor y = leaf(1, 2, 3);
        Autograd.backward(y, seed, Graph.FREE);
        Autograd.backward(y, seed, Graph.FREE);
        assertThat(y.grad().toDoubleArray()).containsExactly(4, 4, 4);
        assertThat(seed.toDoubleArray()).containsExactly(2, 2, 2);
    }

    @Test
    void twoLeavesThatGetTheSameGradientDoNotShareIt() {
        Tensor x = leaf(1);
        Tensor y = leaf(2);
        Autograd.backward(x.add(y));
        x.grad().add_(Tensor.of(10.0));
        assertThat(y.grad().item()).isEqualTo(1);
    }

    /** The first gradient of addcmul is a root that the others are made of; those are outputs of one node. */
    @Test
    void theOrderOfRootsChangesNothing() {
        Tensor x = leaf(1, 2);
        Tensor a = leaf(3, 4);
        Tensor b = leaf(5, 6);
        Tensor y = x.addcmul(a, b, 1);
        List<Tensor> first = Autograd.grad(List.of(y.mul(y)), List.of(x, a, b), ones(1), Graph.CREATE, false);
        for (int[] order : new int[][] {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}) {
            List<Tensor> roots = List.of(first.get(order[0]), first.get(order[1]), first.get(order[2]));
            List<Tensor> found = Autograd.grad(roots, List.of(x, a, b), ones(3), Graph.RETAIN, false);
            // Of 2y(1 + a + b) with y = x + a·b: by x 2(1 + a + b), by a 2b(1 + a + b) + 2y.
            assertThat(found.get(0).toDoubleArray()).containsExactly(18, 22);
            assertThat(found.get(1).toDoubleArray()).containsExactly(90 + 32, 132 + 52);
            assertThat(found.get(2).toDoubleArray()).containsExactly(54 + 32, 88 + 52);
        }
    }

    private static List<Tensor> ones(int count) {
        return java.util.Collections.nCopies(count, Tensor.of(new double[] {1, 1}));
    }

    @Test
    void badRootsAndGradientsAreRefused() {
        Tensor x = leaf(1, 2);
        assertThatThrownBy(() -> Autograd.backward(x.mul(2)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("has 2 elements")
                .hasMessageContaining("sum, mean");
        assertThatThrownBy(() -> Autograd.backward(Tensor.of(1.0)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("does not require a gradient")
                .hasMessageContaining("why: it is a leaf without requiresGrad(true)");
        assertThatThrownBy(() -> Autograd.backward(x.mul(2), Tensor.of(1.0), Graph.FREE))
                .hasMessageContaining("gradients[0] is float64[1] cpu, but its output is float64[2] cpu");
        assertThatThrownBy(() -> Autograd.backward(x.mul(2), Tensor.of(1f, 2f), Graph.FREE))
                .hasMessageContaining("float32[2]");
        assertThatThrownBy(() -> Autograd.backward(List.of(x.sum()), List.of(), Graph.FREE))
                .hasMessageContaining("0 gradients for 1 outputs");
        assertThatThrownBy(() -> Tensor.of(1L).requiresGrad(true)).hasMessageContaining("only floating");
    }

    // ---------------------------------------------------------------- grad

    @Test
    void gradTouchesNoLeafAndRunsOnlyWhatLeadsToTheInputs() {
        int[] ran = {0};
        Op<X, Tensor> counted = Op.define("test::counted", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) ->
                        Elements.of(out).setDouble(0, Elements.of(a.x()).getDouble(0)))
                .autograd((a, out) -> null, (c, s, g) -> {
                    ran[0]++;
                    return Grads.of("x", g);
                });
        Tensor x = leaf(2);
        Tensor w = leaf(5);
        Tensor y = x.mul(w).add(counted.call(new X(w)));
        List<Tensor> g = Autograd.grad(List.of(y), List.of(x), null, Graph.RETAIN, false);
        assertThat(g.get(0).item()).isEqualTo(5);
        assertThat(ran[0]).isZero();
        assertThat(x.grad()).isNull();
        assertThat(w.grad()).isNull();
        assertThat(Autograd.grad(y, List.of(w, x, w)).stream().map(Tensor::item))
                .containsExactly(3.0, 5.0, 3.0);
        assertThat(ran[0]).isOne();
    }

    @Test
    void gradReachesIntermediatesAndReportsUnusedInputs() {
        Tensor x = leaf(2);
        Tensor a = x.mul(3);
        Tensor y = a.mul(a);
        assertThat(Autograd.grad(List.of(y), List.of(a, x), null, Graph.RETAIN, false)
                        .get(0)
                        .item())
                .isEqualTo(12);
        assertThat(Autograd.grad(List.of(y), List.of(y), null, Graph.RETAIN, false)
                        .get(0)
                        .item())
                .isOne();
        assertThatThrownBy(() -> Autograd.grad(y, List.of(leaf(1)))).hasMessageContaining("inputs[0], float64[1] cpu");
        assertThatThrownBy(() -> Autograd.grad(y, List.of(Tensor.of(1.0)))).isInstanceOf(GradientException.class);
    }

    @Test
    void aResultHasNoGraphUnlessOneIsCreated() {
        Tensor x = leaf(2);
        Tensor seed = leaf(1);
        Tensor g = Autograd.grad(List.of(x.add(x)), List.of(x), List.of(seed), Graph.FREE, false)
                .get(0);
        assertThat(g.requiresGrad()).isFalse();
        Tensor h = Autograd.grad(List.of(x.add(0)), List.of(x), List.of(seed), Graph.FREE, false)
                .get(0);
        assertThat(h.requiresGrad()).isFalse();
        Tensor k = Autograd.grad(List.of(x.add(0)), List.of(x), List.of(seed), Graph.CREATE, false)
                .get(0);
        assertThat(k.requiresGrad()).isTrue();
    }

    @Test
    void graphsOfAnyOrderAreCreated() {
        Tensor x = leaf(0.7);
        Tensor y = x.mul(x).mul(x).mul(x);
        double[] expected = {4 * Math.pow(0.7, 3), 12 * 0.49, 24 * 0.7, 24};
        for (double e : expected) {
            y = second(y, x);
            assertThat(y.item()).isCloseTo(e, org.assertj.core.api.Assertions.within(1e-12));
        }
    }

    @Test
    void aGraphKeptMayRunAgain() {
        Tensor x = leaf(3);
        Tensor y = x.mul(x);
        Autograd.backward(y, null, Graph.RETAIN);
        Autograd.backward(y, null, Graph.RETAIN);
        Autograd.backward(y);
        assertThat(x.grad().item()).isEqualTo(18);
    }

    @Test
    void backwardThroughACreatedGraphAccumulatesSecondDerivatives() {
        Tensor x = leaf(3);
        Autograd.backward(x.mul(x).mul(x), null, Graph.CREATE);
        Tensor first = x.grad();
        assertThat(first.item()).isEqualTo(27);
        assertThat(first.requiresGrad()).isTrue();
        x.setGrad(null);
        Tensor again = second(x.mul(x).mul(x), x);
        Autograd.backward(again);
        assertThat(x.grad().item()).isEqualTo(18);
    }

    // ---------------------------------------------------------------- modes

    @Test
    void modesNestAndEndWithTheirBlock() {
        Tensor x = leaf(1);
        try (Autograd.Mode off = Autograd.noGrad()) {
            assertThat(x.mul(2).requiresGrad()).isFalse();
            try (Autograd.Mode on = Autograd.enableGrad()) {
                assertThat(x.mul(2).requiresGrad()).isTrue();
            }
            assertThat(Autograd.isGradEnabled()).isFalse();
            try (Autograd.Mode inference = Autograd.inference()) {
                assertThat(x.mul(2).isInference()).isTrue();
            }
            assertThat(x.mul(2).isInference()).isFalse();
        }
        assertThat(Autograd.isGradEnabled()).isTrue();
        assertThat(x.detach().requiresGrad()).isFalse();
    }

    /** Whoever closes them in the wrong order gets a thread that is as it was before. */
    @Test
    void modesThatEndTooEarlyTakeTheInnerOnesAlong() throws Exception {
        Autograd.Mode first = Autograd.noGrad();
        Autograd.Mode second = Autograd.enableGrad();
        SavedTensorHooks hooks = SavedTensorHooks.refuse("no saving here");
        first.close();
        assertThat(Autograd.isGradEnabled()).isTrue();
        Tensor x = leaf(3);
        Autograd.backward(x.mul(x)); // the hooks are gone, too
        hooks.close();
        second.close();
        assertThat(Autograd.isGradEnabled()).isTrue();

        Autograd.Mode mine = Autograd.noGrad();
        List<Throwable> thrown = new ArrayList<>();
        Thread other = new Thread(() -> {
            try {
                mine.close();
            } catch (Throwable t) {
                thrown.add(t);
            }
        });
        other.start();
        other.join();
        assertThat(thrown).singleElement().isInstanceOf(IllegalStateException.class);
        assertThat(thrown.get(0)).hasMessageContaining("noGrad: closed by thread");
        assertThat(Autograd.isGradEnabled()).isFalse();
        mine.close();
        assertThat(Autograd.isGradEnabled()).isTrue();
    }

    @Test
    void anomalyModeShowsWhereTheForwardRan() {
        Op<X, Tensor> bad = Op.define("test::bad", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1))
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.mul(Double.NaN)));
        Tensor x = leaf(1);
        Autograd.backward(bad.call(new X(x)));
        assertThat(x.grad().item()).isNaN();
        try (Autograd.Mode mode = Autograd.anomaly()) {
            assertThatThrownBy(() -> Autograd.backward(bad.call(new X(x))))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("backward of test::bad: the gradient of 'x' has NaN")
                    .satisfies(
                            e -> assertThat(e.getSuppressed()[0].getMessage()).isEqualTo("forward call of test::bad"));
        }
    }

    @Test
    void anExceptionInBackwardLeavesTheThreadUsable() {
        Op<X, Tensor> bad = Op.define("test::throws", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1))
                .autograd((a, out) -> null, (c, s, g) -> {
                    throw new IllegalStateException("formula");
                });
        Tensor x = leaf(1);
        List<String> after = new ArrayList<>();
        Tensor y = bad.call(new X(x.mul(2)));
        Autograd.hook(y, g -> {
            Autograd.atEndOfBackward(() -> after.add("end"));
            return null;
        });
        assertThatThrownBy(() -> Autograd.backward(y)).hasMessage("formula");
        assertThat(after).isEmpty();
        assertThat(Autograd.isGradEnabled()).isTrue();
        Autograd.backward(x.mul(2));
        assertThat(x.grad().item()).isEqualTo(2);
    }

    @Test
    void endOfBackwardActionsRunOnceAfterThePass() {
        Tensor x = leaf(1);
        List<String> order = new ArrayList<>();
        Autograd.hookAfterAccumulate(x, leaf -> {
            order.add("accumulated");
            Autograd.atEndOfBackward(() -> order.add("end"));
        });
        Autograd.backward(x.mul(2));
        assertThat(order).containsExactly("accumulated", "end");
        Autograd.atEndOfBackward(() -> order.add("at once"));
        assertThat(order).endsWith("at once");
    }

    // ---------------------------------------------------------------- hooks

    @Test
    void tensorHooksRunInOrderAndMayReplaceTheGradient() {
        Tensor x = leaf(1);
        Tensor y = x.mul(2);
        List<Double> seen = new ArrayList<>();
        Autograd.hook(y, g -> {
            seen.add(g.item());
            return g.mul(10);
        });
        Runnable remove = Autograd.hook(y, g -> {
            seen.add(g.item());
            return null;
        });
        Autograd.hook(x, g -> g.add(1));
        Autograd.backward(y, null, Graph.RETAIN);
        assertThat(seen).containsExactly(1.0, 10.0);
        assertThat(x.grad().item()).isEqualTo(21);
        remove.run();
        Autograd.backward(y);
        assertThat(seen).containsExactly(1.0, 10.0, 1.0);
    }

    @Test
    void aHookSeesTheSumAndCanKeepIt() {
        Tensor x = leaf(3);
        Tensor y = x.mul(1);
        List<Tensor> kept = new ArrayList<>();
        Autograd.hook(y, g -> {
            kept.add(g.leaveScope());
            return null;
        });
        try (Scope scope = Scope.open()) {
            Autograd.backward(y.mul(2).add(y.mul(5)));
        }
        assertThat(kept).hasSize(1);
        assertThat(kept.get(0).item()).isEqualTo(7);
    }

    @Test
    void hooksAreCheckedAndRefusedWhereThereIsNoGradient() {
        assertThatThrownBy(() -> Autograd.hook(Tensor.of(1.0), g -> g)).isInstanceOf(GradientException.class);
        assertThatThrownBy(() -> Autograd.hookAfterAccumulate(leaf(1).mul(2), t -> {}))
                .hasMessageContaining("leaves");
        Tensor x = leaf(1, 2);
        Autograd.hook(x, g -> g.sum());
        assertThatThrownBy(() -> Autograd.backward(x.sum()))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("float64[]")
                .hasMessageContaining("float64[2]");
    }

    @Test
    void retainedGradientsShowTheFinalValue() {
        Tensor x = leaf(1);
        Tensor y = x.mul(2);
        Autograd.retainGrad(y);
        Autograd.hook(y, g -> g.mul(3));
        Autograd.backward(y.mul(5));
        assertThat(y.grad().item()).isEqualTo(15);
        assertThat(x.grad().item()).isEqualTo(30);
        assertThatThrownBy(() -> Autograd.retainGrad(Tensor.of(1.0))).isInstanceOf(GradientException.class);
    }

    @Test
    void aRetainedGradientFollowsAnInPlaceOp() {
        Tensor x = leaf(1);
        Tensor y = x.mul(2);
        Autograd.retainGrad(y);
        y.mul_(Tensor.of(10.0));
        Autograd.backward(y.mul(5));
        assertThat(y.grad().item()).isEqualTo(5);
        assertThat(x.grad().item()).isEqualTo(100);
    }

    @Test
    void nodeHooksSeeBothSidesAndMayReplaceInputGradients() {
        Tensor x = leaf(2);
        Tensor y = x.mul(3);
        Node node = Autograd.gradFn(y);
        assertThat(node.name()).isEqualTo("merapi::mul_scalar");
        Runnable remove = node.addHook((inputs, outputs) -> {
            assertThat(outputs.get(0).item()).isEqualTo(1);
            return List.of(inputs.get(0).mul(100));
        });
        Autograd.backward(y, null, Graph.RETAIN);
        assertThat(x.grad().item()).isEqualTo(300);
        remove.run();
        Autograd.backward(y);
        assertThat(x.grad().item()).isEqualTo(303);
    }

    @Test
    void hooksBeforeANodeMayReplaceWhatComesIn() {
        Tensor x = leaf(2);
        Tensor y = x.mul(3);
        Node node = Autograd.gradFn(y);
        Runnable remove = node.addPreHook(gradients -> {
            assertThat(gradients.get(0).item()).isEqualTo(1);
            return List.of(gradients.get(0).mul(10));
        });
        Autograd.backward(y, null, Graph.RETAIN);
        assertThat(x.grad().item()).isEqualTo(30);
        remove.run();
        node.addPreHook(gradients -> List.of(gradients.get(0), gradients.get(0)));
        assertThatThrownBy(() -> Autograd.backward(y))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("returned 2 gradients for 1 outputs");
    }

    // ---------------------------------------------------------------- depth and threads

    @Test
    void aHundredThousandNodesDoNotOverflowTheStack() {
        Tensor x = leaf(1);
        Tensor y = x;
        for (int i = 0; i < 100_000; i++) {
            y = y.add(1);
        }
        Autograd.backward(y);
        assertThat(x.grad().item()).isOne();
    }

    @Test
    void manyThreadsRecordAndRunBackwardIntoSharedLeaves() throws InterruptedException {
        Tensor w = leaf(2, 3);
        int threads = 8;
        int rounds = 50;
        AtomicReference<Throwable> failure = new AtomicReference<>();
        CountDownLatch start = new CountDownLatch(1);
        List<Thread> all = new ArrayList<>();
        for (int t = 0; t < threads; t++) {
            Thread thread = new Thread(() -> {
                try {
                    start.await();
                    for (int i = 0; i < rounds; i++) {
                        try (Scope scope = Scope.open()) {
                            Autograd.backward(w.mul(w).add(w.slice(0, 0, 1)).sum());
                        }
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            });
            all.add(thread);
            thread.start();
        }
        start.countDown();
        for (Thread thread : all) {
            thread.join();
        }
        assertThat(failure.get()).isNull();
        assertThat(w.grad().toDoubleArray()).containsExactly(threads * rounds * (2.0 * 2 + 2), threads * rounds * 6.0);
    }

    @Test
    void manyThreadsMayWalkOneGraphThatIsKept() throws InterruptedException {
        Tensor x = leaf(3);
        Tensor y = x.mul(x).mul(x);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> all = new ArrayList<>();
        for (int t = 0; t < 6; t++) {
            Thread thread = new Thread(() -> {
                for (int i = 0; i < 100 && failure.get() == null; i++) {
                    try {
                        double g = Autograd.grad(List.of(y), List.of(x), null, Graph.RETAIN, false)
                                .get(0)
                                .item();
                        assertThat(g).isEqualTo(27);
                    } catch (Throwable e) {
                        failure.compareAndSet(null, e);
                    }
                }
            });
            all.add(thread);
            thread.start();
        }
        for (Thread thread : all) {
            thread.join();
        }
        assertThat(failure.get()).isNull();
    }

    @Test
    void backwardInsideAHookIsAPassOfItsOwn() {
        Tensor x = leaf(2);
        Tensor w = leaf(5);
        Tensor y = x.mul(3);
        Autograd.hook(y, g -> {
            try (Autograd.Mode on = Autograd.enableGrad()) {
                Autograd.backward(w.mul(w));
            }
            return null;
        });
        Autograd.backward(y);
        assertThat(w.grad().item()).isEqualTo(10);
        assertThat(x.grad().item()).isEqualTo(3);
    }

    // ---------------------------------------------------------------- meta

    @Test
    void forwardAndBackwardAreTracedOnMetaTensors() {
        Tensor x = Tensor.meta(Shape.of(4, 3), DType.FLOAT32, dev.merapi.types.Device.CPU)
                .requiresGrad(true);
        Tensor w = Tensor.meta(Shape.of(3), DType.FLOAT32, dev.merapi.types.Device.CPU)
                .requiresGrad(true);
        Tensor y = x.mul(w).transpose(0, 1).slice(0, 0, 2);
        Autograd.backward(y, Tensor.meta(y), Graph.FREE);
        assertThat(x.grad().isMeta()).isTrue();
        assertThat(x.grad().shape()).isEqualTo(Shape.of(4, 3));
        assertThat(w.grad().shape()).isEqualTo(Shape.of(3));
        assertThatThrownBy(() -> y.item()).isInstanceOf(ShapeException.class);
    }

    @ParameterizedTest
    @EnumSource(Graph.class)
    void returnedGradientsMayBeWrittenTo(Graph graph) {
        Tensor x = Tensor.of(1.0, 2, 3, 4).reshape(2, 2).detach().requiresGrad(true);
        Tensor y = Tensor.of(5.0, 6, 7, 8).reshape(2, 2).detach().requiresGrad(true);
        Tensor given = Tensor.of(1.0, 2, 3, 4).reshape(2, 2);
        List<Tensor> viewed = Autograd.grad(List.of(x.transpose(0, 1)), List.of(x), List.of(given), graph, false);
        List<Tensor> itself = Autograd.grad(List.of(x), List.of(x), List.of(given), graph, false);
        List<Tensor> twice = Autograd.grad(List.of(x.add(y)), List.of(x, y), List.of(given), graph, false);
        assertThat(viewed.get(0).toDoubleArray()).containsExactly(1, 3, 2, 4);
        try (Autograd.Mode mode = Autograd.noGrad()) {
            viewed.get(0).fill_(7);
            itself.get(0).fill_(8);
            twice.get(0).fill_(9);
        }
        assertThat(given.toDoubleArray()).containsExactly(1, 2, 3, 4);
        assertThat(twice.get(1).toDoubleArray()).containsExactly(1, 2, 3, 4);
    }
}
