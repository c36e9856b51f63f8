// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.error.Message;
import dev.merapi.error.StateDictException;
import dev.merapi.io.AtomicFile;
import dev.merapi.io.FormatException;
import dev.merapi.io.Safetensors;
import dev.merapi.io.SafetensorsFile;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The checkpoints of a run: everything that the next step depends on, so that a run which was killed goes on as if nothing
 * had happened.
 *
 * <pre>{@code
 * Checkpoints checkpoints = Checkpoints.in(run.file("checkpoints")).keepLast(2).keepBest(1, "loss");
 * Map<String, Stateful> parts = Map.of("model", model, "optimizer", optimizer, "loader", loader);
 * long step = checkpoints.latest().map(saved -> saved.restore(parts)).orElse(0L);
 * …
 * checkpoints.save(step, parts, Map.of("loss", loss));
 * }</pre>
 *
 * <p>A checkpoint is one safetensors file, {@code step-000000500.safetensors}, with the states of all parts by name. It
 * gets its name in one step when all of it is on the disk (see {@link AtomicFile}); so whatever has a name is whole, the
 * one of the highest step is the latest, and no second file has to say so. A folder has one history: a checkpoint of an
 * earlier step, saved after the run went back to it, takes the place of those that came after. Older ones are removed
 * when the new one is safe. For one process at a time: {@link RunDirectory} sees to that.
 */
public final class Checkpoints {
    private static final Pattern NAME = Pattern.compile("step-(\\d{9,})\\.safetensors");
    private static final String STEP = "checkpoint.step";
    private static final String METRIC = "checkpoint.metric.";

    private final Path folder;
    private int last = 2;
    private int best;
    private String metric = "";

    private Checkpoints(Path folder) {
        this.folder = folder;
    }

    /**
     * Checkpoints in a folder, which is made when the first one is saved.
     *
     * @param folder theirs alone
     * @return the checkpoints, of which the last two are kept
     */
    public static Checkpoints in(Path folder) {
        return new Checkpoints(Objects.requireNonNull(folder, "folder"));
    }

    /**
     * How many of the latest are kept.
     *
     * @param count at least 1
     * @return this
     */
    public Checkpoints keepLast(int count) {
        if (count < 1) {
            throw new IllegalArgumentException("checkpoints: cannot keep the last " + count + "; at least 1 is needed");
        }
        last = count;
        return this;
    }

    /**
     * How many of those with the lowest value of a metric are kept beside the latest.
     *
     * @param count 0 for none
     * @param lowest the metric's name, as given to {@link #save}; checkpoints without it are none of the best
     * @return this
     */
    public Checkpoints keepBest(int count, String lowest) {
        if (count < 0) {
            throw new IllegalArgumentException("checkpoints: cannot keep the best " + count);
        }
        best = count;
        metric = Objects.requireNonNull(lowest, "lowest");
        return this;
    }

    /** A checkpoint on the disk. */
    public static final class Saved {
        private final Path file;
        private final long step;
        private final Map<String, Double> metrics;

        private Saved(Path file, long step, Map<String, Double> metrics) {
            this.file = file;
            this.step = step;
            this.metrics = metrics;
        }

        /** {@return the file} */
        public Path file() {
            return file;
        }

        /** {@return how many steps had been taken} */
        public long step() {
            return step;
        }

        /** {@return the metrics that were given with it} */
        public Map<String, Double> metrics() {
            return metrics;
        }

        /**
         * One of the parts, such as the model alone: {@code model.loadStateDict(saved.part("model"))}.
         *
         * @param name as it was saved under
         * @return its state; tensors belong to the scope that is open
         * @throws StateDictException if there is no such part
         */
        public StateDict part(String name) throws IOException {
            StateDict part = Safetensors.loadState(file).under(name);
            if (part.names().isEmpty()) {
                throw new StateDictException(Message.of("checkpoint " + file + ": there is no part '" + name + "'"));
            }
            return part;
        }

        /**
         * Brings the parts to where they were.
         *
         * @param parts by the names that they were saved under; all of them
         * @return the number of steps that had been taken
         * @throws StateDictException if a part is missing in the file or not given, or a state does not fit its part, which
         *     the message names. Parts before that one have been restored then
         * @throws java.io.UncheckedIOException if the file cannot be read
         */
        public long restore(Map<String, ? extends Stateful> parts) {
            Objects.requireNonNull(parts, "parts");
            try (Scope scope = Scope.open()) {
                StateDict state = Safetensors.loadState(file);
                Set<String> there = new HashSet<>();
                state.names().forEach(name -> there.add(name.substring(0, Math.max(0, name.indexOf('.')))));
                there.remove("checkpoint");
                Set<String> unknown = new HashSet<>(there);
                unknown.removeAll(parts.keySet());
                if (!unknown.isEmpty()) {
                    throw new StateDictException(Message.of("checkpoint " + file + ": has parts that are not asked for")
                            .fact("in the file", there)
                            .fact("asked for", parts.keySet())
                            .fix("give all parts that were saved."));
                }
                for (Map.Entry<String, ? extends Stateful> part : parts.entrySet()) {
                    try {
                        part.getValue().loadStateDict(state.under(part.getKey()));
                    } catch (StateDictException e) {
                        throw new StateDictException(
                                Message.of("checkpoint " + file + ", part '" + part.getKey() + "': " + e.getMessage()));
                    }
                }
                return step;
            } catch (IOException e) {
                throw new java.io.UncheckedIOException("checkpoint " + file + ": " + e.getMessage(), e);
            }
        }

