// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Objects;

/** Quantiles: a sort, and for each probability the elements around its place in order, which is computed in float64. */
public final class Quantiles {
    private Quantiles() {}

    /**
     * The quantile for one probability.
     *
     * @param x floating
     * @param q from 0 to 1
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @param how what stands for a place between two elements
     * @param skipsNan whether NaNs are left out, else one makes the result NaN
     * @return in the dtype of x
     * @throws ShapeException if there is nothing along the dimension
     */
    public static Tensor quantile(
            Tensor x, double q, int dim, boolean keepDim, QuantileInterpolation how, boolean skipsNan) {
        Objects.requireNonNull(x, "x");
        String name = name(skipsNan);
        Form.requireNumber(name, "q", q, 0, 1);
        return Composition.of(
                "merapi::" + name,
                () -> along(name, x, Tensor.scalar(q).to(x.device()).detach(), dim, keepDim, how, skipsNan));
    }

    /**
     * The quantiles for several probabilities.
     *
     * @param x floating
     * @param q floats [k] from 0 to 1, or one of them, 0-d
     * @param dim the dimension, negative from the end
     * @param keepDim whether this dimension stays, with size 1
     * @param how what stands for a place between two elements
     * @param skipsNan whether NaNs are left out, else one makes the result NaN
     * @return in the dtype of x; a dimension of k stands in front
     * @throws ShapeException if there is nothing along the dimension, or q is not what it should be
     */
    public static Tensor quantile(
            Tensor x, Tensor q, int dim, boolean keepDim, QuantileInterpolation how, boolean skipsNan) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(q, "q");
        String name = name(skipsNan);
        return Composition.of("merapi::" + name, () -> {
            if (q.rank() > 1 || !q.dtype().isFloating()) {
                throw new ShapeException(Message.of(name + ": q must be one probability, or floats [k]")
                        .fact("q", q.describe())
                        .fix("q.reshape(-1), or to(DType.FLOAT64)."));
            }
            Tensor inside = q.detach().ge(0).logicalAnd(q.detach().le(1));
            if (!q.isMeta() && !inside.all().itemBoolean()) {
                throw new ShapeException(Message.of(name + ": probabilities lie in [0, 1]")
                        .fact("q", q.detach())
                        .fix("q.clamp(0, 1)."));
            }
            return along(name, x, q, dim, keepDim, how, skipsNan);
        });
    }

    private static String name(boolean skipsNan) {
        return skipsNan ? "nan_quantile" : "quantile";
    }

    private static Tensor along(
            String name, Tensor x, Tensor q, int dim, boolean keepDim, QuantileInterpolation how, boolean skipsNan) {
        Objects.requireNonNull(how, "how");
        int d = x.shape().normalize(dim);
        if (!x.dtype().isFloating()) {
            throw new DTypeException(Message.of(name + ": takes floats, but x is " + x.describe())
                    .fix("to(DType.FLOAT32)."));
        }
        Tensor rows = x.rank() == 0 ? x.reshape(1) : x.moveDim(d, -1);
        if (rows.size(-1) == 0) {
            throw new ShapeException(Message.of(name + ": there is nothing along dimension " + d)
                    .fact("x", x.describe())
                    .fix("leave the call out where a size is 0."));
        }
        Tensor chosen = chosen(rows.sort(-1).values(), q.to(DType.FLOAT64).reshape(-1), how, skipsNan); // [*, k]
        if (q.rank() == 0) {
            return x.rank() > 0 && keepDim ? chosen.moveDim(-1, d) : chosen.squeeze(-1);
        }
        Tensor front = chosen.moveDim(-1, 0);
        return x.rank() > 0 && keepDim ? front.unsqueeze(d + 1) : front;
    }

    /** Of sorted rows [*, n], where NaNs are the last. */
    private static Tensor chosen(Tensor sorted, Tensor q, QuantileInterpolation how, boolean skipsNan) {
        long n = sorted.size(-1);
        Tensor nans = sorted.detach().isNan().sum(new int[] {-1}, true).to(DType.FLOAT64);
        Tensor place = skipsNan
                ? q.mul(nans.rsub(n - 1).clampMin(0))
                : Tensor.where(nans.gt(0), nans.fullLike(n - 1), q.mul(n - 1)); // the last one is NaN
        place = switch (how) {
            case LOWER -> place.floor();
            case HIGHER -> place.ceil();
            case NEAREST -> place.round();
            default -> place;
        };
        Tensor below = place.detach().floor();
        Tensor values = at(sorted, below);
        if (how != QuantileInterpolation.LINEAR && how != QuantileInterpolation.MIDPOINT) {
            return values;
        }
        Tensor above = place.detach().ceil();
        Tensor weight = how == QuantileInterpolation.LINEAR ? place.sub(below) : below.fullLike(0.5);
        Tensor between = values.lerp(at(sorted, above), weight.to(sorted.dtype()));
        return Tensor.where(above.eq(below), values, between); // an element itself may be infinite
    }

    private static Tensor at(Tensor sorted, Tensor places) {
        long[] sizes = sorted.shape().toArray();
        sizes[sizes.length - 1] = places.size(-1);
        return sorted.gather(-1, places.to(DType.INT64).expand(sizes));
    }
}
