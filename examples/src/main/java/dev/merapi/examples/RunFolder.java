// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** {@code runs/<name>/}: metrics as CSV while the run goes on, and a plot of them at its end. */
final class RunFolder implements AutoCloseable {
    private final Path folder;
    private final BufferedWriter csv;
    private final Map<String, List<double[]>> series = new LinkedHashMap<>();

    RunFolder(Path folder) {
        this.folder = folder;
        try {
            Files.createDirectories(folder);
            csv = Files.newBufferedWriter(folder.resolve("metrics.csv"));
            csv.write("step,metric,value\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A folder named by the program and the time. */
    static RunFolder named(String program) {
        String time = LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss", Locale.ROOT));
        return new RunFolder(Path.of("runs", program + "-" + time));
    }

    Path path() {
        return folder;
    }

    /** Adds a point to a metric. */
    void add(String metric, long step, double value) {
        try {
            csv.write(step + "," + metric + "," + value + "\n");
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        series.computeIfAbsent(metric, k -> new ArrayList<>()).add(new double[] {step, value});
    }

    /** Writes {@code loss.png} with the metrics whose names begin with {@code loss}. */
    void plot(String title) {
        XYChart chart = new XYChartBuilder()
                .width(900)
                .height(540)
                .title(title)
                .xAxisTitle("step")
                .yAxisTitle("loss")
                .build();
        series.forEach((name, points) -> {
            if (name.startsWith("loss")) {
                double[] x = points.stream().mapToDouble(p -> p[0]).toArray();
                double[] y = points.stream().mapToDouble(p -> p[1]).toArray();
                chart.addSeries(name, x, y).setMarker(SeriesMarkers.NONE);
            }
        });
        try {
            BitmapEncoder.saveBitmap(chart, folder.resolve("loss.png").toString(), BitmapEncoder.BitmapFormat.PNG);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        try {
            csv.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
