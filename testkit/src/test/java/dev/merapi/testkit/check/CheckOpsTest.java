// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.CheckOps;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.RegisterExtension;

/** A user's test class with a wrong op: its tests pass by themselves, and fail by the extension, which names the op. */
class CheckOpsTest {
    record X(Tensor x) {}

    private static final Op<X, Tensor> WRONG = op("user::wrong", 3);
    private static final Op<X, Tensor> RIGHT = op("user::right", 2);

    private static Op<X, Tensor> op(String name, double factor) {
        return Op.define(java.lang.invoke.MethodHandles.lookup(), name, X.class, Tensor.class)
                .compose(a -> a.x().mul(2))
                .shape(a -> {
                    if (a.x().rank() != 1) {
                        throw new ShapeException(name + ": takes a vector, not " + a.x().shape());
                    }
                    return Tensor.meta(a.x());
                })
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.mul(factor)));
    }

    @ExtendWith(CheckOps.class)
    static class UserTest {
        @Test
        void callsAWrongOp() {
            try (Scope scope = Scope.open()) {
                Tensor x = Tensor.of(1f, 2, 3).requiresGrad(true);
                Tensor y = WRONG.call(new X(x));
                Assertions.assertEquals(12, y.sum().item());
                x.detach().fill_(Float.NaN); // what the op was called with is kept
            }
        }

        @Test
        void callsARightOne() {
            Tensor x = Tensor.of(1f, 2, 3).requiresGrad(true);
            for (int i = 0; i < 100; i++) {
                Autograd.backward(RIGHT.call(new X(x)).sum());
            }
            Assertions.assertThrows(ShapeException.class, () -> RIGHT.call(new X(Tensor.ones(2, 2))));
        }

        @Test
        void failsByItself() {
            WRONG.call(new X(Tensor.of(5f).requiresGrad(true)));
            Assertions.fail("by itself");
        }

        @Test
        void callsNone() {
            Assertions.assertEquals(2, Tensor.ones(2).sum().item());
        }
    }

    static class SettingsTest {
        @RegisterExtension
        final CheckOps ops = new CheckOps()
                .withBuiltIn()
                .skip("user::wrong", "gradients", "known")
                .skip("user::wrong", "forward mode", "known");

        @Test
        void callsAWrongOp() {
            WRONG.call(new X(Tensor.of(1f, 2).requiresGrad(true)));
        }
    }

    @Test
    void aTestFailsWithTheNameOfItsOp() {
        Map<String, Optional<Throwable>> results = JupiterRun.of(UserTest.class);
        assertThat(results).hasSize(4);
        assertThat(results.get("callsAWrongOp()"))
                .hasValueSatisfying(e -> assertThat(e)
                        .isInstanceOf(AssertionError.class)
                        .hasMessageStartingWith("opcheck user::wrong: ")
                        .hasMessageContaining("FAILED       sample 0: gradients:")
                        .hasMessageContaining("CheckOpsTest\").getDeclaredField(\"WRONG\")"));
        assertThat(results.get("callsARightOne()")).isEmpty();
        assertThat(results.get("callsNone()")).isEmpty();
        assertThat(results.get("failsByItself()"))
                .hasValueSatisfying(e -> assertThat(e).hasMessage("by itself"));
    }

    @Test
    void settings() {
        assertThat(JupiterRun.of(SettingsTest.class))
                .isEqualTo(new LinkedHashMap<>(Map.of("callsAWrongOp()", Optional.empty())));
    }
}
