// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.Block;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.Init;
import dev.merapi.nn.KeyValueCache;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.ops.Losses;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A decoder-only transformer like GPT-2: pre-norm layers, learned positions, and one table that both reads tokens and
 * scores them.
 *
 * @see <a href="https://github.com/karpathy/nanoGPT">nanoGPT, whose first values and settings these are</a>
 */
final class Gpt extends Block {
    private static final double DEVIATION = 0.02;

    private final Shape shape;
    private final Embedding tokens;
    private final Embedding positions;
    private final List<TransformerBlock> blocks = new ArrayList<>();
    private final LayerNorm norm;

    /** Sizes of the model. */
    record Shape(int vocabulary, int context, int layers, int width, int heads) {}

    Gpt(Shape shape) {
        this.shape = shape;
        tokens = child("tokens", new Embedding(shape.vocabulary(), shape.width()));
        positions = child("positions", new Embedding(shape.context(), shape.width()));
        for (int i = 0; i < shape.layers(); i++) {
            blocks.add(child("block" + i, new TransformerBlock(shape.width(), shape.heads())));
        }
        norm = child("norm", new LayerNorm(shape.width()));
        namedParameters().forEach((name, parameter) -> {
            Tensor p = parameter.tensor();
            if (name.endsWith(".bias")) {
                p.detach().zero_();
            } else if (p.rank() == 2) {
                boolean ontoResidual = name.contains("out_proj") || name.contains("down");
                Init.normal_(p, ontoResidual ? DEVIATION / Math.sqrt(2 * shape.layers()) : DEVIATION);
            }
        });
    }

    Shape shape() {
        return shape;
    }

    /** Scores of the next token: int64 [B, T] → [B, T, vocabulary]. */
    Tensor forward(Tensor input) {
        return forward(input, List.of());
    }

    /** The same for tokens that follow those which the caches have; without gradients. */
    Tensor forward(Tensor input, List<KeyValueCache> caches) {
        long from = caches.isEmpty() ? 0 : caches.get(0).length();
        Tensor x = tokens.forward(input).add(positions.weight().slice(0, from, from + input.size(1)));
        for (int i = 0; i < blocks.size(); i++) {
            x = blocks.get(i).forward(x, caches.isEmpty() ? null : caches.get(i));
        }
        return norm.forward(x).linear(tokens.weight(), null);
    }

    /** An empty cache for each layer, as long as the context. */
    List<KeyValueCache> caches(long batch) {
        return blocks.stream()
                .map(block -> block.attention.cache(batch, shape.context()))
                .toList();
    }

    /** Mean cross entropy in nats per token; 0-d. */
    Tensor loss(Tensor input, Tensor targets) {
        // Closed, the scores give their memory to their gradient.
        try (Tensor scores = forward(input);
                Tensor rows = scores.view(-1, shape.vocabulary())) {
            return Losses.crossEntropy(rows, targets.view(-1));
        }
    }

    /** One layer: attention, then two linear maps, each added to what it reads. */
    private static final class TransformerBlock extends Block {
        private final LayerNorm norm1;
        private final MultiheadAttention attention;
        private final LayerNorm norm2;
        private final FeedForward feedForward;

        TransformerBlock(int width, int heads) {
            norm1 = child("norm1", new LayerNorm(width));
            attention = child("attention", new MultiheadAttention(width, heads, true));
            norm2 = child("norm2", new LayerNorm(width));
            feedForward = child("feedForward", new FeedForward(width, 4 * width));
        }

        Tensor forward(Tensor x, @Nullable KeyValueCache cache) {
            Tensor seen = norm1.forward(x);
            Tensor y = x.add(cache == null ? attention.forward(seen) : attention.forward(seen, cache));
            return y.add(feedForward.forward(norm2.forward(y)));
        }
    }
}
