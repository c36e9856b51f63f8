// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.Linear;
import dev.merapi.ops.Optimizers;
import dev.merapi.optim.Adagrad;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Lion;
import dev.merapi.optim.Muon;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.RmsProp;
import dev.merapi.optim.Sgd;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Steps, norms and scales as PyTorch has them, in every dtype; counts by parameter; and what is refused. */
class OptimizerStepsTest {
    private static final long[] SIZES = {7, 4};
    private static final int LATE = 7;

    // ---------------------------------------------------------------- against PyTorch

    private static double start(int which, int i) {
        return ((i * 5 + which) % 9 - 4) / 4.0;
    }

    private static double gradient(int which, int t, int i) {
        return ((i * 7 + t * 13 + which) % 11 - 5) / 8.0 * Math.pow(2, 4 * (i % 3) - 4);
    }

    private interface Value {
        double at(int i);
    }

    private static Tensor tensor(int which, DType dtype, Value value) {
        double[] values = new double[(int) SIZES[which]];
        Arrays.setAll(values, value::at);
        return Tensor.of(values).to(dtype);
    }

    private static final Map<String, Function<List<Tensor>, Optimizer>> RUNS = new LinkedHashMap<>();

    static {
        RUNS.put("sgd", p -> new Sgd(p, 0.1));
        RUNS.put("sgd_decay", p -> new Sgd(p, 0.1, 0, false, 0.03));
        RUNS.put("sgd_momentum", p -> new Sgd(p, 0.1, 0.9, false, 0));
        RUNS.put("sgd_dampening", p -> new Sgd(p, 0.1, 0.9, 0.3, false, 0.03));
        RUNS.put("sgd_nesterov", p -> new Sgd(p, 0.1, 0.8, true, 0.03));
        RUNS.put("adam", p -> AdamW.adam(p, 0.1, 0.9, 0.999, 1e-8, 0));
        RUNS.put("adam_decay", p -> AdamW.adam(p, 0.1, 0.9, 0.999, 1e-8, 0.3));
        RUNS.put("adamw", p -> new AdamW(p, 0.1, 0.1));
        RUNS.put("adamw_betas", p -> new AdamW(p, 0.1, 0.8, 0.95, 1e-3, 0));
        RUNS.put("sgd_maximize", p -> {
            Optimizer sgd = new Sgd(p, 0.1, 0.9, false, 0.03);
            sgd.maximize(true);
            return sgd;
        });
        RUNS.put("adam_amsgrad", p -> AdamW.adam(p, 0.1, 0.9, 0.7, 1e-8, 0.3, true));
        RUNS.put("adamw_amsgrad", p -> new AdamW(p, 0.1, 0.8, 0.9, 1e-8, 0.1, true));
        RUNS.put("adagrad", p -> new Adagrad(p, 0.1));
        RUNS.put("adagrad_decays", p -> new Adagrad(p, 0.1, 0.2, 0.1, 0.5, 1e-3));
        RUNS.put("rmsprop", p -> new RmsProp(p, 0.1));
        RUNS.put("rmsprop_centered", p -> new RmsProp(p, 0.1, 0.8, 0.25, 0.1, 0, true));
        RUNS.put("rmsprop_momentum", p -> new RmsProp(p, 0.1, 0.9, 1e-8, 0, 0.7, false));
        RUNS.put("rmsprop_both", p -> new RmsProp(p, 0.1, 0.9, 0.25, 0.05, 0.5, true));
        RUNS.put("lion", p -> new Lion(p, 0.1, 0));
        RUNS.put("lion_decay", p -> new Lion(p, 0.1, 0.95, 0.7, 0.3));
        RUNS.put("muon", p -> new Muon(p, 0.1));
        RUNS.put("muon_plain", p -> new Muon(p, 0.1, 0.3, 0.7, false, 3, Muon.Scaling.MATCH_RMS_ADAMW));
    }

    private static Tensor shaped(String name, int which, Tensor t) {
        return name.startsWith("muon") ? t.view(-1, which + 1) : t;
    }

