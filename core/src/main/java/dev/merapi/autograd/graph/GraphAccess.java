// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.GradientException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** What the tensor handle asks of the graph where it has no place in one yet. For the engine. */
public final class GraphAccess {
    private GraphAccess() {}

    public static void setRequiresGrad(Tensor t, boolean wanted) {
        AutogradMeta m = AutogradMeta.of(t);
        if (m != null && m.gradFn() != null) {
            if (!wanted) {
                throw new GradientException("requiresGrad(false): this is not a leaf, " + m.gradFn() + " made it"
                        + "\n  fix: use detach().");
            }
            return;
        }
        if (wanted && t.isInference()) {
            throw new GradientException(
                    "requiresGrad: this tensor was made in inference mode\n  fix: copy() it outside of inference mode.");
        }
        if (m != null || wanted) {
            AutogradMeta.variable(t).setRequiresGrad(t, wanted);
        }
    }

    /**
     * A leaf takes another's place, on another device or in another dtype: it wants a gradient if the other did, and gets its
     * gradient, converted, and its hooks. What a backward pass brings to the other from now on goes to it.
     */
    public static void move(Tensor from, Tensor to) {
        AutogradMeta m = AutogradMeta.of(from);
        if (m == null) {
            return;
        }
        to.requiresGrad(m.requiresGrad);
        Tensor gradient = m.grad;
        if (gradient != null) {
            Tensor moved = gradient.to(to.dtype()).to(to.device());
            m.grad = null;
            setGrad(to, moved);
            if (moved != gradient) {
                gradient.close();
            }
        }
        m.moveTo(to);
    }

    /** What made a tensor or, of a view, the tensor that it shows: a write that is not recorded would be unknown there. */
    public static @Nullable Node madeBy(Tensor t) {
        AutogradMeta m = AutogradMeta.of(t);
        Node own = m == null ? null : m.gradFn();
        return own == null && m instanceof ViewMeta v
                ? AutogradMeta.variable(v.base()).gradFn()
                : own;
    }

    /** This leaf, or what took its place last. */
    public static Tensor latest(Tensor leaf) {
        AutogradMeta m = AutogradMeta.of(leaf);
        Tensor next = m == null ? null : m.successor();
        return next == null ? leaf : latest(next);
    }

    public static void setGrad(Tensor t, @Nullable Tensor gradient) {
        if (TENSORS.autograd(t) == null && gradient == null) {
            return;
        }
        if (gradient != null
                && !(gradient.shape().equals(t.shape())
                        && gradient.dtype() == t.dtype()
                        && gradient.device() == t.device())) {
            throw new GradientException(
                    "setGrad: the gradient is " + gradient.describe() + ", the tensor " + t.describe());
        }
        GraphCapture capture = Context.current().graphCapture();
        AutogradMeta m = AutogradMeta.variable(t);
        synchronized (m) {
            Tensor before = m.grad;
            if (capture != null
                    && before != null
                    && before != gradient
                    && !before.isMeta()
                    && capture.usesFromOutside(TENSORS.storage(before))) {
                throw new GraphCaptureException(
                        Message.of("setGrad: the step that is captured has used the gradient of " + t.describe()
                                        + " that was there before it, and now drops it: each replay would use it again")
                                .fix("drop gradients before the capture, and begin the step with the backward pass."));
            }
            m.grad = gradient == null ? null : gradient.leaveScope();
            if (before != null && before != gradient) {
                before.close();
            }
        }
    }

    /** Whether a {@code jvp} that is under way moves this tensor. */
    public static boolean hasTangent(Tensor t) {
        AutogradMeta m = AutogradMeta.of(t);
        return m != null && m.duals != null && !m.duals.isEmpty();
    }
}
