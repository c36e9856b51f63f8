// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.Cuda;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.device.DeviceStream;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Losses;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Indices out of range on a device that is late: no call waits, nothing outside is touched, and it is told later. */
class IndexFaultsTest {
    private static Device fake = Device.CPU;

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    @BeforeAll
    static void driver() {
        Simulator.require();
        fake = FakeGpu.device("cuda-late", "");
    }

    private static Tensor longs(long... values) {
        return Tensor.of(values, values.length).to(fake);
    }

    private static void synchronize() {
        Backends.of(fake.type()).synchronize(0);
    }

    /** The call reads nothing back; a launch of its own that comes later, or whoever waits next, is told. */
    private static void late(String message, Supplier<Tensor> call) {
        synchronize();
        Cuda.refuseSilentSyncs(true);
        try (Scope scope = Scope.open()) {
            ShapeException e = assertThrows(ShapeException.class, () -> {
                Tensor unused = call.get();
                synchronize();
            });
            assertTrue(e.getMessage().startsWith(message), e.getMessage());
            assertTrue(e.getMessage().contains("merapi.cuda.checked"), e.getMessage());
        } finally {
            Cuda.refuseSilentSyncs(false);
        }
        synchronize(); // told once
    }

    /** Of threads that see a fault at the same time one throws; the others would read what is no longer there. */
    @Test
    void aFaultIsThrownOnce() throws Exception {
        ExecutorService other = Executors.newSingleThreadExecutor();
        try (HostMemory memory = HostMemory.allocate(IndexFaults.BYTES)) {
            IndexFaults faults = new IndexFaults(memory.address());
            CyclicBarrier together = new CyclicBarrier(2);
            for (int round = 0; round < 2000; round++) {
                memory.buffer().putLong(Long.BYTES, 1);
                Callable<Integer> look = () -> {
                    together.await();
                    try {
                        faults.raise();
                        return 0;
                    } catch (ShapeException e) {
                        return 1;
                    }
                };
                Future<Integer> theirs = other.submit(look);
                assertEquals(1, look.call() + theirs.get(), "in round " + round);
            }
        } finally {
            other.shutdown();
        }
    }

    @Test
    void everyOpTellsItsNameTheIndexAndTheRange() {
        Tensor x = Tensor.arange(12).to(DType.FLOAT32).view(4, 3).to(fake);
        Tensor source = Tensor.ones(Shape.of(2, 3), DType.FLOAT32, fake);
        late(
                "merapi::index_select: index 4, at position 1 of the indices, is out of range for size 4",
                () -> x.indexSelect(0, longs(0, 4)));
        late("merapi::index_select: index -5, at position 0 ", () -> x.indexSelect(0, longs(-5, 4 - 8)));
        late(
                "merapi::gather: index 3, at position 2 ",
                () -> Indexing.GATHER.call(
                        new Indexing.Gather(x, 1, longs(0, 1, 3, 2).view(4, 1))));
        late(
                "merapi::embedding: index 9, at position 1 ",
                () -> Indexing.EMBEDDING.call(new Indexing.Embedding(x, longs(3, 9, 0), -1)));
        late(
                "merapi::scatter: index 4, at position 0 ",
                () -> x.scatter(0, longs(4, 1, 1, 0, 0, 0).view(2, 3), source));
        late("merapi::index_add_: index 7, at position 1 ", () -> x.indexAdd(0, longs(0, 7), source));
        late(
                "merapi::one_hot: index 3, at position 0 ",
                () -> Indexing.ONE_HOT.call(new Indexing.OneHot(longs(3, 1), 3, DType.FLOAT32)));
        late(
                "merapi::cross_entropy: crossEntropy: target 5 at row 2 is not a class from 0 to 2",
                () -> Losses.crossEntropy(x, longs(0, 1, 5, 2)));
        late(
                "merapi::nll_loss: nllLoss: target -1 at row 3 is not a class",
                () -> Losses.NLL_LOSS.call(new Losses.Nll(x, longs(0, 1, 2, -1), null, -100, Losses.Reduction.MEAN)));
    }

