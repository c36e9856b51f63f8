// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.Sampler;
import dev.merapi.data.TextCorpus;
import dev.merapi.data.Vocabulary;
import dev.merapi.nn.Parameter;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Schedule;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Checkpoints;
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
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Trains a small GPT to write Java, character by character, and prints what it has learned to write. */
@Command(
        name = "train gpt",
        mixinStandardHelpOptions = true,
        showDefaultValues = true,
        description =
                "Trains a small character-level GPT on Java source (4000 steps if nothing is said) and prints Java that it"
                        + " wrote; with --generate a trained one goes on with a text.")
public final class TrainGpt implements Callable<Integer> {
    private static final int STEPS = 4000;
    private static final double CLIP_NORM = 1;
    private static final double WEIGHT_DECAY = 0.1;
    private static final String BEGINNING = "    public static ";
    /** Windows of held-out text that are tested on while training goes on; in the end it is all of them. */
    private static final long TEST_WINDOWS = 1280;

    private static final int TEST_BATCH = 64;
    private static final String HELD_OUT = "held_out_loss";
    private static final String[] COLUMNS = {"loss", HELD_OUT, "learning_rate", "gradient_norm"};

    @Mixin
    CommonOptions common = new CommonOptions();

    @Option(names = "--batch", description = "windows of text a step")
    int batch = 16;

    @Option(names = "--context", description = "characters that the model sees")
    int context = 64;

    @Option(names = "--layers", description = "how many of them lie above each other")
    int layers = 4;

    @Option(names = "--width", description = "numbers that stand for a character")
    int width = 128;

    @Option(names = "--heads", description = "parts that attention splits the width into")
    int heads = 4;

    @Option(names = "--lr", description = "highest learning rate")
    double lr = 1e-3;

    @Option(
            names = "--warmup",
            description =
                    "steps in which the learning rate rises (default: 100, or a tenth of them all if that is less)")
    @Nullable
    Integer warmup;

    @Option(
            names = "--text",
            description = "folder, zip or jar with .java files (default: the sources of commons-lang3)")
    @Nullable
    Path text;

    @Option(names = "--test-every", description = "steps between measurements of the held-out loss")
    int testEvery = 500;

    @Option(names = "--generate", description = "do not train: go on with this text")
    @Nullable
    String generate;

    @Option(names = "--from", description = "the run whose weights generate (default: the latest in runs)")
    @Nullable
    Path from;

    @Option(names = "--tokens", description = "characters to write, after training as well")
    int tokens = 400;

    @Option(names = "--temperature", description = "below 1 the likely is preferred; at 0 nothing else comes")
    double temperature = 0.8;

    @Option(names = "--top-k", description = "draw from so many of the likeliest characters; 0 for all")
    int topK = 0;

    @Option(names = "--top-p", description = "draw from the fewest characters that reach this probability together")
    double topP = 1;

    @Spec
    CommandSpec command = CommandSpec.create(); // the real one is put here

    public static void main(String[] args) {
        System.exit(Launch.run(new TrainGpt(), args));
    }

    @Override
    public Integer call() throws IOException {
        requireOptions();
        Device on = common.prepare();
        Precision arithmetic = common.arithmetic();
        String prompt = generate;
        if (prompt != null) {
            return generate(prompt, on, arithmetic);
        }
        Banner.print(on);
        Path source = text;
        TextCorpus corpus = source == null
                ? TextCorpus.ofClassPath(
                        TrainGpt.class.getClassLoader(), "org/apache/commons/lang3/StringUtils.java", ".java")
                : Launch.given("--text " + source, () -> TextCorpus.of(source, ".java"));
        Gpt model = Launch.given(
                "--layers " + layers + " --width " + width + " --heads " + heads,
                () -> new Gpt(new Gpt.Shape(corpus.vocabulary().size(), context, layers, width, heads)));
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
                corpus.vocabulary().size());

