// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.Rounding;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.function.DoubleBinaryOperator;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Pointwise ops against Java's own mathematics, promotion, in-place forms, and gradients by finite differences. */
class PointwiseOpsTest {
    record Unary(String name, Function<Tensor, Tensor> op, DoubleUnaryOperator oracle, double low, double high) {
        @Override
        public String toString() {
            return name;
        }
    }

    record Binary(String name, Function<Tensor[], Tensor> op, DoubleBinaryOperator oracle) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Unary row(
            String name, Function<Tensor, Tensor> op, DoubleUnaryOperator oracle, double low, double high) {
        return new Unary(name, op, oracle, low, high);
    }

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    /** Functions that are smooth in the given interval. */
    static Stream<Unary> unary() {
        return Stream.of(
                row("neg", Tensor::neg, x -> -x, -3, 3),
                row("abs", Tensor::abs, Math::abs, 0.1, 3),
                row("sign", Tensor::sign, Math::signum, 0.1, 3),
                row("square", Tensor::square, x -> x * x, -3, 3),
                row("reciprocal", Tensor::reciprocal, x -> 1 / x, 0.5, 3),
                row("sqrt", Tensor::sqrt, Math::sqrt, 0.5, 3),
                row("rsqrt", Tensor::rsqrt, x -> 1 / Math.sqrt(x), 0.5, 3),
                row("exp", Tensor::exp, Math::exp, -3, 3),
                row("expm1", Tensor::expm1, Math::expm1, -1, 1),
                row("exp2", Tensor::exp2, x -> Math.pow(2, x), -3, 3),
                row("log", Tensor::log, Math::log, 0.5, 3),
                row("log1p", Tensor::log1p, Math::log1p, -0.5, 3),
                row("log2", Tensor::log2, x -> Math.log(x) / Math.log(2), 0.5, 3),
                row("log10", Tensor::log10, Math::log10, 0.5, 3),
                row("sin", Tensor::sin, Math::sin, -3, 3),
                row("cos", Tensor::cos, Math::cos, -3, 3),
                row("tan", Tensor::tan, Math::tan, -1, 1),
                row("asin", Tensor::asin, Math::asin, -0.9, 0.9),
                row("acos", Tensor::acos, Math::acos, -0.9, 0.9),
                row("atan", Tensor::atan, Math::atan, -3, 3),
                row("sinh", Tensor::sinh, Math::sinh, -3, 3),
                row("cosh", Tensor::cosh, Math::cosh, -3, 3),
                row("tanh", Tensor::tanh, Math::tanh, -3, 3),
                row("asinh", Tensor::asinh, x -> Math.log(x + Math.sqrt(x * x + 1)), 0, 3),
                row("acosh", Tensor::acosh, x -> Math.log(x + Math.sqrt(x * x - 1)), 1.5, 3),
                row("atanh", Tensor::atanh, x -> 0.5 * Math.log((1 + x) / (1 - x)), -0.9, 0.9),
                row("relu", Tensor::relu, x -> Math.max(x, 0), 0.1, 3),
                row("sigmoid", Tensor::sigmoid, PointwiseOpsTest::sigmoid, -3, 3),
                row("logSigmoid", Tensor::logSigmoid, x -> Math.log(sigmoid(x)), -3, 3),
                row("silu", Tensor::silu, x -> x * sigmoid(x), -3, 3),
                row(
                        "geluTanh",
                        Tensor::geluTanh,
                        x -> 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
                        -3,
                        3),
                row("softplus", Tensor::softplus, x -> Math.log(1 + Math.exp(x)), -3, 3),
                row("leakyRelu", x -> x.leakyRelu(0.1), x -> x > 0 ? x : 0.1 * x, -3, -0.1),
                row("elu", x -> x.elu(1.5), x -> x > 0 ? x : 1.5 * Math.expm1(x), -3, -0.1),
                row("hardtanh", Tensor::hardtanh, x -> Math.min(Math.max(x, -1), 1), -0.9, 0.9),
                row("hardSigmoid", Tensor::hardSigmoid, x -> Math.min(Math.max(x + 3, 0), 6) / 6, -2.5, 2.5),
                row("hardSwish", Tensor::hardSwish, x -> x * Math.min(Math.max(x + 3, 0), 6) / 6, -2.5, 2.5),
                row("mish", Tensor::mish, x -> x * Math.tanh(Math.log1p(Math.exp(x))), -3, 3),
                row("pow 2", x -> x.pow(2), x -> x * x, -3, 3),
                row("pow 2.5", x -> x.pow(2.5), x -> Math.pow(x, 2.5), 0.5, 3),
                row("pow -1", x -> x.pow(-1), x -> 1 / x, 0.5, 3),
                row("rpow", x -> x.rpow(2.5), x -> Math.pow(2.5, x), -3, 3),
                row("rsub", x -> x.rsub(2), x -> 2 - x, -3, 3),
                row("rdiv", x -> x.rdiv(2), x -> 2 / x, 0.5, 3),
                row("sub scalar", x -> x.sub(0.25), x -> x - 0.25, -3, 3),
                row("div scalar", x -> x.div(4), x -> x / 4, -3, 3),
                row("remainder scalar", x -> x.remainder(10), x -> x, 1, 3),
                row("clamp", x -> x.clamp(-10, 10), x -> x, -3, 3),
                row("clampMin", x -> x.clampMin(0.5), x -> Math.max(x, 0.5), 1, 3));
    }

