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
    /** Beyond this nothing is learned any more, and the axis would show nothing else. */
    private static final double LARGEST = 1e9;

    private LossPlot() {}

    /** The training loss as a mean over neighbouring steps, and the held-out loss as it was measured. */
    static void save(Path png, String title, Metrics.Series training, Metrics.Series heldOut) throws IOException {
        Metrics.Series curve = drawable("training", smooth(training));
        Metrics.Series points = drawable("held out", heldOut);
        if (curve.values().isEmpty() && points.values().isEmpty()) {
            System.out.println("no plot: no loss is a number below " + LARGEST + "; metrics.csv has them all");
            return;
        }
        try {
            Files.write(png, draw(title, curve, points));
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
        add(chart, "training", training, false);
        add(chart, "held out", heldOut, true);
        return BitmapEncoder.getBitmapBytes(chart, BitmapEncoder.BitmapFormat.PNG);
    }

    /**
     * What fits on an axis, in as many digits as can be seen: the search for tick marks goes on for ever where neighbours are closer
     * than doubles, or ends in infinities.
     */
    private static Metrics.Series drawable(String name, Metrics.Series s) {
        List<Long> steps = new ArrayList<>();
        List<Double> values = new ArrayList<>();
        for (int i = 0; i < s.values().size(); i++) {
            double v = s.values().get(i);
            if (Math.abs(v) <= LARGEST) { // not of a NaN
                steps.add(s.steps().get(i));
                values.add(v);
            }
        }
        if (values.size() < s.values().size()) {
            System.out.println("plot: " + (s.values().size() - values.size()) + " of "
                    + s.values().size() + " values (" + name + ") are left out: no numbers, or beyond " + LARGEST);
        }
        double largest = values.stream().mapToDouble(Math::abs).max().orElse(0);
        double unit = Math.max(largest * 1e-6, 1e-9);
        values.replaceAll(v -> Math.rint(v / unit) * unit);
        return new Metrics.Series(steps, values);
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
