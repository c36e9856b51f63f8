// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;

/** Rows of a table by index: int64 [*] → [*, width]. */
public final class Embedding extends Layer {
    private static final long NONE = -1;

    private final Parameter weight;
    private final long padding;

    /**
     * Draws the table from the standard normal distribution, as PyTorch does.
     *
     * @param rows how many indices there are
     * @param width size of what each index stands for
     */
    public Embedding(long rows, long width) {
        this(rows, width, NONE, true);
    }

    /**
     * With a row that stands for nothing: it begins with zeros, and gets no gradient.
     *
     * @param rows how many indices there are
     * @param width size of what each index stands for
     * @param padding the index of that row
     */
    public Embedding(long rows, long width, long padding) {
        this(rows, width, Init.atLeast(0, "Embedding", "padding", padding), true);
        if (padding >= rows) {
            throw new ShapeException(
                    Message.of("Embedding", "padding is " + padding + ", but there are " + rows + " rows")
                            .argument("padding"));
        }
        try (Autograd.Mode mode = Autograd.noGrad();
                Tensor row = weight().select(0, padding)) {
            row.zero_();
        }
    }

    private Embedding(long rows, long width, long padding, boolean unused) {
        this.padding = padding;
        Init.atLeast(0, "Embedding", "rows", rows);
        Init.atLeast(0, "Embedding", "width", width);
        weight = parameter("weight", Init.normal(1, rows, width));
    }

    @Override
    protected Tensor compute(Tensor indices) {
        return padding == NONE
                ? weight.tensor().embedding(indices)
                : weight.tensor().embedding(indices, padding);
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
