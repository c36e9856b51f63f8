// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.optim.Clip;
import dev.merapi.optim.Ema;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.Schedule;
import dev.merapi.random.Generator;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * The loop around a training step: batches, learning rate, clipping, metrics, evaluation, checkpoints, and an end in time. It
 * does nothing that a loop of your own could not do with the same classes; {@link #run} shows how.
 *
 * <pre>{@code
 * try (StopSignal stop = StopSignal.listen()) {
 *     Trainer.Report report = Trainer.of(optimizer, (Labelled b) -> Losses.crossEntropy(model.forward(b.inputs()), b.targets()))
 *             .part("model", model)
 *             .steps(4000)
 *             .schedule(Schedule.warmupCosine(1e-3, 1e-4, 100, 4000))
 *             .clipNorm(model.parameters(), 1)
 *             .evaluate(500, () -> Map.of("test_loss", testLoss(model)))
 *             .watch("test_loss")
 *             .earlyStop(3)
 *             .checkpoints(Checkpoints.in(run.file("checkpoints")).keepBest(1, "test_loss"), 500)
 *             .stop(stop)
 *             .run(loader);
 * }
 * }</pre>
 *
 * <p>A run that finds checkpoints goes on from the latest, bit for bit as if it had never ended; so all that the loss depends on
 * must be a {@link #part}. The optimiser, the scaler, the loader and the process's {@link Generator} are parts by themselves.
 *
 * <p>For one thread at a time.
 *
 * @param <B> a batch
 */
public final class Trainer<B> {
    private static final String LOSS = "loss";
    private static final List<String> OWN_PARTS =
            List.of("optimizer", "loader", "generator", "trainer", "scaler", "ema");

    private final Optimizer optimizer;
    private final Loss<B> loss;
    private final Map<String, Stateful> parts = new LinkedHashMap<>();
    private final Progress progress = new Progress();
    private final List<Watcher> onStep = new ArrayList<>();
    private final List<Watcher> onEvaluation = new ArrayList<>();
    private long steps = 1000;
    private int accumulate = 1;
    private @Nullable Schedule schedule;
    private @Nullable GradScaler scaler;
    private @Nullable Ema ema;
    private List<? extends Trainable> clipped = List.of();
    private double clipNorm;
    private long evaluateEvery;
    private Supplier<Map<String, Double>> evaluation = Map::of;
    private @Nullable Checkpoints checkpoints;
    private long checkpointEvery;
    private long checkpointNanos = Long.MAX_VALUE;
    private final Set<String> complaints = new HashSet<>();
    private @Nullable Metrics metrics;
    private @Nullable StopSignal stop;
    private String watched = LOSS;
    private int patience;
    private @Nullable Device captureOn;
    private @Nullable B buffers;
    private BiConsumer<B, B> copy = (to, from) -> {};

    /**
     * The loss of a batch, 0-d.
     *
     * @param <B> a batch
     */
    @FunctionalInterface
    public interface Loss<B> {
        /**
         * Forward.
         *
         * @param batch from the loader
         * @return the loss, 0-d, with a graph
         */
        Tensor of(B batch);
    }

    /** Sees numbers as they come. */
    @FunctionalInterface
    public interface Watcher {
        /**
         * After a step, or an evaluation.
         *
         * @param step how many steps have been taken
         * @param values by name
         */
        void see(long step, Map<String, Double> values);
    }

    /** Why a run ended. */
    public enum End {
        /** All steps were taken. */
        DONE,
        /** The watched metric did not improve any more. */
        EARLY,
        /** The process was asked to end; a checkpoint is there if checkpoints were asked for. */
        STOPPED
    }

    /**
     * What a run did.
     *
     * @param first how many steps had been taken before it
     * @param steps how many have been taken now
     * @param end why it ended
     */
    public record Report(long first, long steps, End end) {}

    /** What early stopping remembers. */
    private static final class Progress implements Stateful {
        double best = Double.POSITIVE_INFINITY;
        long since;

        @Override
        public StateDict stateDict() {
            return new StateDict().put("best", best).put("since", since);
        }

        @Override
        public void loadStateDict(StateDict state) {
            state.requireNames("trainer", Set.of("best", "since"));
            best = state.get("best", Double.class);
            since = state.get("since", Long.class);
        }
    }

    private Trainer(Optimizer optimizer, Loss<B> loss) {
        this.optimizer = optimizer;
        this.loss = loss;
    }

    /**
     * A trainer of 1000 steps.
     *
     * @param <B> a batch
     * @param optimizer updates the parameters
     * @param loss of a batch
     * @return the trainer
     */
    public static <B> Trainer<B> of(Optimizer optimizer, Loss<B> loss) {
        return new Trainer<>(Objects.requireNonNull(optimizer, "optimizer"), Objects.requireNonNull(loss, "loss"));
    }

    // ---------------------------------------------------------------- options; each returns this

    /**
     * Something that the loss depends on, to be saved and restored under a name: the model, mostly.
     *
     * @param name without dots
     * @param part what has a state
     * @return this
     */
    public Trainer<B> part(String name, Stateful part) {
        if (OWN_PARTS.contains(Objects.requireNonNull(name, "name"))) {
            throw new IllegalArgumentException("trainer.part: '" + name + "' is a part by itself, as are " + OWN_PARTS);
        }
        parts.put(name, Objects.requireNonNull(part, "part"));
        return this;
    }

    /**
     * How many steps are taken in all, with those of runs before this one.
     *
     * @param count 0 or more
     * @return this
     */
    public Trainer<B> steps(long count) {
        steps = notNegative("steps", "count", count);
        return this;
    }

    /**
     * Batches a step; their gradients are averaged.
     *
     * @param batches at least 1
     * @return this
     */
    public Trainer<B> accumulate(int batches) {
        if (batches < 1) {
            throw new IllegalArgumentException("trainer: cannot accumulate " + batches + " batches");
        }
        accumulate = batches;
        return this;
    }

    /**
     * The learning rate of each step; without it that of the optimiser stays.
     *
     * @param rates by step, from 0 on
     * @return this
     */
    public Trainer<B> schedule(Schedule rates) {
        schedule = rates;
        return this;
    }

    /**
     * Scales the loss of float16, and leaves out steps whose gradients overflow.
     *
     * @param gradScaler of the caller, who closes it
     * @return this
     */
    public Trainer<B> scaler(GradScaler gradScaler) {
        scaler = gradScaler;
        return this;
    }

    /**
     * Averages the parameters after each step; evaluations see the averages. It is a part by itself.
     *
     * @param averages of the caller, who closes it
     * @return this
     */
    public Trainer<B> ema(Ema averages) {
        ema = averages;
        return this;
    }

    /**
     * Scales the gradients down to this norm, all together, where it is larger; it is recorded as {@code gradient_norm}.
     *
     * @param parameters whose gradients are meant
     * @param most the norm, not negative
     * @return this
     */
    public Trainer<B> clipNorm(List<? extends Trainable> parameters, double most) {
        clipped = List.copyOf(Objects.requireNonNull(parameters, "parameters"));
        clipNorm = most;
        return this;
    }

    /**
     * Metrics of held-out data, after every so many steps and after the last. The model's mode is the caller's to set. If this
     * throws, a checkpoint is saved before the run ends by it.
     *
     * @param every steps; 0 for never
     * @param values makes them, by name
     * @return this
     */
    public Trainer<B> evaluate(long every, Supplier<Map<String, Double>> values) {
        evaluateEvery = notNegative("evaluate", "every", every);
        evaluation = Objects.requireNonNull(values, "values");
        return this;
    }

    /**
     * Saves a checkpoint after every so many steps, at each best evaluation, and at the end.
     *
     * @param where the folder of them
     * @param every steps; 0 for none of these
     * @return this
     */
    public Trainer<B> checkpoints(Checkpoints where, long every) {
        checkpoints = Objects.requireNonNull(where, "where");
        checkpointEvery = notNegative("checkpoints", "every", every);
        return this;
    }

    /**
     * Saves a checkpoint after so much time as well, at the end of the step.
     *
     * @param time since the one before
     * @return this
     */
    public Trainer<B> checkpointEvery(Duration time) {
        checkpointNanos = notNegative(
                "checkpointEvery", "time", Objects.requireNonNull(time, "time").toNanos());
        return this;
    }

    /**
     * Where numbers go: {@code loss}, {@code learning_rate}, {@code gradient_norm} and those of the evaluation.
     *
     * @param into has a column for each of them
     * @return this
     */
    public Trainer<B> metrics(Metrics into) {
        metrics = into;
        return this;
    }

    /**
     * Ends after the step in which the process was asked to end.
     *
     * @param signal says whether it was
     * @return this
     */
    public Trainer<B> stop(StopSignal signal) {
        stop = signal;
        return this;
    }

    /**
     * The metric of evaluations that says which is the best: the one with the lowest value, which is saved.
     *
     * @param metric its name
     * @return this
     */
    public Trainer<B> watch(String metric) {
        watched = Objects.requireNonNull(metric, "metric");
        return this;
    }

    /**
     * Ends when so many evaluations in a row were no better than the best before them; see {@link #watch}.
     *
     * @param evaluations 0 for never
     * @return this
     */
    public Trainer<B> earlyStop(int evaluations) {
        patience = (int) notNegative("earlyStop", "evaluations", evaluations);
        return this;
    }

    /**
     * Captures the step on devices that can, and repeats it (see {@link CudaGraph}).
     *
     * @param device that all work is on
     * @param inputs tensors that each batch is copied into
     * @param copyInto copies the second batch into the first
     * @return this
     */
    public Trainer<B> capture(Device device, B inputs, BiConsumer<B, B> copyInto) {
        captureOn = device;
        buffers = inputs;
        copy = copyInto;
        return this;
    }

    /**
     * Sees the numbers of each step. An exception of the watcher's is logged, and the run goes on.
     *
     * @param watcher called after it, on this thread
     * @return this
     */
    public Trainer<B> onStep(Watcher watcher) {
        onStep.add(watcher);
        return this;
    }

    /**
     * Sees the numbers of each evaluation. An exception of the watcher's is logged, and the run goes on.
     *
     * @param watcher called after it, on this thread
     * @return this
     */
    public Trainer<B> onEvaluation(Watcher watcher) {
        onEvaluation.add(watcher);
        return this;
    }

    private static long notNegative(String method, String argument, long value) {
        if (value < 0) {
            throw new IllegalArgumentException(
                    "trainer." + method + ": " + argument + " is " + value + ", but may not be negative");
        }
        return value;
    }

    // ---------------------------------------------------------------- the loop

    /**
     * Trains, from the latest checkpoint on if there is one.
     *
     * <p>A step whose loss or gradients are NaN or infinite changes nothing and ends the run. Metrics that cannot be written and
     * checkpoints that the disk refuses are logged, and tried again later; only the last checkpoint has to succeed.
     *
     * @param loader gives batches, epoch after epoch
     * @return what was done
     * @throws IllegalStateException if a captured step is to accumulate batches
     * @throws ArithmeticException if a loss, a norm of gradients or a parameter is NaN or infinite, naming the first tensor that is,
     *     and the checkpoint before it
     * @throws IOException if the last checkpoint cannot be written
     */
    public Report run(DataLoader<B> loader) throws IOException {
        Objects.requireNonNull(loader, "loader");
        if (captureOn != null && accumulate > 1) {
            throw new IllegalStateException("trainer: a captured step has one batch, but accumulate asks for "
                    + accumulate + "\n  fix: leave one of both out.");
        }
        Map<String, Stateful> all = new LinkedHashMap<>(parts);
        all.put("optimizer", optimizer);
        all.put("loader", loader);
        all.put("generator", Generator.global());
        all.put("trainer", progress);
        if (scaler != null) {
            all.put("scaler", scaler);
        }
        if (ema != null) {
            all.put("ema", ema);
        }
        Optional<Checkpoints.Saved> from = checkpoints == null ? Optional.empty() : checkpoints.latest();
        long first = from.isPresent() ? from.get().restore(all) : 0;
        Map<String, Double> evaluated = from.map(Checkpoints.Saved::metrics).orElse(Map.of());
        Batches<B> batches = new Batches<>(loader);
        End end = patience > 0 && progress.since >= patience ? End.EARLY : End.DONE;
        long saved = first;
        long savedAt = System.nanoTime();
        long done = first;
        try (CudaGraph<List<Tensor>> graph = captureOn == null
                ? null
                : CudaGraph.of(captureOn, () -> step(List.of(Objects.requireNonNull(buffers)), true))) {
            while (done < steps && end == End.DONE) {
                if (schedule != null) {
                    optimizer.setLearningRate(schedule.at(done));
                }
                Map<String, Double> values = new LinkedHashMap<>();
                try (Scope scope = Scope.open()) {
                    List<B> batch = batches.next(accumulate);
                    if (graph != null) {
                        copy.accept(Objects.requireNonNull(buffers), batch.get(0));
                    }
                    List<Tensor> out = graph == null ? step(batch, false) : graph.run();
                    values.put(LOSS, out.get(0).item());
                    values.put("learning_rate", optimizer.learningRate());
                    if (out.size() > 1) {
                        values.put("gradient_norm", out.get(1).item());
                    }
                    requireFinite(done, values, batch, graph != null, from);
                    optimizer.zeroGrad();
                }
                done++;
                boolean better = false;
                if (evaluateEvery > 0 && (done % evaluateEvery == 0 || done == steps)) {
                    try (Ema.Applied averaged = ema == null ? null : ema.apply()) {
                        evaluated = evaluation.get();
                    } catch (RuntimeException | Error e) {
                        if (checkpoints != null) {
                            save(checkpoints, done, all, Map.of(), from); // a metric costs no weights
                        }
                        throw e;
                    }
                    values.putAll(evaluated);
                    better = improves(evaluated);
                    end = patience > 0 && progress.since >= patience ? End.EARLY : End.DONE;
                    tell(onEvaluation, done, evaluated);
                }
                if (metrics != null) {
                    Metrics into = metrics;
                    tell(List.of((step, row) -> into.record(step - 1, row)), done, values);
                }
                tell(onStep, done, values);
                if (stop != null && stop.isRequested() && done < steps) {
                    end = End.STOPPED;
                }
                boolean last = done == steps || end != End.DONE;
                boolean due = last
                        || better
                        || checkpointEvery > 0 && done % checkpointEvery == 0
                        || System.nanoTime() - savedAt >= checkpointNanos;
                if (checkpoints != null && due && saved != done) {
                    try {
                        from = Optional.of(save(checkpoints, done, all, evaluated, from));
                        saved = done;
                        savedAt = System.nanoTime();
                    } catch (IOException e) {
                        if (last) {
                            throw e;
                        }
                        complain("checkpoint of step " + done, e);
                    }
                }
            }
        }
        return new Report(first, done, end);
    }

    private Checkpoints.Saved save(
            Checkpoints to,
            long done,
            Map<String, Stateful> all,
            Map<String, Double> evaluated,
            Optional<Checkpoints.Saved> from)
            throws IOException {
        String bad;
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            bad = NotFinite.parameter(parts); // without clipping nothing else looks at gradients
        }
        if (bad != null) {
            throw notFinite("after step " + (done - 1) + " the model is broken", bad, from);
        }
        if (metrics != null) {
            try {
                metrics.flush(); // first: a checkpoint's rows are there if it is
            } catch (IOException e) {
                complain("metrics", e);
            }
        }
        return to.save(done, all, evaluated);
    }

    /**
     * One step; returns the loss and, where it is clipped, the norm of the gradients, both still on the device. Gradients stay
     * unless they are to be dropped.
     */
    private List<Tensor> step(List<B> batches, boolean drop) {
        List<Tensor> out = new ArrayList<>();
        out.add(backward(batches));
        GradScaler scaled = scaler != null && scaler.isEnabled() ? scaler : null;
        if (scaled != null) {
            scaled.unscale_(optimizer);
        }
        Tensor scale = null;
        if (!clipped.isEmpty()) {
            var norm = Clip.norm(clipped, clipNorm);
            out.add(norm.norm());
            scale = norm.scale();
        }
        if (scaled != null) {
            scaled.step(optimizer, scale); // leaves out what is not finite by itself
            scaled.update();
        } else {
            optimizer.step(scale, notFinite(out));
        }
        if (ema != null) {
            ema.update();
        }
        if (drop) {
            optimizer.zeroGrad();
        }
        return out;
    }

    /** Forward and backward; returns the loss. */
    private Tensor backward(List<B> batches) {
        Tensor sum = null;
        for (B batch : batches) {
            Tensor l = loss.of(batch);
            Tensor part = batches.size() == 1 ? l : l.div(batches.size());
            Autograd.backward(scaler == null ? part : scaler.scale(part));
            sum = sum == null ? part.detach() : sum.add(part.detach());
        }
        return Objects.requireNonNull(sum);
    }

    /** 0-d float32: 1 if one of these is NaN or infinite, else 0; without waiting for the device. */
    private static Tensor notFinite(List<Tensor> numbers) {
        Tensor sum = numbers.get(0).to(DType.FLOAT64);
        for (Tensor t : numbers.subList(1, numbers.size())) {
            sum = sum.add(t.to(sum.device()));
        }
        return sum.sub(sum).ne(0).to(DType.FLOAT32);
    }

    private boolean improves(Map<String, Double> values) {
        Double value = values.get(watched);
        if (value == null) {
            return false;
        }
        boolean better = value < progress.best;
        progress.best = better ? value : progress.best;
        progress.since = better ? 0 : progress.since + 1;
        return better;
    }

    private void requireFinite(
            long step, Map<String, Double> values, List<B> batches, boolean dropped, Optional<Checkpoints.Saved> from) {
        double loss = Objects.requireNonNull(values.get(LOSS));
        double norm = values.getOrDefault("gradient_norm", 0.0);
        boolean scaled = scaler != null && scaler.isEnabled();
        if (Double.isFinite(loss) && (scaled || Double.isFinite(norm))) {
            return;
        }
        if (dropped && Double.isFinite(loss)) {
            backward(batches); // nothing has changed: the gradients are those of the step
        }
        String what = Double.isFinite(loss)
                ? "the norm of the gradients of step " + step + " is " + norm
                : "the loss of step " + step + " is " + loss;
        String first = NotFinite.first(batches, parts, !Double.isFinite(loss));
        optimizer.zeroGrad();
        throw notFinite(what + " (" + values + ")", first, from);
    }

    private static ArithmeticException notFinite(String what, String first, Optional<Checkpoints.Saved> from) {
        return new ArithmeticException("trainer: " + what
                + "\n  first of all: " + first
                + "\n  last good checkpoint: "
                + from.map(Checkpoints.Saved::toString).orElse("none")
                + "\n  fix: a lower learning rate, clipNorm, or Autograd.anomaly(), which names the op.");
    }

    private void tell(List<Watcher> watchers, long step, Map<String, Double> values) {
        for (Watcher w : watchers) {
            try {
                w.see(step, values);
            } catch (RuntimeException e) {
                complain("watcher", e);
            }
        }
    }

    /** Once for each kind: a disk that is full is so at every step. */
    private void complain(String what, Exception e) {
        if (complaints.add(what.replaceAll("\\d+", "") + e.getClass())) {
            LoggerFactory.getLogger("dev.merapi").warn("trainer: {} failed; the run goes on", what, e);
        }
    }
}
