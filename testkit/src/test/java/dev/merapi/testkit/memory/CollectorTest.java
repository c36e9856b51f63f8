// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.memory.RawAllocator;
import dev.merapi.memory.Segment;
import dev.merapi.op.Op;
import dev.merapi.reference.JavaBackend;
import dev.merapi.storage.Backstop;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.storage.StreamOrder;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Live memory decides what fits, never garbage; and threads that are gone cost nothing. */
@Tag("once")
class CollectorTest {
    private static final DeviceType TYPE = DeviceType.register("collected");
    private static Backends.@Nullable Registration registered;

    /** Fresh memory with that cap. */
    private static Device capped(long bytes) {
        if (registered != null) {
            registered.close();
        }
        registered = Backends.register(new JavaBackend(TYPE));
        Device device = Device.of(TYPE, 0);
        Memory.setCap(device, bytes);
        return device;
    }

    public record Times(Tensor x, int times) {}

    // ---------------------------------------------------------------- garbage is no reason

    @Test
    void garbageIsNeverAnOutOfMemory() throws Exception {
        Device device = capped(24 << 20);
        LifetimeTest.onThreads(4, number -> {
            for (int i = 0; i < 40; i++) {
                Tensor.ones(Shape.of(300_000), DType.FLOAT64, device); // 2.4 MB, dropped
                try (Tensor closed = Tensor.ones(Shape.of(100_000), DType.FLOAT64, device)) {
                    closed.mul(2.0);
                }
            }
        });
        assertThat(Memory.stats(device).reserved()).isLessThanOrEqualTo(24 << 20);
    }

