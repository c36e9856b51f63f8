// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/**
 * The small GPT that every engine trains one step of: pre-norm, learned positions, GELU, tied embedding. Its weights and
 * its batch are the same numbers everywhere, so the losses are too.
 */
final class GptShape {
    static final int LAYERS = 4;
    static final int WIDTH = 128;
    static final int HEADS = 4;
    static final int CONTEXT = 64;
    static final int BATCH = 16;
    static final int VOCABULARY = 65;
    static final double LEARNING_RATE = 1e-3;
    static final double BETA1 = 0.9;
    static final double BETA2 = 0.99;
    static final double EPSILON = 1e-8;
    static final double WEIGHT_DECAY = 0.1;
    static final double NORM_EPSILON = 1e-5;
    /** Cross entropy in nats of the first step, and of the tenth on the same batch; engines agree to float32's rounding. */
    static final double FIRST_LOSS = 4.20477;

    static final double TENTH_LOSS = 3.34984;

    static final int PER_LAYER = 12;

    /** One parameter: uniform in ±scale around {@code center}. */
    record Parameter(long[] sizes, float center, float scale) {
        float[] values(long seed) {
            int count = (int) Arrays.stream(sizes).reduce(1, (a, b) -> a * b);
            float[] values = Data.values(seed, count);
            for (int i = 0; i < count; i++) {
                values[i] = center + scale * values[i];
            }
            return values;
        }
    }

    private GptShape() {}

    /**
     * Token embedding, positions; per layer norm weight and bias, joint qkv weight and bias, projection weight and bias,
     * norm weight and bias, up weight and bias, down weight and bias; last norm weight and bias. Weights are out × in.
     */
    static List<Parameter> parameters() {
        List<Parameter> all = new ArrayList<>();
        all.add(matrix(VOCABULARY, WIDTH));
        all.add(matrix(CONTEXT, WIDTH));
        for (int i = 0; i < LAYERS; i++) {
            all.add(vector(WIDTH, 1));
            all.add(vector(WIDTH, 0));
            all.add(matrix(3 * WIDTH, WIDTH));
            all.add(vector(3 * WIDTH, 0));
            all.add(matrix(WIDTH, WIDTH));
            all.add(vector(WIDTH, 0));
            all.add(vector(WIDTH, 1));
            all.add(vector(WIDTH, 0));
            all.add(matrix(4 * WIDTH, WIDTH));
            all.add(vector(4 * WIDTH, 0));
            all.add(matrix(WIDTH, 4 * WIDTH));
            all.add(vector(WIDTH, 0));
        }
        all.add(vector(WIDTH, 1));
        all.add(vector(WIDTH, 0));
        return all;
    }

    private static Parameter matrix(long rows, long columns) {
        return new Parameter(new long[] {rows, columns}, 0, 0.035f);
    }

    private static Parameter vector(long size, float center) {
        return new Parameter(new long[] {size}, center, 0);
    }

    /** Characters of the batch, and one more for each row: row {@code b} is positions b·(CONTEXT + 1) and on. */
    static long[] characters() {
        float[] values = Data.values(99, BATCH * (CONTEXT + 1));
        long[] characters = new long[values.length];
        for (int i = 0; i < values.length; i++) {
            characters[i] = (long) ((values[i] + 1) / 2 * VOCABULARY);
        }
        return characters;
    }

    /** What is read, row by row, or what is to be predicted there ({@code shift} 0 or 1). */
    static long[] tokens(int shift) {
        long[] characters = characters();
        long[] tokens = new long[BATCH * CONTEXT];
        for (int b = 0; b < BATCH; b++) {
            System.arraycopy(characters, b * (CONTEXT + 1) + shift, tokens, b * CONTEXT, CONTEXT);
        }
        return tokens;
    }

    /** Trains ten steps: engines that don't compute the same model, gradient and update are not compared. */
    static void check(Supplier<Float> step) {
        double first = step.get();
        double last = first;
        for (int i = 1; i < 10; i++) {
            last = step.get();
        }
        if (!(Math.abs(first - FIRST_LOSS) < 1e-3 && Math.abs(last - TENTH_LOSS) < 1e-2)) {
            throw new AssertionError("GPT step: losses of steps 1 and 10 are " + first + " and " + last + ", expected "
                    + FIRST_LOSS + " and " + TENTH_LOSS);
        }
    }
}
