// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.Sampler;
import dev.merapi.data.TextCorpus;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.Parameter;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Schedule;
import dev.merapi.random.Generator;
import dev.merapi.random.Philox;
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
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a small GPT to write Java, character by character, and prints what it has learned to write. */
@Command(
        name = "train gpt",
        mixinStandardHelpOptions = true,
        showDefaultValues = true,
        description = "Trains a small character-level GPT on Java source and prints Java that it wrote.")
public final class TrainGpt implements Callable<Integer> {
    private static final double CLIP_NORM = 1;
    private static final double WEIGHT_DECAY = 0.1;
    private static final double TEMPERATURE = 0.8;
    private static final String BEGINNING = "    /**\n     * ";
    /** Windows of held-out text that are tested on while training goes on; in the end it is all of them. */
    private static final long TEST_WINDOWS = 1280;

    private static final int TEST_BATCH = 64;
    private static final String METRICS = "metrics.csv";
    private static final String[] COLUMNS = {"loss", "held_out_loss", "learning_rate", "gradient_norm"};

    @Option(names = "--steps", description = "training steps")
    int steps = 4000;

    @Option(names = "--batch", description = "windows of text a step")
    int batch = 16;

    @Option(names = "--context", description = "characters that the model sees")
    int context = 64;

    @Option(names = "--layers")
    int layers = 4;

    @Option(names = "--width")
    int width = 128;

    @Option(names = "--heads")
    int heads = 4;

    @Option(names = "--lr", description = "highest learning rate")
    double lr = 1e-3;

