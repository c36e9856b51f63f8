// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.reference.OptimizerReference;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Optimiser steps, each one call for any number of parameters. What changes from step to step (learning rate, step, gradient
 * scale, skip flag) is read from 0-d float32 tensors when the kernel runs, so that a captured graph does not freeze it.
 */
public final class Optimizers {
    private Optimizers() {}

    /**
     * Adam, or AdamW if {@code decoupled}. States have the compute dtype of the parameters.
     *
     * @param master the parameters in their compute dtype, which are what is stepped; each parameter becomes its master,
     *     rounded. Empty for none: then the parameters themselves are stepped, and what is below their rounding is lost
     * @param step counts from 1
     * @param gradScale what gradients are multiplied by; null for 1
     * @param skip if not 0, nothing changes; null for 0
     */
    public record Adam(
            List<Tensor> params,
            List<Tensor> grads,
            List<Tensor> m,
            List<Tensor> v,
            List<Tensor> master,
            Tensor lr,
            Tensor step,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            double beta1,
            double beta2,
            double eps,
            double weightDecay,
            boolean decoupled) {}

    /** Stochastic gradient descent. {@code buffers} is empty without momentum; {@code master} as for {@link Adam}. */
    public record Sgd(
            List<Tensor> params,
            List<Tensor> grads,
            List<Tensor> buffers,
            List<Tensor> master,
            Tensor lr,
            Tensor step,
            @Nullable Tensor gradScale,
            @Nullable Tensor skip,
            double momentum,
            double dampening,
            boolean nesterov,
            double weightDecay) {}

    public record GradNorm(List<Tensor> grads, double maxNorm) {}

    /** The norm of all gradients together, and min(1, maxNorm / (norm + 1e-6)); 0-d float32. */
    public record NormAndScale(Tensor norm, Tensor scale) {}

    public record ScaleGrads(List<Tensor> grads, Tensor scale) {}

    public record NonFinite(List<Tensor> grads) {}

    /**
     * @param scale 0-d float32, as are the others
     * @param streak how many steps in a row had finite gradients
     * @param nonFinite not 0 if this step's had not
     */
    public record UpdateScale(
            Tensor scale, Tensor streak, Tensor nonFinite, double growth, double backoff, double interval) {}

    /** m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − lr·m̂ / (√v̂ + eps), with weight decay before. */
    public static final Op<Adam, Void> ADAM = Op.define("merapi::adam_", Adam.class, Result.none())
            .mutates("params", "m", "v", "master")
            .kernelType(a -> checked(a.params(), a.grads(), List.of(a.m(), a.v()), a.master(), a.lr()))
            .reference((a, none) -> OptimizerReference.adam(a))
            .nonDifferentiable()
            .register();

    /** b ← μb + (1 − d)g (the gradient itself at step 1), p ← p − lr·(b, or g + μb for Nesterov). */
    public static final Op<Sgd, Void> SGD = Op.define("merapi::sgd_", Sgd.class, Result.none())
            .mutates("params", "buffers", "master")
            .kernelType(a -> checked(
                    a.params(),
                    a.grads(),
                    a.buffers().isEmpty() ? List.of() : List.of(a.buffers()),
                    a.master(),
                    a.lr()))
            .reference((a, none) -> OptimizerReference.sgd(a))
            .nonDifferentiable()
            .register();

    /** The L2 norm of all gradients as if they were one vector; deterministic. */
    public static final Op<GradNorm, NormAndScale> GRAD_NORM = Op.define(
                    "merapi::grad_norm", GradNorm.class, NormAndScale.class)
            .kernelType(a -> sameType("grad_norm", a.grads()))
            .shape(a -> {
                Tensor like = requireAny("grad_norm", a.grads());
                Tensor scalar = Tensor.meta(dev.merapi.types.Shape.SCALAR, DType.FLOAT32, like.device());
                return new NormAndScale(
                        scalar, Tensor.meta(dev.merapi.types.Shape.SCALAR, DType.FLOAT32, like.device()));
            })
            .reference(OptimizerReference::gradNorm)
            .nonDifferentiable()
            .register();

