// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Cuda;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.device.Memory;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The runtime for GPUs, on a driver whose streams are threads of the host. */
class NativeCudaTest {
    private static final Device FAKE = FakeGpu.device("cuda-fake", "");

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    @BeforeAll
    static void compiler() {
        Simulator.require();
    }

    private static List<float[]> train(Device device) {
        Merapi.seed(7);
        List<Tensor> parameters = new ArrayList<>();
        for (Tensor t : List.of(Tensor.randn(20, 33), Tensor.randn(33), Tensor.randn(33, 5))) {
            parameters.add(t.mul(0.3).to(device).requiresGrad(true));
        }
        try (AdamW optimizer = new AdamW(parameters, 1e-2, 0.9, 0.99, 1e-8, 0.1)) {
            for (int step = 0; step < 3; step++) {
                try (Scope scope = Scope.open()) {
                    Tensor x = Tensor.randn(17, 20).to(device);
                    Tensor hidden =
                            x.matmul(parameters.get(0)).add(parameters.get(1)).gelu();
                    Tensor y =
                            hidden.dropout(0.2, true).matmul(parameters.get(2)).softmax(-1);
                    Autograd.backward(y.mul(y).mean());
                    optimizer.step();
                    optimizer.zeroGrad();
                }
            }
        }
        return parameters.stream().map(Tensor::toFloatArray).toList();
    }

