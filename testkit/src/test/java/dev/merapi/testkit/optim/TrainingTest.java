// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Dataset;
import dev.merapi.dispatch.Context;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Dropout;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.BatchNorm;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Optimizers;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Schedule;
import dev.merapi.optim.Sgd;
import dev.merapi.random.Generator;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.DoubleBinaryOperator;
import java.util.function.Function;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Optimisers by their classes; the ops beneath have tests of their own. */
class TrainingTest {
    @TempDir
    Path folder;

    /** Three parameters with loss Σ x³, so that gradients are 3x²; after {@code steps} steps. */
    private static double[] run(Function<List<Tensor>, Optimizer> make, int steps) {
        Tensor x = Tensor.of(0.5, -1.25, 2.0).requiresGrad(true);
        try (Optimizer optimizer = make.apply(List.of(x))) {
            for (int i = 0; i < steps; i++) {
                try (Scope scope = Scope.open()) {
                    Autograd.backward(x.mul(x).mul(x).sum());
                    optimizer.step();
                    optimizer.zeroGrad();
                }
            }
            assertThat(optimizer.steps()).isEqualTo(steps);
        }
        return x.toDoubleArray();
    }

    /** Learning rates are float32, so what follows them agrees to its rounding. */
    private static void assertClose(double[] actual, double start, int index, double expected) {
        assertThat(actual[index])
                .as("start " + start)
                .isCloseTo(expected, within(1e-6 * Math.max(1, Math.abs(expected))));
    }

    @Test
    void sgdFollowsItsFormula() {
        double lr = 0.01;
        double mu = 0.9;
        double decay = 0.1;
        for (boolean nesterov : new boolean[] {false, true}) {
            double[] actual = run(p -> new Sgd(p, lr, mu, nesterov, decay), 4);
            double[] starts = {0.5, -1.25, 2.0};
            for (int k = 0; k < 3; k++) {
                double x = starts[k];
                double b = 0;
                for (int t = 0; t < 4; t++) {
                    double g = 3 * x * x + decay * x;
                    b = t == 0 ? g : mu * b + g;
                    x -= lr * (nesterov ? g + mu * b : b);
                }
                assertClose(actual, starts[k], k, x);
            }
        }
    }

    @Test
    void adamAndAdamWFollowTheirFormulas() {
        double lr = 0.05;
        double decay = 0.2;
        for (boolean decoupled : new boolean[] {false, true}) {
            double[] actual = run(
                    p -> decoupled
                            ? new AdamW(p, lr, 0.9, 0.99, 1e-8, decay)
                            : AdamW.adam(p, lr, 0.9, 0.99, 1e-8, decay),
                    5);
            double[] starts = {0.5, -1.25, 2.0};
            for (int k = 0; k < 3; k++) {
                double x = starts[k];
                double m = 0;
                double v = 0;
                for (int t = 1; t <= 5; t++) {
                    double g = 3 * x * x + (decoupled ? 0 : decay * x);
                    x -= decoupled ? lr * decay * x : 0;
                    m = 0.9 * m + 0.1 * g;
                    v = 0.99 * v + 0.01 * g * g;
                    x -= lr * (m / (1 - Math.pow(0.9, t))) / (Math.sqrt(v / (1 - Math.pow(0.99, t))) + 1e-8);
                }
                assertClose(actual, starts[k], k, x);
            }
        }
    }

