// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

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
import dev.merapi.train.ConfusionMatrix;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.RunningMean;
import dev.merapi.train.StopSignal;
import dev.merapi.train.Trainer;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a small convolutional network to tell shirts from shoes, and reports how often it is right. */
@Command(
        name = "train fashion",
        mixinStandardHelpOptions = true,
        showDefaultValues = true,
        description =
                "Trains a small CNN on Fashion-MNIST, 3 times over all of it, or 30 times over the subset, if no --steps are"
                        + " given, and reports its accuracy on the test set.")
public final class TrainFashion implements Callable<Integer> {
    private static final List<String> CLASSES = List.of(
            "T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot");
    private static final String[] COLUMNS = {"loss", "test_loss", "test_accuracy", "learning_rate"};

    /** Mean and deviation of the training images' pixels, in [0, 1]. */
    private static final double MEAN = 0.286;

    private static final double DEVIATION = 0.353;

    @Mixin
    CommonOptions common = new CommonOptions();

    @Option(names = "--batch", description = "images a step")
    int batch = 64;

    @Option(names = "--lr", description = "highest learning rate")
    double lr = 2e-3;

    @Option(
            names = "--data",
            description =
                    "folder with the four IDX files, gzipped or not (default: $MERAPI_DATA, then"
                            + " where Debian's package dataset-fashion-mnist puts them, then the subset that comes with the examples)")
    @Nullable
    Path data;

    @Option(names = "--subset", description = "use the subset even where all of the data is found")
    boolean subset;

    @Spec
    CommandSpec command = CommandSpec.create(); // the real one is put here

    public static void main(String[] args) {
        System.exit(Launch.run(new TrainFashion(), args));
    }

    @Override
    public Integer call() throws IOException {
        Launch.atLeast(1, "--batch", batch);
        Launch.positive("--lr", lr);
        Device on = common.prepare();
        Precision arithmetic = common.arithmetic();
        Banner.print(on);
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

        try (RunDirectory run = common.open("fashion");
                StopSignal stop = StopSignal.listen()) {
            return train(run, stop, model, fashion, on, arithmetic);
        }
    }

    private int train(
            RunDirectory run, StopSignal stop, Sequential model, FashionData fashion, Device on, Precision arithmetic)
            throws IOException {
        long perEpoch = fashion.training().size() / batch;
        Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints")).keepBest(1, "test_loss");
        long steps = common.steps != null
                ? common.steps
                : perEpoch * (fashion.training().size() < 10_000 ? 30 : 3);
        long first = CommonOptions.first(checkpoints, steps);
        RunOptions.save(run.path(), command);
        try (RunRecord record = RunRecord.open(run, first, COLUMNS);
                ConfusionMatrix confusion = new ConfusionMatrix(CLASSES.size())) {
            Trainer.Report report = train(model, fashion, perEpoch, steps, on, arithmetic, record, checkpoints, stop);
            if (report.end() == Trainer.End.STOPPED) {
                return Launch.stopped("fashion", report, run);
            }
            BestSoFar.load(checkpoints, model); // the last epochs may have learned the training images by heart
            Safetensors.save(run.file("weights.safetensors"), model.stateDict());
            double loss = test(model, fashion.test(), on, arithmetic, confusion);
            System.out.printf(
                    Locale.ROOT,
                    "best epoch: test accuracy %.2f %%, loss %.4f, F1 %.4f; saved to %s%n",
                    100 * confusion.accuracy(),
                    loss,
                    confusion.f1(ConfusionMatrix.Average.MACRO),
                    run);
            record.finish("CNN on Fashion-MNIST, cross entropy", "test_loss", "images", CLASSES, confusion, "");
        }
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
            long steps,
            Device on,
            Precision arithmetic,
            RunRecord record,
            Checkpoints checkpoints,
            StopSignal stop)
            throws IOException {
        try (AdamW optimizer = new AdamW(model.parameters(), lr, 0.01);
                GradScaler scaler = arithmetic.scaler();
                DataLoader<Labelled> loader = DataLoader.of(fashion.training(), batch)
                        .shuffle(common.seed)
                        .dropLast()
                        .to(on);
                Progress progress = new Progress("fashion", steps, "images", batch)) {
            BestSoFar best = BestSoFar.of(checkpoints, "test_loss");
            progress.startAt(checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L));
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> loss(model, b, arithmetic))
                    .part("model", model)
                    .steps(steps)
                    .schedule(Schedule.warmupCosine(lr, lr / 20, Math.min(100, steps / 10), steps))
                    .scaler(scaler)
                    .evaluate(perEpoch, () -> {
                        try (ConfusionMatrix confusion = new ConfusionMatrix(CLASSES.size())) {
                            double loss = test(model, fashion.test(), on, arithmetic, confusion);
                            return Map.of("test_loss", loss, "test_accuracy", confusion.accuracy());
                        }
                    })
                    .watch("test_loss")
                    .checkpoints(checkpoints, common.checkpointEvery)
                    .metrics(record.metrics())
                    .stop(stop)
                    .onEvaluation((step, values) -> {
                        double loss = values.getOrDefault("test_loss", Double.NaN);
                        double accuracy = values.getOrDefault("test_accuracy", Double.NaN);
                        progress.say(String.format(
                                        Locale.ROOT,
                                        "epoch %d: test accuracy %.2f %%, loss %.4f",
                                        step / perEpoch,
                                        100 * accuracy,
                                        loss)
                                + best.judge(step, loss));
                        record.weights(step, model);
                        progress.resume();
                    })
                    .onStep((step, values) -> {
                        progress.step(values.getOrDefault("loss", Double.NaN));
                        record.step(step, steps, values, progress.speed());
                    });
            if (common.graph) {
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

    /** The mean loss over all of it; who was taken for whom is counted on the device, and nothing waits for it in between. */
    private static double test(
            Sequential model, TensorDataset data, Device on, Precision arithmetic, ConfusionMatrix confusion) {
        model.eval();
        try (DataLoader<Labelled> loader = DataLoader.of(data, 500);
                RunningMean loss = new RunningMean()) {
            for (Labelled batch : loader) {
                try (Scope scope = Scope.open();
                        Autograd.Mode mode = Autograd.noGrad();
                        Autocast cast = arithmetic.mode()) {
                    Labelled b = batch.to(on);
                    Tensor scores = model.forward(b.inputs().to(arithmetic.parameters()));
                    loss.add(
                            Losses.crossEntropy(scores, b.targets()),
                            b.targets().numel());
                    confusion.add(scores, b.targets());
                }
            }
            return loss.value();
        } finally {
            model.train(true);
        }
    }
}
