// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Sgd;
import dev.merapi.reference.JavaBackend;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** A model that moves after its optimiser was made goes on training, with everything that belongs to its parameters. */
class MovedModelTest {
    private static final int[] SIZES = {7, 4};

    private static double start(int which, int i) {
        return ((i * 5 + which) % 9 - 4) / 4.0;
    }

    private static double gradient(int which, int t, int i) {
        return ((i * 7 + t * 13 + which) % 11 - 5) / 8.0 * Math.pow(2, 4 * (i % 3) - 4);
    }

    private static final class Two extends Block {
        final Parameter a = parameter("a", values(0));
        final Parameter b = parameter("b", values(1));

        private static Tensor values(int which) {
            double[] values = new double[SIZES[which]];
            Arrays.setAll(values, i -> start(which, i));
            return Tensor.of(values).to(DType.FLOAT32);
        }

        void gradients(int t) {
            for (int w = 0; w < 2; w++) {
                int which = w;
                double[] values = new double[SIZES[w]];
                Arrays.setAll(values, i -> gradient(which, t, i));
                Tensor p = parameters().get(w).tensor();
                p.setGrad(Tensor.of(values).to(p.dtype()).to(p.device()));
            }
        }

        double[] all() {
            return Tensor.cat(
                            List.of(
                                    a.tensor().detach().to(Device.CPU),
                                    b.tensor().detach().to(Device.CPU)),
                            0)
                    .to(DType.FLOAT64)
                    .toDoubleArray();
        }
    }

    private static final Map<String, Function<List<? extends Trainable>, Optimizer>> OPTIMIZERS = new LinkedHashMap<>();

    static {
        OPTIMIZERS.put("sgd", p -> new Sgd(p, 0.1));
        OPTIMIZERS.put("sgd_momentum", p -> new Sgd(p, 0.1, 0.9, false, 0.03));
        OPTIMIZERS.put("adam", p -> AdamW.adam(p, 0.1, 0.9, 0.999, 1e-8, 0.3));
        OPTIMIZERS.put("adamw", p -> new AdamW(p, 0.1, 0.1));
    }

    private static Optimizer optimizer(String name, Block of) {
        return Objects.requireNonNull(OPTIMIZERS.get(name)).apply(of.parameters());
    }

