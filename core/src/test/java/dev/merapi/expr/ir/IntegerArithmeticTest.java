// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.Expr.constant;
import static dev.merapi.expr.Expr.input;
import static dev.merapi.expr.ir.Evaluation.integer;
import static dev.merapi.types.DType.BOOL;
import static dev.merapi.types.DType.FLOAT32;
import static dev.merapi.types.DType.FLOAT64;
import static dev.merapi.types.DType.INT32;
import static dev.merapi.types.DType.INT64;
import static dev.merapi.types.DType.UINT8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.math.BigInteger;
import java.util.List;
import java.util.Random;
import java.util.function.BinaryOperator;
import org.junit.jupiter.api.Test;

/** Integer results, exact at every width, against big-integer arithmetic. */
class IntegerArithmeticTest {
    private static final Expr X = input(0);
    private static final Expr Y = input(1);
    private static final long BIG = (1L << 53) + 1;

    @Test
    void int64IsExactAboveTwoToThe53() {
        assertEquals(BIG + 2, integer(X.add(2), INT64, BIG));
        assertEquals(BIG, integer(X.mul(1), INT64, BIG));
        assertEquals(1, integer(X.gt(BIG - 1), INT64, BIG));
        assertEquals(BIG / 3, integer(X.floorDiv(3), INT64, BIG));
        assertEquals(BIG, integer(X.max(Y), INT64, BIG, BIG - 1));
        assertEquals(BIG, integer(X.add(constant(BIG)), INT64, 0));
        assertEquals(BIG, integer(constant(BIG).sub(1).add(1).add(X), INT64, 0));
        assertEquals(
                0, integer(X.cast(FLOAT64).eq(constant(BIG - 1).cast(INT64)).not(), INT64, BIG));
    }

    @Test
    void arithmeticWrapsAtTheWidthOfItsDType() {
        Random random = new Random(7);
        List<DType> dtypes = List.of(UINT8, INT32, INT64);
        for (int trial = 0; trial < 2000; trial++) {
            DType dtype = dtypes.get(trial % 3);
            long a = random(random, dtype);
            long b = random(random, dtype);
            same(X.add(Y), dtype, a, b, BigInteger::add);
            same(X.sub(Y), dtype, a, b, BigInteger::subtract);
            same(X.mul(Y), dtype, a, b, BigInteger::multiply);
            same(
                    X.mul(Y).sub(X).square(),
                    dtype,
                    a,
                    b,
                    (x, y) -> x.multiply(y).subtract(x).pow(2));
            same(X.min(Y), dtype, a, b, BigInteger::min);
            same(X.xor(Y), dtype, a, b, BigInteger::xor);
            same(X.neg(), dtype, a, b, (x, y) -> x.negate());
            same(X.bitNot(), dtype, a, b, (x, y) -> x.not());
            same(X.abs(), dtype, a, b, (x, y) -> x.abs());
            same(X.truncDiv(Y), dtype, a, b, (x, y) -> y.signum() == 0 ? y : x.divide(y));
            same(X.fmod(Y), dtype, a, b, (x, y) -> y.signum() == 0 ? y : x.remainder(y));
            same(X.floorDiv(Y), dtype, a, b, IntegerArithmeticTest::floorDivide);
            same(X.rem(Y), dtype, a, b, (x, y) -> y.signum() == 0 ? y : x.subtract(y.multiply(floorDivide(x, y))));
            same(X.shl(Y.rem(8).abs()), dtype, a, b, (x, y) -> x.shiftLeft(mod8(y)));
            same(X.pow(Y.rem(8).abs()), dtype, a, b, (x, y) -> x.pow(mod8(y)));
        }
    }

    private static int mod8(BigInteger y) {
        return y.mod(BigInteger.valueOf(8)).intValue();
    }

    private static BigInteger floorDivide(BigInteger x, BigInteger y) {
        if (y.signum() == 0) {
            return BigInteger.ZERO;
        }
        BigInteger[] parts = x.divideAndRemainder(y);
        return parts[1].signum() != 0 && parts[1].signum() != y.signum() ? parts[0].subtract(BigInteger.ONE) : parts[0];
    }

    private static long random(Random random, DType dtype) {
        long bits = random.nextLong() >> random.nextInt(60);
        return random.nextInt(5) == 0 ? edge(random, dtype) : wrap(BigInteger.valueOf(bits), dtype);
    }

    private static long edge(Random random, DType dtype) {
        long least = dtype == UINT8 ? 0 : dtype == INT32 ? Integer.MIN_VALUE : Long.MIN_VALUE;
        long most = dtype == UINT8 ? 255 : dtype == INT32 ? Integer.MAX_VALUE : Long.MAX_VALUE;
        long[] edges = {least, most, 0, 1, dtype == UINT8 ? 254 : -1};
        return edges[random.nextInt(edges.length)];
    }

