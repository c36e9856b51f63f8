// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Dual;
import dev.merapi.cuda.Simulator;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.nn.KeyValueCache;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Parameter;
import dev.merapi.nn.Rnn;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.Recurrent;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Sgd;
import dev.merapi.random.Generator;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Layers, memory of others, small integers, forward mode and moved models where they meet a device and its graphs. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class SeamsTest {
    private static final Device ON = Simulator.DEVICE;
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    record X(Tensor x) {}

    private static final class Passing implements DispatchLayer {
        final List<String> seen = new ArrayList<>();
        final boolean below;
        Runnable also = () -> {};

        Passing(boolean below) {
            this.below = below;
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int next) {
            seen.add(op.name());
            also.run();
            return Layers.below(op, args, context, next);
        }

        @Override
        public boolean isBelowAutograd() {
            return below;
        }
    }

    private static Tensor there(double... values) {
        return Tensor.of(values).to(DType.FLOAT32).to(ON);
    }

    // ---------------------------------------------------------------- layers and graphs

    /** Layers around the capture, or pushed by the step: the same bits; they see the capture, and no replay. */
    @Test
    void layersAroundAndWithinACapturedStep() {
        Tensor x = there(1, -2, 3, 0.5);
        Supplier<Tensor> step = () -> {
            Tensor w = x.detach().requiresGrad(true);
            return Autograd.grad(w.mul(w).exp().sum(), List.of(w)).get(0);
        };
        float[] expected = step.get().toFloatArray();
        Passing high = new Passing(false);
        Passing low = new Passing(true);
        Supplier<Tensor> layered = () -> {
            try (Layers.Pushed a = Layers.push(high);
                    Layers.Pushed b = Layers.push(low)) {
                return step.get();
            }
        };
        Context.Snapshot before = Context.current().capture();
        try (CudaGraph<Tensor> within = CudaGraph.of(ON, layered).warmup(0);
                CudaGraph<Tensor> around = CudaGraph.of(ON, step).warmup(0)) {
            assertThat(within.run().toFloatArray()).isEqualTo(expected);
            int seen = high.seen.size();
            assertThat(within.run().toFloatArray()).isEqualTo(expected);
            assertThat(high.seen).hasSize(seen).contains("merapi::exp");
            assertThat(low.seen).contains("merapi::exp");
            try (Layers.Pushed a = Layers.push(high);
                    Layers.Pushed b = Layers.push(low)) {
                assertThat(around.run().toFloatArray()).isEqualTo(expected);
            }
            assertThat(around.run().toFloatArray()).isEqualTo(expected);
        }
        assertThat(Context.current().capture()).isEqualTo(before);
    }

    /** A layer that reads values, or fails, ends the capture; the thread and the device go on. */
    @Test
    void aLayerThatReadsOrFailsEndsTheCapture() {
        Tensor x = there(1, 2);
        Context.Snapshot before = Context.current().capture();
        for (boolean below : new boolean[] {false, true}) {
            for (boolean reads : new boolean[] {true, false}) {
                Passing layer = new Passing(below);
                layer.also = () -> {
                    if (!reads) {
                        throw new IllegalArgumentException("on purpose");
                    }
                    assertThat(x.toFloatArray()).isNotEmpty();
                };
                try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> x.exp()).warmup(0)) {
                    try (Layers.Pushed on = Layers.push(layer)) {
                        assertThatThrownBy(graph::run)
                                .isInstanceOf(reads ? GraphCaptureException.class : IllegalArgumentException.class)
                                .hasMessageContaining(reads ? "reads elements" : "on purpose");
                    }
                    assertThat(Context.current().capture()).isEqualTo(before);
                    assertThat(Context.current().graphCapture()).isNull();
                    assertThat(graph.run().toDoubleArray()[0]).isBetween(2.718, 2.719);
                }
            }
        }
    }

    /** A replay would write to the same place: refused before anything is written, and the cache is as it was. */
    @Test
    void aCapturedStepAppendsNothingToACache() {
        Tensor k = there(1, 2, 3, 4).view(1, 1, 2, 2);
        try (KeyValueCache cache = new KeyValueCache(1, 1, 4, 2, DType.FLOAT32, ON)) {
            cache.append(k, k);
            try (CudaGraph<Tensor> graph =
                            CudaGraph.of(ON, () -> cache.attend(k, k, k)).warmup(0);
                    CudaGraph<Tensor> reads =
                            CudaGraph.of(ON, () -> cache.values().mul(2)).warmup(0)) {
                assertThatThrownBy(graph::run)
                        .isInstanceOf(GraphCaptureException.class)
                        .hasMessageContaining("each replay would write to the same place")
                        .hasMessageContaining("generate without CudaGraph");
                assertThat(cache.length()).isEqualTo(2);
                reads.run();
                assertArrayEquals(new double[] {2, 4, 6, 8}, reads.run().toDoubleArray());
            }
        }
    }

    // ---------------------------------------------------------------- recurrent layers and autocast

    /** Products in bfloat16, parameters and their gradients in float32. */
    @Test
    void recurrentLayersUnderAutocast() {
        for (Recurrent.Cell cell : Recurrent.Cell.values()) {
            Rnn rnn = new Rnn(cell, 3, 4);
            rnn.to(ON);
            Tensor x = Tensor.of(0.5, -1, 0.25, 1, 0.75, -0.5, 0.125, 1.5, -0.25, 2, 0.5, -1)
                    .to(DType.FLOAT32)
                    .to(ON)
                    .view(2, 2, 3);
            List<float[]> results = new ArrayList<>();
            for (boolean mixed : new boolean[] {false, true}) {
                rnn.zeroGrad();
                Tensor y;
                try (Autocast mode = mixed ? Autocast.on(DType.BFLOAT16) : null) {
                    y = rnn.forward(x);
                }
                Autograd.backward(y.to(DType.FLOAT32).sum());
                results.add(y.to(DType.FLOAT32).toFloatArray());
                for (Parameter p : rnn.parameters()) {
                    Tensor g = Objects.requireNonNull(p.tensor().grad());
                    assertThat(g.dtype()).isEqualTo(DType.FLOAT32);
                    results.add(g.toFloatArray());
                }
            }
            int half = results.size() / 2;
            for (int i = 0; i < half; i++) {
                assertArrayEquals(results.get(i), results.get(half + i), 0.1f, cell + ", result " + i);
            }
        }
    }

    // ---------------------------------------------------------------- memory of others

    /** The owner destroys its memory when it gets it back: what was moved before is right all the same. */
    @Test
    void memoryOfOthersMovesAndComesBack() {
        CachingAllocator cpu = BackendChoice.allocator(Device.CPU);
        int n = 1 << 16;
        for (int round = 0; round < 4; round++) {
            ByteBuffer bytes = ByteBuffer.allocateDirect(4 * n).order(ByteOrder.nativeOrder());
            for (int i = 0; i < n; i++) {
                bytes.putFloat(4 * i, i);
            }
            AtomicInteger released = new AtomicInteger();
            Storage storage = Storage.foreign(cpu, cpu.wrap(bytes), bytes, () -> {
                for (int i = 0; i < n; i++) {
                    bytes.putFloat(4 * i, Float.NaN);
                }
                released.incrementAndGet();
            });
            Tensor t = TENSORS.over(storage, Layout.contiguous(Shape.of(n)), DType.FLOAT32);
            Tensor moved = round % 2 == 0 ? t.to(ON) : t.slice(0, 1, n).to(ON);
            t.close();
            assertThat(TENSORS.storage(moved).isForeign()).isFalse();
            Tensor doubled = moved.mul(2).to(Device.CPU);
            float[] values = doubled.toFloatArray();
            for (int i = 0; i < values.length; i++) {
                assertThat(values[i]).isEqualTo(2f * (i + round % 2));
            }
            if (round % 2 == 0) {
                assertThat(released).hasValue(1);
            }
        }
        // results of a device may go into memory of others
        ByteBuffer target = ByteBuffer.allocateDirect(12).order(ByteOrder.nativeOrder());
        try (Tensor into = Tensor.wrap(target, DType.FLOAT32, 3)) {
            Tensor unused = into.copy_(there(1, 2, 3).mul(3).to(Device.CPU));
            assertThat(target.getFloat(8)).isEqualTo(9);
        }
    }

    // ---------------------------------------------------------------- small integers

    /** Captured, and replayed with other values; and as what a training step leaves alone. */
    @Test
    void smallIntegersInACapturedStep() {
        Tensor bytes = Tensor.of(new byte[] {-128, 100, 3}, DType.INT8, 3).to(ON);
        Tensor shorts = Tensor.of(new short[] {300, -300, 3}).to(ON);
        try (CudaGraph<Tensor> graph =
                CudaGraph.of(ON, () -> bytes.add(bytes).add(shorts)).warmup(0)) {
            assertThat(graph.run().dtype()).isEqualTo(DType.INT16);
            assertThat(graph.run().toLongArray()).isEqualTo(new long[] {300, -300 + (byte) 200, 9});
            Tensor unused =
                    bytes.copy_(Tensor.of(new byte[] {1, 2, 127}, DType.INT8, 3).to(ON));
            assertThat(graph.run().toLongArray()).isEqualTo(new long[] {302, -296, 3 + (byte) 254});
        }
    }

    // ---------------------------------------------------------------- forward mode

    private static Op<X, Tensor> cube(String name) {
        return Op.define(LOOKUP, name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("if (i < n) out[i] = x[i] * x[i] * x[i];"));
    }

    /** A kernel in CUDA: with a formula it has forward mode, with a backward kernel alone it is refused by name. */
    @Test
    void forwardModeOfCudaKernels() {
        Op<X, Tensor> formula = cube("test::cuda_cube")
                .autograd(
                        (a, out) -> a,
                        (c, a, g) -> Grads.of("x", g.mul(a.x().square()).mul(3)));
        Tensor x = there(1, -2, 3);
        Dual d = Autograd.jvp(t -> formula.call(new X(t)), x, x);
        assertThat(d.value().toFloatArray()).isEqualTo(new float[] {1, -8, 27});
        assertThat(d.tangent().toFloatArray()).isEqualTo(new float[] {3, -24, 81});
        assertThat(d.tangent().device()).isEqualTo(ON);
        Op<X, Tensor> once = cube("test::cuda_cube_once");
        var unused = once.saveForBackward((a, out) -> a)
                .backward(
                        ON.type(),
                        (c, a, g) -> Grads.of("x", g.mul(a.x().square()).mul(3)));
        assertThatThrownBy(() -> Autograd.jvp(t -> once.call(new X(t)), x, x))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("test::cuda_cube_once");
    }

    // ---------------------------------------------------------------- random numbers

    /** Numbers that somebody draws himself would be the same in each replay. */
    @Test
    void drawsThatAReplayWouldRepeatAreRefused() {
        Tensor x = there(1, 1, 1, 1, 1, 1, 1, 1);
        Context context = Context.current();
        Generator before = context.setGenerator(new Generator(5));
        try {
            Op<X, Tensor> noisy = Op.define(LOOKUP, "test::noisy_step", X.class, Tensor.class)
                    .compose(a -> a.x().mul(context.generator().take(1) % 5));
            try (CudaGraph<Tensor> graph =
                    CudaGraph.of(ON, () -> noisy.call(new X(x))).warmup(1)) {
                Tensor unused = graph.run();
                long at = context.generator().offset();
                assertThatThrownBy(graph::run)
                        .isInstanceOf(GraphCaptureException.class)
                        .hasMessageContaining("drawn from a generator")
                        .hasMessageContaining("methods of Tensor");
                assertThat(context.generator().offset()).isEqualTo(at);
            }
            try (CudaGraph<Tensor> graph =
                    CudaGraph.of(ON, () -> x.dropout(0.5, true)).warmup(0)) {
                assertThat(Arrays.equals(graph.run().toFloatArray(), graph.run().toFloatArray()))
                        .isFalse();
            }
            assertThat(context.generator().take(1)).isPositive();
        } finally {
            context.setGenerator(before);
        }
    }

    // ---------------------------------------------------------------- moved models

    /** A scaled step that was captured refuses once the model has moved, and goes on after reset. */
    @Test
    void aCapturedScaledStepOfAMovedModel() {
        Linear moved = new Linear(2, 2);
        Linear stays = new Linear(2, 2);
        stays.loadStateDict(moved.stateDict());
        moved.to(ON);
        List<String> seen = new ArrayList<>();
        Runnable remove = Autograd.hookAfterAccumulate(moved.weight(), leaf -> seen.add("accumulated"));
        try (Sgd a = new Sgd(moved.parameters(), 0.5);
                Sgd b = new Sgd(stays.parameters(), 0.5);
                GradScaler scaler = new GradScaler(4, 2, 0.5, 100, true);
                GradScaler other = new GradScaler(4, 2, 0.5, 100, true);
                CudaGraph<String> graph =
                        CudaGraph.of(ON, () -> step(moved, a, scaler)).warmup(1)) {
            for (int i = 0; i < 3; i++) {
                String unused = graph.run();
                String also = step(stays, b, other);
            }
            assertThat(seen).hasSize(2); // the warm-up and the capture: a replay runs no Java
            moved.to(Device.CPU);
            assertThatThrownBy(graph::run)
                    .isInstanceOf(GraphCaptureException.class)
                    .hasMessageContaining("moved");
            String unused = step(moved, a, scaler);
            String also = step(stays, b, other);
            moved.to(ON);
            graph.reset();
            for (int i = 0; i < 3; i++) {
                unused = graph.run();
                also = step(stays, b, other);
            }
            assertThat(graph.isCaptured()).isTrue();
            assertArrayEquals(
                    stays.weight().detach().toDoubleArray(),
                    moved.weight().detach().toDoubleArray(),
                    1e-5);
            assertThat(a.steps()).isEqualTo(7);
        }
    }

    private static String step(Linear model, Sgd sgd, GradScaler scaler) {
        try (Scope scope = Scope.open()) {
            Autograd.backward(scaler.scale(model.weight().square().sum()));
            scaler.step(sgd);
            scaler.update();
            sgd.zeroGrad();
        }
        return "";
    }
}
