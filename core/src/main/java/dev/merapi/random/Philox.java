// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

/**
 * Philox4x32-10, the generator behind every random op, and the conversions from its bits to numbers. This class is the
 * specification: the native kernels repeat it operation by operation, every rounding written out, so that all of them
 * give the same bits on every device, for any number of threads.
 *
 * <p>A stream is a seed and an offset that counts blocks of four 32-bit lanes. The key is (seed low, seed high), the
 * counter of block b is (b low, b high, 0, 0).
 *
 * <ul>
 *   <li>Element i of anything that takes one lane (32 bits) uses lane i mod 4 of block offset + i/4.
 *   <li>Element i of anything that takes 64 bits uses lanes 2(i mod 2), the high word, and 2(i mod 2) + 1, the low word,
 *       of block offset + i/2.
 *   <li>Normals come in pairs by Box and Muller: the elements 2j and 2j + 1 share their two lanes (float) or their block
 *       (double); the even one gets the cosine, the odd one the sine.
 * </ul>
 */
public final class Philox {
    private static final long MULTIPLIER_0 = 0xD2511F53L;
    private static final long MULTIPLIER_1 = 0xCD9E8D57L;
    private static final int WEYL_0 = 0x9E3779B9;
    private static final int WEYL_1 = 0xBB67AE85;
    private static final long LOW = 0xffffffffL;

    private Philox() {}

    /** Receives element {@code i}. */
    @FunctionalInterface
    public interface LaneSink {
        /**
         * Takes the next one.
         *
         * @param i its index, from 0
         * @param lane 32 random bits
         */
        void put(long i, int lane);
    }

    /** Receives element {@code i}. */
    @FunctionalInterface
    public interface BitsSink {
        /**
         * Takes the next one.
         *
         * @param i its index, from 0
         * @param bits 64 random bits
         */
        void put(long i, long bits);
    }

    /** Receives element {@code i}. */
    @FunctionalInterface
    public interface FloatSink {
        /**
         * Takes the next one.
         *
         * @param i its index, from 0
         * @param value the number
         */
        void put(long i, float value);
    }

    /** Receives element {@code i}. */
    @FunctionalInterface
    public interface DoubleSink {
        /**
         * Takes the next one.
         *
         * @param i its index, from 0
         * @param value the number
         */
        void put(long i, double value);
    }

    /**
     * Writes the four lanes of one block.
     *
     * @param seed of the sequence
     * @param block index of the block
     * @param lanes an array of 4, which is filled
     */
    public static void block(long seed, long block, int[] lanes) {
        int c0 = (int) block;
        int c1 = (int) (block >>> 32);
        int c2 = 0;
        int c3 = 0;
        int k0 = (int) seed;
        int k1 = (int) (seed >>> 32);
        for (int round = 0; round < 10; round++) {
            long p0 = MULTIPLIER_0 * (c0 & LOW);
            long p1 = MULTIPLIER_1 * (c2 & LOW);
            c0 = (int) (p1 >>> 32) ^ c1 ^ k0;
            c2 = (int) (p0 >>> 32) ^ c3 ^ k1;
            c1 = (int) p1;
            c3 = (int) p0;
            k0 += WEYL_0;
            k1 += WEYL_1;
        }
        lanes[0] = c0;
        lanes[1] = c1;
        lanes[2] = c2;
        lanes[3] = c3;
    }

    /**
     * The 32 bits of element i.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param i the element, from 0
     * @return 32 bits
     */
    public static int lane(long seed, long offset, long i) {
        int[] lanes = new int[4];
        block(seed, offset + i / 4, lanes);
        return lanes[(int) (i % 4)];
    }

    /**
     * The 64 bits of element i.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param i the element, from 0
     * @return 64 bits
     */
    public static long bits(long seed, long offset, long i) {
        int[] lanes = new int[4];
        block(seed, offset + i / 2, lanes);
        return pair(lanes, (int) (i % 2));
    }

    /**
     * The 32 bits of the elements 0 to n - 1, in order.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param n how many
     * @param sink gets each with its index
     */
    public static void lanes(long seed, long offset, long n, LaneSink sink) {
        int[] lanes = new int[4];
        for (long i = 0; i < n; i += 4) {
            block(seed, offset + i / 4, lanes);
            for (int l = 0; l < 4 && i + l < n; l++) {
                sink.put(i + l, lanes[l]);
            }
        }
    }

    /**
     * The 64 bits of the elements 0 to n - 1, in order.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param n how many
     * @param sink gets each with its index
     */
    public static void bits(long seed, long offset, long n, BitsSink sink) {
        int[] lanes = new int[4];
        for (long i = 0; i < n; i += 2) {
            block(seed, offset + i / 2, lanes);
            for (int l = 0; l < 2 && i + l < n; l++) {
                sink.put(i + l, pair(lanes, l));
            }
        }
    }

