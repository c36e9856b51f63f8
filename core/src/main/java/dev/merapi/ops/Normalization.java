// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Normalisation over trailing dimensions, all of one floating dtype; sums accumulate in at least float32. See Note
 * [Backward ops] in {@link Softmax}.
 */
public final class Normalization {
    private Normalization() {}

    // ---------------------------------------------------------------- layer norm

    /**
     * What {@link #LAYER_NORM} takes.
     *
     * @param x [.., N]
     * @param weight [N], or absent for ones
     * @param bias [N], or absent for zeros
     * @param dims how many trailing dimensions N stands for
     * @param eps added to the variance
     */
    public record LayerNorm(
            Tensor x, @Nullable Tensor weight, @Nullable Tensor bias, int dims, double eps) {}

    /**
     * What {@link #LAYER_NORM} gives; all but y is internal.
     *
     * @param y of the shape of x
     * @param mean of each row, in the compute dtype
     * @param rstd 1/√(variance + eps) of each row, in the compute dtype
     */
    public record LayerNormResult(Tensor y, Tensor mean, Tensor rstd) {}

    /**
     * What {@link #LAYER_NORM_BACKWARD} takes.
     *
     * @param grad the gradient of y
     * @param x as in {@link LayerNorm}
     * @param weight as in {@link LayerNorm}
     * @param mean as in {@link LayerNormResult}
     * @param rstd as in {@link LayerNormResult}
     * @param dims as in {@link LayerNorm}
     * @param eps as in {@link LayerNorm}
     * @param wantX whether the gradient of x is one of the result
     * @param wantWeight whether that of the weight is
     * @param wantBias whether that of the bias is
     */
    public record LayerNormBackward(
            Tensor grad,
            Tensor x,
            @Nullable Tensor weight,
            Tensor mean,
            Tensor rstd,
            int dims,
            double eps,
            boolean wantX,
            boolean wantWeight,
            boolean wantBias) {}

    /** The gradients of x, weight and bias that are wanted, in this order. */
    public static final Op<LayerNormBackward, List<Tensor>> LAYER_NORM_BACKWARD = Op.define(
                    "merapi::layer_norm_backward", LayerNormBackward.class, Result.tensors())
            .shape(a -> {
                String op = "layer_norm_backward";
                Form.requireNotNegative(op, "eps", a.eps());
                check(op, a.x(), a.dims(), a.weight(), "weight");
                Form.requireLike(op, "grad", a.grad(), a.x());
                Form.requireLike(op, "mean", a.mean(), perRow(a.x(), a.dims()));
                Form.requireLike(op, "rstd", a.rstd(), perRow(a.x(), a.dims()));
                return wanted(a.x(), a.dims(), a.wantX(), a.wantWeight(), a.wantBias());
            })
            .compose(a -> {
                int[] inner = trailing(a.dims());
                Tensor centred = a.x().sub(a.x().mean(inner, true));
                Tensor rstd = centred.square().mean(inner, true).add(a.eps()).rsqrt();
                Tensor normal = centred.mul(rstd);
                Tensor weighted = a.weight() == null ? a.grad() : a.grad().mul(a.weight());
                List<Tensor> grads = new ArrayList<>();
                if (a.wantX()) {
                    Tensor along = normal.mul(weighted.mul(normal).mean(inner, true));
                    grads.add(rstd.mul(weighted.sub(weighted.mean(inner, true)).sub(along)));
                }
                Shape parameter = parameter(a.x(), a.dims());
                if (a.wantWeight()) {
                    grads.add(a.grad().mul(normal).sumTo(parameter));
                }
                if (a.wantBias()) {
                    grads.add(a.grad().sumTo(parameter));
                }
                return grads;
            })
            .register();

