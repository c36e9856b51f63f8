// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Decoder layers one after the other, and perhaps a norm: names are those of PyTorch's {@code nn.TransformerDecoder}. */
public final class TransformerDecoder extends Block {
    private final BlockList<TransformerDecoderLayer> layers = child("layers", new BlockList<>());
    private final @Nullable LayerNorm norm;

    /**
     * Each layer has first values of its own.
     *
     * @param count how many layers
     * @param width size of the last dimension
     * @param heads of attention
     * @param options what each layer is
     * @param endsWithNorm whether a norm follows, as it should where norms come first
     */
    public TransformerDecoder(int count, long width, long heads, TransformerOptions options, boolean endsWithNorm) {
        Objects.requireNonNull(options, "options");
        Init.atLeast(0, "TransformerDecoder", "count", count);
        for (int i = 0; i < count; i++) {
            layers.add(new TransformerDecoderLayer(width, heads, options));
        }
        norm = endsWithNorm ? child("norm", options.norm(width)) : null;
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
     * With masks for each layer.
     *
     * @param x [B, T, width]
     * @param memory [B, S, width], what it looks at
     * @param mask what broadcasts to [B, heads, T, T], true where a position is seen, or null
     * @param memoryMask what broadcasts to [B, heads, T, S], or null
     * @return [B, T, width]
     */
    public Tensor forward(Tensor x, Tensor memory, @Nullable Tensor mask, @Nullable Tensor memoryMask) {
        Tensor y = Objects.requireNonNull(x, "x");
        Objects.requireNonNull(memory, "memory");
        for (TransformerDecoderLayer layer : layers) {
            y = layer.forward(y, memory, mask, memoryMask);
        }
        return norm == null ? y : norm.forward(y);
    }
}
