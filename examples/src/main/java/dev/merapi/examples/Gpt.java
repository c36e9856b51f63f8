// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.Embedding;
import dev.merapi.nn.Init;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Module;
import dev.merapi.ops.Attention;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.Losses;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;

/**
 * A decoder-only transformer: pre-norm blocks, learned positions, GELU, and an output layer that shares the weights of the
 * token embedding (GPT-2's design).
 */
public final class Gpt extends Module {
    /** Sizes of a model; {@code width} is divided evenly among the heads. */
    public record Config(int layers, int width, int heads, int context, int vocabulary) {}

    private final Config config;
    private final Embedding tokens;
    private final Embedding positions;
    private final List<Block> blocks = new ArrayList<>();
    private final LayerNorm norm;

    public Gpt(Config config) {
        this.config = config;
        tokens = child("tokens", new Embedding(config.vocabulary(), config.width()));
        positions = child("positions", new Embedding(config.context(), config.width()));
        for (int i = 0; i < config.layers(); i++) {
            blocks.add(child("block" + i, new Block(config)));
        }
        norm = child("norm", new LayerNorm(config.width()));
        namedParameters().forEach((name, t) -> {
            if (name.endsWith("weight") && t.rank() == 2) {
                boolean residual = name.endsWith("out.weight");
                Init.normal_(t, residual ? 0.02 / Math.sqrt(2 * config.layers()) : 0.02);
            } else if (name.endsWith("bias") && !name.contains("norm")) {
                try (dev.merapi.autograd.Autograd.Mode mode = dev.merapi.autograd.Autograd.noGrad()) {
                    t.zero_();
                }
            }
        });
    }

    public Config config() {
        return config;
    }

    /** Scores of the next token: int64 [B, T] → [B, T, vocabulary]. */
    public Tensor forward(Tensor ids) {
        long length = ids.size(1);
        Tensor at = Tensor.arange(0, length, 1, DType.INT64, ids.device());
        Tensor x = tokens.forward(ids).add(positions.forward(at));
        for (Block block : blocks) {
            x = block.forward(x);
        }
        return LinearAlgebra.linear(norm.forward(x), tokens.weight(), null);
    }

    /** Mean cross entropy in nats: inputs and targets int64 [B, T] → 0-d. */
    public Tensor loss(Tensor inputs, Tensor targets) {
        Tensor scores = forward(inputs);
        return Losses.crossEntropy(scores.reshape(-1, config.vocabulary()), targets.reshape(-1));
    }

    /** Parameters that weight decay applies to: matrices. */
    public List<Tensor> decayed() {
        return parameters().stream().filter(t -> t.rank() >= 2).toList();
    }

    /** Gains and biases. */
    public List<Tensor> notDecayed() {
        return parameters().stream().filter(t -> t.rank() < 2).toList();
    }

    /** Where the model is. */
    public Device device() {
        return tokens.weight().device();
    }

    private static final class Block extends Module {
        private final int heads;
        private final LayerNorm norm1;
        private final Linear qkv;
        private final Linear out;
        private final LayerNorm norm2;
        private final Linear up;
        private final Linear down;

        Block(Config c) {
            heads = c.heads();
            norm1 = child("norm1", new LayerNorm(c.width()));
            qkv = child("qkv", new Linear(c.width(), 3L * c.width()));
            out = child("attention_out", new Linear(c.width(), c.width()));
            norm2 = child("norm2", new LayerNorm(c.width()));
            up = child("up", new Linear(c.width(), 4L * c.width()));
            down = child("mlp_out", new Linear(4L * c.width(), c.width()));
        }

        Tensor forward(Tensor x) {
            Tensor y = x.add(attend(norm1.forward(x)));
            return y.add(down.forward(up.forward(norm2.forward(y)).gelu()));
        }

        private Tensor attend(Tensor x) {
            long batch = x.size(0);
            long length = x.size(1);
            long width = x.size(2);
            // One projection gives queries, keys and values; attention reads them as views of it.
            Tensor packed = qkv.forward(x).view(batch, length, 3, heads, width / heads);
            List<Tensor> parts = packed.permute(2, 0, 3, 1, 4).unbind(0);
            double scale = 1 / Math.sqrt((double) width / heads);
            Tensor mixed = Attention.ATTENTION
                    .call(new Attention.Args(parts.get(0), parts.get(1), parts.get(2), true, scale))
                    .out();
            return out.forward(mixed.transpose(1, 2).reshape(batch, length, width));
        }
    }
}