    static Stream<Binary> binary() {
        return Stream.of(
                new Binary("add", a -> a[0].add(a[1]), (x, y) -> x + y),
                new Binary("add scaled", a -> a[0].add(a[1], -2), (x, y) -> x - 2 * y),
                new Binary("sub", a -> a[0].sub(a[1]), (x, y) -> x - y),
                new Binary("mul", a -> a[0].mul(a[1]), (x, y) -> x * y),
                new Binary("div", a -> a[0].div(a[1]), (x, y) -> x / y),
                new Binary("pow", a -> a[0].pow(a[1]), Math::pow),
                new Binary("atan2", a -> a[0].atan2(a[1]), Math::atan2),
                new Binary("minimum", a -> a[0].minimum(a[1]), Math::min),
                new Binary("maximum", a -> a[0].maximum(a[1]), Math::max),
                new Binary("fmod", a -> a[0].fmod(a[1]), (x, y) -> x % y),
                new Binary("remainder", a -> a[0].remainder(a[1]), (x, y) -> x - y * Math.floor(x / y)),
                new Binary("lerp", a -> a[0].lerp(a[1], 0.25), (x, y) -> x + 0.25 * (y - x)),
                new Binary("lerp far", a -> a[0].lerp(a[1], 0.75), (x, y) -> x + 0.75 * (y - x)),
                new Binary("where", a -> Tensor.where(a[0].gt(a[1]), a[0], a[1].mul(2)), (x, y) -> x > y ? x : 2 * y),
                new Binary("fma", a -> a[0].fma(a[1], a[0]), (x, y) -> x * y + x),
                new Binary("addcmul", a -> a[0].addcmul(a[0], a[1], 3), (x, y) -> x + 3 * x * y),
                new Binary("addcdiv", a -> a[0].addcdiv(a[0], a[1], 3), (x, y) -> x + 3 * x / y));
    }

    private static double[] random(int n, double low, double high) {
        return new SplittableRandom(7 * n).doubles(n, low, high).toArray();
    }

    @ParameterizedTest
    @MethodSource("unary")
    void unaryAgreesWithJava(Unary row) {
        double[] x = random(33, row.low, row.high);
        double[] y = row.op.apply(Tensor.of(x)).toDoubleArray();
        float[] f = row.op.apply(Tensor.of(x).to(DType.FLOAT32)).toFloatArray();
        for (int i = 0; i < x.length; i++) {
            double expected = row.oracle.applyAsDouble(x[i]);
            assertThat(y[i]).isCloseTo(expected, within(1e-13 * Math.max(1, Math.abs(expected))));
            double rounded = row.oracle.applyAsDouble((float) x[i]);
            assertThat(f[i]).isCloseTo((float) rounded, within((float) (4e-7 * Math.max(1, Math.abs(rounded)))));
        }
    }

