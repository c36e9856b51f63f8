// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.kernels.FusedFeedForward;
import dev.merapi.cuda.kernels.LinearGradients;
import dev.merapi.cuda.kernels.PointwiseTest;
import dev.merapi.cuda.report.EpilogueCost;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Determinism;
import dev.merapi.error.DeviceException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.GradValidation;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What we tell cuBLASLt, told to one made of loops on the host. It knows nothing of speed, and everything of layouts. */
class CublasLtTest {
    private static final List<DType> DTYPES = List.of(DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16);
    private static final int ASKED = 1;
    private static final int PRODUCTS = 2;
    private static final int ALIVE = 3;
    private static final int STREAM = 4;
    private static final int ALGORITHM = 5;

    private static ByteBuffer calls = ByteBuffer.allocate(0);
    private Blas blas = (p, tf32, stream) -> false;

    private static Set<Epilogue> before = Set.of();

    @BeforeAll
    static void compile() throws IOException, InterruptedException {
        FakeCublasLt.library();
        before = Epilogues.use(EnumSet.allOf(Epilogue.class));
    }

    @AfterAll
    static void restore() {
        Epilogues.use(before);
    }

    @BeforeEach
    void begin() throws IOException, InterruptedException {
        blas = FakeCublasLt.blas();
        calls = FakeCublasLt.calls();
    }

    private static Tensor random(DType dtype, long seed, long... shape) {
        return PointwiseTest.random(dtype, seed, shape);
    }

    private static Tensor here(Tensor t, boolean transposed) {
        Tensor there = t.to(Simulator.DEVICE);
        return transposed ? there.transpose(-2, -1).contiguous().transpose(-2, -1) : there;
    }

