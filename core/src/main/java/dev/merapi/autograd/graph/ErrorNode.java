// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.error.SavedTensorException;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * Stands where a derivative is not known, so that asking for it is an error and never a wrong number. Its edges lead to
 * all that the value depends on, so that only passes which want something beyond it reach it.
 */
final class ErrorNode extends Node {
    ErrorNode(String owner, Tensor output, @Nullable Node[] dependencies, int[] indices) {
        super("NotDifferentiable(" + owner + ")", new Tensor[] {output});
        connect(dependencies, indices);
    }

    @Override
    @Nullable
    Tensor[] backward(@Nullable Tensor[] gradients, boolean[] needed, BackwardPass pass) {
        throw new SavedTensorException(
                "backward: a second derivative would have to pass through " + name()
                        + ", a value that was computed inside the op and saved: it is neither an input nor an output of it"
                        + "\n  fix: save inputs and outputs only and compute the rest in backward, or give the op a compose rule.");
    }
}
