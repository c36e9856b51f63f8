// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.GraphPlace;
import dev.merapi.dispatch.LayerOrder;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import org.jspecify.annotations.Nullable;

/** Whether a tensor wants a gradient, and the gradient that it has. */
public abstract sealed class GradientMethods extends DataMethods permits ProductMethods {
    GradientMethods() {}

    /** {@return whether gradients flow to this tensor: it is a leaf that wants them, or was made from one} */
    public boolean requiresGrad() {
        GraphPlace place = self().autograd();
        return place != null && place.requiresGradNow();
    }

    /**
     * Makes this leaf want gradients, or not; returns it.
     *
     * @param wanted whether backward passes shall accumulate into {@link #grad}
     * @return this tensor
     * @throws DTypeException if it is not floating
     * @throws GradientException if it is not a leaf and shall want none, or if it was made in inference mode
     */
    public Tensor requiresGrad(boolean wanted) {
        Tensor t = self();
        if (wanted && !t.dtype().isFloating()) {
            throw new DTypeException("requiresGrad: only floating tensors can have gradients; this is " + t.describe());
        }
        if (wanted) {
            t.requireOpen("requiresGrad", "this");
        }
        LayerOrder.AUTOGRAD.setRequiresGrad(t, wanted);
        return t;
    }

    /**
     * The gradient accumulated by backward passes, or null. The tensor itself, not a copy.
     *
     * @return a tensor of this shape, dtype and device; null before the first backward pass and after {@code
     *     setGrad(null)}
     */
    public @Nullable Tensor grad() {
        Tensor t = self();
        return t.autograd() == null ? null : LayerOrder.AUTOGRAD.grad(t);
    }

    /**
     * Replaces the accumulated gradient; null drops and frees it.
     *
     * @param gradient of this shape, dtype and device, or null
     * @throws GradientException if its shape, dtype or device is another than this tensor's
     */
    public void setGrad(@Nullable Tensor gradient) {
        if (gradient != null) {
            self().requireOpen("setGrad", "this");
            gradient.requireOpen("setGrad", "gradient");
        }
        LayerOrder.AUTOGRAD.setGrad(self(), gradient);
    }
}
