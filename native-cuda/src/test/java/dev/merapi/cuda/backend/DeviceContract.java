// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.check.GradCheck;
import dev.merapi.cuda.kernels.PointwiseTest;
import dev.merapi.device.Memory;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.memory.MemoryStats;
import dev.merapi.nn.Block;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.Linear;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.nn.Sequential;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/**
 * What ops one by one do not show of a device: training, work that is still under way when its tensors are closed, threads,
 * the end of memory. Run on a GPU, and on the simulator so that the tests themselves are tested everywhere.
 */
abstract class DeviceContract extends StreamContract {
    private static final Op<Body, Tensor> AXPB = Op.define(
                    MethodHandles.lookup(), "test::device_axpb", Body.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .kernel(DeviceType.CUDA, CudaKernel.body("if (i < n) out[i] = a * x[i] + b;"))
            .nonDifferentiable();

    record Body(Tensor x, double a, double b) {}

    @Override
    abstract Device device();

    /** How many times as large as on the simulator things may be. */
    abstract int scale();

    final void synchronize() {
        Backends.of(device().type()).synchronize(device().index());
    }

    private static Tensor random(long seed, long... shape) {
        return PointwiseTest.random(DType.FLOAT32, seed, shape);
    }

    // ---------------------------------------------------------------- training

    private static List<Double> losses(Sequential model, Tensor x, Tensor y, int steps) {
        List<Double> losses = new ArrayList<>();
        try (AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0.01)) {
            for (int i = 0; i < steps; i++) {
                try (Scope scope = Scope.open()) {
                    Tensor loss = Losses.crossEntropy(model.forward(x), y);
                    Autograd.backward(loss);
                    optimizer.step(Clip.norm(model.parameters(), 1).scale());
                    optimizer.zeroGrad();
                    losses.add(loss.item());
                }
            }
        }
        return losses;
    }

    /** The same network on the same data: device and CPU go the same way, for as long as rounding lets them. */
    @Test
    void trainsAsTheCpuDoes() {
        Tensor x = random(1, 32, 20);
        Tensor y = x.slice(1, 0, 5).argmax(1);
        Sequential here = network();
        Sequential there = network();
        there.loadStateDict(here.stateDict());
        there.to(device());
        List<Double> expected = losses(here, x, y, 12);
        List<Double> found = losses(there, x.to(device()), y.to(device()), 12);
        for (int i = 0; i < expected.size(); i++) {
            // float32 differs by 1e-7 a step; Adam's division lets that grow by about ten times in as many steps.
            assertEquals(expected.get(i), found.get(i), 1e-4, "loss of step " + i);
        }
        assertTrue(found.get(11) < 0.8 * found.get(0), "it learns: " + found);
    }

    private static Sequential network() {
        return new Sequential()
                .then(new Linear(20, 32))
                .then(Tensor::gelu)
                .then(new LayerNorm(32))
                .then(new Linear(32, 5));
    }

    private static final class Words extends Block {
        private final Embedding tokens = child("tokens", new Embedding(11, 32));
        private final MultiheadAttention attention = child("attention", new MultiheadAttention(32, 2, true));
        private final LayerNorm norm = child("norm", new LayerNorm(32));

        Tensor loss(Tensor input, Tensor targets) {
            Tensor x = tokens.forward(input);
            x = x.add(attention.forward(norm.forward(x)));
            return Losses.crossEntropy(x.linear(tokens.weight(), null).view(-1, 11), targets.view(-1));
        }
    }

