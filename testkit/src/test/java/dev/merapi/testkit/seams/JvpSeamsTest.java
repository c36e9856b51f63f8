// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.autograd.Dual;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.check.OpCheck;
import dev.merapi.dispatch.Context;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiFunction;
import java.util.function.UnaryOperator;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

/** Forward mode beside the other parts of the engine, and what it must refuse by name. */
class JvpSeamsTest {
    public record X(Tensor x) {}

    private static final UnaryOperator<Tensor> F =
            t -> t.sin().mul(t).softmax(-1).square();

    private static Tensor x() {
        return Tensor.of(new double[] {0.5, -1, 2, 0.25, 3, -0.75}, 2, 3);
    }

    private static Tensor v() {
        return Tensor.of(new double[] {1, 0.5, -2, 1, -1, 0.125}, 2, 3);
    }

    private static void near(String what, Tensor found, Tensor expected) {
        double[] f = found.toDoubleArray();
        double[] e = expected.toDoubleArray();
        assertThat(f).as(what).hasSameSizeAs(e);
        for (int i = 0; i < f.length; i++) {
            assertThat(f[i]).as(what + " " + i).isCloseTo(e[i], Offset.offset(1e-12 * (1 + Math.abs(e[i]))));
        }
    }

    private static void same(String what, Dual found, Dual expected) {
        near(what + ", value", found.value(), expected.value());
        near(what + ", tangent", found.tangent(), expected.tangent());
    }

    // ---------------------------------------------------------------- ways around

