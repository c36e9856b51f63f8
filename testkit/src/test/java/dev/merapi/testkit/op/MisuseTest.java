// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.AliasException;
import dev.merapi.error.GradientException;
import dev.merapi.error.OpResultException;
import dev.merapi.error.SchemaException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** What authors and callers of ops do by mistake, and the errors that say so. */
class MisuseTest {
    public record X(Tensor x) {}

    public record Plain(
            Tensor x,
            DType dtype,
            String text,
            long[] sizes,
            @Nullable Long some,
            Optional<Double> other) {}

    public record Lists(List<Tensor> xs, Optional<Tensor> y, List<Long> ns) {}

    public record Self(Tensor x, @Nullable Self next) {}

    public record Ping(@Nullable Pong pong) {}

    public record Pong(@Nullable Ping ping) {}

    public record Pair(Tensor a, Tensor b) {}

    private static <A extends Record> Op<A, Tensor> op(Class<A> type, java.util.function.Function<A, Tensor> like) {
        return Op.define("test::misused", type, Tensor.class)
                .shape(a -> Tensor.meta(like.apply(a)))
                .kernel(DeviceType.CPU, (a, out) -> out.fill_(1))
                .nonDifferentiable();
    }

    @Test
    void plainArgumentsThatAreNotNullableMayNotBeNull() {
        Op<Plain, Tensor> op = op(Plain.class, Plain::x);
        Tensor x = Tensor.ones(2);
        op.call(new Plain(x, DType.INT32, "", new long[0], null, Optional.empty()));
        assertThatThrownBy(() -> op.call(new Plain(x, null, "", new long[0], 1L, Optional.empty())))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("test::misused: argument 'dtype' is null");
        assertThatThrownBy(() -> op.call(new Plain(x, DType.INT32, null, new long[0], 1L, Optional.empty())))
                .hasMessageContaining("'text' is null");
        assertThatThrownBy(() -> op.call(new Plain(x, DType.INT32, "", null, 1L, Optional.empty())))
                .hasMessageContaining("'sizes' is null");
    }

    @Test
    void definitionsSayWhichOfTheirArgumentsIsNull() {
        assertThatThrownBy(() -> Op.define(null, X.class, Tensor.class)).hasMessage("name");
        assertThatThrownBy(() -> Op.define("test::null", null, Tensor.class)).hasMessage("arguments");
        assertThatThrownBy(() -> Op.define("test::null", X.class, (Class<Tensor>) null))
                .hasMessage("result");
        assertThatThrownBy(() -> Op.define("test::null", X.class, (Result<Tensor>) null))
                .hasMessage("result");
    }

    @Test
    void theRecordItselfMayNotBeNull() {
        assertThatThrownBy(() -> op(X.class, X::x).call((X) null))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("test::misused: the arguments are null");
    }

    @Test
    void argumentsByNameAreOfTheirTypesInsideOfListsToo() {
        Op<Lists, Tensor> op = op(Lists.class, a -> a.xs().get(0));
        List<Tensor> xs = List.of(Tensor.ones(2));
        assertThat(op.call(Map.of("xs", xs, "ns", List.of(1L))).numel()).isEqualTo(2);
        assertThatThrownBy(() -> op.call(Map.of("xs", List.of("a"), "ns", List.of(1L))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("test::misused")
                .hasMessageContaining("'xs[0]'")
                .hasMessageContaining("String");
        assertThatThrownBy(() -> op.call(Map.of("xs", xs, "y", "a", "ns", List.of(1L))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'y'");
        assertThatThrownBy(() -> op.call(Map.of("xs", xs, "y", Optional.of(3), "ns", List.of(1L))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'y'");
        assertThatThrownBy(() -> op.call(Map.of("xs", xs, "ns", List.of("a"))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'ns[0]'");
    }

    @Test
    void recordsThatHoldThemselvesAreRefused() {
        assertThatThrownBy(() -> Op.define("test::self", Self.class, Tensor.class))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("Self")
                .hasMessageContaining("next");
        assertThatThrownBy(() -> Op.define("test::ping", Ping.class, Tensor.class))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("Ping");
    }

    @Test
    void oneTensorIsNotTwoResults() {
        Op<X, Pair> twice = Op.define("test::twice_the_same", X.class, Pair.class)
                .returningKernel(DeviceType.CPU, a -> {
                    Tensor t = a.x().copy();
                    return new Pair(t, t);
                });
        assertThatThrownBy(() -> twice.call(new X(Tensor.ones(2))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("test::twice_the_same")
                .hasMessageContaining("share memory");
        Op<X, List<Tensor>> views = Op.define("test::views_of_one", X.class, Result.tensors())
                .returningKernel(DeviceType.CPU, a -> a.x().copy().unbind(0));
        assertThatThrownBy(() -> views.call(new X(Tensor.ones(2)))).isInstanceOf(AliasException.class);
    }

    @Test
    void aKernelReturnsTensorsWithMemory() {
        Op<X, Tensor> op = Op.define("test::returns_meta", X.class, Tensor.class)
                .returningKernel(DeviceType.CPU, a -> Tensor.meta(a.x()));
        assertThatThrownBy(() -> op.call(new X(Tensor.ones(2))))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("test::returns_meta")
                .hasMessageContaining("meta");
    }

    @Test
    void anOpThatWritesAndHasABackwardReturnsWhatItWrote() {
        Op<X, Tensor> op = Op.define("test::grows", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> a.x().fill_(1))
                .mutates("x")
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g));
        Tensor x = Tensor.zeros(2).requiresGrad(true).mul(2);
        assertThatThrownBy(() -> op.call(new X(x)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("returnsMutated");
        assertThat(x.toFloatArray()).containsExactly(0, 0); // refused before anything was written
    }

    @Test
    void wrongSizesAndDimensionsNameTheOp() {
        Tensor x = Tensor.ones(2, 3);
        assertThatThrownBy(() -> x.sum(2)).hasMessageStartingWith("merapi::sum: dimension 2 is out of range");
        assertThatThrownBy(() -> Tensor.linspace(0, 1, -1)).hasMessageContaining("linspace");
        assertThatThrownBy(() -> Tensor.of(0L).oneHot(-1)).hasMessageContaining("one_hot");
        assertThatThrownBy(() -> x.squeeze(5)).hasMessageContaining("squeeze");
        assertThatThrownBy(() -> x.softmax(5)).hasMessageContaining("softmax");
        assertThatThrownBy(() -> x.select(0, 7)).hasMessageStartingWith("merapi::select: index 7"); // once
    }

    @Test
    void aViewRuleThatReturnsNothingIsRefused() {
        Op<X, Tensor> op = Op.define("test::no_view", X.class, Tensor.class).view("x", a -> null);
        assertThatThrownBy(() -> op.call(new X(Tensor.ones(2))))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("test::no_view");
    }
}
