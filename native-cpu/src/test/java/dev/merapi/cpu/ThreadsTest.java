// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The pool: bits for any number of its threads, and many threads of Java that call kernels at once. */
class ThreadsTest {
    private static final int CALLERS = 128;

    private final int before = Cpu.threads();

    @AfterEach
    void restore() {
        Cpu.setThreads(before);
    }

    private static Tensor normal(long seed, long... sizes) {
        Random random = new Random(seed);
        float[] values = new float[(int) Shape.of(sizes).numel()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(values, sizes);
    }

    /** Calls whose work is cut into tasks: by rows, by columns, by heads; with odd sizes, too. */
    private static Map<String, Supplier<float[]>> calls() {
        Map<String, Supplier<float[]>> calls = new LinkedHashMap<>();
        long[][] products = {
            {300, 130, 70}, {64, 513, 260}, {1000, 33, 128}, {37, 1025, 40}, {129, 128, 1024}, {5, 700, 700}
        };
        for (long[] p : products) {
            Tensor a = normal(p[0], p[0], p[2]);
            Tensor b = normal(p[1], p[2], p[1]);
            Tensor at = a.t().copy();
            Tensor bt = b.t().copy();
            Tensor bias = normal(3, p[1]);
            String size = p[0] + "x" + p[1] + "x" + p[2];
            calls.put("matmul " + size, () -> a.matmul(b).toFloatArray());
            calls.put("matmul transposed " + size, () -> at.t().matmul(bt.t()).toFloatArray());
            calls.put("linear " + size, () -> a.linear(bt, bias).toFloatArray());
        }
        Tensor batch = normal(8, 20, 65, 48);
        calls.put("batched matmul", () -> batch.matmul(batch.transpose(1, 2)).toFloatArray());
        Tensor qkv = normal(9, 3, 130, 3 * 2 * 32);
        calls.put("attention", () -> SelfAttention.selfAttention(qkv, 2, true).toFloatArray());
        calls.put("attention backward", () -> {
            Tensor x = qkv.detach().requiresGrad(true);
            Tensor y = SelfAttention.selfAttention(x, 2, true);
            return Autograd.grad(y.mul(y).sum(), List.of(x)).get(0).toFloatArray();
        });
        Tensor x = normal(10, 700, 300);
        calls.put("sum", () -> x.sum(0).toFloatArray());
        calls.put("softmax", () -> x.softmax(-1).toFloatArray());
        return calls;
    }

    @Test
    void bitsAreTheSameForAnyNumberOfThreads() {
        Map<String, Supplier<float[]>> calls = calls();
        Cpu.setThreads(1);
        Map<String, float[]> alone = new LinkedHashMap<>();
        calls.forEach((name, call) -> alone.put(name, call.get()));
        for (int threads : new int[] {2, 3, 8}) {
            Cpu.setThreads(threads);
            calls.forEach((name, call) -> assertThat(call.get())
                    .as(name + ", " + threads + " threads")
                    .isEqualTo(alone.get(name)));
        }
    }

    @Test
    void manyCallersNeitherWaitForEachOtherForeverNorGetEachOthersResults() throws Exception {
        Map<String, Supplier<float[]>> calls = calls();
        Cpu.setThreads(4);
        Map<String, float[]> alone = new LinkedHashMap<>();
        calls.forEach((name, call) -> alone.put(name, call.get()));
        List<String> names = new ArrayList<>(calls.keySet());
        CountDownLatch begin = new CountDownLatch(1);
        CountDownLatch done = new CountDownLatch(CALLERS);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (int i = 0; i < CALLERS; i++) {
            int first = i;
            Thread thread = new Thread(() -> {
                try {
                    begin.await();
                    for (int k = 0; k < names.size() && failure.get() == null; k++) {
                        String name = names.get((first + k) % names.size());
                        try (Scope scope = Scope.open()) {
                            assertThat(calls.get(name).get()).as(name).isEqualTo(alone.get(name));
                        }
                    }
                } catch (Throwable t) {
                    failure.compareAndSet(null, t);
                } finally {
                    done.countDown();
                }
            });
            thread.setDaemon(true);
            thread.start();
        }
        begin.countDown();
        assertThat(done.await(2, TimeUnit.MINUTES))
                .as("all " + CALLERS + " callers came back; " + done.getCount() + " did not")
                .isTrue();
        assertThat(failure.get()).isNull();
    }
}
