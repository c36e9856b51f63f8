// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Optimiser steps, each one call for any number of parameters. What changes from step to step is read from tensors when the
 * kernel runs, so that a captured graph does not freeze it: the learning rate and what gradients are multiplied by (0-d
 * float64), whether the step is left out (0-d float32), and how many steps each parameter has had (0-d int64, counted by
 * the kernel). Arithmetic is that of the parameters' compute dtype.
 */
public final class Optimizers {
    private Optimizers() {}

    /**
     * Adam, or AdamW if {@code decoupled}. States have the compute dtype of the parameters.
     *
     * @param params what is stepped, all of one floating dtype
     * @param grads of the form of the parameters
     * @param m running means of gradients, of the shape of the parameters
     * @param v running means of their squares, likewise
     * @param master the parameters in their compute dtype, which are what is stepped; each parameter becomes its
     *     master, rounded. Empty for none: then the parameters themselves are stepped, and what is below their
     *     rounding is lost
     * @param steps how many steps each parameter has had, 0-d int64 each; one more afterwards
     * @param lr 0-d float64
     * @param gradScale what gradients are multiplied by, 0-d float64; null for 1
     * @param skip if not 0, nothing changes, 0-d float32; null for 0
     * @param beta1 how much of m stays at a step, in [0, 1)
     * @param beta2 how much of v stays at a step, in [0, 1)
     * @param eps added to √v̂, not negative
     * @param weightDecay not negative
     * @param decoupled whether the decay shrinks the parameters by lr·weightDecay (AdamW), else it is added to the
     *     gradients
     */
    public record Adam(
            List<Tensor> params,
            List<Tensor> grads,
            List<Tensor> m,
            List<Tensor> v,
            List<Tensor> master,
            List<Tensor> steps,
            Tensor lr,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean decoupled) {}

    /**
     * Stochastic gradient descent, as PyTorch's.
     *
     * @param params what is stepped, all of one floating dtype
     * @param grads of the form of the parameters
     * @param buffers running sums of gradients, in the compute dtype; empty without momentum
     * @param master as in {@link Adam}
     * @param steps as in {@link Adam}
     * @param lr as in {@link Adam}
     * @param gradScale as in {@link Adam}
     * @param skip as in {@link Adam}
     * @param momentum μ, how much of a buffer stays at a step, not negative
     * @param dampening d: a gradient comes to the buffer times 1 − d
     * @param nesterov whether the step is along the gradient plus μ times the buffer
     * @param weightDecay times the parameter added to its gradient, not negative
     */
    public record Sgd(
            List<Tensor> params,
            List<Tensor> grads,
            List<Tensor> buffers,
            List<Tensor> master,
            List<Tensor> steps,
            Tensor lr,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            double momentum,
            double dampening,
            boolean nesterov,
            double weightDecay) {}

    /**
     * What {@link #GRAD_NORM} takes.
     *
     * @param grads at least one, all of one floating dtype
     * @param maxNorm what the norm shall be at most, positive; ∞ to find the norm only
     * @param before the norm of gradients that belong to these, such as those of other dtypes, whatever its sign; 0-d
     *     float64; null for 0
     */
    public record GradNorm(
            List<Tensor> grads, double maxNorm, @Nullable Tensor before) {}

    /**
     * What {@link #GRAD_NORM} gives.
     *
     * @param norm of all gradients together, 0-d float64
     * @param scale min(1, maxNorm/(norm + 1e-6)), 0-d float64
     */
    public record NormAndScale(Tensor norm, Tensor scale) {}

    /**
     * What {@link #SCALE_GRADS} takes.
     *
     * @param grads at least one, all of one floating dtype; written
     * @param scale a factor, 0-d float64
     */
    public record ScaleGrads(List<Tensor> grads, Tensor scale) {}

    /**
     * What {@link #NON_FINITE} takes.
     *
     * @param grads at least one, all of one floating dtype
     */
    public record NonFinite(List<Tensor> grads) {}

    /**
     * What {@link #UPDATE_SCALE} takes.
     *
     * @param scale 0-d float32
     * @param streak how many steps in a row had finite gradients, 0-d int64
     * @param nonFinite not 0 if this step's had not, 0-d float32
     * @param growth the factor after {@code interval} good steps, at least 1
     * @param backoff the factor after a step that was none, between 0 and 1
     * @param interval how many good steps in a row the scale grows after, at least 1
     */
    public record UpdateScale(
            Tensor scale, Tensor streak, Tensor nonFinite, double growth, double backoff, long interval) {}