    /** The same number whatever stands around or within. */
    @Test
    void whatStandsAroundChangesNothing() {
        Dual expected = Autograd.jvp(F, x(), v());
        Map<String, BiFunction<Tensor, Tensor, Dual>> ways = new LinkedHashMap<>();
        ways.put("checkpoint within", (x, v) -> Autograd.jvp(t -> Checkpoint.checkpoint(F, t), x, v));
        ways.put("noGrad around", (x, v) -> Autograd.noGrad(() -> Autograd.jvp(F, x, v)));
        ways.put("noGrad within", (x, v) -> Autograd.jvp(t -> Autograd.noGrad(() -> F.apply(t)), x, v));
        ways.put(
                "enableGrad in noGrad",
                (x, v) -> Autograd.noGrad(() -> Autograd.jvp(
                        t -> {
                            try (Autograd.Mode on = Autograd.enableGrad()) {
                                return F.apply(t);
                            }
                        },
                        x,
                        v)));
        ways.put("a leaf that requires a gradient", (x, v) -> Autograd.jvp(F, x.requiresGrad(true), v));
        ways.put("hooks on what is saved", (x, v) -> {
            try (SavedTensorHooks hooks = SavedTensorHooks.onCpu()) {
                return Autograd.jvp(F, x.requiresGrad(true), v);
            }
        });
        ways.put("anomaly mode", (x, v) -> {
            try (Autograd.Mode mode = Autograd.anomaly()) {
                return Autograd.jvp(F, x.requiresGrad(true), v);
            }
        });
        ways.put("checked mode", (x, v) -> {
            boolean before = Context.current().setChecked(true);
            try {
                return Autograd.jvp(F, x, v);
            } finally {
                Context.current().setChecked(before);
            }
        });
        ways.put("autocast, of float64", (x, v) -> {
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                return Autograd.jvp(F, x, v);
            }
        });
        ways.put(
                "strided",
                (x, v) -> Autograd.jvp(F, x.t().copy().t(), v.t().copy().t()));
        ways.forEach((name, way) -> same(name, way.apply(x(), v()), expected));
    }

    /** A part that is computed again for backward may be a forward derivative itself, unless that takes a backward. */
    @Test
    void forwardModeWithinACheckpoint() {
        assertThatThrownBy(
                        () -> Checkpoint.checkpoint(t -> Autograd.jvp(F, t, v()).tangent(), x().requiresGrad(true)))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("checkpoint: backward was run inside");
        UnaryOperator<Tensor> slope =
                t -> Autograd.jvp(u -> u.sin().mul(u).exp(), t, v()).tangent();
        Tensor a = x().requiresGrad(true);
        Tensor b = x().requiresGrad(true);
        Autograd.backward(slope.apply(a).square().sum());
        Autograd.backward(Checkpoint.checkpoint(slope, b).square().sum());
        near("gradient", b.grad(), a.grad());
    }

    /** In 16 bits: as near to the float64 slope as roundings of a few products allow. */
    @Test
    void autocastWithin() {
        Tensor w = Tensor.of(new double[] {0.5, -1, 0.25, 1, 0.125, -0.5, 1, 0.75, -0.25}, 3, 3);
        Dual expected = Autograd.jvp(t -> t.matmul(w).tanh(), x(), v());
        for (boolean around : new boolean[] {false, true}) {
            Tensor x = x().to(DType.FLOAT32);
            Tensor v = v().to(DType.FLOAT32);
            Tensor w32 = w.to(DType.FLOAT32);
            UnaryOperator<Tensor> f = t -> {
                try (Autocast mode = around ? Autocast.off() : Autocast.on(DType.BFLOAT16)) {
                    return around ? t.matmul(w32).tanh() : t.matmul(w32).tanh();
                }
            };
            Dual d = Autograd.jvp(f, x, v);
            double[] found = d.tangent().toDoubleArray();
            double[] exact = expected.tangent().toDoubleArray();
            assertThat(d.tangent().dtype()).isEqualTo(around ? DType.FLOAT32 : DType.BFLOAT16);
            for (int i = 0; i < found.length; i++) {
                assertThat(found[i]).isCloseTo(exact[i], Offset.offset(around ? 1e-5 : 0.05));
            }
        }
    }

    /** Hooks are of reverse mode: forward mode calls none, and a backward through its results each once. */
    @Test
    void hooksAreCalledByBackwardAlone() {
        List<String> called = new ArrayList<>();
        Tensor x = x().requiresGrad(true);
        Runnable unused = Autograd.hook(x, g -> {
            called.add("hook");
            return g;
        });
        Runnable also = Autograd.hookAfterAccumulate(x, leaf -> called.add("accumulated"));
        Dual d = Autograd.jvp(
                t -> {
                    Tensor y = t.sin();
                    if (y.requiresGrad()) {
                        Runnable inner = Autograd.hook(y, g -> {
                            called.add("inner");
                            return g;
                        });
                    }
                    return y.mul(t);
                },
                x,
                v());
        assertThat(called).isEmpty();
        Autograd.backward(d.tangent().sum());
        assertThat(called).containsOnlyOnce("hook", "accumulated");
        Tensor plain = x().requiresGrad(true);
        Tensor g = Autograd.grad(
                        List.of(plain.sin().mul(plain).sum()), List.of(plain), null, Autograd.Graph.CREATE, false)
                .get(0);
        Autograd.backward(g.mul(v()).sum());
        near("gradient of the slope", x.grad(), plain.grad());
    }

    // ---------------------------------------------------------------- custom ops

    private static void each(Tensor from, Tensor to, java.util.function.DoubleUnaryOperator f) {
        Elements a = Elements.of(from);
        Elements b = Elements.of(to);
        for (long i = 0; i < a.numel(); i++) {
            b.setDouble(i, f.applyAsDouble(a.getDouble(i)));
        }
    }

    private static Op<X, Tensor> cube(String name) {
        return Op.define(name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> each(a.x(), out, v -> v * v * v));
    }

    @Test
    void opsOfPeopleByFormulaRuleCompositionOrNotAtAll() {
        Dual expected = Autograd.jvp(t -> t.mul(t).mul(t), x(), v());
        Map<String, Op<X, Tensor>> ops = new LinkedHashMap<>();
        ops.put(
                "formula",
                cube("test::cube_formula")
                        .autograd(
                                (a, out) -> a,
                                (c, a, g) -> Grads.of("x", g.mul(a.x().square().mul(3)))));
        ops.put(
                "rule",
                cube("test::cube_rule")
                        .jvp((a, out, t) -> t.orZeros("x").mul(a.x().square()).mul(3)));
        ops.put(
                "composition",
                Op.define("test::cube_composed", X.class, Tensor.class)
                        .compose(a -> a.x().mul(a.x()).mul(a.x())));
        ops.put(
                "composition beside a kernel",
                cube("test::cube_both").compose(a -> a.x().mul(a.x()).mul(a.x())));
        ops.forEach((name, op) -> same(name, Autograd.jvp(t -> op.call(new X(t)), x(), v()), expected));

        Op<X, Tensor> none = cube("test::cube_alone");
        assertThatThrownBy(() -> Autograd.jvp(t -> none.call(new X(t)), x(), v()))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("test::cube_alone")
                .hasMessageContaining("neither a backward nor a jvp");
        Op<X, Tensor> once = cube("test::cube_once");
        var unused = once.saveForBackward((a, out) -> a)
                .backward(
                        DeviceType.CPU,
                        (c, a, g) -> Grads.of("x", g.mul(a.x().square().mul(3))));
        assertThatThrownBy(() -> Autograd.jvp(t -> once.call(new X(t)), x(), v()))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("test::cube_once")
                .hasMessageContaining("differentiable once");
        Op<X, Tensor> constant = cube("test::cube_constant").nonDifferentiable();
        assertThat(Autograd.jvp(t -> constant.call(new X(t)), x(), v())
                        .tangent()
                        .toDoubleArray())
                .containsOnly(0);
    }

    // ---------------------------------------------------------------- random ops

    private static Op<X, Tensor> noisy(String name) {
        return Op.define(name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    long first = Context.current().generator().take(1);
                    each(a.x(), out, v -> v * (1 + first % 7));
                })
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g))
                .nondeterministic();
    }

    /** Whoever draws: the op's kernel, its formula, its rule or its parts; and who says that it is random. */
    @Test
    void randomOpsOfPeopleAreRefusedByName() {
        Map<String, Op<X, Tensor>> ops = new LinkedHashMap<>();
        ops.put("test::noisy_kernel", noisy("test::noisy_kernel"));
        ops.put(
                "test::noisy_formula",
                cube("test::noisy_formula")
                        .autograd(
                                (a, out) -> a,
                                (c, a, g) -> Grads.of(
                                        "x",
                                        g.mul(Tensor.rand(1).to(DType.FLOAT64).item()))));
        ops.put(
                "test::noisy_rule",
                cube("test::noisy_rule")
                        .jvp((a, out, t) -> t.orZeros("x").mul(Tensor.rand(1).item())));
        ops.put(
                "test::noisy_parts",
                Op.define("test::noisy_parts", X.class, Tensor.class)
                        .compose(a -> a.x().mul(Tensor.rand(1).item())));
        ops.put(
                "test::declared",
                cube("test::declared")
                        .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g))
                        .random());
        Context context = Context.current();
        Generator before = context.setGenerator(new Generator(3));
        try {
            ops.forEach((name, op) -> {
                long offset = context.generator().offset();
                assertThatThrownBy(() -> Autograd.jvp(t -> op.call(new X(t)), x(), v()))
                        .as(name)
                        .isInstanceOf(GradientException.class)
                        .hasMessageContaining(name + ": has no forward mode: it draws random numbers")
                        .hasMessageContaining("outside");
                assertThat(context.generator().offset())
                        .as(name + " took nothing")
                        .isEqualTo(offset);
                Tensor unused = op.call(new X(x())); // else it runs
                if (op.definition().jvp() == null) {
                    Tensor also = op.call(new X(x().requiresGrad(true)));
                }
            });
            // Of what does not depend on the input nobody asks.
            Dual d = Autograd.jvp(
                    t -> t.add(noisy("test::noisy_constant").call(new X(x())).sum()), x(), v());
            near("constant", d.tangent(), v());
            near(
                    "noise from outside",
                    Autograd.jvp(t -> t.add(Tensor.rand(1)), x(), v()).tangent(),
                    v());
        } finally {
            context.setGenerator(before);
        }
        OpCheck.Report report = OpCheck.of(ops.get("test::declared"))
                .samples(new X(x().requiresGrad(true)))
                .only("forward mode")
                .run();
        assertThat(report.toString()).contains("test::declared: has no forward mode");
    }

    // ---------------------------------------------------------------- writes

    /** Whatever writes to a value that has a tangent is refused, and has written nothing. */
    @Test
    void writesToWhatMovesAreRefused() {
        Map<String, UnaryOperator<Tensor>> writes = new LinkedHashMap<>();
        writes.put("add_", t -> t.add_(1));
        writes.put("mul_", t -> t.mul_(t));
        writes.put("copy_", t -> t.copy_(x()));
        writes.put("zero_", Tensor::zero_);
        writes.put("fill_", t -> t.fill_(3));
        writes.put("uniform_", t -> t.uniform_(0, 1));
        writes.put("copyFrom", t -> t.copyFrom(1.0, 2, 3, 4, 5, 6));
        for (boolean view : new boolean[] {false, true}) {
            writes.forEach((name, write) -> {
                Tensor[] made = new Tensor[1];
                double[][] values = new double[1][];
                assertThatThrownBy(
                                () -> Autograd.jvp(
                                        t -> {
                                            made[0] = t.mul(2).leaveScope();
                                            values[0] = made[0].toDoubleArray();
                                            Tensor unused = write.apply(
                                                    view
                                                            ? made[0].view(2, 3)
                                                                    .transpose(0, 1)
                                                                    .transpose(0, 1)
                                                            : made[0]);
                                            return made[0];
                                        },
                                        x(),
                                        v()),
                                name)
                        .isInstanceOf(GradientException.class);
                assertThat(made[0].toDoubleArray()).as(name).isEqualTo(values[0]);
            });
        }
        // what has no tangent may be written, also from one that has none
        Dual d = Autograd.jvp(t -> t.mul(Tensor.ones(2, 3).to(DType.FLOAT64).add_(1)), x(), v());
        near("constant", d.tangent(), v().mul(2));
        // but not from one that has
        assertThatThrownBy(() ->
                        Autograd.jvp(t -> Tensor.zeros(2, 3).to(DType.FLOAT64).add_(t), x(), v()))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("merapi::add_");
    }

    /** What an op on another thread throws, or null. */
    private static Throwable elsewhere(Runnable work) {
        AtomicReference<Throwable> thrown = new AtomicReference<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        work.run();
                    } catch (Throwable e) {
                        thrown.set(e);
                    }
                },
                "other");
        thread.start();
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
        return thrown.get();
    }

    /** A new thread knows nothing of the jvp: its results would have no tangents, and the derivative would be wrong. */
    @Test
    void anOpOnAnotherThreadThatWouldLoseATangentIsRefused() {
        Map<String, UnaryOperator<Tensor>> lost = new LinkedHashMap<>();
        lost.put("pointwise", Tensor::sin);
        lost.put("second argument", t -> x().mul(t));
        lost.put("view", t -> t.transpose(0, 1));
        lost.put("list", t -> Tensor.cat(List.of(x(), t), 0));
        lost.put("composition", t -> t.var());
        lost.put("recorded", t -> t.mul(x().requiresGrad(true)));
        lost.put("write", t -> x().copy_(t));
        lost.put("not recorded", t -> Autograd.noGrad(() -> t.sin()));
        lost.put("a jvp of its own", t -> Autograd.jvp(y -> y.mul(t), x(), v()).value());
        lost.put("carried modes", t -> t);
        for (Map.Entry<String, UnaryOperator<Tensor>> each : lost.entrySet()) {
            boolean carried = each.getKey().equals("carried modes");
            Dual d = Autograd.jvp(
                    x -> {
                        Tensor variable = x.mul(x);
                        Context.Snapshot modes = Context.current().capture();
                        Throwable e = elsewhere(() -> {
                            if (carried) {
                                var unused = Context.current().install(modes);
                                variable.sin();
                            } else {
                                var unused = each.getValue().apply(variable);
                            }
                        });
                        assertThat(e)
                                .as(each.getKey())
                                .isInstanceOf(GradientException.class)
                                .hasMessageContaining("has a tangent of a jvp that thread")
                                .hasMessageContaining("this is thread other");
                        return variable.sin();
                    },
                    x(),
                    v());
            near(each.getKey(), d.tangent(), x().mul(x()).cos().mul(x()).mul(2).mul(v()));
        }
    }

    @Test
    void otherThreadsMayUseWhatHasNoTangentAndReadValues() {
        Tensor other = x();
        Dual d = Autograd.jvp(
                x -> {
                    Throwable e = elsewhere(() -> {
                        assertThat(other.mul(other).sum().item()).isPositive();
                        assertThat(x.toDoubleArray()).hasSize(6);
                        assertThat(x.detach().sum().item()).isEqualTo(4);
                        assertThat(x.gt(1).shape()).isEqualTo(x.shape());
                        Dual own = Autograd.jvp(F, x(), v());
                        same("of the other thread", own, Autograd.jvp(F, x(), v()));
                    });
                    assertThat(e).isNull();
                    return F.apply(x);
                },
                x(),
                v());
        same("around", d, Autograd.jvp(F, x(), v()));
        assertThat(elsewhere(() -> d.value().mul(d.tangent())))
                .as("when it is over")
                .isNull();
    }
}