    @Test
    void aResumedRunEqualsOneThatWasNotInterrupted() throws IOException {
        Merapi.seed(1);
        Sequential whole =
                new Sequential().then(new Linear(3, 4)).then(Tensor::relu).then(new Linear(4, 1));
        Merapi.seed(1);
        Sequential half =
                new Sequential().then(new Linear(3, 4)).then(Tensor::relu).then(new Linear(4, 1));
        Sequential resumed =
                new Sequential().then(new Linear(3, 4)).then(Tensor::relu).then(new Linear(4, 1));
        Tensor x = Tensor.rand(16, 3);
        Tensor y = x.sum(new int[] {1}, true);
        try (AdamW a = new AdamW(whole.parameters(), 0.01, 0.1);
                AdamW b = new AdamW(half.parameters(), 0.01, 0.1)) {
            train(whole, a, x, y, 10);
            train(half, b, x, y, 5);
            Safetensors.save(folder.resolve("model"), half.stateDict());
            Safetensors.save(folder.resolve("optimizer"), b.stateDict());
        }
        resumed.loadStateDict(Safetensors.loadState(folder.resolve("model")));
        try (AdamW c = new AdamW(resumed.parameters(), 0.5, 0.1)) {
            c.loadStateDict(Safetensors.loadState(folder.resolve("optimizer")));
            assertThat(c.steps()).isEqualTo(5);
            train(resumed, c, x, y, 5);
        }
        whole.stateDict()
                .all(Tensor.class)
                .forEach((name, t) -> assertThat(
                                resumed.stateDict().get(name, Tensor.class).toFloatArray())
                        .as(name)
                        .isEqualTo(t.toFloatArray()));
    }

    private static double train(Sequential model, Optimizer optimizer, Tensor x, Tensor y, int steps) {
        double last = Double.NaN;
        for (int i = 0; i < steps; i++) {
            try (Scope scope = Scope.open()) {
                Tensor loss = Losses.mseLoss(model.forward(x), y);
                Autograd.backward(loss);
                optimizer.step();
                optimizer.zeroGrad();
                last = loss.item();
            }
        }
        return last;
    }

    @Test
    void learnsALine() {
        Merapi.seed(2);
        Sequential model = new Sequential().then(new Linear(3, 1));
        Tensor x = Tensor.rand(64, 3);
        Tensor y = x.matmul(Tensor.of(new float[] {1, -2, 3}, 3, 1)).add(0.5);
        try (Sgd sgd = new Sgd(model.parameters(), 0.1, 0.9, true, 0)) {
            double first = train(model, sgd, x, y, 1);
            assertThat(train(model, sgd, x, y, 400)).isLessThan(1e-4 * first);
        }
    }

    @Test
    void clippingLimitsTheNormOfAllGradientsTogether() {
        Tensor a = Tensor.of(3f, 0f).requiresGrad(true);
        Tensor b = Tensor.of(4f).requiresGrad(true);
        Tensor unused = Tensor.of(1f).requiresGrad(true);
        Autograd.backward(a.mul(a).sum().add(b.mul(b).sum()).mul(0.5)); // gradients are the values: norm 5
        Optimizers.NormAndScale found = Clip.norm(List.of(a, b, unused), 1);
        assertThat(found.norm().item()).isCloseTo(5, within(1e-6));
        assertThat(found.scale().item()).isCloseTo(0.2, within(1e-6));
        assertThat(Clip.norm_(List.of(a, b, unused), 1).item()).isCloseTo(5, within(1e-6));
        assertThat(a.grad().toFloatArray()[0]).isCloseTo(0.6f, within(1e-6f));
        assertThat(b.grad().item()).isCloseTo(0.8, within(1e-6));
        assertThat(Clip.norm(List.of(a, b), 10).scale().item()).isEqualTo(1);
        assertThatThrownBy(() -> Clip.norm(List.of(a), 0)).hasMessageContaining("greater than 0");
    }

    @Test
    void aSkippedStepChangesNothingAndDoesNotCount() {
        Tensor x = Tensor.of(1f).requiresGrad(true);
        try (AdamW optimizer = new AdamW(List.of(x), 0.1, 0.1)) {
            Autograd.backward(x.mul(x).sum());
            optimizer.step(null, Tensor.scalar(1f));
            assertThat(x.item()).isEqualTo(1);
            assertThat(optimizer.steps()).isZero();
            optimizer.step(null, Tensor.scalar(0f));
            assertThat(x.item()).isLessThan(1);
            assertThat(optimizer.steps()).isEqualTo(1);
        }
    }

