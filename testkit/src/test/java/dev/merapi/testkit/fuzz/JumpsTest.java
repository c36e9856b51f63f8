// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.ops.Losses;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.RandomOps;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** All that jumps is seen to jump, and nothing else. */
class JumpsTest {
    private static final Device JAVA = Differential.plainJava();

    private record Case(String name, UnaryOperator<Tensor> f, double before, double behind, double farther) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static Tensor real(double... values) {
        return TENSORS.allocate(Shape.of(values.length), DType.FLOAT64, JAVA).copyFrom(values);
    }

    private static Tensor beside(Tensor x) {
        return Tensor.cat(List.of(x, real(0.5)), 0);
    }

    static Stream<Case> cases() {
        return Stream.of(
                new Case("floor", Tensor::floor, 0.9, 1.1, 1.2),
                new Case("ceil", Tensor::ceil, 0.9, 1.1, 1.2),
                new Case("round", Tensor::round, 0.4, 0.6, 0.7),
                new Case("trunc", Tensor::trunc, 0.9, 1.1, 1.2),
                new Case("sign", Tensor::sign, -0.1, 0.1, 0.2),
                new Case("floor_divide", x -> x.floorDivide(real(0.5)), 0.45, 0.55, 0.6),
                new Case("floor_divide by x", x -> real(1).floorDivide(x), 0.55, 0.45, 0.4),
                new Case("fmod", x -> x.fmod(0.5), 0.45, 0.55, 0.6),
                new Case("remainder", x -> x.remainder(real(0.5)), 0.45, 0.55, 0.6),
                new Case("copysign", x -> real(3).copysign(x), -0.1, 0.1, 0.2),
                new Case("atan2", x -> x.atan2(real(-1)), -0.1, 0.1, 0.2),
                new Case("gt", x -> x.gt(0.5), 0.4, 0.6, 0.7),
                new Case("is_close", x -> x.isClose(real(1), 0, 0.1), 0.8, 0.95, 0.97),
                new Case("logical_not", Tensor::logicalNot, 0, 0.1, 0.2),
                new Case("leaky_relu", x -> x.leakyRelu(0.1), -0.1, 0.1, 0.2),
                new Case("maximum", x -> x.maximum(real(0.5)), 0.4, 0.6, 0.7),
                new Case("clamp", x -> x.clamp(-1, 0.5), 0.4, 0.6, 0.7),
                new Case("abs", Tensor::abs, -0.1, 0.1, 0.2),
                new Case("relu", Tensor::relu, -0.1, 0.1, 0.2),
                new Case("where", x -> Tensor.where(x.gt(0.5), x, real(3)), 0.4, 0.6, 0.7),
                new Case("a number as condition", JumpsTest::masked, 0, 0.1, 0.2),
                new Case("to int64 and back", x -> x.to(DType.INT64).to(DType.FLOAT64), 0.9, 1.1, 1.2),
                new Case("copied into int32", x -> real(0).to(DType.INT32).copy_(x), 0.9, 1.1, 1.2),
                new Case("argmax", x -> beside(x).argmax(0), 0.4, 0.6, 0.7),
                new Case("topk", JumpsTest::largest, 0.4, 0.6, 0.7),
                new Case("count_nonzero", x -> x.countNonzero(), 0, 0.1, 0.2),
                new Case("in a composition", JumpsTest::huber, 0.4, 0.6, 0.7));
    }

    private static Tensor masked(Tensor x) {
        return RandomOps.DROPOUT_BACKWARD.call(x, x, 1.0);
    }

    private static Tensor largest(Tensor x) {
        return Ordering.TOPK.call(new Ordering.TopK(beside(x), 1, true)).values();
    }

    private static Tensor huber(Tensor x) {
        return Losses.huberLoss(x, real(0), 0.5);
    }

    private static long chosen(UnaryOperator<Tensor> f, double x) {
        Jumps jumps = new Jumps();
        try (Run run = new Run(JAVA, 1, jumps)) {
            var unused = f.apply(real(x));
        }
        return jumps.chosen();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void jumps(Case c) {
        assertThat(chosen(c.f, c.before)).as("across").isNotEqualTo(chosen(c.f, c.behind));
        assertThat(chosen(c.f, c.behind)).as("on one piece").isEqualTo(chosen(c.f, c.farther));
    }

    @Test
    void whatIsSmoothDoesNot() {
        UnaryOperator<Tensor> smooth =
                x -> x.exp().tanh().mul(x).matmul(x).sum().softmax(0);
        assertThat(chosen(smooth, -0.1)).isEqualTo(chosen(smooth, 0.1));
    }
}