    @Test
    void garbageThatAKernelMakesIsFreedWhileItRuns() {
        Device device = capped(8 << 20);
        Op<Times, Tensor> greedy = Op.define("test::greedy", Times.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Tensor last = a.x();
                    for (int i = 0; i < a.times(); i++) {
                        try (Scope scope = Scope.open()) {
                            last = last.mul(1.0).leaveScope(); // 1.6 MB, nobody's
                        }
                    }
                    out.copy_(last);
                });
        Tensor x = Tensor.ones(Shape.of(200_000), DType.FLOAT64, device);
        Tensor y = greedy.call(new Times(x, 30));
        assertThat(y.at(5).item()).isOne();
        x.close();
    }

    @Test
    void memoryThatARunningCallHoldsUpIsWaitedFor() throws InterruptedException {
        Device device = capped(4 << 20);
        CountDownLatch inside = new CountDownLatch(1);
        Op<Times, Tensor> slow = Op.define("test::holds_up", Times.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    inside.countDown();
                    try {
                        Thread.sleep(a.times());
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                    out.fill_(1);
                });
        Tensor large = Tensor.ones(Shape.of(400_000), DType.FLOAT64, device); // 3.2 MB
        Tensor small = Tensor.ones(Shape.of(8), DType.FLOAT64, device);
        Thread caller = new Thread(() -> slow.call(new Times(small, 300)).close());
        caller.start();
        inside.await();
        large.close(); // the call might be using it
        Tensor again = Tensor.ones(Shape.of(400_000), DType.FLOAT64, device);
        assertThat(again.at(399_999).item()).isOne();
        caller.join();
        again.close();
        small.close();
    }

    @Test
    void whatLivesIsAReason() {
        Device device = capped(4 << 20);
        Tensor large = Tensor.ones(Shape.of(400_000), DType.FLOAT64, device);
        assertThatThrownBy(() -> Tensor.ones(Shape.of(400_000), DType.FLOAT64, device))
                .isInstanceOf(OutOfMemoryException.class)
                .hasMessageContaining("live 1: ");
        large.close();
    }

    @Test
    void anUnscopedLoopPeaksAtItsLimit() {
        Device device = capped(800 << 20);
        long limit = 256 << 20; // the least that is let grow
        for (int i = 0; i < 150; i++) {
            TENSORS.allocate(Shape.of(1 << 20), DType.FLOAT64, device); // 8 MB each, 1.2 GB in all
        }
        assertThat(Memory.stats(device).peakAllocated()).isLessThanOrEqualTo(2 * limit + (32 << 20));
    }

    // ---------------------------------------------------------------- devices that fail

    /** A device that is lost: it orders nothing any more, and takes nothing back. */
    private static final class Lost implements RawAllocator {
        private long next = 1L << 40;

        @Override
        public synchronized Segment allocate(long byteSize) {
            next += byteSize;
            return new Segment(null, next - byteSize, byteSize);
        }

        @Override
        public void free(Segment segment) {
            throw new IllegalStateException("the device is lost");
        }

        @Override
        public void order(long before, long after) {
            throw new IllegalStateException("the device is lost");
        }

        @Override
        public long defaultCap() {
            return 1L << 30;
        }

        @Override
        public boolean isJavaVisible() {
            return false;
        }
    }

    private static final class Side implements StreamOrder {
        @Override
        public long handle() {
            return 7;
        }

        @Override
        public boolean isOpen() {
            return true;
        }
    }

    private static void drop(CachingAllocator lost, ThreadState state) {
        for (int i = 0; i < 3; i++) {
            Storage storage = Storage.unscoped(lost, 4 << 20, state, Shape.of(1 << 20), DType.FLOAT32);
            storage.recordStream(new Side());
        }
    }

    @Test
    void aLostDeviceDoesNotEndReclaimingForTheOthers() {
        ThreadState state = new ThreadState();
        CachingAllocator lost = new CachingAllocator(Device.of(DeviceType.register("lost"), 0), new Lost());
        drop(lost, state);
        Device device = capped(400 << 20);
        long before = Backstop.freedByCollector();
        for (int i = 0; i < 10; i++) {
            TENSORS.allocate(Shape.of(500_000), DType.FLOAT64, device);
        }
        for (int i = 0; i < 20 && Memory.stats(device).allocated() > (8 << 20); i++) {
            Backstop.collectNow();
        }
        assertThat(Memory.stats(device).allocated()).isLessThanOrEqualTo(8 << 20);
        assertThat(Backstop.freedByCollector()).isGreaterThan(before);
        assertThat(lost.stats().allocated()).isLessThanOrEqualTo(4 << 20);
        assertThat(Thread.getAllStackTraces().keySet())
                .anyMatch(t -> t.getName().equals("merapi-reclaimer") && t.isAlive());
        Storage closed = Storage.unscoped(lost, 4 << 20, state, Shape.of(1 << 20), DType.FLOAT32);
        closed.recordStream(new Side());
        closed.release(state); // says nothing: the next call on that device will
        lost.trim(state);
        assertThat(lost.stats().reserved()).as("what is not ordered stays").isPositive();
    }

    // ---------------------------------------------------------------- threads that are gone

    private static void useSizes(Device device) {
        try (Scope scope = Scope.open()) {
            for (int size = 8; size <= 1 << 16; size *= 2) {
                for (int k = 0; k < 4; k++) {
                    TENSORS.allocate(Shape.of(size), DType.FLOAT64, device);
                }
            }
        }
    }

    @Test
    void cachesOfThreadsThatAreGoneComeBack() throws Exception {
        Device device = capped(1 << 30);
        LifetimeTest.onThreads(32, number -> useSizes(device));
        Memory.trim(device);
        assertThat(Memory.stats(device).allocated()).isZero();
        assertThat(Memory.stats(device).reserved()).isZero();
    }

    @Test
    void idleThreadsDoNotKeepMemoryFromOthers() throws Exception {
        Device device = capped(64 << 20);
        CountDownLatch done = new CountDownLatch(8);
        CountDownLatch end = new CountDownLatch(1);
        for (int i = 0; i < 8; i++) {
            Thread idle = new Thread(() -> {
                useSizes(device);
                done.countDown();
                try {
                    end.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            idle.setDaemon(true);
            idle.start();
        }
        done.await();
        Tensor nearlyAll = TENSORS.allocate(Shape.of(7 << 20), DType.FLOAT64, device); // 56 of 64 MB
        nearlyAll.close();
        end.countDown();
    }

    private static void lightWork(Device device, AtomicReference<Throwable> failure) {
        try {
            TENSORS.allocate(Shape.of(50), DType.FLOAT64, device); // 400 bytes, dropped
        } catch (Throwable e) {
            failure.compareAndSet(null, e);
        }
    }

    private static long nanos(ExecutorService threads, int tasks, Device device) throws InterruptedException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        return nanos(threads, tasks, failure, () -> lightWork(device, failure));
    }

    private static long nanos(ExecutorService threads, int tasks, AtomicReference<Throwable> failure, Runnable task)
            throws InterruptedException {
        long begin = System.nanoTime();
        for (int i = 0; i < tasks; i++) {
            threads.execute(task);
        }
        threads.shutdown();
        assertThat(threads.awaitTermination(5, TimeUnit.MINUTES)).isTrue();
        long took = System.nanoTime() - begin;
        assertThat(failure.get()).isNull();
        return took;
    }

    private static double scopeMicros(Device device) {
        double best = Double.MAX_VALUE;
        for (int round = 0; round < 30; round++) {
            long begin = System.nanoTime();
            for (int i = 0; i < 1000; i++) {
                try (Scope scope = Scope.open()) {
                    TENSORS.allocate(Shape.of(8), DType.FLOAT64, device);
                }
            }
            best = Math.min(best, (System.nanoTime() - begin) / 1e6);
        }
        return best;
    }

    /** As many threads as virtual ones may be; on platform threads a hundredth of them. */
    @Test
    void tensorsOfShortLivedThreadsCostNothingAfterwards() throws Exception {
        Device device = capped(200 << 20);
        double alone = scopeMicros(device);
        for (int i = 0; i < 1000; i++) {
            Thread thread = new Thread(() -> lightWork(device, new AtomicReference<>()));
            thread.start();
            thread.join();
        }
        assertThat(scopeMicros(device))
                .as("microseconds a scope, alone %s", alone)
                .isLessThan(3 * alone + 1);
    }

    @Test
    void aHundredThousandVirtualThreadsAreAsGoodAsAPool() throws Exception {
        ExecutorService virtual = virtualThreads();
        if (virtual == null) {
            System.out.println("skipped: virtual threads: this JDK has none; run it with 21 or newer");
        }
        assumeTrue(virtual != null, "this JDK has no virtual threads");
        int tasks = 100_000;
        Device device = capped(200 << 20);
        nanos(virtual, tasks, device); // warm
        nanos(Executors.newFixedThreadPool(2), tasks, device);
        long best = Long.MAX_VALUE;
        long pool = Long.MAX_VALUE;
        long bare = Long.MAX_VALUE; // what a thread costs that does nothing, which is the JDK's
        for (int round = 0; round < 8; round++) { // the best of each: a machine has other things to do
            pool = Math.min(pool, nanos(Executors.newFixedThreadPool(2), tasks, device));
            best = Math.min(best, nanos(java.util.Objects.requireNonNull(virtualThreads()), tasks, device));
            bare = Math.min(
                    bare,
                    nanos(
                            java.util.Objects.requireNonNull(virtualThreads()),
                            tasks,
                            new AtomicReference<>(),
                            () -> {}));
        }
        double scope = scopeMicros(device);
        System.out.println("virtual threads against a pool: " + (double) best / pool + " times as long, " + best / tasks
                + " ns each, " + bare / tasks + " of them the thread; a scope then takes " + scope + " us");
        // About twice beside the bare thread, as printed; where dead threads are looked at, it is thirty times.
        assertThat(best).isLessThanOrEqualTo(4 * pool + bare);
        assertThat(scope).isLessThan(10);
    }

    private static ExecutorService virtualThreads() {
        try {
            return (ExecutorService)
                    Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (ReflectiveOperationException | UnsupportedOperationException e) {
            return null;
        }
    }
}
