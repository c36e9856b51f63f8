// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.expr.NamedFunction;
import dev.merapi.op.CastPolicy;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Activation functions. Where one has a kink, the gradient there is that of the left side. */
public final class Activations {
    private Activations() {}

    /** max(x, 0); NaN stays NaN. */
    public static final PointwiseOp RELU = Pointwise.define("merapi::relu", Expr::relu);
    /** 1/(1 + e⁻ˣ), without overflow. */
    public static final PointwiseOp SIGMOID = Pointwise.define("merapi::sigmoid", Expr::sigmoid);
    /** log σ(x), without overflow; under autocast in float32. */
    public static final PointwiseOp LOG_SIGMOID =
            Pointwise.define("merapi::log_sigmoid", Expr::logSigmoid).autocast(CastPolicy.FLOAT32);
    /** x·σ(x), also called swish. */
    public static final PointwiseOp SILU = Pointwise.define("merapi::silu", Expr::silu);
    /** x·Φ(x) with the distribution function of the standard normal, by erf: PyTorch's default. */
    public static final PointwiseOp GELU = Pointwise.define("merapi::gelu", Expr::gelu);
    /** The approximation of {@link #GELU} by tanh: PyTorch's {@code approximate='tanh'}. */
    public static final PointwiseOp GELU_TANH = Pointwise.define("merapi::gelu_tanh", Expr::geluTanh);
    /** log(1 + eˣ), without overflow; under autocast in float32. */
    public static final PointwiseOp SOFTPLUS =
            Pointwise.define("merapi::softplus", Expr::softplus).autocast(CastPolicy.FLOAT32);

    /** x where it is positive, else slope·x. */
    public static final PointwiseOp LEAKY_RELU = Pointwise.define(
            "merapi::leaky_relu", (x, slope) -> x.gt(0).select(x, x.mul(slope)), Param.scalar("slope"));

    /** x where it is positive, else α·(eˣ − 1). */
    public static final PointwiseOp ELU = Pointwise.define(
            "merapi::elu", (x, alpha) -> x.gt(0).select(x, alpha.mul(x.expm1())), Param.scalar("alpha"));

    /** x·tanh(softplus x). */
    public static final PointwiseOp MISH = Pointwise.define("merapi::mish", Exprs::mish);

    /** clamp(x + 3, 0, 6) / 6; beyond ±3 and there the gradient is 0. */
    public static final PointwiseOp HARD_SIGMOID = Pointwise.define(
            "merapi::hard_sigmoid",
            x -> x.le(-3)
                    .select(
                            Expr.constant(0.0),
                            x.ge(3).select(Expr.constant(1.0), x.add(3.0).div(6.0))));

    /** x·clamp(x + 3, 0, 6) / 6; the gradient at −3 is 0, at 3 it is 1. */
    public static final PointwiseOp HARD_SWISH = Pointwise.define(
            "merapi::hard_swish",
            x -> x.le(-3)
                    .select(
                            Expr.constant(0.0),
                            x.ge(3).select(x, x.mul(x.add(3.0)).div(6.0))));

    /** 1.0507…·(x, or 1.6732…·(eˣ − 1) where x is not positive). */
    public static final PointwiseOp SELU = Pointwise.define(
            "merapi::selu",
            x -> x.gt(0)
                    .select(x, x.expm1().mul(1.6732632423543772848170429916717))
                    .mul(1.0507009873554804934193349852946));

    /** x, or α·(e^(x/α) − 1) where x is not positive. */
    public static final PointwiseOp CELU = Pointwise.define(
            "merapi::celu",
            (x, alpha) -> x.gt(0).select(x, alpha.mul(x.div(alpha).expm1())),
            Param.scalar("alpha"));

    /** As {@link #LEAKY_RELU}, with a tensor of slopes. */
    public static final PointwiseOp PRELU =
            Pointwise.define("merapi::prelu", (x, slope) -> x.gt(0).select(x, x.mul(slope)));

    /** x·σ(y), of the two halves of a gated linear unit. */
    public static final PointwiseOp GATE = Pointwise.define("merapi::gate", (x, y) -> x.mul(y.sigmoid()));

    private static final NamedFunction SOFT_SIGN = NamedFunction.define(
            "soft_sign",
            1,
            a -> a.get(0).div(a.get(0).abs().add(1)),
            (a, y, g) -> List.of(g.mul(a.get(0).abs().add(1).reciprocal().square())));

    /** x / (1 + |x|). */
    public static final PointwiseOp SOFTSIGN = Pointwise.define("merapi::softsign", x -> SOFT_SIGN.call(x));

