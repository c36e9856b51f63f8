// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.dispatch.Backends;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Event;
import dev.merapi.dispatch.Stream;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Captured graphs and streams on a driver that does nothing at once, so that what is not ordered shows. */
class AsynchronousTest {
    private static Device fake = Device.CPU;

    @BeforeAll
    static void driver() {
        Simulator.require();
        DeviceType type = DeviceType.of("cuda-async");
        Backends.register(new CudaBackend(type, () -> FakeGpu.open("")));
        fake = Device.of(type, 0);
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
