// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.nn.Activation;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.Layer;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.nn.Rearrange;
import dev.merapi.nn.Sequential;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

class LayerHooksTest {
    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    @Test
    void forwardHooksSeeAndChangeInOrderUntilTheyAreRemoved() {
        Layer square = Layer.of("Square", x -> x.mul(x));
        List<Runnable> remove = List.of(
                square.forwardPreHook(x -> x.add(1)),
                square.forwardPreHook(x -> x.mul(2)),
                square.forwardHook((in, out) -> out.add(in)),
                square.forwardHook((in, out) -> out.neg()));
        assertThat(square.forward(Tensor.of(1.0, 2.0)).toDoubleArray()).containsExactly(-20, -42);
        remove.get(1).run();
        remove.get(3).run();
        assertThat(square.forward(Tensor.of(1.0, 2.0)).toDoubleArray()).containsExactly(6, 12);
        remove.forEach(Runnable::run);
        remove.forEach(Runnable::run); // a second time is nothing
        assertThat(square.forward(Tensor.of(1.0, 2.0)).toDoubleArray()).containsExactly(1, 4);
    }

    @Test
    void aHandleRemovesItsOwnRegistrationOnly() {
        Layer id = Rearrange.identity();
        UnaryOperator<Tensor> twice = x -> x.mul(2);
        Runnable first = id.forwardPreHook(twice);
        Runnable second = id.forwardPreHook(twice);
        first.run();
        first.run();
        assertThat(id.forward(Tensor.of(3.0)).item()).isEqualTo(6);
        second.run();
        assertThat(id.forward(Tensor.of(3.0)).item()).isEqualTo(3);
        assertThatThrownBy(() -> id.forwardHook(null)).isInstanceOf(NullPointerException.class);
    }

    /** The input is used twice; the hook sees what comes through the layer, and what it returns goes on. */
    @Test
    void backwardHooksSeeTheGradientsOfThisLayer() {
        Layer triple = Layer.of("Triple", x -> x.mul(3));
        List<String> seen = new ArrayList<>();
        triple.backwardPreHook(g -> {
            seen.add("output " + g.toDoubleArray()[0]);
            return g.mul(10);
        });
        triple.backwardHook(g -> {
            seen.add("input " + g.toDoubleArray()[0]);
            return g.add(1);
        });
        Tensor x = leaf(5);
        Autograd.backward(triple.forward(x).mul(2).add(x.mul(7)).sum());
        assertThat(seen).containsExactly("output 2.0", "input 60.0");
        assertThat(x.grad().item()).isEqualTo(60 + 1 + 7);
        assertThat(triple.forward(Tensor.of(5.0)).requiresGrad()).isFalse();
    }

    @Test
    void backwardHooksOfAnIdentityLeaveOthersAlone() {
        Layer id = Rearrange.identity();
        id.backwardHook(g -> g.mul(100));
        Tensor x = leaf(1);
        Autograd.backward(id.forward(x).add(x).sum());
        assertThat(x.grad().item()).isEqualTo(101);
    }

    /** The containers call {@code forward}, and so do forms with more arguments. */
    @Test
    void everyFormRunsTheHooks() {
        MultiheadAttention attention = new MultiheadAttention(4, 2, true);
        List<String> shapes = new ArrayList<>();
        attention.forwardHook((in, out) -> {
            shapes.add(in.shape() + " " + out.shape());
            return out;
        });
        Tensor x = Tensor.rand(1, 3, 4);
        Tensor a = new Sequential().then(attention).forward(x);
        Tensor b = attention.forward(x, Tensor.zeros(3, 3));
        Tensor c = attention.forward(x, Tensor.rand(1, 5, 4), null);
        assertThat(List.of(a, b, c)).allMatch(t -> t.rank() == 3);
        assertThat(shapes).containsExactly("[1, 3, 4] [1, 3, 4]", "[1, 3, 4] [1, 3, 4]", "[1, 3, 4] [1, 3, 4]");
        Embedding table = new Embedding(3, 2);
        table.backwardHook(g -> {
            throw new AssertionError("indices have no gradient");
        });
        Autograd.backward(table.forward(Tensor.of(new long[] {1})).sum());
    }

    @Test
    void aHookMayRemoveItself() {
        Layer relu = Activation.relu();
        Runnable[] remove = new Runnable[1];
        int[] calls = {0};
        remove[0] = relu.forwardHook((in, out) -> {
            calls[0]++;
            remove[0].run();
            return out;
        });
        Tensor x = relu.forward(relu.forward(Tensor.of(1.0)));
        assertThat(x.item()).isEqualTo(1);
        assertThat(calls[0]).isEqualTo(1);
    }
}
