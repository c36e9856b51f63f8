// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.nn.Dropout;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.Ema;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Schedule;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.Metrics;
import dev.merapi.train.Trainer;
import dev.merapi.types.Device;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainerTest {
    private static final Schedule RATES = Schedule.warmupCosine(1e-2, 1e-3, 5, 40);

    @TempDir
    Path folder;

    private Tensor x;
    private Tensor y;

    @BeforeEach
    void data() {
        x = Tensor.linspace(-1, 1, 30).reshape(30, 1);
        y = x.mul(3).sin();
    }

    /** With dropout, so that the random numbers count, too. */
    private static Sequential model() {
        Merapi.seed(3);
        return new Sequential()
                .then(new Linear(1, 8))
                .then(Tensor::tanh)
                .then(new Dropout(0.2))
                .then(new Linear(8, 1));
    }

    private DataLoader<Labelled> loader() {
        return DataLoader.of(new TensorDataset(x, y), 7).shuffle(5);
    }

    private static Tensor loss(Sequential model, Labelled b) {
        return Losses.mseLoss(model.forward(b.inputs()), b.targets());
    }

    private static Trainer<Labelled> trainer(Sequential model, AdamW optimizer) {
        return Trainer.of(optimizer, (Labelled b) -> loss(model, b))
                .part("model", model)
                .schedule(RATES)
                .clipNorm(model.parameters(), 0.5);
    }

    private static List<double[]> weights(Sequential model) {
        return model.parameters().stream()
                .map(p -> p.tensor().detach().toDoubleArray())
                .toList();
    }

    private static void same(Sequential actual, Sequential expected) {
        List<double[]> a = weights(actual);
        List<double[]> e = weights(expected);
        for (int i = 0; i < e.size(); i++) {
            assertThat(a.get(i)).containsExactly(e.get(i));
        }
    }

    @Test
    void itDoesWhatTheLoopDoes() throws IOException {
        Sequential byHand = model();
        List<Double> losses = new ArrayList<>();
        try (AdamW optimizer = new AdamW(byHand.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            long step = 0;
            while (step < 12) {
                for (Labelled b : loader) {
                    if (step == 12) {
                        break;
                    }
                    try (Scope scope = Scope.open()) {
                        optimizer.setLearningRate(RATES.at(step++));
                        Tensor l = loss(byHand, b);
                        Autograd.backward(l);
                        optimizer.step(Clip.norm(byHand.parameters(), 0.5).scale());
                        optimizer.zeroGrad();
                        losses.add(l.item());
                    }
                }
            }
        }
        Sequential model = model();
        List<Double> seen = new ArrayList<>();
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                GradScaler off = new GradScaler(false);
                DataLoader<Labelled> loader = loader()) {
            Trainer.Report report = trainer(model, optimizer)
                    .steps(12)
                    .scaler(off)
                    .onStep((step, values) -> seen.add(values.get("loss")))
                    .run(loader);
            assertThat(report).isEqualTo(new Trainer.Report(0, 12, Trainer.End.DONE));
        }
        assertThat(seen).isEqualTo(losses);
        same(model, byHand);
    }

    /** At every step of two epochs and a half: the second half is the same, its numbers and its rows. */
    @Test
    void inTwoPartsItIsTheSameRun() throws IOException {
        Path whole = folder.resolve("whole");
        Sequential expected = run(whole, 13);
        for (int cut = 1; cut < 13; cut += 2) {
            Path parts = folder.resolve("parts" + cut);
            run(parts, cut);
            Sequential model = run(parts, 13);
            same(model, expected);
            assertThat(Files.readAllLines(parts.resolve("metrics.csv")))
                    .as("cut after %d", cut)
                    .isEqualTo(Files.readAllLines(whole.resolve("metrics.csv")));
        }
    }

    private Sequential run(Path to, int steps) throws IOException {
        Files.createDirectories(to);
        Checkpoints checkpoints = Checkpoints.in(to.resolve("c")).keepBest(1, "test");
        String[] columns = {"loss", "learning_rate", "gradient_norm", "test"};
        Path csv = to.resolve("metrics.csv");
        long first = checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L);
        Sequential model = model();
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                Metrics metrics = first == 0 ? Metrics.create(csv, columns) : Metrics.resume(csv, first, columns);
                DataLoader<Labelled> loader = loader()) {
            trainer(model, optimizer)
                    .accumulate(2)
                    .steps(steps)
                    .evaluate(100, () -> Map.of()) // not at the cuts, where a whole run has none
                    .metrics(metrics)
                    .checkpoints(checkpoints, 0)
                    .run(loader);
        }
        return model;
    }

    @Test
    void itEndsEarlyAndKeepsTheBest() throws IOException {
        double[] tests = {5, 3, 4, 3.5, 3.2, 1};
        AtomicInteger evaluations = new AtomicInteger();
        Sequential model = model();
        Checkpoints checkpoints = Checkpoints.in(folder).keepLast(1).keepBest(1, "test");
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            Trainer<Labelled> trainer = trainer(model, optimizer)
                    .steps(100)
                    .evaluate(2, () -> Map.of("test", tests[evaluations.getAndIncrement()]))
                    .watch("test")
                    .earlyStop(3)
                    .checkpoints(checkpoints, 0);
            Trainer.Report report = trainer.run(loader);
            assertThat(report).isEqualTo(new Trainer.Report(0, 10, Trainer.End.EARLY));
            assertThat(checkpoints.best().orElseThrow().step()).isEqualTo(4);
            assertThat(checkpoints.all()).extracting(Checkpoints.Saved::step).containsExactly(4L, 10L);
            assertThat(trainer.run(loader)).isEqualTo(new Trainer.Report(10, 10, Trainer.End.EARLY));
            model.loadStateDict(checkpoints.best().orElseThrow().part("model"));
        }
    }

    @Test
    void aLossThatIsNoNumberEndsItAndNamesTheLastCheckpoint() throws IOException {
        Sequential model = model();
        Checkpoints checkpoints = Checkpoints.in(folder);
        AtomicInteger calls = new AtomicInteger();
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            Trainer<Labelled> trainer = Trainer.of(
                            optimizer,
                            (Labelled b) -> calls.getAndIncrement() == 7
                                    ? loss(model, b).mul(Double.NaN)
                                    : loss(model, b))
                    .part("model", model)
                    .checkpoints(checkpoints, 5);
            assertThatThrownBy(() -> trainer.run(loader))
                    .isInstanceOf(ArithmeticException.class)
                    .hasMessageContaining("the loss of step 7 is NaN")
                    .hasMessageContaining("first of all: the loss; the batch and all parameters are finite")
                    .hasMessageContaining("last good checkpoint: step 5");
            assertThat(checkpoints.latest().orElseThrow().step()).isEqualTo(5);
        }
    }

    @Test
    void whatCannotBeIsRefused() {
        Sequential model = model();
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            assertThatThrownBy(() -> trainer(model, optimizer).part("optimizer", optimizer))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("'optimizer' is a part by itself");
            assertThatThrownBy(() -> trainer(model, optimizer).steps(-1)).hasMessageContaining("count is -1");
            Labelled buffers = new Labelled(Tensor.zeros(7, 1), Tensor.zeros(7, 1));
            assertThatThrownBy(() -> trainer(model, optimizer)
                            .accumulate(2)
                            .capture(Device.CPU, buffers, Labelled::copyFrom)
                            .run(loader))
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("a captured step has one batch");
        }
    }

    /** A device without graphs runs a captured step as it is. */
    @Test
    void aCapturedStepDoesTheSame() throws IOException {
        Sequential plain = run(folder.resolve("plain"), 1);
        Sequential model = model();
        Sequential other = model();
        for (Sequential m : List.of(model, other)) {
            Merapi.seed(3);
            try (AdamW optimizer = new AdamW(m.parameters(), 0.1, 0.01);
                    DataLoader<Labelled> loader = loader().dropLast()) {
                Trainer<Labelled> trainer = trainer(m, optimizer).steps(6);
                if (m == model) {
                    Labelled buffers = new Labelled(Tensor.zeros(7, 1), Tensor.zeros(7, 1));
                    trainer.capture(Device.CPU, buffers, Labelled::copyFrom);
                }
                trainer.run(loader);
            }
        }
        same(model, other);
        assertThat(weights(model).get(0)).isNotEqualTo(weights(plain).get(0));
    }

    /** What spoils a step is named, and the step changes nothing. */
    @Test
    void theFirstBadTensorIsNamed() {
        assertThat(failure((model, b) -> loss(model, b).sub(100).log()))
                .contains("the loss of step 2 is NaN", "first of all: the loss;");
        assertThat(failure((model, b) -> {
                    b.inputs().mul_(Double.POSITIVE_INFINITY);
                    return loss(model, b);
                }))
                .contains("first of all: the batch's inputs: ", "the first is ");
        assertThat(failure((model, b) -> {
                    model.parameters().get(2).tensor().detach().at(0, 1).fill_(Double.NaN);
                    return loss(model, b);
                }))
                .contains("first of all: the parameter model.3.weight: 1 of 8 elements, the first is NaN");
        // sqrt has no slope at 0: the loss is finite, its gradient is not
        assertThat(failure((model, b) -> {
                    Tensor bias = model.parameters().get(1).tensor();
                    return loss(model, b).add(bias.sub(bias.detach()).sqrt().sum());
                }))
                .contains(
                        "the norm of the gradients of step 2 is Infinity",
                        "first of all: the gradient of model.0.bias: 8 of 8");
    }

    private String failure(java.util.function.BiFunction<Sequential, Labelled, Tensor> bad) {
        Sequential model = model();
        AtomicInteger calls = new AtomicInteger();
        List<double[]> before = new ArrayList<>();
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> {
                        if (calls.getAndIncrement() < 2) {
                            return loss(model, b);
                        }
                        before.clear();
                        before.addAll(weights(model));
                        return bad.apply(model, b);
                    })
                    .part("model", model)
                    .clipNorm(model.parameters(), 0.5);
            try {
                trainer.run(loader);
            } catch (ArithmeticException | IOException e) {
                List<double[]> after = weights(model);
                assertThat(after.get(0)).containsExactly(before.get(0));
                return e.getMessage();
            }
            throw new AssertionError("it went on");
        }
    }

    /** Without clipping nobody looks at gradients, but no checkpoint is made of a broken model. */
    @Test
    void aBrokenModelIsNotSaved() throws IOException {
        Sequential model = model();
        Checkpoints checkpoints = Checkpoints.in(folder);
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> {
                        Tensor bias = model.parameters().get(1).tensor();
                        return loss(model, b).add(bias.sub(bias.detach()).sqrt().sum());
                    })
                    .part("model", model)
                    .checkpoints(checkpoints, 1);
            assertThatThrownBy(() -> trainer.run(loader))
                    .isInstanceOf(ArithmeticException.class)
                    .hasMessageContaining("after step 0 the model is broken")
                    .hasMessageContaining("the parameter model.0.bias: 8 of 8 elements");
            assertThat(checkpoints.latest()).isEmpty();
        }
    }

    @Test
    void averagesArePartOfTheRun() throws IOException {
        List<double[]> found = new ArrayList<>();
        for (int first : new int[] {10, 4}) {
            Path to = folder.resolve("averages" + first);
            for (int steps : new int[] {first, 10}) {
                Sequential model = model();
                try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                        Ema ema = new Ema(model, 0.8);
                        DataLoader<Labelled> loader = loader()) {
                    double[] own = new double[1];
                    trainer(model, optimizer)
                            .steps(steps)
                            .ema(ema)
                            .evaluate(steps, () -> {
                                own[0] = weights(model).get(0)[0];
                                return Map.of();
                            })
                            .checkpoints(Checkpoints.in(to), 0)
                            .run(loader);
                    double[] average = ema.stateDict()
                            .get("parameters.0.weight", Tensor.class)
                            .toDoubleArray();
                    if (steps == 10) {
                        found.add(average);
                    }
                    if (own[0] != 0) { // a finished run is not tested again
                        assertThat(own[0])
                                .isEqualTo(average[0])
                                .isNotEqualTo(weights(model).get(0)[0]);
                    }
                }
            }
        }
        assertThat(found.get(1)).containsExactly(found.get(0));
        assertThat(found.get(3 - 1)).containsExactly(found.get(0));
    }

    /** Who watches costs no weights, and a test that fails none of those before it. */
    @Test
    void whatWatchesMayFail() throws IOException {
        Sequential model = model();
        Checkpoints checkpoints = Checkpoints.in(folder);
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                Metrics metrics = Metrics.create(folder.resolve("m.csv"), "loss"); // has not all columns
                DataLoader<Labelled> loader = loader()) {
            Trainer<Labelled> trainer = trainer(model, optimizer)
                    .steps(9)
                    .metrics(metrics)
                    .onStep((step, values) -> {
                        throw new IllegalStateException("no plot");
                    })
                    .evaluate(7, () -> {
                        throw new IllegalStateException("no test");
                    })
                    .checkpoints(checkpoints, 0);
            assertThatThrownBy(() -> trainer.run(loader)).hasMessage("no test");
            assertThat(checkpoints.latest().orElseThrow().step()).isEqualTo(7);
        }
    }

    /** A disk that is full for a while costs the checkpoints of that time, and at the end it is said. */
    @Test
    void aDiskThatIsFullStopsNoStep() throws IOException {
        Sequential model = model();
        Path place = Files.writeString(folder.resolve("c"), "where the folder should be");
        Checkpoints checkpoints = Checkpoints.in(place);
        try (AdamW optimizer = new AdamW(model.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            assertThatThrownBy(() -> trainer(model, optimizer)
                            .steps(3)
                            .checkpoints(checkpoints, 1)
                            .run(loader))
                    .isInstanceOf(IOException.class);
        }
        Sequential other = model();
        try (AdamW optimizer = new AdamW(other.parameters(), 0.1, 0.01);
                DataLoader<Labelled> loader = loader()) {
            trainer(other, optimizer)
                    .steps(5)
                    .checkpointEvery(java.time.Duration.ZERO) // after each step
                    .onStep((step, values) -> {
                        if (step == 3) {
                            assertThat(place.toFile().delete()).isTrue();
                        }
                    })
                    .checkpoints(checkpoints.keepLast(9), 0)
                    .run(loader);
            assertThat(checkpoints.all()).extracting(Checkpoints.Saved::step).containsExactly(3L, 4L, 5L);
        }
    }

    /** Linux has a device that is always full. */
    @Test
    void rowsThatTheDiskRefusesAreWrittenLater() throws IOException {
        Path full = Path.of("/dev/full");
        org.junit.jupiter.api.Assumptions.assumeTrue(Files.exists(full), "this system has no /dev/full");
        assertThatThrownBy(() -> Metrics.create(full, "loss"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("No space left");
    }
}
