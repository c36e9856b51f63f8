// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Conv2d;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Pooling;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Schedule;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Checkpoints;
import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.StopSignal;
import dev.merapi.train.Trainer;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a small convolutional network to tell shirts from shoes, and reports how often it is right. */
@Command(
        name = "train fashion",
        mixinStandardHelpOptions = true,
        showDefaultValues = true,
        description = "Trains a small CNN on Fashion-MNIST and reports its accuracy on the test set.")
public final class TrainFashion implements Callable<Integer> {
    private static final String METRICS = "metrics.csv";
    private static final String[] COLUMNS = {"loss", "test_loss", "test_accuracy", "learning_rate"};

    /** Mean and deviation of the training images' pixels, in [0, 1]. */
    private static final double MEAN = 0.286;

    private static final double DEVIATION = 0.353;

    @Option(names = "--epochs", description = "passes over the training set (default: 3, or 30 for the subset)")
    int epochs;

    @Option(names = "--batch", description = "images a step")
    int batch = 64;

    @Option(names = "--lr", description = "highest learning rate")
    double lr = 2e-3;

    @Option(names = "--seed")
    long seed = 1;

    @Option(names = "--device", description = "cpu, cuda:0, cuda-sim, …")
    String device = "cpu";

    @Option(
            names = "--precision",
            description = "f32, mixed with bf16 or f16 for products of matrices, or bf16-params: all in bf16")
    String precision = "f32";

    @Option(names = "--graph", description = "capture the step once and replay it, on devices that can")
    boolean graph;

    @Option(
            names = "--data",
            description =
                    "folder with the four IDX files, gzipped or not (default: $MERAPI_DATA, then"
                            + " where Debian's package dataset-fashion-mnist puts them, then the subset that comes with the examples)")
    @Nullable
    Path data;

    @Option(names = "--subset", description = "use the subset even where all of the data is found")
    boolean subset;

    @Option(names = "--name", description = "the run's files go to runs/<name>")
    String name = "fashion";

    @Option(names = "--runs", description = "folder of all runs")
    Path runs = Path.of("runs");

    @Option(
            names = "--checkpoint-every",
            description = "steps between checkpoints, beside those after epochs; 0 for none")
    int checkpointEvery = 0;

    @Option(
            names = "--resume",
            description =
                    "folder of a run that was interrupted: goes on where its last checkpoint is, with its options")
    @Nullable
    Path resume;

    @Spec
    CommandSpec command = CommandSpec.create(); // the real one is put here

    public static void main(String[] args) {
        System.exit(Launch.run(new TrainFashion(), args));
    }

    @Override
    public Integer call() throws IOException {
        Device on = Launch.device(device);
        Precision arithmetic = Launch.given("--precision " + precision, () -> Precision.of(precision));
        Launch.atLeast(0, "--epochs", epochs);
        Launch.atLeast(1, "--batch", batch);
        Launch.positive("--lr", lr);
        Banner.print(on);
        Merapi.seed(seed);
        Path folder = data;
        FashionData fashion = subset
                ? FashionData.subset()
                : folder == null
                        ? FashionData.load(null)
                        : Launch.given("--data " + folder, () -> FashionData.load(folder));
        if (batch > fashion.training().size()) {
            throw new Launch.MistakeException(
                    "--batch " + batch, "there are only " + fashion.training().size() + " images");
        }
        if (epochs == 0) {
            epochs = fashion.training().size() < 10_000 ? 30 : 3;
        }
        Sequential model = network();
        model.to(on);
        model.to(arithmetic.parameters());
        System.out.printf(
                Locale.ROOT,
                "%,d parameters; %,d images to learn from, %,d to test on: %s%n",
                model.parameterCount(),
                fashion.training().size(),
                fashion.test().size(),
                fashion.source());

        try (RunDirectory run = Launch.run(resume, runs, name);
                StopSignal stop = StopSignal.listen()) {
            return train(run, stop, model, fashion, on, arithmetic);
        }
    }

    private int train(
            RunDirectory run, StopSignal stop, Sequential model, FashionData fashion, Device on, Precision arithmetic)
            throws IOException {
        long perEpoch = fashion.training().size() / batch;
        Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints")).keepBest(1, "test_loss");
        long first = Launch.first(checkpoints, "--epochs " + epochs, perEpoch * epochs);
        RunOptions.save(run.path(), command);
        try (Metrics metrics = first == 0
                ? Metrics.create(run.file(METRICS), COLUMNS)
                : Metrics.resume(run.file(METRICS), first, COLUMNS)) {
            Trainer.Report report = train(model, fashion, perEpoch, on, arithmetic, metrics, checkpoints, stop);
            if (report.end() == Trainer.End.STOPPED) {
                return Launch.stopped("fashion", report, run);
            }
            Optional<Checkpoints.Saved> best = checkpoints.best();
            if (best.isPresent()) { // the last epochs may have learned the training images by heart
                try (Scope scope = Scope.open()) {
                    model.loadStateDict(best.get().part("model"));
                }
            }
            Safetensors.save(run.file("weights.safetensors"), model.stateDict());
            LossPlot.save(
                    run.file("loss.png"),
                    "CNN on Fashion-MNIST, cross entropy",
                    metrics.series("loss"),
                    metrics.series("test_loss"));
        }
        Score score = test(model, fashion.test(), on, arithmetic);
        System.out.printf(
                Locale.ROOT,
                "best epoch: test accuracy %.2f %%, loss %.4f; saved to %s%n",
                100 * score.accuracy(),
                score.loss(),
                run);
        return 0;
    }