    /** (x − mean) / √(variance + eps) · weight + bias, with the biased variance. */
    public static final Op<LayerNorm, LayerNormResult> LAYER_NORM = Op.define(
                    "merapi::layer_norm", LayerNorm.class, LayerNormResult.class)
            .internal("mean", "rstd")
            .shape(a -> {
                Form.requireNotNegative("layerNorm", "eps", a.eps());
                check("layerNorm", a.x(), a.dims(), a.weight(), "weight");
                check("layerNorm", a.x(), a.dims(), a.bias(), "bias");
                return new LayerNormResult(Tensor.meta(a.x()), perRow(a.x(), a.dims()), perRow(a.x(), a.dims()));
            })
            .autograd(
                    (a, out) -> new SavedLayerNorm(
                            a.x(), a.weight(), out.mean(), out.rstd(), a.dims(), a.eps(), a.bias() != null),
                    Normalization::backward)
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** What the gradients of {@link #LAYER_NORM} are made of. */
    record SavedLayerNorm(
            Tensor x, @Nullable Tensor weight, Tensor mean, Tensor rstd, int dims, double eps, boolean hasBias) {}

    private static Grads backward(BackwardContext context, SavedLayerNorm s, LayerNormResult g) {
        boolean wantX = context.needs("x");
        boolean wantWeight = s.weight != null && context.needs("weight");
        boolean wantBias = s.hasBias && context.needs("bias");
        List<Tensor> made = LAYER_NORM_BACKWARD.call(new LayerNormBackward(
                g.y(), s.x, s.weight, s.mean, s.rstd, s.dims, s.eps, wantX, wantWeight, wantBias));
        int k = 0;
        return Grads.of("x", wantX ? made.get(k++) : null)
                .and("weight", wantWeight ? made.get(k++) : null)
                .and("bias", wantBias ? made.get(k) : null);
    }

    // ---------------------------------------------------------------- RMS norm

    /**
     * What {@link #RMS_NORM} takes.
     *
     * @param x [.., N]
     * @param weight [N], or absent for ones
     * @param dims how many trailing dimensions N stands for
     * @param eps added to the mean of squares
     */
    public record RmsNorm(Tensor x, @Nullable Tensor weight, int dims, double eps) {}

    /**
     * What {@link #RMS_NORM} gives; all but y is internal.
     *
     * @param y of the shape of x
     * @param rstd 1/√(mean of x² + eps) of each row, in the compute dtype
     */
    public record RmsNormResult(Tensor y, Tensor rstd) {}

    /**
     * What {@link #RMS_NORM_BACKWARD} takes.
     *
     * @param grad the gradient of y
     * @param x as in {@link RmsNorm}
     * @param weight as in {@link RmsNorm}
     * @param rstd as in {@link RmsNormResult}
     * @param dims as in {@link RmsNorm}
     * @param eps as in {@link RmsNorm}
     * @param wantX whether the gradient of x is one of the result
     * @param wantWeight whether that of the weight is
     */
    public record RmsNormBackward(
            Tensor grad,
            Tensor x,
            @Nullable Tensor weight,
            Tensor rstd,
            int dims,
            double eps,
            boolean wantX,
            boolean wantWeight) {}

    /** The gradients of x and weight that are wanted, in this order. */
    public static final Op<RmsNormBackward, List<Tensor>> RMS_NORM_BACKWARD = Op.define(
                    "merapi::rms_norm_backward", RmsNormBackward.class, Result.tensors())
            .shape(a -> {
                String op = "rms_norm_backward";
                Form.requireNotNegative(op, "eps", a.eps());
                check(op, a.x(), a.dims(), a.weight(), "weight");
                Form.requireLike(op, "grad", a.grad(), a.x());
                Form.requireLike(op, "rstd", a.rstd(), perRow(a.x(), a.dims()));
                return wanted(a.x(), a.dims(), a.wantX(), a.wantWeight(), false);
            })
            .compose(a -> {
                int[] inner = trailing(a.dims());
                Tensor rstd = a.x().square().mean(inner, true).add(a.eps()).rsqrt();
                Tensor normal = a.x().mul(rstd);
                List<Tensor> grads = new ArrayList<>();
                if (a.wantX()) {
                    Tensor weighted = a.weight() == null ? a.grad() : a.grad().mul(a.weight());
                    Tensor along = normal.mul(weighted.mul(normal).mean(inner, true));
                    grads.add(rstd.mul(weighted.sub(along)));
                }
                if (a.wantWeight()) {
                    grads.add(a.grad().mul(normal).sumTo(parameter(a.x(), a.dims())));
                }
                return grads;
            })
            .register();

    /** x / √(mean of x² + eps) · weight. */
    public static final Op<RmsNorm, RmsNormResult> RMS_NORM = Op.define(
                    "merapi::rms_norm", RmsNorm.class, RmsNormResult.class)
            .internal("rstd")
            .shape(a -> {
                Form.requireNotNegative("rmsNorm", "eps", a.eps());
                check("rmsNorm", a.x(), a.dims(), a.weight(), "weight");
                return new RmsNormResult(Tensor.meta(a.x()), perRow(a.x(), a.dims()));
            })
            .autograd(
                    (a, out) -> new SavedRmsNorm(a.x(), a.weight(), out.rstd(), a.dims(), a.eps()), (context, s, g) -> {
                        boolean wantX = context.needs("x");
                        boolean wantWeight = s.weight != null && context.needs("weight");
                        List<Tensor> made = RMS_NORM_BACKWARD.call(
                                new RmsNormBackward(g.y(), s.x, s.weight, s.rstd, s.dims, s.eps, wantX, wantWeight));
                        return Grads.of("x", wantX ? made.get(0) : null)
                                .and("weight", wantWeight ? made.get(wantX ? 1 : 0) : null);
                    })
            .autocast(CastPolicy.FLOAT32)
            .register();

    /** What the gradients of {@link #RMS_NORM} are made of. */
    record SavedRmsNorm(Tensor x, @Nullable Tensor weight, Tensor rstd, int dims, double eps) {}

    // ---------------------------------------------------------------- shapes

    /**
     * How many elements are normalised together.
     *
     * @param x [.., N]
     * @param dims how many trailing dimensions N stands for
     * @return the product of their sizes
     */
    public static long rowLength(Tensor x, int dims) {
        return parameter(x, dims).numel();
    }

    private static Shape parameter(Tensor x, int dims) {
        long[] sizes = x.shape().toArray();
        return Shape.of(Arrays.copyOfRange(sizes, sizes.length - dims, sizes.length));
    }

    private static int[] trailing(int dims) {
        int[] result = new int[dims];
        for (int i = 0; i < dims; i++) {
            result[i] = i - dims;
        }
        return result;
    }

    private static Tensor perRow(Tensor x, int dims) {
        Shape rows = Shape.of(Arrays.copyOf(x.shape().toArray(), x.rank() - dims));
        return Tensor.meta(rows, x.dtype() == DType.FLOAT64 ? DType.FLOAT64 : DType.FLOAT32, x.device());
    }

    private static List<Tensor> wanted(Tensor x, int dims, boolean wantX, boolean wantWeight, boolean wantBias) {
        List<Tensor> result = new ArrayList<>();
        if (wantX) {
            result.add(Tensor.meta(x));
        }
        if (wantWeight) {
            result.add(Tensor.meta(x, parameter(x, dims)));
        }
        if (wantBias) {
            result.add(Tensor.meta(x, parameter(x, dims)));
        }
        return result;
    }

    private static void check(String op, Tensor x, int dims, @Nullable Tensor parameter, String name) {
        Softmax.requireFloating(op, x);
        if (dims < 1 || dims > x.rank()) {
            throw new ShapeException(
                    op + ": cannot normalise over the last " + dims + " dimensions of " + x.describe());
        }
        if (parameter == null) {
            return;
        }
        LinearAlgebra.requireSame(op, x, "x", parameter, name);
        if (!parameter.shape().equals(parameter(x, dims))) {
            throw new ShapeException(Message.of(op + ": " + name + " has shape " + parameter.shape() + ", but the last "
                            + dims + " dimensions of x are " + parameter(x, dims))
                    .fact("x", x.describe())
                    .fact(name, parameter.describe())
                    .fix("give " + name + " the shape " + parameter(x, dims) + "."));
        }
    }

    // ---------------------------------------------------------------- for people

    /**
     * Layer normalisation over the last dimensions: (x − mean) / √(variance + eps) · weight + bias, biased variance.
     *
     * @param x [.., shape], floating
     * @param shape sizes of the dimensions to normalise over, the last of x
     * @param weight of these sizes, or null for ones
     * @param bias of these sizes, or null for zeros
     * @param eps added to the variance, not negative
     * @return of the shape and dtype of x
     * @throws ShapeException if the trailing dimensions of x are not {@code shape}
     * @throws dev.merapi.error.DTypeException if x is not floating, or weight or bias have another dtype
     * @throws dev.merapi.error.SchemaException if eps is negative or not finite
     * @see <a href="https://arxiv.org/abs/1607.06450">Ba, Kiros, Hinton 2016, section 3</a>
     */
    public static Tensor layerNorm(Tensor x, long[] shape, @Nullable Tensor weight, @Nullable Tensor bias, double eps) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(shape, "shape");
        requireTrailing("layerNorm", x, shape);
        return LAYER_NORM
                .call(new LayerNorm(x, weight, bias, shape.length, eps))
                .y();
    }

