// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.train.Metrics;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.FontMetrics;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Draws what a run has recorded, as PNG images. */
final class Plots {
    /** Beyond this nothing is learned any more, and the axis would show nothing else. */
    private static final double LARGEST = 1e9;

    /** Where steps are equally far apart, XChart marks the axis at some of these, and not at round numbers. */
    private static final double UNEVEN = 0.01;

    private static final int WIDTH = 1200;
    private static final int HEIGHT = 640;
    private static final Color INK = new Color(0x33, 0x3a, 0x45);
    private static final Color GRID = new Color(0xe6, 0xe9, 0xee);
    private static final Color BLUE = new Color(0x1f, 0x6f, 0xd6);
    private static final Color ORANGE = new Color(0xe8, 0x6a, 0x17);
    private static final float THICK = 3;

    private Plots() {}

    /** A line over the steps; one that is marked shows each of its values, others their means over some steps. */
    record Curve(String name, Metrics.Series series, boolean marked) {}

    /** Null if there is nothing to draw, which is said. */
    static byte @Nullable [] lines(String title, Curve... curves) throws IOException {
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .title(title)
                .xAxisTitle("step")
                .build();
        style(chart.getStyler());
        int drawn = 0;
        for (Curve curve : curves) {
            Metrics.Series s = drawable(curve.name, curve.marked ? curve.series : smooth(curve.series));
            if (!s.values().isEmpty()) {
                List<Double> steps = new ArrayList<>(
                        s.steps().stream().map(Long::doubleValue).toList());
                steps.set(0, steps.get(0) + UNEVEN);
                XYSeries line = chart.addSeries(curve.name, steps, s.values());
                line.setMarker(curve.marked ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
                drawn++;
                line.setLineStyle(new BasicStroke(THICK, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
            }
        }
        if (drawn == 0) {
            System.out.println("no plot '" + title + "': there is no number below " + LARGEST);
            return null;
        }
        chart.getStyler().setLegendVisible(drawn > 1);
        return BitmapEncoder.getBitmapBytes(chart, BitmapEncoder.BitmapFormat.PNG);
    }

    private static void style(XYStyler s) {
        s.setBaseFont(new Font(Font.SANS_SERIF, Font.PLAIN, 18));
        s.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 22));
        s.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 18));
        s.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
        s.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 18));
        s.setChartBackgroundColor(Color.WHITE);
        s.setPlotBackgroundColor(Color.WHITE);
        s.setPlotBorderVisible(false);
        s.setChartTitleBoxVisible(false);
        s.setChartFontColor(INK);
        s.setAxisTickLabelsColor(INK);
        s.setAxisTicksLineVisible(false);
        s.setAxisTicksMarksVisible(false);
        s.setPlotGridVerticalLinesVisible(false);
        s.setPlotGridLinesColor(GRID);
        s.setPlotGridLinesStroke(new BasicStroke(1.5f));
        s.setXAxisDecimalPattern("#,##0");
        s.setYAxisDecimalPattern("#,##0.######");
        s.setXAxisTickMarkSpacingHint(150);
        s.setYAxisTickMarkSpacingHint(70);
        s.setChartPadding(24);
        s.setPlotContentSize(0.98);
        s.setLegendPosition(Styler.LegendPosition.InsideNE);
        s.setLegendBorderColor(Color.WHITE);
        s.setLegendBackgroundColor(Color.WHITE);
        s.setMarkerSize(10);
        s.setSeriesColors(new Color[] {BLUE, ORANGE});
    }

    /** How often a class (rows) was taken for which (columns), darker where it was a larger share of the row. */
    static byte[] confusion(String title, List<String> classes, long[][] counts) throws IOException {
        int cell = 64;
        int left = 190;
        int top = 150;
        int side = cell * classes.size();
        BufferedImage image = new BufferedImage(left + side + 40, top + side + 40, BufferedImage.TYPE_INT_RGB);
        Graphics2D g = image.createGraphics();
        g.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
        g.setRenderingHint(RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
        g.setColor(Color.WHITE);
        g.fillRect(0, 0, image.getWidth(), image.getHeight());
        g.setColor(INK);
        g.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 22));
        g.drawString(title, 24, 40);
        g.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
        FontMetrics metrics = g.getFontMetrics();
        for (int row = 0; row < classes.size(); row++) {
            String name = classes.get(row);
            int y = top + row * cell + cell / 2 + metrics.getAscent() / 2 - 2;
            g.setColor(INK);
            g.drawString(name, left - 12 - metrics.stringWidth(name), y);
            Graphics2D turned = (Graphics2D) g.create();
            turned.rotate(-Math.PI / 4, left + row * cell + cell / 2.0, top - 10);
            turned.drawString(name, left + row * cell + cell / 2, top - 10);
            turned.dispose();
            long all = Math.max(1, Arrays.stream(counts[row]).sum());
            for (int column = 0; column < classes.size(); column++) {
                double share = (double) counts[row][column] / all;
                g.setColor(between(new Color(0xf5, 0xf7, 0xfa), row == column ? BLUE : ORANGE, Math.sqrt(share)));
                g.fillRoundRect(left + column * cell + 2, top + row * cell + 2, cell - 4, cell - 4, 8, 8);
                if (counts[row][column] > 0) {
                    String text = String.valueOf(counts[row][column]);
                    g.setColor(share > 0.4 ? Color.WHITE : INK);
                    g.drawString(text, left + column * cell + (cell - metrics.stringWidth(text)) / 2, y);
                }
            }
        }
        g.dispose();
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ImageIO.write(image, "png", out);
        return out.toByteArray();
    }

    private static Color between(Color a, Color b, double share) {
        return new Color(
                (int) (a.getRed() + share * (b.getRed() - a.getRed())),
                (int) (a.getGreen() + share * (b.getGreen() - a.getGreen())),
                (int) (a.getBlue() + share * (b.getBlue() - a.getBlue())));
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
