// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;

/**
 * A tensor that a block owns: trained (it requires a gradient) or merely kept (a buffer). The tensor may be replaced, when
 * the block moves to another device or dtype; so ask for it at each use.
 */
public final class Parameter {
    private final boolean trained;
    private Tensor tensor;

    Parameter(Tensor tensor, boolean trained) {
        this.trained = trained;
        this.tensor = tensor.leaveScope();
        if (trained) {
            tensor.requiresGrad(true);
        }
    }

    /** The current tensor: a leaf that belongs to no scope. */
    public Tensor tensor() {
        return tensor;
    }

    /** False for a buffer. */
    public boolean isTrained() {
        return trained;
    }

    /** Puts another tensor in its place and closes the old one. */
    void replace(Tensor other) {
        if (!other.shape().equals(tensor.shape())) {
            throw new ShapeException("parameter: " + other.describe() + " in place of " + tensor.describe());
        }
        Tensor before = tensor;
        if (other == before) {
            return;
        }
        before.setGrad(null);
        tensor = other.leaveScope();
        if (trained) {
            tensor.requiresGrad(true);
        }
        before.close();
    }

    @Override
    public String toString() {
        return (trained ? "parameter " : "buffer ") + tensor.describe();
    }
}
