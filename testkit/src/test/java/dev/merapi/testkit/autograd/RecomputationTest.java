// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.dispatch.Context;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.BatchNorm;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What is computed a second time for backward: the numbers of the first time, and no state that moves twice. */
class RecomputationTest {
    private static final Generator OWN = new Generator(11);

    @AfterEach
    void generatorsStandStill() {
        Context.current().setGenerator(null);
    }

    /** Ways to draw inside of a part; each multiplies by numbers that only the forward call can know. */
    private static Map<String, UnaryOperator<Tensor>> parts() {
        Map<String, UnaryOperator<Tensor>> parts = new LinkedHashMap<>();
        parts.put("dropout", t -> t.dropout(0.5, true));
        parts.put("dropout twice", t -> t.dropout(0.5, true).sin().dropout(0.3, true));
        parts.put("rand", t -> t.mul(t.detach().randLike()));
        parts.put("normal", t -> t.mul(t.detach().copy().normal_(0, 1)));
        parts.put("bernoulli", t -> t.mul(t.detach().copy().bernoulli_(0.5)));
        parts.put("probabilities", t -> t.mul(t.detach().fullLike(0.5).bernoulli()));
        parts.put(
                "transposed",
                t -> t.mul(Tensor.empty(3, 50)
                        .t()
                        .uniform_(0, 1)
                        .reshape(150)
                        .to(t.dtype())
                        .slice(0, 0, 64)));
        parts.put("permutation", t -> t.indexSelect(0, Tensor.randperm(t.size(0))));
        parts.put(
                "integers", t -> t.mul(Tensor.randint(1, 9, t.shape().toArray()).to(t.dtype())));
        parts.put("generator of its own", t -> with(OWN, () -> t.dropout(0.5, true)));
        parts.put("a split generator", t -> with(OWN.split(), () -> t.dropout(0.5, true)));
        parts.put(
                "split of the thread's",
                t -> with(
                        Context.current().generator().split(),
                        () -> t.dropout(0.5, true).mul(t.detach().randLike())));
        parts.put("folded", t -> with(Generator.global().split().foldIn(3), () -> t.dropout(0.5, true)));
        parts.put(
                "a checkpoint inside",
                t -> Checkpoint.checkpoint(s -> s.dropout(0.5, true).sin(), t)
                        .mul(t.detach().randLike()));
        parts.put(
                "two inside each other",
                t -> Checkpoint.checkpoint(
                        s -> Checkpoint.checkpoint(u -> u.dropout(0.4, true).exp(), s)
                                .dropout(0.4, true),
                        t));
        return parts;
    }

    private static Tensor with(Generator generator, java.util.function.Supplier<Tensor> body) {
        Generator before = Context.current().setGenerator(generator);
        try {
            return body.get();
        } finally {
            Context.current().setGenerator(before);
        }
    }

    /** The gradient of Σ out · w is the plain one's, in every way to draw, whatever is drawn or seeded before backward. */
    @Test
    void randomNumbersAreThoseOfTheFirstTime() {
        Tensor w = Tensor.arange(64).to(DType.FLOAT64).add(1);
        parts().forEach((name, part) -> {
            List<double[]> results = new ArrayList<>();
            for (int way = 0; way < 5; way++) {
                Context.current().setGenerator(way == 1 ? new Generator(5) : null);
                Merapi.seed(5);
                OWN.moveTo(new Generator.Position(11, 0));
                Tensor x = Tensor.arange(64).to(DType.FLOAT64).div(10).add(0.1).requiresGrad(true);
                Tensor y = way == 0 ? part.apply(x) : Checkpoint.checkpoint(part, x);
                Generator.Position own = OWN.position();
                long after = Context.current().generator().offset();
                if (way >= 2) {
                    OWN.take(7);
                    Merapi.seed(way == 2 ? 5 : 99);
                    Tensor.rand(1000);
                    own = OWN.position();
                    after = Context.current().generator().offset();
                }
                Graph graph = way == 4 ? Graph.RETAIN : Graph.FREE;
                double[] gradient = null;
                for (int pass = 0; pass < (way == 4 ? 2 : 1); pass++) {
                    double[] again = Autograd.grad(List.of(y), List.of(x), List.of(w), graph, false)
                            .get(0)
                            .toDoubleArray();
                    assertThat(gradient == null ? again : gradient).as(name).isEqualTo(again);
                    gradient = again;
                }
                assertThat(OWN.position())
                        .as(name + ": no generator moves in backward")
                        .isEqualTo(own);
                assertThat(Context.current().generator().offset()).as(name).isEqualTo(after);
                if (way != 1) { // the thread's generator is another one there
                    results.add(y.detach().toDoubleArray());
                    results.add(gradient);
                }
            }
            for (int i = 2; i < results.size(); i++) {
                assertThat(results.get(i)).as(name + " " + i).isEqualTo(results.get(i % 2));
            }
        });
    }