    @ParameterizedTest
    @MethodSource("unary")
    void unaryGradientsOfBothOrders(Unary row) {
        Tensor x = Tensor.of(random(5, row.low, row.high)).requiresGrad(true);
        GradCheck.of(in -> row.op.apply(in.get(0)), List.of(x)).run().orThrow();
        GradCheck.second(in -> row.op.apply(in.get(0)), List.of(x)).run().orThrow();
    }

    @ParameterizedTest
    @MethodSource("binary")
    void binaryAgreesWithJavaAndBroadcasts(Binary row) {
        double[] x = random(12, 0.5, 3);
        double[] y = random(4, 0.6, 2.9);
        Tensor a = Tensor.of(x, 3, 4);
        Tensor b = Tensor.of(y, 4);
        double[] wide = row.op.apply(new Tensor[] {a, b}).toDoubleArray();
        double[] turned = row.op.apply(new Tensor[] {a.t(), b.unsqueeze(1)}).toDoubleArray();
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 4; j++) {
                double expected = row.oracle.applyAsDouble(x[4 * i + j], y[j]);
                assertThat(wide[4 * i + j]).isCloseTo(expected, within(1e-13 * Math.abs(expected) + 1e-15));
                assertThat(turned[3 * j + i]).isEqualTo(wide[4 * i + j]);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("binary")
    void binaryGradientsOfBothOrders(Binary row) {
        Tensor x = Tensor.of(random(6, 0.5, 3), 2, 3).requiresGrad(true);
        Tensor y = Tensor.of(random(3, 0.6, 2.9), 3).requiresGrad(true);
        GradCheck.of(in -> row.op.apply(in.toArray(new Tensor[0])), List.of(x, y))
                .run()
                .orThrow();
        GradCheck.second(in -> row.op.apply(in.toArray(new Tensor[0])), List.of(x, y))
                .run()
                .orThrow();
    }

    @Test
    void erfByKnownValues() {
        // Abramowitz and Stegun, table 7.1.
        double[] erf = Tensor.of(0, 0.5, 1, 2).to(DType.FLOAT64).erf().toDoubleArray();
        double[] expected = {0, 0.5204998778, 0.8427007929, 0.9953222650};
        for (int i = 0; i < erf.length; i++) {
            assertThat(erf[i]).isCloseTo(expected[i], within(1e-10));
        }
        assertThat(Tensor.of(1.0).gelu().item()).isCloseTo(0.5 * (1 + erfOf(Math.sqrt(0.5))), within(1e-12));
    }

    private static double erfOf(double x) {
        return Tensor.of(x).erf().item();
    }

    @Test
    void dtypesPromoteAsInPyTorch() {
        Tensor i = Tensor.of(1, 2);
        Tensor u = Tensor.of(new byte[] {1, (byte) 200});
        Tensor h = Tensor.of(1f, 2f).to(DType.FLOAT16);
        Tensor b = Tensor.of(true, false);
        assertThat(i.add(1).dtype()).isEqualTo(DType.INT32);
        assertThat(i.add(0.5).dtype()).isEqualTo(DType.FLOAT32);
        assertThat(i.div(2).dtype()).isEqualTo(DType.FLOAT32);
        assertThat(i.div(i).dtype()).isEqualTo(DType.FLOAT32);
        assertThat(i.add(Tensor.of(1L, 2L)).dtype()).isEqualTo(DType.INT64);
        assertThat(i.add(Tensor.scalar(1L)).dtype()).isEqualTo(DType.INT32);
        assertThat(u.add(i).dtype()).isEqualTo(DType.INT32);
        assertThat(h.add(0.5).dtype()).isEqualTo(DType.FLOAT16);
        assertThat(h.add(Tensor.scalar(1.0)).dtype()).isEqualTo(DType.FLOAT16);
        assertThat(h.add(h.to(DType.BFLOAT16)).dtype()).isEqualTo(DType.FLOAT32);
        assertThat(b.add(b).dtype()).isEqualTo(DType.BOOL);
        assertThat(b.add(1).dtype()).isEqualTo(DType.INT64);
        assertThat(i.sqrt().dtype()).isEqualTo(DType.FLOAT32);
        assertThat(i.floor().dtype()).isEqualTo(DType.INT32);
        assertThat(u.add(u).toIntArray()).containsExactly(2, 144); // 400 mod 256, as a signed byte
        assertThatThrownBy(() -> b.sub(b)).isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> h.bitAnd(1)).isInstanceOf(DTypeException.class);
    }

