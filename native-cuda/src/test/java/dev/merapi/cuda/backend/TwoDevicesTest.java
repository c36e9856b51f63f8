// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.device.DeviceEvent;
import dev.merapi.device.DeviceStream;
import dev.merapi.device.Memory;
import dev.merapi.error.DeviceException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Two GPUs of one machine: a fake driver, whose devices have contexts, streams and memory of their own, all late. */
class TwoDevicesTest {
    private static final int N = 20_000;

    private static Device first = Device.CPU;
    private static Device second = Device.CPU;

    @BeforeAll
    static void driver() {
        Simulator.require();
        first = FakeGpu.device("cuda-two", "devices=2");
        second = Device.of(first.type(), 1);
    }

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    private static List<Device[]> bothWays() {
        return List.of(new Device[] {first, second}, new Device[] {second, first});
    }

    private static Tensor full(double value, Device device) {
        return Tensor.full(Shape.of(N), value, DType.FLOAT32, device);
    }

    private static void assertAll(double value, Tensor t) {
        float[] expected = new float[(int) t.numel()];
        Arrays.fill(expected, (float) value);
        assertArrayEquals(expected, t.toFloatArray());
    }

    private static void keepBusy(Device device) {
        try (Scope scope = Scope.open()) {
            Tensor x = full(0, device);
            for (int i = 0; i < 5; i++) {
                x.add_(1);
            }
        }
    }

    @Test
    void aCopyWaitsForWhatItCopies() {
        for (Device[] way : bothWays()) {
            for (int i = 0; i < 10; i++) {
                try (Scope scope = Scope.open()) {
                    keepBusy(way[0]);
                    Tensor there = full(i, way[0]).add(1).to(way[1]);
                    assertEquals(way[1], there.device());
                    assertAll(i + 1, there);
                    assertAll(2 * i + 2, there.mul(2).to(way[0]).to(way[1]));
                }
            }
        }
    }

    /** The target's stream is late, and the source's memory is wanted again at once. */
    @Test
    void theSourceIsNotReusedBeforeTheCopyIsOver() {
        for (Device[] way : bothWays()) {
            for (int i = 0; i < 10; i++) {
                try (Scope scope = Scope.open()) {
                    Tensor x = full(i, way[0]);
                    keepBusy(way[1]);
                    Tensor there = x.to(way[1]);
                    long address = x.address();
                    x.close();
                    assertEquals(address, full(-1, way[0]).address(), "the memory that was freed is what is wanted");
                    assertAll(i, there);
                }
            }
        }
    }

    /** What the target's memory was used for before is still under way. */
    @Test
    void theTargetIsNotWrittenBeforeItIsFree() {
        for (Device[] way : bothWays()) {
            for (int i = 0; i < 10; i++) {
                try (Scope scope = Scope.open()) {
                    Tensor x = full(-1, way[0]);
                    x.sum().item();
                    Tensor before = full(i, way[1]);
                    keepBusy(way[1]);
                    Tensor read = before.mul(2);
                    long address = before.address();
                    before.close();
                    assertEquals(address, x.to(way[1]).address(), "the memory that was freed is what is wanted");
                    assertAll(2 * i, read);
                }
            }
        }
    }

    @Test
    void copiesBetweenStreamsOfTwoDevices() {
        try (DeviceStream from = DeviceStream.on(first);
                DeviceStream to = DeviceStream.on(second)) {
            for (int i = 0; i < 10; i++) {
                Tensor x;
                Tensor there;
                DeviceEvent made;
                try (DeviceStream.Use use = from.use()) {
                    keepBusy(first);
                    x = full(i, first).add(1);
                    there = x.to(second); // on the second device's own stream
                    long address = x.address();
                    x.close();
                    assertEquals(address, full(-1, first).address(), "the memory that was freed is what is wanted");
                    made = from.record();
                }
                try (DeviceStream.Use use = to.use()) {
                    to.await(made); // an event of the other device
                    assertAll(2 * i + 2, there.mul(2));
                }
                made.close();
                there.close();
            }
        }
    }

    @Test
    void gradientsGoBackToTheDeviceTheyCameFrom() {
        try (Scope scope = Scope.open()) {
            Tensor x = full(3, first).requiresGrad(true);
            Autograd.backward(x.mul(2).to(second).mul(x.detach().to(second)).sum());
            Tensor grad = java.util.Objects.requireNonNull(x.grad());
            assertEquals(first, grad.device());
            assertAll(6, grad);
        }
    }

