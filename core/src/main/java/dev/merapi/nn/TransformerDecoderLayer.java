// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Attention of a sequence with itself, then with what an encoder gave, then two linear maps, each added to what it reads, with
 * norms. Parameters have the names of PyTorch's {@code nn.TransformerDecoderLayer}; the batch comes first.
 */
public final class TransformerDecoderLayer extends Block {
    private final TransformerOptions options;
    private final MultiheadAttention ofItself;
    private final MultiheadAttention ofMemory;
    private final Linear linear1;
    private final Dropout dropout;
    private final Linear linear2;
    private final LayerNorm norm1;
    private final LayerNorm norm2;
    private final LayerNorm norm3;
    private final Dropout dropout1;
    private final Dropout dropout2;
    private final Dropout dropout3;

    /**
     * First values are PyTorch's.
     *
     * @param width size of the last dimension, of the sequence and of what it looks at
     * @param heads of attention
     * @param options what it is
     */
    public TransformerDecoderLayer(long width, long heads, TransformerOptions options) {
        this.options = Objects.requireNonNull(options, "options");
        ofItself = child("self_attn", options.attention(width, heads, true));
        ofMemory = child("multihead_attn", options.attention(width, heads, false));
        linear1 = child("linear1", new Linear(width, options.hidden(), options.bias()));
        dropout = child("dropout", new Dropout(options.dropout()));
        linear2 = child("linear2", new Linear(options.hidden(), width, options.bias()));
        norm1 = child("norm1", options.norm(width));
        norm2 = child("norm2", options.norm(width));
        norm3 = child("norm3", options.norm(width));
        dropout1 = child("dropout1", new Dropout(options.dropout()));
        dropout2 = child("dropout2", new Dropout(options.dropout()));
        dropout3 = child("dropout3", new Dropout(options.dropout()));
    }

    /**
     * Without masks.
     *
     * @param x [B, T, width]
     * @param memory [B, S, width], what it looks at
     * @return [B, T, width]
     */
    public Tensor forward(Tensor x, Tensor memory) {
        return forward(x, memory, null, null);
    }

    /**
     * With masks, as {@link MultiheadAttention} takes them: true where a position is seen.
     *
     * @param x [B, T, width]
     * @param memory [B, S, width], what it looks at
     * @param mask what broadcasts to [B, heads, T, T], or null
     * @param memoryMask what broadcasts to [B, heads, T, S], or null
     * @return [B, T, width]
     */
    public Tensor forward(Tensor x, Tensor memory, @Nullable Tensor mask, @Nullable Tensor memoryMask) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(memory, "memory");
        if (options.normFirst()) {
            Tensor y = x.add(dropout1.forward(ofItself.forward(norm1.forward(x), mask)));
            Tensor z = y.add(dropout2.forward(ofMemory.forward(norm2.forward(y), memory, memoryMask)));
            return z.add(maps(norm3.forward(z)));
        }
        Tensor y = norm1.forward(x.add(dropout1.forward(ofItself.forward(x, mask))));
        Tensor z = norm2.forward(y.add(dropout2.forward(ofMemory.forward(y, memory, memoryMask))));
        return norm3.forward(z.add(maps(z)));
    }

    private Tensor maps(Tensor x) {
        Tensor inner = dropout.forward(options.activation().apply(linear1.forward(x)));
        return dropout3.forward(linear2.forward(inner));
    }
}
