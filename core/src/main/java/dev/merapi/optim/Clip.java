// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

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
        List<List<Tensor>> grads = gradients(params);
        if (grads.size() <= 1) {
            return ofOneType(grads.isEmpty() ? List.of() : grads.get(0), maxNorm);
        }
        Tensor norm = ofOneType(grads.get(0), maxNorm).norm();
        for (List<Tensor> same : grads.subList(1, grads.size())) {
            norm = norm.square().add(ofOneType(same, maxNorm).norm().square()).sqrt();
        }
        Tensor factor = norm.add(1e-6).reciprocal().mul(maxNorm).minimum(1);
        return new Optimizers.NormAndScale(norm, factor);
    }

    private static Optimizers.NormAndScale ofOneType(List<Tensor> grads, double maxNorm) {
        return Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(grads, maxNorm));
    }

    /** Scales the gradients in place so that their norm is at most {@code maxNorm}; returns the norm before, 0-d. */
    public static Tensor norm_(List<Tensor> params, double maxNorm) {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            Optimizers.NormAndScale found = norm(params, maxNorm);
            for (List<Tensor> same : gradients(params)) {
                Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(same, found.scale()));
            }
            return found.norm();
        }
    }

    /** In lists of one dtype. */
    private static List<List<Tensor>> gradients(List<Tensor> params) {
        Map<DType, List<Tensor>> ofType = new LinkedHashMap<>();
        for (Tensor p : params) {
            Tensor g = p.grad();
            if (g != null) {
                ofType.computeIfAbsent(g.dtype(), t -> new ArrayList<>()).add(g);
            }
        }
        return new ArrayList<>(ofType.values());
    }
}
