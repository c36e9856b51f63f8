// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.autograd.Dual;
import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Dataset;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.random.Generator;
import dev.merapi.storage.Backstop;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/**
 * A pushed layer beside every other part of the engine: one that passes everything on changes no bit and sees what it should;
 * one that fails, wherever that is, leaves the thread and its memory as they were.
 */
class LayerSeamsTest {
    private static final UnaryOperator<Tensor> PART = t -> t.sin().mul(t).dropout(0.5, true);

    /** Passes everything on; throws at one of its calls, if that is asked for. */
    private static final class Passing implements DispatchLayer {
        final List<String> seen = Collections.synchronizedList(new ArrayList<>());
        private final boolean below;
        private final int failing;
        private final boolean after;

        Passing(boolean below, int failing, boolean after) {
            this.below = below;
            this.failing = failing;
            this.after = after;
        }

        Passing(boolean below) {
            this(below, -1, false);
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int next) {
            int at = seen.size();
            seen.add(op.name().replace("merapi::", ""));
            if (at == failing && !after) {
                throw new Planned();
            }
            R result = Layers.below(op, args, context, next);
            if (at == failing) {
                throw new Planned();
            }
            return result;
        }

        @Override
        public boolean isBelowAutograd() {
            return below;
        }
    }

    private static final class Planned extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Planned() {
            super("thrown on purpose by a test", null, false, false);
        }
    }

    // ---------------------------------------------------------------- the bodies

    /** Values that a body gives, all numbers in one list. */
    private interface Body extends Supplier<List<Tensor>> {}

    private record Row(Body body, List<String> seen) {}

    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    private static List<Tensor> withGradient(Tensor x, Tensor y) {
        try {
            Autograd.backward(y.sum());
            return List.of(y.detach(), x.grad().copy());
        } finally {
            x.setGrad(null); // it belongs to no scope
        }
    }

    private static Map<String, Row> rows() {
        Map<String, Row> rows = new LinkedHashMap<>();
        rows.put(
                "backward",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3, 4);
                            return withGradient(
                                    x, x.view(2, 2).matmul(x.view(2, 2)).tanh());
                        },
                        "view",
                        "matmul",
                        "tanh",
                        "sum"));
        rows.put(
                "checked mode",
                row(
                        () -> {
                            boolean before = Context.current().setChecked(true);
                            try {
                                Tensor x = leaf(1, 2, 3);
                                return withGradient(x, x.exp().mul(x));
                            } finally {
                                Merapi.checked(before);
                            }
                        },
                        "exp",
                        "mul"));
        rows.put(
                "in-place ops",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3);
                            Tensor y = x.mul(2);
                            Tensor unused = y.add_(1).mul_(x).clamp_(0.0, 9.0);
                            return withGradient(x, y);
                        },
                        "mul_scalar",
                        "add_scalar_",
                        "mul_"));
        rows.put(
                "views, written in place",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3, 4, 5, 6);
                            Tensor y = x.mul(1);
                            Tensor v = y.view(2, 3).slice(1, 0, 2);
                            Tensor unused = v.mul_(3);
                            Tensor also = y.view(3, 2).select(0, 2).add_(v.sum());
                            return withGradient(x, y.square());
                        },
                        "view",
                        "slice",
                        "select"));
        rows.put(
                "checkpoint",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3, 4, 5, 6, 7, 8);
                            return withGradient(
                                    x, Checkpoint.checkpoint(PART, x).exp());
                        },
                        "sin",
                        "dropout",
                        "exp"));
        rows.put(
                "saved tensor hooks",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3);
                            try (SavedTensorHooks hooks = SavedTensorHooks.onCpu()) {
                                return withGradient(x, x.exp().mul(x));
                            }
                        },
                        "exp",
                        "mul"));
        rows.put(
                "inference mode",
                row(
                        () -> {
                            try (Autograd.Mode mode = Autograd.inference()) {
                                Tensor x = Tensor.of(1.0, 2, 3);
                                return List.of(x.exp().view(3, 1).add_(1));
                            }
                        },
                        "exp",
                        "view",
                        "add_scalar_"));
        rows.put(
                "without gradient",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3);
                            return Autograd.noGrad(
                                    () -> List.of(x.exp().view(3, 1).add_(1)));
                        },
                        "exp",
                        "view",
                        "add_scalar_"));
        rows.put(
                "forward mode",
                row(
                        () -> {
                            Tensor x = Tensor.of(1.0, 2, 3, 4);
                            Dual d = Autograd.jvp(
                                    t -> t.view(2, 2)
                                            .softmax(1)
                                            .matmul(t.view(2, 2))
                                            .sum(),
                                    x,
                                    x);
                            return List.of(d.value(), d.tangent());
                        },
                        "view",
                        "softmax",
                        "matmul",
                        "sum"));
        rows.put(
                "forward over reverse",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3, 4);
                            Dual d = Autograd.jvp(
                                    t -> Autograd.grad(t.sin().mul(t).sum(), List.of(t))
                                            .get(0),
                                    x,
                                    x.detach());
                            return List.of(d.value(), d.tangent());
                        },
                        "sin",
                        "mul",
                        "sum"));
        rows.put(
                "autocast",
                row(
                        () -> {
                            Tensor x = Tensor.of(1f, 2, 3, 4).requiresGrad(true);
                            Tensor y;
                            try (Autocast cast = Autocast.on(DType.BFLOAT16)) {
                                y = x.view(2, 2).matmul(x.view(2, 2)).exp();
                            }
                            return withGradient(x, y);
                        },
                        "view",
                        "matmul",
                        "exp"));
        rows.put(
                "scopes",
                row(
                        () -> {
                            Tensor x = leaf(1, 2, 3);
                            try (Scope outer = Scope.open()) {
                                Tensor y = Scope.scoped(() -> x.exp().mul(x).sin());
                                List<Tensor> all = withGradient(x, y);
                                outer.keep(all.toArray(new Tensor[0]));
                                return all;
                            }
                        },
                        "exp",
                        "mul",
                        "sin"));
        rows.put(
                "a loader that computes ahead",
                row(
                        () -> {
                            List<Tensor> all = new ArrayList<>();
                            try (DataLoader<Tensor> loader =
                                    DataLoader.of(computed(), 2).prefetch(2)) {
                                loader.forEach(all::add);
                            }
                            return all;
                        },
                        "mul_scalar",
                        "rand"));
        return rows;
    }

    private static Row row(Body body, String... seen) {
        return new Row(body, List.of(seen));
    }

    private static Dataset<Tensor> computed() {
        return new Dataset<>() {
            @Override
            public long size() {
                return 6;
            }

            @Override
            public Tensor batch(long[] samples) {
                return Tensor.of(samples, samples.length)
                        .to(DType.FLOAT64)
                        .mul(2)
                        .add(Tensor.rand(samples.length));
            }
        };
    }

    /** Runs a body from one state of the generator; all that it makes is gone afterwards. */
    private static List<double[]> run(Body body) {
        Context context = Context.current();
        Generator before = context.setGenerator(new Generator(11));
        try (Scope scope = Scope.open()) {
            return body.get().stream()
                    .map(t -> t.to(DType.FLOAT64).toDoubleArray())
                    .toList();
        } finally {
            context.setGenerator(before);
        }
    }

    private static void same(List<double[]> expected, List<double[]> found) {
        assertThat(found).hasSameSizeAs(expected);
        for (int i = 0; i < expected.size(); i++) {
            assertThat(found.get(i)).as("result " + i).isEqualTo(expected.get(i));
        }
    }

    // ---------------------------------------------------------------- what passes

    @TestFactory
    List<DynamicTest> aPassingLayerChangesNoBit() {
        return tests((name, row) -> {
            Context.Snapshot before = Context.current().capture();
            List<double[]> expected = run(row.body);
            for (List<Boolean> below : List.of(List.of(false), List.of(true), List.of(false, true, false, true))) {
                List<Passing> layers = below.stream().map(Passing::new).toList();
                List<Layers.Pushed> modes = layers.stream().map(Layers::push).toList();
                List<double[]> found = run(row.body);
                for (int i = modes.size() - 1; i >= 0; i--) {
                    modes.get(i).close();
                }
                same(expected, found);
                assertThat(Context.current().capture()).isEqualTo(before);
                layers.stream()
                        .filter(l -> !l.below)
                        .forEach(l -> assertThat(l.seen).containsAll(row.seen));
                layers.stream()
                        .filter(l -> l.below)
                        .forEach(l -> assertThat(l.seen).isNotEmpty().doesNotContain("view", "slice", "select"));
            }
            // pushed within, where other modes are on already
            List<double[]> found = run(() -> {
                try (Autograd.Mode grad = Autograd.enableGrad();
                        Layers.Pushed low = Layers.push(new Passing(true));
                        Layers.Pushed high = Layers.push(new Passing(false))) {
                    return row.body.get();
                }
            });
            same(expected, found);
        });
    }

    private interface Check {
        void of(String name, Row row) throws Exception;
    }

    private static List<DynamicTest> tests(Check check) {
        List<DynamicTest> all = new ArrayList<>();
        rows().forEach((name, row) -> all.add(DynamicTest.dynamicTest(name, () -> check.of(name, row))));
        return all;
    }

    /** Layers belong to their thread: a new one has none, and one that pushes its own has the same bits. */
    @Test
    void threadsOfEitherKindHaveLayersOfTheirOwn() throws Exception {
        Function<Runnable, Thread> virtual = virtualThreads();
        List<Function<Runnable, Thread>> kinds = virtual == null ? List.of(Thread::new) : List.of(Thread::new, virtual);
        Map<String, Row> rows = rows();
        Map<String, List<double[]>> expected = new LinkedHashMap<>();
        rows.forEach((name, row) -> expected.put(name, run(row.body)));
        Passing here = new Passing(false);
        for (Function<Runnable, Thread> kind : kinds) {
            List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
            List<Thread> threads = new ArrayList<>();
            try (Layers.Pushed on = Layers.push(here)) {
                rows.forEach((name, row) -> threads.add(kind.apply(() -> {
                    Passing there = new Passing(false);
                    try (Layers.Pushed own = Layers.push(there);
                            Layers.Pushed low = Layers.push(new Passing(true))) {
                        same(expected.get(name), run(row.body));
                        assertThat(there.seen).containsAll(row.seen);
                    } catch (Throwable e) {
                        failures.add(e);
                    }
                })));
                threads.forEach(Thread::start);
                for (Thread t : threads) {
                    t.join();
                }
            }
            assertThat(failures).isEmpty();
        }
        assertThat(here.seen).isEmpty();
        Assumptions.assumeTrue(virtual != null, "virtual threads come with Java 21; platform threads were tried");
    }

    private static Function<Runnable, Thread> virtualThreads() {
        try {
            var method = Thread.class.getMethod("startVirtualThread", Runnable.class);
            var builder = Thread.class.getMethod("ofVirtual").invoke(null);
            var unstarted = Class.forName("java.lang.Thread$Builder").getMethod("unstarted", Runnable.class);
            assertThat(method).isNotNull();
            return body -> {
                try {
                    return (Thread) unstarted.invoke(builder, body);
                } catch (ReflectiveOperationException e) {
                    throw new IllegalStateException(e);
                }
            };
        } catch (ReflectiveOperationException | UnsupportedOperationException e) {
            return null;
        }
    }

    // ---------------------------------------------------------------- what fails

    /** A layer that throws at its n-th call, before or after the op, for every n that comes. */
    @TestFactory
    List<DynamicTest> aFailingLayerLeavesNothingBehind() {
        return tests((name, row) -> {
            Context context = Context.current();
            Context.Snapshot before = context.capture();
            List<double[]> expected = run(row.body);
            long[] allocated = new long[1];
            for (boolean below : new boolean[] {false, true}) {
                for (int n = 0, failed = 1; failed > 0; n += 1 + n / 8) {
                    failed = 0;
                    for (boolean after : new boolean[] {false, true}) {
                        Passing layer = new Passing(below, n, after);
                        try (Scope outer = Scope.open()) {
                            try (Layers.Pushed on = Layers.push(layer)) {
                                run(row.body);
                            } catch (RuntimeException e) {
                                failed++;
                                assertThat(root(e)).isInstanceOf(Planned.class);
                            }
                        }
                        assertThat(context.capture()).as("call " + n).isEqualTo(before);
                        assertThat(context.scope()).isNull();
                        long now = allocated(n < 2 ? Long.MAX_VALUE : allocated[0]);
                        assertThat(n < 2 ? 0 : now).as("bytes after " + n).isLessThanOrEqualTo(allocated[0]);
                        allocated[0] = Math.max(allocated[0], n < 2 ? now : 0);
                    }
                }
            }
            same(expected, run(row.body));
        });
    }

    /** Bytes in use, once they are as few as expected: a loader's thread has no scope, so a failed batch is the collector's. */
    private static long allocated(long expected) {
        long now = Memory.stats(Device.CPU).allocated();
        for (int i = 0; i < 50 && now > expected; i++) {
            Backstop.collectNow();
            now = Memory.stats(Device.CPU).allocated();
        }
        return now;
    }

    private static Throwable root(Throwable e) {
        return e.getCause() == null ? e : root(e.getCause());
    }

    // ---------------------------------------------------------------- what ends out of order

    private static Map<String, Supplier<AutoCloseable>> modes() {
        Map<String, Supplier<AutoCloseable>> modes = new LinkedHashMap<>();
        modes.put("autocast", () -> Autocast.on(DType.BFLOAT16));
        modes.put("autocast off", Autocast::off);
        modes.put("noGrad", Autograd::noGrad);
        modes.put("inference", Autograd::inference);
        modes.put("anomaly", Autograd::anomaly);
        modes.put("hooks", SavedTensorHooks::onCpu);
        modes.put("a layer", () -> Layers.push(new Passing(false)));
        modes.put("a layer below", () -> Layers.push(new Passing(true)));
        return modes;
    }

    /** Each mode opened after a layer, or before it, and the outer one closed first. */
    @Test
    void theOuterOneClosedFirstEndsBoth() throws Exception {
        Context.Snapshot before = Context.current().capture();
        for (boolean below : new boolean[] {false, true}) {
            for (Map.Entry<String, Supplier<AutoCloseable>> e : modes().entrySet()) {
                for (boolean layerFirst : new boolean[] {true, false}) {
                    Supplier<AutoCloseable> layer = () -> Layers.push(new Passing(below));
                    AutoCloseable outer = (layerFirst ? layer : e.getValue()).get();
                    AutoCloseable inner = (layerFirst ? e.getValue() : layer).get();
                    outer.close();
                    assertThat(Context.current().capture()).as(e.getKey()).isEqualTo(before);
                    inner.close();
                    outer.close();
                    assertThat(Context.current().capture()).as(e.getKey()).isEqualTo(before);
                }
            }
        }
        assertThat(Tensor.of(2.0).square().item()).isEqualTo(4);
    }

    /** What the engine itself has on the thread ends when the engine says so. */
    @Test
    void aModeFromOutsideIsNotClosedWithinForwardMode() throws Exception {
        Context.Snapshot before = Context.current().capture();
        Tensor x = Tensor.of(1.0, 2);
        for (Map.Entry<String, Supplier<AutoCloseable>> e : modes().entrySet()) {
            if (e.getKey().equals("inference")) {
                continue; // has no forward mode
            }
            AutoCloseable outer = e.getValue().get();
            assertThatThrownBy(() -> Autograd.jvp(
                            t -> {
                                close(outer);
                                return t.square();
                            },
                            x,
                            x))
                    .as(e.getKey())
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("jvp");
            outer.close();
            assertThat(Context.current().capture()).as(e.getKey()).isEqualTo(before);
            // one from inside that stays open ends with it, and changes nothing
            Dual d = Autograd.jvp(
                    t -> {
                        AutoCloseable left = e.getValue().get();
                        assertThat(left).isNotNull();
                        return e.getKey().equals("inference") ? t : t.square();
                    },
                    x,
                    x);
            assertThat(d.tangent().toDoubleArray()).as(e.getKey()).containsExactly(2, 8);
            assertThat(Context.current().capture()).as(e.getKey()).isEqualTo(before);
        }
    }

    private static void close(AutoCloseable mode) {
        try {
            mode.close();
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    /** Opened and closed by a hook, a checkpoint's part or a function under forward mode, in the midst of other work. */
    @Test
    void layersMayComeAndGoWithinOtherWork() {
        UnaryOperator<Tensor> layered = t -> {
            try (Layers.Pushed low = Layers.push(new Passing(true));
                    Layers.Pushed high = Layers.push(new Passing(false))) {
                return t.sin().mul(t);
            }
        };
        UnaryOperator<Tensor> plain = t -> t.sin().mul(t);
        Map<String, Function<UnaryOperator<Tensor>, Body>> places = new LinkedHashMap<>();
        places.put("forward mode", f -> () -> {
            Tensor x = Tensor.of(1.0, 2);
            Dual d = Autograd.jvp(t -> f.apply(f.apply(t)), x, x);
            return List.of(d.value(), d.tangent());
        });
        places.put("forward mode, twice", f -> () -> {
            Tensor x = Tensor.of(1.0, 2);
            Dual d = Autograd.jvp(t -> Autograd.jvp(f, f.apply(t), x).tangent(), x, x);
            return List.of(d.value(), d.tangent());
        });
        places.put("checkpoint", f -> () -> {
            Tensor x = leaf(1, 2);
            return withGradient(x, Checkpoint.checkpoint(t -> f.apply(f.apply(t)), x));
        });
        places.put("hook", f -> () -> {
            Tensor x = leaf(1, 2);
            Runnable unused = Autograd.hook(x, f);
            Tensor y = x.exp();
            Runnable also = Autograd.hook(y, f);
            return withGradient(x, y.mul(y));
        });
        places.put("autocast", f -> () -> {
            Tensor x = Tensor.of(1f, 2).requiresGrad(true);
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                return withGradient(x, f.apply(x.view(2, 1).matmul(x.view(1, 2))));
            }
        });
        places.forEach((name, place) -> {
            List<double[]> expected = run(place.apply(plain));
            Context.Snapshot before = Context.current().capture();
            same(expected, run(place.apply(layered)));
            assertThat(Context.current().capture()).as(name).isEqualTo(before);
            assertThat(Arrays.stream(expected.get(0)).allMatch(Double::isFinite))
                    .isTrue();
        });
    }
}