    @Option(
            names = "--warmup",
            description =
                    "steps in which the learning rate rises (default: 100, or a tenth of them all if that is less)")
    @Nullable
    Integer warmup;

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
            names = "--text",
            description = "folder, zip or jar with .java files (default: the sources of commons-lang3)")
    @Nullable
    Path text;

    @Option(names = "--test-every", description = "steps between measurements of the held-out loss")
    int testEvery = 500;

    @Option(names = "--sample", description = "characters to write at the end")
    int sample = 400;

    @Option(names = "--name", description = "the run's files go to runs/<name>")
    String name = "gpt";

    @Option(names = "--runs", description = "folder of all runs")
    Path runs = Path.of("runs");

    @Option(names = "--checkpoint-every", description = "steps between checkpoints; 0 for one at the end alone")
    int checkpointEvery = 500;

    @Option(
            names = "--resume",
            description =
                    "folder of a run that was interrupted: goes on where its last checkpoint is, with its options")
    @Nullable
    Path resume;

    @Spec
    CommandSpec command = CommandSpec.create(); // the real one is put here

    public static void main(String[] args) {
        System.exit(Launch.run(new TrainGpt(), args));
    }

    @Override
    public Integer call() throws IOException {
        Device on = Launch.device(device);
        Precision arithmetic = Launch.given("--precision " + precision, () -> Precision.of(precision));
        requireOptions();
        Banner.print(on);
        Merapi.seed(seed);
        Path source = text;
        TextCorpus corpus = source == null
                ? TextCorpus.ofClassPath(
                        TrainGpt.class.getClassLoader(), "org/apache/commons/lang3/StringUtils.java", ".java")
                : Launch.given("--text " + source, () -> TextCorpus.of(source, ".java"));
        Gpt model = Launch.given(
                "--layers " + layers + " --width " + width + " --heads " + heads,
                () -> new Gpt(new Gpt.Shape(corpus.vocabularySize(), context, layers, width, heads)));
        model.to(on);
        model.to(arithmetic.parameters());
        TextCorpus.Windows training = Launch.given("--context " + context, () -> corpus.training(context));
        TextCorpus.Windows heldOut = Launch.given("--context " + context, () -> corpus.heldOut(context));
        System.out.printf(
                Locale.ROOT,
                "%,d parameters; %,d characters to learn from, %,d held out, %d different ones%n",
                model.parameterCount(),
                training.characters(),
                heldOut.characters(),
                corpus.vocabularySize());

        try (RunDirectory run = Launch.run(resume, runs, name);
                StopSignal stop = StopSignal.listen()) {
            return train(run, stop, model, corpus, training, heldOut, on, arithmetic);
        }
    }

    private int train(
            RunDirectory run,
            StopSignal stop,
            Gpt model,
            TextCorpus corpus,
            TextCorpus.Windows training,
            TextCorpus.Windows heldOut,
            Device on,
            Precision arithmetic)
            throws IOException {
        Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints")).keepBest(1, "held_out_loss");
        long first = Launch.first(checkpoints, "--steps " + steps, steps);
        RunOptions.save(run.path(), command);
        long start = System.nanoTime();
        try (Metrics metrics = first == 0
                ? Metrics.create(run.file(METRICS), COLUMNS)
                : Metrics.resume(run.file(METRICS), first, COLUMNS)) {
            Trainer.Report report = train(model, training, heldOut, on, arithmetic, metrics, checkpoints, stop);
            if (report.end() == Trainer.End.STOPPED) {
                return Launch.stopped("gpt", report, run);
            }
            double seconds = (System.nanoTime() - start) * 1e-9;
            Safetensors.save(
                    run.file("weights.safetensors"),
                    model.stateDict().all(Tensor.class),
                    Map.of("shape", model.shape().toString(), "steps", String.valueOf(steps)));
            double last = heldOutLoss(model, heldOut, on, arithmetic, Long.MAX_VALUE);
            System.out.printf(
                    Locale.ROOT,
                    "%d steps in %.1f s, %,.0f characters/s; held-out loss %.4f nats per character, on all of it%n",
                    steps - first,
                    seconds,
                    (double) (steps - first) * batch * context / seconds,
                    last);
            metrics.record(steps, Map.of("held_out_loss", last));
            LossPlot.save(
                    run.file("loss.png"),
                    "GPT on Java source, nats per character",
                    metrics.series("loss"),
                    metrics.series("held_out_loss"));
        }
        System.out.println("\n" + write(model, corpus, on) + "\n\nsaved to " + run);
        return 0;
    }

    /** Before anything is made: a start that fails leaves nothing behind. */
    private void requireOptions() {
        Launch.atLeast(1, "--steps", steps);
        Launch.atLeast(1, "--batch", batch);
        Launch.atLeast(1, "--context", context);
        Launch.atLeast(0, "--layers", layers);
        Launch.atLeast(1, "--test-every", testEvery);
        Launch.atLeast(0, "--sample", sample);
        Launch.atLeast(0, "--checkpoint-every", checkpointEvery);
        Launch.positive("--lr", lr);
        Launch.given("--warmup " + warmup(), this::schedule);
    }

    private int warmup() {
        return warmup == null ? Math.min(100, steps / 10) : warmup;
    }

    private Schedule schedule() {
        return Schedule.warmupCosine(lr, lr / 10, warmup(), steps);
    }

    private Trainer.Report train(
            Gpt model,
            TextCorpus.Windows training,
            TextCorpus.Windows heldOut,
            Device on,
            Precision arithmetic,
            Metrics metrics,
            Checkpoints checkpoints,
            StopSignal stop)
            throws IOException {
        // As usual for GPTs, only matrices decay; biases and norms do not.
        List<Parameter> parameters = model.parameters();
        List<Parameter> matrices =
                parameters.stream().filter(p -> p.tensor().rank() > 1).toList();
        List<Parameter> vectors =
                parameters.stream().filter(p -> p.tensor().rank() <= 1).toList();
        try (AdamW optimizer = new AdamW(matrices, lr, 0.9, 0.99, 1e-8, WEIGHT_DECAY);
                GradScaler scaler = arithmetic.scaler();
                DataLoader<Labelled> loader = DataLoader.of(training, batch)
                        .sampler(Sampler.random(seed, Math.multiplyExact(steps, batch)))
                        .to(on);
                Progress progress = new Progress("gpt", steps, "chars", (long) batch * context)) {
            optimizer.add(vectors, 0);
            progress.startAt(checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L));
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> loss(model, b, arithmetic))
                    .part("model", model)
                    .steps(steps)
                    .schedule(schedule())
                    .scaler(scaler)
                    .clipNorm(parameters, CLIP_NORM)
                    .evaluate(
                            testEvery,
                            () -> Map.of("held_out_loss", heldOutLoss(model, heldOut, on, arithmetic, TEST_WINDOWS)))
                    .watch("held_out_loss")
                    .checkpoints(checkpoints, checkpointEvery)
                    .metrics(metrics)
                    .stop(stop)
                    .onEvaluation(
                            (step, values) -> tell(step, values.getOrDefault("held_out_loss", Double.NaN), progress))
                    .onStep((step, values) -> progress.step(values.getOrDefault("loss", Double.NaN)));
            if (graph) {
                trainer.capture(
                        on,
                        new Labelled(
                                Tensor.zeros(Shape.of(batch, context), DType.INT64, on),
                                Tensor.zeros(Shape.of(batch, context), DType.INT64, on)),
                        Labelled::copyFrom);
            }
            if (checkpoints.latest().isEmpty()) {
                double before = heldOutLoss(model, heldOut, on, arithmetic, TEST_WINDOWS);
                metrics.record(0, Map.of("held_out_loss", before));
                tell(0, before, progress);
            }
            return trainer.run(loader);
        }
    }

    private static void tell(long step, double heldOutLoss, Progress progress) {
        System.out.printf(Locale.ROOT, "%nstep %d: held-out loss %.3f%n", step, heldOutLoss);
        progress.resume();
    }

    private static Tensor loss(Gpt model, Labelled b, Precision arithmetic) {
        try (Autocast mode = arithmetic.mode()) {
            return model.loss(b.inputs(), b.targets());
        }
    }

    /** Mean loss over the held-out text, or over at most {@code most} windows spread evenly over it. */
    private static double heldOutLoss(Gpt model, TextCorpus.Windows text, Device on, Precision arithmetic, long most) {
        long count = Math.min(most, text.size());
        double sum = 0;
        model.eval();
        for (long from = 0; from < count; from += TEST_BATCH) {
            long[] samples = LongStream.range(from, Math.min(count, from + TEST_BATCH))
                    .map(i -> i * text.size() / count)
                    .toArray();
            try (Scope scope = Scope.open();
                    Autograd.Mode mode = Autograd.noGrad();
                    Autocast cast = arithmetic.mode()) {
                Labelled b = text.batch(samples).to(on);
                sum += model.loss(b.inputs(), b.targets()).item() * samples.length;
            }
        }
        model.train(true);
        return sum / count;
    }

    /** Lets the model continue the beginning of a method. */
    private String write(Gpt model, TextCorpus corpus, Device on) {
        StringBuilder text = new StringBuilder(beginning(corpus));
        Generator generator = new Generator(seed);
        model.eval();
        for (int i = 0; i < sample; i++) {
            try (Scope scope = Scope.open();
                    Autograd.Mode mode = Autograd.noGrad()) {
                int[] all = corpus.encode(text);
                int from = Math.max(0, all.length - context);
                long[] window = java.util.Arrays.stream(all, from, all.length)
                        .asLongStream()
                        .toArray();
                Tensor logits = model.forward(
                                Tensor.of(window, 1, window.length).to(on))
                        .at(0, -1);
                double[] probability = logits.div(TEMPERATURE).softmax(0).toDoubleArray();
                text.append(corpus.decode(draw(probability, generator)));
            }
        }
        return text.toString();
    }

    /** What it goes on with: the beginning of a comment, as far as the text has such characters. */
    private static String beginning(TextCorpus corpus) {
        String known = corpus.decode(IntStream.range(0, corpus.vocabularySize()).toArray());
        StringBuilder text = new StringBuilder();
        BEGINNING.codePoints().filter(c -> known.indexOf(c) >= 0).forEach(text::appendCodePoint);
        return text.length() > 0 ? text.toString() : corpus.decode(0);
    }

    private static int draw(double[] probability, Generator generator) {
        Generator.Position at = generator.draw(1);
        double rest = Philox.uniform(Philox.bits(at.seed(), at.offset(), 0));
        int token = 0;
        while (token < probability.length - 1 && rest >= probability[token]) {
            rest -= probability[token++];
        }
        return token;
    }
}
