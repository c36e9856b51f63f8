// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.examples.Corpus.Batch;
import dev.merapi.io.Safetensors;
import dev.merapi.ops.Optimizers;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.Schedule;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Trains a character-level GPT on Java source, then lets it write some. */
@Command(
        name = "train gpt",
        mixinStandardHelpOptions = true,
        description = "Trains a character-level GPT on the Java source of commons-lang3.")
public final class TrainGpt implements Callable<Integer> {
    @Option(names = "--steps", defaultValue = "4000", description = "training steps (${DEFAULT-VALUE})")
    int steps;

    @Option(names = "--batch", defaultValue = "16", description = "sequences a step (${DEFAULT-VALUE})")
    int batch;

    @Option(names = "--context", defaultValue = "64", description = "characters a sequence (${DEFAULT-VALUE})")
    int context;

    @Option(names = "--layers", defaultValue = "4", description = "transformer blocks (${DEFAULT-VALUE})")
    int layers;

    @Option(names = "--width", defaultValue = "128", description = "size of a token's vector (${DEFAULT-VALUE})")
    int width;

    @Option(names = "--heads", defaultValue = "4", description = "attention heads (${DEFAULT-VALUE})")
    int heads;

    @Option(names = "--lr", defaultValue = "1e-3", description = "peak learning rate (${DEFAULT-VALUE})")
    double lr;

    @Option(names = "--seed", defaultValue = "1", description = "seed of weights, batches and samples (${DEFAULT-VALUE})")
    long seed;

    @Option(names = "--device", defaultValue = "cpu", description = "where to train (${DEFAULT-VALUE})")
    String device;

    @Option(names = "--sample", defaultValue = "400", description = "characters to write at the end (${DEFAULT-VALUE})")
    int sample;

    public static void main(String[] args) {
        System.exit(new CommandLine(new TrainGpt()).execute(args));
    }

    @Override
    public Integer call() throws Exception {
        System.out.println(Merapi.describe().lines().limit(2).reduce((a, b) -> a + "\n" + b).orElse(""));
        Merapi.seed(seed);
        RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
        Device where = Device.of(device);
        Corpus corpus = Corpus.load();
        Gpt model = new Gpt(new Gpt.Config(layers, width, heads, context, corpus.vocabulary()));
        model.to(where);
        System.out.printf(
                Locale.ROOT,
                "%,d characters to learn from, %,d held out, %d different; %,d parameters on %s%n",
                corpus.trainingLength(),
                corpus.heldOutLength(),
                corpus.vocabulary(),
                model.parameterCount(),
                where);
        try (RunFolder run = RunFolder.named("gpt")) {
            train(model, corpus, random, where, run);
            run.plot("Character-level GPT on Java source: loss in nats");
            Safetensors.save(run.path().resolve("weights.safetensors"), model.stateDict(), Map.of("format", "merapi"));
            System.out.println("\n" + generate(model, corpus, random, where) + "\n");
            System.out.println("Loss plot, metrics and weights are in " + run.path() + ".");
        }
        return 0;
    }

    private void train(Gpt model, Corpus corpus, RandomGenerator random, Device where, RunFolder run) {
        Schedule schedule = Schedule.warmupCosine(lr, lr / 10, 100, steps);
        long begin = System.nanoTime();
        try (AdamW optimizer = new AdamW(model.decayed(), lr, 0.9, 0.99, 1e-8, 0.1);
                ProgressBar bar = new ProgressBarBuilder()
                        .setTaskName("training")
                        .setInitialMax(steps)
                        .setStyle(ProgressBarStyle.ASCII)
                        .setUpdateIntervalMillis(500)
                        .build()) {
            optimizer.add(model.notDecayed(), 0);
            for (int step = 0; step < steps; step++) {
                if (step % 500 == 0) {
                    run.add("loss, held out", step, heldOutLoss(model, corpus, where, 8));
                }
                optimizer.setLearningRate(schedule.at(step));
                try (Scope scope = Scope.open();
                        Batch data = corpus.batch(batch, context, random)) {
                    Tensor loss = model.loss(data.inputs().to(where), data.targets().to(where));
                    Autograd.backward(loss);
                    Optimizers.NormAndScale norm = Clip.norm(model.parameters(), 1.0);
                    optimizer.step(norm.scale());
                    optimizer.zeroGrad();
                    if (step % 20 == 19) {
                        double value = loss.item();
                        double rate = (step + 1.0) * batch * context / ((System.nanoTime() - begin) * 1e-9);
                        run.add("loss, training", step + 1L, value);
                        run.add("tokens/s", step + 1L, rate);
                        bar.setExtraMessage(String.format(Locale.ROOT, " loss %.3f, %,.0f tokens/s", value, rate));
                    }
                }
                bar.step();
            }
        }
        double seconds = (System.nanoTime() - begin) * 1e-9;
        double loss = heldOutLoss(model, corpus, where, 64);
        run.add("loss, held out", steps, loss);
        System.out.printf(
                Locale.ROOT,
                "%d steps in %.1f s (%.1f ms each, %,.0f tokens/s); held-out loss %.3f nats per character%n",
                steps,
                seconds,
                seconds / steps * 1e3,
                (double) steps * batch * context / seconds,
                loss);
    }

    private double heldOutLoss(Gpt model, Corpus corpus, Device where, int batches) {
        double sum = 0;
        for (int i = 0; i < batches; i++) {
            try (Scope scope = Scope.open();
                    Autograd.Mode mode = Autograd.inference();
                    Batch data = corpus.heldOut(batch, context, i, batches)) {
                sum += model.loss(data.inputs().to(where), data.targets().to(where)).item();
            }
        }
        return sum / batches;
    }

    private String generate(Gpt model, Corpus corpus, RandomGenerator random, Device where) {
        StringBuilder text = new StringBuilder("    public static ");
        while (text.length() < sample) {
            int from = Math.max(0, text.length() - context);
            long[] ids = text.substring(from).codePoints().mapToLong(corpus::encode).toArray();
            try (Scope scope = Scope.open();
                    Autograd.Mode mode = Autograd.inference()) {
                Tensor scores = model.forward(Tensor.of(ids, 1, ids.length).to(where));
                float[] p = scores.select(1, ids.length - 1)
                        .reshape(-1)
                        .div(0.8)
                        .softmax(0)
                        .to(Device.CPU)
                        .toFloatArray();
                text.append(corpus.decode(pick(p, random.nextFloat())));
            }
        }
        return text.toString();
    }

    private static int pick(float[] probabilities, float u) {
        float rest = u;
        for (int i = 0; i < probabilities.length; i++) {
            rest -= probabilities[i];
            if (rest < 0) {
                return i;
            }
        }
        return probabilities.length - 1;
    }
}
