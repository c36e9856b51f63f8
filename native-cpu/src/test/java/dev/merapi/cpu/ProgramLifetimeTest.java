// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.ReductionOp;
import dev.merapi.storage.Backstop;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import org.junit.jupiter.api.Test;

/** Native programs live as long as the op that they belong to, and no longer. */
class ProgramLifetimeTest {
    private static final int OPS = 10_000;
    /** Of other ops that run for the first time meanwhile. */
    private static final int SLACK = 200;

    @Test
    void programsOfOpsThatAreGoneAreReleased() {
        call(0);
        collect();
        long before = Native.programs_alive();
        long most = before;
        for (int i = 0; i < OPS; i++) {
            call(i);
            most = Math.max(most, Native.programs_alive());
        }
        assertThat(most).isGreaterThan(before + SLACK);
        collect();
        assertThat(Native.programs_alive()).isLessThan(before + SLACK);
    }

    @Test
    void programsOfOpsThatAreThereStay() {
        var op = Pointwise.define("test::that_stays", (x, y) -> x.mul(y).add(x));
        Tensor x = Tensor.of(2f, 3f);
        assertThat(op.call(x, x).toDoubleArray()).containsExactly(6, 12);
        long alive = Native.programs_alive();
        for (int i = 0; i < 3; i++) {
            collect();
            assertThat(op.call(x, x).toDoubleArray()).containsExactly(6, 12);
            assertThat(Native.programs_alive()).isLessThanOrEqualTo(alive);
        }
        OpRegistry.destroy("test::that_stays");
    }

    private static void collect() {
        for (int i = 0; i < 3; i++) {
            Backstop.collectNow();
        }
    }

    /** A pointwise op, every tenth time with its gradient, or a reduction: made, called and destroyed. */
    private static void call(int i) {
        String name = "test::made_at_run_time_" + i;
        try (Scope scope = Scope.open()) {
            if (i % 2 == 0) {
                var op = Pointwise.define(name, (x, y) -> x.mul(y).add(i));
                Tensor x = Tensor.of(1f, 2f).requiresGrad(i % 10 == 0);
                Tensor y = op.call(x, x);
                assertThat(y.toDoubleArray()).containsExactly(1 + i, 4 + i);
                if (i % 10 == 0) {
                    Autograd.backward(y.sum());
                }
            } else {
                var op = ReductionOp.define(name, x -> x.add(i), Combine.SUM);
                assertThat(op.call(Tensor.of(1f, 2f)).item()).isEqualTo(3.0 + 2 * i);
            }
        }
        OpRegistry.destroy(name);
    }
}
