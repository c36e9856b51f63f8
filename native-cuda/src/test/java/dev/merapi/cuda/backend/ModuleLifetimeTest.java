// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.cuda.driver.NativeCuda;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.cuda.sim.SimulatedCuda;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.storage.Backstop;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.IntSupplier;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Modules live as long as the ops and graphs that they belong to, and no longer. On the simulator most ops are alike to
 * others that went before, since each text takes the compiler half a second; {@code -Dmerapi.cuda.lifetime=1000} makes them
 * all different.
 */
class ModuleLifetimeTest {
    private static final int OPS = 1000;
    private static final int DIFFERENT = Integer.getInteger("merapi.cuda.lifetime", 8);
    private static final int EVERY = 250;
    /** Of the ops that are common to all of these, and of the last one. */
    private static final int SLACK = 3;

    record Args(Tensor x) {}

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    private static void collect() {
        for (int i = 0; i < 2; i++) {
            Backstop.collectNow();
        }
    }

    /** An op that takes a module of its own: what is gone is unloaded then. */
    private static void another(Device device) {
        try (Scope scope = Scope.open()) {
            PointwiseOp op =
                    Pointwise.define("test::another", (x, y) -> x.mul(y).add(x).sub(7));
            assertThat(op.call(Tensor.ones(2).to(device), Tensor.ones(2).to(device))
                            .toDoubleArray())
                    .isEqualTo(new double[] {-5, -5});
        }
        OpRegistry.destroy("test::another");
    }

    @Test
    void onTheSimulator() {
        Device device = Device.of(DeviceType.CUDA_SIM, 0);
        SimulatedCuda runtime = (SimulatedCuda) ((KernelBackend) Backends.of(device.type())).runtime();
        released(device, runtime::modules, i -> call(device, i % DIFFERENT));
    }

    @Test
    void onADriver() {
        AtomicReference<NativeCuda> made = new AtomicReference<>();
        Device device = driver("cuda-lifetime", made);
        byte[] image = FakeGpu.image(new KernelSource(
                "plus",
                "extern \"C\" __global__ void plus(const float* x, float* out) {\n"
                        + "    out[threadIdx.x] = x[threadIdx.x] + 1;\n}\n",
                List.of("plus")));
        Tensor x = Tensor.ones(1, 32).to(device);
        released(device, () -> made.get().modules(), i -> {
            try (Scope scope = Scope.open()) {
                Op<Args, Tensor> op = Op.define(MethodHandles.lookup(), "test::lifetime_" + i, Args.class, Tensor.class)
                        .shape(a -> Tensor.meta(a.x()))
                        .kernel(
                                DeviceType.CUDA,
                                CudaKernel.image("plus", image)
                                        .arguments("x", "out")
                                        .launch(new CudaKernel.Rows(32)))
                        .nonDifferentiable()
                        .register();
                Tensor y = op.call(new Args(x));
                if (i % 10 == 0) { // else it may still be running when its op goes
                    assertThat(Arrays.stream(y.toDoubleArray()).allMatch(v -> v == 2))
                            .isTrue();
                }
            }
            OpRegistry.destroy("test::lifetime_" + i);
        });
    }

    private static Device driver(String name, AtomicReference<NativeCuda> made) {
        return FakeGpu.device(name, () -> {
            made.set(FakeGpu.open(""));
            return made.get();
        });
    }

    private interface Step {
        void run(int i);
    }

    private static void released(Device device, IntSupplier modules, Step step) {
        step.run(0);
        another(device);
        collect();
        another(device);
        int before = modules.getAsInt();
        int most = before;
        for (int i = 0; i < OPS; i++) {
            step.run(i);
            most = Math.max(most, modules.getAsInt());
            if (i % EVERY == EVERY - 1) {
                collect();
            }
        }
        collect();
        another(device);
        assertThat(modules.getAsInt()).isLessThanOrEqualTo(before + SLACK);
        assertThat(most).as("what there was to unload").isGreaterThan(before + SLACK);
    }

    /** A pointwise op, every other time with its gradient, a reduction, or a kernel of somebody's with a backward of its own. */
    private static void call(Device device, int i) {
        String name = "test::lifetime_" + i;
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.of(1f, 2f).to(device).requiresGrad(i % 4 < 2 && i % 3 != 1);
            if (i % 3 == 0) {
                Tensor y = Pointwise.define(name, (a, b) -> a.mul(b).add(i)).call(x, x);
                assertThat(y.toDoubleArray()).isEqualTo(new double[] {1 + i, 4 + i});
                if (x.requiresGrad()) {
                    Autograd.backward(y.sum());
                    assertThat(x.grad().toDoubleArray()).isEqualTo(new double[] {2, 4});
                }
            } else if (i % 3 == 1) {
                ReductionOp op = ReductionOp.define(name, a -> a.add(i), Combine.SUM);
                assertThat(op.call(x).item()).isEqualTo(3.0 + 2 * i);
            } else {
                Op<Args, Tensor> op = Op.define(MethodHandles.lookup(), name, Args.class, Tensor.class)
                        .shape(a -> Tensor.meta(a.x()))
                        .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = x[i] + " + i + ";"))
                        .saveForBackward((a, out) -> a)
                        .backward(DeviceType.CUDA, CudaKernel.body("d_x[i] = d_out[i] * " + (i + 1) + ";"))
                        .and()
                        .register();
                Tensor y = op.call(new Args(x));
                assertThat(y.toDoubleArray()).isEqualTo(new double[] {1 + i, 2 + i});
                if (x.requiresGrad()) {
                    Autograd.backward(y.sum());
                    assertThat(x.grad().toDoubleArray()).isEqualTo(new double[] {i + 1, i + 1});
                }
            }
        }
        OpRegistry.destroy(name);
    }

    @Test
    void aGraphKeepsWhatItRepeats() {
        AtomicReference<NativeCuda> made = new AtomicReference<>();
        keeps(Device.of(DeviceType.CUDA_SIM, 0));
        keeps(driver("cuda-lifetime-graph", made));
        WaveRuntime wave = new WaveRuntime(64);
        CudaRuntime runtime = wave;
        keeps(FakeGpu.device("wave-lifetime", () -> runtime));
        assertThat(wave.log()).contains("unload");
    }

    private static void keeps(Device device) {
        AtomicReference<PointwiseOp> op = new AtomicReference<>(
                Pointwise.define("test::of_a_graph", (x, y) -> x.mul(y).add(11)));
        Tensor x = Tensor.of(1f, 2f).to(device);
        try (CudaGraph<Tensor> graph =
                CudaGraph.of(device, () -> op.get().call(x, x)).warmup(1)) {
            graph.run();
            graph.run();
            op.set(null);
            OpRegistry.destroy("test::of_a_graph");
            collect();
            another(device);
            x.copy_(Tensor.of(3f, 4f).to(device));
            assertThat(graph.run().toDoubleArray()).isEqualTo(new double[] {20, 27});
        }
        collect();
        another(device);
    }
}
