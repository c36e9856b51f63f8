// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Encoder layers one after the other, and perhaps a norm: names are those of PyTorch's {@code nn.TransformerEncoder}. */
public final class TransformerEncoder extends Layer {
    private final BlockList<TransformerEncoderLayer> layers = child("layers", new BlockList<>());
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
    public TransformerEncoder(int count, long width, long heads, TransformerOptions options, boolean endsWithNorm) {
        Objects.requireNonNull(options, "options");
        Init.atLeast(0, "TransformerEncoder", "count", count);
        for (int i = 0; i < count; i++) {
            layers.add(new TransformerEncoderLayer(width, heads, options));
        }
        norm = endsWithNorm ? child("norm", options.norm(width)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return compute(x, null);
    }

    /**
     * With a mask.
     *
     * @param x [B, T, width]
     * @param mask for each layer; as {@link TransformerEncoderLayer#forward(Tensor, Tensor)} takes it
     * @return [B, T, width]
     */
    public Tensor forward(Tensor x, @Nullable Tensor mask) {
        return hooked(x, given -> compute(given, mask));
    }

    private Tensor compute(Tensor x, @Nullable Tensor mask) {
        Tensor y = Objects.requireNonNull(x, "x");
        for (TransformerEncoderLayer layer : layers) {
            y = layer.forward(y, mask);
        }
        return norm == null ? y : norm.forward(y);
    }
}