        try (RunDirectory run = common.open("gpt");
                StopSignal stop = StopSignal.listen()) {
            return train(run, stop, model, corpus.vocabulary(), training, heldOut, on, arithmetic);
        }
    }

    /** Goes on with a text, by the weights of a run. */
    private int generate(String prompt, Device on, Precision arithmetic) throws IOException {
        Path run = from == null ? GptFiles.latest(Path.of("runs")) : from;
        if (run == null) {
            throw new Launch.MistakeException(
                    "--generate", "no run in runs has weights yet; train one first, or name it by --from");
        }
        GptFiles.Loaded loaded = Launch.given("--from " + run, () -> GptFiles.load(run));
        loaded.model().to(on);
        loaded.model().to(arithmetic.parameters());
        if (prompt.isEmpty()) {
            throw new Launch.MistakeException(
                    "--generate ''", "give it a text to go on with, of one character at least");
        }
        Launch.given("--generate '" + prompt + "'", () -> loaded.vocabulary().encode(prompt));
        write(loaded.model(), loaded.vocabulary(), prompt, on, arithmetic);
        return 0;
    }

    private String write(Gpt model, Vocabulary vocabulary, String prompt, Device on, Precision arithmetic) {
        System.out.print(prompt);
        StringBuilder all = new StringBuilder(prompt);
        new TextGenerator(model, vocabulary, on, arithmetic)
                .write(prompt, tokens, sampling(), new Generator(common.seed), text -> {
                    all.append(text);
                    System.out.print(text);
                    System.out.flush();
                });
        System.out.println();
        return all.toString();
    }

    private Sampling sampling() {
        return new Sampling(temperature, topK, topP);
    }

    private int train(
            RunDirectory run,
            StopSignal stop,
            Gpt model,
            Vocabulary vocabulary,
            TextCorpus.Windows training,
            TextCorpus.Windows heldOut,
            Device on,
            Precision arithmetic)
            throws IOException {
        int steps = steps();
        Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints")).keepBest(1, HELD_OUT);
        long first = CommonOptions.first(checkpoints, steps);
        RunOptions.save(run.path(), command);
        GptFiles.save(run.path(), vocabulary);
        long start = System.nanoTime();
        try (RunRecord record = RunRecord.open(run, first, COLUMNS)) {
            Trainer.Report report = train(model, training, heldOut, on, arithmetic, record, checkpoints, stop);
            if (report.end() == Trainer.End.STOPPED) {
                return Launch.stopped("gpt", report, run);
            }
            double seconds = (System.nanoTime() - start) * 1e-9;
            BestSoFar.load(checkpoints, model);
            double last = heldOutLoss(model, heldOut, on, arithmetic, Long.MAX_VALUE);
            GptFiles.save(
                    run.path(),
                    model,
                    Map.of(
                            "steps",
                            String.valueOf(steps),
                            "seed",
                            String.valueOf(common.seed),
                            "precision",
                            common.precision,
                            HELD_OUT,
                            String.valueOf(last)));
            System.out.printf(
                    Locale.ROOT,
                    "%d steps in %.1f s, %,.0f characters/s; held-out loss %.4f nats per character, on all of it%n",
                    steps - first,
                    seconds,
                    (double) (steps - first) * batch * context / seconds,
                    last);
            record.metrics().record(steps, Map.of(HELD_OUT, last));
            System.out.println();
            String text = write(model, vocabulary, beginning(vocabulary), on, arithmetic);
            record.text(steps, text);
            record.finish("GPT on Java source, nats per character", HELD_OUT, "characters", List.of(), null, text);
        }
        System.out.println("\nsaved to " + run);
        return 0;
    }

    /** Before anything is made: a start that fails leaves nothing behind. */
    private void requireOptions() {
        Launch.atLeast(1, "--batch", batch);
        Launch.atLeast(1, "--context", context);
        Launch.atLeast(0, "--layers", layers);
        Launch.atLeast(1, "--test-every", testEvery);
        Launch.atLeast(0, "--tokens", tokens);
        Launch.positive("--lr", lr);
        sampling();
        if (warmup != null) {
            Launch.atLeast(0, "--warmup", warmup);
            if (warmup > steps()) {
                System.out.println(
                        "--warmup " + warmup + " is longer than the run: the learning rate rises to its end");
            }
        }
    }

    private int steps() {
        return common.steps == null ? STEPS : common.steps;
    }

    private Schedule schedule() {
        int steps = steps();
        return Schedule.warmupCosine(
                lr, lr / 10, warmup == null ? Math.min(100, steps / 10) : Math.min(warmup, steps), steps);
    }

    private Trainer.Report train(
            Gpt model,
            TextCorpus.Windows training,
            TextCorpus.Windows heldOut,
            Device on,
            Precision arithmetic,
            RunRecord record,
            Checkpoints checkpoints,
            StopSignal stop)
            throws IOException {
        int steps = steps();
        // As usual for GPTs, only matrices decay; biases and norms do not.
        List<Parameter> parameters = model.parameters();
        List<Parameter> matrices =
                parameters.stream().filter(p -> p.tensor().rank() > 1).toList();
        List<Parameter> vectors =
                parameters.stream().filter(p -> p.tensor().rank() <= 1).toList();
        try (AdamW optimizer = new AdamW(matrices, lr, 0.9, 0.99, 1e-8, WEIGHT_DECAY);
                GradScaler scaler = arithmetic.scaler();
                DataLoader<Labelled> loader = DataLoader.of(training, batch)
                        .sampler(Sampler.random(common.seed, Math.multiplyExact(steps, batch)))
                        .to(on);
                Progress progress = new Progress("gpt", steps, "chars", (long) batch * context)) {
            optimizer.add(vectors, 0);
            BestSoFar best = BestSoFar.of(checkpoints, HELD_OUT);
            progress.startAt(checkpoints.latest().map(Checkpoints.Saved::step).orElse(0L));
            Trainer<Labelled> trainer = Trainer.of(optimizer, (Labelled b) -> loss(model, b, arithmetic))
                    .part("model", model)
                    .steps(steps)
                    .schedule(schedule())
                    .scaler(scaler)
                    .clipNorm(parameters, CLIP_NORM)
                    .evaluate(
                            testEvery,
                            () -> Map.of(HELD_OUT, heldOutLoss(model, heldOut, on, arithmetic, TEST_WINDOWS)))
                    .watch(HELD_OUT)
                    .checkpoints(checkpoints, common.checkpointEvery)
                    .metrics(record.metrics())
                    .stop(stop)
                    .onEvaluation((step, values) -> {
                        double loss = values.getOrDefault(HELD_OUT, Double.NaN);
                        progress.say(tested(step, loss) + best.judge(step, loss));
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
                                Tensor.zeros(Shape.of(batch, context), DType.INT64, on),
                                Tensor.zeros(Shape.of(batch, context), DType.INT64, on)),
                        Labelled::copyFrom);
            }
            if (checkpoints.latest().isEmpty()) {
                double before = heldOutLoss(model, heldOut, on, arithmetic, TEST_WINDOWS);
                record.metrics().record(0, Map.of(HELD_OUT, before));
                progress.say(tested(0, before));
            }
            return trainer.run(loader);
        }
    }

    private static String tested(long step, double loss) {
        return String.format(Locale.ROOT, "step %d: held-out loss %.3f", step, loss);
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

    /** What it goes on with: the beginning of a method, as far as the text has such characters. */
    private static String beginning(Vocabulary vocabulary) {
        StringBuilder text = new StringBuilder();
        BEGINNING.codePoints().filter(vocabulary::contains).forEach(text::appendCodePoint);
        return text.length() > 0 ? text.toString() : vocabulary.decode(0);
    }
}
