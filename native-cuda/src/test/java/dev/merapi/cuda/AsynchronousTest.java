// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.data.DataLoader;
import dev.merapi.data.DataLoaderException;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.dispatch.CapturedGraph;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Event;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.dispatch.Stream;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Captured graphs and streams on a driver that does nothing at once, so that what is not ordered shows. */
class AsynchronousTest {
    private static Device fake = Device.CPU;

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    @BeforeAll
    static void driver() {
        Simulator.require();
        fake = FakeGpu.device("cuda-async", "");
    }

    @Test
    void aCapturedTrainingRunHasTheSimulatorsBits() {
        Generator before = Context.current().setGenerator(new Generator(7));
        try {
            CudaGraphTest.same(
                    CudaGraphTest.train(Simulator.DEVICE, 5, 2, false, false),
                    CudaGraphTest.train(fake, 5, 2, true, false));
        } finally {
            Context.current().setGenerator(before);
        }
    }

    private static Tensor full(double value) {
        return Tensor.full(Shape.of(20_000), value, DType.FLOAT32, fake);
    }

    private static void assertAll(double value, Tensor t) {
        float[] expected = new float[(int) t.numel()];
        Arrays.fill(expected, (float) value);
        assertArrayEquals(expected, t.toFloatArray());
    }

    /** What a stream still reads is freed by another, which wants the memory at once. */
    @Test
    void memoryIsNotReusedWhileAnotherStreamReadsIt() {
        try (Stream side = Stream.on(fake)) {
            List<Tensor> results = new ArrayList<>();
            Tensor slow = full(0);
            for (int i = 0; i < 20; i++) {
                Tensor a = full(i);
                try (Event made = Stream.current(fake).record()) {
                    side.await(made);
                }
                try (Stream.Use use = side.use()) {
                    for (int k = 0; k < 5; k++) {
                        slow.add(1).close(); // the side stream is late
                    }
                    results.add(a.mul(2));
                }
                long address = a.address();
                a.close();
                Tensor next = full(-1);
                assertEquals(address, next.address(), "the memory that was freed is what is wanted");
                next.close();
            }
            side.synchronize();
            for (int i = 0; i < results.size(); i++) {
                assertAll(2 * i, results.get(i));
                results.get(i).close();
            }
            slow.close();
        }
    }

    /** The same the other way round: a batch made on the side stream is used, and freed, on the device's own. */
    @Test
    void batchesMadeOnASideStreamAreSafe() {
        try (Stream side = Stream.on(fake)) {
            Tensor sum = full(0);
            double expected = 0;
            for (int i = 0; i < 20; i++) {
                Tensor host = Tensor.full(Shape.of(20_000), i, DType.FLOAT32, Device.CPU);
                Tensor batch;
                Event copied;
                try (Stream.Use use = side.use()) {
                    batch = host.to(fake);
                    copied = side.record();
                }
                Stream.current(fake).await(copied);
                copied.close();
                sum.add_(batch);
                batch.close();
                expected += i;
            }
            assertAll(expected, sum);
            sum.close();
        }
    }

    @Test
    void aLoaderBringsBatchesToTheDevice() {
        for (int prefetch : new int[] {0, 2}) {
            TensorDataset data = new TensorDataset(
                    Tensor.arange(0, 40 * 500, 1, DType.FLOAT32, Device.CPU).view(40, 500), Tensor.arange(40));
            double sum = 0;
            int count = 0;
            try (DataLoader<Labelled> loader =
                    DataLoader.of(data, 4).prefetch(prefetch).to(fake)) {
                for (int epoch = 0; epoch < 2; epoch++) {
                    for (Labelled batch : loader) {
                        try (Scope scope = Scope.open()) {
                            assertEquals(fake, batch.inputs().device());
                            double first = 500.0 * 4 * (count++ % 10);
                            assertEquals(first, batch.inputs().at(0, 0).item());
                            sum += batch.inputs().sum().item();
                            batch.inputs().close();
                            batch.targets().close();
                        }
                    }
                }
                loader.iterator().next(); // left before its end
            }
            assertEquals(20, count);
            assertEquals(2 * 19999.0 * 20000 / 2, sum, 1e-6 * sum);
        }
    }

    @Test
    void aDeviceThatIsNotThereReachesWhoTakesABatch() {
        TensorDataset data = new TensorDataset(Tensor.zeros(4, 2), Tensor.arange(4));
        try (DataLoader<Labelled> loader = DataLoader.of(data, 2).to(Device.of("cuda-async:7"))) {
            assertThrows(DataLoaderException.class, () -> loader.iterator().next());
        }
    }

    /** Memory of a stream that a graph replays on the device's own: the stream has it back when the replay is over. */
    @Test
    void memoryOfAGraphIsNotReusedWhileAReplayReadsIt() {
        try (Stream side = Stream.on(fake)) {
            for (int i = 0; i < 5; i++) {
                Tensor x;
                try (Stream.Use use = side.use()) {
                    x = full(1);
                }
                side.synchronize();
                Tensor sum = full(0);
                GraphCapture capture = GraphCapture.begin(fake);
                for (int k = 0; k < 40; k++) {
                    sum.add_(x);
                }
                CapturedGraph graph = capture.end();
                graph.replay();
                long address = x.address();
                x.close();
                graph.close();
                try (Stream.Use use = side.use()) {
                    Tensor next = full(-1);
                    assertEquals(address, next.address(), "the memory that was freed is what is wanted");
                    next.close();
                }
                assertAll(40, sum);
                sum.close();
            }
        }
    }

    @Test
    void eventsHaveNoPlaceInACapturedStep() {
        Tensor x = full(1);
        try (Stream side = Stream.on(fake);
                Event before = side.record()) {
            for (Runnable step : List.<Runnable>of(
                    () -> Stream.current(fake).await(before),
                    () -> Stream.current(fake).record().close(),
                    () -> side.record().close())) {
                try (CudaGraph<Tensor> graph = CudaGraph.of(fake, () -> {
                            Tensor y = x.add(1);
                            step.run();
                            return y;
                        })
                        .warmup(0)) {
                    GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
                    assertTrue(e.getMessage().startsWith("stream."), e.getMessage());
                }
            }
            assertAll(2, x.add(1));
        }
        x.close();
    }

    @Test
    void replaysOnSeveralStreamsAreInOrder() {
        Tensor x = full(0);
        try (Stream side = Stream.on(fake);
                CudaGraph<Tensor> graph =
                        CudaGraph.of(fake, () -> x.add_(1).mul(2)).warmup(0)) {
            for (int i = 0; i < 10; i++) {
                graph.run();
                try (Stream.Use use = side.use()) {
                    graph.run();
                }
            }
            assertAll(42, graph.run());
        }
        x.close();
    }
}