    private boolean multiply(Tensor a, Tensor b, boolean tf32, Tensor out) {
        return blas.multiply(MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out), tf32, 0);
    }

    private void check(String what, Tensor a, Tensor b, boolean aTransposed, boolean bTransposed) {
        Tensor expected = LinearAlgebra.matmul(a, b);
        Tensor out = Tensor.full(expected.shape(), 7, expected.dtype(), Simulator.DEVICE);
        assertTrue(multiply(here(a, aTransposed), here(b, bTransposed), false, out), what + " is not served");
        near(what, expected, out, 0);
    }

    /** Both sum in float64, in orders of their own, and round once. */
    private static void near(String what, Tensor expected, Tensor actual, double relative) {
        double[] e = expected.toDoubleArray();
        double[] got = actual.toDoubleArray();
        double eps = expected.dtype().epsilon();
        for (int i = 0; i < e.length; i++) {
            assertEquals(e[i], got[i], Math.abs(e[i]) * eps + 0x1p-48 + relative, what + ", element " + i);
        }
    }

    @Test
    void layouts() {
        for (DType dtype : DTYPES) {
            for (int t = 0; t < 4; t++) {
                boolean ta = t / 2 == 1;
                boolean tb = t % 2 == 1;
                check(dtype + " " + ta + tb, random(dtype, 1, 5, 9), random(dtype, 2, 9, 7), ta, tb);
                check(dtype + " row " + ta + tb, random(dtype, 1, 1, 9), random(dtype, 2, 9, 7), ta, tb);
                check(dtype + " column " + ta + tb, random(dtype, 1, 5, 9), random(dtype, 2, 9, 1), ta, tb);
                check(dtype + " outer " + ta + tb, random(dtype, 1, 5, 1), random(dtype, 2, 1, 7), ta, tb);
                check(dtype + " batch " + ta + tb, random(dtype, 1, 3, 5, 9), random(dtype, 2, 3, 9, 7), ta, tb);
            }
            check(dtype + " rows of one", random(dtype, 1, 3, 2, 5, 9), random(dtype, 2, 9, 7), false, true);
            check(dtype + " one for all", random(dtype, 1, 5, 9), random(dtype, 2, 3, 9, 7), true, false);
            check(dtype + " crossed", random(dtype, 1, 3, 1, 5, 9), random(dtype, 2, 1, 4, 9, 7), false, false);
            Tensor wide = random(dtype, 3, 6, 40);
            Tensor a = wide.narrow(1, 3, 9);
            Tensor b = random(dtype, 4, 9, 40).narrow(1, 5, 6);
            Tensor out = TENSORS.allocate(Shape.of(6, 6), dtype, Simulator.DEVICE);
            assertTrue(multiply(
                    wide.to(Simulator.DEVICE).narrow(1, 3, 9),
                    random(dtype, 4, 9, 40).to(Simulator.DEVICE).narrow(1, 5, 6),
                    false,
                    out));
            near("parts of rows " + dtype, LinearAlgebra.matmul(a, b), out, 0);
        }
    }

    @Test
    void bias() {
        for (DType dtype : DTYPES) {
            for (long seed = 3; seed < 5; seed++) { // the second with the plan of the first
                Tensor x = random(dtype, 1, 2, 5, 9);
                Tensor w = random(dtype, 2, 7, 9);
                Tensor bias = random(dtype, seed, 7);
                Tensor out = TENSORS.allocate(Shape.of(2, 5, 7), dtype, Simulator.DEVICE);
                LinearAlgebra.Linear args = new LinearAlgebra.Linear(
                        x.to(Simulator.DEVICE), w.to(Simulator.DEVICE), bias.to(Simulator.DEVICE));
                assertTrue(blas.multiply(MatrixProduct.of(args, out), false, 0));
                near("linear " + dtype, LinearAlgebra.linear(x, w, bias), out, 0);
            }
        }
    }

    /** What makes the weight's gradient sums up the bias's on the way. */
    @Test
    void gradientOfABias() {
        for (DType dtype : DTYPES) {
            Tensor g = random(dtype, 1, 10, 7);
            Tensor x = random(dtype, 2, 10, 9);
            LinearGradients.Parameters out = new LinearGradients.Parameters(
                    TENSORS.allocate(Shape.of(7, 9), dtype, Simulator.DEVICE),
                    TENSORS.allocate(Shape.of(7), dtype, Simulator.DEVICE));
            LinearGradients.Args args = new LinearGradients.Args(g.to(Simulator.DEVICE), x.to(Simulator.DEVICE));
            assertTrue(blas.multiply(LinearGradients.product(args, out), false, 0));
            near("weight " + dtype, g.t().matmul(x), out.weight(), 0);
            near("bias " + dtype, g.sum(0), out.bias(), 0);
        }
    }

    /** What a GELU is applied to is kept, and its derivative and the bias's gradient come out of the product before it. */
    @Test
    void gelu() {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16)) {
            Tensor x = random(dtype, 1, 2, 5, 9);
            Tensor w = random(dtype, 2, 16, 9);
            Tensor bias = random(dtype, 3, 16);
            Tensor inner = TENSORS.allocate(Shape.of(2, 5, 16), dtype, Simulator.DEVICE);
            Tensor out = TENSORS.allocate(inner.shape(), dtype, Simulator.DEVICE);
            LinearAlgebra.Linear args =
                    new LinearAlgebra.Linear(x.to(Simulator.DEVICE), w.to(Simulator.DEVICE), bias.to(Simulator.DEVICE));
            assertTrue(blas.multiply(FusedFeedForward.activated(args, inner, out), false, 0));
            near("inner " + dtype, LinearAlgebra.linear(x, w, bias), inner, 0);
            Tensor wide = LinearAlgebra.linear(x.to(DType.FLOAT64), w.to(DType.FLOAT64), bias.to(DType.FLOAT64));
            near("gelu " + dtype, wide.geluTanh().to(dtype), out, dtype.epsilon());

            Tensor g = random(dtype, 4, 10, 7);
            Tensor down = random(dtype, 5, 7, 16);
            Tensor sums = TENSORS.allocate(Shape.of(16), dtype, Simulator.DEVICE);
            Tensor before = TENSORS.allocate(Shape.of(10, 16), dtype, Simulator.DEVICE);
            assertTrue(blas.multiply(
                    FusedFeedForward.beforeActivation(
                            g.to(Simulator.DEVICE), down.to(Simulator.DEVICE), inner, sums, before),
                    false,
                    0));
            Tensor at = inner.to(Device.CPU).view(10, 16).to(DType.FLOAT64).requiresGrad(true);
            Autograd.backward(at.geluTanh(), g.to(DType.FLOAT64).matmul(down.to(DType.FLOAT64)), Autograd.Graph.FREE);
            Tensor expected = java.util.Objects.requireNonNull(at.grad());
            near("gradient " + dtype, expected.to(dtype), before, dtype.epsilon());
            near("bias " + dtype, expected.sum(0).to(dtype), sums, 2 * dtype.epsilon());
            before.fill_(7);
            assertTrue(blas.multiply(
                    FusedFeedForward.beforeActivation(
                            g.to(Simulator.DEVICE), down.to(Simulator.DEVICE), inner, null, before),
                    false,
                    0));
            near("gradient alone " + dtype, expected.to(dtype), before, dtype.epsilon());
        }
    }

    @Test
    void aGeluThatItDoesNotServe() {
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64)) {
            int hidden = dtype == DType.BFLOAT16 ? 12 : 16; // lines of a multiple of 8, and 16 bits
            Tensor out = TENSORS.allocate(Shape.of(5, hidden), dtype, Simulator.DEVICE);
            LinearAlgebra.Linear args = new LinearAlgebra.Linear(
                    random(dtype, 1, 5, 9).to(Simulator.DEVICE),
                    random(dtype, 2, hidden, 9).to(Simulator.DEVICE),
                    random(dtype, 3, hidden).to(Simulator.DEVICE));
            int asked = calls.getInt(4 * ASKED);
            assertFalse(blas.multiply(FusedFeedForward.activated(args, out, out), false, 0));
            assertEquals(asked, calls.getInt(4 * ASKED), "known without asking");
        }
    }

    /** The formula with a library, and with our own kernels for the op, against the common one. */
    @Test
    void backwardOfLinear() {
        for (boolean[] needed : new boolean[][] {{true, true, true}, {false, true, true}, {true, true, false}}) {
            Tensor x = random(DType.FLOAT64, 1, 2, 5, 9);
            Tensor w = random(DType.FLOAT64, 2, 7, 9);
            Tensor g = random(DType.FLOAT64, 3, 2, 5, 7);
            Tensor[] here = {x, w, random(DType.FLOAT64, 4, 7)};
            for (int i = 0; i < 3; i++) {
                here[i].requiresGrad(needed[i]);
            }
            Autograd.backward(LinearAlgebra.linear(x, w, here[2]), g, Autograd.Graph.FREE);
            BackwardContext context = new BackwardContext(
                    LinearAlgebra.LINEAR.definition(),
                    new int[] {1, 1, 1},
                    needed,
                    new Tensor[] {g},
                    false,
                    false,
                    t -> null);
            @Nullable
            Tensor[] actual = GradValidation.flatten(
                    LinearAlgebra.LINEAR.definition(),
                    new int[] {1, 1, 1},
                    LinearGradients.BACKWARD.apply(
                            context,
                            new LinearAlgebra.SavedLinear(
                                    x.detach().to(Simulator.DEVICE), w.detach().to(Simulator.DEVICE), true),
                            g.to(Simulator.DEVICE)),
                    slot -> true);
            for (int i = 0; i < 3; i++) {
                Tensor got = actual[i];
                Tensor expected = here[i].grad();
                assertEquals(expected != null, got != null, "slot " + i);
                if (got != null && expected != null) {
                    near("slot " + i, expected, got, 0);
                }
            }
        }
    }

    @Test
    void tf32OnlyWhereAllowed() {
        Tensor a = random(DType.FLOAT32, 1, 5, 9);
        Tensor b = random(DType.FLOAT32, 2, 9, 7);
        Tensor out = TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE);
        assertTrue(multiply(a.to(Simulator.DEVICE), b.to(Simulator.DEVICE), true, out));
        near("tf32", LinearAlgebra.matmul(a, b), out, 9 * 0x1p-9);
        assertTrue(
                out.to(Device.CPU).sub(LinearAlgebra.matmul(a, b)).abs().max().item() > 1e-5);
    }

    @Test
    void asksOnceForEachProblem() {
        Tensor a = random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE);
        Tensor b = random(DType.FLOAT32, 2, 9, 7).to(Simulator.DEVICE);
        Tensor out = TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE);
        int asked = calls.getInt(4 * ASKED);
        int products = calls.getInt(4 * PRODUCTS);
        int alive = calls.getInt(4 * ALIVE);
        for (int i = 0; i < 3; i++) {
            assertTrue(multiply(a, b, false, out));
        }
        assertEquals(1, calls.getInt(4 * ASKED) - asked);
        assertEquals(3, calls.getInt(4 * PRODUCTS) - products);
        assertEquals(4, calls.getInt(4 * ALIVE) - alive, "an operation and three layouts");
        for (int m = 1; m < 1100; m++) {
            Tensor tall = Tensor.zeros(Shape.of(m, 9), DType.FLOAT32, Simulator.DEVICE);
            multiply(tall, b, false, TENSORS.allocate(Shape.of(m, 7), DType.FLOAT32, Simulator.DEVICE));
        }
        assertEquals(4 * 1024, calls.getInt(4 * ALIVE) - alive, "plans that are kept");
    }

    /** So that neither two streams nor two graphs share it: the allocator knows who may have which memory when. */
    @Test
    void theWorkspaceIsMemoryAsAnyOther() {
        Tensor a = random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE);
        Tensor b = random(DType.FLOAT32, 2, 9, 7).to(Simulator.DEVICE);
        Tensor out = TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE);
        Memory.resetPeak(Simulator.DEVICE);
        long before = Memory.stats(Simulator.DEVICE).allocated();
        assertTrue(multiply(a, b, false, out));
        assertEquals(before, Memory.stats(Simulator.DEVICE).allocated());
        assertTrue(Memory.stats(Simulator.DEVICE).peakAllocated() >= before + (16 << 20), "what the library asks for");
    }

    @Test
    void productsGoToTheStreamTheyAreAskedFor() {
        Tensor a = random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE);
        Tensor b = random(DType.FLOAT32, 2, 9, 7).to(Simulator.DEVICE);
        Tensor out = TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE);
        for (long stream : new long[] {0, 2, 0}) {
            assertTrue(blas.multiply(MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out), false, stream));
            assertEquals(4711 + stream, calls.getInt(4 * STREAM));
        }
    }

    @Test
    void whatItDoesNotServe() {
        Tensor x = random(DType.FLOAT32, 1, 6, 10, 4, 16).to(Simulator.DEVICE);
        Tensor a = x.transpose(0, 3);
        Tensor out = TENSORS.allocate(Shape.of(16, 10, 4, 4), DType.FLOAT32, Simulator.DEVICE);
        assertFalse(multiply(a, a.transpose(2, 3), false, out), "no unit stride");
        Tensor n = random(DType.INT32, 1, 4, 4).to(Simulator.DEVICE);
        assertFalse(multiply(n, n, false, TENSORS.allocate(Shape.of(4, 4), DType.INT32, Simulator.DEVICE)));
        Tensor b = random(DType.FLOAT32, 2, 9, 13).to(Simulator.DEVICE);
        Tensor c = random(DType.FLOAT32, 2, 3, 9).to(Simulator.DEVICE);
        int alive = calls.getInt(4 * ALIVE);
        for (int i = 0; i < 2; i++) {
            assertFalse(multiply(c, b, false, TENSORS.allocate(Shape.of(3, 13), DType.FLOAT32, Simulator.DEVICE)));
        }
        assertEquals(alive, calls.getInt(4 * ALIVE), "nothing is kept of a problem without an algorithm");
    }

    // ---------------------------------------------------------------- epilogues, failures, choices

    /** A product of each kind, and which epilogues it takes. */
    private static Map<MatrixProduct, Set<Epilogue>> products(long shift) {
        Tensor x = random(DType.BFLOAT16, 1, 10, 9).to(Simulator.DEVICE);
        Tensor w = random(DType.BFLOAT16, 2, 16, 9).to(Simulator.DEVICE);
        Tensor bias = random(DType.BFLOAT16, 3, 16 + shift).to(Simulator.DEVICE).slice(0, shift, 16 + shift);
        Tensor inner = random(DType.BFLOAT16, 4, 160 + shift)
                .to(Simulator.DEVICE)
                .slice(0, shift, 160 + shift)
                .view(10, 16);
        Tensor out = TENSORS.allocate(Shape.of(10, 16), DType.BFLOAT16, Simulator.DEVICE);
        Tensor g = random(DType.BFLOAT16, 5, 10, 7).to(Simulator.DEVICE);
        Tensor down = random(DType.BFLOAT16, 6, 7, 16).to(Simulator.DEVICE);
        LinearAlgebra.Linear linear = new LinearAlgebra.Linear(x, w, bias);
        LinearGradients.Parameters gradients = new LinearGradients.Parameters(
                TENSORS.allocate(Shape.of(16, 9), DType.BFLOAT16, Simulator.DEVICE), bias);
        return Map.of(
                MatrixProduct.of(linear, out), Set.of(Epilogue.BIAS),
                FusedFeedForward.activated(linear, inner, out), Set.of(Epilogue.GELU),
                FusedFeedForward.beforeActivation(g, down, inner, null, out), Set.of(Epilogue.DGELU),
                FusedFeedForward.beforeActivation(g, down, inner, bias, out),
                        Set.of(Epilogue.DGELU, Epilogue.DGELU_BGRAD),
                LinearGradients.product(new LinearGradients.Args(out, x), gradients), Set.of(Epilogue.BGRAD));
    }

    @Test
    void onlyTheEpiloguesThatAreWanted() {
        for (Epilogue unwanted : Epilogue.values()) {
            Epilogues.use(EnumSet.complementOf(EnumSet.of(unwanted)));
            products(0)
                    .forEach((p, needed) -> assertEquals(
                            !needed.contains(unwanted), blas.multiply(p, false, 0), p.op() + " without " + unwanted));
        }
        Epilogues.use(Set.of());
        assertTrue(multiply(
                random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE),
                random(DType.FLOAT32, 2, 9, 7).to(Simulator.DEVICE),
                false,
                TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE)));
        Epilogues.use(EnumSet.allOf(Epilogue.class));
    }

    @Test
    void theirNames() {
        assertEquals(Set.of(), Epilogues.parse("none"));
        assertEquals(Set.of(Epilogue.BIAS, Epilogue.DGELU_BGRAD), Epilogues.parse("bias, dgelu_bgrad"));
        assertEquals(Epilogues.parse("bias,gelu,dgelu"), Epilogues.parse(null), "the default");
        assertTrue(assertThrows(DeviceException.class, () -> Epilogues.parse("bias,relu"))
                .getMessage()
                .contains("no epilogue 'relu'"));
    }

    /** A slice's address may be any multiple of its elements: nothing is risked for it. */
    @Test
    void epiloguesOfAlignedMemoryOnly() {
        products(3).forEach((p, needed) -> {
            int asked = calls.getInt(4 * ASKED);
            assertFalse(blas.multiply(p, false, 0), p.op());
            assertEquals(asked, calls.getInt(4 * ASKED), p.op() + ": known without asking");
        });
        products(8).forEach((p, needed) -> assertTrue(blas.multiply(p, false, 0), p.op()));
    }

    /** What the library does not add is added afterwards, whatever the reason; the library still multiplies. */
    @Test
    void aBiasApart() throws IOException, InterruptedException {
        Device device = FakeCublasLt.device("cuda-lt-apart");
        Tensor x = random(DType.FLOAT32, 1, 2, 5, 9);
        Tensor w = random(DType.FLOAT32, 2, 16, 9);
        Tensor bias = random(DType.FLOAT32, 3, 19);
        for (long from : new long[] {0, 3}) {
            for (Set<Epilogue> used : List.of(EnumSet.allOf(Epilogue.class), EnumSet.noneOf(Epilogue.class))) {
                Epilogues.use(used);
                int products = calls.getInt(4 * PRODUCTS);
                Tensor out = LinearAlgebra.linear(
                        x.to(device), w.to(device), bias.to(device).slice(0, from, from + 16));
                near("from " + from, LinearAlgebra.linear(x, w, bias.slice(0, from, from + 16)), out, 0x1p-22);
                assertEquals(1, calls.getInt(4 * PRODUCTS) - products, "products of the library");
            }
        }
        Epilogues.use(EnumSet.allOf(Epilogue.class));
        FakeGpu.forget();
    }

    /** What reports measure: one product of the library's either way. */
    @Test
    void whatAnEpilogueIsFor() throws IOException, InterruptedException {
        Device device = FakeCublasLt.device("cuda-lt-cost");
        for (Epilogue e : Epilogue.values()) {
            for (boolean used : new boolean[] {true, false}) {
                Epilogues.use(used ? EpilogueCost.used(e) : EpilogueCost.apart(e));
                try (Scope scope = Scope.open()) {
                    Runnable call = EpilogueCost.of(device, e, 10, 8, 16);
                    int products = calls.getInt(4 * PRODUCTS);
                    call.run();
                    assertEquals(1, calls.getInt(4 * PRODUCTS) - products, e + " " + used);
                }
            }
        }
        assertTrue(EpilogueCost.isAsked(device));
        assertFalse(EpilogueCost.isAsked(Device.CPU));
        assertThrows(IllegalArgumentException.class, () -> EpilogueCost.of(Device.CPU, Epilogue.BIAS, 1, 1, 1));
        Epilogues.use(EnumSet.allOf(Epilogue.class));
        FakeGpu.forget();
    }

    @Test
    void aPlanThatFailsIsTriedOnce() {
        Blas watched = FakeGpu.open("").watched(0, blas);
        Tensor b = random(DType.FLOAT32, 2, 9, 11).to(Simulator.DEVICE);
        Tensor a = random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE);
        Tensor out = TENSORS.allocate(Shape.of(5, 11), DType.FLOAT32, Simulator.DEVICE);
        int products = calls.getInt(4 * PRODUCTS);
        int asked = calls.getInt(4 * ASKED);
        int alive = calls.getInt(4 * ALIVE);
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out);
        for (int i = 0; i < 3; i++) {
            assertFalse(watched.multiply(p, false, 0));
        }
        assertEquals(1, calls.getInt(4 * PRODUCTS) - products);
        assertEquals(1, calls.getInt(4 * ASKED) - asked);
        assertEquals(alive, calls.getInt(4 * ALIVE), "nothing is kept of it");
    }

    @Test
    void theFastestOfTheAlgorithmsIfThatIsWanted() throws IOException, InterruptedException {
        Blas tuned = FakeCublasLt.blas(true);
        Tensor a = random(DType.FLOAT32, 1, 5, 9).to(Simulator.DEVICE);
        Tensor b = random(DType.FLOAT32, 2, 9, 7).to(Simulator.DEVICE);
        Tensor out = TENSORS.allocate(Shape.of(5, 7), DType.FLOAT32, Simulator.DEVICE);
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out);
        int asked = calls.getInt(4 * ASKED);
        int products = calls.getInt(4 * PRODUCTS);
        assertTrue(tuned.multiply(p, false, 1000), "captured: the library's own choice");
        assertEquals(0, calls.getInt(4 * ALGORITHM));
        assertEquals(1, calls.getInt(4 * PRODUCTS) - products, "nothing is measured");
        assertTrue(tuned.multiply(p, false, 0));
        assertEquals(3, calls.getInt(4 * ALGORITHM));
        near("measured", LinearAlgebra.matmul(a.to(Device.CPU), b.to(Device.CPU)), out, 0);
        products = calls.getInt(4 * PRODUCTS);
        assertTrue(tuned.multiply(p, false, 1000), "captured after that");
        assertEquals(3, calls.getInt(4 * ALGORITHM));
        assertEquals(1, calls.getInt(4 * PRODUCTS) - products, "measured once");
        assertEquals(1, calls.getInt(4 * ASKED) - asked);

        Tensor tall = random(DType.FLOAT32, 1, 6, 9).to(Simulator.DEVICE);
        Determinism.set(true);
        try {
            assertTrue(tuned.multiply(
                    MatrixProduct.of(
                            new LinearAlgebra.Matmul(tall, b),
                            TENSORS.allocate(Shape.of(6, 7), DType.FLOAT32, Simulator.DEVICE)),
                    false,
                    0));
            assertEquals(0, calls.getInt(4 * ALGORITHM), "the clock decides nothing");
        } finally {
            Determinism.set(false);
        }
    }
}