    @Test
    void integersDivideWithoutTraps() {
        Tensor x = Tensor.of(7, -7, 7, -7, 5, Integer.MIN_VALUE);
        Tensor y = Tensor.of(2, 2, -2, -2, 0, -1);
        assertThat(x.floorDivide(y).toIntArray()).containsExactly(3, -4, -4, 3, 0, Integer.MIN_VALUE);
        assertThat(x.remainder(y).toIntArray()).containsExactly(1, 1, -1, -1, 0, 0);
        assertThat(x.fmod(y).toIntArray()).containsExactly(1, -1, 1, -1, 0, 0);
        assertThat(x.floorDivide(0).toIntArray()).containsOnly(0);
    }

    /** Between their steps; the samples of these ops stand on them. */
    @Test
    void remaindersHaveGradients() {
        Tensor x = Tensor.of(5.3, -4.7, 9.1, -0.6).requiresGrad(true);
        Tensor y = Tensor.of(2.1, 1.7, -2.4, -1.3).requiresGrad(true);
        GradCheck.of(in -> in.get(0).fmod(in.get(1)), List.of(x, y))
                .slow()
                .run()
                .orThrow();
        GradCheck.of(in -> in.get(0).remainder(in.get(1)), List.of(x, y))
                .slow()
                .run()
                .orThrow();
        GradCheck.of(in -> in.get(0).remainder(2.3), List.of(x)).slow().run().orThrow();
    }

    @Test
    void comparisonsAndLogic() {
        Tensor x = Tensor.of(1f, 2f, Float.NaN);
        Tensor y = Tensor.of(2f, 2f, Float.NaN);
        assertThat(x.lt(y).toBooleanArray()).containsExactly(true, false, false);
        assertThat(x.le(2).toBooleanArray()).containsExactly(true, true, false);
        assertThat(x.eq(y).toBooleanArray()).containsExactly(false, true, false);
        assertThat(x.ne(y).toBooleanArray()).containsExactly(true, false, true);
        assertThat(x.isNan().logicalOr(x.gt(1)).toBooleanArray()).containsExactly(false, true, true);
        assertThat(x.logicalNot().toBooleanArray()).containsExactly(false, false, false);
        assertThat(Tensor.of(6, 5).bitXor(3).toIntArray()).containsExactly(5, 6);
        assertThat(Tensor.of(1, -8).shiftRight(1).toIntArray()).containsExactly(0, -4);
        assertThat(Tensor.of(1f, Float.POSITIVE_INFINITY)
                        .isClose(Tensor.of(1.0001f, 1f), 1e-3, 0)
                        .toBooleanArray())
                .containsExactly(true, false);
        // Exact above 2^53, where doubles are not.
        long big = (1L << 53) + 1;
        assertThat(Tensor.of(big).eq(Tensor.of(big - 1)).itemBoolean()).isFalse();
        assertThat(Tensor.of(big).add(1).itemLong()).isEqualTo(big + 1);
    }

