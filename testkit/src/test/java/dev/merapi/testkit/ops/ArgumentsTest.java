// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.AliasException;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.ReductionOp;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Arguments of built-in ops that are no tensors: arrays that change later, absent ones, sizes beyond all bounds. */
class ArgumentsTest {
    @TestFactory
    Stream<DynamicTest> arraysMayBeUsedAgainAfterTheCall() {
        Map<String, BiFunction<Tensor, int[], Tensor>> ops = Map.of(
                "sum", (x, dims) -> x.sum(dims, false),
                "mean", (x, dims) -> x.mean(dims, false),
                "prod", (x, dims) -> x.prod(dims, false),
                "amax", (x, dims) -> x.amax(dims, false),
                "var", (x, dims) -> x.var(dims, true, false),
                "norm", (x, dims) -> x.norm(2, dims, false),
                "logSumExp", (x, dims) -> x.logSumExp(dims, false),
                "flip", Tensor::flip);
        return ops.entrySet().stream()
                .map(op -> DynamicTest.dynamicTest(op.getKey(), () -> {
                    double[][] gradients = new double[2][];
                    for (int again = 0; again < 2; again++) {
                        Tensor x = Tensor.of(new double[] {1, 2, 3, 5}, 2, 2).requiresGrad(true);
                        int[] dims = {0};
                        Tensor y = op.getValue().apply(x, dims);
                        dims[0] = again; // 0: as it was
                        Autograd.backward(y.mul(Tensor.of(1.0, 10.0)).sum());
                        gradients[again] = x.grad().toDoubleArray();
                    }
                    assertThat(gradients[1]).containsExactly(gradients[0]);
                }));
    }