    @Test
    void trainingGivesTheSimulatorsNumbersBitForBit() {
        List<float[]> expected = train(Simulator.DEVICE);
        List<float[]> actual = train(FAKE);
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), "parameter " + i);
        }
    }

    /** Libraries that a program uses beside the engine may change what the calling thread's context is. */
    /** As a GPU's compiler is asked: by the entry, of which each has an image of its own. */
    @Test
    void entriesAreCompiledWhenTheyAreAskedFor() {
        Tensor x = Tensor.arange(0, 12, 1).view(3, 4).sin();
        Device fake = FakeGpu.device("fake-apart", "apart=1");
        Tensor[] gradients = new Tensor[2];
        for (Device device : List.of(Device.CPU, fake)) {
            Tensor in = x.to(device).requiresGrad(true);
            Tensor loss = in.softmax(1).square().sum();
            gradients[device.equals(fake) ? 1 : 0] =
                    Autograd.grad(loss, List.of(in)).get(0).to(Device.CPU);
        }
        assertArrayEquals(gradients[0].toFloatArray(), gradients[1].toFloatArray(), 1e-6f);
    }

    @Test
    void anotherLibraryMayChangeTheThreadsContext() {
        Device device = FakeGpu.device("cuda-meddled", "meddling=1");
        float[] twice = Tensor.of(new float[] {1, 2})
                .to(device)
                .add(1)
                .mul(2)
                .to(Device.CPU)
                .toFloatArray();
        assertArrayEquals(new float[] {4, 6}, twice);
    }

    /** Longer than the staging ring, and the host's memory is overwritten at once. */
    @Test
    void copiesOfAnySizeKeepTheirOrder() {
        int n = 3 << 20;
        float[] values = new float[n];
        Tensor host = Tensor.zeros(n);
        try (Scope scope = Scope.open()) {
            List<Tensor> there = new ArrayList<>();
            for (int round = 1; round <= 3; round++) {
                host.fill_(round);
                there.add(host.to(FAKE).add(1));
            }
            host.fill_(-1);
            for (int round = 1; round <= 3; round++) {
                values = there.get(round - 1).toFloatArray();
                for (int i = 0; i < n; i += 4097) {
                    assertEquals(round + 1f, values[i]);
                }
                assertEquals(round + 1f, values[n - 1]);
            }
        }
    }

    @Test
    void eventsOrderStreams() {
        NativeCuda cuda = FakeGpu.open("");
        long a = cuda.createStream(0);
        long b = cuda.createStream(0);
        long event = cuda.createEvent(0);
        long memory = cuda.allocate(0, 256);
        try (HostMemory host = HostMemory.allocate(256)) {
            for (int round = 1; round < 20; round++) {
                cuda.fill(0, a, memory, round, 256);
                cuda.record(0, event, a);
                cuda.await(0, b, event);
                cuda.download(0, b, host.address(), memory, 256);
                assertEquals(round, host.buffer().get(255));
            }
        }
        cuda.destroyEvent(0, event);
        cuda.destroyStream(0, b);
        cuda.destroyStream(0, a);
        cuda.free(0, memory);
    }

    @Test
    void aCapturedStreamDoesItsWorkWhenTheGraphIsLaunched() {
        NativeCuda cuda = FakeGpu.open("");
        long stream = cuda.createStream(0);
        long memory = cuda.allocate(0, 256);
        cuda.fill(0, stream, memory, 1, 256);
        cuda.beginCapture(0, stream);
        cuda.fill(0, stream, memory, 9, 256);
        long graph = cuda.endCapture(0, stream);
        try (HostMemory host = HostMemory.allocate(256)) {
            cuda.download(0, stream, host.address(), memory, 256);
            assertEquals(1, host.buffer().get(0));
            cuda.launchGraph(0, graph, stream);
            cuda.download(0, stream, host.address(), memory, 256);
            assertEquals(9, host.buffer().get(0));
        }
        cuda.destroyGraph(0, graph);
    }

    /** As NVIDIA's does: so nobody may wait for such a stream, nor for the device as a whole. */
    @Test
    void waitingForACapturedStreamEndsTheCapture() {
        NativeCuda cuda = FakeGpu.open("");
        long stream = cuda.createStream(0);
        cuda.beginCapture(0, stream);
        assertTrue(assertThrows(CudaException.class, () -> cuda.synchronizeStream(0, stream))
                .getMessage()
                .contains("CAPTURE_UNSUPPORTED"));
        assertTrue(assertThrows(CudaException.class, () -> cuda.endCapture(0, stream))
                .getMessage()
                .contains("CAPTURE_INVALIDATED"));
        cuda.synchronizeStream(0, stream);
        cuda.beginCapture(0, stream);
        cuda.destroyGraph(0, cuda.endCapture(0, stream));
    }

    @Test
    void aThreadMayWaitForTheDeviceWhileAnotherOneCaptures() {
        NativeCuda cuda = FakeGpu.open("");
        long captured = cuda.createStream(0);
        long side = cuda.createStream(0);
        long memory = cuda.allocate(0, 4 << 20);
        cuda.fill(0, captured, memory, 0, 4 << 20);
        cuda.synchronize(0);
        cuda.beginCapture(0, captured);
        cuda.fill(0, captured, memory, 1, 256);
        for (long stream : new long[] {0, side}) {
            for (int i = 2; i < 50; i++) {
                cuda.fill(0, stream, memory, i, 4 << 20);
            }
            cuda.synchronize(0);
            assertEquals(
                    49, HostMemory.view(memory, 4 << 20).get((4 << 20) - 1), "what stream " + stream + " was given");
        }
        cuda.free(0, cuda.allocate(0, 256)); // which waits, too
        long graph = cuda.endCapture(0, captured);
        cuda.launchGraph(0, graph, captured);
        cuda.synchronize(0);
        assertEquals(1, HostMemory.view(memory, 256).get(255));
        cuda.destroyGraph(0, graph);
    }

    @Test
    void manyThreadsMayUseADevice() throws InterruptedException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> threads = new ArrayList<>();
        for (int k = 0; k < 8; k++) {
            int seed = k;
            threads.add(new Thread(() -> {
                try (Scope scope = Scope.open()) {
                    for (int i = 0; i < 20; i++) {
                        Tensor x = Tensor.full(seed + i, 1000).to(FAKE);
                        assertEquals(1000.0 * 2 * (seed + i), x.add(x).sum().item());
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread t : threads) {
            t.join();
        }
        if (failure.get() != null) {
            throw new AssertionError(failure.get());
        }
    }

    @Test
    void aFullDeviceIsReportedAndGoesOnWorking() {
        Device small = FakeGpu.device("cuda-small", "memory=80000000");
        assertTrue(Memory.stats(small).cap() <= 80_000_000);
        try (Scope scope = Scope.open()) {
            Tensor kept = Tensor.zeros(1 << 20).to(small);
            OutOfMemoryException e = assertThrows(
                    OutOfMemoryException.class,
                    () -> Tensor.zeros(1 << 20).to(small).expand(40, 1 << 20).copy());
            assertTrue(e.getMessage().contains("cuda-small"), e.getMessage());
            assertEquals(0, kept.sum().item());
        }
    }

    @Test
    void afterAFaultEveryCallSaysThatTheDeviceIsLost() {
        Device faulty = FakeGpu.device("cuda-faulty", "fault=3");
        CudaException first = assertThrows(CudaException.class, () -> {
            Tensor x = Tensor.zeros(100).to(faulty);
            for (int i = 0; i < 5; i++) {
                x = x.add(1);
            }
            x.sum().item();
        });
        assertTrue(first.getMessage().contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)"), first.getMessage());
        assertTrue(
                first.getMessage()
                        .matches(
                                "(?s).*\n  kernels launched last, the newest first:\n.*"
                                        + "\n    merapi::add_scalar: kernel \\w+, grid \\(1, 1, 1\\), block \\(\\d+, 1, 1\\)\n.*"),
                first.getMessage());
        CudaException later =
                assertThrows(CudaException.class, () -> Tensor.zeros(4).to(faulty));
        assertTrue(later.getMessage().contains("the device is lost"), later.getMessage());
        assertTrue(later.getMessage().contains("ILLEGAL_ADDRESS"), later.getMessage());
    }

    /** The third launch fails; what is launched before and after it must not be blamed. */
    @Test
    void checkedModeNamesTheKernelThatFaults() {
        System.setProperty("merapi.cuda.checked", "true");
        try {
            Device faulty = FakeGpu.device("cuda-checked", "fault=3");
            Tensor x = Tensor.zeros(5, 100).to(faulty);
            Tensor y = x.add(1).cos();
            CudaException first = assertThrows(CudaException.class, y::exp);
            String said = first.getMessage();
            assertTrue(
                    said.matches("(?s)merapi::exp: cuda:0: kernel \\w+: CUDA_ERROR_ILLEGAL_ADDRESS \\(700\\): .*"
                            + "\n  grid: \\(1, 1, 1\\)\n  block: \\(\\d+, 1, 1\\)"
                            + "\n  y0: float32\\[5, 100\\] cuda-checked:0\n  x0: float32\\[5, 100\\] cuda-checked:0"
                            + "\n  the device is lost.*"),
                    said);
            assertFalse(said.contains("cos"), said);
            String later = assertThrows(CudaException.class, () -> y.add(1)).getMessage();
            assertEquals(said, later, "every later call says the same");
        } finally {
            System.clearProperty("merapi.cuda.checked");
        }
    }

    private static final KernelSource NOTHING =
            new KernelSource("demo::nothing", "extern \"C\" __global__ void nothing() {}\n", List.of("nothing"));

    /** A library that launches one kernel, whose driver lets the first launch fault. */
    private static NativeCuda faulty(List<Runnable> launch) {
        NativeCuda cuda = FakeGpu.open("fault=1");
        long function = cuda.function(cuda.load(0, NOTHING), "nothing");
        launch.add(() -> cuda.launchCost(0, function, 1));
        return cuda;
    }

    private static MatrixProduct product() {
        Tensor x = Tensor.zeros(4, 4);
        return MatrixProduct.of(new LinearAlgebra.Matmul(x, x), Tensor.zeros(4, 4));
    }

    @Test
    void checkedModeNamesTheProductThatFaults() {
        System.setProperty("merapi.cuda.checked", "true");
        try {
            List<Runnable> launch = new ArrayList<>();
            Blas blas = faulty(launch).watched(0, (p, tf32, stream) -> {
                launch.get(0).run();
                return true;
            });
            String said = assertThrows(CudaException.class, () -> blas.multiply(product(), false, 0))
                    .getMessage();
            assertTrue(said.startsWith("merapi::matmul: cuda:0: a product of cuBLASLt: CUDA_ERROR_ILLEGAL"), said);
            assertTrue(said.contains("\n  a: float32[4, 4]"), said);
            assertTrue(said.contains("the device is lost"), said);
        } finally {
            System.clearProperty("merapi.cuda.checked");
        }
    }

    /** The library only knows that it could not run; the driver knows why, and nothing can run from then on. */
    @Test
    void aLibrarysFailureAfterAFaultMeansThatTheDeviceIsLost() {
        List<Runnable> launch = new ArrayList<>();
        NativeCuda cuda = faulty(launch);
        Blas good = cuda.watched(0, (p, tf32, stream) -> true);
        assertTrue(good.multiply(product(), false, 0));
        launch.get(0).run();
        Blas failing = cuda.watched(0, (p, tf32, stream) -> {
            throw new CudaException("cublasLtMatmul answers with status 13");
        });
        String said = assertThrows(CudaException.class, () -> failing.multiply(product(), false, 0))
                .getMessage();
        assertTrue(said.contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)"), said);
        assertTrue(said.contains("\n    merapi::matmul: Product[m=4, n=4, k=4]"), said);
        assertThrows(CudaException.class, () -> cuda.allocate(0, 16));
    }

    /** Where nothing has failed before: it multiplied nothing, so somebody else does. What is recorded cannot be mended. */
    @Test
    void aLibrarysOwnFailureIsAProductForSomebodyElse() {
        NativeCuda cuda = FakeGpu.open("");
        Blas failing = cuda.watched(0, (p, tf32, stream) -> {
            throw new CudaException("status 14");
        });
        assertFalse(failing.multiply(product(), false, 0));
        long stream = cuda.createStream(0);
        cuda.beginCapture(0, stream);
        CudaException e = assertThrows(CudaException.class, () -> failing.multiply(product(), false, stream));
        assertEquals("status 14", e.getMessage());
        cuda.destroyGraph(0, cuda.endCapture(0, stream));
    }

    @Test
    void aLaunchThatIsRefusedNamesOpAndGrid() {
        NativeCuda cuda = FakeGpu.open("");
        KernelSource source =
                new KernelSource("demo::empty", "extern \"C\" __global__ void empty(int n) {}\n", List.of("empty"));
        long function = cuda.function(cuda.load(0, source), "empty");
        CudaRuntime.Grid grid = new CudaRuntime.Grid(7, 70_000, 1, 32, 1, 1, 0);
        CudaException e = assertThrows(
                CudaException.class,
                () -> cuda.launch(
                        0,
                        0,
                        "demo::empty",
                        function,
                        grid,
                        Arguments.begin().next().half(1)));
        assertTrue(
                e.getMessage().contains("launch of kernel empty for demo::empty: CUDA_ERROR_INVALID_VALUE (1)"),
                e.getMessage());
        assertTrue(e.getMessage().contains("grid: (7, 70000, 1)"), e.getMessage());
        cuda.launch(
                0,
                0,
                "demo::empty",
                function,
                CudaRuntime.Grid.of(1, 32),
                Arguments.begin().next().half(1));
        cuda.synchronize(0);
    }

    /** One that another process has for itself does not hinder those who use the other. */
    @Test
    void aDeviceIsBegunByItsFirstUse() {
        Device free = FakeGpu.device("cuda-pair", "devices=2\ntaken=1");
        assertEquals(3, Tensor.ones(3).to(free).sum().item());
        Device taken = Device.of(free.type(), 1);
        for (int i = 0; i < 2; i++) {
            CudaException e =
                    assertThrows(CudaException.class, () -> Tensor.ones(3).to(taken));
            assertTrue(
                    e.getMessage().contains("cuda:1: the device cannot be used: CUDA_ERROR_DEVICE_UNAVAILABLE (46)"),
                    e.getMessage());
        }
        String all = Merapi.describe();
        assertTrue(all.contains(free + ": CUDA: Fake GPU (sm_80, 1 GiB); driver for CUDA "), all);
        assertTrue(all.contains(taken + ": not available: cuda:1: the device cannot be used: CUDA_ERROR_DEVICE_"), all);
    }

    @Test
    void silentWaitsCanBeRefused() {
        Tensor x = Tensor.full(3, 4).to(FAKE);
        Cuda.refuseSilentSyncs(true);
        try (Scope scope = Scope.open()) {
            Tensor sum = x.add(1).sum();
            CudaException e = assertThrows(CudaException.class, sum::item);
            assertTrue(e.getMessage().contains("Cuda.allowSyncs()"), e.getMessage());
            try (Cuda.SyncScope wait = Cuda.allowSyncs()) {
                assertEquals(16, sum.item());
            }
            assertThrows(CudaException.class, x::toFloatArray);
        } finally {
            Cuda.refuseSilentSyncs(false);
        }
        assertEquals(3, x.select(0, 0).item());
    }

    @Test
    void aDriverThatLacksAFunctionIsRefusedBeforeAnyCall(@TempDir Path folder)
            throws IOException, InterruptedException {
        List<String> most = new ArrayList<>(Driver.FUNCTIONS);
        most.remove("cuGraphLaunch");
        Path library = FakeGpu.stub(folder, most);
        CudaException e = assertThrows(CudaException.class, () -> Driver.open(library.toString()));
        assertTrue(e.getMessage().contains("has no cuGraphLaunch"), e.getMessage());
        assertThrows(
                CudaException.class,
                () -> Driver.open(folder.resolve("nothing.so").toString()));
    }
}
