// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.graph.GraphAccess;
import dev.merapi.dispatch.CapturedGraph;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import org.jspecify.annotations.Nullable;

/**
 * A tensor that a block owns: trained (it requires a gradient) or merely kept (a buffer). The parameter stays the same as long
 * as its block lives; its tensor is replaced when the block moves to another device or dtype. So hold parameters, as
 * optimisers do, and ask for the tensor at each use.
 */
public final class Parameter implements Trainable {
    private final boolean trained;
    private Tensor tensor;
    private @Nullable Block block;
    private String ownName = "";

    Parameter(Tensor tensor, boolean trained) {
        this.trained = trained;
        this.tensor = tensor.leaveScope();
        if (trained) {
            tensor.requiresGrad(true);
        }
    }

    /** The tensor of one that may be absent. */
    static @Nullable Tensor of(@Nullable Parameter p) {
        return p == null ? null : p.tensor;
    }

    /** The block that registers it first gives it its name. */
    void register(Block by, String name) {
        if (block == null) {
            block = by;
            ownName = name;
        }
    }

    /**
     * Its dotted name, as {@link Block#named} of the outermost block around it has it.
     *
     * @return such as {@code encoder.0.weight}
     */
    public String name() {
        return (block == null ? "" : block.path()) + ownName;
    }

    /** The current tensor: a leaf that belongs to no scope. */
    @Override
    public Tensor tensor() {
        return tensor;
    }

    /**
     * False for a buffer.
     *
     * @return whether an optimiser shall change it
     */
    public boolean isTrained() {
        return trained;
    }

    /**
     * Puts another tensor in its place, which gets the gradient, converted, and the hooks of the old one; closes that. Graphs
     * that were captured with it are refused from now on.
     */
    void replace(Tensor other) {
        if (!other.shape().equals(tensor.shape())) {
            throw new ShapeException("parameter: " + other.describe() + " in place of " + tensor.describe());
        }
        Tensor before = tensor;
        if (other == before) {
            return;
        }
        GraphAccess.move(before, other);
        tensor = other.leaveScope();
        if (!before.isMeta()) {
            CapturedGraph.outdate(
                    TENSORS.storage(before),
                    "the captured step uses '" + name() + "' as it was before it moved, " + before.describe()
                            + "; now it is " + other.describe());
        }
        before.close();
    }

    /** Its name and form. */
    @Override
    public String toString() {
        return (trained ? "parameter " : "buffer ") + tensor.describe();
    }
}
