// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import static dev.merapi.expr.Expr.input;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.expr.NamedFunction;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Derivatives of first, second and third order against central differences in double. */
class DerivativeTest {
    private static final Expr X = input(0);
    private static final Expr Y = input(1);

    private record Sample(String name, Expr root, double[]... points) {}

    private static double[] at(double... values) {
        return values;
    }

    private static List<Sample> samples() {
        List<Sample> samples = new ArrayList<>();
        Set<Opcode> positive = EnumSet.of(Opcode.SQRT, Opcode.RSQRT, Opcode.LOG, Opcode.LOG2, Opcode.LOG10);
        Set<Opcode> small = EnumSet.of(Opcode.ASIN, Opcode.ACOS, Opcode.ATANH, Opcode.TAN, Opcode.LOG1P);
        for (Opcode op : Opcode.values()) {
            if (op.arity() != 1 || op.group() != Opcode.Group.FLOAT_UNARY && op.group() != Opcode.Group.SIGNED) {
                continue;
            }
            Expr root = Apply.of(op, X);
            if (op == Opcode.ACOSH) {
                samples.add(new Sample("acosh", root, at(1.2), at(3.0)));
            } else if (positive.contains(op)) {
                samples.add(new Sample(op.toString(), root, at(0.3), at(2.5)));
            } else if (small.contains(op)) {
                samples.add(new Sample(op.toString(), root, at(-0.6), at(0.1), at(0.7)));
            } else {
                samples.add(new Sample(op.toString(), root, at(-2.3), at(-0.4), at(0.3), at(1.7)));
            }
        }
        double[][] pairs = {at(1.3, 0.7), at(0.4, 2.1), at(2.2, -1.3)};
        double[][] signed = {at(1.3, 0.7), at(-0.4, 2.1), at(2.2, -1.3), at(-1.7, -0.6)};
        samples.add(new Sample("add", X.add(Y), signed));
        samples.add(new Sample("sub", X.sub(Y), signed));
        samples.add(new Sample("mul", X.mul(Y), signed));
        samples.add(new Sample("div", X.div(Y), signed));
        samples.add(new Sample("min", X.min(Y), signed));
        samples.add(new Sample("max", X.max(Y), signed));
        samples.add(new Sample("pow", X.pow(Y), pairs));
        samples.add(new Sample("pow 2", X.pow(2), signed));
        samples.add(new Sample("pow 3", X.pow(3), signed));
        samples.add(new Sample("pow -1.5", X.pow(-1.5), pairs));
        samples.add(new Sample("2 pow", Expr.constant(2.0).pow(X), signed));
        samples.add(new Sample("fmod", X.fmod(Y), at(5.3, 0.7), at(-5.3, 0.9), at(5.3, -1.1)));
        samples.add(new Sample("rem", X.rem(Y), at(5.3, 0.7), at(-5.3, 0.9), at(5.3, -1.1)));
        samples.add(new Sample("atan2", X.atan2(Y), signed));
        samples.add(new Sample("copysign", X.copysign(Y), signed));
        samples.add(new Sample("fma", Exprs.fma(X, Y, X), signed));
        samples.add(new Sample("where", X.gt(Y).select(X.mul(X), Y.exp()), signed));
        samples.add(new Sample("clamp", X.clamp(Y, Y.add(1)), at(0.2, 0.7), at(0.9, 0.7), at(2.0, 0.7)));
        samples.add(new Sample("clamp min", X.clamp(Y, null), at(0.2, 0.7), at(0.9, 0.7)));
        samples.add(new Sample("clamp max", X.clamp(null, Y), at(0.2, 0.7), at(0.9, 0.7)));
        samples.add(new Sample("softmax pair", X.exp().div(X.exp().add(Y.exp())), signed));
        samples.add(new Sample("silu gate", Exprs.silu(X).mul(Y), signed));
        samples.add(
                new Sample("shared", X.mul(Y).tanh().mul(X.mul(Y)).add(X.mul(Y).sigmoid()), signed));
        samples.add(new Sample(
                "log-sum-exp", X.max(Y).add(X.sub(Y).abs().neg().exp().add(1).log()), signed));
        samples.add(new Sample("rounded", X.mul(X.mul(3).floor()).add(Y.sign().mul(Y)), signed));
        return samples;
    }

