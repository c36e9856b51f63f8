// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.ConfusionMatrix;
import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import dev.merapi.train.TensorBoard;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * What a run leaves besides its weights: {@code metrics.csv} and {@code throughput.csv}, events for TensorBoard, plots, and a page
 * that has all of it. None of that can end a run: what fails is said, once.
 */
final class RunRecord implements AutoCloseable {
    private static final String METRICS = "metrics.csv";
    private static final String SPEED = "throughput";
    private static final int SPEEDS = 200;

    private final RunDirectory run;
    private final Metrics metrics;
    private final @Nullable Metrics speeds;
    private final @Nullable TensorBoard board;
    private boolean failed;

    private RunRecord(RunDirectory run, Metrics metrics, @Nullable Metrics speeds, @Nullable TensorBoard board) {
        this.run = run;
        this.metrics = metrics;
        this.speeds = speeds;
        this.board = board;
    }

    /** Begins, or goes on from a step of a checkpoint. */
    static RunRecord open(RunDirectory run, long first, String... columns) throws IOException {
        Metrics metrics = first == 0
                ? Metrics.create(run.file(METRICS), columns)
                : Metrics.resume(run.file(METRICS), first, columns);
        Metrics speeds = null;
        TensorBoard board = null;
        try {
            speeds = first == 0 || !Files.exists(run.file(SPEED + ".csv"))
                    ? Metrics.create(run.file(SPEED + ".csv"), SPEED)
                    : Metrics.resume(run.file(SPEED + ".csv"), first, SPEED);
            board = first == 0 ? TensorBoard.create(run.file("events")) : TensorBoard.resume(run.file("events"), first);
        } catch (IOException e) {
            System.out.println("no record of throughput and events: " + e);
        }
        return new RunRecord(run, metrics, speeds, board);
    }

    Metrics metrics() {
        return metrics;
    }

    /** After each step. */
    void step(long step, long steps, Map<String, Double> values, double speed) {
        attempt(() -> {
            if (speeds != null && step % Math.max(1, steps / SPEEDS) == 0 && Double.isFinite(speed)) {
                speeds.record(step - 1, Map.of(SPEED, speed));
            }
            if (board != null) {
                board.scalars(step, values);
            }
        });
    }

    /** After a test: how the weights are distributed. */
    void weights(long step, Block model) {
        attempt(() -> {
            if (board != null) {
                for (Map.Entry<String, Parameter> p : model.namedParameters().entrySet()) {
                    String tag = p.getKey().replace('.', '/');
                    board.histogram(tag, step, p.getValue().tensor().detach());
                }
            }
        });
    }

    /** What a model wrote. */
    void text(long step, String text) {
        attempt(() -> {
            if (board != null) {
                board.text("sample", step, "```\n" + text + "\n```");
            }
        });
    }

    /**
     * Plots, and the page with them.
     *
     * @param test the column of the test loss
     * @param unit of what goes through in a second
     * @param classes names of the classes of the matrix, or none
     */
    void finish(
            String title,
            String test,
            String unit,
            List<String> classes,
            @Nullable ConfusionMatrix confusion,
            String text) {
        Map<String, byte[]> plots = new LinkedHashMap<>();
        attempt(() -> {
            metrics.flush();
            plot(
                    plots,
                    "loss",
                    Plots.lines(
                            title,
                            new Plots.Curve("training", metrics.series("loss"), false),
                            new Plots.Curve("held out", metrics.series(test), true)));
            plot(
                    plots,
                    "learning_rate",
                    Plots.lines(
                            "learning rate", new Plots.Curve("learning rate", metrics.series("learning_rate"), false)));
            if (speeds != null) {
                plot(
                        plots,
                        SPEED,
                        Plots.lines(unit + " a second", new Plots.Curve(SPEED, speeds.series(SPEED), false)));
            }
            if (confusion != null) {
                long[][] counts = confusion.counts();
                plot(plots, "confusion", Plots.confusion("what was taken for what", classes, counts));
                if (board != null) {
                    board.image("confusion", metrics.series("loss").values().size(), shares(counts));
                }
            }
        });
        attempt(() -> ReportPage.write(run, title, metrics, plots, text));
    }

    private void plot(Map<String, byte[]> plots, String name, byte @Nullable [] png) throws IOException {
        if (png != null) {
            plots.put(name, png);
            Files.write(run.file(name + ".png"), png);
        }
    }

    private static Tensor shares(long[][] counts) {
        List<Double> all = new ArrayList<>();
        for (long[] row : counts) {
            double sum = Math.max(1, java.util.Arrays.stream(row).sum());
            for (long count : row) {
                all.add(1 - count / sum);
            }
        }
        double[] values = IntStream.range(0, all.size()).mapToDouble(all::get).toArray();
        return Tensor.of(values, counts.length, counts.length);
    }

    /** What may fail. */
    private interface Attempt {
        void run() throws IOException;
    }

    private void attempt(Attempt attempt) {
        try {
            attempt.run();
        } catch (IOException | RuntimeException | LinkageError | InternalError e) {
            // A full disk, a Java that cannot draw, a machine without fonts: no reason to lose what was learned.
            if (!failed) {
                System.out.println("not all of the run's record could be written: " + e);
            }
            failed = true;
        }
    }

    @Override
    public void close() {
        attempt(() -> {
            if (board != null) {
                board.close();
            }
        });
        attempt(() -> {
            if (speeds != null) {
                speeds.close();
            }
        });
        attempt(metrics::close);
    }
}