    @Test
    void parametersWithoutGradientStayAsTheyAre() {
        Tensor used = Tensor.of(1f).requiresGrad(true);
        Tensor unused = Tensor.of(1f).requiresGrad(true);
        try (AdamW optimizer = new AdamW(List.of(used), 0.1, 0.5)) {
            optimizer.add(List.of(unused), 0.5);
            Autograd.backward(used.sum());
            optimizer.step();
            assertThat(unused.item()).isEqualTo(1);
            assertThat(used.item()).isLessThan(1);
        }
    }

    @Test
    void badSettingsAreRefused() {
        Tensor x = Tensor.of(1f).requiresGrad(true);
        assertThatThrownBy(() -> new Sgd(List.of(), 0.1)).hasMessageContaining("no parameters");
        assertThatThrownBy(() -> new Sgd(List.of(x), -1)).hasMessageContaining("-1");
        assertThatThrownBy(() -> new Sgd(List.of(x), 0.1, 0, true, 0)).hasMessageContaining("Nesterov");
        assertThatThrownBy(() -> new AdamW(List.of(x), 0.1, 1, 0.9, 1e-8, 0)).hasMessageContaining("1.0");
        assertThatThrownBy(() -> new AdamW(List.of(Tensor.of(1f)), 0.1, 0)).hasMessageContaining("leaf");
        try (AdamW optimizer = new AdamW(List.of(x), 0.1, 0)) {
            assertThatThrownBy(() -> optimizer.loadStateDict(new StateDict().put("lr", 0.0)))
                    .hasMessageContaining("missing: [beta1, beta2,");
        }
    }

    @Test
    void schedulesHaveTheirCorners() {
        DoubleBinaryOperator at =
                (step, ignored) -> Schedule.warmupCosine(1, 0.1, 100, 1100).at((long) step);
        assertThat(at.applyAsDouble(0, 0)).isEqualTo(0.01);
        assertThat(at.applyAsDouble(99, 0)).isEqualTo(1);
        assertThat(at.applyAsDouble(100, 0)).isEqualTo(1);
        assertThat(at.applyAsDouble(600, 0)).isCloseTo(0.55, within(1e-12));
        assertThat(at.applyAsDouble(1100, 0)).isCloseTo(0.1, within(1e-12));
        assertThat(at.applyAsDouble(9999, 0)).isCloseTo(0.1, within(1e-12));
        assertThat(Schedule.step(1, 10, 0.5).at(25)).isEqualTo(0.25);
        assertThat(Schedule.constant(3).at(7)).isEqualTo(3);
    }

    @Test
    void lowPrecisionParametersHaveStatesInFloat32() {
        Tensor x = Tensor.of(1f, 2f).to(DType.BFLOAT16).requiresGrad(true);
        try (AdamW optimizer = new AdamW(List.of(x), 0.1, 0)) {
            assertThat(optimizer
                            .stateDict()
                            .get("parameters.0.exp_avg", Tensor.class)
                            .dtype())
                    .isEqualTo(DType.FLOAT32);
            Autograd.backward(x.sum());
            optimizer.step();
            assertThat(x.toFloatArray()[0]).isCloseTo(0.9f, within(0.004f));
        }
    }

    // ---------------------------------------------------------------- masters

    private static List<Tensor> halves(DType dtype) {
        return List.of(
                Tensor.ones(dtype, 4).requiresGrad(true),
                Tensor.full(2, 3).to(dtype).requiresGrad(true),
                Tensor.ones(2).requiresGrad(true));
    }

    private static void step(Optimizer optimizer, List<Tensor> params, double gradient) {
        try (Scope scope = Scope.open()) {
            for (Tensor p : params) {
                p.setGrad(
                        Tensor.full(gradient, p.shape().toArray()).to(p.dtype()).leaveScope());
            }
            optimizer.step();
            optimizer.zeroGrad();
        }
    }