        @Override
        public String toString() {
            return "step " + step + " " + metrics + " in " + file;
        }
    }

    /**
     * Saves a checkpoint, and then removes those that are not to be kept. When this returns, it is on the disk.
     *
     * @param step how many steps have been taken; at least 0
     * @param parts everything that the next step depends on: model, optimiser, scaler, loader, generator, …; names without
     *     dots
     * @param metrics numbers to find it by
     * @return the checkpoint
     * @throws IOException if the disk refuses; those before are all there then
     */
    public Saved save(long step, Map<String, ? extends Stateful> parts, Map<String, Double> metrics)
            throws IOException {
        Objects.requireNonNull(parts, "parts");
        Objects.requireNonNull(metrics, "metrics");
        if (step < 0) {
            throw new IllegalArgumentException("checkpoints: step " + step + " is negative");
        }
        StateDict state = new StateDict().put(STEP, step);
        metrics.forEach((name, value) -> state.put(METRIC + name, value));
        for (Map.Entry<String, ? extends Stateful> part : new TreeMap<>(parts).entrySet()) {
            String name = part.getKey();
            if (name.isEmpty() || name.contains(".") || name.equals("checkpoint")) {
                throw new IllegalArgumentException("checkpoints: a part cannot be named '" + name + "'");
            }
            state.put(name, part.getValue().stateDict());
        }
        Files.createDirectories(folder);
        AtomicFile.removeDrafts(folder);
        Path file = folder.resolve(String.format("step-%09d.safetensors", step));
        Safetensors.save(file, state);
        Saved saved = new Saved(file, step, new LinkedHashMap<>(metrics));
        removeOthers(step);
        return saved;
    }

    private void removeOthers(long step) throws IOException {
        List<Saved> all = all();
        Set<Path> kept = new HashSet<>();
        List<Saved> past = all.stream().filter(s -> s.step <= step).toList();
        past.subList(Math.max(0, past.size() - last), past.size()).forEach(s -> kept.add(s.file));
        past.stream()
                .filter(s -> s.metrics.containsKey(metric))
                .sorted(Comparator.comparingDouble(s -> s.metrics.get(metric)))
                .limit(best)
                .forEach(s -> kept.add(s.file));
        for (Saved s : all) {
            if (!kept.contains(s.file)) {
                Files.deleteIfExists(s.file);
            }
        }
    }

    /** {@return the checkpoint of the highest step, if there is one} */
    public Optional<Saved> latest() throws IOException {
        List<Saved> all = all();
        return all.isEmpty() ? Optional.empty() : Optional.of(all.get(all.size() - 1));
    }

    /** {@return the checkpoint with the lowest value of the metric that {@link #keepBest} named, if there is one} */
    public Optional<Saved> best() throws IOException {
        return all().stream()
                .filter(s -> s.metrics.containsKey(metric))
                .min(Comparator.comparingDouble(s -> s.metrics.get(metric)));
    }

    /** {@return all checkpoints, by step} */
    public List<Saved> all() throws IOException {
        List<Saved> found = new ArrayList<>();
        if (!Files.isDirectory(folder)) {
            return found;
        }
        try (DirectoryStream<Path> files = Files.newDirectoryStream(folder)) {
            for (Path file : files) {
                Matcher name = NAME.matcher(String.valueOf(file.getFileName()));
                if (name.matches()) {
                    found.add(read(file, Long.parseLong(name.group(1))));
                }
            }
        }
        found.sort(Comparator.comparingLong(Saved::step));
        return found;
    }

    private static Saved read(Path file, long step) throws IOException {
        Map<String, Double> metrics = new LinkedHashMap<>();
        try (SafetensorsFile open = SafetensorsFile.open(file)) {
            String prefix = "state." + METRIC;
            open.metadata().forEach((name, text) -> {
                if (name.startsWith(prefix)) {
                    metrics.put(name.substring(prefix.length()), Double.parseDouble(text));
                }
            });
        } catch (FormatException e) {
            throw new IOException(
                    "checkpoint " + file + " is damaged, though it was whole when it got its name: " + e.getMessage()
                            + "\n  fix: remove it; the run then goes on from the one before.",
                    e);
        }
        return new Saved(file, step, metrics);
    }
}
