// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar with the latest loss and the speed of late; the bar itself says how long it will take. */
final class Progress implements AutoCloseable {
    /** Weight of the newest value in the running means. */
    private static final double NEWEST = 0.05;

    private final ProgressBar bar;
    private final String unit;
    private final long unitsPerStep;
    private double loss = Double.NaN;
    private double secondsPerStep = Double.NaN;
    private long last = System.nanoTime();

    Progress(String task, long steps, String unit, long unitsPerStep) {
        this.unit = unit;
        this.unitsPerStep = unitsPerStep;
        bar = new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(steps)
                .setStyle(ProgressBarStyle.ASCII)
                .setUpdateIntervalMillis(500)
                .build();
    }

    /** The steps before this one were taken by another process. */
    void startAt(long step) {
        bar.stepTo(step);
        resume();
    }

    void step(double newLoss) {
        long now = System.nanoTime();
        loss = mean(loss, newLoss);
        secondsPerStep = mean(secondsPerStep, (now - last) * 1e-9);
        last = now;
        bar.setExtraMessage(
                String.format(Locale.ROOT, " loss %.3f  %,.0f %s/s", loss, unitsPerStep / secondsPerStep, unit));
        bar.step();
    }

    /** What was done since the last step, such as a test, does not count as slowness. */
    void resume() {
        last = System.nanoTime();
    }

    private static double mean(double before, double value) {
        return Double.isNaN(before) ? value : before + NEWEST * (value - before);
    }

    @Override
    public void close() {
        bar.close();
    }
}