    @TestFactory
    Stream<DynamicTest> derivativesAgreeWithDifferences() {
        return samples().stream()
                .map(sample -> DynamicTest.dynamicTest(sample.name(), () -> {
                    for (double[] point : sample.points()) {
                        check(sample.root(), withGradient(point, 0), point.length, 1);
                    }
                }));
    }

    /** Compares each partial derivative, then goes on to the derivatives of the derivative. */
    private static void check(Expr f, double[] point, int inputs, int order) {
        List<Expr> gradients = Derivative.vjp(f, inputs);
        for (int k = 0; k < inputs; k++) {
            double expected = difference(f, point, k);
            Expr gradient = gradients.get(k);
            if (gradient == null) {
                assertEquals(0, expected, 1e-9, f + " by x" + k);
                continue;
            }
            Expr renamed = gradient.substitute(v -> v == Expr.gradient(0) ? input(inputs) : v);
            Expr closed = renamed.substitute(v -> v == Expr.output(0) ? f : v);
            double[] extended = withGradient(Arrays.copyOf(point, inputs), 0.5 + 0.25 * order);
            double weight = extended[inputs];
            double actual = Evaluation.float64(closed, extended);
            assertEquals(weight * expected, actual, 2e-7 * (1 + Math.abs(expected)), f + " by x" + k + ": " + gradient);
            if (order < 3 && inputs + 1 <= 4) {
                check(closed, extended, inputs + 1, order + 1);
            }
        }
    }

    private static double[] withGradient(double[] point, double gradient) {
        double[] extended = Arrays.copyOf(point, point.length + 1);
        extended[point.length] = gradient;
        return extended;
    }

    /** Fourth-order central difference: truncation and rounding are both near 1e-12. */
    private static double difference(Expr f, double[] point, int k) {
        double h = 1e-3;
        double[] p = point.clone();
        double[] value = new double[4];
        double[] steps = {-2, -1, 1, 2};
        for (int i = 0; i < 4; i++) {
            p[k] = point[k] + steps[i] * h;
            value[i] = Evaluation.float64(f, p);
        }
        return (value[0] - 8 * value[1] + 8 * value[2] - value[3]) / (12 * h);
    }

    private static double slope(Expr f, int input, double... at) {
        Expr gradient = Derivative.vjp(f, at.length).get(input);
        Expr closed =
                gradient.substitute(v -> v == Expr.gradient(0) ? Expr.constant(1.0) : v == Expr.output(0) ? f : v);
        return Evaluation.float64(closed, at) + 0.0; // the sign of a zero does not matter
    }

    @Test
    void subgradientsAreTheDocumentedOnes() {
        assertEquals(0, slope(X.relu(), 0, 0));
        assertEquals(1, slope(X.relu(), 0, Double.NaN));
        assertEquals(0, slope(X.abs(), 0, 0));
        assertEquals(0.5, slope(X.max(Y), 0, 1, 1));
        assertEquals(0.5, slope(X.max(Y), 1, 1, 1));
        assertEquals(0.5, slope(X.min(Y), 1, 1, 1));
        Expr clamped = Exprs.clamp(X, -1, 1);
        assertEquals(1, slope(clamped, 0, 1));
        assertEquals(1, slope(clamped, 0, -1));
        assertEquals(0, slope(clamped, 0, 1.5));
        assertEquals(0, slope(X.copysign(Y), 0, 0, 1));
    }

    @Test
    void powIsRightAtZero() {
        assertEquals(0, slope(X.pow(Y), 0, 0, 0));
        assertEquals(0, slope(X.pow(Y), 1, 0, 0));
        assertEquals(0, slope(X.pow(Y), 1, 0, 2));
        assertEquals(1, slope(X.pow(1), 0, 0));
        assertEquals(0, slope(X.pow(2), 0, 0));
        assertEquals(0, slope(X.pow(0), 0, 0));
        assertEquals(0, slope(Expr.constant(0.0).pow(X), 0, 2));
    }

