// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.Expr.input;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.expr.Expr;
import org.junit.jupiter.api.Test;

/** The interpreter's functions, against values computed with 40 digits, and at the edges. */
class ScalarMathTest {
    private static final double INF = Double.POSITIVE_INFINITY;

    /** x, erf x, erfc x */
    private static final double[][] ERF = {
        {1e-300, 1.1283791670955126e-300, 1.0},
        {1e-09, 1.1283791670955127e-09, 0.9999999988716208},
        {0.1, 0.1124629160182849, 0.887537083981715},
        {0.49, 0.511668261188523, 0.4883317388114769},
        {0.5, 0.5204998778130465, 0.4795001221869535},
        {0.51, 0.5292436198411704, 0.4707563801588296},
        {0.99, 0.8385080695553698, 0.1614919304446302},
        {1.0, 0.8427007929497149, 0.15729920705028513},
        {1.01, 0.8468104962282768, 0.1531895037717233},
        {2.0, 0.9953222650189527, 0.004677734981047266},
        {3.3, 0.9999969422902035, 3.0577097964381654e-06},
        {5.9, 0.9999999999999999, 7.190409783550478e-17},
        {6.0, 1.0, 2.1519736712498913e-17},
        {10.0, 1.0, 2.088487583762545e-45},
        {20.5, 1.0, 8.450842369572458e-185},
        {26.0, 1.0, 5.663192408856143e-296},
        {-0.3, -0.3286267594591274, 1.3286267594591274},
        {-0.99, -0.8385080695553698, 1.8385080695553697},
        {-1.5, -0.9661051464753108, 1.9661051464753108},
        {-5.0, -0.9999999999984626, 1.9999999999984626},
    };

    private static void near(double expected, double actual, String what) {
        assertTrue(
                Math.abs(expected - actual) <= 8 * Math.ulp(expected) || Double.compare(expected, actual) == 0,
                () -> what + ": expected " + expected + ", got " + actual);
    }

    private static double at(Opcode op, double... x) {
        Expr[] operands = new Expr[x.length];
        for (int k = 0; k < x.length; k++) {
            operands[k] = input(k);
        }
        return Evaluation.float64(Apply.of(op, operands), x);
    }

    @Test
    void errorFunctions() {
        for (double[] row : ERF) {
            near(row[1], at(Opcode.ERF, row[0]), "erf " + row[0]);
            near(row[2], at(Opcode.ERFC, row[0]), "erfc " + row[0]);
        }
        near(1, at(Opcode.ERF, INF), "erf");
        near(-1, at(Opcode.ERF, -INF), "erf");
        near(0, at(Opcode.ERFC, INF), "erfc");
        near(2, at(Opcode.ERFC, -INF), "erfc");
        near(-0.0, at(Opcode.ERF, -0.0), "erf");
        assertTrue(Double.isNaN(at(Opcode.ERF, Double.NaN)) && Double.isNaN(at(Opcode.ERFC, Double.NaN)));
    }

    @Test
    void inverseHyperbolics() {
        double[][] asinh = {
            {1e-10, 1e-10},
            {0.3, 0.29567304756342244},
            {1.5, 1.1947632172871092},
            {100, 5.298342365610589},
            {1e9, 21.416413017506358},
            {1e200, 461.2101657793691},
            {-0.3, -0.29567304756342244},
            {-INF, -INF},
            {-0.0, -0.0}
        };
        for (double[] row : asinh) {
            near(row[1], at(Opcode.ASINH, row[0]), "asinh " + row[0]);
        }
        double[][] acosh = {
            {1, 0},
            {1.0000001, 0.0004472135919037347},
            {1.3, 0.7564329108569596},
            {2.5, 1.566799236972411},
            {1e9, 21.416413017506358},
            {INF, INF},
            {0.5, Double.NaN}
        };
        for (double[] row : acosh) {
            near(row[1], at(Opcode.ACOSH, row[0]), "acosh " + row[0]);
        }
        double[][] atanh = {
            {1e-10, 1e-10},
            {0.3, 0.3095196042031117},
            {0.9, 1.4722194895832204},
            {0.999999, 7.254328619247669},
            {-1, -INF},
            {1.5, Double.NaN},
            {-0.0, -0.0}
        };
        for (double[] row : atanh) {
            near(row[1], at(Opcode.ATANH, row[0]), "atanh " + row[0]);
        }
    }