    @Test
    void inPlaceFormsWriteThisTensorOnly() {
        Tensor x = Tensor.of(1f, 2f, 3f);
        Tensor same = x.add_(1).mul_(Tensor.of(2f, 2f, 2f)).sub_(1).clamp_(0, 6).maskedFill_(x.eq(5), 9);
        assertThat(same).isSameAs(x);
        assertThat(x.toFloatArray()).containsExactly(3, 9, 6);
        Tensor i = Tensor.of(1, 2);
        assertThatThrownBy(() -> i.add_(0.5)).isInstanceOf(DTypeException.class).hasMessageContaining("int32");
        assertThatThrownBy(() -> x.add_(Tensor.zeros(2, 3))).isInstanceOf(ShapeException.class);
        assertThat(i.toIntArray()).containsExactly(1, 2);
        assertThat(Tensor.zeros(DType.BOOL, 2).fill_(3).toIntArray()).containsExactly(1, 1);
        assertThat(Tensor.zeros(DType.INT32, 2).fill_(2.7).toIntArray()).containsExactly(2, 2);
    }

    @Test
    void inPlaceIsRecorded() {
        Tensor x = Tensor.of(1.0, 2.0).requiresGrad(true);
        GradCheck.of(in -> in.get(0).mul(3).mul_(in.get(0)).add_(1).tanh_(), List.of(x))
                .run()
                .orThrow();
        assertThatThrownBy(() -> x.add_(1)).isInstanceOf(GradientException.class);
        Tensor y = x.mul(2);
        y.relu_();
        Autograd.backward(y.sum());
        assertThat(java.util.Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(2, 2);
    }

    @Test
    void noGradientReachesTheBranchNotTaken() {
        Tensor x = Tensor.of(0.0, 4.0).requiresGrad(true);
        Tensor y = Tensor.of(1.0, 2.0).requiresGrad(true);
        Autograd.backward(Tensor.where(x.gt(0), x.square(), y.mul(3)).sum());
        assertThat(java.util.Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(0, 8);
        assertThat(java.util.Objects.requireNonNull(y.grad()).toDoubleArray()).containsExactly(3, 0);
    }

    @Test
    void emptyAndScalarTensorsPass() {
        assertThat(Tensor.zeros(0, 3).add(Tensor.ones(3)).shape().toString()).isEqualTo("[0, 3]");
        assertThat(Tensor.scalar(2f).mul(Tensor.scalar(3f)).item()).isEqualTo(6);
    }

    @Test
    void shapesThatDoNotBroadcastAreNamed() {
        assertThatThrownBy(() -> Tensor.zeros(2, 3).add(Tensor.zeros(2)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[2, 3]")
                .hasMessageContaining("[2]");
    }

    /** What jumps sees a quotient as float32 has it, on every backend: within an expression as between two ops. */
    @Test
    void whatIsRoundedToAWholeNumberHasTheDigitsOfItsType() {
        float[] values = new float[400];
        for (int i = 0; i < values.length; i++) {
            values[i] = i - 200;
        }
        Tensor x = Tensor.of(values);
        Tensor y = Tensor.full(0.1f, 400).to(DType.FLOAT32);
        Tensor quotient = x.div(y);
        Map<String, Tensor> expected = Map.of(
                "floor",
                quotient.floor(),
                "ceil",
                quotient.ceil(),
                "round",
                quotient.round(),
                "trunc",
                quotient.trunc());
        Map<String, UnaryOperator<Expr>> steps =
                Map.of("floor", Exprs::floor, "ceil", Exprs::ceil, "round", Exprs::round, "trunc", Exprs::trunc);
        steps.forEach((name, step) -> {
            PointwiseOp op = Pointwise.define("steps::" + name, (a, b) -> step.apply(a.div(b)));
            assertThat(op.call(x, y).toFloatArray())
                    .as(name)
                    .containsExactly(expected.get(name).toFloatArray());
        });
        assertThat(x.div(y, Rounding.TRUNC).toFloatArray())
                .containsExactly(quotient.trunc().toFloatArray());
    }
}