    /** m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − lr·m̂ / (√v̂ + eps), with weight decay before. */
    public static final Op<Adam, Void> ADAM = Op.define("merapi::adam_", Adam.class, Result.none())
            .mutates("params", "m", "v", "master", "steps")
            .kernelType(a -> {
                DType dtype = requireStep("adam_", a.params(), a.grads(), a.master(), a.steps(), a.lr());
                requireFit("adam_", "m", a.params(), a.m(), dtype.computeType());
                requireFit("adam_", "v", a.params(), a.v(), dtype.computeType());
                requireScalar("adam_", "gradScale", a.gradScale(), DType.FLOAT64);
                requireScalar("adam_", "skip", a.skip(), DType.FLOAT32);
                requireShare("adam_", "beta1", a.beta1());
                requireShare("adam_", "beta2", a.beta2());
                requireNotNegative("adam_", "eps", a.eps());
                requireNotNegative("adam_", "weightDecay", a.weightDecay());
                return dtype;
            })
            .nonDifferentiable()
            .register();

    /** b ← μb + (1 − d)g (the gradient itself at a parameter's first step), p ← p − lr·(b, or g + μb for Nesterov). */
    public static final Op<Sgd, Void> SGD = Op.define("merapi::sgd_", Sgd.class, Result.none())
            .mutates("params", "buffers", "master", "steps")
            .kernelType(a -> {
                DType dtype = requireStep("sgd_", a.params(), a.grads(), a.master(), a.steps(), a.lr());
                requireNotNegative("sgd_", "momentum", a.momentum());
                if (a.momentum() != 0 || !a.buffers().isEmpty()) {
                    requireFit("sgd_", "buffers", a.params(), a.buffers(), dtype.computeType());
                }
                requireScalar("sgd_", "gradScale", a.gradScale(), DType.FLOAT64);
                requireScalar("sgd_", "skip", a.skip(), DType.FLOAT32);
                if (!Double.isFinite(a.dampening())) {
                    throw new ShapeException("sgd_: dampening " + a.dampening() + " is not finite");
                }
                requireNotNegative("sgd_", "weightDecay", a.weightDecay());
                return dtype;
            })
            .nonDifferentiable()
            .register();

    /**
     * The L2 norm of all gradients as if they were one vector; deterministic. Squares neither overflow nor vanish. An
     * infinite element makes the norm infinite and the scale 0, a NaN makes both NaN, as in PyTorch.
     */
    public static final Op<GradNorm, NormAndScale> GRAD_NORM = Op.define(
                    "merapi::grad_norm", GradNorm.class, NormAndScale.class)
            .kernelType(a -> sameType("grad_norm", "grads", a.grads()))
            .shape(a -> {
                Tensor like = requireAny("grad_norm", "grads", a.grads());
                requireScalar("grad_norm", "before", a.before(), DType.FLOAT64);
                if (!(a.maxNorm() > 0)) {
                    throw new ShapeException("grad_norm: maxNorm " + a.maxNorm() + " must be greater than 0");
                }
                return new NormAndScale(
                        Tensor.meta(Shape.SCALAR, DType.FLOAT64, like.device()),
                        Tensor.meta(Shape.SCALAR, DType.FLOAT64, like.device()));
            })
            .nonDifferentiable()
            .register();

    /** Multiplies all gradients by a 0-d float64 tensor, in place; rounds once. */
    public static final Op<ScaleGrads, Void> SCALE_GRADS = Op.define(
                    "merapi::scale_grads_", ScaleGrads.class, Result.none())
            .mutates("grads")
            .kernelType(a -> {
                requireScalar("scale_grads_", "scale", a.scale(), DType.FLOAT64);
                return sameType("scale_grads_", "grads", a.grads());
            })
            .nonDifferentiable()
            .register();

    /** 1 if any element of any gradient is infinite or NaN, else 0; 0-d float32. */
    public static final Op<NonFinite, Tensor> NON_FINITE = Op.define(
                    "merapi::non_finite", NonFinite.class, Tensor.class)
            .kernelType(a -> sameType("non_finite", "grads", a.grads()))
            .shape(a -> Tensor.meta(
                    Shape.SCALAR,
                    DType.FLOAT32,
                    requireAny("non_finite", "grads", a.grads()).device()))
            .nonDifferentiable()
            .register();

