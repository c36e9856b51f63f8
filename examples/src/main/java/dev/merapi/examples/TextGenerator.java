// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.Vocabulary;
import dev.merapi.nn.KeyValueCache;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.List;
import java.util.function.Consumer;

/**
 * Continues a text, one character after another. Keys and values of what was read stay in caches, so a character costs the work of one
 * position; when the context is full, its second half is read again as the first.
 */
final class TextGenerator {
    private final Gpt model;
    private final Vocabulary vocabulary;
    private final Device device;
    private final Precision arithmetic;

    TextGenerator(Gpt model, Vocabulary vocabulary, Device device, Precision arithmetic) {
        this.model = model;
        this.vocabulary = vocabulary;
        this.device = device;
        this.arithmetic = arithmetic;
    }

    /**
     * Hands on what the model writes, as it comes.
     *
     * @param prompt not empty, of characters in the vocabulary
     */
    void write(String prompt, int characters, Sampling sampling, Generator generator, Consumer<String> to) {
        long[] text = new long[prompt.codePointCount(0, prompt.length()) + characters];
        int known = 0;
        for (int token : vocabulary.encode(prompt)) {
            text[known++] = token;
        }
        int context = model.shape().context();
        boolean training = model.isTraining();
        model.eval();
        List<KeyValueCache> caches = model.caches(1);
        try {
            int next = Math.max(0, known - context); // the first that the caches lack
            for (int i = 0; i < characters; i++) {
                if (!caches.isEmpty() && caches.get(0).length() + known - next > context) {
                    next = known - (context + 1) / 2;
                    caches.forEach(cache -> cache.truncate(0));
                } else if (caches.isEmpty()) {
                    next = Math.max(0, known - context); // without layers there is nothing to keep
                }
                int token = sampling.draw(scores(text, next, known, caches), generator);
                next = known;
                text[known++] = token;
                to.accept(vocabulary.decode(token));
            }
        } finally {
            caches.forEach(KeyValueCache::close);
            model.train(training);
        }
    }

    private double[] scores(long[] text, int from, int to, List<KeyValueCache> caches) {
        long[] tokens = java.util.Arrays.copyOfRange(text, from, to);
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad();
                Autocast cast = arithmetic.mode()) {
            Tensor input = Tensor.of(tokens, 1, tokens.length).to(device);
            return model.forward(input, caches).at(0, -1).toDoubleArray();
        }
    }
}
