// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.nn;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.error.ShapeException;
import dev.merapi.error.StateDictException;
import dev.merapi.nn.*;
import dev.merapi.optim.Sgd;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

/** What blocks offer beside what they compute. */
class BlockToolsTest {
    private static Sequential net() {
        return new Sequential()
                .then(new Conv2d(1, 2, 3))
                .then(new BatchNorm2d(2))
                .then(Activation.relu())
                .then(Rearrange.flatten())
                .then(new Linear(8, 3));
    }

    @Test
    void blocksAreVisitedOnce() {
        Linear shared = new Linear(1, 1);
        BlockMap<Block> map = new BlockMap<>().put("a", shared).put("b", new Sequential().then(shared));
        assertThat(map.namedBlocks().keySet()).containsExactly("", "a", "b");
        List<String> visited = new ArrayList<>();
        map.apply(b -> visited.add(b.getClass().getSimpleName()));
        assertThat(visited).containsExactly("Linear", "Sequential", "BlockMap");
        assertThat(net().namedBuffers().keySet())
                .containsExactly("1.running_mean", "1.running_var", "1.num_batches_tracked");
    }

    @Test
    void whatIsFrozenStaysAsItIs() {
        Sequential net = net();
        Block conv = net.namedBlocks().get("0");
        conv.requiresGrad(false);
        float[] before = ((Conv2d) conv).weight().toFloatArray();
        float[] head = ((Linear) net.namedBlocks().get("4")).weight().toFloatArray();
        try (Sgd sgd = new Sgd(net.parameters(), 0.1)) {
            Autograd.backward(net.forward(Tensor.rand(2, 1, 4, 4)).square().sum());
            sgd.step();
            assertThat(((Conv2d) conv).weight().toFloatArray()).isEqualTo(before);
            assertThat(((Linear) net.namedBlocks().get("4")).weight().toFloatArray())
                    .isNotEqualTo(head);
            conv.requiresGrad(true);
            sgd.zeroGrad();
            Autograd.backward(net.forward(Tensor.rand(2, 1, 4, 4)).square().sum());
            sgd.step();
            assertThat(((Conv2d) conv).weight().toFloatArray()).isNotEqualTo(before);
        }
    }

    @Test
    void modesReachAllBlocks() {
        Sequential net = net();
        net.eval();
        assertThat(net.namedBlocks().values()).noneMatch(Block::isTraining);
        net.train();
        assertThat(net.namedBlocks().values()).allMatch(Block::isTraining);
    }

    @Test
    void statesOfOthersLoadByRules() {
        Sequential net = net();
        StateDict old = new StateDict();
        net.stateDict().all(Tensor.class).forEach((name, t) -> {
            if (!name.endsWith("num_batches_tracked")) {
                old.put("model." + name, t.detach().add(1));
            }
        });
        old.put("head.weight", Tensor.zeros(1));
        assertThatThrownBy(() -> net.loadStateDict(old)).isInstanceOf(StateDictException.class);
        StateDict renamed = old.renamed(name -> name.startsWith("model.") ? name.substring(6) : name);
        assertThatThrownBy(() -> net.loadStateDict(renamed))
                .isInstanceOf(StateDictException.class)
                .hasMessageContaining("missing: [1.num_batches_tracked]")
                .hasMessageContaining("unknown: [head.weight]");
        float[] bias = ((Conv2d) net.namedBlocks().get("0")).bias().toFloatArray();
        Block.Incompatible left = net.loadStateDict(renamed, false);
        assertThat(left.missing()).containsExactly("1.num_batches_tracked");
        assertThat(left.unexpected()).containsExactly("head.weight");
        assertThat(((Conv2d) net.namedBlocks().get("0")).bias().toFloatArray()[0])
                .isEqualTo(bias[0] + 1);
        StateDict wrong = renamed.with("0.bias", Tensor.zeros(5));
        assertThatThrownBy(() -> net.loadStateDict(wrong, false)).hasMessageContaining("0.bias: expected");
        assertThat(old.renamed(name -> name.equals("head.weight") ? null : name).names())
                .doesNotContain("head.weight");
        assertThatThrownBy(() -> old.renamed(name -> "same")).hasMessageContaining("already a 'same'");
    }

