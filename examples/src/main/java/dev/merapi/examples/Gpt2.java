// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.Block;
import dev.merapi.nn.BlockList;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.Init;
import dev.merapi.nn.Layer;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.Parameter;
import dev.merapi.ops.SelfAttention;
import dev.merapi.tensor.Tensor;

/**
 * GPT-2 with Hugging Face's names: {@code model.loadStateDict(state.renamed(Gpt2::name))} loads a file of theirs. Its linear maps
 * have weights [in, out], as there.
 */
final class Gpt2 extends Block {
    private final Embedding tokens;
    private final Embedding positions;
    private final BlockList<Part> parts = child("h", new BlockList<>());
    private final LayerNorm norm;

    Gpt2(Gpt.Shape shape) {
        tokens = child("wte", new Embedding(shape.vocabulary(), shape.width()));
        positions = child("wpe", new Embedding(shape.context(), shape.width()));
        for (int i = 0; i < shape.layers(); i++) {
            parts.add(new Part(shape.width(), shape.heads()));
        }
        norm = child("ln_f", new LayerNorm(shape.width()));
    }

    /** The name here of a value of theirs; null for the head, which is the table of tokens, and for masks. */
    static @org.jspecify.annotations.Nullable String name(String theirs) {
        String name = theirs.startsWith("transformer.") ? theirs.substring("transformer.".length()) : theirs;
        return name.equals("lm_head.weight") || name.endsWith(".attn.bias") || name.endsWith(".attn.masked_bias")
                ? null
                : name;
    }

    /** Scores of the next token: int64 [B, T] → [B, T, vocabulary]. */
    Tensor forward(Tensor ids) {
        Tensor x = tokens.forward(ids).add(positions.weight().slice(0, 0, ids.size(1)));
        for (Part part : parts) {
            x = part.forward(x);
        }
        return norm.forward(x).linear(tokens.weight(), null);
    }

    /** x · weight + bias. */
    private static final class Conv1D extends Layer {
        private final Parameter weight;
        private final Parameter bias;

        Conv1D(int in, int out) {
            weight = parameter("weight", Init.normal(0.02, in, out));
            bias = parameter("bias", Tensor.zeros(out));
        }

        @Override
        protected Tensor compute(Tensor x) {
            return x.matmul(weight.tensor()).add(bias.tensor());
        }
    }

    private static final class Attention extends Layer {
        private final Conv1D joint;
        private final Conv1D projection;
        private final int heads;

        Attention(int width, int heads) {
            joint = child("c_attn", new Conv1D(width, 3 * width));
            projection = child("c_proj", new Conv1D(width, width));
            this.heads = heads;
        }

        @Override
        protected Tensor compute(Tensor x) {
            return projection.forward(SelfAttention.selfAttention(joint.forward(x), heads, true));
        }
    }

    private static final class Maps extends Layer {
        private final Conv1D up;
        private final Conv1D down;

        Maps(int width) {
            up = child("c_fc", new Conv1D(width, 4 * width));
            down = child("c_proj", new Conv1D(4 * width, width));
        }

        @Override
        protected Tensor compute(Tensor x) {
            return down.forward(up.forward(x).geluTanh());
        }
    }

    private static final class Part extends Layer {
        private final LayerNorm norm1;
        private final Attention attention;
        private final LayerNorm norm2;
        private final Maps maps;

        Part(int width, int heads) {
            norm1 = child("ln_1", new LayerNorm(width));
            attention = child("attn", new Attention(width, heads));
            norm2 = child("ln_2", new LayerNorm(width));
            maps = child("mlp", new Maps(width));
        }

        @Override
        protected Tensor compute(Tensor x) {
            Tensor y = x.add(attention.forward(norm1.forward(x)));
            return y.add(maps.forward(norm2.forward(y)));
        }
    }
}
