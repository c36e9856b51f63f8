// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.train.Metrics;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws what a run has recorded into a PNG. */
final class LossPlot {
    private LossPlot() {}

    /** The training loss as a mean over neighbouring steps, and the held-out loss as it was measured. */
    static void save(Path png, String title, Metrics.Series training, Metrics.Series heldOut) throws IOException {
        try {
            Files.write(png, draw(title, training, heldOut));
        } catch (LinkageError | InternalError e) {
            // A runtime without java.desktop, or a machine without fonts: no reason to lose what was learned.
            System.out.println(
                    "no plot, for this Java cannot draw: " + e.getMessage() + "; metrics.csv has its figures");
        }
    }

    private static byte[] draw(String title, Metrics.Series training, Metrics.Series heldOut) throws IOException {
        XYChart chart = new XYChartBuilder()
                .width(1000)
                .height(600)
                .title(title)
                .xAxisTitle("step")
                .yAxisTitle("loss")
                .build();
        add(chart, "training", smooth(training), false);
        add(chart, "held out", heldOut, true);
        return BitmapEncoder.getBitmapBytes(chart, BitmapEncoder.BitmapFormat.PNG);
    }

    private static void add(XYChart chart, String name, Metrics.Series s, boolean marked) {
        if (!s.values().isEmpty()) {
            chart.addSeries(name, s.steps(), s.values()).setMarker(marked ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
        }
    }

    private static Metrics.Series smooth(Metrics.Series s) {
        int window = Math.max(1, s.values().size() / 200);
        List<Long> steps = new ArrayList<>();
        List<Double> values = new ArrayList<>();
        for (int i = 0; i + window <= s.values().size(); i += window) {
            steps.add(s.steps().get(i + window / 2));
            values.add(s.values().subList(i, i + window).stream()
                    .mapToDouble(Double::doubleValue)
                    .average()
                    .orElse(Double.NaN));
        }
        return new Metrics.Series(steps, values);
    }
}
