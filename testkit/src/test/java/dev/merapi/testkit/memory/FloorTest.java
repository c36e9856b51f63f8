// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.reference.JavaBackend;
import dev.merapi.storage.Backstop;
import dev.merapi.storage.LeakDetection;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What happens without scopes: the garbage collector as the floor, closing under running calls, caps, reports. */
@Tag("once")
class FloorTest {
    private static final Device DEVICE = Device.of(DeviceType.register("floor"), 0);

    public record X(Tensor x) {}

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("floor")));
    }

    private static Tensor make(long n) {
        return Tensor.ones(Shape.of(n), DType.FLOAT64, DEVICE);
    }

    private static long live() {
        return Memory.stats(DEVICE).allocated();
    }

    /** Collects until memory is at the bound, or gives up. */
    private static void awaitAtMost(long bound) {
        for (int i = 0; i < 20 && live() > bound; i++) {
            Backstop.collectNow();
        }
        assertThat(live()).isLessThanOrEqualTo(bound);
    }

    // ---------------------------------------------------------------- dropped tensors

    @Test
    void droppedTensorsAreFreedByTheCollector() {
        awaitAtMost(live());
        long before = live();
        for (int i = 0; i < 50; i++) {
            make(20_000);
        }
        awaitAtMost(before + 2 * 20_000 * 8);
    }

    @Test
    void droppedSmallTensorsAreFreedByTheChunk() {
        Backstop.collectNow();
        long before = live();
        for (int i = 0; i < 20_000; i++) {
            make(8);
        }
        awaitAtMost(before + 3 * (64 << 10));
    }

    @Test
    void droppedGraphsAreFreedWithWhatTheySaved() {
        Tensor w = make(20_000).requiresGrad(true);
        Backstop.collectNow();
        long before = live();
        for (int i = 0; i < 20; i++) {
            w.exp().mul(w).sum();
            Autograd.grad(List.of(w.exp().mul(w).sum()), List.of(w), null, Graph.CREATE, false);
        }
        awaitAtMost(before + 4 * 20_000 * 8);
        assertThat(w.isClosed()).isFalse();
    }

    @Test
    void whatLeftAScopeAndWasDroppedIsFreed() {
        Backstop.collectNow();
        long before = live();
        for (int i = 0; i < 20; i++) {
            Scope.scoped(() -> make(20_000));
        }
        awaitAtMost(before + 2 * 20_000 * 8);
    }

    @Test
    void aGraphRecordedOnAnotherThreadHoldsAScopesMemoryOnlyUntilItIsDropped() throws InterruptedException {
        Tensor w = make(20_000).requiresGrad(true);
        Backstop.collectNow();
        long before = live();
        recordElsewhere(w);
        awaitAtMost(before + 2 * (64 << 10)); // chunks of small results
    }

    private static void recordElsewhere(Tensor w) throws InterruptedException {
        try (Scope scope = Scope.open()) {
            Tensor x = make(20_000);
            Thread other = new Thread(() -> w.mul(x).sum());
            other.start();
            other.join();
        }
    }

    // ---------------------------------------------------------------- closing under a running call

    @Test
    void memoryClosedUnderARunningKernelIsNotReusedBeforeItEnds() throws InterruptedException {
        CountDownLatch inside = new CountDownLatch(1);
        CountDownLatch closed = new CountDownLatch(1);
        Op<X, Tensor> slow = Op.define("test::slow", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Elements x = Elements.of(a.x());
                    inside.countDown();
                    try {
                        closed.await();
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                    for (long i = 0; i < out.numel(); i++) {
                        Elements.of(out).setDouble(i, x.getDouble(i));
                    }
                });
        Tensor x = make(30_000);
        AtomicReference<Tensor> result = new AtomicReference<>();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread caller = new Thread(() -> {
            try {
                result.set(slow.call(new X(x)));
            } catch (Throwable e) {
                failure.set(e);
            }
        });
        caller.start();
        inside.await();
        x.close();
        List<Tensor> greedy = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            greedy.add(make(30_000).mul(-1.0)); // would get the memory, were it free
        }
        closed.countDown();
        caller.join();
        assertThat(failure.get()).isNull();
        assertThat(result.get().toDoubleArray()).containsOnly(1);
        assertThatThrownBy(() -> slow.call(new X(x))).isInstanceOf(ClosedTensorException.class);
        greedy.forEach(Tensor::close);
    }

    @Test
    void closingFromManyThreadsFreesOnce() throws InterruptedException {
        Backstop.collectNow();
        for (int round = 0; round < 200; round++) {
            Tensor t = make(10_000);
            long with = live();
            List<Thread> all = new ArrayList<>();
            for (int i = 0; i < 4; i++) {
                Thread thread = new Thread(t::close);
                all.add(thread);
                thread.start();
            }
            for (Thread thread : all) {
                thread.join();
            }
            assertThat(live()).isLessThan(with);
            assertThat(Memory.stats(DEVICE).liveBlocks()).isGreaterThanOrEqualTo(0);
        }
    }

    // ---------------------------------------------------------------- caps, reports

    @Test
    void beyondTheCapTheReportNamesRequestCapAndTheLargest() {
        DeviceType type = DeviceType.register("capped");
        Backends.register(new JavaBackend(type));
        Device device = Device.of(type, 0);
        Memory.setCap(device, 4 << 20);
        Tensor large = Tensor.ones(Shape.of(300_000), DType.FLOAT64, device);
        assertThatThrownBy(() -> Tensor.ones(Shape.of(400_000), DType.FLOAT64, device))
                .isInstanceOf(OutOfMemoryException.class)
                .hasMessageContaining("out of memory on capped:0")
                .hasMessageContaining("wanted for float64[400000]")
                .hasMessageContaining("cap 4194304")
                .hasMessageContaining("live 1: ")
                .hasMessageContaining("float64[300000]")
                .hasMessageContaining("Memory.setCap");
        large.close();
        Tensor fits = Tensor.ones(Shape.of(400_000), DType.FLOAT64, device);
        assertThat(fits.toDoubleArray()[399_999]).isOne();
        fits.close();
        assertThatThrownBy(() -> Memory.setCap(device, -1)).isInstanceOf(IllegalArgumentException.class);
    }

    @Test
    void droppedMemoryIsCollectedBeforeItIsCalledExhausted() {
        DeviceType type = DeviceType.register("tight");
        Backends.register(new JavaBackend(type));
        Device device = Device.of(type, 0);
        Memory.setCap(device, 8 << 20);
        for (int i = 0; i < 20; i++) {
            Tensor.ones(Shape.of(300_000), DType.FLOAT64, device); // 2.4 MB each, never closed
        }
        assertThat(Memory.stats(device).reserved()).isLessThanOrEqualTo(8 << 20);
    }

    @Test
    void leakDetectionSaysWhereMemoryWasTaken() {
        LeakDetection before = LeakDetection.level();
        LeakDetection.setLevel(LeakDetection.PARANOID);
        try (Tensor t = make(123_457)) {
            assertThat(Memory.largest(DEVICE, 100))
                    .anyMatch(line -> line.contains("float64[123457]") && line.contains("made at"));
        } finally {
            LeakDetection.setLevel(before);
        }
    }

    @Test
    void absurdSizesAreRefusedBeforeAnythingIsAllocated() {
        long before = live();
        assertThatThrownBy(() -> make(Long.MAX_VALUE / 4))
                .isInstanceOf(RuntimeException.class)
                .hasMessageContaining("2305843009213693951");
        assertThatThrownBy(() -> Tensor.ones(Shape.of(Long.MAX_VALUE, 3), DType.FLOAT64, DEVICE))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("2^63 - 1");
        assertThatThrownBy(() -> make(-1)).isInstanceOf(ShapeException.class).hasMessageContaining("negative size -1");
        assertThat(live()).isLessThanOrEqualTo(before);
    }

    @Test
    void scalarReadsAndExportsLeaveNothingBehind() {
        Tensor x = make(1000);
        Tensor one = x.slice(0, 3, 4);
        one.item();
        x.toDoubleArray();
        long before = live();
        for (int i = 0; i < 500; i++) {
            one.item();
            x.toFloatArray();
            x.slice(0, 0, 2).close();
        }
        assertThat(live()).isEqualTo(before);
        x.close();
    }
}