    @Test
    void arraysOfViewsMayBeUsedAgainToo() {
        Tensor x = Tensor.of(new double[] {1, 2, 3, 4}).requiresGrad(true);
        Tensor base = x.mul(1);
        long[] sizes = {2, 2};
        int[] dims = {1, 0};
        Tensor view = base.view(sizes).permute(dims);
        sizes[1] = 7;
        dims[0] = 0;
        base.mul_(3); // makes the view again
        Autograd.backward(view.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(3, 3, 3, 3);
    }

    @Test
    void sizesOfPartsAreNotCountedFromTheEnd() {
        assertThatThrownBy(() -> Tensor.ones(3, 4).split(new long[] {-1, 4}, 0))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("split")
                .hasMessageContaining("-1");
    }

    @Test
    void sizesBeyondAllBoundsAreRefusedByName() {
        Tensor x = Tensor.ones(2);
        long most = Long.MAX_VALUE;
        assertThatThrownBy(() -> x.repeat(most))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("repeat");
        assertThatThrownBy(() -> x.repeat(-1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("repeat");
        assertThatThrownBy(() -> x.pad(0, most, most))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("pad");
        assertThatThrownBy(() -> x.pad(0, Long.MIN_VALUE, -5))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("pad");
        assertThatThrownBy(() -> Tensor.arange(Long.MIN_VALUE, most, 1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("arange");
    }

    @Test
    void numbersThatIntegersCannotHoldAreRefused() {
        Tensor ints = Tensor.of(1, 2);
        Tensor bytes = Tensor.of((byte) 1, (byte) 2);
        Map<String, Runnable> mistakes = Map.of(
                "add_scalar: 1099511627776 does not fit into int32", () -> ints.add(1L << 40),
                "mul_scalar_: 1099511627776 does not fit into int32", () -> ints.mul_(1L << 40),
                "minimum_scalar: 300 does not fit into uint8", () -> bytes.minimum(300),
                "fill_: 300 does not fit into uint8", () -> bytes.fill_(300.5),
                "fill_: -2147483649 does not fit",
                        () -> Tensor.full(Shape.of(2), -(1L << 31) - 1, DType.INT32, Device.CPU),
                "fill_: NaN does not fit into int32", () -> ints.fill_(Double.NaN));
        mistakes.forEach((text, mistake) -> assertThatThrownBy(mistake::run)
                .isInstanceOf(DTypeException.class)
                .hasMessageContainingAll(text.split(": "))
                .hasMessageContaining("fix: "));
        assertThat(ints.toDoubleArray()).as("unchanged").containsExactly(1, 2);
        assertThat(bytes.toDoubleArray()).as("unchanged").containsExactly(1, 2);
        // What fits, or is compared or computed in a wider type, is right.
        assertThat(Tensor.of(1L, 2L).add(1L << 40).toLongArray()).containsExactly((1L << 40) + 1, (1L << 40) + 2);
        assertThat(ints.add(1e12).toDoubleArray()).containsExactly((float) 1e12, (float) 1e12);
        assertThat(bytes.lt(300).toDoubleArray()).containsExactly(1, 1);
        assertThat(bytes.add(-1).toDoubleArray()).containsExactly(0, 1);
        assertThat(ints.fill_(-7.9).toDoubleArray()).containsExactly(-7, -7);
    }

    @Test
    void factoriesNameThemselvesWhereSizesAreNegative() {
        Map<String, Runnable> mistakes = Map.of(
                "zeros", () -> Tensor.zeros(2, -1),
                "ones", () -> Tensor.ones(-1),
                "full", () -> Tensor.full(1, -1),
                "empty", () -> Tensor.empty(-1),
                "eye", () -> Tensor.eye(-1),
                "rand", () -> Tensor.rand(-1),
                "randn", () -> Tensor.randn(-1),
                "randint", () -> Tensor.randint(0, 2, -1),
                "linspace", () -> Tensor.linspace(0, 1, -1));
        mistakes.forEach((op, mistake) -> assertThatThrownBy(mistake::run)
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining(op + ": negative size -1 in [")
                .hasMessageContaining("fix: "));
    }

    @Test
    void expressionsHoldVariablesOfTheirOwnDefinitionOnly() {
        Map<String, Runnable> mistakes = Map.of(
                "test::input", () -> Pointwise.define("test::input", x -> x.add(Expr.input(1))),
                "test::scalar", () -> Pointwise.define("test::scalar", x -> x.mul(Expr.scalar(0))),
                "test::output", () -> Pointwise.define("test::output", x -> x.mul(Expr.output(0))),
                "test::sum", () -> ReductionOp.define("test::sum", x -> Expr.input(2), Combine.SUM));
        mistakes.forEach((op, mistake) -> {
            assertThatThrownBy(mistake::run)
                    .isInstanceOf(SchemaException.class)
                    .hasMessageStartingWith(op + ": ")
                    .hasMessageContaining("variable of another definition");
            assertThatThrownBy(() -> OpRegistry.get(op)).as("no trace").hasMessageContaining(op);
        });
    }

    @Test
    void aStepBeyondTheEndLeavesOneElement() {
        assertThat(Tensor.of(1.0, 2.0, 3.0).slice(0, 0, 3, Long.MAX_VALUE).toDoubleArray())
                .containsExactly(1);
        assertThat(Tensor.of(1.0, 2.0, 3.0).slice(0, 1, 1, Long.MAX_VALUE).toDoubleArray())
                .isEmpty();
    }

    @Test
    void copyFromWritesWhereOpsMayWrite() {
        Tensor expanded = Tensor.zeros(1).expand(3);
        assertThatThrownBy(() -> expanded.copyFrom(1f, 2f, 3f))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("copyFrom");
        assertThat(expanded.toFloatArray()).containsExactly(0, 0, 0);
        Tensor inGraph = Tensor.ones(2).requiresGrad(true).mul(2);
        assertThatThrownBy(() -> inGraph.copyFrom(1f, 2f))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("copyFrom")
                .hasMessageContaining("noGrad");
        try (Autograd.Mode mode = Autograd.noGrad()) {
            inGraph.copyFrom(1f, 2f);
        }
        assertThat(inGraph.toFloatArray()).containsExactly(1, 2);
        Tensor leaf = Tensor.ones(2).requiresGrad(true);
        assertThat(leaf.copyFrom(3f, 4f).toFloatArray()).containsExactly(3, 4); // values to begin with
    }

    @Test
    void absentArgumentsAreRefusedByName() {
        assertThatThrownBy(() -> Tensor.ones(2).to((DType) null))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'dtype' is null");
        assertThatThrownBy(() -> Tensor.arange(0.0, null, 1.0, DType.FLOAT32, Device.CPU))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("merapi::arange")
                .hasMessageContaining("'end' is null");
        assertThatThrownBy(() -> Tensor.full(null, 3))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("merapi::full");
        assertThatThrownBy(() -> Tensor.of(new float[][] {{1}, null}))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("[1]");
        assertThatThrownBy(() -> Tensor.nested(null)).hasMessageContaining("of: ");
    }
}