    /**
     * The scale of a loss from step to step: times {@code backoff} after a step with infinite gradients, but never below the
     * smallest normal float32, whose reciprocal is finite; times {@code growth} after {@code interval} good ones in a row, if
     * that is finite.
     */
    public static final Op<UpdateScale, Void> UPDATE_SCALE = Op.define(
                    "merapi::update_scale_", UpdateScale.class, Result.none())
            .mutates("scale", "streak")
            .kernelType(a -> {
                requireScalar("update_scale_", "scale", a.scale(), DType.FLOAT32);
                requireScalar("update_scale_", "streak", a.streak(), DType.INT64);
                requireScalar("update_scale_", "nonFinite", a.nonFinite(), DType.FLOAT32);
                if (!(a.growth() >= 1) || !(a.backoff() > 0 && a.backoff() < 1) || a.interval() < 1) {
                    throw new ShapeException("update_scale_: growth " + a.growth() + " must be at least 1, backoff "
                            + a.backoff() + " between 0 and 1, interval " + a.interval() + " at least 1");
                }
                return DType.FLOAT32;
            })
            .nonDifferentiable()
            .register();

    // ---------------------------------------------------------------- checks

    private static Tensor requireAny(String op, String list, List<Tensor> tensors) {
        if (tensors.isEmpty()) {
            throw new ShapeException(op + ": there are no tensors in " + list);
        }
        return tensors.get(0);
    }

    static DType sameType(String op, String list, List<Tensor> tensors) {
        DType dtype = requireAny(op, list, tensors).dtype();
        for (int i = 0; i < tensors.size(); i++) {
            DType t = tensors.get(i).dtype();
            if (t != dtype || !dtype.isFloating()) {
                throw new DTypeException(op + ": all tensors of " + list + " need one floating dtype, but 0 is " + dtype
                        + " and " + i + " is " + t + "\n  fix: call it once for each dtype.");
            }
        }
        return dtype;
    }

    /** What all steps have in common; returns the parameters' dtype. */
    private static DType requireStep(
            String op, List<Tensor> params, List<Tensor> grads, List<Tensor> master, List<Tensor> steps, Tensor lr) {
        DType dtype = sameType(op, "params", params);
        requireFit(op, "grads", params, grads, dtype);
        if (!master.isEmpty()) {
            requireFit(op, "master", params, master, dtype.computeType());
        }
        requireSize(op, "steps", params, steps);
        for (Tensor step : steps) {
            requireScalar(op, "steps", step, DType.INT64);
        }
        requireScalar(op, "lr", lr, DType.FLOAT64);
        return dtype;
    }

    static void requireScalar(String op, String name, @Nullable Tensor t, DType dtype) {
        if (t == null || t.rank() == 0 && t.dtype() == dtype) {
            return;
        }
        String text = op + ": " + name + " must be a 0-d " + dtype + " tensor, but is " + t.describe();
        if (t.rank() != 0) {
            throw new ShapeException(text);
        }
        throw new DTypeException(text + "\n  fix: convert it with to(DType." + dtype.name() + ").");
    }

    private static void requireShare(String op, String name, double value) {
        if (!(value >= 0 && value < 1)) {
            throw new ShapeException(op + ": " + name + " " + value + " must lie in [0, 1)");
        }
    }

    static void requireNotNegative(String op, String name, double value) {
        if (!(value >= 0 && Double.isFinite(value))) {
            throw new ShapeException(op + ": " + name + " " + value + " must be finite and not negative");
        }
    }

    static void requireSize(String op, String list, List<Tensor> params, List<Tensor> others) {
        if (params.size() != others.size()) {
            throw new ShapeException(op + ": " + params.size() + " params, but " + others.size() + " " + list);
        }
    }

    static void requireFit(String op, String list, List<Tensor> params, List<Tensor> others, DType dtype) {
        requireSize(op, list, params, others);
        for (int i = 0; i < params.size(); i++) {
            Tensor p = params.get(i);
            Tensor t = others.get(i);
            if (!t.shape().equals(p.shape())) {
                throw new ShapeException(misfit(op, list, i, p, t));
            }
            if (t.dtype() != dtype) {
                throw new DTypeException(misfit(op, list, i, p, t).fact("expected dtype", dtype));
            }
        }
    }

    private static Message misfit(String op, String list, int i, Tensor p, Tensor t) {
        return Message.of(op + ": " + list + " " + i + " does not fit its parameter")
                .fact("parameter", p.describe())
                .fact(list, t.describe());
    }
}