    /** Values by "parameter step"; of masters where there are some. */
    private static Map<String, double[]> run(String name, DType dtype) {
        boolean late = name.endsWith("_late");
        boolean clip = name.endsWith("_clip");
        List<Tensor> params = new ArrayList<>();
        for (int w = 0; w < 2; w++) {
            int which = w;
            params.add(shaped(name, w, tensor(w, dtype, i -> start(which, i)))
                    .copy()
                    .requiresGrad(true));
        }
        Map<String, double[]> seen = new LinkedHashMap<>();
        try (Optimizer optimizer =
                RUNS.get(name.replace("_late", "").replace("_clip", "")).apply(params)) {
            for (int t = 1; t <= 20; t++) {
                for (int w = 0; w < 2; w++) {
                    int which = w;
                    int step = t;
                    params.get(w)
                            .setGrad(
                                    late && w == 1 && t < LATE
                                            ? null
                                            : shaped(name, w, tensor(w, dtype, i -> gradient(which, step, i))));
                }
                if (clip && t % 2 == 0) {
                    Clip.norm_(params, 1.5);
                }
                optimizer.step(clip && t % 2 == 1 ? Clip.norm(params, 1.5).scale() : null);
                for (int w = 0; w < 2; w++) {
                    Tensor master = optimizer.stateDict().all(Tensor.class).get("parameters." + w + ".master");
                    Tensor values = master == null ? params.get(w) : master;
                    seen.put(w + " " + t, values.detach().to(DType.FLOAT64).toDoubleArray());
                    if (master != null) {
                        assertThat(params.get(w).toFloatArray())
                                .isEqualTo(master.to(dtype).toFloatArray());
                    }
                }
            }
            assertThat(steps(optimizer)).containsExactly(20, late ? 21 - LATE : 20);
        }
        return seen;
    }