    /**
     * Blocks that n elements take: of one lane each, or of 64 bits each.
     *
     * @param n how many
     * @param wide whether an element takes 64 bits
     * @return a count
     */
    public static long blocks(long n, boolean wide) {
        return wide ? (n + 1) / 2 : (n + 3) / 4;
    }

    private static long pair(int[] lanes, int which) {
        return (long) lanes[2 * which] << 32 | (lanes[2 * which + 1] & LOW);
    }

    // ---- from bits to numbers ----

    /**
     * float32 in [0, 1): 24 bits.
     *
     * @param lane 32 random bits
     * @return a number below 1
     */
    public static float uniform(int lane) {
        return (lane >>> 8) * 0x1p-24f;
    }

    /**
     * float64 in [0, 1): 53 bits.
     *
     * @param bits 64 random bits
     * @return a number below 1
     */
    public static double uniform(long bits) {
        return (bits >>> 11) * 0x1p-53;
    }

    /**
     * In [0, 1) with the 11 bits of a float16.
     *
     * @param lane 32 random bits
     * @return a number below 1
     */
    public static float uniformFloat16(int lane) {
        return (lane >>> 21) * 0x1p-11f;
    }

    /**
     * In [0, 1) with the 8 bits of a bfloat16.
     *
     * @param lane 32 random bits
     * @return a number below 1
     */
    public static float uniformBFloat16(int lane) {
        return (lane >>> 24) * 0x1p-8f;
    }

    /**
     * An integer in [low, low + range), for range from 1 to 2³² − 1. No rejection, so that element i needs no other: some
     * values are likelier than others, by at most range / 2³² of their probability.
     *
     * @param lane 32 random bits
     * @param low the lowest
     * @param range how many integers there are
     * @return from {@code low} on
     */
    public static long integer(int lane, long low, long range) {
        return low + ((lane & LOW) * range >>> 32);
    }

    /**
     * The same for larger ranges, an unsigned number; 0 stands for 2⁶⁴.
     *
     * @param bits 64 random bits
     * @param low the lowest
     * @param range how many integers there are
     * @return from {@code low} on
     */
    public static long integer(long bits, long low, long range) {
        if (range == 0) {
            return low + bits;
        }
        long high = Math.multiplyHigh(bits, range);
        return low + high + (bits >> 63 & range) + (range >> 63 & bits);
    }

    /**
     * Whether dropout keeps an element; threshold in [0, 2³²] is the probability of dropping times 2³², rounded.
     *
     * @param lane 32 random bits
     * @param threshold the probability of dropping times 2³², rounded
     * @return false for the dropped
     */
    public static boolean keep(int lane, long threshold) {
        return (lane & LOW) >= threshold;
    }

    // ---- normals ----

    /**
     * float32 normals for the elements 0 to n - 1, in order; four a block.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param n how many
     * @param sink gets each with its index
     */
    public static void normals(long seed, long offset, long n, FloatSink sink) {
        int[] lanes = new int[4];
        for (long i = 0; i < n; i += 4) {
            block(seed, offset + i / 4, lanes);
            for (int l = 0; l < 4 && i + l < n; l++) {
                sink.put(i + l, normal(lanes[l & 2], lanes[l | 1], (l & 1) != 0));
            }
        }
    }

    /**
     * float64 normals for the elements 0 to n - 1, in order; two a block.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param n how many
     * @param sink gets each with its index
     */
    public static void normalsDouble(long seed, long offset, long n, DoubleSink sink) {
        int[] lanes = new int[4];
        for (long i = 0; i < n; i += 2) {
            block(seed, offset + i / 2, lanes);
            for (int l = 0; l < 2 && i + l < n; l++) {
                sink.put(i + l, normal(pair(lanes, 0), pair(lanes, 1), l != 0));
            }
        }
    }

    /**
     * The float32 normal of element i.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param i the element, from 0
     * @return a number of mean 0 and deviation 1
     */
    public static float normal(long seed, long offset, long i) {
        int[] lanes = new int[4];
        block(seed, offset + i / 4, lanes);
        int l = (int) (i % 4);
        return normal(lanes[l & 2], lanes[l | 1], (l & 1) != 0);
    }

    /**
     * The float64 normal of element i.
     *
     * @param seed of the sequence
     * @param offset index of the first block
     * @param i the element, from 0
     * @return a number of mean 0 and deviation 1
     */
    public static double normalDouble(long seed, long offset, long i) {
        int[] lanes = new int[4];
        block(seed, offset + i / 2, lanes);
        return normal(pair(lanes, 0), pair(lanes, 1), i % 2 != 0);
    }

