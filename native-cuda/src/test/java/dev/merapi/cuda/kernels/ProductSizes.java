// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.runtime.Blas;
import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Attention, products of matrices by our own tiles and by a library, and what a library does to a product on the way. */
abstract class ProductSizes extends RowSizes {
    /** What the hardware's tanh is off by: 2⁻¹⁰·⁹⁸⁷ (CUDA's guide), and float32's arithmetic around it. */
    private static final double TANH = 0x1.1p-11;
    /** No slope of the GELU is steeper. */
    private static final double STEEPEST = 1.13;

    // ---------------------------------------------------------------- attention

    @Test
    void attention() {
        try (Errors errors = new Errors()) {
            for (DType dtype :
                    isFull() ? List.of(DType.BFLOAT16, DType.FLOAT16, DType.FLOAT32) : List.of(DType.BFLOAT16)) {
                for (long length : isFull() ? new long[] {1024, 1000} : new long[] {70, 33}) {
                    for (long width : isFull() ? new long[] {64, 128} : new long[] {64}) {
                        for (boolean causal : new boolean[] {true, false}) {
                            if (isFull() || causal == (length == 70)) {
                                try (Scope scope = Scope.open()) {
                                    attention(errors, dtype, length, width, causal);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /** [B, H, T, D] as heads of [B, T, H·D] lie. */
    private Tensor heads(DType dtype, long length, long width) {
        return random(dtype, at(2, 1), length, at(4, 1), width).transpose(1, 2);
    }

    /**
     * out = p·v with p = softmax(q·kᵀ·scale). A weight is off by {@code e}: of its score, a float32 sum and an exponential,
     * and by one rounding to the dtype before it is multiplied. ds = p ⊙ (g·vᵀ − δ) with δ = Σ g ⊙ out, of the rounded out.
     */
    private void attention(Errors errors, DType dtype, long length, long width, boolean causal) {
        String what = "T=" + length + " D=" + width + (causal ? " causal" : "");
        poison(errors, 16 * at(8, 1) * length * width * dtype.byteSize() + (2 << 20));
        double scale = 1 / Math.sqrt(width);
        double u = unit(dtype);
        double floor = floor(dtype);
        double e = u + 0x1p-14 + 2 * length * HALF;
        Tensor q = heads(dtype, length, width).requiresGrad(true);
        Tensor k = heads(dtype, length, width).requiresGrad(true);
        Tensor v = heads(dtype, length, width).requiresGrad(true);
        Tensor g = heads(dtype, length, width);
        Tensor out = Attention.attention(q, k, v, causal);
        List<Tensor> grads = Autograd.grad(List.of(out), List.of(q, k, v), List.of(g), Autograd.Graph.FREE, false);

        Tensor q64 = wide(q);
        Tensor k64 = wide(k);
        Tensor v64 = wide(v);
        Tensor g64 = wide(g);
        Tensor scores = q64.matmul(k64.transpose(2, 3)).mul(scale);
        if (causal) {
            Tensor seen = zeros(DType.FLOAT64, length, length).add(1).tril();
            scores = scores.add(seen.sub(1).mul(1e30));
        }
        Tensor p = scores.softmax(-1);
        Tensor expected = p.matmul(v64);
        Tensor outOff = p.matmul(v64.abs())
                .mul(e)
                .add(expected.abs().mul(u))
                .add(v64.abs().sum(new int[] {2}, true).mul(floor));
        errors.check("attention", dtype.shortName(), what, expected, outOff, out.detach());

        Tensor pt = p.transpose(2, 3);
        Tensor dv = pt.matmul(g64);
        Tensor gSizes = g64.abs().sum(new int[] {2}, true);
        errors.check(
                "attention_gradient_v",
                dtype.shortName(),
                what,
                dv,
                pt.matmul(g64.abs()).mul(e).add(dv.abs().mul(u)).add(gSizes.mul(floor)),
                grads.get(2));

        int[] last = {3};
        Tensor slopes = g64.matmul(v64.transpose(2, 3));
        Tensor delta = g64.mul(expected).sum(last, true);
        Tensor deltaOff = g64.abs()
                .mul(outOff)
                .sum(last, true)
                .add(g64.mul(expected).abs().sum(last, true).mul(width * HALF));
        Tensor ds = p.mul(slopes.sub(delta));
        Tensor slopesOff = g64.abs().matmul(v64.transpose(2, 3).abs()).mul(width * HALF);
        Tensor dsOff = ds.abs().mul(e).add(p.mul(slopesOff.add(deltaOff))).add(floor);
        Tensor dq = ds.matmul(k64).mul(scale);
        errors.check(
                "attention_gradient_q",
                dtype.shortName(),
                what,
                dq,
                dsOff.matmul(k64.abs()).mul(scale).add(dq.abs().mul(u)).add(floor),
                grads.get(0));
        Tensor dk = ds.transpose(2, 3).matmul(q64).mul(scale);
        errors.check(
                "attention_gradient_k",
                dtype.shortName(),
                what,
                dk,
                dsOff.transpose(2, 3)
                        .matmul(q64.abs())
                        .mul(scale)
                        .add(dk.abs().mul(u))
                        .add(floor),
                grads.get(1));
    }

    // ---------------------------------------------------------------- products

    /** Our own tiles, whatever multiplies otherwise, and the library. */
    @Test
    void products() {
        long[][] sizes = isFull()
                ? new long[][] {{4096, 4096, 4096}, {4093, 1021, 2047}, {257, 129, 16411}, {8192, 8, 1000}}
                : new long[][] {{65, 67, 71}, {20, 24, 2600}};
        try (Errors errors = new Errors()) {
            for (DType dtype : isFull()
                    ? List.of(DType.BFLOAT16, DType.FLOAT16, DType.FLOAT32)
                    : List.of(DType.BFLOAT16, DType.FLOAT32)) {
                for (long[] mnk : sizes) {
                    for (boolean transposed : new boolean[] {false, true}) {
                        if (isFull() || transposed == (mnk[0] == 65)) {
                            try (Scope scope = Scope.open()) {
                                product(errors, dtype, mnk[0], mnk[1], mnk[2], transposed);
                            }
                        }
                    }
                }
            }
        }
    }

    /** A float32 sum of k products in any order; what tensor cores chop off is less, since each of their sums is of eight or more. */
    private void product(Errors errors, DType dtype, long m, long n, long k, boolean transposed) {
        String what = m + "x" + n + "x" + k + (transposed ? " transposed" : "");
        Tensor a = transposed ? random(dtype, k, m).t() : random(dtype, m, k);
        Tensor b = transposed ? random(dtype, n, k).t() : random(dtype, k, n);
        Tensor expected = wide(a).matmul(wide(b));
        Tensor sizes = wide(a).abs().matmul(wide(b).abs());
        Tensor rounding = expected.abs().mul(unit(dtype)).add(floor(dtype));
        Blas library = blas();
        for (boolean tf32 : dtype == DType.FLOAT32 ? new boolean[] {false, true} : new boolean[] {false}) {
            String label = tf32 ? "tf32" : dtype.shortName();
            for (boolean own : new boolean[] {true, false}) {
                String family = own ? "product_own" : "product_library";
                poison(errors, m * n * dtype.byteSize() + (2 << 20));
                Tensor out = TENSORS.allocate(Shape.of(m, n), dtype, device());
                MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out);
                if (own && Gemm.serves(p, kernels().runtime().properties(0))) {
                    Gemm.run(kernels(), p, tf32);
                } else if (own || library == null || !library.multiply(p, tf32, 0)) {
                    errors.absent(family, label, "not served: " + what);
                    continue;
                }
                // To nearest by our own kernels; the hardware alone would leave the last bits away.
                double operands = !tf32 ? 0 : own ? 0x1.01p-10 : 0x1.01p-9;
                errors.check(
                        family,
                        label,
                        what,
                        expected,
                        sizes.mul(k * HALF + operands).add(rounding),
                        out);
            }
        }
    }

    // ---------------------------------------------------------------- epilogues

    @Test
    void epilogues() {
        Blas library = blas();
        assumeTrue(library != null, "skipped: there is no cuBLASLt, or it is not wanted");
        Set<Epilogue> before = Epilogues.use(EnumSet.allOf(Epilogue.class));
        try (Errors errors = new Errors()) {
            for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16, DType.FLOAT32)) {
                try (Scope scope = Scope.open()) {
                    epilogues(errors, java.util.Objects.requireNonNull(library), dtype);
                }
            }
        } finally {
            Epilogues.use(before);
        }
    }

    private void epilogues(Errors errors, Blas library, DType dtype) {
        long m = at(16384, 40);
        long k = at(768, 24);
        long n = at(3072, 16);
        String what = m + "x" + k + "x" + n;
        String label = dtype.shortName();
        double u = unit(dtype);
        double floor = floor(dtype);
        Tensor x = random(dtype, m, k);
        Tensor w = random(dtype, n, k).mul(0.05).detach();
        Tensor bias = random(dtype, n);
        poison(errors, 5 * m * n * dtype.byteSize() + (2 << 20));

        Tensor out = TENSORS.allocate(Shape.of(m, n), dtype, device());
        Tensor z = wide(x).matmul(wide(w).t()).add(wide(bias));
        Tensor zOff =
                wide(x).abs().matmul(wide(w).abs().t()).add(wide(bias).abs()).mul((k + 1) * HALF);
        LinearAlgebra.Linear linear = new LinearAlgebra.Linear(x, w, bias);
        if (served(errors, library, MatrixProduct.of(linear, out), "epilogue_bias", label)) {
            errors.check(
                    "epilogue_bias", label, what, z, zOff.add(z.abs().mul(u)).add(floor), out);
        }
        // The GELU may be taken of what is kept, which is rounded, or of what was there before.
        Tensor inner = TENSORS.allocate(Shape.of(m, n), dtype, device());
        Tensor active = TENSORS.allocate(Shape.of(m, n), dtype, device());
        if (served(errors, library, FusedFeedForward.activated(linear, inner, active), "epilogue_gelu", label)) {
            Tensor innerOff = zOff.add(z.abs().mul(u)).add(floor);
            errors.check("epilogue_gelu_inner", label, what, z, innerOff, inner);
            Tensor gelu = z.geluTanh();
            errors.check(
                    "epilogue_gelu",
                    label,
                    what,
                    gelu,
                    innerOff.mul(STEEPEST)
                            .add(z.abs().mul(TANH / 2))
                            .add(gelu.abs().mul(u))
                            .add(floor),
                    active);
        }

        Tensor g = random(dtype, m, k);
        Tensor down = random(dtype, k, n).mul(0.05).detach();
        Tensor at = random(dtype, m, n);
        Tensor product = wide(g).matmul(wide(down));
        Tensor at64 = wide(at);
        // gelu' = ½(1 + t) + ½·x·(1 − t²)·s, with s the slope of what tanh is taken of.
        Tensor slope = at64.square().mul(0.134145).add(1).mul(0.797885);
        Tensor tanh = at64.mul(at64.square().mul(0.044715).add(1))
                .mul(Math.sqrt(2 / Math.PI))
                .tanh();
        Tensor derivative = tanh.add(1)
                .mul(0.5)
                .add(at64.mul(tanh.square().neg().add(1)).mul(slope).mul(0.5));
        Tensor derivativeOff =
                at64.abs().mul(slope).add(0.5).mul(TANH).add(at64.abs().add(1).mul(1e-5));
        Tensor expected = product.mul(derivative);
        Tensor off = wide(g).abs()
                .matmul(wide(down).abs())
                .mul(k * HALF * STEEPEST)
                .add(product.abs().mul(derivativeOff))
                .add(expected.abs().mul(u))
                .add(floor);
        for (boolean summed : new boolean[] {false, true}) {
            String family = summed ? "epilogue_dgelu_bgrad" : "epilogue_dgelu";
            Tensor sums = summed ? TENSORS.allocate(Shape.of(n), dtype, device()) : null;
            Tensor made = TENSORS.allocate(Shape.of(m, n), dtype, device());
            if (served(errors, library, FusedFeedForward.beforeActivation(g, down, at, sums, made), family, label)) {
                errors.check(family, label, what, expected, off, made);
                if (sums != null) {
                    sums(errors, family + "_sums", label, expected, off.sum(0), sums, u);
                }
            }
        }

        Tensor wide = random(dtype, m, n);
        Tensor sums = TENSORS.allocate(Shape.of(n), dtype, device());
        Tensor weight = TENSORS.allocate(Shape.of(n, k), dtype, device());
        MatrixProduct gradients = LinearGradients.product(
                new LinearGradients.Args(wide, x), new LinearGradients.Parameters(weight, sums));
        if (served(errors, library, gradients, "epilogue_bgrad", label)) {
            Tensor g64 = wide(wide);
            Tensor dw = g64.t().matmul(wide(x));
            Tensor dwOff = g64.abs().t().matmul(wide(x).abs()).mul(m * HALF);
            errors.check(
                    "epilogue_bgrad",
                    label,
                    what,
                    dw,
                    dwOff.add(dw.abs().mul(u)).add(floor),
                    weight);
            sums(
                    errors,
                    "epilogue_bgrad_sums",
                    label,
                    g64,
                    sums.to(DType.FLOAT64).zerosLike(),
                    sums,
                    u);
        }
    }

    /** Of columns, whose terms are off by so much in all. */
    private static void sums(
            Errors errors, String family, String label, Tensor terms, Tensor termsOff, Tensor actual, double u) {
        Tensor expected = terms.sum(0);
        Tensor bound = terms.abs()
                .sum(0)
                .mul(anyOrder(terms.size(0)))
                .add(termsOff)
                .add(expected.abs().mul(u))
                .add(1e-37);
        errors.check(family, label, terms.shape().toString(), expected, bound, actual);
    }

    private static boolean served(Errors errors, Blas library, MatrixProduct p, String family, String label) {
        boolean served = library.multiply(p, false, 0);
        if (!served) {
            errors.absent(family, label, "not served");
        }
        return served;
    }

    /** Of a device, or the test's own. */
    @Override
    abstract @Nullable Blas blas();
}