    /** PyTorch saves what is shared under each of its names. */
    @Test
    void whatIsSharedLoadsByEitherName() {
        class Tied extends Block {
            final Embedding tokens = child("tokens", new Embedding(3, 2));
            final Parameter head = shared("head", tokens.parameters().get(0));
        }
        Tied tied = new Tied();
        Tensor w = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2);
        tied.loadStateDict(StateDict.of(Map.of("head", w)));
        assertThat(tied.tokens.weight().toFloatArray()).isEqualTo(w.toFloatArray());
        StateDict both = new StateDict().put("tokens.weight", w.add(1)).put("head", w.add(1));
        assertThat(tied.loadStateDict(both, false)).isEqualTo(new Block.Incompatible(List.of(), List.of()));
        assertThat(tied.head.tensor().toFloatArray()).isEqualTo(w.add(1).toFloatArray());
    }

    @Test
    void summariesShowShapesAndChangeNothing() {
        Sequential net = net();
        net.namedBlocks().get("4").requiresGrad(false);
        ((Layer) net.namedBlocks().get("2")).eval();
        String expected = """
                name  type         output        parameters
                      Sequential   [1, 3]                 0
                0     Conv2d       [1, 2, 2, 2]          20
                1     BatchNorm2d  [1, 2, 2, 2]           4
                2     ReLU         [1, 2, 2, 2]           0
                3     Flatten      [1, 8]                 0
                4     Linear       [1, 3]                27
                51 parameters, of which 24 are trained
                """;
        assertThat(net.summary(1, 1, 4, 4)).isEqualTo(expected);
        assertThat(net.isTraining()).isTrue();
        assertThat(net.namedBlocks().get("2").isTraining()).isFalse();
        Tensor count = net.namedBuffers().get("1.num_batches_tracked").tensor();
        assertThat(count.item()).isEqualTo(0);
        assertThat(net.summary()).contains("4     Linear ", "51 parameters");
        assertThatThrownBy(() -> net.summary(1, 1, 1, 1)).isInstanceOf(ShapeException.class);
        assertThat(net.isTraining()).isTrue();
    }

    @Test
    void listsAndMapsNameTheirBlocks() {
        BlockList<Linear> list = new BlockList<>(List.of(new Linear(1, 1), new Linear(1, 1)));
        assertThat(list.add(new Linear(1, 1, false)).stateDict().names())
                .containsExactly("0.weight", "0.bias", "1.weight", "1.bias", "2.weight");
        assertThat(list).hasSize(3).containsExactly(list.get(0), list.get(1), list.get(2));
        assertThatThrownBy(() -> list.get(3)).hasMessageContaining("there are 3");
        BlockMap<Linear> map = new BlockMap<Linear>().put("left", new Linear(1, 1, false));
        assertThat(map.stateDict().names()).containsExactly("left.weight");
        assertThat(map.blocks()).containsOnlyKeys("left");
        assertThatThrownBy(() -> map.get("right")).hasMessageContaining("no block 'right'");
        assertThatThrownBy(() -> map.put("left", new Linear(1, 1))).hasMessageContaining("already a 'left'");
        assertThat(map.blocks()).containsOnlyKeys("left");
    }

    /** Once a step, whether it is computed again or not; the recomputed gradient is the same. */
    @Test
    void recomputationMovesNoStatistics() {
        Sequential plain = net();
        Sequential again = net();
        again.loadStateDict(plain.stateDict());
        Tensor x = Tensor.rand(3, 1, 4, 4);
        Tensor a = x.copy().requiresGrad(true);
        Tensor b = x.copy().requiresGrad(true);
        Autograd.backward(plain.forward(a).square().sum());
        Autograd.backward(Checkpoint.checkpoint(again::forward, b).square().sum());
        assertThat(b.grad().toFloatArray()).isEqualTo(a.grad().toFloatArray());
        plain.namedBuffers()
                .forEach((name, p) -> assertThat(
                                again.namedBuffers().get(name).tensor().toString())
                        .as(name)
                        .isEqualTo(p.tensor().toString()));
        assertThat(again.namedBuffers().get("1.num_batches_tracked").tensor().item())
                .isEqualTo(1);
    }

    @Test
    void turnedProductsDependOnTheDistanceAlone() {
        RotaryPositions rotary = new RotaryPositions(4, 100);
        Tensor q = Tensor.of(new double[] {1, 2, 3, 4}, 1, 4);
        Tensor k = Tensor.of(new double[] {0.5, -1, 2, 1}, 1, 4);
        Tensor near = rotary.turn(q, 2).mul(rotary.turn(k, 5)).sum();
        Tensor far = rotary.turn(q, 12).mul(rotary.turn(k, 15)).sum();
        assertThat(far.item()).isCloseTo(near.item(), Offset.offset(1e-12));
        double[] turned = rotary.turn(q, 3).toDoubleArray();
        for (int i = 0; i < 2; i++) {
            double angle = 3 * Math.pow(100, -i / 2.0);
            assertThat(turned[i])
                    .isCloseTo((1 + i) * Math.cos(angle) - (3 + i) * Math.sin(angle), Offset.offset(1e-12));
            assertThat(turned[i + 2])
                    .isCloseTo((3 + i) * Math.cos(angle) + (1 + i) * Math.sin(angle), Offset.offset(1e-12));
        }
        assertThatThrownBy(() -> new RotaryPositions(3, 100)).isInstanceOf(ShapeException.class);
    }

    @Test
    void aCacheContinuesTurnedPositions() {
        MultiheadAttention attention = new MultiheadAttention(
                8, 2, MultiheadAttention.options().causal(true).keyValueHeads(1).rotary(10000));
        attention.to(DType.FLOAT64);
        Tensor x = Tensor.rand(2, 6, 8).to(DType.FLOAT64);
        Tensor whole = attention.forward(x);
        try (KeyValueCache cache = attention.cache(2, 6)) {
            for (long[] part : new long[][] {{0, 3}, {3, 4}, {4, 6}}) {
                Tensor y = Autograd.noGrad(() -> attention.forward(x.slice(1, part[0], part[1]), cache));
                assertThat(y.toDoubleArray())
                        .containsExactly(whole.slice(1, part[0], part[1]).toDoubleArray(), Offset.offset(1e-12));
            }
        }
    }

    @Test
    void whatIsDroppedAreWholeChannels() {
        Dropout dropout = Dropout.ofChannels(0.5);
        float[] y = dropout.forward(Tensor.ones(20, 10, 3)).toFloatArray();
        int zeros = 0;
        for (int i = 0; i < y.length; i += 3) {
            assertThat(y[i]).isIn(0f, 2f);
            assertThat(y[i + 1]).isEqualTo(y[i]);
            assertThat(y[i + 2]).isEqualTo(y[i]);
            zeros += y[i] == 0 ? 1 : 0;
        }
        assertThat(zeros).isBetween(60, 140);
        dropout.eval();
        assertThat(dropout.forward(Tensor.ones(2, 2, 1)).sum().item()).isEqualTo(4);
    }

    @Test
    void optionsThatDoNotFitAreRefused() {
        assertThatThrownBy(() -> new Conv2d(2, 3, 3, Conv2d.options().groups(2)))
                .hasMessageContaining("2 groups");
        assertThatThrownBy(() -> new Conv2d(2, 2, 3, Conv2d.options().same().stride(2)))
                .hasMessageContaining("stride of 1");
        assertThatThrownBy(() -> new Conv2d(2, 2, 3, Conv2d.options().stride(1, 2, 3)))
                .hasMessageContaining("stride takes one number or 2");
        assertThatThrownBy(() -> new BatchNorm2d(2).forward(Tensor.zeros(2, 2))).hasMessageContaining("BatchNorm2d");
        assertThatThrownBy(() -> new BatchNorm2d(2).forward(Tensor.zeros(1, 2, 1, 1)))
                .hasMessageContaining("at least 2 elements");
        assertThatThrownBy(() -> new EmbeddingBag(3, 2, dev.merapi.ops.Scattering.Reduce.SUM)
                        .forward(Tensor.of(new long[] {1, 2}), 0, 2, 1))
                .hasMessageContaining("offsets");
        assertThatThrownBy(() -> Loss.mse().forward(Tensor.zeros(1))).hasMessageContaining("takes 2 tensors");
        assertThat(new Embedding(3, 2, 1).weight().select(0, 1).toFloatArray()).containsExactly(0, 0);
    }
}
