// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/** Takes the elements of one output, by linear index, from {@link Program#run}. */
public interface BlockSink {
    /**
     * Stores results of a floating output. They come unrounded: round each once to the storage dtype, nearest even
     * ({@link dev.merapi.types.SmallFloat#round}).
     */
    void store(long start, int count, double[] from);

    /** Stores results of an integer or bool output; narrow ones are in range. */
    void store(long start, int count, long[] from);

    /** A sink into an array of doubles, unrounded. */
    static BlockSink into(double[] values) {
        return new BlockSink() {
            @Override
            public void store(long start, int count, double[] from) {
                System.arraycopy(from, 0, values, (int) start, count);
            }

            @Override
            public void store(long start, int count, long[] from) {
                throw new IllegalStateException(
                        "store: the program's output has an integer dtype, the sink holds doubles");
            }
        };
    }

    /** A sink into an array of longs. */
    static BlockSink into(long[] values) {
        return new BlockSink() {
            @Override
            public void store(long start, int count, double[] from) {
                throw new IllegalStateException(
                        "store: the program's output has a floating dtype, the sink holds longs");
            }

            @Override
            public void store(long start, int count, long[] from) {
                System.arraycopy(from, 0, values, (int) start, count);
            }
        };
    }
}
