// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Op;
import dev.merapi.ops.Losses;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * The gradient of cross entropy is written over the logits where nobody else can read them, and nowhere else: one test for
 * each kind of owner. What a backward pass takes in memory shows which it was.
 */
class RoomTest {
    private static final Device DEVICE = Device.of(DeviceType.register("rooms"), 0);
    private static final int ROWS = 64;
    private static final int CLASSES = 256;
    private static final long BYTES = 4L * ROWS * CLASSES;

    public record One(Tensor x) {}

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("rooms")));
    }

    private final Tensor x =
            Tensor.rand(Shape.of(ROWS, CLASSES), -2, 2, DType.FLOAT32, DEVICE).requiresGrad(true);
    private long before;
    private long most;
    private final Tensor targets = Tensor.randint(0, CLASSES, ROWS).to(DEVICE);

    private Tensor logits() {
        return x.mul(2);
    }

    /** Notes what had been taken of memory when the gradient of the logits was there. */
    private Tensor loss(Tensor logits) {
        Autograd.hook(logits, g -> {
            most = Memory.stats(DEVICE).peakAllocated() - before;
            return g;
        });
        return Losses.crossEntropy(logits, targets, null, -100, 0, Losses.Reduction.SUM);
    }

    /** 2·(softmax(2·x) − [target]), by other ops. */
    private double[] expected() {
        return Autograd.noGrad(
                        () -> logits().softmax(1).sub(targets.oneHot(CLASSES)).mul(2))
                .toDoubleArray();
    }

    private void requireGradient(int times) {
        double[] expected = expected();
        double[] actual = java.util.Objects.requireNonNull(x.grad()).toDoubleArray();
        for (int i = 0; i < actual.length; i++) {
            assertThat(Math.abs(actual[i] - times * expected[i])).isLessThan(1e-5);
        }
    }

    private boolean tookRoom(Runnable backward) {
        x.setGrad(null);
        Memory.resetPeak(DEVICE);
        before = Memory.stats(DEVICE).allocated();
        backward.run();
        assertThat(most < BYTES / 4 || most > BYTES / 2).as("%d bytes", most).isTrue();
        return most < BYTES / 4;
    }

    private boolean tookRoom(Tensor loss) {
        boolean room = tookRoom(() -> Autograd.backward(loss));
        requireGradient(1);
        return room;
    }

    // ---------------------------------------------------------------- where there is room

    @Test
    void closedLogitsGiveTheirMemory() {
        Tensor loss;
        try (Tensor logits = logits();
                Tensor rows = logits.view(-1, CLASSES)) {
            loss = loss(rows);
        }
        assertThat(tookRoom(loss)).isTrue();
        assertThatThrownBy(() -> Autograd.backward(loss))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("freed by an earlier backward");
    }

    @Test
    void soTheyDoInAScope() {
        try (Scope step = Scope.open()) {
            Tensor loss;
            try (Tensor logits = logits()) {
                loss = loss(logits);
            }
            assertThat(tookRoom(loss)).isTrue();
        }
    }

    @Test
    void aHookMayKeepTheGradient() {
        List<Tensor> kept = new ArrayList<>();
        Tensor loss;
        try (Tensor logits = logits()) {
            Autograd.hook(logits, g -> {
                kept.add(g.leaveScope());
                return g;
            });
            loss = loss(logits);
        }
        assertThat(tookRoom(loss)).isTrue();
        double[] expected = expected();
        double[] seen = kept.get(0).toDoubleArray();
        for (int i = 0; i < seen.length; i++) {
            assertThat(Math.abs(2 * seen[i] - expected[i])).isLessThan(1e-5);
        }
    }

    @Test
    void aFormThatSavedTensorHooksKeepElsewhereIsNotDisturbed() {
        Tensor both;
        try (Tensor logits = logits()) {
            Tensor square;
            try (SavedTensorHooks hooks = SavedTensorHooks.install(pair())) {
                square = logits.mul(logits);
            }
            both = loss(logits).add(square.sum().mul(0));
        }
        Autograd.backward(both);
        requireGradient(1);
    }

    // ---------------------------------------------------------------- where there is none

    @Test
    void theUsersVariableKeepsItsValues() {
        Tensor logits = logits();
        double[] before = logits.toDoubleArray();
        assertThat(tookRoom(loss(logits))).isFalse();
        assertThat(Arrays.equals(logits.toDoubleArray(), before)).isTrue();
    }

    @Test
    void soDoViewsAndDetachedOnes() {
        for (int kind = 0; kind < 3; kind++) {
            Tensor loss;
            Tensor other;
            double[] before;
            try (Tensor logits = logits()) {
                other = kind == 0 ? logits.at(3) : kind == 1 ? logits.detach() : logits.t();
                before = other.toDoubleArray();
                loss = loss(logits);
            }
            assertThat(tookRoom(loss)).as("kind %d", kind).isFalse();
            assertThat(Arrays.equals(other.toDoubleArray(), before)).isTrue();
        }
    }

    @Test
    void anotherNodeThatSavedThemSeesThem() {
        Tensor both;
        try (Tensor logits = logits()) {
            both = loss(logits).add(logits.mul(logits).sum());
        }
        Autograd.backward(both);
        double[] expected = expected();
        double[] values = x.toDoubleArray();
        double[] actual = java.util.Objects.requireNonNull(x.grad()).toDoubleArray();
        for (int i = 0; i < actual.length; i++) {
            assertThat(Math.abs(actual[i] - (expected[i] + 8 * values[i]))).isLessThan(1e-4);
        }
    }

    @Test
    void aGraphThatIsKeptIsGoneThroughAgain() {
        Tensor loss;
        try (Tensor logits = logits()) {
            loss = loss(logits);
        }
        assertThat(tookRoom(() -> Autograd.backward(loss, null, Graph.RETAIN))).isFalse();
        requireGradient(1);
        Autograd.backward(loss); // the last time there is room
        requireGradient(2);
    }

    @Test
    void aGraphThatIsCreatedHasTheLogits() {
        Tensor loss;
        try (Tensor logits = logits()) {
            loss = loss(logits);
        }
        Tensor g = Autograd.grad(List.of(loss), List.of(x), null, Graph.CREATE, false)
                .get(0);
        Tensor second = Autograd.grad(g.square().sum(), List.of(x)).get(0);
        // d/dx of Σ g², g = 2·(p − h): 2·g·2·(diag(p) − p·pᵀ)·2
        Tensor p = Autograd.noGrad(() -> logits().softmax(1));
        Tensor w = g.detach().mul(8);
        Tensor expected = p.mul(w.sub(p.mul(w).sum(new int[] {1}, true)));
        double[] e = expected.toDoubleArray();
        double[] s = second.toDoubleArray();
        for (int i = 0; i < e.length; i++) {
            assertThat(Math.abs(s[i] - e[i])).isLessThan(1e-4);
        }
    }

    private static SavedTensorHooks.Pair pair() {
        return new SavedTensorHooks.Pair() {
            @Override
            public Object pack(Tensor tensor) {
                return tensor.toDoubleArray();
            }

            @Override
            public Tensor unpack(Object packed) {
                return Tensor.of((double[]) packed, ROWS, CLASSES)
                        .to(DType.FLOAT32)
                        .to(DEVICE);
            }
        };
    }

    @Test
    void savedTensorHooksOwnWhatTheyKeep() {
        List<Tensor> kept = new ArrayList<>();
        Tensor loss;
        try (Tensor logits = logits();
                SavedTensorHooks hooks = SavedTensorHooks.install(new SavedTensorHooks.Pair() {
                    @Override
                    public Object pack(Tensor tensor) {
                        return tensor;
                    }

                    @Override
                    public Tensor unpack(Object packed) {
                        kept.add((Tensor) packed);
                        return (Tensor) packed;
                    }
                })) {
            loss = loss(logits);
        }
        assertThat(tookRoom(loss)).isFalse();
        assertThat(kept).isNotEmpty();
    }

    @Test
    void whatACheckpointComputesAgainStays() {
        Tensor loss = Checkpoint.checkpoint(
                in -> {
                    try (Tensor logits = in.mul(2)) {
                        return loss(logits);
                    }
                },
                x);
        Autograd.backward(loss, null, Graph.RETAIN);
        requireGradient(1);
        Autograd.backward(loss);
        requireGradient(2);
    }

    @Test
    void afterAPassThatFailedTheyAreGone() {
        Tensor loss;
        try (Tensor logits = logits()) {
            loss = loss(logits);
        }
        Runnable remove = java.util.Objects.requireNonNull(Autograd.gradFn(loss))
                .addHook((in, out) -> {
                    throw new IllegalStateException("a hook that fails");
                });
        assertThatThrownBy(() -> Autograd.backward(loss)).hasMessageContaining("a hook that fails");
        remove.run();
        assertThatThrownBy(() -> Autograd.backward(loss)).isInstanceOf(SavedTensorException.class);
        assertThat(x.grad()).isNull();
    }

    @Test
    void aCallOfAnotherThreadReadsThemToItsEnd() throws InterruptedException {
        CountDownLatch reading = new CountDownLatch(1);
        CountDownLatch written = new CountDownLatch(1);
        Op<One, Tensor> slow = Op.define("test::room_slow", One.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DEVICE.type(), (a, out) -> {
                    Elements from = Elements.of(a.x());
                    Elements to = Elements.of(out);
                    reading.countDown();
                    try {
                        written.await();
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                    for (long i = 0; i < from.numel(); i++) {
                        to.setDouble(i, from.getDouble(i));
                    }
                })
                .nonDifferentiable()
                .register();
        Tensor logits = logits();
        double[] before = logits.toDoubleArray();
        double[][] seen = new double[1][];
        Tensor given = logits.detach();
        Thread reader = new Thread(() -> seen[0] = slow.call(new One(given)).toDoubleArray());
        reader.start();
        reading.await();
        Tensor loss = loss(logits);
        logits.close();
        given.close();
        assertThat(tookRoom(loss)).isFalse();
        written.countDown();
        reader.join();
        assertThat(Arrays.equals(seen[0], before)).isTrue();
    }
}