    /** Multiplies all gradients by a 0-d float32 tensor, in place. */
    public static final Op<ScaleGrads, Void> SCALE_GRADS = Op.define(
                    "merapi::scale_grads_", ScaleGrads.class, Result.none())
            .mutates("grads")
            .kernelType(a -> sameType("scale_grads_", a.grads()))
            .reference((a, none) -> OptimizerReference.scale(a))
            .nonDifferentiable()
            .register();

    /** 1 if any element of any gradient is infinite or NaN, else 0; 0-d float32. */
    public static final Op<NonFinite, Tensor> NON_FINITE = Op.define(
                    "merapi::non_finite", NonFinite.class, Tensor.class)
            .kernelType(a -> sameType("non_finite", a.grads()))
            .shape(a -> Tensor.meta(
                    dev.merapi.types.Shape.SCALAR,
                    DType.FLOAT32,
                    requireAny("non_finite", a.grads()).device()))
            .reference(OptimizerReference::nonFinite)
            .nonDifferentiable()
            .register();

    /**
     * The scale of a loss from step to step: times {@code backoff} after a step with infinite gradients, times
     * {@code growth} after {@code interval} good ones in a row, if that is finite.
     */
    public static final Op<UpdateScale, Void> UPDATE_SCALE = Op.define(
                    "merapi::update_scale_", UpdateScale.class, Result.none())
            .mutates("scale", "streak")
            .kernelType(a -> {
                for (Tensor t : List.of(a.scale(), a.streak(), a.nonFinite())) {
                    if (t.rank() != 0 || t.dtype() != DType.FLOAT32) {
                        throw new ShapeException(
                                "update_scale_: takes 0-d float32 tensors, but one is " + t.describe());
                    }
                }
                return DType.FLOAT32;
            })
            .reference((a, none) -> OptimizerReference.updateScale(a))
            .nonDifferentiable()
            .register();

    private static Tensor requireAny(String op, List<Tensor> tensors) {
        if (tensors.isEmpty()) {
            throw new ShapeException(op + ": there are no tensors");
        }
        return tensors.get(0);
    }

    private static DType sameType(String op, List<Tensor> tensors) {
        DType dtype = requireAny(op, tensors).dtype();
        for (Tensor t : tensors) {
            if (t.dtype() != dtype || !dtype.isFloating()) {
                throw new DTypeException(op + ": all tensors need one floating dtype, but there are " + dtype + " and "
                        + t.dtype() + "\n  fix: call it once for each dtype.");
            }
        }
        return dtype;
    }

    private static DType checked(
            List<Tensor> params, List<Tensor> grads, List<List<Tensor>> states, List<Tensor> master, Tensor scalar) {
        DType dtype = sameType("optimizer", params);
        sameType("optimizer", grads);
        if (scalar.rank() != 0 || scalar.dtype() != DType.FLOAT32) {
            throw new ShapeException(
                    "optimizer: the learning rate must be a 0-d float32 tensor, but is " + scalar.describe());
        }
        requireFit("gradient", params, grads, dtype);
        for (List<Tensor> state : states) {
            requireFit("state", params, state, dtype.computeType());
        }
        if (!master.isEmpty()) {
            requireFit("master", params, master, dtype.computeType());
        }
        return dtype;
    }

    private static void requireFit(String what, List<Tensor> params, List<Tensor> others, DType dtype) {
        if (params.size() != others.size()) {
            throw new ShapeException(
                    "optimizer: " + params.size() + " parameters, but " + others.size() + " of " + what);
        }
        for (int i = 0; i < params.size(); i++) {
            if (!others.get(i).shape().equals(params.get(i).shape())
                    || others.get(i).dtype() != dtype) {
                throw new ShapeException(Message.of("optimizer: " + what + " " + i + " does not fit its parameter")
                        .fact("parameter", params.get(i).describe())
                        .fact(what, others.get(i).describe()));
            }
        }
    }
}
