// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.BackendContract;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Rotation;
import dev.merapi.train.CudaGraph;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * Our own kernels with the simulator's checks, threads and blocks in random orders: every structured op and reduction of
 * the test kit in one dtype, and some of the pointwise ops, which share one printer.
 */
class CheckedKernelsTest {
    private static final Set<String> POINTWISE = Set.of("merapi::add", "merapi::where", "merapi::copy_");
    private static final long[] ORDERS = {5, 17};

    @BeforeAll
    static void on() {
        Simulator.require();
        CudaSim.setChecks(true);
    }

    @AfterAll
    static void off() {
        CudaSim.setChecks(false);
        CudaSim.setOrder(0);
    }

    @TestFactory
    Stream<DynamicTest> opsOfTheTestKit() {
        List<OpSamples<?, ?>> rows = OpRows.all().stream()
                .filter(row -> !(row.op().definition().code() instanceof PointwiseCode)
                        || POINTWISE.contains(row.op().name()))
                .toList();
        return Rotation.today("CheckedKernelsTest", rows, row -> row.op().name(), 6).stream()
                .map(row -> DynamicTest.dynamicTest(row.toString(), () -> inRandomOrders(row)));
    }

    private static void inRandomOrders(OpSamples<?, ?> row) {
        for (long order : ORDERS) {
            CudaSim.setOrder(order);
            BackendContract.meetsTheReference(row, Simulator.DEVICE);
        }
    }

    /** Sizes that fill no block or tile, and more blocks than one. */
    @Test
    void tails() {
        for (long order : ORDERS) {
            CudaSim.setOrder(order);
            same("matmul", 70, t -> t.get(0).matmul(t.get(1)), random(1, 65, 70), random(2, 70, 67));
            same("softmax", 300, t -> t.get(0).softmax(1), random(1, 3, 300));
            same("softmax of columns", 40, t -> t.get(0).softmax(0), random(1, 40, 3));
            same("softmax of packs of columns", 70, t -> t.get(0).softmax(1), random(1, 2, 70, 24));
            same("softmax of long columns", 2100, t -> t.get(0).softmax(0), random(1, 2100, 4));
            same(
                    "layer norm",
                    300,
                    t -> Normalization.layerNorm(t.get(0), new long[] {41}, t.get(1), t.get(2), 1e-5),
                    random(1, 300, 41),
                    random(2, 41),
                    random(3, 41));
            same("sum in stages", 1e5, t -> t.get(0).sum(), random(1, 70001));
            same("variance", 300, t -> t.get(0).var(0), random(1, 300, 5));
            same(
                    "attention",
                    150,
                    t -> Attention.ATTENTION
                            .call(new Attention.Args(t.get(0), t.get(1), t.get(2), true, 0.4))
                            .out(),
                    random(1, 1, 1, 131, 5),
                    random(2, 1, 1, 131, 5),
                    random(3, 1, 1, 131, 5));
            for (long width : new long[] {32, 128}) {
                same(
                        "attention on tensor cores, heads of " + width,
                        150,
                        t -> Attention.ATTENTION
                                .call(new Attention.Args(t.get(0), t.get(1), t.get(2), true, 0.1))
                                .out(),
                        random(1, 1, 1, 131, width).to(DType.BFLOAT16),
                        random(2, 1, 1, 131, width).to(DType.BFLOAT16),
                        random(3, 1, 1, 131, width).to(DType.BFLOAT16));
            }
            same("transposed", 1, t -> t.get(0).t().contiguous(), random(1, 67, 35));
            StructuredTest.optimizerSteps(DType.FLOAT32);
            new StepKernelTest().stepsAreThoseOfPlainJava();
        }
    }

    @Test
    void tensorCores() {
        for (long order : ORDERS) {
            CudaSim.setOrder(order);
            for (long k : new long[] {70, 1100}) {
                StructuredTest.same(
                        "matmul",
                        k,
                        t -> t.get(0).matmul(t.get(1)),
                        PointwiseTest.random(DType.BFLOAT16, 1, 65, k),
                        PointwiseTest.random(DType.BFLOAT16, 2, k, 72));
            }
            FlashTest.check(DType.BFLOAT16, 1, 2, 70, 70, 32, true);
        }
    }

    @Test
    void convolutions() {
        for (long order : ORDERS) {
            CudaSim.setOrder(order);
            for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
                StructuredTest.same(
                        "convolution",
                        1200,
                        t -> Convolution.conv2d(t.get(0), t.get(1), t.get(2), 2, 1, 1, 2),
                        PointwiseTest.random(dtype, 1, 2, 18, 47, 51),
                        PointwiseTest.random(dtype, 2, 20, 9, 3, 3),
                        PointwiseTest.random(dtype, 3, 20));
            }
        }
    }

    private static void same(String what, double terms, Function<List<Tensor>, Tensor> f, Tensor... inputs) {
        StructuredTest.same(what, terms, f, inputs);
    }

    private static Tensor random(long seed, long... shape) {
        return PointwiseTest.random(DType.FLOAT32, seed, shape);
    }

    @Test
    void randomNumbers() {
        long seed = 0x123456789abcdefL;
        Tensor here = Tensor.empty(Shape.of(1003), DType.FLOAT32, Device.CPU);
        Tensor there = Tensor.empty(Shape.of(1003), DType.FLOAT32, Simulator.DEVICE);
        PointwiseTest.exact(
                "normal",
                RandomOps.NORMAL.call(new RandomOps.Normal(here, 1, 3, seed, 5, null)),
                RandomOps.NORMAL.call(new RandomOps.Normal(there, 1, 3, seed, 5, null)));
        same(
                "dropout",
                1,
                t -> RandomOps.DROPOUT
                        .call(new RandomOps.Dropout(t.get(0), 0.4, seed, 9, null))
                        .output(),
                random(1, 33, 5));
    }

    /** A captured launch runs many times, when the tensors that it was recorded with are long gone. */
    @Test
    void capturedSteps() {
        Tensor x = Tensor.zeros(Shape.of(3, 40), DType.FLOAT32, Simulator.DEVICE);
        try (CudaGraph<Tensor> graph =
                CudaGraph.of(Simulator.DEVICE, () -> x.mul(3).softmax(1)).warmup(1)) {
            for (int i = 0; i < 4; i++) {
                Tensor fresh = random(i, 3, 40);
                x.copy_(fresh.to(Simulator.DEVICE));
                float[] found = graph.run().toFloatArray();
                assertArrayEquals(fresh.mul(3).softmax(1).toFloatArray(), found, 1e-6f, "run " + i);
            }
            assertTrue(graph.isCaptured());
        }
    }
}
