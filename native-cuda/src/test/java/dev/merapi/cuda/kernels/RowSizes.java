// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Norms, softmax and cross entropy over many long rows, also where rows do not begin at multiples of 16 bytes. */
abstract class RowSizes extends SizesBase {
    private interface Case {
        void check(Errors errors, DType dtype, long rows, long size);
    }

    private void forAll(Case test) {
        long rows = at(16384, 6);
        try (Errors errors = new Errors()) {
            for (DType dtype :
                    isFull() ? List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16) : List.of(DType.BFLOAT16)) {
                for (long size : isFull() ? new long[] {768, 50304, 50257} : new long[] {257}) {
                    try (Scope scope = Scope.open()) {
                        poison(errors, 4 * rows * size * dtype.byteSize() + at(64 << 20, 2 << 20));
                        test.check(errors, dtype, rows, size);
                    }
                }
            }
        }
    }

    /** So many rows at once are compared: in float64 all of them would take too much memory. */
    private long part(long rows) {
        return Math.min(rows, at(1024, 4));
    }

    private static Tensor rowSum(Tensor t) {
        return t.sum(new int[] {1}, true);
    }

    private static Tensor rowMean(Tensor t) {
        return t.mean(new int[] {1}, true);
    }

    @Test
    void layerNorm() {
        forAll((errors, dtype, rows, size) -> norm(errors, dtype, rows, size, true));
    }

    @Test
    void rmsNorm() {
        forAll((errors, dtype, rows, size) -> norm(errors, dtype, rows, size, false));
    }

    /**
     * x̂ = (x − μ)·r, y = x̂·w + b; with ĝ = g·w, dx = r·(ĝ − mean(ĝ) − x̂·mean(ĝ·x̂)). μ is off by t = chain of mean|x|, r by
     * the t that its sum of squares is, so x̂ by e = t·(|x̂| + r·mean|x|) and a few roundings; each mean of the gradient by t
     * of its terms' sizes and by what x̂ is off. Without μ the same, less its terms.
     */
    private void norm(Errors errors, DType dtype, long rows, long size, boolean centred) {
        String name = centred ? "layer_norm" : "rms_norm";
        String what = rows + "x" + size;
        double eps = 1e-5;
        double t = chain(size);
        double u = unit(dtype);
        Tensor x = random(dtype, rows, size).requiresGrad(true);
        Tensor w = random(dtype, size).mul(0.1).add(1).detach().requiresGrad(true);
        Tensor b = random(dtype, size).requiresGrad(true);
        Tensor g = random(dtype, rows, size);
        Tensor y = centred
                ? Normalization.layerNorm(x, new long[] {size}, w, b, eps)
                : Normalization.rmsNorm(x, new long[] {size}, w, eps);
        List<Tensor> grads = Autograd.grad(
                List.of(y), centred ? List.of(x, w, b) : List.of(x, w), List.of(g), Autograd.Graph.FREE, false);
        Tensor w64 = wide(w);
        Tensor dw = zeros(DType.FLOAT64, size);
        Tensor dwBound = zeros(DType.FLOAT64, size);
        Tensor db = zeros(DType.FLOAT64, size);
        Tensor dbSize = zeros(DType.FLOAT64, size);
        for (long at = 0; at < rows; at += part(rows)) {
            long count = Math.min(part(rows), rows - at);
            try (Scope scope = Scope.open()) {
                Tensor x64 = wide(x.detach().narrow(0, at, count));
                Tensor g64 = wide(g.narrow(0, at, count));
                Tensor off = centred ? x64.sub(rowMean(x64)) : x64;
                Tensor r = rowMean(off.square()).add(eps).rsqrt();
                Tensor xh = off.mul(r);
                Tensor e = xh.abs().mul(t);
                if (centred) {
                    e = e.add(rowMean(x64.abs()).mul(r).mul(t));
                }
                Tensor out = centred ? xh.mul(w64).add(wide(b)) : xh.mul(w64);
                Tensor sizes = xh.mul(w64).abs();
                sizes = centred ? sizes.add(wide(b).abs()) : sizes;
                errors.check(
                        name,
                        dtype.shortName(),
                        what,
                        out,
                        e.mul(w64.abs())
                                .add(sizes.mul(4 * HALF))
                                .add(out.abs().mul(u))
                                .add(floor(dtype)),
                        y.detach().narrow(0, at, count));

                Tensor gh = g64.mul(w64);
                Tensor second = rowMean(gh.mul(xh));
                Tensor dx = gh.sub(xh.mul(second));
                Tensor dxOff = xh.abs()
                        .mul(rowMean(gh.mul(xh).abs())
                                .mul(t)
                                .add(rowMean(gh.abs().mul(e))))
                        .add(e.mul(second.abs()))
                        .add(gh.abs().add(xh.mul(second).abs()).mul(t + 8 * HALF));
                if (centred) {
                    dx = dx.sub(rowMean(gh));
                    dxOff = dxOff.add(rowMean(gh.abs()).mul(2 * t));
                }
                dx = dx.mul(r);
                errors.check(
                        name + "_gradient",
                        dtype.shortName(),
                        what,
                        dx,
                        dxOff.mul(r).add(dx.abs().mul(u)).add(floor(dtype)),
                        grads.get(0).narrow(0, at, count));
                Tensor terms = g64.mul(xh);
                dw.add_(terms.sum(0));
                dwBound.add_(terms.abs()
                        .mul(anyOrder(rows) + 4 * HALF)
                        .add(g64.abs().mul(e))
                        .sum(0));
                db.add_(g64.sum(0));
                dbSize.add_(g64.abs().sum(0));
            }
        }
        errors.check(
                name + "_weight_gradient",
                dtype.shortName(),
                what,
                dw,
                dwBound.add(dw.abs().mul(u)).add(floor(dtype)),
                grads.get(1));
        if (centred) {
            errors.check(
                    name + "_bias_gradient",
                    dtype.shortName(),
                    what,
                    db,
                    dbSize.mul(anyOrder(rows)).add(db.abs().mul(u)).add(floor(dtype)),
                    grads.get(2));
        }
    }

    /** An exponential is off by twice 2⁻²⁴ of its argument, at most 16 here, and 2 units; its sum by the chain. */
    private static double weightsOff(long size) {
        return chain(size) + 64 * HALF;
    }

    /** The gradient is of the weights that the forward gave, rounded as they are. */
    @Test
    void softmax() {
        forAll((errors, dtype, rows, size) -> {
            String what = rows + "x" + size;
            double off = weightsOff(size);
            double u = unit(dtype);
            Tensor x = random(dtype, rows, size).requiresGrad(true);
            Tensor g = random(dtype, rows, size);
            Tensor y = x.softmax(1);
            Tensor dx = Autograd.grad(List.of(y), List.of(x), List.of(g), Autograd.Graph.FREE, false)
                    .get(0);
            for (long at = 0; at < rows; at += part(rows)) {
                long count = Math.min(part(rows), rows - at);
                try (Scope scope = Scope.open()) {
                    Tensor given = y.detach().narrow(0, at, count);
                    Tensor e = wide(x.detach().narrow(0, at, count)).exp();
                    Tensor p = e.div(rowSum(e));
                    errors.check(
                            "softmax",
                            dtype.shortName(),
                            what,
                            p,
                            p.mul(off + u).add(floor(dtype)),
                            given);
                    Tensor y64 = wide(given);
                    Tensor g64 = wide(g.narrow(0, at, count));
                    Tensor expected = y64.mul(g64.sub(rowSum(y64.mul(g64))));
                    Tensor sizes = y64.mul(g64.abs().add(rowSum(y64.mul(g64.abs()))));
                    errors.check(
                            "softmax_gradient",
                            dtype.shortName(),
                            what,
                            expected,
                            sizes.mul(chain(size) + 4 * HALF)
                                    .add(expected.abs().mul(u))
                                    .add(floor(dtype)),
                            dx.narrow(0, at, count));
                }
            }
        });
    }

    /** Some targets are the first and the last class, and every seventh row counts for nothing. */
    @Test
    void crossEntropy() {
        forAll((errors, dtype, rows, size) -> {
            String what = rows + "x" + size;
            double off = weightsOff(size);
            Tensor x = random(dtype, rows, size).requiresGrad(true);
            Tensor numbers = Tensor.arange(0, rows, 1, DType.INT64, device());
            Tensor ignored = numbers.remainder(7).eq(3);
            Tensor targets = Tensor.randint(0, size, Shape.of(rows), DType.INT64, device());
            targets = Tensor.where(numbers.remainder(7).eq(1), targets.zerosLike(), targets);
            targets =
                    Tensor.where(numbers.remainder(7).eq(2), targets.zerosLike().add(size - 1), targets);
            Tensor classes = targets;
            Tensor marked = Tensor.where(ignored, targets.zerosLike().add(-100), targets);
            Tensor loss = Losses.crossEntropy(x, marked, null, -100, 0, Losses.Reduction.NONE);
            Tensor total = Losses.crossEntropy(x, marked, null, -100, 0, Losses.Reduction.SUM);
            Tensor dx = Autograd.grad(total, List.of(x)).get(0);
            for (long at = 0; at < rows; at += part(rows)) {
                long count = Math.min(part(rows), rows - at);
                try (Scope scope = Scope.open()) {
                    Tensor x64 = wide(x.detach().narrow(0, at, count));
                    Tensor counts = ignored.narrow(0, at, count).logicalNot().to(DType.FLOAT64);
                    Tensor index = classes.narrow(0, at, count).unsqueeze(1);
                    Tensor lse = rowSum(x64.exp()).log();
                    Tensor own = x64.gather(1, index);
                    Tensor expected = lse.sub(own).reshape(-1).mul(counts);
                    errors.check(
                            "cross_entropy",
                            dtype.shortName(),
                            what,
                            expected,
                            lse.abs()
                                    .add(own.abs())
                                    .mul(4 * HALF)
                                    .add(off)
                                    .reshape(-1)
                                    .mul(counts)
                                    .add(expected.abs().mul(unit(loss.dtype())))
                                    .add(floor(dtype)),
                            loss.detach().narrow(0, at, count));
                    Tensor p = x64.sub(lse).exp();
                    Tensor hit = x64.zerosLike().scatterAdd(1, index, own.onesLike());
                    Tensor gradient = p.sub(hit).mul(counts.unsqueeze(1));
                    errors.check(
                            "cross_entropy_gradient",
                            dtype.shortName(),
                            what,
                            gradient,
                            p.add(hit)
                                    .mul(2 * off)
                                    .add(gradient.abs().mul(unit(dtype)))
                                    .add(floor(dtype))
                                    .mul(counts.unsqueeze(1)),
                            dx.narrow(0, at, count));
                }
            }
        });
    }
}
