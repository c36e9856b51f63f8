// SPDX-License-Identifier: Apache-2.0
package dev.merapi.random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigInteger;
import org.junit.jupiter.api.Test;

class PhiloxTest {
    private static final long SEED = 0x123456789abcdef0L;
    private static final long OFFSET = 0xfffffffeL;
    private static final int N = 100_003;

    /** The published known answers of Philox4x32-10. */
    @Test
    void blocksAreTheReferenceGenerators() {
        int[] lanes = new int[4];
        Philox.block(0, 0, lanes);
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, lanes);
    }

    /** The native test holds the same two hashes. */
    @Test
    void normalsHaveTheBitsOfTheNativeKernels() {
        long[] hash = {0xcbf29ce484222325L, 0xcbf29ce484222325L};
        Philox.normals(SEED, OFFSET, N, (i, value) -> hash[0] = hashed(hash[0], Float.floatToRawIntBits(value), 4));
        Philox.normalsDouble(
                SEED, OFFSET, N, (i, value) -> hash[1] = hashed(hash[1], Double.doubleToRawLongBits(value), 8));
        assertEquals("72467174b5d29f41", Long.toHexString(hash[0]));
        assertEquals("bc7d2191ed4db282", Long.toHexString(hash[1]));
    }

    @Test
    void normalsAreBoxMullerWithinRounding() {
        for (long i = 0; i < 20_000; i += 2) {
            double u = ((Philox.lane(SEED, OFFSET, i) >>> 8) + 1) * 0x1p-24;
            double w = 2 * Math.PI * ((Philox.lane(SEED, OFFSET, i + 1) >>> 8) * 0x1p-24);
            double r = Math.sqrt(-2 * Math.log(u));
            assertEquals(r * Math.cos(w), Philox.normal(SEED, OFFSET, i), 4 * Math.ulp(1f) * r);
            assertEquals(r * Math.sin(w), Philox.normal(SEED, OFFSET, i + 1), 4 * Math.ulp(1f) * r);
        }
    }

    @Test
    void elementsAreThoseOfTheSequence() {
        float[] normals = new float[10];
        double[] doubles = new double[10];
        int[] lanes = new int[10];
        long[] bits = new long[10];
        Philox.normals(SEED, 5, 10, (i, value) -> normals[(int) i] = value);
        Philox.normalsDouble(SEED, 5, 10, (i, value) -> doubles[(int) i] = value);
        Philox.lanes(SEED, 5, 10, (i, lane) -> lanes[(int) i] = lane);
        Philox.bits(SEED, 5, 10, (i, b) -> bits[(int) i] = b);
        for (int i = 0; i < 10; i++) {
            assertEquals(Philox.normal(SEED, 5, i), normals[i]);
            assertEquals(Philox.normalDouble(SEED, 5, i), doubles[i]);
            assertEquals(Philox.lane(SEED, 5, i), lanes[i]);
            assertEquals(Philox.bits(SEED, 5, i), bits[i]);
        }
        assertEquals(((long) Philox.lane(SEED, 5, 2) << 32) | (Philox.lane(SEED, 5, 3) & 0xffffffffL), bits[1]);
    }

    @Test
    void uniformsAndIntegersStayInRange() {
        assertEquals(1 - 0x1p-24f, Philox.uniform(-1));
        assertEquals(1 - 0x1p-53, Philox.uniform(-1L));
        assertEquals(1 - 0x1p-11f, Philox.uniformFloat16(-1));
        assertEquals(1 - 0x1p-8f, Philox.uniformBFloat16(-1));
        assertEquals(9, Philox.integer(-1, 5, 5));
        assertEquals(5, Philox.integer(0, 5, 5));
        assertEquals(Long.MAX_VALUE, Philox.integer(-1L, Long.MIN_VALUE, 0));
        assertTrue(Philox.keep(-1, 0xffffffffL));
        assertTrue(!Philox.keep(-1, 1L << 32));
        for (long range : new long[] {1L << 32, Long.MAX_VALUE, -1L, -5L, 1L << 40}) {
            for (long i = 0; i < 100; i++) {
                long bits = Philox.bits(SEED, 9, i);
                BigInteger product = unsigned(bits).multiply(unsigned(range)).shiftRight(64);
                assertEquals(product, unsigned(Philox.integer(bits, 0, range)));
            }
        }
    }

    private static BigInteger unsigned(long x) {
        return new BigInteger(Long.toUnsignedString(x));
    }

    private static long hashed(long hash, long value, int bytes) {
        long h = hash;
        for (int i = 0; i < bytes; i++) {
            h = (h ^ (value >>> 8 * i & 0xff)) * 0x100000001b3L;
        }
        return h;
    }
}