    @Test
    void trainingGoesOnAsInPyTorch() throws IOException {
        Map<String, Map<Integer, double[]>> runs = new LinkedHashMap<>();
        for (String name : List.of("sgd_momentum", "adamw")) {
            Map<Integer, double[]> seen = new LinkedHashMap<>();
            Two model = new Two();
            try (Optimizer optimizer = optimizer(name, model)) {
                for (int t = 1; t <= 20; t++) {
                    if (t == 6 || t == 13) {
                        model.to(t == 6 ? DType.FLOAT64 : DType.FLOAT32);
                    }
                    model.gradients(t);
                    optimizer.step();
                    optimizer.zeroGrad();
                    seen.put(t, model.all());
                }
            }
            runs.put(name, seen);
        }
        int lines = 0;
        try (InputStream in = Objects.requireNonNull(getClass().getResourceAsStream("moved_model.txt"))) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
                if (line.startsWith("#")) {
                    continue;
                }
                String[] words = line.split(" ");
                int t = Integer.parseInt(words[2]);
                int from = words[1].equals("0") ? 0 : SIZES[0];
                for (int i = 0; i < words.length - 3; i++) {
                    double expected = Double.parseDouble(words[3 + i]);
                    assertThat(Objects.requireNonNull(runs.get(words[0])).get(t)[from + i])
                            .as(line)
                            .isCloseTo(expected, within(64 * 0x1p-24 * Math.max(0.25, Math.abs(expected))));
                }
                lines++;
            }
        }
        assertThat(lines).isEqualTo(20);
    }

    /**
     * Each optimiser × from × to × moved before or after the first steps × with a gradient or without × directly or by a
     * detour: bit for bit what an optimiser does that was made for the converted model, and given the converted state.
     */
    @Test
    void aMovedModelTrainsAsOneThatWasMadeThere() {
        List<DType> dtypes = List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16);
        int cases = 0;
        for (String name : OPTIMIZERS.keySet()) {
            for (DType from : dtypes) {
                for (DType to : dtypes) {
                    for (int variant = 0; from != to && variant < 8; variant++) {
                        try (Scope scope = Scope.open()) {
                            moved(name, from, to, (variant & 1) != 0 ? 3 : 0, (variant & 2) != 0, (variant & 4) != 0);
                        }
                        cases++;
                    }
                }
            }
        }
        assertThat(cases).isEqualTo(4 * 12 * 8);
    }

    private static void moved(String name, DType from, DType to, int before, boolean gradient, boolean detour) {
        Two model = new Two();
        model.to(from);
        try (Optimizer optimizer = optimizer(name, model)) {
            for (int t = 1; t <= before; t++) {
                model.gradients(t);
                optimizer.step();
            }
            optimizer.zeroGrad();
            if (gradient) {
                model.gradients(before + 1);
            }
            StateDict state = optimizer.stateDict();
            Map<String, Tensor> old = copies(state);
            Tensor at = model.a.tensor();
            if (detour) {
                model.to(DType.FLOAT64);
            }
            model.to(to);
            assertThat(model.a.tensor()).isNotSameAs(at);
            assertThat(at.isClosed()).isTrue();
            assertThat(model.a.tensor().grad() != null).isEqualTo(gradient);

            Two twin = new Two();
            twin.to(to);
            twin.loadStateDict(model.stateDict());
            try (Optimizer expected = optimizer(name, twin)) {
                StateDict converted = new StateDict();
                state.names().forEach(n -> {
                    Tensor t = old.get(n);
                    if (t == null) {
                        converted.put(n, state.get(n, Object.class));
                    } else if (!n.endsWith(".master") || to != to.computeType()) {
                        converted.put(n, t.dtype().isFloating() ? t.to(to.computeType()) : t);
                    }
                });
                if (from == from.computeType() && to != to.computeType()) {
                    twin.named()
                            .forEach((n, p) -> converted.put(
                                    "parameters." + n + ".master",
                                    p.tensor().detach().to(DType.FLOAT32)));
                }
                expected.loadStateDict(converted);
                for (int t = before + 1; t <= before + 3; t++) {
                    if (!gradient || t > before + 1) {
                        model.gradients(t);
                    }
                    twin.gradients(t);
                    optimizer.step(Clip.norm(model.parameters(), 2).scale());
                    expected.step(Clip.norm(twin.parameters(), 2).scale());
                }
                String what = name + " " + from + " to " + to + ", after " + before + " steps, " + gradient + detour;
                assertThat(model.all()).as(what).isEqualTo(twin.all());
                assertThat(optimizer.steps()).isEqualTo(before + 3);
                assertThat(expected.steps()).isEqualTo(before + 3);
                Map<String, Tensor> now = optimizer.stateDict().all(Tensor.class);
                Map<String, Tensor> there = expected.stateDict().all(Tensor.class);
                assertThat(now.keySet()).as(what).isEqualTo(there.keySet());
                there.forEach((n, t) -> {
                    assertThat(now.get(n).dtype()).as(what + n).isEqualTo(t.dtype());
                    assertThat(now.get(n).to(DType.FLOAT64).toDoubleArray())
                            .as(what + n)
                            .isEqualTo(t.to(DType.FLOAT64).toDoubleArray());
                });
                // What the old states took is free, and close frees the rest.
                Set<Tensor> kept = Collections.newSetFromMap(new IdentityHashMap<>());
                kept.addAll(now.values()); // what was float32 and stays it
                state.all(Tensor.class)
                        .forEach((n, t) -> assertThat(t.isClosed()).as(what + n).isEqualTo(!kept.contains(t)));
                optimizer.close();
                assertThat(now.values()).allMatch(Tensor::isClosed);
            }
        }
    }

    private static Map<String, Tensor> copies(StateDict state) {
        Map<String, Tensor> copies = new LinkedHashMap<>();
        state.all(Tensor.class).forEach((n, t) -> copies.put(n, t.copy()));
        return copies;
    }

    /** A part of the model moves, all of it, and back: two devices in one optimiser, one rate. */
    @Test
    void partsOfAModelMoveToOtherDevices() {
        DeviceType type = DeviceType.register("moved-elsewhere");
        Backends.register(new JavaBackend(type));
        Device there = Device.of(type, 0);
        for (String name : OPTIMIZERS.keySet()) {
            class Pair extends Block {
                final Two one = child("one", new Two());
                final Two two = child("two", new Two());
            }
            Pair pair = new Pair();
            Two whole = new Two();
            try (Optimizer optimizer = optimizer(name, pair);
                    Optimizer expected = optimizer(name, whole)) {
                for (int t = 1; t <= 8; t++) {
                    if (t % 2 == 0) {
                        (t == 8 ? pair : pair.two).to(t == 4 ? Device.CPU : there);
                    }
                    double rate = 0.1 / t;
                    optimizer.setLearningRate(rate);
                    expected.setLearningRate(rate);
                    for (Two part : List.of(pair.one, pair.two, whole)) {
                        part.gradients(t);
                    }
                    Clip.norm_(pair.parameters(), 1e9);
                    optimizer.step();
                    expected.step();
                    for (Two part : List.of(pair.one, pair.two)) {
                        assertThat(part.all())
                                .usingComparatorWithPrecision(1e-5)
                                .as(name + t)
                                .containsExactly(whole.all());
                    }
                }
                optimizer
                        .stateDict()
                        .all(Tensor.class)
                        .values()
                        .forEach(t -> assertThat(t.device()).isEqualTo(there));
            }
        }
    }

    // ---------------------------------------------------------------- what belongs to a parameter

    @Test
    void hooksAndGradientsMoveAlong() {
        Two model = new Two();
        List<String> seen = new ArrayList<>();
        Runnable removeHook = Autograd.hook(model.a.tensor(), g -> {
            seen.add("hook " + g.dtype());
            return g.mul(2);
        });
        Runnable removeAfter = Autograd.hookAfterAccumulate(
                model.a.tensor(),
                leaf -> seen.add((leaf == model.a.tensor()) + " " + leaf.grad().dtype()));
        Tensor early = model.a.tensor().sum(); // a graph from before the move
        Autograd.backward(model.a.tensor().sum());
        model.to(DType.FLOAT64);
        model.to(DType.BFLOAT16);
        model.to(DType.FLOAT64);
        assertThat(model.a.tensor().grad().toDoubleArray()).containsOnly(2);
        Autograd.backward(model.a.tensor().sum());
        assertThat(model.a.tensor().grad().toDoubleArray()).containsOnly(4);
        Autograd.backward(early);
        assertThat(model.a.tensor().grad().dtype()).isEqualTo(DType.FLOAT64);
        assertThat(model.a.tensor().grad().toDoubleArray()).containsOnly(6);
        assertThat(seen)
                .containsExactly(
                        "hook float32", "true float32", "hook float64", "true float64", "hook float32", "true float64");
        removeHook.run();
        removeAfter.run();
        Autograd.backward(model.a.tensor().sum());
        assertThat(model.a.tensor().grad().toDoubleArray()).containsOnly(7);
        assertThat(seen).hasSize(6);
    }

    @Test
    void frozenParametersStayFrozen() {
        Two model = new Two();
        model.b.tensor().requiresGrad(false);
        try (Optimizer adam = new AdamW(model.parameters(), 0.1, 0.5)) {
            model.to(DType.FLOAT64);
            assertThat(model.a.tensor().requiresGrad()).isTrue();
            assertThat(model.b.tensor().requiresGrad()).isFalse();
            double[] before = model.all();
            Autograd.backward(model.a.tensor().sum().add(model.b.tensor().sum()));
            adam.step();
            assertThat(Arrays.copyOfRange(model.all(), SIZES[0], 11))
                    .isEqualTo(Arrays.copyOfRange(before, SIZES[0], 11));
            assertThat(model.all()[0]).isNotEqualTo(before[0]);
            model.b.tensor().requiresGrad(true);
            Autograd.backward(model.b.tensor().sum());
            adam.step();
            assertThat(model.all()[SIZES[0]]).isNotEqualTo(before[SIZES[0]]);
        }
    }

    @Test
    void tiedParametersAndTwoOptimizers() {
        class Tied extends Block {
            final Two one = child("one", new Two());
            final Parameter again = shared("again", one.a);
        }
        Tied model = new Tied();
        assertThat(model.parameters()).extracting(Parameter::name).containsExactly("one.a", "one.b");
        List<Parameter> held = model.parameters();
        try (Optimizer first = new Sgd(held, 1, 0.5, false, 0);
                Optimizer second = new AdamW(model.one.parameters(), 0.25, 0)) {
            double[] start = model.one.all();
            for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.FLOAT32)) {
                model.to(dtype);
                assertThat(model.again.tensor()).isSameAs(model.one.a.tensor());
                Autograd.backward(
                        model.again.tensor().sum().add(model.one.a.tensor().sum()));
                Clip.norm_(held, 1e9);
                first.step();
                second.step();
                first.zeroGrad();
                assertThat(held).allMatch(p -> p.tensor().grad() == null);
            }
            // Momentum 2, 3, 3.5 of the one, and three times the rate of the other.
            for (int i = 0; i < SIZES[0]; i++) {
                assertThat(model.one.all()[i]).isCloseTo(start[i] - 8.5 - 0.75, within(1e-5));
            }
        }
    }

    /** A move between any two calls of a scaled step. */
    @Test
    void scaledStepsGoOnAnywhere() {
        for (int place = 0; place < 4; place++) {
            for (DType to : List.of(DType.FLOAT64, DType.BFLOAT16)) {
                Two model = new Two();
                try (Optimizer sgd = new Sgd(model.parameters(), 0.5);
                        GradScaler scaler = new GradScaler(4, 2, 0.5, 1, true)) {
                    double[] start = model.all();
                    move(model, to, place == 0);
                    Tensor loss = model.a.tensor().sum();
                    move(model, to, place == 1);
                    Autograd.backward(scaler.scale(loss));
                    move(model, to, place == 2);
                    scaler.unscale_(sgd);
                    move(model, to, place == 3);
                    scaler.step(sgd);
                    scaler.update();
                    assertThat(model.a.tensor().grad().to(DType.FLOAT64).toDoubleArray())
                            .containsOnly(1);
                    assertThat(model.all()[0]).isEqualTo(start[0] - 0.5);
                    assertThat(scaler.scale()).isEqualTo(8);
                    model.a.tensor().setGrad(model.a.tensor().detach().fullLike(Double.NaN));
                    scaler.step(sgd);
                    move(model, DType.FLOAT32, true);
                    scaler.update();
                    assertThat(model.all()[0]).isEqualTo(start[0] - 0.5);
                    assertThat(scaler.scale()).isEqualTo(4);
                    assertThat(sgd.steps()).isEqualTo(1);
                }
            }
        }
    }

    private static void move(Two model, DType to, boolean now) {
        if (now) {
            model.to(to);
        }
    }
}
