// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/** Along a dimension, of all elements up to and with each one: products, extremes, logarithms of sums of exponentials. */
public final class Scans {
    private Scans() {}

    /**
     * What all scans take.
     *
     * @param x of any dtype
     * @param dim along which they run; negative ones count from the end
     */
    public record Along(Tensor x, int dim) {}

    /**
     * Extreme values so far, and where each stands along the dimension: the last of equals, and of NaNs.
     *
     * @param values of the form of x
     * @param indices int64, of the shape of x
     */
    public record Extremes(Tensor values, Tensor indices) {}

    /** What the gradient of an extreme is made of. */
    record Chosen(Tensor indices, int dim, Shape shape) {}

    /** Products of all elements up to and with each one. Integers and bools give int64. */
    public static final Op<Along, Tensor> CUMPROD = Op.define("merapi::cumprod", Along.class, Tensor.class)
            .shape(a -> {
                a.x().shape().normalize("cumprod", a.dim());
                return Tensor.meta(a.x(), a.x().dtype().isFloating() ? a.x().dtype() : DType.INT64);
            })
            .autograd((a, out) -> a, (context, a, g) -> Grads.of("x", ofProducts(a, g)))
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** The largest so far; NaN wins. */
    public static final Op<Along, Extremes> CUMMAX = extreme("cummax");

    /** The smallest so far; NaN wins. */
    public static final Op<Along, Extremes> CUMMIN = extreme("cummin");

    /** log of the sum of eˣ so far, without overflow. Floating dtypes only. */
    public static final Op<Along, Tensor> LOG_CUM_SUM_EXP = Op.define("merapi::logcumsumexp", Along.class, Tensor.class)
            .shape(a -> {
                a.x().shape().normalize("logcumsumexp", a.dim());
                Softmax.requireFloating("logcumsumexp", a.x());
                return Tensor.meta(a.x());
            })
            .autograd((a, out) -> a, (context, a, g) -> Grads.of("x", ofLogarithms(a, g)))
            .jvp((a, out, t) -> tangent(a, t.orZeros("x")))
            .autocast(CastPolicy.FLOAT32)
            .register();

    private static Op<Along, Extremes> extreme(String name) {
        return Op.define("merapi::" + name, Along.class, Extremes.class)
                .shape(a -> {
                    a.x().shape().normalize(name, a.dim());
                    return new Extremes(Tensor.meta(a.x()), Tensor.meta(a.x().shape(), DType.INT64, a.x().device()));
                })
                .autograd(
                        (a, out) -> new Chosen(out.indices(), a.dim(), a.x().shape()),
                        (context, s, g) -> Grads.of("x", chosen(s, g.values())))
                .register();
    }

    private static @Nullable Tensor chosen(Chosen s, @Nullable Tensor g) {
        if (g == null) {
            return null;
        }
        return s.shape.rank() == 0 ? g : g.zerosLike().scatterAdd(s.dim, s.indices, g);
    }

    /** Sums from each element to the end. */
    private static Tensor rest(Tensor t, int dim) {
        return t.flip(dim).cumsum(dim).flip(dim);
    }

    /**
     * For x_i: all products from there on, without it. The first and the second zero are taken out, and multiplied back in by
     * differentiable means: exact up to second derivatives with any number of zeros.
     */
    private static Tensor ofProducts(Along a, Tensor g) {
        Tensor x = a.x();
        int d = a.dim();
        if (x.rank() == 0) {
            return g;
        }
        Tensor zero = x.eq(0);
        Tensor zeros = zero.cumsum(d);
        Tensor first = zero.logicalAnd(zeros.eq(1));
        Tensor second = zero.logicalAnd(zeros.eq(2));
        Tensor valueOfFirst = x.where(first, 0).sum(new int[] {d}, true);
        Tensor withoutFirst = x.maskedFill(first, 1);
        Tensor safe = x.maskedFill(zero, 1);
        Tensor before = rest(g.mul(cumprod(x, d)), d).div(safe);
        Tensor around = rest(g.mul(cumprod(withoutFirst, d)), d);
        Tensor behind = rest(g.mul(cumprod(withoutFirst.maskedFill(second, 1), d)), d);
        Tensor between = valueOfFirst.mul(around).div(safe).where(zeros.eq(1), 0);
        Tensor later = Tensor.where(second, valueOfFirst.mul(behind), between);
        return Tensor.where(zeros.eq(0), before, Tensor.where(first, around, later));
    }

    /** g_j·exp(x_i − y_j) over all j from i on, of gradients of either sign by their logarithms. */
    private static Tensor ofLogarithms(Along a, Tensor g) {
        if (a.x().rank() == 0) {
            return g;
        }
        // Computed again: the result may be rounded to 8 bits.
        DType wide = a.x().dtype().computeType();
        Tensor x = a.x().to(wide);
        Tensor weight = g.to(wide);
        Tensor y = logCumSumExp(x, a.dim());
        Tensor up = share(x, y, weight, a.dim());
        Tensor down = share(x, y, weight.neg(), a.dim());
        return up.sub(down).to(a.x().dtype());
    }

    private static Tensor share(Tensor x, Tensor y, Tensor weight, int dim) {
        Tensor none = weight.gt(0).logicalNot();
        Tensor terms = weight.maskedFill(none, 1).log().sub(y).maskedFill(none, Double.NEGATIVE_INFINITY);
        Tensor sums = logCumSumExp(terms.flip(dim), dim).flip(dim);
        return sums.add(x).exp();
    }

    /** The sum of t_i·exp(x_i − y_j) over all i up to j. */
    private static Tensor tangent(Along a, Tensor t) {
        DType wide = a.x().dtype().computeType();
        Tensor x = a.x().to(wide);
        Tensor weight = t.to(wide);
        Tensor y = logCumSumExp(x, a.dim());
        Tensor up = logCumSumExp(logs(weight).add(x), a.dim()).sub(y).exp();
        Tensor down = logCumSumExp(logs(weight.neg()).add(x), a.dim()).sub(y).exp();
        return up.sub(down).to(a.x().dtype());
    }

    /** Of what is positive; −∞ elsewhere. */
    private static Tensor logs(Tensor t) {
        Tensor none = t.gt(0).logicalNot();
        return t.maskedFill(none, 1).log().maskedFill(none, Double.NEGATIVE_INFINITY);
    }

    private static Tensor cumprod(Tensor x, int dim) {
        return CUMPROD.call(new Along(x, dim));
    }

    private static Tensor logCumSumExp(Tensor x, int dim) {
        return LOG_CUM_SUM_EXP.call(new Along(x, dim));
    }
}
