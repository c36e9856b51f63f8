// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** Limits the norm of all gradients together. Nothing here reads a value back: it works without waiting for a device. */
public final class Clip {
    private Clip() {}

    /**
     * The norm of all gradients, and the factor that limits it to {@code maxNorm}; 0-d float32 tensors. Pass the factor to
     * {@link Optimizer#step(Tensor)}, which saves a pass over the gradients.
     */
    public static Optimizers.NormAndScale norm(List<Tensor> params, double maxNorm) {
        if (!(maxNorm > 0)) {
            throw new IllegalArgumentException("clip: the norm " + maxNorm + " must be greater than 0");
        }
        return Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(gradients(params), maxNorm));
    }

    /** Scales the gradients in place so that their norm is at most {@code maxNorm}; returns the norm before, 0-d. */
    public static Tensor norm_(List<Tensor> params, double maxNorm) {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            Optimizers.NormAndScale found = norm(params, maxNorm);
            Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(gradients(params), found.scale()));
            return found.norm();
        }
    }

    private static List<Tensor> gradients(List<Tensor> params) {
        List<Tensor> grads = new ArrayList<>();
        for (Tensor p : params) {
            Tensor g = p.grad();
            if (g != null) {
                grads.add(g);
            }
        }
        return grads;
    }
}