    /** x where it is above the threshold, else the value. */
    public static final PointwiseOp THRESHOLD = Pointwise.define(
            "merapi::threshold",
            (x, threshold, value) -> x.le(threshold).select(value, x),
            Param.scalar("threshold"),
            Param.scalar("value"));

    /** x between two bounds; beyond them and there the gradient is 0. */
    public static final PointwiseOp HARDTANH = Pointwise.define(
            "merapi::hardtanh",
            (x, low, high) -> x.le(low).select(low, x.ge(high).select(high, x)),
            Param.scalar("low"),
            Param.scalar("high"));

    /** x where |x| is above λ, else 0. */
    public static final PointwiseOp HARDSHRINK = Pointwise.define(
            "merapi::hardshrink",
            (x, lambda) -> x.abs().le(lambda).select(Expr.constant(0.0), x),
            Param.scalar("lambda"));

    /** x moved by λ towards 0, and 0 within that. */
    public static final PointwiseOp SOFTSHRINK = Pointwise.define(
            "merapi::softshrink",
            (x, lambda) -> x.gt(lambda)
                    .select(
                            x.sub(lambda),
                            x.lt(lambda.neg()).select(x.add(lambda), x.isNan().select(x, Expr.constant(0.0)))),
            Param.scalar("lambda"));

    private static final NamedFunction TANH_SHRINK = NamedFunction.define(
            "tanh_shrink",
            1,
            a -> a.get(0).sub(a.get(0).tanh()),
            (a, y, g) -> List.of(g.mul(a.get(0).tanh().square())));

    /** x − tanh x. */
    public static final PointwiseOp TANHSHRINK = Pointwise.define("merapi::tanhshrink", x -> TANH_SHRINK.call(x));

    /** log(1 + e^(βx)) / β, and x where βx is above the threshold. */
    public static final PointwiseOp SOFTPLUS_SCALED = Pointwise.define(
                    "merapi::softplus_scaled",
                    (x, beta, threshold) -> {
                        Expr scaled = x.mul(beta);
                        return scaled.gt(threshold).select(x, scaled.softplus().div(beta));
                    },
                    Param.scalar("beta"),
                    Param.scalar("threshold"))
            .autocast(CastPolicy.FLOAT32);

    /**
     * {@link #PRELU} with one slope for all, or one for each channel of [N, C, ..].
     *
     * @param x floating; [N, C, ..] where there is a slope for each channel
     * @param weight the slopes: 0-d, [1] or [C]
     * @return x where it is positive, else its slope times x; the gradient of the weight is summed over what shares a
     *     slope
     * @throws ShapeException if the weight has neither one element nor C
     */
    public static Tensor prelu(Tensor x, Tensor weight) {
        Objects.requireNonNull(x, "x").requireOpen("prelu", "x");
        Objects.requireNonNull(weight, "weight").requireOpen("prelu", "weight");
        return PRELU.call(x, slopes(x, weight));
    }

    private static Tensor slopes(Tensor x, Tensor weight) {
        long channels = x.rank() == 0 ? 1 : x.size(x.rank() == 1 ? 0 : 1);
        if (weight.rank() > 1 || weight.numel() != 1 && weight.numel() != channels) {
            throw new ShapeException(
                    Message.of("prelu: weight must have one element, or one for each of " + channels + " channels")
                            .fact("x", x.describe())
                            .fact("weight", weight.describe())
                            .fix("channels are the second dimension of x [N, C, ..]."));
        }
        if (weight.numel() == 1 || x.rank() < 2) {
            return weight.reshape(weight.numel() == 1 ? new long[0] : new long[] {channels});
        }
        long[] sizes = new long[x.rank() - 1];
        Arrays.fill(sizes, 1);
        sizes[0] = channels;
        return weight.reshape(sizes);
    }

    /**
     * The gated linear unit (Dauphin and others, 2017): the first half of x along a dimension, times the sigmoid of
     * the second.
     *
     * @param x floating, of an even size along {@code dim}
     * @param dim which dimension is halved; negative ones count from the end
     * @return of the shape of x, but half as large along {@code dim}
     * @throws ShapeException if that size is odd
     */
    public static Tensor glu(Tensor x, int dim) {
        Objects.requireNonNull(x, "x");
        int d = x.layout().requireDim("glu", dim);
        if (x.size(d) % 2 != 0) {
            throw new ShapeException("glu: dimension " + dim + " has " + x.size(d)
                    + " elements, which has no halves\n  x: " + x.describe() + "\n  fix: a dimension of an even size.");
        }
        long half = x.size(d) / 2;
        return GATE.call(x.slice(d, 0, half), x.slice(d, half, 2 * half));
    }
}