    /** A program of ops, of which a later one may tell; but the row is that among all, not that of a chunk. */
    @Test
    void lossesByChunksTellTheRow() {
        Tensor targets = Tensor.zeros(Shape.of(300), DType.INT64, fake);
        targets.slice(0, 200, 201).fill_(4);
        Tensor x = Tensor.zeros(Shape.of(300, 3), DType.FLOAT32, fake);
        Tensor weight = Tensor.zeros(Shape.of(4, 3), DType.FLOAT32, fake);
        ShapeException e = assertThrows(ShapeException.class, () -> {
            Tensor unused = Losses.linearCrossEntropy(x, weight, null, targets);
            synchronize();
        });
        assertTrue(e.getMessage().contains("linearCrossEntropy: target 4 at row 200 is not a class"), e.getMessage());
        synchronize();
    }

    /** Good elements are right, the others zero, and a loss that would be wrong is no number. */
    @Test
    void nothingOutsideIsTouched() {
        Tensor x = Tensor.arange(4).to(DType.FLOAT32).view(4, 1).to(fake);
        Tensor ones = Tensor.ones(Shape.of(2, 1), DType.FLOAT32, fake);
        Tensor logits = Tensor.zeros(Shape.of(2, 4), DType.FLOAT32, fake);
        Tensor rows = longs(2, 99, 3);
        Tensor chosen = x.indexSelect(0, rows);
        assertThrows(ShapeException.class, IndexFaultsTest::synchronize);
        Tensor added = x.copy();
        Indexing.INDEX_ADD_INTO.call(new Indexing.IndexAdd(added, 0, longs(1, -77), ones));
        assertThrows(ShapeException.class, IndexFaultsTest::synchronize);
        assertArrayEquals(new float[] {2, 0, 3}, chosen.toFloatArray());
        assertArrayEquals(new float[] {0, 2, 2, 3}, added.toFloatArray());
        Tensor targets = longs(0, 1L << 40);
        try (CudaGraph<Tensor> step = CudaGraph.of(
                        fake, () -> Losses.crossEntropy(logits, targets, null, -100, 0, Losses.Reduction.NONE))
                .warmup(0)) {
            Tensor losses = step.run();
            assertThrows(ShapeException.class, step::verify);
            assertEquals(Math.log(4), losses.toFloatArray()[0], 1e-6);
            assertTrue(Float.isNaN(losses.toFloatArray()[1]));
        }
    }

    @Test
    void whoeverWaitsOrLaunchesNextIsTold() {
        Tensor x = Tensor.arange(4).to(DType.FLOAT32).to(fake);
        Tensor bad = longs(4);
        Tensor a = x.indexSelect(0, bad);
        assertThrows(ShapeException.class, a::item);
        x.indexSelect(0, bad);
        assertThrows(ShapeException.class, () -> DeviceStream.current(fake).synchronize());
        x.indexSelect(0, bad);
        // Nothing has to be read for it: some later launch tells.
        assertThrows(ShapeException.class, () -> {
            for (int i = 0; i < 10_000; i++) {
                x.add(1).close();
                Thread.sleep(1);
            }
        });
        synchronize();
    }

    @Test
    void aReplayTellsWhenSomebodyWaits() {
        Tensor table = Tensor.arange(4).to(DType.FLOAT32).view(4, 1).to(fake);
        Tensor index = longs(0, 3);
        CudaGraph<Tensor> graph =
                CudaGraph.of(fake, () -> table.indexSelect(0, index)).warmup(1);
        graph.run();
        assertArrayEquals(new float[] {0, 3}, graph.run().toFloatArray());
        graph.verify();
        index.copy_(longs(1, 4));
        graph.run();
        ShapeException e = assertThrows(ShapeException.class, graph::verify);
        assertTrue(e.getMessage().startsWith("merapi::index_select: index 4, at position 1 "), e.getMessage());
        graph.verify();
        index.copy_(longs(1, 2));
        assertArrayEquals(new float[] {1, 2}, graph.run().toFloatArray());
        index.copy_(longs(-5, 2));
        graph.run();
        assertThrows(ShapeException.class, graph::close);
        graph.close();
    }

    /** Many launches at once, one of them bad: exactly one fault, with that one's numbers. */
    @Test
    void oneAmongMany() {
        Tensor x = Tensor.arange(1000).to(DType.FLOAT32).to(fake);
        ShapeException e = assertThrows(ShapeException.class, () -> {
            for (int i = 0; i < 50; i++) {
                x.indexSelect(0, longs(i, i == 20 ? 1234 : 0)).close();
            }
            synchronize();
        });
        assertTrue(e.getMessage().startsWith("merapi::index_select: index 1234, at position 1 "), e.getMessage());
        synchronize();
        assertEquals(7, x.indexSelect(0, longs(7)).item());
    }
}