    @Test
    void aTensorOfTheWrongDeviceIsRefused() {
        try (Scope scope = Scope.open()) {
            Tensor x = full(1, first);
            Tensor y = full(2, second);
            for (Runnable call : List.<Runnable>of(() -> x.add(y), () -> y.mul_(x), () -> x.copy_(y))) {
                DeviceException e = assertThrows(DeviceException.class, call::run);
                assertTrue(e.getMessage().contains(first.toString()), e.getMessage());
                assertTrue(e.getMessage().contains(second.toString()), e.getMessage());
            }
            assertAll(3, x.add(y.to(first)));
            assertAll(2, y);
            DeviceException e = assertThrows(DeviceException.class, () -> x.to(Device.of(first.type(), 2)));
            assertTrue(e.getMessage().contains("there are only 2"), e.getMessage());
        }
    }

    @Test
    void eachDeviceHasMemoryAndACapOfItsOwn() {
        Device one = FakeGpu.device("cuda-two-small", "devices=2\nmemory=80000000");
        Device two = Device.of(one.type(), 1);
        int large = 15 << 20 >> 2;
        try (Scope scope = Scope.open()) {
            long before = Memory.stats(two).allocated();
            Tensor kept = Tensor.full(Shape.of(large), 1, DType.FLOAT32, one);
            assertEquals(before, Memory.stats(two).allocated());
            assertTrue(Memory.stats(one).allocated() >= 15 << 20);
            assertThrows(OutOfMemoryException.class, () -> kept.expand(5, large).copy());
            // What one device has no more of, the other one has: in the driver, too.
            Tensor[] there = new Tensor[3];
            for (int i = 0; i < 3; i++) {
                there[i] = Tensor.full(Shape.of(large), i, DType.FLOAT32, two);
            }
            assertEquals(2, there[2].narrow(0, large - 1, 1).item());
            Memory.setCap(two, Memory.stats(two).reserved());
            OutOfMemoryException e = assertThrows(
                    OutOfMemoryException.class, () -> Tensor.full(Shape.of(3L * large), 1, DType.FLOAT32, two));
            assertTrue(e.getMessage().contains("out of memory on " + two), e.getMessage());
            assertEquals(1, kept.narrow(0, large - 1, 1).add(0).item());
        }
    }

    /** Each thread goes from one device to the other: a launch wants the context of its own. */
    @Test
    void threadsUseBothDevicesByTurns() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(4);
        Callable<Void> work = () -> {
            try (Scope scope = Scope.open()) {
                Tensor a = full(1, first);
                Tensor b = full(2, second);
                for (int i = 0; i < 10; i++) {
                    a.add_(1);
                    b.add_(a.to(second));
                    a.add_(b.to(first));
                }
                double x = 1;
                double y = 2;
                for (int i = 0; i < 10; i++) {
                    x += 1;
                    y += x;
                    x += y;
                }
                assertAll(x, a);
                assertAll(y, b);
            }
            return null;
        };
        try {
            for (Future<Void> f : threads.invokeAll(List.of(work, work, work, work))) {
                f.get(60, TimeUnit.SECONDS);
            }
        } finally {
            threads.shutdown();
        }
    }

    @Test
    void aCapturedStepHasOneDevice() {
        Tensor x = full(1, first);
        for (Runnable step :
                List.<Runnable>of(() -> x.to(second), () -> full(1, second).add(1))) {
            try (CudaGraph<Tensor> graph = CudaGraph.of(first, () -> {
                        step.run();
                        return x.add(1);
                    })
                    .warmup(0)) {
                assertThrows(GraphCaptureException.class, graph::run);
            }
        }
        assertAll(2, x.add(1));
        x.close();
    }

    @Test
    void copiesThatGoThroughTheHostAreRightToo() {
        Device one = FakeGpu.device("cuda-two-apart", "devices=2\npeers=0");
        try (Scope scope = Scope.open()) {
            Tensor there = full(3, one).to(Device.of(one.type(), 1));
            assertAll(4, there.add(1).to(one));
            assertAll(4, there.add(1).to(first)); // another driver's
            assertAll(4, there.add(1).to(Simulator.DEVICE).to(second));
        }
    }

    @Test
    void aFaultOfOneDeviceLeavesTheOtherOneAtWork() {
        Device one = FakeGpu.device("cuda-two-faulty", "devices=2\nfault=2");
        Device two = Device.of(one.type(), 1);
        Tensor x = full(1, two);
        assertThrows(CudaException.class, () -> full(1, one).sum().item());
        CudaException e = assertThrows(CudaException.class, () -> x.to(one));
        assertTrue(e.getMessage().contains("the device is lost"), e.getMessage());
        assertAll(2, x.add(1));
    }
}
