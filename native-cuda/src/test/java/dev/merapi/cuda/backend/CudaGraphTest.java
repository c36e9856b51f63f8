// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.device.DeviceStream;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.Dropout;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Parameter;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
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
import java.util.Map;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Captured steps on the simulator: the same bits as without, memory apart, and refusals that name the op. */
@Tag("kernels")
class CudaGraphTest {
    private static final Device ON = Simulator.DEVICE;

    private Generator before;

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @BeforeEach
    void ownGenerator() {
        before = Context.current().setGenerator(new Generator(7));
    }

    @AfterEach
    void generatorAsBefore() {
        Context.current().setGenerator(before);
    }

    private static Tensor there(double... values) {
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
            floats[i] = (float) values[i];
        }
        return Tensor.of(floats).to(ON);
    }

    private static float[] values(Tensor t) {
        return t.detach().toFloatArray();
    }

    // ---------------------------------------------------------------- the same as without

    /** What a training run leaves: losses, gradient norms, parameters, and where the generator stands. */
    record Trained(float[] losses, List<float[]> state, Generator.Position random) {}

    /** A small network with all that makes steps differ: dropout, clipping, a schedule, a count of steps. */
    static Trained train(Device on, int steps, int warmup, boolean captured, boolean zeroFirst) {
        Context.current().setGenerator(new Generator(7));
        Sequential model = new Sequential()
                .then(new Linear(6, 16))
                .then(Tensor::relu)
                .then(new Dropout(0.3))
                .then(new Linear(16, 16))
                .then(Tensor::gelu)
                .then(new Dropout(0.1))
                .then(new Linear(16, 3));
        model.to(on);
        Tensor x = Tensor.zeros(Shape.of(8, 6), DType.FLOAT32, on);
        Tensor y = Tensor.zeros(Shape.of(8), DType.INT64, on);
        List<Parameter> parameters = model.parameters();
        float[] losses = new float[2 * steps];
        try (AdamW optimizer = new AdamW(parameters, 1e-2, 0.1)) {
            Supplier<List<Tensor>> body = () -> {
                if (zeroFirst) {
                    optimizer.zeroGrad();
                }
                Tensor loss = Losses.crossEntropy(model.forward(x), y);
                Autograd.backward(loss);
                var norm = Clip.norm(parameters, 0.5);
                optimizer.step(norm.scale());
                if (!zeroFirst) {
                    optimizer.zeroGrad();
                }
                return List.of(loss, norm.norm());
            };
            try (CudaGraph<List<Tensor>> graph = CudaGraph.of(on, body).warmup(warmup)) {
                for (int i = 0; i < steps; i++) {
                    try (Scope scope = Scope.open()) {
                        x.copy_(Tensor.randn(8, 6).to(on));
                        y.copy_(Tensor.randint(0, 3, 8).to(on));
                        optimizer.setLearningRate(1e-2 / (i + 1));
                        List<Tensor> out = captured ? graph.run() : body.get();
                        losses[2 * i] = (float) out.get(0).item();
                        losses[2 * i + 1] = (float) out.get(1).item();
                    }
                    assertEquals(captured && i >= warmup, graph.isCaptured());
                }
                List<float[]> state = new ArrayList<>();
                parameters.forEach(p -> state.add(values(p.tensor())));
                for (Map.Entry<String, Tensor> e :
                        optimizer.stateDict().all(Tensor.class).entrySet()) {
                    state.add(values(e.getValue()));
                }
                return new Trained(losses, state, Context.current().generator().position());
            }
        }
    }

    static void same(Trained a, Trained b) {
        assertArrayEquals(a.losses, b.losses);
        assertEquals(a.state.size(), b.state.size());
        for (int i = 0; i < a.state.size(); i++) {
            assertArrayEquals(a.state.get(i), b.state.get(i), "state " + i);
        }
        assertEquals(a.random, b.random);
    }

    @Test
    void aTrainingRunHasTheSameBits() {
        Trained eager = train(ON, 6, 3, false, false);
        same(eager, train(ON, 6, 3, true, false));
        same(eager, train(ON, 6, 1, true, false));
        same(eager, train(ON, 6, 0, true, false));
        assertNotEquals(eager.losses[0], eager.losses[10]);
    }

    @Test
    void gradientsMayBeDroppedFirstInsteadOfLast() {
        same(train(ON, 5, 2, false, true), train(ON, 5, 2, true, true));
    }

    /** Parameters converted before the capture are not those of the next step. */
    @Test
    void parametersAreConvertedAnewInEachReplay() {
        List<float[]> seen = new ArrayList<>();
        for (boolean captured : new boolean[] {false, true}) {
            Tensor w = there(1, 2, 3, 4).view(2, 2).detach().requiresGrad(true);
            Tensor x = there(1, -1, 2, 0.5).view(2, 2);
            try (AdamW optimizer = new AdamW(List.of(w), 0.1, 0);
                    Autocast mode = Autocast.on(DType.BFLOAT16)) {
                Supplier<Object> body = () -> {
                    Autograd.backward(x.matmul(w).sum());
                    optimizer.step();
                    optimizer.zeroGrad();
                    return null;
                };
                try (CudaGraph<Object> graph = CudaGraph.of(ON, body).warmup(2)) {
                    for (int i = 0; i < 5; i++) {
                        Object unused = captured ? graph.run() : body.get();
                    }
                }
                seen.add(values(w));
            }
        }
        assertArrayEquals(seen.get(0), seen.get(1));
    }

    @Test
    void eachReplayDrawsNewNumbers() {
        try (CudaGraph<List<Tensor>> graph = CudaGraph.of(
                        ON,
                        () -> List.of(
                                Tensor.rand(Shape.of(5), 0, 1, DType.FLOAT32, ON),
                                Tensor.randn(Shape.of(5), DType.FLOAT64, ON),
                                Tensor.randint(0, 1000, Shape.of(5), DType.INT64, ON),
                                Tensor.ones(Shape.of(64), DType.FLOAT32, ON).bernoulli_(0.5)))
                .warmup(0)) {
            List<double[]> replayed = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                graph.run().forEach(t -> replayed.add(t.toDoubleArray()));
            }
            Context.current().setGenerator(new Generator(7));
            for (int i = 0; i < 3; i++) {
                assertArrayEquals(Tensor.rand(5).toDoubleArray(), replayed.get(4 * i));
                assertArrayEquals(
                        Tensor.randn(Shape.of(5), DType.FLOAT64, Device.CPU).toDoubleArray(), replayed.get(4 * i + 1));
                assertArrayEquals(Tensor.randint(0, 1000, 5).toDoubleArray(), replayed.get(4 * i + 2));
                assertArrayEquals(Tensor.ones(64).bernoulli_(0.5).toDoubleArray(), replayed.get(4 * i + 3));
            }
        }
    }

    @Test
    void anotherSeedAfterTheCaptureIsRefused() {
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> Tensor.rand(Shape.of(2), 0, 1, DType.FLOAT32, ON))
                .warmup(0)) {
            graph.run();
            Context.current().generator().seed(8);
            GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
            assertTrue(e.getMessage().contains("seed 7"), e.getMessage());
            graph.reset();
            assertArrayEquals(values(graph.run()), randWithSeed(8));
        }
    }

    private static float[] randWithSeed(long seed) {
        Context.current().setGenerator(new Generator(seed));
        return values(Tensor.rand(2));
    }

    // ---------------------------------------------------------------- what a graph cannot hold

    private static GraphCaptureException refusal(Supplier<?> step) {
        try (CudaGraph<Object> graph = CudaGraph.<Object>of(ON, step::get).warmup(0)) {
            GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
            assertFalse(graph.isCaptured());
            return e;
        }
    }

    private static void refuses(String what, Supplier<?> step) {
        GraphCaptureException e = refusal(step);
        assertTrue(e.getMessage().startsWith(what + ":"), e.getMessage());
        assertTrue(e.getMessage().contains("fix:"), e.getMessage());
    }

    @Test
    void whatWaitsForTheDeviceIsRefusedByName() {
        Tensor x = there(1, 2, 3);
        Tensor host = Tensor.of(1f, 2f, 3f);
        AdamW optimizer = new AdamW(List.of(there(1).requiresGrad(true)), 0.1, 0);
        refuses("item", () -> x.sum().item());
        refuses("itemLong", () -> x.sum().itemLong());
        refuses("toFloatArray", x::toFloatArray);
        refuses("copyFrom", () -> x.copyFrom(1f, 2f, 3f));
        refuses("merapi::nonzero", x::nonzero);
        refuses("merapi::move", () -> x.to(Device.CPU));
        refuses("merapi::move", () -> host.to(ON));
        refuses("merapi::add_scalar", () -> host.add(1));
        refuses("setLearningRate", () -> {
            optimizer.setLearningRate(0.2);
            return null;
        });
        refuses("stream.synchronize", () -> {
            DeviceStream.current(ON).synchronize();
            return null;
        });
        assertTrue(refusal(() -> CudaGraph.of(ON, () -> x).run()).getMessage().contains("do not nest"));
        optimizer.close();
    }

    /** After a refusal all is as before: the device works, memory is back, random numbers go on, gradients are none. */
    @Test
    void aRefusedCaptureLeavesNothingBehind() {
        Tensor x = there(1, 2, 3).requiresGrad(true);
        long allocated = Memory.stats(ON).allocated();
        long blocks = Memory.stats(ON).liveBlocks();
        Generator.Position random = Context.current().generator().position();
        refuses("item", () -> {
            Tensor loss = x.mul(2).dropout(0.5, true).sum();
            Autograd.backward(loss);
            return loss.item();
        });
        assertTrue(Memory.stats(ON).allocated() <= allocated);
        assertTrue(Memory.stats(ON).liveBlocks() <= blocks);
        assertEquals(random, Context.current().generator().position());
        assertEquals(null, x.grad());
        assertArrayEquals(new float[] {1, 2, 3}, values(x));
        Autograd.backward(x.mul(x).sum());
        assertArrayEquals(new float[] {2, 4, 6}, values(x.grad()));
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> x.detach().mul(3)).warmup(0)) {
            assertArrayEquals(new float[] {3, 6, 9}, values(graph.run()));
        }
    }

    @Test
    void aStepThatFailsMayBeTriedAgain() {
        Tensor x = there(1, 2);
        boolean[] fail = {true};
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                    Tensor y = x.add(1);
                    if (fail[0]) {
                        throw new IllegalArgumentException("the user's own");
                    }
                    return y;
                })
                .warmup(0)) {
            assertThrows(IllegalArgumentException.class, graph::run);
            fail[0] = false;
            assertArrayEquals(new float[] {2, 3}, values(graph.run()));
        }
    }

    private static void replayed(CudaGraph<Tensor> graph) {
        graph.run();
        if (!Simulator.WAITS) {
            graph.verify();
        }
    }

    /** At the replay where that is waited for, else when its results are. */
    @Test
    void badIndicesOfAReplayAreReported() {
        Tensor table = there(1, 2, 3, 4).view(4, 1);
        Tensor index = Tensor.of(0L, 3L).to(ON);
        CudaGraph<Tensor> graph =
                CudaGraph.of(ON, () -> table.indexSelect(0, index)).warmup(0);
        assertArrayEquals(new float[] {1, 4}, values(graph.run()));
        graph.verify();
        index.copy_(Tensor.of(1L, 4L).to(ON));
        ShapeException e = assertThrows(ShapeException.class, () -> replayed(graph));
        assertTrue(e.getMessage().startsWith("merapi::index_select: index 4, at position 1 "), e.getMessage());
        index.copy_(Tensor.of(1L, 2L).to(ON));
        assertArrayEquals(new float[] {2, 3}, values(graph.run()));
        graph.verify();
        index.copy_(Tensor.of(-5L, 2L).to(ON));
        e = assertThrows(ShapeException.class, () -> replayed(graph));
        assertTrue(e.getMessage().startsWith("merapi::index_select: index -5, at position 0 "), e.getMessage());
        graph.close();
    }

    // ---------------------------------------------------------------- memory

    /** The step's memory is freed within the capture and written by each replay; nobody else may get it. */
    @Test
    void otherTensorsNeverShareMemoryWithAGraph() {
        Tensor x = Tensor.ones(Shape.of(1000), DType.FLOAT32, ON);
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                    Tensor y = x;
                    for (int i = 0; i < 5; i++) {
                        y = y.add(1).exp().log();
                    }
                    return y.sum();
                })
                .warmup(0)) {
            graph.run();
            List<Tensor> others = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                others.add(Tensor.full(Shape.of(1000), i, DType.FLOAT32, ON));
                if (i % 20 == 0) {
                    graph.run();
                }
            }
            graph.run();
            for (int i = 0; i < others.size(); i++) {
                float[] expected = new float[1000];
                Arrays.fill(expected, i);
                assertArrayEquals(expected, values(others.get(i)));
            }
            others.forEach(Tensor::close);
        }
    }

    /** Memory is used again within a capture: a chain of many links needs no more than a short one. */
    @Test
    void aCaptureUsesItsMemoryAgain() {
        Tensor x = Tensor.ones(Shape.of(1 << 18), DType.FLOAT32, ON);
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                    Tensor y = x.add(1);
                    for (int i = 0; i < 60; i++) {
                        Tensor next = y.add(1);
                        y.close();
                        y = next;
                    }
                    return y;
                })
                .warmup(0)) {
            assertEquals(0, graph.reservedBytes());
            assertEquals(62f, values(graph.run())[0]);
            assertTrue(graph.reservedBytes() <= 4 << 20, "reserved " + graph.reservedBytes());
        }
    }

    @Test
    void closeGivesAllMemoryBack() {
        Tensor x = there(1, 2, 3);
        long allocated = Memory.stats(ON).allocated();
        CudaGraph<Tensor> graph =
                CudaGraph.of(ON, () -> x.mul(2).dropout(0.5, true)).warmup(0);
        Tensor y = graph.run();
        assertTrue(Memory.stats(ON).allocated() >= allocated + graph.reservedBytes());
        assertTrue(graph.reservedBytes() > 0);
        graph.close();
        graph.close();
        assertTrue(y.isClosed());
        assertTrue(Memory.stats(ON).allocated() <= allocated);
        assertThrows(GraphCaptureException.class, graph::run);
        assertArrayEquals(new float[] {1, 2, 3}, values(x));
    }

    /** Who closes an input takes it away from himself, not from the graph: replays write and read no freed memory. */
    @Test
    void aGraphHoldsWhatItUses() {
        Tensor x = there(1, 2, 3);
        Tensor y = there(0, 0, 0);
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> y.add_(x).add(0)).warmup(0)) {
            assertArrayEquals(new float[] {1, 2, 3}, values(graph.run()));
            x.close();
            y.close();
            List<Tensor> others = new ArrayList<>();
            for (int i = 0; i < 50; i++) {
                others.add(there(-1, -1, -1));
            }
            assertArrayEquals(new float[] {2, 4, 6}, values(graph.run()));
            others.forEach(t -> assertArrayEquals(new float[] {-1, -1, -1}, values(t)));
        }
    }

    /** A gradient that was made in the capture lives on in the graph's memory; it may outlive the graph. */
    @Test
    void gradientsOutliveTheGraph() {
        Tensor w = there(1, 2).requiresGrad(true);
        Tensor x = there(3, 4);
        Scope scope = Scope.open();
        long allocated = Memory.stats(ON).allocated();
        CudaGraph<Object> graph = CudaGraph.of(ON, () -> {
                    w.setGrad(null);
                    Autograd.backward(w.mul(x).sum());
                    return null;
                })
                .warmup(1);
        for (int i = 0; i < 3; i++) {
            x.copy_(there(i, -i));
            graph.run();
            assertArrayEquals(new float[] {i, -i}, values(w.grad()));
        }
        graph.close();
        assertArrayEquals(new float[] {2, -2}, values(w.grad()));
        scope.close();
        assertTrue(Memory.stats(ON).allocated() > allocated, "the gradient is there");
        w.setGrad(null);
        assertTrue(Memory.stats(ON).allocated() <= allocated, "the pool is gone with the last tensor in it");
    }

    @Test
    void aGradientThatTheStepAddsToMayNotBeReplaced() {
        Tensor w = there(1, 2).requiresGrad(true);
        Tensor x = there(3, 4);
        try (CudaGraph<Object> graph = CudaGraph.of(ON, () -> {
                    Autograd.backward(w.mul(x).sum());
                    return null;
                })
                .warmup(1)) {
            graph.run();
            graph.run();
            graph.run();
            assertArrayEquals(new float[] {9, 12}, values(w.grad()));
            w.grad().zero_();
            graph.run();
            assertArrayEquals(new float[] {3, 4}, values(w.grad()));
            w.setGrad(null);
            GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
            assertTrue(e.getMessage().contains("dropped or replaced"), e.getMessage());
        }
    }

    /** Such a step works on the gradient of the step before; a replay would have that of the capture for ever. */
    @Test
    void aStepMayNotDropAGradientThatItUsedButDidNotMake() {
        Tensor w = there(1, 2).requiresGrad(true);
        try (AdamW optimizer = new AdamW(List.of(w), 0.1, 0);
                CudaGraph<Object> graph = CudaGraph.of(ON, () -> {
                            optimizer.step();
                            optimizer.zeroGrad();
                            Autograd.backward(w.mul(w).sum());
                            return null;
                        })
                        .warmup(1)) {
            graph.run();
            GraphCaptureException e = assertThrows(GraphCaptureException.class, graph::run);
            assertTrue(e.getMessage().startsWith("setGrad: "), e.getMessage());
        }
    }

    /** What a replay is told beforehand (offsets, flags) survives the work that comes before its use. */
    @Test
    void randomOffsetsDoNotShareMemoryWithEarlierWork() {
        Tensor x = there(1, 2);
        Supplier<Tensor> body = () -> {
            for (int i = 0; i < 3; i++) {
                x.add(i).close();
            }
            return x.mul(Tensor.rand(Shape.of(2), 0, 1, DType.FLOAT32, ON));
        };
        List<float[]> eager = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            eager.add(values(body.get()));
        }
        Context.current().setGenerator(new Generator(7));
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, body).warmup(0)) {
            for (int i = 0; i < 3; i++) {
                assertArrayEquals(eager.get(i), values(graph.run()));
            }
        }
    }

    /** A replay writes: who saved a value for backward before it is told so. */
    @Test
    void replaysCountAsWrites() {
        Tensor x = there(1, 2);
        Tensor counter = there(0, 0);
        Tensor w = there(1, 1).requiresGrad(true);
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                    counter.add_(1);
                    return x.mul(2);
                })
                .warmup(0)) {
            Tensor y = graph.run();
            Tensor loss = w.mul(counter).sum();
            Tensor other = w.mul(y).sum();
            graph.run();
            assertThrows(SavedTensorException.class, () -> Autograd.backward(loss));
            assertThrows(SavedTensorException.class, () -> Autograd.backward(other));
        }
    }

    // ---------------------------------------------------------------- results

    public record Two(Tensor a, List<Tensor> rest) {}

    @Test
    void resultsAreStaticTensorsWithoutHistory() {
        Tensor x = there(1, 2);
        Tensor w = there(3, 4).requiresGrad(true);
        try (CudaGraph<Two> graph = CudaGraph.of(ON, () -> new Two(w.mul(x), List.of(x, x.view(2, 1), w)))
                .warmup(1)) {
            Two warm = graph.run();
            assertFalse(warm.a.requiresGrad());
            Two first;
            try (Scope scope = Scope.open()) {
                first = graph.run();
            }
            x.copy_(there(5, 6));
            Two second = graph.run();
            assertEquals(first, second);
            assertArrayEquals(new float[] {15, 24}, values(second.a));
            assertFalse(second.a.requiresGrad());
            assertArrayEquals(new float[] {5, 6}, values(second.rest.get(1).view(2)));
            assertTrue(second.rest.get(2).requiresGrad());
        }
        assertArrayEquals(new float[] {5, 6}, values(x));
        assertArrayEquals(new float[] {3, 4}, values(w));
    }

    @Test
    void onTheCpuEachRunIsTheStep() {
        Tensor x = Tensor.of(1f, 2f);
        int[] calls = {0};
        try (CudaGraph<Tensor> graph = CudaGraph.of(Device.CPU, () -> {
                    calls[0]++;
                    return x.mul(x.sum().item());
                })
                .warmup(0)) {
            assertArrayEquals(new float[] {3, 6}, values(graph.run()));
            x.copyFrom(2f, 2f);
            assertArrayEquals(new float[] {8, 8}, values(graph.run()));
            assertEquals(2, calls[0]);
            assertFalse(graph.isCaptured());
        }
    }

    /** Work of other threads is not part of a capture, and does not wait for it. */
    @Test
    void otherThreadsGoOnMeanwhile() throws InterruptedException {
        Tensor x = there(1, 2, 3);
        float[][] seen = new float[1][];
        try (CudaGraph<Tensor> graph = CudaGraph.of(ON, () -> {
                    Tensor y = x.mul(2);
                    Thread other = new Thread(() -> seen[0] = values(x.add(10)));
                    other.start();
                    try {
                        other.join();
                    } catch (InterruptedException e) {
                        throw new IllegalStateException(e);
                    }
                    return y.add(1);
                })
                .warmup(0)) {
            assertArrayEquals(new float[] {3, 5, 7}, values(graph.run()));
            assertArrayEquals(new float[] {11, 12, 13}, seen[0]);
            seen[0] = null;
            graph.run();
            assertEquals(null, seen[0]);
        }
    }
}
