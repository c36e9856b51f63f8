// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Attention of a sequence with itself, then two linear maps, each added to what it reads, with norms: [B, T, width] → the same.
 * Parameters have the names of PyTorch's {@code nn.TransformerEncoderLayer}; the batch comes first.
 *
 * @see <a href="https://arxiv.org/abs/1706.03762">Vaswani et al. 2017</a>
 */
public final class TransformerEncoderLayer extends Layer {
    private final TransformerOptions options;
    private final MultiheadAttention attention;
    private final Linear linear1;
    private final Dropout dropout;
    private final Linear linear2;
    private final LayerNorm norm1;
    private final LayerNorm norm2;
    private final Dropout dropout1;
    private final Dropout dropout2;

    /**
     * First values are PyTorch's.
     *
     * @param width size of the last dimension
     * @param heads of attention
     * @param options what it is
     */
    public TransformerEncoderLayer(long width, long heads, TransformerOptions options) {
        this.options = Objects.requireNonNull(options, "options");
        attention = child("self_attn", options.attention(width, heads, true));
        linear1 = child("linear1", new Linear(width, options.hidden(), options.bias()));
        dropout = child("dropout", new Dropout(options.dropout()));
        linear2 = child("linear2", new Linear(options.hidden(), width, options.bias()));
        norm1 = child("norm1", options.norm(width));
        norm2 = child("norm2", options.norm(width));
        dropout1 = child("dropout1", new Dropout(options.dropout()));
        dropout2 = child("dropout2", new Dropout(options.dropout()));
    }

    @Override
    protected Tensor compute(Tensor x) {
        return compute(x, null);
    }

    /**
     * With a mask.
     *
     * @param x [B, T, width]
     * @param mask as {@link MultiheadAttention#forward(Tensor, Tensor)} takes it: true where a position is seen
     * @return [B, T, width]
     */
    public Tensor forward(Tensor x, @Nullable Tensor mask) {
        return hooked(x, given -> compute(given, mask));
    }

    private Tensor compute(Tensor x, @Nullable Tensor mask) {
        Objects.requireNonNull(x, "x");
        if (options.normFirst()) {
            Tensor y = x.add(dropout1.forward(attention.forward(norm1.forward(x), mask)));
            return y.add(maps(norm2.forward(y)));
        }
        Tensor y = norm1.forward(x.add(dropout1.forward(attention.forward(x, mask))));
        return norm2.forward(y.add(maps(y)));
    }

    private Tensor maps(Tensor x) {
        Tensor inner = dropout.forward(options.activation().apply(linear1.forward(x)));
        return dropout2.forward(linear2.forward(inner));
    }
}
