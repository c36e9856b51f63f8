// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Objects;

/** Sums, means or largest values of rows of a table, a bag of indices at a time: int64 [B, L] → [B, width]. */
public final class EmbeddingBag extends Layer {
    private final Parameter weight;
    private final Reduce mode;

    /**
     * Draws the table from the standard normal distribution, as PyTorch does.
     *
     * @param rows how many indices there are
     * @param width size of what each index stands for
     * @param mode SUM, MEAN (which is PyTorch's default) or AMAX
     */
    public EmbeddingBag(long rows, long width, Reduce mode) {
        Init.atLeast(0, "EmbeddingBag", "rows", rows);
        Init.atLeast(0, "EmbeddingBag", "width", width);
        this.mode = Objects.requireNonNull(mode, "mode");
        if (mode != Reduce.SUM && mode != Reduce.MEAN && mode != Reduce.AMAX) {
            throw new IllegalArgumentException("EmbeddingBag: the mode is " + mode + ", but must be SUM, MEAN or AMAX");
        }
        weight = parameter("weight", Init.normal(1, rows, width));
    }

    @Override
    protected Tensor compute(Tensor indices) {
        Objects.requireNonNull(indices, "indices");
        if (indices.rank() != 2) {
            throw new ShapeException(Message.of("EmbeddingBag", "indices must be [B, L], but are " + indices.describe())
                    .argument("indices")
                    .fix("pass where each bag begins with indices [N]."));
        }
        long[] offsets = new long[Math.toIntExact(indices.size(0))];
        for (int i = 0; i < offsets.length; i++) {
            offsets[i] = i * indices.size(1);
        }
        return bags(indices.reshape(-1), offsets);
    }

    /**
     * Bags of different sizes.
     *
     * @param indices int64 [N], one bag after the other
     * @param offsets where each bag begins: 0 first, not falling, at most N; an empty bag gives zeros
     * @return [bags, width]
     * @throws ShapeException if the indices are not [N], or offsets are not in order
     */
    public Tensor forward(Tensor indices, long... offsets) {
        Objects.requireNonNull(offsets, "offsets");
        return hooked(Objects.requireNonNull(indices, "indices"), x -> bags(x, offsets));
    }

    private Tensor bags(Tensor indices, long[] offsets) {
        boolean ordered = indices.rank() == 1 && (offsets.length == 0 ? indices.size(0) == 0 : offsets[0] == 0);
        for (int i = 0; ordered && i < offsets.length; i++) {
            long next = i + 1 < offsets.length ? offsets[i + 1] : indices.size(0);
            ordered = offsets[i] <= next;
        }
        if (!ordered) {
            throw new ShapeException(
                    Message.of("EmbeddingBag", "offsets must begin with 0, not fall, and end within indices [N]")
                            .fact("indices", indices.describe())
                            .argument("offsets"));
        }
        long[] bagOf = new long[Math.toIntExact(indices.size(0))];
        for (int bag = 0; bag < offsets.length; bag++) {
            long end = bag + 1 < offsets.length ? offsets[bag + 1] : bagOf.length;
            for (long i = offsets[bag]; i < end; i++) {
                bagOf[(int) i] = bag;
            }
        }
        Tensor table = weight.tensor();
        Tensor rows = table.embedding(indices);
        Tensor index = Tensor.of(bagOf).to(indices.device()).unsqueeze(1).expand(bagOf.length, table.size(1));
        Tensor zeros = Tensor.zeros(Shape.of(offsets.length, table.size(1)), table.dtype(), table.device());
        return zeros.scatterReduce(0, index, rows, mode, false);
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