    /** uint8 images as [B, 1, 28, 28] → scores [B, 10]. */
    private static Sequential network() {
        return new Sequential()
                .then(x -> x.to(DType.FLOAT32).mul(1 / (255 * DEVIATION)).sub(MEAN / DEVIATION))
                .then(new Conv2d(1, 16, 3, 1, 1))
                .then(Tensor::relu)
                .then(x -> Pooling.maxPool2d(x, 2, 2, 0))
                .then(new Conv2d(16, 32, 3, 1, 1))
                .then(Tensor::relu)
                .then(x -> Pooling.maxPool2d(x, 2, 2, 0))
                .then(x -> x.flatten(1, -1))
                .then(new Linear(32 * 7 * 7, 128))
                .then(Tensor::relu)
                .then(new Linear(128, 10));
    }

    private Trainer.Report train(
            Sequential model,
            FashionData fashion,
            long perEpoch,
            Device on,
            Precision arithmetic,
            Metrics metrics,
            Checkpoints checkpoints,
            StopSignal stop)
            throws IOException {
        long steps = perEpoch * epochs;
        try (AdamW optimizer = new AdamW(model.parameters(), lr, 0.01);
                GradScaler scaler = arithmetic.scaler();
                DataLoader<Labelled> loader = DataLoader.of(fashion.training(), batch)
                        .shuffle(seed)
                        .dropLast()
                        .to(on);
                Progress progress = new Progress("fashion", steps, "images", batch)) {
            progress.startAt(checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L));
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> loss(model, b, arithmetic))
                    .part("model", model)
                    .steps(steps)
                    .schedule(Schedule.warmupCosine(lr, lr / 20, Math.min(100, steps / 10), steps))
                    .scaler(scaler)
                    .evaluate(perEpoch, () -> {
                        Score score = test(model, fashion.test(), on, arithmetic);
                        return Map.of("test_loss", score.loss(), "test_accuracy", score.accuracy());
                    })
                    .watch("test_loss")
                    .checkpoints(checkpoints, checkpointEvery)
                    .metrics(metrics)
                    .stop(stop)
                    .onEvaluation((step, values) -> {
                        System.out.printf(
                                Locale.ROOT,
                                "%nepoch %d: test accuracy %.2f %%, loss %.4f%n",
                                step / perEpoch,
                                100 * values.getOrDefault("test_accuracy", Double.NaN),
                                values.getOrDefault("test_loss", Double.NaN));
                        progress.resume();
                    })
                    .onStep((step, values) -> progress.step(values.getOrDefault("loss", Double.NaN)));
            if (graph) {
                trainer.capture(
                        on,
                        new Labelled(
                                Tensor.zeros(Shape.of(batch, 1, 28, 28), DType.UINT8, on),
                                Tensor.zeros(Shape.of(batch), DType.INT64, on)),
                        Labelled::copyFrom);
            }
            return trainer.run(loader);
        }
    }

    private static Tensor loss(Sequential model, Labelled b, Precision arithmetic) {
        try (Autocast mode = arithmetic.mode()) {
            return Losses.crossEntropy(model.forward(b.inputs().to(arithmetic.parameters())), b.targets());
        }
    }

    private record Score(double loss, double accuracy) {}

    private static Score test(Sequential model, TensorDataset data, Device on, Precision arithmetic) {
        double loss = 0;
        long right = 0;
        model.eval();
        try (DataLoader<Labelled> loader = DataLoader.of(data, 500)) {
            Iterable<Labelled> batches = loader;
            java.util.Iterator<Labelled> it = batches.iterator();
            while (it.hasNext()) {
                try (Scope scope = Scope.open();
                        Autograd.Mode mode = Autograd.noGrad();
                        Autocast cast = arithmetic.mode()) {
                    Labelled b = it.next().to(on);
                    Tensor scores = model.forward(b.inputs().to(arithmetic.parameters()));
                    loss += Losses.crossEntropy(scores, b.targets()).item()
                            * b.targets().numel();
                    right += scores.argmax(1).eq(b.targets()).sum().itemLong();
                }
            }
        }
        model.train(true);
        return new Score(loss / data.size(), (double) right / data.size());
    }
}
