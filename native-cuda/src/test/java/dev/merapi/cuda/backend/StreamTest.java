// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Streams and events of the simulator, where nothing is ever pending: that work goes where it should, and memory apart. */
@Tag("kernels")
class StreamTest {
    private static final Device ON = Simulator.DEVICE;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Tensor ones(long n) {
        return Tensor.ones(Shape.of(n), DType.FLOAT32, ON);
    }

    @Test
    void workOfAThreadGoesToItsStreamUntilTheUseEnds() throws InterruptedException {
        assertEquals(0, Context.current().stream(ON));
        try (DeviceStream side = DeviceStream.on(ON);
                DeviceStream other = DeviceStream.on(ON)) {
            assertNotEquals(0, side.handle());
            assertNotEquals(side.handle(), other.handle());
            try (DeviceStream.Use use = side.use()) {
                assertEquals(side, DeviceStream.current(ON));
                assertEquals(side.handle(), Context.current().stream(ON));
                assertEquals(0, Context.current().stream(Device.CPU));
                try (DeviceStream.Use inner = other.use()) {
                    assertEquals(other.handle(), Context.current().stream(ON));
                }
                assertEquals(side.handle(), Context.current().stream(ON));
                Context.Snapshot modes = Context.current().capture();
                long[] seen = new long[2];
                Thread thread = new Thread(() -> {
                    seen[0] = Context.current().stream(ON);
                    Context.current().install(modes);
                    seen[1] = Context.current().stream(ON);
                });
                thread.start();
                thread.join();
                assertArrayEquals(new long[] {0, side.handle()}, seen);
            }
            assertEquals(0, Context.current().stream(ON));
        }
    }

    @Test
    void resultsPassBetweenStreamsByEvents() {
        try (DeviceStream side = DeviceStream.on(ON);
                Scope scope = Scope.open()) {
            Tensor x = ones(1000);
            Tensor y;
            DeviceEvent ready = DeviceStream.current(ON).record();
            side.await(ready);
            DeviceEvent done;
            try (DeviceStream.Use use = side.use()) {
                y = x.add(1);
                done = side.record();
            }
            DeviceStream.current(ON).await(done);
            assertEquals(4000, y.mul(2).sum().item());
            done.synchronize();
            side.synchronize();
            ready.close();
            done.close();
            done.close();
            assertThrows(IllegalStateException.class, () -> side.await(done));
        }
    }

    /** Without an order between the two, memory that one has let go of may not serve the other. */
    @Test
    void streamsDoNotShareMemory() {
        try (DeviceStream side = DeviceStream.on(ON)) {
            long there;
            try (DeviceStream.Use use = side.use();
                    Tensor x = ones(100_000)) {
                there = x.address();
            }
            Tensor[] here = new Tensor[20];
            for (int i = 0; i < here.length; i++) {
                here[i] = ones(100_000);
                assertNotEquals(there, here[i].address());
            }
            try (DeviceStream.Use use = side.use();
                    Tensor again = ones(100_000)) {
                assertEquals(there, again.address());
            }
            for (Tensor t : here) {
                t.close();
            }
        }
    }

    @Test
    void tensorsOutliveTheirStream() {
        Tensor x;
        DeviceStream side = DeviceStream.on(ON);
        DeviceStream.Use use = side.use();
        x = ones(3).add(1);
        side.close();
        side.close();
        assertEquals(0, Context.current().stream(ON)); // closed in use: the device's own takes over
        assertArrayEquals(new float[] {3, 3, 3}, x.add(1).toFloatArray());
        use.close();
        assertThrows(IllegalStateException.class, side::use);
        assertArrayEquals(new float[] {2, 2, 2}, x.toFloatArray());
        x.close();
    }

    @Test
    void aGraphReplaysOnTheStreamInUse() {
        Tensor x = ones(3);
        try (DeviceStream side = DeviceStream.on(ON);
                CudaGraph<Tensor> graph =
                        CudaGraph.of(ON, () -> x.add_(1).mul(2)).warmup(0)) {
            assertArrayEquals(new float[] {4, 4, 4}, graph.run().toFloatArray());
            try (DeviceStream.Use use = side.use()) {
                assertArrayEquals(new float[] {6, 6, 6}, graph.run().toFloatArray());
            }
            assertArrayEquals(new float[] {8, 8, 8}, graph.run().toFloatArray());
        }
        try (DeviceStream side = DeviceStream.on(ON);
                CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                            try (DeviceStream.Use use = side.use()) {
                                return x.add(1);
                            }
                        })
                        .warmup(0)) {
            GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
            assertTrue(e.getMessage().startsWith("stream.use"), e.getMessage());
        }
    }

    @Test
    void onTheCpuNothingHappens() {
        try (DeviceStream side = DeviceStream.on(Device.CPU);
                DeviceStream.Use use = side.use();
                DeviceEvent event = side.record()) {
            side.await(event);
            DeviceStream.current(Device.CPU).await(event);
            event.synchronize();
            assertEquals(3, Tensor.of(1f, 2f).sum().item());
        }
    }
}
