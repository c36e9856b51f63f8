// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.memory.MemoryStats;
import dev.merapi.op.Op;
import dev.merapi.reference.JavaBackend;
import dev.merapi.storage.Backstop;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.Supplier;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** No call, from any thread, sees memory that is gone, frees it twice or brings it back. On a device of its own. */
class LifetimeTest {
    private static final Device DEVICE = Device.of(DeviceType.register("lifetimes"), 0);
    private static final int THREADS = 8;

    public record X(Tensor x) {}

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("lifetimes")));
    }

    private static Tensor make(long n) {
        return Tensor.ones(Shape.of(n), DType.FLOAT64, DEVICE);
    }

    private static MemoryStats stats() {
        return Memory.stats(DEVICE);
    }

    /** Runs it on so many threads at once, and rethrows what one of them throws. */
    static void onThreads(int count, Work work) throws Exception {
        CyclicBarrier start = new CyclicBarrier(count);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int number = i;
            Thread thread = new Thread(() -> {
                try {
                    start.await();
                    work.run(number);
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            });
            thread.start();
            all.add(thread);
        }
        for (Thread thread : all) {
            thread.join();
        }
        if (failure.get() != null) {
            throw new AssertionError("on one of " + count + " threads", failure.get());
        }
    }

    interface Work {
        void run(int thread) throws Exception;
    }

    // ---------------------------------------------------------------- counts

    @Tag("once")
    @Test
    void aFreedStorageIsNeverRetainedAgain() throws Exception {
        for (int round = 0; round < 300; round++) {
            Tensor t = make(1000);
            Storage storage = TENSORS.storage(t);
            onThreads(4, i -> {
                if (i == 0) {
                    t.close();
                }
                for (int k = 0; k < 50; k++) {
                    boolean open;
                    try {
                        storage.retain();
                        open = true;
                    } catch (ClosedTensorException e) {
                        open = false;
                    }
                    if (open) {
                        storage.release(Context.current().memory());
                    } else {
                        assertThat(storage.isOpen()).isFalse();
                    }
                }
            });
            assertThatThrownBy(storage::retain).isInstanceOf(ClosedTensorException.class);
        }
        assertThat(stats().allocated()).isGreaterThanOrEqualTo(0);
    }

    /** Views, slices, shares, saved values and closings of the same few tensors by eight threads; nothing is left. */
    @Tag("once")
    @Test
    void statisticsAreExactAfterAStressOfSharedHandles() throws Exception {
        Backstop.collectNow();
        MemoryStats before = stats();
        long seed = System.nanoTime();
        for (int round = 0; round < 4; round++) {
            AtomicReferenceArray<Tensor> shared = new AtomicReferenceArray<>(6);
            long roundSeed = seed + round;
            onThreads(THREADS, number -> {
                Random random = new Random(roundSeed * THREADS + number);
                for (int i = 0; i < 3000; i++) {
                    step(shared, random);
                }
            });
            for (int i = 0; i < shared.length(); i++) {
                Tensor t = shared.get(i);
                if (t != null) {
                    t.close();
                }
            }
        }
        Memory.trim(DEVICE);
        for (int i = 0; i < 20 && stats().liveBlocks() > before.liveBlocks(); i++) {
            Backstop.collectNow(); // chunks, and what left a scope
            Memory.trim(DEVICE);
        }
        assertThat(stats().allocated()).as("bytes, seed %d", seed).isEqualTo(before.allocated());
        assertThat(stats().liveBlocks()).as("blocks, seed %d", seed).isEqualTo(before.liveBlocks());
    }

    private static void step(AtomicReferenceArray<Tensor> shared, Random random) {
        int at = random.nextInt(shared.length());
        Tensor t = shared.get(at);
        try {
            if (t == null || t.isClosed()) {
                Tensor fresh = random.nextBoolean()
                        ? make(random.nextBoolean() ? 10 : 2000)
                        : Scope.scoped(() -> make(random.nextBoolean() ? 10 : 2000));
                Tensor old = shared.getAndSet(at, fresh);
                if (old != null) {
                    old.close();
                }
                return;
            }
            switch (random.nextInt(7)) {
                case 0 -> t.close();
                case 1 -> t.slice(0, 0, 5).close();
                case 2 -> {
                    try (Scope scope = Scope.open()) {
                        t.view(-1).slice(0, 1, 4).sum();
                    }
                }
                case 3 -> {
                    Storage part = TENSORS.storage(t).slice(16, 32);
                    Tensor over = TENSORS.over(part, Layout.contiguous(Shape.of(4)), DType.FLOAT64);
                    over.sum().close();
                    over.close();
                }
                case 4 -> t.leaveScope();
                case 5 -> {
                    Tensor old = shared.getAndSet(at, t.detach());
                    if (old != null) {
                        old.close();
                    }
                }
                default -> {
                    Storage storage = TENSORS.storage(t);
                    storage.retain();
                    storage.escape();
                    storage.release(Context.current().memory());
                }
            }
        } catch (ClosedTensorException e) {
            // another thread was faster, and that is said
        }
    }

    @Tag("once")
    @Test
    void leavingAScopeWhileAnotherThreadClosesFreesOnce() throws Exception {
        Backstop.collectNow();
        MemoryStats before = stats();
        for (int round = 0; round < 300; round++) {
            try (Scope scope = Scope.open()) {
                Tensor t = make(2000);
                onThreads(2, i -> {
                    if (i == 0) {
                        t.close();
                    } else {
                        TENSORS.storage(t).escape();
                    }
                });
            } catch (AssertionError e) {
                assertThat(e).hasCauseInstanceOf(ClosedTensorException.class);
            }
        }
        Backstop.collectNow();
        // A small thing that an earlier test left may be collected meanwhile; a block of this one is 8,000 bytes.
        assertThat(before.allocated() - stats().allocated()).isBetween(0L, 1000L);
        assertThat(before.liveBlocks() - stats().liveBlocks()).isBetween(0L, 3L);
    }

    @Tag("once")
    @Test
    void aVariableHasOnePlaceInTheGraphHoweverManyThreadsAskForIt() throws Exception {
        for (int round = 0; round < 300; round++) {
            Tensor x = make(4);
            onThreads(2, i -> {
                if (i == 0) {
                    x.requiresGrad(true);
                } else {
                    x.slice(0, 0, 2);
                }
            });
            assertThat(x.requiresGrad()).isTrue();
            Autograd.backward(x.slice(0, 0, 2).sum());
            assertThat(x.grad().toDoubleArray()).containsExactly(1, 1, 0, 0);
        }
    }

    // ---------------------------------------------------------------- raw views

    @Test
    void elementsOfWhatIsGoneAreRefusedByEveryAccessor() {
        Map<String, Supplier<Tensor>> kinds = new LinkedHashMap<>();
        kinds.put("a tenant of a chunk", () -> make(4));
        kinds.put("a large one", () -> make(4000));
        kinds.put("of the CPU", () -> Tensor.ones(Shape.of(4), DType.FLOAT64, Device.CPU));
        kinds.put("a large one of the CPU", () -> Tensor.ones(Shape.of(200_000), DType.FLOAT64, Device.CPU));
        kinds.put("a view", () -> {
            try (Tensor base = make(4000)) {
                return base.slice(0, 10, 20);
            }
        });
        kinds.put("a strided one", () -> {
            try (Tensor base = make(4000)) {
                return base.slice(0, 0, 4000, 2);
            }
        });
        kinds.forEach((name, maker) -> {
            Tensor t = maker.get();
            Elements e = Elements.of(t);
            assertThat(e.getDouble(1)).isOne();
            t.close();
            List<Executable> accesses = new ArrayList<>(List.of(
                    () -> e.getDouble(1),
                    () -> e.getLong(1),
                    () -> e.doubleAt(0),
                    () -> e.longAt(0),
                    () -> e.setDouble(1, 2),
                    () -> e.setLong(1, 2),
                    () -> e.setDoubleAt(0, 2),
                    () -> e.setLongAt(0, 2),
                    e::buffer,
                    () -> Elements.of(t)));
            if (t.isContiguous()) {
                accesses.add(() -> e.withBytes(b -> {}));
            }
            for (int i = 0; i < accesses.size(); i++) {
                Executable access = accesses.get(i);
                assertThatThrownBy(access::execute)
                        .as("%s, access %d", name, i)
                        .isInstanceOf(ClosedTensorException.class)
                        .hasMessageContaining("closed");
            }
        });
    }

    @Test
    void elementsThatLeftTheirKernelAreCheckedAtEachAccess() throws Exception {
        AtomicReference<Elements> leaked = new AtomicReference<>();
        AtomicReference<Elements> ofTemporary = new AtomicReference<>();
        Op<X, Tensor> op = Op.define("test::leaks_elements", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    leaked.set(Elements.of(a.x()));
                    Tensor temporary = a.x().mul(2.0);
                    Elements e = Elements.of(temporary);
                    ofTemporary.set(e);
                    temporary.close();
                    assertThat(e.getDouble(0))
                            .as("closed, but still in the kernel")
                            .isEqualTo(2);
                    Elements.of(out).setDouble(0, leaked.get().getDouble(0));
                });
        Tensor x = make(1);
        op.call(new X(x)).close();
        assertThat(leaked.get().getDouble(0)).isOne();
        assertThatThrownBy(() -> ofTemporary.get().getDouble(0)).isInstanceOf(ClosedTensorException.class);
        x.close();
        assertThatThrownBy(() -> leaked.get().getDouble(0)).isInstanceOf(ClosedTensorException.class);
    }

    /** Readers without a kernel, and a closer: each read gives what was there, or says that it is gone. */
    @Tag("once")
    @Test
    void readersOutsideOfKernelsNeverSeeTheMemoryOfAnother() throws Exception {
        for (int round = 0; round < 60; round++) {
            Tensor x = make(3000);
            Elements e = Elements.of(x);
            CountDownLatch read = new CountDownLatch(3);
            onThreads(4, i -> {
                if (i == 0) {
                    read.await();
                    x.close();
                    for (int k = 0; k < 20; k++) {
                        make(3000).mul_(-1).close(); // would get the memory
                    }
                    return;
                }
                try {
                    for (int k = 0; k < 20_000; k++) {
                        assertThat(e.doubleAt(k % 3000) == 1).isTrue();
                        if (k == 10) {
                            read.countDown();
                        }
                    }
                } catch (ClosedTensorException gone) {
                    assertThat(read.getCount()).isZero();
                }
            });
        }
    }

    @Test
    void aBufferHoldsItsMemoryUntilItIsUnreachable() {
        for (Device device : List.of(DEVICE, Device.CPU)) {
            Backstop.collectNow();
            long before = Memory.stats(device).allocated();
            ByteBuffer[] held = new ByteBuffer[1];
            try (Scope scope = Scope.open()) {
                Tensor t = Tensor.ones(Shape.of(50_000), DType.FLOAT64, device);
                Elements e = Elements.of(t.slice(0, 10, 20));
                held[0] = e.buffer();
                assertThat(held[0].getDouble(e.byteOffset())).isOne();
                held[0].putDouble(e.byteOffset(), 7);
                assertThat(t.at(10).item()).isEqualTo(7);
                assertThat(held[0].capacity()).as("its own bytes and no other").isEqualTo(50_000 * 8);
            }
            List<Tensor> greedy = new ArrayList<>();
            for (int i = 0; i < 5; i++) {
                greedy.add(Tensor.full(Shape.of(50_000), -1, DType.FLOAT64, device));
            }
            Backstop.collectNow();
            Memory.trim(device);
            assertThat(held[0].getDouble(80)).isEqualTo(7);
            held[0].putDouble(80, 8);
            greedy.forEach(g -> assertThat(g.amin().item()).isEqualTo(-1));
            greedy.forEach(Tensor::close);
            held[0] = null;
            for (int i = 0; i < 20 && Memory.stats(device).allocated() > before; i++) {
                Backstop.collectNow();
            }
            assertThat(Memory.stats(device).allocated()).as("on %s", device).isLessThanOrEqualTo(before + (64 << 10));
        }
    }
}
