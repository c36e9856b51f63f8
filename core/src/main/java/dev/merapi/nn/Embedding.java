// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/** Rows of a table by index: int64 [*] → [*, width]. */
public final class Embedding extends Layer {
    private final Parameter weight;

    /**
     * Draws the table from the standard normal distribution, as PyTorch does.
     *
     * @param rows how many indices there are
     * @param width size of what each index stands for
     */
    public Embedding(long rows, long width) {
        Init.atLeast(0, "Embedding", "rows", rows);
        Init.atLeast(0, "Embedding", "width", width);
        weight = parameter("weight", Init.normal(1, rows, width));
    }

    @Override
    public Tensor forward(Tensor indices) {
        return weight.tensor().embedding(indices);
    }

    /**
     * [rows, width].
     *
     * @return the parameter, as it is now
     */
    public Tensor weight() {
        return weight.tensor();
    }
}