    /** Other threads draw all the time; a kept element has gradient 2, another one 0. */
    @Test
    void otherThreadsDrawWithoutHarm() throws InterruptedException {
        AtomicBoolean stop = new AtomicBoolean();
        List<Thread> others = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Thread t = new Thread(() -> {
                while (!stop.get()) {
                    try (Scope scope = Scope.open()) {
                        Tensor.rand(3);
                        Generator.global().split();
                    }
                }
            });
            t.start();
            others.add(t);
        }
        try {
            for (int run = 0; run < 40; run++) {
                try (Scope scope = Scope.open()) {
                    Tensor x = Tensor.ones(2000).requiresGrad(true);
                    Tensor y = Checkpoint.checkpoint(
                            t -> Checkpoint.checkpoint(s -> s.dropout(0.5, true).mul(1), t)
                                    .dropout(0.5, true)
                                    .mul(1),
                            x);
                    Thread.yield();
                    Autograd.backward(y.sum());
                    assertThat(x.grad().toFloatArray()).as("run " + run).isEqualTo(y.toFloatArray());
                    x.setGrad(null);
                }
            }
        } finally {
            stop.set(true);
            for (Thread t : others) {
                t.join();
            }
        }
    }

    @Test
    void aPartThatSeedsAndOneThatDrawsMoreTheSecondTime() {
        Tensor x = Tensor.ones(64).requiresGrad(true);
        Tensor y = Checkpoint.checkpoint(
                t -> {
                    Merapi.seed(3);
                    return t.dropout(0.5, true);
                },
                x);
        Tensor.rand(40);
        Generator.Position before = Generator.global().position();
        Autograd.backward(y.sum());
        assertThat(Generator.global().position()).isEqualTo(before);
        assertThat(x.grad().toFloatArray()).isEqualTo(y.toFloatArray());
        int[] runs = {0};
        Tensor more = Checkpoint.checkpoint(
                t -> {
                    if (runs[0]++ > 0) {
                        Tensor.rand(5);
                    }
                    return t.dropout(0.5, true);
                },
                x);
        assertThatThrownBy(() -> Autograd.backward(more.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("takes 2 blocks");
        assertThat(Autograd.isRecomputing()).isFalse();
    }

    /** Running statistics move once a forward call, in parts, parts of parts, kept graphs and created ones. */
    @Test
    void statisticsMoveOnce() {
        Tensor x = Tensor.arange(24).to(DType.FLOAT64).view(4, 3, 2);
        List<double[]> seen = new ArrayList<>();
        for (int depth = 0; depth < 3; depth++) {
            for (Graph graph : Graph.values()) {
                Tensor mean = Tensor.zeros(DType.FLOAT64, 3);
                Tensor variance = Tensor.ones(DType.FLOAT64, 3);
                UnaryOperator<Tensor> part = t -> BatchNorm.batchNorm(t, null, null, mean, variance, true, 0.1, 1e-5)
                        .exp();
                for (int d = 0; d < depth; d++) {
                    UnaryOperator<Tensor> inner = part;
                    part = t -> Checkpoint.checkpoint(inner, t);
                }
                Tensor leaf = x.copy().requiresGrad(true);
                Tensor y = part.apply(leaf).sum();
                Tensor g = Autograd.grad(List.of(y), List.of(leaf), null, graph, false)
                        .get(0);
                if (graph == Graph.CREATE) {
                    Autograd.grad(g.square().sum(), List.of(leaf));
                }
                seen.add(mean.toDoubleArray());
                seen.add(variance.toDoubleArray());
                seen.add(g.detach().toDoubleArray());
            }
        }
        for (int i = 3; i < seen.size(); i++) {
            assertThat(seen.get(i)).as("" + i).isEqualTo(seen.get(i % 3));
        }
        // By hand: a step of 0.1 from 0 to the mean of the first channel, 0 1 6 7 12 13 18 19.
        assertThat(seen.get(0)[0]).isCloseTo(0.95, org.assertj.core.api.Assertions.within(1e-12));
    }

    @Test
    void aModuleOfOnesOwnCanTell() {
        List<Boolean> seen = new ArrayList<>();
        Tensor x = Tensor.ones(2).requiresGrad(true);
        Tensor y = Checkpoint.checkpoint(
                t -> {
                    seen.add(Autograd.isRecomputing());
                    return Checkpoint.checkpoint(
                                    s -> {
                                        seen.add(Autograd.isRecomputing());
                                        return s.exp();
                                    },
                                    t)
                            .sin();
                },
                x);
        Autograd.backward(y.sum());
        assertThat(seen).startsWith(false, false, true, true).doesNotContainNull();
        assertThat(seen.subList(2, seen.size())).containsOnly(true);
        assertThat(Autograd.isRecomputing()).isFalse();
    }

    /** A tensor from outside that is written before backward would give the second run other values. */
    @Test
    void whatWasWrittenSinceIsRefused() {
        for (boolean trained : new boolean[] {true, false}) {
            Tensor w = Tensor.of(2.0, 3).requiresGrad(trained);
            Tensor x = Tensor.of(1.0, 1).requiresGrad(true);
            Tensor y = Checkpoint.checkpoint(t -> t.mul(w).sin(), x);
            Autograd.noGrad(() -> w.mul_(2));
            assertThatThrownBy(() -> Autograd.backward(y.sum()))
                    .isInstanceOf(SavedTensorException.class)
                    .hasMessageContaining("modified in place");
        }
    }

    @Test
    void modesAndHooksAreThoseOfThePlainCall() {
        UnaryOperator<Tensor> part = t -> t.matmul(t).dropout(0.5, true).softmax(1);
        List<float[]> gradients = new ArrayList<>();
        int[] hooks = {0, 0};
        for (int way = 0; way < 2; way++) {
            int w = way;
            Merapi.seed(4);
            Tensor x = Tensor.randn(16, 16).requiresGrad(true);
            Tensor y;
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                UnaryOperator<Tensor> hooked = t -> {
                    Tensor s = t.mul(1.5);
                    Autograd.hook(s, g -> {
                        hooks[w]++;
                        return g.mul(2);
                    });
                    return part.apply(s);
                };
                y = way == 0 ? hooked.apply(x) : Checkpoint.checkpoint(hooked, x);
            }
            Autograd.backward(y.square().sum());
            gradients.add(x.grad().toFloatArray());
        }
        assertThat(gradients.get(1)).isEqualTo(gradients.get(0));
        assertThat(hooks).containsExactly(1, 1);
        // Without recording nothing is computed again.
        try (Autograd.Mode mode = Autograd.inference()) {
            assertThat(Checkpoint.checkpoint(t -> t.dropout(0.5, true), Tensor.ones(8))
                            .isInference())
                    .isTrue();
        }
    }

    record Noisy(Tensor x) {}

    /** A kernel and a composition, whose gradient is computed by running the composition: with the kernel's numbers. */
    private static final Op<Noisy, Tensor> NOISY = Op.define(
                    MethodHandles.lookup(), "test::noisy", Noisy.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .compose(a -> a.x().dropout(0.5, true).mul(a.x()))
            .kernel(
                    DeviceType.CPU,
                    (a, out) -> out.copy_(a.x().dropout(0.5, true).mul(a.x())))
            .saveForBackward((a, out) -> null)
            .backward(DeviceType.of("cuda-sim"), (context, saved, g) -> Grads.of("x", g))
            .register();

    @Test
    void compositionsRunAgainWithTheNumbersOfTheFirstTime() {
        for (boolean checkpointed : new boolean[] {false, true}) {
            Tensor x = Tensor.ones(64).requiresGrad(true);
            UnaryOperator<Tensor> part = t -> NOISY.call(new Noisy(t));
            Tensor y = checkpointed ? Checkpoint.checkpoint(part, x) : part.apply(x);
            Tensor.rand(9);
            Autograd.backward(y.sum());
            assertThat(x.grad().toFloatArray()).isEqualTo(y.mul(2).toFloatArray());
        }
    }
}
