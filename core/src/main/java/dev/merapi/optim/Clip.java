// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Optimizers;
import dev.merapi.ops.StepOp;
import dev.merapi.ops.Steps;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.Objects;

/**
 * Limits the norm of all gradients together, or each of their elements; of whatever dtypes and devices. Nothing here reads a value back: it works
 * without waiting for a device.
 *
 * <p>Squares neither overflow nor vanish: all finite gradients have a finite norm, and keep their direction. As in PyTorch,
 * one that is infinite gives an infinite norm and the factor 0 (so that it becomes NaN itself, and the others 0), and a NaN
 * makes norm and factor NaN. A parameter that is given twice counts once; without any gradient the norm is 0.
 */
public final class Clip {
    private Clip() {}

    /**
     * The norm of all gradients, and the factor min(1, maxNorm / (norm + 1e-6)) that limits it to {@code maxNorm}; 0-d
     * float64 tensors. Pass the factor to {@link Optimizer#step(Tensor)}, which saves a pass over the gradients.
     *
     * @param params those without a gradient count as 0
     * @param maxNorm the largest norm that gradients shall have
     * @return the norm, over all elements of all gradients, and the factor
     * @throws IllegalArgumentException if {@code maxNorm} is not greater than 0
     * @throws dev.merapi.error.ClosedTensorException if a parameter was closed, or is a plain tensor that its model has
     *     replaced
     */
    public static Optimizers.NormAndScale norm(List<? extends Trainable> params, double maxNorm) {
        Objects.requireNonNull(params, "params");
        return norm(params, Gradients.ofKinds("clip", params), maxNorm);
    }

    private static Optimizers.NormAndScale norm(
            List<? extends Trainable> params, List<List<Tensor>> all, double maxNorm) {
        if (!(maxNorm > 0)) {
            throw new IllegalArgumentException("clip: the norm " + maxNorm + " must be greater than 0");
        }
        if (all.isEmpty()) {
            Device device =
                    params.isEmpty() ? Device.CPU : params.get(0).tensor().device();
            return new Optimizers.NormAndScale(
                    Tensor.zeros(Shape.SCALAR, DType.FLOAT64, device),
                    Tensor.ones(Shape.SCALAR, DType.FLOAT64, device));
        }
        Optimizers.NormAndScale found = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(all.get(0), maxNorm, null));
        for (List<Tensor> same : all.subList(1, all.size())) {
            Tensor before = found.norm().to(same.get(0).device());
            found = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(same, maxNorm, before));
        }
        return found;
    }

    /**
     * Limits each element of the gradients to [−{@code most}, {@code most}], in place. NaN stays.
     *
     * @param params those without a gradient are left alone
     * @param most greater than 0
     */
    public static void value_(List<? extends Trainable> params, double most) {
        Objects.requireNonNull(params, "params");
        if (!(most > 0 && Double.isFinite(most))) {
            throw new IllegalArgumentException("clip: the value " + most + " must be finite and greater than 0");
        }
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            for (List<Tensor> same : Gradients.ofKinds("clip", params)) {
                Tensor none =
                        Tensor.zeros(Shape.SCALAR, DType.FLOAT64, same.get(0).device());
                Steps.CLIP_VALUE.call(new StepOp.Args(
                        same, same, List.of(), List.of(), List.of(), none, null, null, 0, List.of(most)));
            }
        }
    }

    /**
     * Scales the gradients in place so that their norm is at most {@code maxNorm}; returns the norm before, 0-d float64.
     *
     * @param params those without a gradient count as 0
     * @param maxNorm greater than 0
     * @return the norm before
     */
    public static Tensor norm_(List<? extends Trainable> params, double maxNorm) {
        Objects.requireNonNull(params, "params");
        try (Autograd.Mode mode = Autograd.noGrad()) {
            List<List<Tensor>> all = Gradients.ofKinds("clip", params);
            Optimizers.NormAndScale found = norm(params, all, maxNorm);
            for (List<Tensor> same : all) {
                Tensor factor = found.scale().to(same.get(0).device());
                Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(same, factor));
            }
            return found.norm();
        }
    }
}
