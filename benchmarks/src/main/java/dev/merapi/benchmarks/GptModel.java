// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.nn.Block;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.Layer;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.Linear;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A GPT from the engine's own layers, as a user would write it: pre-norm, learned positions, tied embedding. GELU by erf
 * between two linear layers, or the fused layer with its approximation by tanh, as GPT-2 has it.
 */
final class GptModel extends Block {
    private final long vocabulary;
    private final Embedding tokens;
    private final Embedding positions;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm norm;

    GptModel(DeviceSizes.GptSizes sizes, boolean fused) {
        vocabulary = sizes.vocabulary();
        tokens = child("tokens", new Embedding(sizes.vocabulary(), sizes.width()));
        positions = child("positions", new Embedding(sizes.context(), sizes.width()));
        for (int i = 0; i < sizes.layers(); i++) {
            blocks.add(child("block" + i, new TransformerBlock(sizes.width(), sizes.heads(), fused)));
        }
        norm = child("norm", new LayerNorm(sizes.width()));
        namedParameters().forEach((name, parameter) -> {
            Tensor p = parameter.tensor();
            if (p.rank() == 2) {
                dev.merapi.nn.Init.normal_(p, 0.02);
            }
        });
    }

    /** Mean cross entropy: int64 [B, T], int64 [B, T] → 0-d. */
    Tensor loss(Tensor input, Tensor targets) {
        Tensor x = tokens.forward(input).add(positions.weight().slice(0, 0, input.size(1)));
        for (TransformerBlock block : blocks) {
            x = block.forward(x);
        }
        // Closed, the logits give their memory to their gradient.
        try (Tensor logits = norm.forward(x).linear(tokens.weight(), null);
                Tensor rows = logits.view(-1, vocabulary)) {
            return Losses.crossEntropy(rows, targets.view(-1));
        }
    }

    private static final class TransformerBlock extends Block {
        private final LayerNorm norm1;
        private final MultiheadAttention attention;
        private final LayerNorm norm2;
        private final Layer feedForward;

        TransformerBlock(long width, long heads, boolean fused) {
            norm1 = child("norm1", new LayerNorm(width));
            attention = child("attention", new MultiheadAttention(width, heads, true));
            norm2 = child("norm2", new LayerNorm(width));
            feedForward = child(
                    "feedForward",
                    fused
                            ? new FeedForward(width, 4 * width)
                            : new Sequential()
                                    .then(new Linear(width, 4 * width))
                                    .then(Tensor::gelu)
                                    .then(new Linear(4 * width, width)));
        }

        Tensor forward(Tensor x) {
            Tensor y = x.add(attention.forward(norm1.forward(x)));
            return y.add(feedForward.forward(norm2.forward(y)));
        }
    }
}
