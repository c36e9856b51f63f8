// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.dispatch.CapturedGraph;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** Work on several streams and from several threads, nobody waiting: what is not ordered gives wrong values. */
abstract class StreamContract {
    abstract Device device();

    /** Called with what was made after memory was let go of, where the test means to get that memory again. */
    void takenAgain(long address, Tensor next) {}

    final Tensor full(double value) {
        return Tensor.full(Shape.of(20_000), value, DType.FLOAT32, device());
    }

    static void assertAll(double value, Tensor t) {
        float[] expected = new float[(int) t.numel()];
        Arrays.fill(expected, (float) value);
        assertArrayEquals(expected, t.toFloatArray());
    }

    /** What a stream still reads is freed by another, which wants the memory at once. */
    @Test
    void memoryIsNotReusedWhileAnotherStreamReadsIt() {
        try (DeviceStream side = DeviceStream.on(device())) {
            List<Tensor> results = new ArrayList<>();
            Tensor slow = full(0);
            for (int i = 0; i < 20; i++) {
                Tensor a = full(i);
                try (DeviceEvent made = DeviceStream.current(device()).record()) {
                    side.await(made);
                }
                try (DeviceStream.Use use = side.use()) {
                    for (int k = 0; k < 5; k++) {
                        slow.add(1).close(); // the side stream is late
                    }
                    results.add(a.mul(2));
                }
                long address = a.address();
                a.close();
                Tensor next = full(-1);
                takenAgain(address, next);
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
        try (DeviceStream side = DeviceStream.on(device())) {
            Tensor sum = full(0);
            double expected = 0;
            for (int i = 0; i < 20; i++) {
                Tensor host = Tensor.full(Shape.of(20_000), i, DType.FLOAT32, Device.CPU);
                Tensor batch;
                DeviceEvent copied;
                try (DeviceStream.Use use = side.use()) {
                    batch = host.to(device());
                    copied = side.record();
                }
                DeviceStream.current(device()).await(copied);
                copied.close();
                sum.add_(batch);
                batch.close();
                expected += i;
            }
            assertAll(expected, sum);
            sum.close();
        }
    }

    /** Memory of a stream that a graph replays on the device's own: the stream has it back when the replay is over. */
    @Test
    void memoryOfAGraphIsNotReusedWhileAReplayReadsIt() {
        try (DeviceStream side = DeviceStream.on(device())) {
            for (int i = 0; i < 5; i++) {
                Tensor x;
                try (DeviceStream.Use use = side.use()) {
                    x = full(1);
                }
                side.synchronize();
                Tensor sum = full(0);
                GraphCapture capture = GraphCapture.begin(device());
                for (int k = 0; k < 40; k++) {
                    sum.add_(x);
                }
                CapturedGraph graph = capture.end();
                graph.replay();
                long address = x.address();
                x.close();
                graph.close();
                try (DeviceStream.Use use = side.use()) {
                    Tensor next = full(-1);
                    takenAgain(address, next);
                    next.close();
                }
                assertAll(40, sum);
                sum.close();
            }
        }
    }

    @Test
    void replaysOnSeveralStreamsAreInOrder() {
        Tensor x = full(0);
        try (DeviceStream side = DeviceStream.on(device());
                CudaGraph<Tensor> graph =
                        CudaGraph.of(device(), () -> x.add_(1).mul(2)).warmup(0)) {
            for (int i = 0; i < 10; i++) {
                graph.run();
                try (DeviceStream.Use use = side.use()) {
                    graph.run();
                }
            }
            assertAll(42, graph.run());
        }
        x.close();
    }

    /** Each with its own memory, and a tensor of the device's own stream that all of them read. */
    @Test
    void threadsHaveStreamsOfTheirOwn() throws Exception {
        int threads = 4;
        Tensor shared = full(1);
        DeviceStream.current(device()).synchronize();
        CyclicBarrier together = new CyclicBarrier(threads);
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        try {
            List<Future<float[]>> results = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                int step = t + 1;
                results.add(pool.submit(() -> {
                    together.await(1, TimeUnit.MINUTES);
                    try (DeviceStream own = DeviceStream.on(device());
                            DeviceStream.Use use = own.use();
                            Scope scope = Scope.open()) {
                        Tensor sum = full(0);
                        for (int i = 0; i < 50; i++) {
                            try (Tensor scaled = shared.mul(step)) {
                                sum.add_(scaled);
                            }
                        }
                        return sum.toFloatArray();
                    }
                }));
            }
            for (int t = 0; t < threads; t++) {
                float[] expected = new float[20_000];
                Arrays.fill(expected, 50f * (t + 1));
                assertArrayEquals(expected, results.get(t).get(5, TimeUnit.MINUTES), "thread " + t);
            }
        } finally {
            pool.shutdownNow();
        }
        shared.close();
    }

    /** At the call where that waits, else by whoever waits next; once, and the device works on. */
    @Test
    void aBadIndexIsToldToWhoeverWaits() {
        Tensor x = Tensor.of(1f, 2f, 3f, 4f).to(device());
        Tensor bad = Tensor.of(1L, 4L).to(device());
        ShapeException e = assertThrows(ShapeException.class, () -> {
            Tensor unused = x.indexSelect(0, bad);
            DeviceStream.current(device()).synchronize();
        });
        assertTrue(e.getMessage().startsWith("merapi::index_select: index 4, at position 1 "), e.getMessage());
        DeviceStream.current(device()).synchronize();
        assertArrayEquals(new float[] {2, 4, 6, 8}, x.mul(2).toFloatArray());
    }
}
