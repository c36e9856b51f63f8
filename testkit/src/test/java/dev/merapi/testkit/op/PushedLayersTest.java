// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.dispatch.Context;
import dev.merapi.error.RegistrationException;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.op.LayerRule;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** Layers that users push: what they see, in which order, and that the thread is as before whatever happens. */
class PushedLayersTest {
    public record X(Tensor x) {}

    /** Writes down the ops that it sees. */
    private static class Log implements DispatchLayer {
        final List<String> seen = new ArrayList<>();
        private final String name;
        private final boolean below;

        Log(String name, boolean below) {
            this.name = name;
            this.below = below;
        }

        Log() {
            this("", false);
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int next) {
            seen.add(name + op.name().replace("merapi::", ""));
            return Layers.below(op, args, context, next);
        }

        @Override
        public boolean isBelowAutograd() {
            return below;
        }
    }

    private interface Named<A extends Record, R> extends LayerRule<Log, A, R> {
        String text();
    }

    @Test
    void layersSeeCallsInTheOrderThatIsStatedAndNoMoreAfterTheirEnd() {
        Context.Snapshot before = Context.current().capture();
        Tensor x = Tensor.of(1f, 2f).requiresGrad(true);
        List<String> order = new ArrayList<>();
        Log a = new Log("a:", false);
        Log b = new Log("b:", false);
        Log low = new Log("low:", true);
        Log both = new Log() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int next) {
                Tensor first = op.schema().tensors(op.name(), args)[0];
                order.add(op.name() + " " + first.dtype());
                return Layers.below(op, args, context, next);
            }
        };
        try (Layers.Pushed first = Layers.push(a);
                Layers.Pushed second = Layers.push(low);
                Layers.Pushed third = Layers.push(b);
                Autocast cast = Autocast.on(DType.BFLOAT16)) {
            var unused = x.exp();
            try (Layers.Pushed fourth = Layers.push(both)) {
                var also = x.view(2, 1).matmul(x.view(1, 2));
            }
        }
        assertThat(a.seen).containsExactly("a:exp", "a:view", "a:view", "a:matmul");
        assertThat(b.seen).containsExactly("b:exp", "b:view", "b:view", "b:matmul");
        assertThat(low.seen)
                .as("kernels, those of casts too; views have none")
                .contains("low:exp", "low:matmul")
                .doesNotContain("low:view");
        assertThat(order).as("above autocast").contains("merapi::matmul float32");
        var unused = x.exp();
        assertThat(a.seen).hasSize(4);
        assertThat(Context.current().capture()).isEqualTo(before);
    }

    @Test
    void aCompositeOpIsSeenAsOneCallAndThenAsItsParts() {
        Op<X, Tensor> op = Op.define("test::layered", X.class, Tensor.class)
                .compose(a -> a.x().exp().sum());
        Log log = new Log();
        Tensor x = Tensor.of(1f, 2f).requiresGrad(true);
        try (Layers.Pushed on = Layers.push(log)) {
            Autograd.backward(op.call(new X(x)));
        }
        assertThat(log.seen).startsWith("test::layered", "exp", "sum");
        assertThat(log.seen).as("and the ops of the backward formulas").hasSizeGreaterThan(3);
        Log own = new Log() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> of, A args, CallContext context, int next) {
                seen.add(of.name());
                return Layers.whole(of, args, context);
            }
        };
        try (Layers.Pushed on = Layers.push(own)) {
            var unused = op.call(new X(x));
        }
        assertThat(own.seen).containsExactly("test::layered");
    }

    @Test
    void aLayerMayCallOpsAndReplaceTheResult() {
        DispatchLayer twice = new DispatchLayer() {
            @Override
            @SuppressWarnings("unchecked")
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                R result = Layers.below(op, args, context, below);
                return result instanceof Tensor t ? (R) t.mul(2.0) : result; // not seen by itself
            }
        };
        Tensor x = Tensor.of(1f, 2f).requiresGrad(true);
        Tensor y;
        try (Layers.Pushed on = Layers.push(twice);
                Layers.Pushed again = Layers.push(twice)) {
            y = x.add(1.0);
        }
        // The product of the outer one is a call that the inner one sees, and doubles.
        assertThat(y.toDoubleArray()).containsExactly(16, 24);
        Autograd.backward(y.sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(8, 8);
    }

    @Test
    void failuresAndWrongOrderLeaveTheThreadAsItWas() throws Exception {
        Context.Snapshot before = Context.current().capture();
        DispatchLayer failing = new DispatchLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                var unused = Layers.below(op, args, context, below);
                throw new IllegalArgumentException("layer");
            }
        };
        Layers.Pushed outer = Layers.push(failing);
        Layers.Pushed inner = Layers.push(new Log());
        assertThatThrownBy(() -> Tensor.of(1f).exp()).hasMessageContaining("layer");
        CompletableFuture<Throwable> there = CompletableFuture.supplyAsync(() -> {
            try {
                inner.close();
                return null;
            } catch (IllegalStateException e) {
                return e;
            }
        });
        assertThat(there.get()).hasMessageContaining("another one opened it");
        outer.close(); // the inner one ends with it
        inner.close();
        assertThat(Context.current().capture()).isEqualTo(before);
        Layers.Pushed[] self = new Layers.Pushed[1];
        self[0] = Layers.push(new DispatchLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                self[0].close();
                return Layers.below(op, args, context, below);
            }
        });
        assertThatThrownBy(() -> Tensor.of(1f).exp()).hasMessageContaining("closed within a call that it sees");
        self[0].close();
        assertThat(Context.current().capture()).isEqualTo(before);
    }

    @Test
    void aCheckpointIsComputedAgainThroughTheLayersOfItsTime() {
        Log log = new Log();
        Tensor x = Tensor.of(1f, 2f).requiresGrad(true);
        Tensor y;
        try (Layers.Pushed on = Layers.push(log)) {
            y = Checkpoint.checkpoint(t -> t.exp().sin(), x);
        }
        int once = log.seen.size();
        Autograd.backward(y.sum());
        assertThat(log.seen.subList(once, log.seen.size())).contains("exp");
    }

    @Test
    void anOpHasARuleForOneKindOfLayer() {
        Named<X, Tensor> rule = () -> "said";
        Op<X, Tensor> op = Op.define("test::ruled", X.class, Tensor.class).compose(a -> a.x().exp());
        assertThat(op.definition().rule(Log.class)).isNull();
        op.rule(Log.class, rule);
        assertThat(op.definition().rule(Log.class)).isSameAs(rule);
        assertThatThrownBy(() -> op.rule(Log.class, rule))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("already a piece");
    }
}