    /**
     * r cos w or r sin w with r = sqrt(-2 ln u), u = ((a >>> 8) + 1) 2⁻²⁴ in (0, 1] and w = 2π (b >>> 8) 2⁻²⁴. Horner's
     * scheme from the highest coefficient down, each step one fused multiply-add.
     */
    private static float normal(int a, int b, boolean sineWanted) {
        // ln u = e ln 2 + ln m with m in [2/3, 4/3), ln m = 2 atanh s.
        float u = ((a >>> 8) + 1) * 0x1p-24f;
        int uBits = Float.floatToRawIntBits(u);
        int e = (uBits - 0x3f2aaaab) >> 23;
        float f = Float.intBitsToFloat(uBits - (e << 23)) - 1.0f;
        float s = f / (f + 2.0f);
        float z = s * s;
        float p = 2.0f / 11;
        p = Math.fma(p, z, 2.0f / 9);
        p = Math.fma(p, z, 2.0f / 7);
        p = Math.fma(p, z, 2.0f / 5);
        p = Math.fma(p, z, 2.0f / 3);
        float logU = Math.fma((float) e, 0.693147180559945309f, Math.fma(s * z, p, s + s));
        float r = (float) Math.sqrt(-2.0f * logU); // the root of a float, rounded twice, is the float root

        // w is k quarter turns and a rest of at most an eighth of a turn either way.
        int t = b >>> 8;
        int k = (t + (1 << 21)) >> 22;
        float w = ((t - (k << 22)) * 0x1p-24f) * 6.28318530717958648f;
        float q = w * w;
        boolean sine = sineWanted ^ (k & 1) != 0;
        float value;
        if (sine) {
            float c = 1.0f / 362880;
            c = Math.fma(c, q, -1.0f / 5040);
            c = Math.fma(c, q, 1.0f / 120);
            c = Math.fma(c, q, -1.0f / 6);
            value = Math.fma(w * q, c, w);
        } else {
            float c = -1.0f / 3628800;
            c = Math.fma(c, q, 1.0f / 40320);
            c = Math.fma(c, q, -1.0f / 720);
            c = Math.fma(c, q, 1.0f / 24);
            c = Math.fma(c, q, -1.0f / 2);
            value = Math.fma(c, q, 1.0f);
        }
        boolean negative = ((sineWanted ? k : k + 1) & 2) != 0;
        return r * (negative ? -value : value);
    }

    /** The same in double on 52 bits: u = ((a >>> 12) + 1) 2⁻⁵², w = 2π (b >>> 12) 2⁻⁵². */
    private static double normal(long a, long b, boolean sineWanted) {
        double u = (Double.longBitsToDouble(a >>> 12 | 0x3ff0000000000000L) - 1.0) + 0x1p-52;
        long uBits = Double.doubleToRawLongBits(u);
        long e = (uBits - 0x3fe5555555555555L) >> 52;
        double f = Double.longBitsToDouble(uBits - (e << 52)) - 1.0;
        double s = f / (f + 2.0);
        double z = s * s;
        double p = 2.0 / 23;
        p = Math.fma(p, z, 2.0 / 21);
        p = Math.fma(p, z, 2.0 / 19);
        p = Math.fma(p, z, 2.0 / 17);
        p = Math.fma(p, z, 2.0 / 15);
        p = Math.fma(p, z, 2.0 / 13);
        p = Math.fma(p, z, 2.0 / 11);
        p = Math.fma(p, z, 2.0 / 9);
        p = Math.fma(p, z, 2.0 / 7);
        p = Math.fma(p, z, 2.0 / 5);
        p = Math.fma(p, z, 2.0 / 3);
        double logU = Math.fma((double) e, 0.693147180559945309, Math.fma(s * z, p, s + s));
        double r = Math.sqrt(-2.0 * logU);

        long t = b >>> 12;
        long k = (t + (1L << 49)) >> 50;
        double w = ((t - (k << 50)) * 0x1p-52) * 6.28318530717958648;
        double q = w * w;
        boolean sine = sineWanted ^ (k & 1) != 0;
        double value;
        if (sine) {
            double c = 1.0 / 355687428096000.0;
            c = Math.fma(c, q, -1.0 / 1307674368000.0);
            c = Math.fma(c, q, 1.0 / 6227020800.0);
            c = Math.fma(c, q, -1.0 / 39916800);
            c = Math.fma(c, q, 1.0 / 362880);
            c = Math.fma(c, q, -1.0 / 5040);
            c = Math.fma(c, q, 1.0 / 120);
            c = Math.fma(c, q, -1.0 / 6);
            value = Math.fma(w * q, c, w);
        } else {
            double c = -1.0 / 6402373705728000.0;
            c = Math.fma(c, q, 1.0 / 20922789888000.0);
            c = Math.fma(c, q, -1.0 / 87178291200.0);
            c = Math.fma(c, q, 1.0 / 479001600);
            c = Math.fma(c, q, -1.0 / 3628800);
            c = Math.fma(c, q, 1.0 / 40320);
            c = Math.fma(c, q, -1.0 / 720);
            c = Math.fma(c, q, 1.0 / 24);
            c = Math.fma(c, q, -1.0 / 2);
            value = Math.fma(c, q, 1.0);
        }
        boolean negative = ((sineWanted ? k : k + 1) & 2) != 0;
        return r * (negative ? -value : value);
    }
}