    /**
     * x / √(mean of x² + eps) · weight over the last dimensions.
     *
     * @param x [.., shape], floating
     * @param shape sizes of the dimensions to normalise over, the last of x
     * @param weight of these sizes, or null for ones
     * @param eps added to the mean of squares, not negative
     * @return of the shape and dtype of x
     * @throws ShapeException if the trailing dimensions of x are not {@code shape}
     * @throws dev.merapi.error.DTypeException if x is not floating, or the weight has another dtype
     * @throws dev.merapi.error.SchemaException if eps is negative or not finite
     * @see <a href="https://arxiv.org/abs/1910.07467">Zhang, Sennrich 2019</a>
     */
    public static Tensor rmsNorm(Tensor x, long[] shape, @Nullable Tensor weight, double eps) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(shape, "shape");
        requireTrailing("rmsNorm", x, shape);
        return RMS_NORM.call(new RmsNorm(x, weight, shape.length, eps)).y();
    }

    private static void requireTrailing(String op, Tensor x, long[] shape) {
        if (shape.length < 1
                || shape.length > x.rank()
                || !Arrays.equals(parameter(x, shape.length).toArray(), shape)) {
            throw new ShapeException(
                    op + ": the last dimensions of x are not " + Arrays.toString(shape) + "\n  x: " + x.describe());
        }
    }
}
