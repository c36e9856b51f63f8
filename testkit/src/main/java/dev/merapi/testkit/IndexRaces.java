// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.Scattering;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Every op that is led by indices, while another thread writes them: now in range, now far beyond any memory. Each call
 * gives a result or refuses; an index that was checked and then read again would end the process.
 */
final class IndexRaces {
    private static final int INDICES = 4096;
    private static final int SIZE = 16;
    private static final long FAR = 1L << 40;

    private IndexRaces() {}

    /** What is wrong; empty if nothing is. The device's memory must be visible to Java. */
    static List<String> run(Device device, long millisEach) {
        List<String> failures = new ArrayList<>();
        long[] outcomes = new long[2];
        try (Scope scope = Scope.open()) {
            Tensor index = Tensor.zeros(Shape.of(INDICES), DType.INT64, device);
            AtomicBoolean stop = new AtomicBoolean();
            Thread writer = new Thread(() -> write(index, stop), "writes indices");
            writer.start();
            try {
                ops(index, device).forEach((name, call) -> {
                    long end = System.nanoTime() + millisEach * 1_000_000;
                    while (System.nanoTime() < end) {
                        try (Scope each = Scope.open()) {
                            call.run();
                            outcomes[0]++;
                        } catch (ShapeException e) {
                            outcomes[1]++;
                        } catch (RuntimeException e) {
                            failures.add(name + ": " + e);
                            return;
                        }
                    }
                });
            } finally {
                stop.set(true);
                join(writer);
            }
            if (outcomes[0] == 0 || outcomes[1] == 0) {
                failures.add(
                        "calls that worked: " + outcomes[0] + ", that refused: " + outcomes[1] + "; both must occur");
            }
        }
        return failures;
    }

    private static void write(Tensor index, AtomicBoolean stop) {
        Elements e = Elements.of(index);
        for (long round = 0; !stop.get(); round++) {
            // In range for longer than not, so that many calls get beyond their check.
            long at = round * 7919 % INDICES;
            e.setLong(at, round % 2 == 0 ? FAR : -FAR);
            spin(200 + round % 7 * 300);
            e.setLong(at, round % SIZE);
            spin(2000 + round % 5 * 3000);
        }
    }

    private static void spin(long turns) {
        for (long i = 0; i < turns; i++) {
            Thread.onSpinWait();
        }
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static Map<String, Runnable> ops(Tensor index, Device device) {
        Tensor table = zeros(device, SIZE, 8);
        Tensor column = zeros(device, SIZE, 1);
        Tensor rows = zeros(device, INDICES, 8);
        Tensor each = index.view(INDICES, 1);
        Tensor one = zeros(device, INDICES, 1);
        Tensor scores = zeros(device, INDICES, SIZE);
        Tensor weight = zeros(device, SIZE).add(1);
        Tensor lse = zeros(device, INDICES);
        Tensor g = zeros(device);
        Tensor total = Tensor.ones(Shape.SCALAR, DType.FLOAT64, device);
        Tensor plane = index.view(1, 1, 64, 64);
        Map<String, Runnable> ops = new LinkedHashMap<>();
        ops.put("gather", () -> column.gather(0, each));
        ops.put("scatter", () -> column.scatter(0, each, one));
        ops.put("scatter_add", () -> column.scatterAdd(0, each, one));
        ops.put("index_select", () -> table.indexSelect(0, index));
        ops.put("index_select of single elements", () -> column.indexSelect(0, index));
        ops.put("index_add", () -> table.indexAdd(0, index, rows));
        ops.put("index_copy", () -> table.indexCopy(0, index, rows));
        ops.put("scatter_reduce", () -> column.scatterReduce(0, each, one, Scattering.Reduce.AMAX, true));
        ops.put("embedding", () -> table.embedding(index, 3));
        ops.put(
                "embedding_backward",
                () -> Indexing.EMBEDDING_BACKWARD.call(new Indexing.EmbeddingBackward(rows, index, SIZE, 3)));
        ops.put("one_hot", () -> index.oneHot(SIZE));
        for (Losses.Reduction r : Losses.Reduction.values()) {
            for (@Nullable Tensor w : new @Nullable Tensor[] {null, weight}) {
                String how = " " + r + (w == null ? "" : " weighted");
                Tensor grad = r == Losses.Reduction.NONE ? lse : g;
                ops.put("cross_entropy" + how, () -> Losses.crossEntropy(scores, index, w, -100, 0.1, r));
                ops.put(
                        "cross_entropy_backward" + how,
                        () -> Losses.CROSS_ENTROPY_BACKWARD.call(
                                new Losses.CrossEntropyBackward(grad, scores, index, w, lse, total, -100, 0.1, r)));
                ops.put("nll_loss" + how, () -> Losses.nllLoss(scores, index, w, -100, r));
                ops.put(
                        "nll_loss_backward" + how,
                        () -> Losses.NLL_LOSS_BACKWARD.call(new Losses.NllBackward(grad, scores, index, w, -100, r)));
            }
        }
        long[] two = {2, 2};
        Tensor image = zeros(device, 1, 1, 64, 64);
        ops.put(
                "max_pool2d_backward",
                () -> Pooling.MAX_POOL2D_BACKWARD.call(new Pooling.MaxPool2dBackward(
                        image, plane, new long[] {128, 128}, two, two, new long[2], new long[] {1, 1})));
        return ops;
    }

    private static Tensor zeros(Device device, long... sizes) {
        return Tensor.zeros(Shape.of(sizes), DType.FLOAT32, device);
    }
}
