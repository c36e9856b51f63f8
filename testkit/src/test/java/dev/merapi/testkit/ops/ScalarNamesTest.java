// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.expr.Expr;
import dev.merapi.op.Op;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Param;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Scalars of ops that are expressions keep the names that they were given. */
class ScalarNamesTest {
    private static final PointwiseOp BLEND =
            Pointwise.define("test::blend", (x, y, beta) -> x.mul(beta).add(y), Param.scalar("beta"));
    private static final ReductionOp SHIFTED = ReductionOp.define(
            "test::shifted_sum",
            1,
            List.of(Param.scalar("shift"), Param.scalar("scale")),
            a -> a.get(0).add(a.get(1)).mul(a.get(2)),
            Combine.SUM);

    private final Tensor x = Tensor.of(1f, 2f);
    private final Tensor y = Tensor.of(10f, 20f);

    @Test
    void schemasShowThem() {
        assertThat(BLEND.op().schemaText()).isEqualTo("test::blend(Tensor x, Tensor y, Scalar beta) -> Tensor");
        assertThat(Arithmetic.CLAMP.op().schemaText())
                .isEqualTo("merapi::clamp(Tensor x, Scalar low, Scalar high) -> Tensor");
        assertThat(Arithmetic.NEG.op().schemaText()).isEqualTo("merapi::neg(Tensor x) -> Tensor");
        assertThat(SHIFTED.op().schemaText())
                .startsWith(
                        "test::shifted_sum(Tensor x, int[] dims, bool keepDim, DType? dtype, Scalar shift, Scalar scale");
    }

    @Test
    void callsByNameTakeThem() {
        Op<?, ?> op = BLEND.op();
        assertThat(((Tensor) op.call(Map.of("x", x, "y", y, "beta", 3))).toDoubleArray())
                .containsExactly(13, 26);
        assertThat(((Tensor) op.call(Map.of("x", x, "y", y, "scalars", List.of(3)))).toDoubleArray())
                .containsExactly(13, 26);
        assertThat(((Tensor) Arithmetic.NEG.op().call(Map.of("x", x))).toDoubleArray())
                .containsExactly(-1, -2);
        Map<String, Object> named = Map.of("x", x, "dims", new int[0], "keepDim", false, "shift", 1, "scale", 2.0);
        assertThat(SHIFTED.op().call(named).item()).isEqualTo(10);
        assertThatThrownBy(() -> op.call(Map.of("x", x, "y", y)))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("missing a value for argument 'beta'");
        assertThatThrownBy(() -> op.call(Map.of("x", x, "y", y, "bta", 3, "beta", 3)))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("unknown arguments [bta]");
        assertThatThrownBy(() -> op.call(Map.of("x", x, "y", y, "beta", "three")))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("takes Number, but got String three");
    }

    @Test
    void errorsSayThem() {
        assertThatThrownBy(() -> BLEND.call(x, y))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("test::blend: takes x, y and beta, but got 2 tensors and 0 scalars");
        assertThatThrownBy(() -> SHIFTED.call(x))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("takes x, shift and scale, but got 1 tensor and 0 scalars");
        assertThatThrownBy(() -> Arithmetic.NEG.call(x, 3))
                .hasMessageContaining("takes x, but got 1 tensor and 1 scalar");
        Tensor bytes = Tensor.of(new byte[] {1});
        assertThatThrownBy(() -> bytes.clamp(0, 300))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("high = 300 does not fit into uint8");
    }

    @Test
    void namesAreHeldAgainstEachOther() {
        for (String name : List.of("x", "dims", "scalars", "a", "", "1st", "a b")) {
            assertThatThrownBy(() -> Pointwise.define(
                            "test::named_so", (x, a, b) -> x.add(a).add(b), Param.scalar("a"), Param.scalar(name)))
                    .isInstanceOf(SchemaException.class)
                    .hasMessageContaining("'" + name + "'");
        }
    }

    @Test
    void scalarsThatNobodyNamedAreNumbered() {
        PointwiseOp op = Pointwise.define("test::of_numbers", 4, 2, a -> {
            List<Expr> rest = new ArrayList<>(a);
            return rest.stream().reduce(Expr::add).orElseThrow();
        });
        assertThat(op.op().schemaText()).isEqualTo("test::of_numbers(Tensor[] inputs, Scalar s0, Scalar s1) -> Tensor");
        assertThatThrownBy(() -> op.call(List.of(x, x, x), List.of(1, 2)))
                .hasMessageContaining("takes 4 tensors, s0 and s1, but got 3 tensors and 2 scalars");
    }
}