    @Test
    void log2IsExactAtPowersOfTwo() {
        for (int e = -1074; e <= 1023; e++) {
            assertEquals(e, at(Opcode.LOG2, Math.scalb(1.0, e)));
        }
        near(Math.log(10) / Math.log(2), at(Opcode.LOG2, 10), "log2 10");
        assertEquals(-INF, at(Opcode.LOG2, 0));
        assertTrue(Double.isNaN(at(Opcode.LOG2, -1)));
    }

    @Test
    void powFollowsCAndRemainderPython() {
        assertEquals(1, at(Opcode.POW, 1, Double.NaN));
        assertEquals(1, at(Opcode.POW, Double.NaN, 0));
        assertEquals(1, at(Opcode.POW, -1, INF));
        assertEquals(-8, at(Opcode.POW, -2, 3));
        assertEquals(2, at(Opcode.REM, -1, 3));
        assertEquals(-2, at(Opcode.REM, 1, -3));
        assertEquals(-1, at(Opcode.FMOD, -1, 3));
        assertEquals(-1, at(Opcode.FLOORDIV, -1, 3));
        assertEquals(9, at(Opcode.FLOORDIV, 1, 0.1)); // 0.1 is a little more than a tenth
        assertEquals(INF, at(Opcode.FLOORDIV, 1, 0));
        assertEquals(-1, at(Opcode.TRUNCDIV, -5, 3));
    }

    @Test
    void nanAndSignedZeros() {
        for (Opcode op : new Opcode[] {Opcode.MAX, Opcode.MIN}) {
            assertTrue(Double.isNaN(at(op, Double.NaN, 1)) && Double.isNaN(at(op, 1, Double.NaN)));
        }
        assertTrue(Double.isNaN(at(Opcode.RELU, Double.NaN)));
        assertTrue(Double.isNaN(at(Opcode.SIGN, Double.NaN)));
        assertEquals(-0.0, at(Opcode.SIGN, -0.0));
        assertEquals(2, at(Opcode.ROUND, 2.5));
        assertEquals(-INF, at(Opcode.RSQRT, -0.0));
        assertEquals(1, at(Opcode.NE, Double.NaN, Double.NaN));
        assertEquals(0, at(Opcode.LE, Double.NaN, 1));
    }

    @Test
    void activationsHaveTheirLimits() {
        assertEquals(1, at(Opcode.SIGMOID, INF));
        assertEquals(0, at(Opcode.SIGMOID, -INF));
        near(Math.exp(-740), at(Opcode.SIGMOID, -740), "sigmoid");
        assertEquals(INF, at(Opcode.SOFTPLUS, INF));
        near(Math.exp(-50), at(Opcode.SOFTPLUS, -50), "softplus");
        assertEquals(-800, at(Opcode.LOGSIGMOID, -800));
        for (Opcode op : new Opcode[] {Opcode.GELU, Opcode.GELU_TANH, Opcode.SILU}) {
            assertEquals(0, at(op, -INF) + 0.0);
            assertEquals(INF, at(op, INF));
        }
        for (Opcode op : new Opcode[] {Opcode.GELU_GRAD, Opcode.GELU_TANH_GRAD, Opcode.SILU_GRAD}) {
            assertEquals(0, at(op, -INF) + 0.0);
            assertEquals(1, at(op, INF));
            assertEquals(0.5, at(op, 0));
        }
        // x Φ(x) to 40 digits; rounding x/√2 costs x² ulp
        assertEquals(-7.619853024160526e-23, at(Opcode.GELU, -10), 100 * Math.ulp(7.6e-23));
    }
}
