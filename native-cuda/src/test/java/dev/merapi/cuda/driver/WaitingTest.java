// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Who waits for what: on a fake driver, a stream stands still at a gate until the test opens it. */
@Timeout(120)
class WaitingTest {
    private static final Duration SOON = Duration.ofSeconds(30);
    private static final String GATE = """
            extern "C" __global__ void gate(volatile int* open) {
                while (*open == 0) {}
            }
            """;

    private final ExecutorService others = Executors.newCachedThreadPool();
    private NativeCuda cuda = FakeGpu.open("");
    private long gate;
    private long function;

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    @BeforeEach
    void driver() {
        gate = cuda.allocate(0, 256);
        cuda.fill(0, 0, gate, 0, 256);
        cuda.synchronize(0);
        KernelSource source = new KernelSource("demo::gate", GATE, List.of("gate"));
        function = cuda.function(cuda.load(0, source), "gate");
    }

    @AfterEach
    void open() {
        HostMemory.view(gate, 4).putInt(0, 1); // a fake device's memory is the host's
        others.shutdown();
    }

    private void stopHere(long stream) {
        Arguments a = Arguments.begin().next().word(gate);
        cuda.launch(0, stream, "demo::gate", function, CudaRuntime.Grid.of(1, 1), a);
    }

    private static void copyThereAndBack(NativeCuda cuda, long stream, long bytes, int value) {
        long there = cuda.allocate(0, bytes);
        try (HostMemory host = HostMemory.allocate(bytes)) {
            for (int i = 0; i < bytes; i += 4) {
                host.buffer().putInt(i, value + i);
            }
            cuda.upload(0, stream, there, host.address(), bytes);
            CudaNative.memory_fill(host.address(), 0, bytes);
            cuda.download(0, stream, host.address(), there, bytes);
            for (int i = 0; i < bytes; i += 4) {
                if (host.buffer().getInt(i) != value + i) {
                    assertEquals(value + i, host.buffer().getInt(i), "byte " + i);
                }
            }
        }
    }

    @Test
    void aDownloadThatWaitsDoesNotStopOtherCopies() throws Exception {
        long slow = cuda.createStream(0);
        long quick = cuda.createStream(0);
        long there = cuda.allocate(0, 3 << 20);
        cuda.fill(0, slow, there, 5, 3 << 20);
        stopHere(slow);
        try (HostMemory host = HostMemory.allocate(3 << 20)) {
            Future<?> waits = others.submit(() -> cuda.download(0, slow, host.address(), there, 3 << 20));
            assertThrows(TimeoutException.class, () -> waits.get(200, TimeUnit.MILLISECONDS));
            assertTimeoutPreemptively(SOON, () -> {
                for (int i = 0; i < 5; i++) {
                    copyThereAndBack(cuda, quick, 5 << 20, i);
                }
            });
            assertTrue(!waits.isDone(), "the gate is closed");
            open();
            waits.get(30, TimeUnit.SECONDS);
            assertEquals(5, host.buffer().get((3 << 20) - 1));
        }
    }

    /** More threads than the ring has slots, and each wants several. */
    @Test
    void copiesOfManyThreadsDoNotWaitForEachOther() throws Exception {
        List<Future<?>> all = new ArrayList<>();
        for (int t = 0; t < 20; t++) {
            int value = t << 24;
            all.add(others.submit(() -> copyThereAndBack(cuda, cuda.createStream(0), (3 << 20) + 40, value)));
        }
        for (Future<?> f : all) {
            f.get(60, TimeUnit.SECONDS);
        }
    }

    @Test
    void anEventIsWaitedForAndNotItsStream() throws Exception {
        NativeCuda shared = cuda;
        Device device = FakeGpu.device("cuda-gate", () -> shared);
        try (DeviceStream side = DeviceStream.on(device);
                AutoCloseable opened = this::open) { // else, after a failure, the end of the stream would wait for ever
            Tensor x = Tensor.full(Shape.of(1000), 1, DType.FLOAT32, device);
            cuda.synchronize(0); // another stream is going to use it
            DeviceEvent early;
            DeviceEvent late;
            try (DeviceStream.Use use = side.use()) {
                x.add_(1);
                early = side.record();
                stopHere(side.handle());
                late = side.record();
            }
            assertTimeoutPreemptively(SOON, early::synchronize);
            assertEquals(2, HostMemory.view(x.address(), 4).getFloat(0));
            Future<?> waits = others.submit(late::synchronize);
            assertThrows(TimeoutException.class, () -> waits.get(200, TimeUnit.MILLISECONDS));
            open();
            waits.get(30, TimeUnit.SECONDS);
            early.close();
            late.close();
        }
    }

    /** What fails in the middle of a copy leaves the ring whole. */
    @Test
    void aFaultReachesThoseWhoCopyAndNobodyWaitsForever() {
        NativeCuda faulty = FakeGpu.open("fault=1");
        KernelSource source = new KernelSource("demo::gate", GATE, List.of("gate"));
        long f = faulty.function(faulty.load(0, source), "gate");
        faulty.launch(
                0,
                0,
                "demo::gate",
                f,
                CudaRuntime.Grid.of(1, 1),
                Arguments.begin().next().word(gate));
        List<Future<?>> all = new ArrayList<>();
        for (int t = 0; t < 20; t++) {
            all.add(others.submit(() -> {
                try (HostMemory host = HostMemory.allocate(3 << 20)) {
                    faulty.download(0, 0, host.address(), host.address(), 3 << 20);
                }
            }));
        }
        for (Future<?> copy : all) {
            ExecutionException e = assertThrows(ExecutionException.class, () -> copy.get(30, TimeUnit.SECONDS));
            assertTrue(String.valueOf(e.getMessage()).contains("ILLEGAL_ADDRESS"), e.getMessage());
        }
    }
}
