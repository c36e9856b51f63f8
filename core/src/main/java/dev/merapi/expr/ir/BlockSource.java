// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/**
 * Delivers the elements of one input, by linear index, to {@link Program#run}. Floating dtypes are asked for doubles,
 * integers and bools (0 or 1) for longs. Must be safe to call from several threads if the program is run from several.
 */
public interface BlockSource {
    /** Converts elements {@code start … start + count − 1} of a floating input into {@code into[0 … count − 1]}. */
    void load(long start, int count, double[] into);

    /** Converts elements of an integer or bool input; each is in the range of its dtype. */
    void load(long start, int count, long[] into);

    /** A source over an array of floats. */
    static BlockSource of(double[] values) {
        return new BlockSource() {
            @Override
            public void load(long start, int count, double[] into) {
                System.arraycopy(values, (int) start, into, 0, count);
            }

            @Override
            public void load(long start, int count, long[] into) {
                throw new IllegalStateException(
                        "load: the program's input has an integer dtype, the source holds doubles");
            }
        };
    }

    /** A source over an array of integers or bools. */
    static BlockSource of(long[] values) {
        return new BlockSource() {
            @Override
            public void load(long start, int count, double[] into) {
                throw new IllegalStateException(
                        "load: the program's input has a floating dtype, the source holds longs");
            }

            @Override
            public void load(long start, int count, long[] into) {
                System.arraycopy(values, (int) start, into, 0, count);
            }
        };
    }
}