    @Test
    void smallStepsOf16BitParametersAddUp() {
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16)) {
            List<Tensor> params = halves(dtype);
            List<Tensor> without = halves(dtype);
            try (Optimizer sgd = new Sgd(params, 1);
                    Optimizer lossy = new Sgd(without, 1)) {
                lossy.dropMasters();
                for (int i = 0; i < 64; i++) {
                    step(sgd, params, 1.0 / 8192);
                    step(lossy, without, 1.0 / 8192);
                }
                double moved = 64.0 / 8192;
                assertThat(params.get(0).toDoubleArray()).containsOnly(1 - moved);
                assertThat(params.get(1).at(0).item())
                        .isEqualTo(Tensor.of(2 - moved).to(dtype).item());
                assertThat(params.get(2).toDoubleArray()).containsOnly(1 - moved);
                assertThat(without.get(0).toDoubleArray()).containsOnly(1);
                assertThat(without.get(2).toDoubleArray()).containsOnly(1 - moved);
                assertThat(lossy.stateDict().names()).doesNotContain("parameters.0.master");
            }
        }
    }

    @Test
    void aRunWithMastersGoesOnBitForBit() {
        List<Tensor> params = halves(DType.BFLOAT16);
        try (Optimizer adam = new AdamW(params, 1e-3, 0.1)) {
            for (int i = 1; i <= 5; i++) {
                step(adam, params, 0.125 * i);
            }
            // Either of model and optimiser may be loaded first.
            for (boolean modelFirst : new boolean[] {true, false}) {
                List<Tensor> others = halves(DType.BFLOAT16);
                try (Optimizer resumed = new AdamW(others, 1e-3, 0.1)) {
                    if (!modelFirst) {
                        resumed.loadStateDict(adam.stateDict());
                    }
                    try (Autograd.Mode mode = Autograd.noGrad()) {
                        for (int i = 0; i < 3; i++) {
                            others.get(i).copy_(params.get(i));
                        }
                    }
                    if (modelFirst) {
                        resumed.loadStateDict(adam.stateDict());
                    }
                    List<Tensor> twins = params.stream()
                            .map(t -> t.detach().copy().requiresGrad(true))
                            .toList();
                    try (Optimizer twin = new AdamW(twins, 1e-3, 0.1)) {
                        twin.loadStateDict(adam.stateDict());
                        step(twin, twins, 0.5);
                        step(resumed, others, 0.5);
                        for (String name :
                                List.of("parameters.0.master", "parameters.1.master", "parameters.0.exp_avg_sq")) {
                            assertThat(resumed.stateDict()
                                            .get(name, Tensor.class)
                                            .toFloatArray())
                                    .as(name)
                                    .containsExactly(twin.stateDict()
                                            .get(name, Tensor.class)
                                            .toFloatArray())
                                    .isNotEqualTo(adam.stateDict()
                                            .get(name, Tensor.class)
                                            .toFloatArray());
                        }
                    }
                }
            }
        }
    }

    @Test
    void aParameterThatWasWrittenIsTakenOver() {
        List<Tensor> params = halves(DType.BFLOAT16);
        try (Optimizer sgd = new Sgd(params, 1)) {
            step(sgd, params, 1.0 / 1024);
            try (Autograd.Mode mode = Autograd.noGrad()) {
                params.get(0).slice(0, 0, 2).fill_(5);
            }
            step(sgd, params, 1.0 / 1024);
            float[] master =
                    sgd.stateDict().get("parameters.0.master", Tensor.class).toFloatArray();
            float twice = 1 - 2f / 1024;
            assertThat(master).containsExactly(5 - 1f / 1024, 5 - 1f / 1024, twice, twice);
        }
    }

    @Test
    void aConvertedModelTrainsOnMasters() {
        Merapi.seed(3);
        Linear layer = new Linear(8, 1);
        layer.to(DType.BFLOAT16);
        Tensor x = Tensor.randn(64, 8).to(DType.BFLOAT16);
        Tensor y = x.sum(new int[] {1}, true).to(DType.BFLOAT16);
        double first = 0;
        double last = 0;
        try (Optimizer adam = new AdamW(layer.parameters(), 0.02, 0)) {
            for (int i = 0; i < 120; i++) {
                try (Scope scope = Scope.open()) {
                    Tensor loss = Losses.mseLoss(layer.forward(x), y);
                    first = i == 0 ? loss.item() : first;
                    last = loss.item();
                    Autograd.backward(loss);
                    adam.step();
                    adam.zeroGrad();
                }
            }
        }
        assertThat(layer.parameters().get(0).tensor().dtype()).isEqualTo(DType.BFLOAT16);
        assertThat(last).isLessThan(first / 100);
    }

    @Test
    void aParameterIsSteppedOnce() {
        Tensor p = Tensor.ones(2).requiresGrad(true);
        assertThatThrownBy(() -> new AdamW(List.of(p, p), 1e-3, 0))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("twice");
        try (AdamW optimizer = new AdamW(List.of(p), 1e-3, 0)) {
            assertThatThrownBy(() -> optimizer.add(List.of(p), 0)).hasMessageContaining("twice");
        }
    }

    // ---------------------------------------------------------------- runs

    /** Noise in the data, dropout and batch norm in a checkpoint, clipping, a scaler: the weights after two epochs. */
    private static double[] whole(int prefetch, boolean checkpointed) {
        Generator before = Context.current().setGenerator(new Generator(23));
        Dataset<Tensor> data = new Dataset<>() {
            @Override
            public long size() {
                return 24;
            }

            @Override
            public Tensor batch(long[] samples) {
                return Tensor.randn(samples.length, 6)
                        .add(Tensor.of(samples, samples.length, 1)
                                .to(DType.FLOAT32)
                                .mul(0.1));
            }
        };
        Sequential model = new Sequential()
                .then(new Linear(6, 8))
                .then(t -> BatchNorm.batchNorm(t, null, null, null, null, true, 0.1, 1e-5))
                .then(new Dropout(0.5))
                .then(Tensor::gelu)
                .then(new Linear(8, 1));
        try (AdamW adam = new AdamW(model.parameters(), 0.05, 0.1);
                GradScaler scaler = new GradScaler();
                DataLoader<Tensor> loader =
                        DataLoader.of(data, 5).shuffle(3).dropLast().prefetch(prefetch)) {
            for (int epoch = 0; epoch < 2; epoch++) {
                for (Tensor batch : loader) {
                    try (Scope scope = Scope.open()) {
                        Tensor y = checkpointed ? Checkpoint.checkpoint(model::forward, batch) : model.forward(batch);
                        Autograd.backward(scaler.scale(y.square().mean()));
                        scaler.unscale_(adam);
                        scaler.step(adam, Clip.norm(model.parameters(), 0.5).scale());
                        scaler.update();
                        adam.zeroGrad();
                    }
                    batch.close();
                }
            }
            assertThat(adam.steps()).isEqualTo(8);
            return model.parameters().get(0).tensor().toDoubleArray();
        } finally {
            Context.current().setGenerator(before);
        }
    }

    /** Forty runs, while another thread draws: the same bits, with batches made ahead or not, in checkpoints or not. */
    @Test
    void everyRunIsTheSame() throws InterruptedException {
        AtomicBoolean stop = new AtomicBoolean();
        Thread other = new Thread(() -> {
            while (!stop.get()) {
                try (Scope scope = Scope.open()) {
                    Tensor.rand(7);
                }
            }
        });
        other.start();
        try {
            double[] first = whole(0, false);
            for (int run = 0; run < 40; run++) {
                assertThat(whole(new int[] {0, 1, 4}[run % 3], run % 2 == 0))
                        .as("run " + run)
                        .isEqualTo(first);
            }
        } finally {
            stop.set(true);
            other.join();
        }
    }
}