    @Test
    void stepsAreThoseOfPyTorch() throws IOException {
        Map<String, Map<String, double[]>> runs = new LinkedHashMap<>();
        int lines = 0;
        try (InputStream in = Objects.requireNonNull(getClass().getResourceAsStream("optimizer_steps.txt"))) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
                if (line.startsWith("#")) {
                    continue;
                }
                String[] words = line.split(" ");
                DType dtype = DType.valueOf(words[1].toUpperCase(java.util.Locale.ROOT));
                double[] actual = runs.computeIfAbsent(words[0] + " " + words[1], k -> run(words[0], dtype))
                        .get(words[2] + " " + words[3]);
                // An iteration of Muon's multiplies small singular values, and what they were rounded by, by 3.4.
                double eps = dtype.computeType().epsilon() * (words[0].startsWith("muon") ? 128 : 1);
                for (int i = 0; i < actual.length; i++) {
                    double expected = Double.parseDouble(words[4 + i]);
                    assertThat(actual[i])
                            .as(String.join(" ", Arrays.copyOf(words, 4)) + " [" + i + "]")
                            .isCloseTo(expected, within(16 * eps * Math.max(0.25, Math.abs(expected))));
                }
                lines++;
            }
        }
        assertThat(lines).isEqualTo(708);
    }

    // ---------------------------------------------------------------- rates and counts

    private static long[] steps(Optimizer optimizer) {
        return optimizer.stateDict().all(Tensor.class).entrySet().stream()
                .filter(e -> e.getKey().endsWith(".step"))
                .mapToLong(e -> e.getValue().toLongArray()[0])
                .toArray();
    }

    private static List<Tensor> ones(int n, DType dtype) {
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            all.add(Tensor.ones(dtype, 3).requiresGrad(true));
        }
        return all;
    }

    private static void gradients(List<Tensor> params, double value) {
        params.forEach(p -> p.setGrad(p.detach().fullLike(value)));
    }

    @Test
    void theRateIsTheOneThatWasGiven() {
        List<Tensor> params = ones(1, DType.FLOAT64);
        try (Optimizer sgd = new Sgd(params, 0.9)) {
            assertThat(sgd.learningRate()).isEqualTo(0.9);
            gradients(params, 1);
            sgd.step();
            assertThat(params.get(0).toDoubleArray()).containsOnly(1 - 0.9);
            sgd.setLearningRate(0.1);
            assertThat(sgd.learningRate()).isEqualTo(0.1);
            for (double bad : new double[] {Double.NaN, -1, Double.POSITIVE_INFINITY}) {
                assertThatThrownBy(() -> sgd.setLearningRate(bad))
                        .isInstanceOf(IllegalArgumentException.class)
                        .hasMessageContaining(String.valueOf(bad));
            }
            assertThat(sgd.learningRate()).isEqualTo(0.1);
        }
    }

    /** A parameter that joins late has its own bias correction: Adam's first step is the rate. */
    @Test
    void eachParameterCountsItsOwnSteps() {
        for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16)) {
            List<Tensor> params = ones(3, dtype);
            try (Optimizer adam = new AdamW(params, 0.125, 0)) {
                for (int t = 1; t <= 50; t++) {
                    gradients(params, 1);
                    params.get(1).setGrad(t == 50 ? params.get(1).grad() : null);
                    if (t % 2 == 0) {
                        params.get(2).setGrad(null);
                    }
                    adam.step();
                }
                assertThat(params.get(1).toDoubleArray()[0])
                        .as(dtype.toString())
                        .isCloseTo(0.875, within(1e-6));
                assertThat(steps(adam)).containsExactly(50, 1, 25);
                assertThat(adam.steps()).isEqualTo(50);
            }
        }
        List<Tensor> params = ones(2, DType.FLOAT64);
        try (Optimizer sgd = new Sgd(params, 0.5, 0.9, 0.5, false, 0)) {
            gradients(params.subList(0, 1), 1);
            sgd.step();
            gradients(params, 1);
            sgd.step(); // the late one's momentum is its gradient, not half of it
            assertThat(params.get(1).toDoubleArray()).containsOnly(0.5);
            assertThat(params.get(0).toDoubleArray()[0]).isCloseTo(0.5 - 0.5 * 1.4, within(1e-15));
        }
    }

    @Test
    void countsAreExactBeyondWhatFloatsCanCount() {
        List<Tensor> params = ones(2, DType.FLOAT32);
        for (long had : new long[] {(1L << 24) - 1, 1L << 24, 1L << 40, (1L << 53) + 3}) {
            try (Optimizer adam = new AdamW(params, 1e-3, 0)) {
                StateDict state = adam.stateDict();
                adam.loadStateDict(state.with("parameters.0.step", Tensor.scalar(had))
                        .with("parameters.1.step", Tensor.scalar(5L)));
                gradients(params, 1);
                adam.step();
                assertThat(adam.steps()).isEqualTo(had + 1);
                adam.step(null, Tensor.scalar(1f));
                assertThat(steps(adam)).containsExactly(had + 1, 6);
            }
        }
    }

    // ---------------------------------------------------------------- what is refused

    @Test
    void closedAndReplacedParametersAreRefusedAndNothingIsChanged() {
        List<Consumer<Linear>> moves = List.of(
                l -> l.to(DType.FLOAT64),
                l -> l.to(DType.BFLOAT16),
                l -> l.bias().close());
        for (Consumer<Linear> move : moves) {
            Linear layer = new Linear(3, 2);
            Tensor other = Tensor.ones(2).requiresGrad(true);
            List<Tensor> params = new ArrayList<>(List.of(other));
            layer.parameters().forEach(p -> params.add(p.tensor()));
            try (Optimizer adam = new AdamW(params, 0.1, 0)) {
                move.accept(layer);
                other.setGrad(Tensor.ones(2));
                int closed = params.get(1).isClosed() ? 1 : 2;
                for (Runnable use : List.<Runnable>of(
                        adam::step,
                        () -> Clip.norm(params, 1),
                        () -> Clip.norm_(params, 1),
                        () -> new Sgd(params, 1))) {
                    assertThatThrownBy(use::run)
                            .isInstanceOf(ClosedTensorException.class)
                            .hasMessageContaining("parameter " + closed + " of 3")
                            .hasMessageContaining("model.parameters()");
                }
                assertThat(other.toFloatArray()).containsOnly(1);
                assertThat(adam.steps()).isZero();
            }
        }
        // A model that stays where it is keeps its parameters.
        Linear layer = new Linear(3, 2);
        try (Optimizer adam = new AdamW(layer.parameters(), 0.1, 0)) {
            layer.to(DType.FLOAT32);
            adam.step();
        }
        List<Tensor> params = ones(2, DType.FLOAT32);
        try (Optimizer sgd = new Sgd(params, 0.1)) {
            gradients(params, 1);
            params.get(1).grad().close();
            assertThatThrownBy(sgd::step)
                    .isInstanceOf(ClosedTensorException.class)
                    .hasMessageContaining("the gradient of parameter 1 of 2");
            assertThat(params.get(0).toFloatArray()).containsOnly(1);
        }
    }

    @Test
    void parametersMayBeOnSeveralDevices() {
        dev.merapi.backend.Backends.register(
                new dev.merapi.reference.JavaBackend(dev.merapi.types.DeviceType.register("toy")));
        Tensor there = Tensor.ones(3).to(dev.merapi.types.Device.of("toy")).requiresGrad(true);
        List<Tensor> params = List.of(ones(1, DType.FLOAT32).get(0), there);
        params.get(0).setGrad(Tensor.of(0f, 3, 0));
        there.setGrad(Tensor.of(0f, 0, 4).to(there.device()));
        assertThat(Clip.norm_(params, 1).item()).isEqualTo(5);
        assertThat(params.get(0).grad().toFloatArray()[1]).isCloseTo(0.6f, within(1e-6f));
        assertThat(there.grad().toFloatArray()[2]).isCloseTo(0.8f, within(1e-6f));
        try (Optimizer sgd = new Sgd(params, 1);
                GradScaler scaler = new GradScaler(2, 2, 0.5, 1, true)) {
            sgd.setLearningRate(0.5);
            scaler.step(sgd);
            scaler.update();
            assertThat(params.get(0).toFloatArray()[1]).isCloseTo(1 - 0.15f, within(1e-6f));
            assertThat(there.toFloatArray()[2]).isCloseTo(1 - 0.2f, within(1e-6f));
            there.setGrad(there.grad().fullLike(Double.NaN));
            scaler.step(sgd);
            scaler.update();
            assertThat(params.get(0).toFloatArray()[1]).isCloseTo(1 - 0.15f, within(1e-6f));
            assertThat(scaler.scale()).isEqualTo(2);
        }
    }

    private static final class Call {
        List<Tensor> params = List.of(Tensor.ones(2), Tensor.ones(3));
        List<Tensor> grads = List.of(Tensor.ones(2), Tensor.ones(3));
        List<Tensor> m = List.of(Tensor.zeros(2), Tensor.zeros(3));
        List<Tensor> v = List.of(Tensor.zeros(2), Tensor.zeros(3));
        List<Tensor> master = List.of();
        List<Tensor> steps = List.of(Tensor.scalar(0L), Tensor.scalar(0L));
        Tensor lr = Tensor.scalar(0.5);

        @Nullable
        Tensor gradScale = Tensor.scalar(1.0);

        @Nullable
        Tensor skip = Tensor.scalar(0f);

        double momentum = 0.5;

        void adam() {
            Optimizers.ADAM.call(new Optimizers.Adam(
                    params, grads, m, v, master, steps, lr, gradScale, skip, momentum, 0.9, 1e-8, 0, true));
        }

        void sgd() {
            Optimizers.SGD.call(
                    new Optimizers.Sgd(params, grads, m, master, steps, lr, gradScale, skip, momentum, 0, false, 0));
        }
    }

    /** Every argument in other dtypes, ranks and lengths: an error that names op and argument, and nothing is written. */
    @Test
    void argumentsOfStepsAreChecked() {
        List<Tensor> wide = List.of(Tensor.ones(DType.FLOAT64, 2), Tensor.ones(DType.FLOAT64, 3));
        List<Tensor> shapes = List.of(Tensor.ones(3), Tensor.ones(2));
        Map<String, List<Consumer<Call>>> wrong = new LinkedHashMap<>();
        wrong.put(
                "params",
                List.of(
                        c -> c.params = List.of(),
                        c -> c.params = List.of(Tensor.ones(2), Tensor.ones(DType.FLOAT64, 3)),
                        c -> c.params = List.of(Tensor.of(1L, 2), Tensor.of(1L, 2, 3))));
        wrong.put("grads", lists((c, list) -> c.grads = list, wide, shapes));
        wrong.put("m", lists((c, list) -> c.m = list, wide, shapes));
        wrong.put("v", lists((c, list) -> c.v = list, wide, shapes));
        wrong.put(
                "master",
                List.of(c -> c.master = wide, c -> c.master = shapes, c -> c.master = List.of(Tensor.ones(2))));
        wrong.put(
                "steps",
                List.of(
                        c -> c.steps = List.of(Tensor.scalar(0L)),
                        c -> c.steps = List.of(),
                        c -> c.steps = List.of(Tensor.scalar(0L), Tensor.scalar(0f)),
                        c -> c.steps = List.of(Tensor.scalar(0), Tensor.scalar(0)),
                        c -> c.steps = List.of(Tensor.of(0L), Tensor.scalar(0L))));
        for (String scalar : List.of("lr", "gradScale", "skip")) {
            List<Consumer<Call>> calls = new ArrayList<>();
            for (DType dtype : DType.values()) {
                if (dtype != (scalar.equals("skip") ? DType.FLOAT32 : DType.FLOAT64)) {
                    calls.add(c -> set(c, scalar, Tensor.zeros(Shape.SCALAR, dtype, c.lr.device())));
                }
            }
            calls.add(c -> set(c, scalar, scalar.equals("skip") ? Tensor.zeros(1) : Tensor.ones(DType.FLOAT64, 1)));
            calls.add(c -> set(c, scalar, scalar.equals("skip") ? Tensor.zeros(2, 3) : Tensor.ones(DType.FLOAT64, 0)));
            wrong.put(scalar, calls);
        }
        wrong.put("momentum", List.of(c -> c.momentum = -1, c -> c.momentum = Double.NaN));
        wrong.forEach((name, calls) -> calls.forEach(spoil -> {
            for (boolean adam : new boolean[] {true, false}) {
                if (!adam && (name.equals("v") || name.equals("m"))) {
                    continue; // sgd has buffers in place of m
                }
                Call c = new Call();
                List<Tensor> params = c.params;
                spoil.accept(c);
                assertThatThrownBy(adam ? c::adam : c::sgd)
                        .as(name)
                        .isInstanceOfAny(ShapeException.class, DTypeException.class)
                        .hasMessageContaining(adam ? "adam_" : "sgd_")
                        .hasMessageContaining(name.equals("momentum") && adam ? "beta1" : name);
                assertThat(params.get(0).toFloatArray()).containsOnly(1);
                assertThat(params.get(1).toFloatArray()).containsOnly(1);
            }
        }));
        Call buffers = new Call();
        buffers.m = List.of();
        assertThatThrownBy(buffers::sgd).isInstanceOf(ShapeException.class).hasMessageContaining("0 buffers");
        for (Tensor scale : List.of(Tensor.scalar(0.5f), Tensor.of(0.5), Tensor.scalar(1L))) {
            Tensor g = Tensor.ones(2);
            assertThatThrownBy(() -> Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(List.of(g), scale)))
                    .isInstanceOfAny(ShapeException.class, DTypeException.class)
                    .hasMessageContaining("scale_grads_: scale");
            assertThat(g.toFloatArray()).containsOnly(1);
        }
        // What users pass is converted.
        List<Tensor> params = ones(1, DType.FLOAT32);
        try (Optimizer sgd = new Sgd(params, 1)) {
            gradients(params, 1);
            sgd.step(Tensor.scalar(0.5f));
            assertThat(params.get(0).toFloatArray()).containsOnly(0.5f);
            assertThatThrownBy(() -> sgd.step(Tensor.of(0.5f))).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> sgd.step(null, Tensor.scalar(true))).isInstanceOf(DTypeException.class);
            assertThat(params.get(0).toFloatArray()).containsOnly(0.5f);
        }
    }

    private static void set(Call c, String scalar, Tensor t) {
        switch (scalar) {
            case "lr" -> c.lr = t;
            case "gradScale" -> c.gradScale = t;
            default -> c.skip = t;
        }
    }

    private static List<Consumer<Call>> lists(
            java.util.function.BiConsumer<Call, List<Tensor>> set, List<Tensor> wide, List<Tensor> shapes) {
        return List.of(
                c -> set.accept(c, wide),
                c -> set.accept(c, shapes),
                c -> set.accept(c, List.of(Tensor.ones(2))),
                c -> set.accept(c, List.of()));
    }

    // ---------------------------------------------------------------- norms

    private static double clipped(double maxNorm, DType dtype, double... gradient) {
        Tensor x = Tensor.zeros(dtype, gradient.length).requiresGrad(true);
        x.setGrad(Tensor.of(gradient).to(dtype));
        double norm = Clip.norm_(List.of(x), maxNorm).item();
        double[] after = x.grad().to(DType.FLOAT64).toDoubleArray();
        double[] before = Tensor.of(gradient).to(dtype).to(DType.FLOAT64).toDoubleArray();
        double factor = Math.min(1, maxNorm / (norm + 1e-6));
        for (int i = 0; i < after.length; i++) {
            assertThat(after[i])
                    .as(dtype + " " + gradient[i])
                    .isCloseTo(before[i] * factor, within(4 * dtype.epsilon() * Math.abs(before[i] * factor) + 1e-300));
        }
        return norm;
    }

    @Test
    void normsNeitherOverflowNorVanish() {
        for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16)) {
            for (double size : new double[] {
                1,
                1e25,
                1e-25,
                6e37,
                1e-37,
                dtype == DType.FLOAT64 ? 1e300 : 1e20,
                dtype == DType.FLOAT64 ? 1e-300 : 1e-20
            }) {
                for (double maxNorm : new double[] {1, 1e-3, 1e10}) {
                    double norm = clipped(maxNorm, dtype, 3 * size, 4 * size);
                    assertThat(norm)
                            .as(dtype + " " + size)
                            .isCloseTo(5 * size, within(5 * size * Math.max(1e-15, dtype.epsilon())));
                }
            }
        }
        assertThat(clipped(1, DType.FLOAT16, 60000, 60000)).isGreaterThan(84000);
        // Many of the largest: the norm is beyond float32, and the gradients are right all the same.
        double[] many = new double[10_000];
        Arrays.fill(many, 3e38);
        assertThat(clipped(1, DType.FLOAT32, many)).isCloseTo(3e40, within(3e34));
        Arrays.fill(many, 1e307);
        Tensor x = Tensor.zeros(DType.FLOAT64, 10_000).requiresGrad(true);
        x.setGrad(Tensor.of(many));
        Optimizers.NormAndScale found = Clip.norm(List.of(x), 1);
        assertThat(found.norm().item()).isInfinite();
        Clip.norm_(List.of(x), 1);
        assertThat(x.grad().toDoubleArray()[7]).isCloseTo(0.01, within(1e-12));
        // The step multiplies by such factors too.
        Tensor y = Tensor.zeros(4).requiresGrad(true);
        y.setGrad(Tensor.full(3e38, 4));
        try (Optimizer sgd = new Sgd(List.of(y), 1)) {
            sgd.step(Tensor.scalar(1e-45));
            assertThat(y.toDoubleArray()[0]).isCloseTo(-3e-7, within(1e-13));
        }
    }

    @Test
    void severalDtypesAreOneNorm() {
        for (double size : new double[] {1, 1e25, 1e-25, 1e200, 1e-200}) {
            Tensor a = Tensor.zeros(DType.FLOAT64, 2).requiresGrad(true);
            Tensor b = Tensor.zeros(DType.FLOAT32, 1).requiresGrad(true);
            Tensor c = Tensor.zeros(DType.BFLOAT16, 1).requiresGrad(true);
            double small = Math.max(1e-30, Math.min(size, 1e30));
            a.setGrad(Tensor.of(2 * size, 4 * size));
            b.setGrad(Tensor.of((float) (2 * small)));
            c.setGrad(Tensor.of((float) small).to(DType.BFLOAT16));
            double rest = Math.hypot(b.grad().item(), c.grad().item());
            double expected = Math.hypot(size * Math.sqrt(20), rest);
            Optimizers.NormAndScale found = Clip.norm(List.of(a, b, c, a), 1);
            assertThat(found.norm().item()).isCloseTo(expected, within(1e-14 * expected));
            assertThat(found.scale().item()).isCloseTo(Math.min(1, 1 / (expected + 1e-6)), within(1e-14));
        }
        Tensor none = Tensor.ones(2).requiresGrad(true);
        assertThat(Clip.norm(List.of(none), 1).norm().item()).isZero();
        assertThat(Clip.norm(List.of(none), 1).scale().item()).isEqualTo(1);
        assertThat(Clip.norm_(List.of(), 1).item()).isZero();
    }

    /** As torch.nn.utils.clip_grad_norm_: infinite gradients become NaN and the others 0; a NaN makes all NaN. */
    @Test
    void infiniteAndNaNGradientsAreAsInPyTorch() {
        double nan = Double.NaN;
        double inf = Double.POSITIVE_INFINITY;
        double[][] given = {{1, inf, 2}, {1, -inf, 2}, {1, nan, 2}, {inf, nan, 2}, {1e-40, inf, 0}};
        double[] norms = {inf, inf, nan, nan, inf};
        double[][] after = {{0, nan, 0}, {0, nan, 0}, {nan, nan, nan}, {nan, nan, nan}, {0, nan, 0}};
        for (DType dtype : List.of(DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT16)) {
            for (int k = 0; k < given.length; k++) {
                Tensor x = Tensor.zeros(dtype, 3).requiresGrad(true);
                x.setGrad(Tensor.of(given[k]).to(dtype));
                assertThat(Clip.norm_(List.of(x), 1).item()).as(dtype + " " + k).isEqualTo(Double.valueOf(norms[k]));
                assertThat(x.grad().to(DType.FLOAT64).toDoubleArray())
                        .as(dtype + " " + k)
                        .isEqualTo(after[k]);
                // In a list of two dtypes the same.
                Tensor y = Tensor.zeros(DType.FLOAT64, 1).requiresGrad(true);
                y.setGrad(Tensor.of(1.0));
                x.setGrad(Tensor.of(given[k]).to(dtype));
                assertThat(Clip.norm(List.of(x, y), 1).norm().item()).isEqualTo(Double.valueOf(norms[k]));
                assertThat(Clip.norm(List.of(y, x), 1).norm().item()).isEqualTo(Double.valueOf(norms[k]));
            }
        }
    }

    // ---------------------------------------------------------------- scales

    @Test
    void theScaleIsNeverZeroOrInfinite() {
        Tensor x = Tensor.ones(2).requiresGrad(true);
        try (GradScaler scaler = new GradScaler(1e-30, 2, 0.5, 1, true);
                Optimizer sgd = new Sgd(List.of(x), 0)) {
            for (int phase = 0; phase < 2; phase++) {
                for (int i = 0; i < 400; i++) {
                    try (Scope scope = Scope.open()) {
                        x.setGrad(Tensor.full(phase == 0 ? Double.NaN : 0, 2).leaveScope());
                        scaler.step(sgd);
                        scaler.update();
                    }
                    double scale = scaler.scale();
                    assertThat(scale).isBetween((double) Float.MIN_NORMAL, (double) Float.MAX_VALUE);
                    assertThat((float) (1 / scale)).isFinite().isPositive();
                }
                assertThat(scaler.scale()).isEqualTo(phase == 0 ? Float.MIN_NORMAL : 0x1p127);
            }
            StateDict good = scaler.stateDict();
            for (double scale : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY, 1e-42}) {
                StateDict bad = good.with("scale", Tensor.scalar((float) scale));
                assertThatThrownBy(() -> scaler.loadStateDict(bad)).isInstanceOf(IllegalArgumentException.class);
                assertThat(scaler.scale()).isEqualTo(0x1p127);
            }
        }
        for (double initial : new double[] {0, 1e-40, 1e39, Double.NaN, Double.POSITIVE_INFINITY}) {
            assertThatThrownBy(() -> new GradScaler(initial, 2, 0.5, 1, true))
                    .isInstanceOf(IllegalArgumentException.class);
        }
        assertThatThrownBy(() -> new GradScaler(1, Double.POSITIVE_INFINITY, 0.5, 1, true))
                .isInstanceOf(IllegalArgumentException.class);
        // A streak longer than floats can count.
        Tensor scale = Tensor.scalar(1f);
        Tensor streak = Tensor.scalar((1L << 24) + 1);
        for (int i = 0; i < 2; i++) {
            Optimizers.UPDATE_SCALE.call(
                    new Optimizers.UpdateScale(scale, streak, Tensor.scalar(0f), 2, 0.5, (1L << 24) + 3));
        }
        assertThat(scale.item()).isEqualTo(2);
        assertThat(streak.item()).isZero();
    }

    /** A float16 gradient of 6.5e-4, of a loss scaled by 65536, stands for 1e-8, which float16 cannot hold. */
    @Test
    void smallFloat16GradientsAreNotFlushed() {
        Tensor x = Tensor.zeros(DType.FLOAT16, 1).requiresGrad(true);
        try (GradScaler scaler = new GradScaler();
                Optimizer sgd = new Sgd(List.of(x), 1)) {
            Autograd.backward(scaler.scale(x.to(DType.FLOAT32).mul(1e-8).sum()));
            double exact = x.grad().item() / 65536;
            assertThat(exact).isCloseTo(1e-8, within(1e-11));
            assertThatThrownBy(() -> scaler.unscale_(sgd))
                    .isInstanceOf(DTypeException.class)
                    .hasMessageContaining("step(optimizer) divides in float32");
            assertThat(x.grad().item() / 65536).isEqualTo(exact);
            scaler.step(sgd);
            assertThat(sgd.stateDict().get("parameters.0.master", Tensor.class).item())
                    .isCloseTo(-exact, within(1e-15));
            scaler.update();
        }
    }
}
