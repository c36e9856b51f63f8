// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.expr.Expr;
import dev.merapi.expr.Exprs;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** The native interpreter holds programs up to a length; what is longer runs on the Java one. */
class LongExpressionTest {
    private static final int STEPS = 300;

    @Test
    void expressionsOfAnyLengthRun() {
        PointwiseOp op = Pointwise.define("test::long_chain", x -> {
            Expr y = x;
            for (int i = 0; i < STEPS; i++) {
                y = Exprs.sin(y.add(x)).add(i % 3 * 0.1);
            }
            return y;
        });
        double at = 0.7;
        double y = at;
        for (int i = 0; i < STEPS; i++) {
            y = Math.sin(y + at) + i % 3 * 0.1;
        }
        assertThat(op.call(Tensor.of(at)).item()).isCloseTo(y, within(1e-9));
    }
}
