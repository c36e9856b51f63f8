// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.random.Generator;
import dev.merapi.random.Philox;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * How the next token is drawn from its scores.
 *
 * @param temperature divides the scores: below 1 the likely is preferred; at 0 the likeliest is taken
 * @param topK how many of the likeliest may come; 0 for all
 * @param topP of these the fewest whose probabilities reach this sum; 1 for all
 */
record Sampling(double temperature, int topK, double topP) {
    Sampling {
        if (!(temperature >= 0) || Double.isInfinite(temperature)) {
            throw new Launch.MistakeException("--temperature " + temperature, "must be 0 or greater, and finite");
        }
        Launch.atLeast(0, "--top-k", topK);
        if (!(topP > 0 && topP <= 1)) {
            throw new Launch.MistakeException("--top-p " + topP, "must be greater than 0, and at most 1");
        }
    }

    /** The number of a token. */
    int draw(double[] scores, Generator generator) {
        int[] likeliest = IntStream.range(0, scores.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> -scores[i]))
                .limit(topK == 0 ? scores.length : topK)
                .mapToInt(Integer::intValue)
                .toArray();
        if (temperature == 0) {
            return likeliest[0];
        }
        double[] probabilities = new double[likeliest.length];
        double sum = 0;
        for (int i = 0; i < likeliest.length; i++) {
            probabilities[i] = Math.exp((scores[likeliest[i]] - scores[likeliest[0]]) / temperature);
            sum += probabilities[i];
        }
        int allowed = 0;
        double kept = 0;
        while (allowed < likeliest.length && (allowed == 0 || kept < topP * sum)) {
            kept += probabilities[allowed++];
        }
        Generator.Position at = generator.draw(1);
        double rest = kept * Philox.uniform(Philox.bits(at.seed(), at.offset(), 0));
        int i = 0;
        while (i < allowed - 1 && rest >= probabilities[i]) {
            rest -= probabilities[i++];
        }
        return likeliest[i];
    }
}