    @Test
    void branchesNotTakenNeverPoisonTheGradient() {
        Expr guarded = X.gt(0).select(X.sqrt().log(), X.mul(2));
        assertEquals(2, slope(guarded, 0, -1));
        assertEquals(2, slope(guarded, 0, 0));
        Expr nested = X.gt(0).select(Y.gt(0).select(X.log().div(Y), X), Expr.constant(0.0));
        assertEquals(0, slope(nested, 0, -1, 0));
        assertEquals(0, slope(nested, 1, 1, 0));
    }

    @Test
    void softFunctionsStayFiniteFarOut() {
        for (double x : new double[] {-1e30, -800, -50, 50, 800, 1e30, Double.POSITIVE_INFINITY}) {
            for (Opcode op : List.of(
                    Opcode.SOFTPLUS,
                    Opcode.LOGSIGMOID,
                    Opcode.SIGMOID,
                    Opcode.TANH,
                    Opcode.GELU,
                    Opcode.GELU_TANH,
                    Opcode.SILU,
                    Opcode.GELU_GRAD,
                    Opcode.GELU_TANH_GRAD,
                    Opcode.SILU_GRAD)) {
                double slope = slope(Apply.of(op, X), 0, x);
                assertTrue(Math.abs(slope) <= 1.13, op + "'(" + x + ") = " + slope);
            }
        }
    }

    @Test
    void resultsAreReusedWhereItPays() {
        assertEquals("[g0 * y0]", Derivative.vjp(X.exp(), 1).toString());
        assertEquals("[where(y0 <= 0.0, 0.0, g0)]", Derivative.vjp(X.relu(), 1).toString());
        assertEquals("[g0 / x1, -(g0 / x1 * y0)]", Derivative.vjp(X.div(Y), 2).toString());
        assertEquals("[g0 * x1, g0 * x0]", Derivative.vjp(X.mul(Y), 2).toString());
        assertEquals("[g0 / (2.0 * y0)]", Derivative.vjp(X.sqrt(), 1).toString());
    }

    @Test
    void whatHasNoDerivativeGivesNone() {
        for (Expr e : List.of(X.floor(), X.round(), X.gt(0), X.sign(), X.floorDiv(Y), Expr.constant(3.0))) {
            assertNull(Derivative.vjp(e, 2).get(0), e.toString());
        }
        assertNull(Derivative.vjp(X.mul(2), 2).get(1));
        assertNull(Derivative.vjp(X.cast(DType.INT64).mul(2.0), 1).get(0));
    }

    @Test
    void severalResultsAddUpAndUndefinedGradientsAreLeftOut() {
        List<Expr> roots = List.of(X.mul(Y), X.add(Y), X.mul(Y));
        assertEquals(
                "[g1 + (g0 + g2) * x1, g1 + (g0 + g2) * x0]",
                Derivative.vjp(roots, 2).toString());
        BitSet second = new BitSet();
        second.set(1);
        assertEquals("[g1, g1]", Derivative.vjp(roots, 2, second).toString());
    }

    @Test
    void derivativesMustBeRenamedBeforeTheyAreDifferentiatedAgain() {
        Expr first = Derivative.vjp(X.tanh(), 1).get(0);
        assertTrue(assertThrows(IllegalArgumentException.class, () -> Derivative.vjp(first, 1))
                .getMessage()
                .contains("fix: substitute"));
    }

    @Test
    void namedFunctionsUseTheirOwnRule() {
        NamedFunction logCosh = NamedFunction.define(
                "log_cosh",
                1,
                x -> Exprs.cosh(x.get(0)).log(),
                (x, y, g) -> List.of(g.mul(x.get(0).tanh())));
        assertEquals("[g0 * tanh(x0)]", Derivative.vjp(logCosh.call(X), 1).toString());
        check(logCosh.call(X.mul(Y)), at(0.3, 0.8, 0), 2, 1);
        NamedFunction broken = NamedFunction.define("broken", 2, x -> x.get(0), (x, y, g) -> List.of(g));
        assertThrows(IllegalArgumentException.class, () -> Derivative.vjp(broken.call(X, Y), 2));
        assertThrows(IllegalArgumentException.class, () -> broken.call(X));
    }
}
