// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.cuda.Cuda;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.DeviceException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The seam holds a runtime that is not CUDA's: the same ops, on warps of 64 and images of another kind. */
class WaveRuntimeTest {
    private static final DeviceType TYPE = DeviceType.register("wave");
    private static final Device WAVE = Device.of(TYPE, 0);

    private static WaveRuntime runtime;
    private static Backends.Registration registration;

    record Args(Tensor x) {}

    @BeforeAll
    static void begin() {
        Simulator.require();
        runtime = new WaveRuntime(64);
        registration = Backends.register(new GivenRuntime(TYPE, () -> runtime));
    }

    @AfterAll
    static void end() {
        if (registration != null) {
            registration.close();
        }
    }

    private static Tensor values(long... shape) {
        long n = 1;
        for (long s : shape) {
            n *= s;
        }
        return Tensor.arange(n).to(DType.FLOAT32).mul(0.37).sin().view(shape);
    }

    /** Held against the plain-Java kernels, which are the CPU's in these tests. */
    private static void same(Function<Tensor, Tensor> f, Tensor x) {
        double[] expected = f.apply(x).toDoubleArray();
        double[] found = f.apply(x.to(WAVE)).toDoubleArray();
        assertThat(found).hasSameSizeAs(expected);
        for (int i = 0; i < found.length; i++) {
            assertThat(found[i]).as("element %d", i).isCloseTo(expected[i], within(1e-5));
        }
    }

    @Test
    void opsOfEachKind() {
        runtime.log();
        same(x -> x.mul(x).add(x), values(3, 50));
        same(x -> x.sum(1), values(3, 70));
        same(x -> x.softmax(1), values(5, 70)); // rows by exchanges
        same(x -> x.matmul(x.t()), values(9, 33)); // without instructions for tiles
        assertThat(runtime.log())
                .contains("upload", "download", "launch merapi::add", "launch merapi::sum")
                .contains("load softmax.cuh", "launch merapi::softmax", "launch merapi::matmul");
    }

    @Test
    void gradients() {
        Tensor there = values(4, 6).to(WAVE).requiresGrad(true);
        Tensor here = values(4, 6).requiresGrad(true);
        for (Tensor x : List.of(there, here)) {
            Autograd.backward(x.matmul(x.t()).softmax(1).mul(x.sum(1)).sum());
        }
        double[] expected = here.grad().toDoubleArray();
        double[] found = there.grad().toDoubleArray();
        for (int i = 0; i < found.length; i++) {
            assertThat(found[i]).isCloseTo(expected[i], within(1e-5));
        }
    }

    @Test
    void anybodysCudaKernels() {
        Op<Args, Tensor> op = define(
                "test::wave_rows",
                CudaKernel.body("float all = row_sum(x[row * columns + t]); out[row * columns + t] = all;")
                        .launch(new CudaKernel.Warps(4)));
        try {
            Tensor x = values(6, 32);
            double[] sums = x.sum(1).toDoubleArray();
            double[] found = op.call(new Args(x.to(WAVE))).toDoubleArray();
            for (int i = 0; i < found.length; i++) {
                assertThat(found[i]).isCloseTo(sums[i / 32], within(1e-5));
            }
        } finally {
            OpRegistry.destroy("test::wave_rows");
        }
    }

    @Test
    void imagesAreItsOwn() {
        KernelSource source = new KernelSource(
                "twice",
                "extern \"C\" __global__ void twice(const float* x, float* out) {\n"
                        + "    out[threadIdx.x] = 2 * x[threadIdx.x];\n}\n",
                List.of("twice"));
        Tensor x = values(1, 32).to(WAVE);
        try {
            Op<Args, Tensor> op = define("test::wave_image", image(WaveRuntime.compiled(source)));
            assertThat(op.call(new Args(x)).toDoubleArray()).isEqualTo(x.mul(2).toDoubleArray());
            Op<Args, Tensor> foreign = define("test::wave_foreign", image(new byte[] {127, 'E', 'L', 'F'}));
            assertThatThrownBy(() -> foreign.call(new Args(x)))
                    .isInstanceOf(CudaException.class)
                    .hasMessage("test::wave_foreign: no wave image");
        } finally {
            OpRegistry.destroy("test::wave_image");
            OpRegistry.destroy("test::wave_foreign");
        }
    }

    private static CudaKernel image(byte[] image) {
        return CudaKernel.image("twice", image).arguments("x", "out").launch(new CudaKernel.Rows(32));
    }

    private static Op<Args, Tensor> define(String name, CudaKernel kernel) {
        return Op.define(MethodHandles.lookup(), name, Args.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, kernel)
                .nonDifferentiable()
                .register();
    }

    @Test
    void graphs() {
        Tensor x = values(2, 8).to(WAVE);
        try (CudaGraph<Tensor> graph = CudaGraph.of(WAVE, () -> x.mul(x).add(1)).warmup(1)) {
            graph.run();
            x.copy_(Tensor.ones(2, 8).mul(3).to(WAVE));
            assertThat(Arrays.stream(graph.run().toDoubleArray()).allMatch(v -> v == 10))
                    .isTrue();
        }
        assertThat(runtime.log()).contains("capture", "replay");
    }

    @Test
    void warpsHoldWholeGroups() {
        DeviceType odd = DeviceType.register("wave-odd");
        try (Backends.Registration r = Backends.register(new GivenRuntime(odd, () -> new WaveRuntime(48)))) {
            assertThatThrownBy(() -> Tensor.ones(3).to(Device.of(odd, 0)))
                    .isInstanceOf(DeviceException.class)
                    .hasMessageContaining(
                            "wave-odd:0: its warps have 48 threads, but kernels exchange values within groups of 32");
        }
    }

    @Test
    void whatIsThereIsTold() {
        assertThat(Backends.of(TYPE).description()).isEqualTo("a wave machine");
        assertThat(Cuda.deviceName(WAVE)).isEqualTo("wave");
        assertThat(((KernelBackend) Backends.of(TYPE)).runtime().properties(0).describe())
                .isEqualTo("wave (wave64, 1 GiB)");
    }
}
