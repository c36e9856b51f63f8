// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.error.StateDictException;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Block;
import dev.merapi.nn.Conv2d;
import dev.merapi.nn.Dropout;
import dev.merapi.nn.Embedding;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.LayerNorm;
import dev.merapi.nn.Linear;
import dev.merapi.nn.MultiheadAttention;
import dev.merapi.nn.Parameter;
import dev.merapi.nn.Sequential;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BlockTest {
    private static final class Mlp extends Block {
        final Linear in = child("in", new Linear(4, 8));
        final Dropout dropout = child("dropout", new Dropout(0.5));
        final Linear out = child("out", new Linear(8, 2, false));
        final Parameter count = buffer("count", Tensor.zeros(1));

        Tensor forward(Tensor x) {
            return out.forward(dropout.forward(in.forward(x).relu()));
        }
    }

    @TempDir
    Path folder;

    @Test
    void namesAreDottedAndInOrder() {
        Mlp m = new Mlp();
        assertThat(m.stateDict().names()).containsExactly("count", "in.weight", "in.bias", "out.weight");
        assertThat(m.namedParameters().keySet()).containsExactly("in.weight", "in.bias", "out.weight");
        assertThat(m.parameterCount()).isEqualTo(4 * 8 + 8 + 8 * 2);
        assertThat(m.parameters()).allMatch(p -> p.tensor().requiresGrad());
        assertThat(m.count.tensor().requiresGrad()).isFalse();
        assertThat(m.toString()).contains("in: Linear", "weight: parameter float32[8, 4] cpu", "count: buffer");
    }

    @Test
    void namesMustBeNewAndWithoutDots() {
        class Twice extends Block {
            Twice(String second) {
                parameter("a", Tensor.zeros(1));
                child(second, new Linear(1, 1));
            }
        }
        assertThatThrownBy(() -> new Twice("a")).hasMessageContaining("already a 'a'");
        assertThatThrownBy(() -> new Twice("b.c")).hasMessageContaining("dot");
        assertThatThrownBy(() -> new Twice("")).hasMessageContaining("empty");
    }

    @Test
    void sharedParametersAppearOnce() {
        class Tied extends Block {
            final Parameter a = parameter("a", Tensor.zeros(2));
            final Parameter b = shared("b", a);
        }
        Tied tied = new Tied();
        assertThat(tied.parameters()).hasSize(1);
        tied.to(DType.FLOAT64);
        assertThat(tied.a.tensor()).isSameAs(tied.b.tensor());
    }

    @Test
    void parametersOutliveTheScopeTheyWereMadeIn() {
        Mlp m;
        try (Scope scope = Scope.open()) {
            m = new Mlp();
        }
        assertThat(m.stateDict().all(Tensor.class).values()).noneMatch(Tensor::isClosed);
        assertThat(m.forward(Tensor.ones(3, 4)).shape()).isEqualTo(Shape.of(3, 2));
    }

    @Test
    void evalTurnsDropoutOffEverywhere() {
        Mlp m = new Mlp();
        m.eval();
        Tensor x = Tensor.ones(1, 4);
        assertThat(m.forward(x).toFloatArray()).isEqualTo(m.forward(x).toFloatArray());
        assertThat(m.dropout.isTraining()).isFalse();
        m.train(true);
        assertThat(m.dropout.forward(Tensor.ones(1000)).eq(0).sum().item()).isBetween(400.0, 600.0);
    }

    @Test
    void dtypeMovesConvertFloatingParametersAndKeepThemTrainable() {
        Mlp m = new Mlp();
        float[] before = m.in.weight().toFloatArray();
        m.to(DType.FLOAT64);
        assertThat(m.in.weight().dtype()).isEqualTo(DType.FLOAT64);
        assertThat(m.in.weight().toFloatArray()).isEqualTo(before);
        Autograd.backward(m.forward(Tensor.ones(DType.FLOAT64, 1, 4)).sum());
        assertThat(m.parameters()).allMatch(p -> p.tensor().grad() != null);
        m.zeroGrad();
        assertThat(m.parameters()).allMatch(p -> p.tensor().grad() == null);
    }

    @Test
    void stateTravelsThroughAFile() throws IOException {
        Mlp a = new Mlp();
        Mlp b = new Mlp();
        assertThat(b.in.weight().toFloatArray()).isNotEqualTo(a.in.weight().toFloatArray());
        Safetensors.save(folder.resolve("m.safetensors"), a.stateDict());
        b.loadStateDict(Safetensors.loadState(folder.resolve("m.safetensors")));
        a.stateDict()
                .all(Tensor.class)
                .forEach((name, t) -> assertThat(
                                b.stateDict().get(name, Tensor.class).toFloatArray())
                        .as(name)
                        .isEqualTo(t.toFloatArray()));
        assertThat(b.parameters()).allMatch(p -> p.tensor().requiresGrad());
    }

    @Test
    void aStateThatDoesNotFitChangesNothingAndSaysAllThatIsWrong() {
        Mlp m = new Mlp();
        Map<String, Tensor> state = m.stateDict().all(Tensor.class);
        state.replaceAll((name, t) -> t.detach().add(1));
        state.put("in.bias", Tensor.zeros(9));
        state.remove("out.weight");
        state.put("head.weight", Tensor.zeros(1));
        float[] before = m.in.weight().toFloatArray();
        assertThatThrownBy(() -> m.loadStateDict(StateDict.of(state)))
                .isInstanceOf(StateDictException.class)
                .hasMessageContaining("missing: [out.weight]")
                .hasMessageContaining("unknown: [head.weight]")
                .hasMessageContaining("in.bias: expected float32[8] cpu, got float32[9] cpu");
        assertThat(m.in.weight().toFloatArray()).isEqualTo(before);
    }

    @Test
    void theSameSeedGivesTheSameModel() {
        Merapi.seed(3);
        float[] a = new Mlp().in.weight().toFloatArray();
        Merapi.seed(3);
        assertThat(new Mlp().in.weight().toFloatArray()).isEqualTo(a);
    }

    @Test
    void firstValuesOfLinearAreUniformWithinTheRootOfItsInputs() {
        float[] w = new Linear(100, 200).weight().toFloatArray();
        double squares = 0;
        for (float v : w) {
            assertThat(Math.abs(v)).isLessThanOrEqualTo(0.1f);
            squares += v * (double) v;
        }
        // Variance of a uniform number in ±0.1 is 0.01/3; its estimate from 20,000 is within 4 % (deviation 0.6 %).
        assertThat(squares / w.length).isCloseTo(0.01 / 3, within(0.04 * 0.01 / 3));
    }

    @Test
    void layersHaveTheShapesThatTheySay() {
        Sequential net = new Sequential()
                .then(new Conv2d(3, 5, 3, 2, 1))
                .then(Tensor::relu)
                .then(x -> x.flatten(1, -1))
                .then(new Linear(5 * 4 * 4, 6))
                .then(new LayerNorm(6));
        assertThat(net.forward(Tensor.rand(2, 3, 8, 8)).shape()).isEqualTo(Shape.of(2, 6));
        assertThat(net.namedParameters()).containsKeys("0.weight", "3.bias", "4.weight");
        assertThat(new Embedding(10, 4)
                        .forward(Tensor.of(new long[] {1, 2, 3, 9}, 2, 2))
                        .shape())
                .isEqualTo(Shape.of(2, 2, 4));
    }

    @Test
    void causalAttentionDoesNotSeeTheFuture() {
        MultiheadAttention attention = new MultiheadAttention(8, 2, true);
        Tensor x = Tensor.rand(1, 5, 8);
        Tensor changed = x.copy();
        changed.slice(1, 3, 5).fill_(9);
        Tensor a = attention.forward(x);
        Tensor b = attention.forward(changed);
        assertThat(b.slice(1, 0, 3).toFloatArray()).isEqualTo(a.slice(1, 0, 3).toFloatArray());
        assertThat(b.select(1, 4).toFloatArray()).isNotEqualTo(a.select(1, 4).toFloatArray());
        assertThatThrownBy(() -> new MultiheadAttention(8, 3, true)).hasMessageContaining("3 heads");
    }

    @Test
    void feedForwardIsTwoLinearMapsWithAGelu() {
        FeedForward layer = new FeedForward(4, 6);
        assertThat(layer.namedParameters().keySet())
                .containsExactlyInAnyOrder("up.weight", "up.bias", "down.weight", "down.bias");
        Map<String, Tensor> p = layer.stateDict().all(Tensor.class);
        Tensor x = Tensor.rand(3, 4);
        Tensor inner = x.linear(p.get("up.weight"), p.get("up.bias"));
        Tensor expected = inner.geluTanh().linear(p.get("down.weight"), p.get("down.bias"));
        assertThat(layer.forward(x).toFloatArray()).isEqualTo(expected.toFloatArray());
    }

    @Test
    void parametersStayFloating() {
        Linear linear = new Linear(2, 2);
        assertThatThrownBy(() -> linear.to(DType.INT32))
                .isInstanceOf(dev.merapi.error.DTypeException.class)
                .hasMessageContaining("int32");
        assertThat(linear.weight().dtype()).isEqualTo(DType.FLOAT32);
        assertThat(linear.weight().requiresGrad()).isTrue();
    }
}
