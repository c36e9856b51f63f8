// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.op.Definition;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * The autograd layer as the dispatcher and tensors know it, who name no class of the graph: every call comes to it, also
 * those within kernels, where it records nothing. Found as a service.
 */
public interface GraphLayer extends CallLayer {
    /** A composition whose outputs, or some of them, are declared to need no gradient. */
    <A extends Record, R> R restricted(Definition<A, R> op, A args, Context context);

    // ---------------------------------------------------------------- what a tensor asks

    /** Makes a leaf want gradients, or not. */
    void setRequiresGrad(Tensor t, boolean wanted);

    /** The gradient that was accumulated, or null. */
    @Nullable
    Tensor grad(Tensor t);

    /** Replaces the accumulated gradient; null drops it. */
    void setGrad(Tensor t, @Nullable Tensor gradient);

    /** Whether a {@code jvp} that is under way moves this tensor. */
    boolean hasTangent(Tensor t);

    /** What made a tensor or, of a view, the tensor that it shows: a write that is not recorded would be unknown there. */
    @Nullable
    GraphNode madeBy(Tensor t);
}