    private static long wrap(BigInteger value, DType dtype) {
        return dtype == UINT8 ? value.longValue() & 0xff : dtype == INT32 ? value.intValue() : value.longValue();
    }

    private static void same(Expr e, DType dtype, long a, long b, BinaryOperator<BigInteger> exact) {
        long expected = wrap(exact.apply(BigInteger.valueOf(a), BigInteger.valueOf(b)), dtype);
        assertEquals(expected, integer(e, dtype, a, b), () -> e + " in " + dtype + " of " + a + ", " + b);
    }

    @Test
    void divisionByZeroGivesZero() {
        for (DType dtype : List.of(UINT8, INT32, INT64)) {
            for (Expr e : List.of(X.floorDiv(Y), X.rem(Y), X.fmod(Y), X.truncDiv(Y), X.floorDiv(0), X.rem(0))) {
                assertEquals(0, integer(e, dtype, 7, 0), e.toString());
            }
        }
        assertEquals(Integer.MIN_VALUE, integer(X.floorDiv(Y), INT32, Integer.MIN_VALUE, -1));
        assertEquals(0, integer(X.rem(Y), INT64, Long.MIN_VALUE, -1));
    }

    @Test
    void oddShiftsAndPowersAreDefined() {
        for (long shift : new long[] {-1, 64, 99}) {
            assertEquals(0, integer(X.shl(Y), INT64, 5, shift));
            assertEquals(0, integer(X.shr(Y), INT64, 5, shift));
            assertEquals(-1, integer(X.shr(Y), INT64, -5, shift));
        }
        assertEquals(0, integer(X.shl(Y), INT32, 1, 32));
        assertEquals(0, integer(X.shl(Y), UINT8, 1, 8));
        assertEquals(1, integer(X.pow(Y), INT32, 1, -3));
        assertEquals(-1, integer(X.pow(Y), INT32, -1, -3));
        assertEquals(0, integer(X.pow(Y), INT32, 2, -1));
        assertEquals(1, integer(X.pow(Y), INT32, 0, 0));
    }

    @Test
    void comparisonsWithNumbersThatDoNotFitAreStillRight() {
        assertEquals(1, integer(X.gt(-1), UINT8, 3));
        assertEquals(1, integer(X.lt(300), UINT8, 255));
        assertEquals(1, integer(X.lt(1L << 40), INT32, 5));
        Program scalar = Program.compile(
                List.of(X.lt(Expr.scalar(0))), List.of(INT32), new boolean[1], List.of(DType.Kind.INTEGRAL), null);
        long[] result = new long[1];
        scalar.run(
                0,
                1,
                new BlockSource[] {BlockSource.of(new long[] {5})},
                new BlockSink[] {BlockSink.into(result)},
                new double[] {0x1p40},
                new long[] {1L << 40});
        assertEquals(1, result[0]);
    }

    @Test
    void boolsAddByOrAndMultiplyByAnd() {
        for (long a = 0; a < 2; a++) {
            for (long b = 0; b < 2; b++) {
                assertEquals(a | b, integer(X.add(Y), BOOL, a, b));
                assertEquals(a & b, integer(X.mul(Y), BOOL, a, b));
                assertEquals(a ^ b, integer(X.xor(Y), BOOL, a, b));
                assertEquals(a & b, integer(X.min(Y), BOOL, a, b));
                assertEquals(a + 2 * b, integer(X.add(Y.mul(2)), BOOL, a, b));
                assertEquals(1 - a, integer(X.bitNot(), BOOL, a, b));
            }
        }
    }

    @Test
    void conversionsSaturateOrWrap() {
        assertEquals(Integer.MAX_VALUE, cast(3e9, INT32));
        assertEquals(Long.MIN_VALUE, cast(-1e30, INT64));
        assertEquals(0, cast(Double.NaN, INT64));
        assertEquals(-2, cast(-2.9, INT32));
        assertEquals(255, cast(-1, UINT8));
        assertEquals(1, cast(Double.NaN, BOOL));
        assertEquals(0, cast(-0.0, BOOL));
        assertEquals(44, integer(X.cast(UINT8), INT64, 300));
        assertEquals((int) (BIG * 77), integer(X.cast(INT32), INT64, BIG * 77));
        assertEquals(1, integer(X.cast(BOOL), INT64, 1L << 40));
        assertEquals(16777216, Evaluation.integer(X.cast(FLOAT32).cast(INT64), INT64, 16777217));
    }

    private static double cast(double x, DType to) {
        Program program = Program.compile(List.of(X.cast(to)), List.of(FLOAT64));
        return Evaluation.run(program, BlockSource.of(new double[] {x}));
    }
}