    /** Embedding, attention and cross entropy under bfloat16: what follows 3 is 7, and so on. */
    @Test
    void learnsInBfloat16() {
        long[] text = new long[66];
        for (int i = 1; i < text.length; i++) {
            text[i] = (text[i - 1] * 2 + 1) % 11;
        }
        Tensor input = Tensor.of(java.util.Arrays.copyOf(text, 64), 4, 16).to(device());
        Tensor targets =
                Tensor.of(java.util.Arrays.copyOfRange(text, 1, 65), 4, 16).to(device());
        Words model = new Words();
        model.to(device());
        double first = Double.NaN;
        double last = Double.NaN;
        try (AdamW optimizer = new AdamW(model.parameters(), 1e-2, 0)) {
            for (int i = 0; i < 25; i++) {
                try (Scope scope = Scope.open()) {
                    Tensor loss;
                    try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                        loss = model.loss(input, targets);
                    }
                    Autograd.backward(loss);
                    optimizer.step();
                    optimizer.zeroGrad();
                    last = loss.item();
                    first = i == 0 ? last : first;
                }
            }
        }
        assertTrue(last < 0.3 * first, "loss went from " + first + " to " + last);
    }

    @Test
    void gradientsPassTheCheck() {
        Tensor x = random(2, 3, 4).to(DType.FLOAT64).to(device()).requiresGrad(true);
        Tensor w = random(3, 5, 4).to(DType.FLOAT64).to(device()).requiresGrad(true);
        GradCheck.of(
                        in -> in.get(0)
                                .linear(in.get(1), null)
                                .softmax(1)
                                .mul(in.get(0).sum()),
                        List.of(x, w))
                .run()
                .orThrow();
    }

    // ---------------------------------------------------------------- order

    /** Each round frees what the device may still be reading; its memory is taken again at once. */
    @Test
    void memoryIsNotTakenAgainBeforeItsReadersAreDone() {
        int n = 4096 * scale();
        float[] start = new float[n];
        for (int i = 0; i < n; i++) {
            start[i] = i % 97;
        }
        Tensor x = Tensor.of(start, n).to(device());
        Tensor sum = Tensor.zeros(Shape.of(n), DType.FLOAT32, device());
        int rounds = 50;
        for (int i = 0; i < rounds; i++) {
            try (Scope scope = Scope.open()) {
                Tensor doubled = x.add(x);
                Tensor shifted = doubled.add(i);
                sum.add_(shifted.sub(x));
            }
        }
        float[] found = sum.toFloatArray();
        for (int i = 0; i < n; i++) {
            assertEquals(rounds * (i % 97) + rounds * (rounds - 1) / 2f, found[i], "element " + i);
        }
    }

    @Test
    void threadsDoNotDisturbEachOther() throws Exception {
        int threads = 4;
        ExecutorService pool = Executors.newFixedThreadPool(threads);
        try {
            List<Future<float[]>> results = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                float seed = t + 1;
                results.add(pool.submit(() -> {
                    try (Scope scope = Scope.open()) {
                        Tensor x = Tensor.of(new float[] {seed, 2 * seed, 3 * seed, 4 * seed}, 2, 2)
                                .to(device());
                        Tensor y = x;
                        for (int i = 0; i < 20; i++) {
                            try (Scope inner = Scope.open()) {
                                y = inner.keep(y.matmul(x).mul(1 / (5.5 * seed)));
                            }
                        }
                        return y.toFloatArray();
                    }
                }));
            }
            float[] first = results.get(0).get(5, TimeUnit.MINUTES);
            for (int t = 0; t < threads; t++) {
                float[] found = results.get(t).get(5, TimeUnit.MINUTES);
                float[] expected = new float[4];
                for (int i = 0; i < 4; i++) {
                    expected[i] = first[i] * (t + 1); // each thread's power of x / 5.5 differs by its seed alone
                }
                assertArrayEquals(expected, found, 1e-3f * Math.abs(expected[3]), "thread " + t);
            }
        } finally {
            pool.shutdownNow();
        }
    }

    @Test
    void aKernelOfOnesOwn() {
        Tensor x = random(4, 1000);
        float[] found = AXPB.call(new Body(x.to(device()), 2, -1)).toFloatArray();
        float[] from = x.toFloatArray();
        for (int i = 0; i < from.length; i++) {
            assertEquals(2 * from[i] - 1, found[i], 1e-5, "element " + i);
        }
    }

    // ---------------------------------------------------------------- memory

    @Test
    void theEndOfMemoryIsAnExceptionAfterWhichWorkGoesOn() {
        MemoryStats before = Memory.stats(device());
        Tensor kept = Tensor.of(1f, 2f, 3f).to(device());
        Memory.setCap(device(), before.reserved() + (64L << 20));
        try {
            OutOfMemoryException e = assertThrows(
                    OutOfMemoryException.class, () -> Tensor.zeros(Shape.of(1L << 30), DType.FLOAT32, device()));
            assertEquals(4L << 30, e.requestedBytes());
            assertTrue(e.getMessage().contains(device().toString()), e.getMessage());
            assertArrayEquals(new float[] {2, 4, 6}, kept.add(kept).toFloatArray());
        } finally {
            Memory.setCap(device(), before.cap());
        }
    }

    @Test
    void whatAScopeReleasesIsReleased() {
        Tensor x = random(5, 64, 64).to(device());
        Runnable work = () -> {
            try (Scope scope = Scope.open()) {
                x.matmul(x).softmax(1).sum();
            }
        };
        work.run();
        synchronize();
        long before = Memory.stats(device()).allocated();
        for (int i = 0; i < 20; i++) {
            work.run();
        }
        synchronize();
        assertEquals(before, Memory.stats(device()).allocated());
    }

    /** Indices beyond 2³¹, where a kernel's int would wrap. */
    @Test
    void moreElementsThanAnIntCounts() {
        long n = (1L << 31) + 77;
        long cap = Memory.stats(device()).cap();
        assumeTrue(
                device().type() == DeviceType.CUDA && cap > 8 * n,
                "needs a GPU with " + (8 * n >> 30) + " GiB free; the cap of " + device() + " is " + (cap >> 30));
        try (Scope scope = Scope.open()) {
            Tensor x = Tensor.zeros(Shape.of(n), DType.UINT8, device());
            x.slice(0, n - 3, n).fill_(7);
            assertEquals(21, x.add(x).sum().itemLong() / 2);
            assertEquals(n - 3, x.argmax(0).itemLong());
        } finally {
            Memory.trim(device());
        }
    }
}
