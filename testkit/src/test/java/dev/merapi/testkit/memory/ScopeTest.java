// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.memory.MemoryStats;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Scopes release exactly what was made in them and not kept. On a device that no other test allocates on. */
class ScopeTest {
    private static final Device DEVICE = Device.of(DeviceType.register("scopes"), 0);
    private static final long SIZE = 10_000;

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("scopes")));
    }

    private static Tensor make() {
        return Tensor.ones(Shape.of(SIZE), DType.FLOAT64, DEVICE);
    }

    private static long live() {
        return Memory.stats(DEVICE).allocated();
    }

    // ---------------------------------------------------------------- scopes

    @Test
    void aScopeReleasesWhatWasMadeInIt() {
        long before = live();
        Tensor made;
        try (Scope scope = Scope.open()) {
            made = make();
            made.add(made).mul(2.0);
            assertThat(live()).isGreaterThanOrEqualTo(before + 3 * SIZE * 8);
        }
        assertThat(made.isClosed()).isTrue();
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void keptTensorsMoveToTheScopeAround() {
        long before = live();
        try (Scope outer = Scope.open()) {
            Tensor kept;
            try (Scope inner = Scope.open()) {
                kept = inner.keep(make());
                make();
            }
            assertThat(kept.isClosed()).isFalse();
            assertThat(kept.toDoubleArray()[0]).isOne();
        }
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void keepTakesTreesAndScopedReturnsThem() {
        long before = live();
        Map<String, List<Tensor>> tree = Scope.scoped(() -> {
            make();
            return Map.of("a", List.of(make(), make()));
        });
        tree.get("a").forEach(t -> assertThat(t.isClosed()).isFalse());
        tree.get("a").forEach(Tensor::close);
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void scopesEndByExceptionsToo() {
        long before = live();
        assertThatThrownBy(() -> {
                    try (Scope outer = Scope.open()) {
                        make();
                        Scope neverClosed = Scope.open();
                        make();
                        throw new IllegalStateException("user");
                    }
                })
                .hasMessage("user");
        assertThat(live()).isEqualTo(before);
        try (Scope again = Scope.open()) {
            make();
        }
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void aViewHoldsItsMemoryAndSoDoesADetachedHandle() {
        long before = live();
        Tensor view;
        try (Scope scope = Scope.open()) {
            view = scope.keep(make().slice(0, 5, 10));
        }
        assertThat(view.toDoubleArray()).containsExactly(1, 1, 1, 1, 1);
        assertThat(live()).isGreaterThan(before);
        Tensor handle = view.detach();
        view.close();
        assertThat(handle.toDoubleArray()).hasSize(5);
        handle.close();
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void closingTwiceAndClosingInAScopeAreFine() {
        long before = live();
        try (Scope scope = Scope.open()) {
            Tensor t = make();
            t.close();
            t.close();
            assertThatThrownBy(() -> t.add(t)).isInstanceOf(ClosedTensorException.class);
            scope.close();
            scope.close();
        }
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void aScopeBelongsToItsThread() throws InterruptedException {
        try (Scope scope = Scope.open()) {
            AtomicReference<Throwable> thrown = new AtomicReference<>();
            Thread other = new Thread(() -> {
                try {
                    scope.close();
                } catch (Throwable e) {
                    thrown.set(e);
                }
            });
            other.start();
            other.join();
            assertThat(thrown.get()).isInstanceOf(IllegalStateException.class).hasMessageContaining("one thread");
            Tensor t = make();
            assertThat(t.isClosed()).isFalse();
        }
    }

    // ---------------------------------------------------------------- misuse

    public record X(Tensor x) {}

    private static void refused(Executable misuse, String text) {
        assertThatThrownBy(misuse::execute)
                .isInstanceOf(IllegalStateException.class)
                .hasMessageStartingWith("scope: ")
                .hasMessageContaining(text)
                .hasMessageContaining("fix: ");
    }

    @Test
    void whatComesAfterTheEndOfAScopeIsRefused() {
        Scope scope = Scope.open();
        Tensor t = make();
        scope.close();
        refused(() -> scope.keep(t), "keep after it was closed");
        refused(scope::clear, "clear after it was closed");
        scope.close();
        assertThat(scope.isClosed()).isTrue();
    }

    @Test
    void otherThreadsMayNotTouchAScope() throws Exception {
        try (Scope scope = Scope.open()) {
            Tensor t = make();
            LifetimeTest.onThreads(1, i -> {
                refused(scope::close, "close by thread");
                refused(scope::clear, "clear by thread");
                refused(() -> scope.keep(t), "keep by thread");
            });
            assertThat(t.isClosed()).isFalse();
        }
    }

    @Test
    void scopesThatAreClosedOutOfOrderLoseNothing() {
        long before = live();
        Scope outer = Scope.open();
        make();
        Scope inner = Scope.open();
        Tensor kept = inner.keep(make());
        make();
        outer.close();
        assertThat(kept.isClosed()).isTrue();
        assertThat(inner.isClosed()).isTrue();
        inner.close();
        refused(() -> inner.keep(kept), "keep after");
        assertThat(live()).isEqualTo(before);
        try (Scope next = Scope.open()) {
            make();
        }
        assertThat(live()).isEqualTo(before);
    }

    /** Whoever runs inside a scope of the engine's: what it leaves open ends with it, and what is around stays open. */
    @Test
    void codeInsideTheEngineNeitherHandsScopesOutNorClosesThoseAround() {
        Scope[] around = new Scope[1];
        List<String> seen = new ArrayList<>();
        Runnable meddle = () -> {
            make();
            Scope.open();
            make();
            refused(around[0]::close, "runs inside it");
            seen.add("");
        };
        Op<X, Tensor> kernel = Op.define("test::meddling_kernel", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    meddle.run();
                    out.copy_(a.x());
                });
        Op<X, Tensor> returning = Op.define("test::meddling_returning", X.class, Tensor.class)
                .returningKernel(DeviceType.of("scopes"), a -> {
                    meddle.run();
                    return a.x().mul(1.0);
                });
        Op<X, Tensor> composed = Op.define("test::meddling_composed", X.class, Tensor.class)
                .compose(a -> {
                    meddle.run();
                    return a.x().mul(1.0);
                });
        Op<X, Tensor> shape = Op.define("test::meddling_shape", X.class, Tensor.class)
                .shape(a -> {
                    Scope.open();
                    make();
                    return Tensor.meta(a.x());
                })
                .reference((a, out) -> out.copy_(a.x()));
        Op<X, Tensor> formula = Op.define("test::meddling_formula", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> out.copy_(a.x()))
                .autograd(
                        (a, out) -> {
                            Scope.open();
                            make();
                            return null;
                        },
                        (context, saved, g) -> {
                            meddle.run();
                            return Grads.of("x", g.mul(1.0));
                        });
        Tensor x = make();
        Tensor w = make().requiresGrad(true);
        long before = live();
        for (Op<X, Tensor> op : List.of(kernel, returning, composed, shape)) {
            for (int i = 0; i < 3; i++) {
                try (Scope scope = Scope.open()) {
                    around[0] = scope;
                    Tensor y = op.call(new X(x));
                    assertThat(y.isClosed()).as(op.name()).isFalse();
                    assertThat(y.at(3).item()).as(op.name()).isOne();
                    assertThat(Context.current().scope()).as(op.name()).isSameAs(scope);
                    assertThat(live()).as(op.name()).isLessThanOrEqualTo(before + 2 * SIZE * 8);
                }
                assertThat(live()).as(op.name()).isEqualTo(before);
            }
        }
        try (Scope scope = Scope.open()) {
            around[0] = scope;
            Tensor y = formula.call(new X(w));
            assertThat(Context.current().scope()).isSameAs(scope);
            Autograd.hook(y, g -> {
                meddle.run();
                return g.mul(1.0);
            });
            Autograd.hookAfterAccumulate(w, t -> meddle.run());
            Autograd.backward(y.sum());
            assertThat(Context.current().scope()).isSameAs(scope);
        }
        assertThat(w.grad().toDoubleArray()[2]).isOne();
        w.setGrad(null);
        assertThat(live()).isEqualTo(before);
        assertThat(seen).hasSize(9 + 3);
        assertThat(Context.current().scope()).isNull();
        x.close();
        w.close();
    }

    @Test
    void temporariesOfAKernelEndWithItWithoutAScopeAroundToo() {
        Op<X, Tensor> op = Op.define("test::with_temporaries", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> out.copy_(a.x().mul(2.0).add(a.x()).exp().log()));
        Tensor x = make();
        long before = live();
        for (int i = 0; i < 10; i++) {
            op.call(new X(x)).close();
            assertThat(live()).isEqualTo(before);
        }
        x.close();
    }

    @Test
    void manyTensorsInOneScopeAreAllReleasedAndKeptOnesSurvive() {
        long before = live();
        List<Tensor> kept = new ArrayList<>();
        try (Scope scope = Scope.open()) {
            for (int i = 0; i < 500; i++) {
                Tensor t = Tensor.ones(Shape.of(8), DType.FLOAT64, DEVICE);
                if (i % 100 == 0) {
                    kept.add(scope.keep(t));
                } else if (i % 3 == 0) {
                    t.close();
                }
            }
        }
        assertThat(kept).noneMatch(Tensor::isClosed);
        kept.forEach(Tensor::close);
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void memoryIsFlatOverAThousandSteps() {
        Tensor w = Tensor.ones(Shape.of(100), DType.FLOAT64, DEVICE).requiresGrad(true);
        Tensor x = Tensor.ones(Shape.of(100), DType.FLOAT64, DEVICE);
        long after = 0;
        long blocks = 0;
        for (int i = 0; i < 1_000; i++) {
            try (Scope step = Scope.open()) {
                Autograd.backward(w.mul(x).exp().mul(w).sum());
            }
            Autograd.noGrad(() -> w.grad().zero_());
            if (i == 10) {
                after = live();
                blocks = Memory.stats(DEVICE).liveBlocks();
            }
        }
        assertThat(live()).isEqualTo(after);
        assertThat(Memory.stats(DEVICE).liveBlocks()).isEqualTo(blocks);
        w.setGrad(null);
        w.close();
        x.close();
    }

    // ---------------------------------------------------------------- graphs and scopes

    @Test
    void gradientsOfLeavesOutliveTheScope() {
        Tensor w = make().requiresGrad(true);
        try (Scope step = Scope.open()) {
            Autograd.backward(w.mul(w).sum());
        }
        assertThat(w.grad().isClosed()).isFalse();
        assertThat(w.grad().toDoubleArray()[3]).isEqualTo(2);
        w.setGrad(null);
        w.close();
    }

    @Test
    void theOutermostScopeFreesGraphsThatNothingReaches() {
        Tensor w = make().requiresGrad(true);
        long before = live();
        Tensor lost;
        try (Scope step = Scope.open()) {
            try (Scope inner = Scope.open()) {
                lost = inner.keep(w.exp().mul(w).sum());
            }
            assertThat(live()).as("saved values").isGreaterThan(before + SIZE * 8);
        }
        assertThat(live()).isEqualTo(before);
        assertThat(lost.isClosed()).isTrue();
        w.close();
    }

    @Test
    void aKeptLossKeepsItsGraph() {
        Tensor w = make().requiresGrad(true);
        Tensor loss;
        try (Scope step = Scope.open()) {
            loss = step.keep(w.exp().mul(w).sum());
        }
        Autograd.backward(loss);
        assertThat(w.grad().toDoubleArray()[0]).isEqualTo(2 * Math.E);
        w.setGrad(null);
        long before = live();
        Tensor kept;
        try (Scope step = Scope.open()) {
            Tensor inner;
            try (Scope deep = Scope.open()) {
                inner = w.exp().mul(w).sum().leaveScope();
                for (int i = 0; i < 100; i++) {
                    Tensor.ones(Shape.of(1), DType.FLOAT64, DEVICE);
                }
            }
            kept = inner;
        }
        Autograd.backward(kept);
        assertThat(w.grad().toDoubleArray()[0]).isEqualTo(2 * Math.E);
        w.setGrad(null);
        kept.close();
        assertThat(live()).isEqualTo(before);
        loss.close();
        w.close();
    }

    @Test
    void aGraphThroughAnInPlaceWriteToAViewIsKeptToo() {
        Tensor w = make().requiresGrad(true);
        Tensor loss;
        try (Scope step = Scope.open()) {
            Tensor base = w.mul(2.0);
            base.slice(0, 0, 10).mul_(w.slice(0, 10, 20).exp());
            loss = step.keep(base.sum());
        }
        Autograd.backward(loss);
        assertThat(w.grad().toDoubleArray()[0]).isEqualTo(2 * Math.E);
        w.setGrad(null);
    }

    @Test
    void backwardAfterTheScopeSaysWhatToDo() {
        Tensor w = make().requiresGrad(true);
        Tensor outside = w.mul(1.0);
        Tensor[] loss = new Tensor[1];
        try (Scope step = Scope.open()) {
            Tensor y = w.exp().mul(outside);
            loss[0] = y.detach();
            Tensor inner = y.sum();
            Autograd.hook(inner, g -> null);
            loss[0] = inner;
        }
        assertThatThrownBy(() -> Autograd.backward(loss[0]))
                .isInstanceOf(ClosedTensorException.class)
                .hasMessageContaining("keep");
        w.close();
    }

    @Test
    void savedValuesGoAsBackwardUsesThem() {
        Tensor w = make().requiresGrad(true);
        long before = live();
        try (Scope step = Scope.open()) {
            Tensor y = w;
            for (int i = 0; i < 10; i++) {
                try (Scope layer = Scope.open()) {
                    y = layer.keep(y.sin());
                }
            }
            long[] during = new long[1];
            Autograd.hook(w, g -> {
                during[0] = live();
                return null;
            });
            Tensor loss = y.sum();
            long full = live();
            Autograd.backward(loss);
            assertThat(during[0]).isLessThanOrEqualTo(full + 3 * SIZE * 8);
        }
        w.setGrad(null);
        assertThat(live()).isEqualTo(before);
        w.close();
    }

    @Test
    void createdGraphsOutsideOfAllScopesAreUnderTheBackstop() {
        Tensor w = Tensor.ones(Shape.of(200), DType.FLOAT64, DEVICE).requiresGrad(true);
        Tensor first = Autograd.grad(List.of(w.exp().mul(w).sum()), List.of(w), null, Graph.CREATE, false)
                .get(0);
        Tensor second = Autograd.grad(first.sum(), List.of(w)).get(0);
        assertThat(second.toDoubleArray()[0]).isEqualTo(3 * Math.E);
        assertThatThrownBy(() -> Autograd.grad(first.sum(), List.of(w))).isInstanceOf(SavedTensorException.class);
    }

    @Test
    void statisticsAddUp() {
        MemoryStats before = Memory.stats(DEVICE);
        Memory.resetPeak(DEVICE);
        Tensor a = make();
        Tensor b = make();
        a.close();
        MemoryStats after = Memory.stats(DEVICE);
        assertThat(after.peakAllocated()).isGreaterThanOrEqualTo(before.allocated() + 2 * SIZE * 8);
        assertThat(after.allocated()).isLessThan(after.peakAllocated());
        assertThat(after.reserved()).isGreaterThanOrEqualTo(after.allocated());
        b.close();
        Memory.trim(DEVICE);
        assertThat(Memory.stats(DEVICE).reserved()).isLessThanOrEqualTo(after.reserved());
    }

    /** Another thread has no scope that would close its view: the collector does. */
    @Test
    void aViewMadeOutsideOfAllScopesIsFreedWhenNobodyHasIt() throws InterruptedException {
        dev.merapi.storage.Backstop.collectNow();
        long before = Memory.stats(Device.CPU).allocated();
        viewedByAnotherThread();
        for (int i = 0; i < 20 && Memory.stats(Device.CPU).allocated() >= before + (1 << 20); i++) {
            dev.merapi.storage.Backstop.collectNow();
        }
        assertThat(Memory.stats(Device.CPU).allocated()).isLessThan(before + (1 << 20));
    }

    private static void viewedByAnotherThread() throws InterruptedException {
        try (Scope scope = Scope.open()) {
            Tensor t = Tensor.zeros(1 << 20);
            Thread other = new Thread(() -> t.detach().requireOpen());
            other.start();
            other.join();
        }
    }
}
