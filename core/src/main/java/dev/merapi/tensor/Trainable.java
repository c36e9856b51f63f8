// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

/**
 * What an optimiser can train: a leaf tensor, which stands for itself, or a parameter of a model, which stands for the tensor
 * that it has now and gets another when the model moves.
 */
public interface Trainable {
    /**
     * The tensor now.
     *
     * @return the tensor now: after a move of the model another one
     */
    Tensor tensor();
}
