// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import java.io.Console;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressState;
import org.jspecify.annotations.Nullable;

/**
 * Where a training is: the latest loss, the speed of late, and how long it will take. A bar on a terminal, which is the first to go
 * when that is narrow, loss and speed the last; elsewhere a line every ten seconds.
 */
final class Progress implements AutoCloseable {
    /** Weight of the newest value in the running means. */
    private static final double NEWEST = 0.05;

    private static final long LINE_NANOS = 10_000_000_000L;
    private static final int SHORTEST_BAR = 8;

    private final String task;
    private final long steps;
    private final String unit;
    private final long unitsPerStep;
    private final @Nullable ProgressBar bar;
    private long step;
    private volatile double loss = Double.NaN;
    private volatile double secondsPerStep = Double.NaN;
    private long last = System.nanoTime();
    private long lastLine = last;

    Progress(String task, long steps, String unit, long unitsPerStep) {
        this(task, steps, unit, unitsPerStep, isTerminal());
    }

    Progress(String task, long steps, String unit, long unitsPerStep, boolean terminal) {
        this.task = task;
        this.steps = steps;
        this.unit = unit;
        this.unitsPerStep = unitsPerStep;
        this.bar = !terminal
                ? null
                : new ProgressBarBuilder()
                        .setInitialMax(steps)
                        .setRenderer((ProgressState state, int width) -> line(state.getCurrent(), width))
                        .setUpdateIntervalMillis(500)
                        .build();
    }

    /** Since JDK 22 there is a console without a terminal, too, which says so. */
    private static boolean isTerminal() {
        Console console = System.console();
        try {
            return console != null
                    && (boolean) Console.class.getMethod("isTerminal").invoke(console);
        } catch (ReflectiveOperationException e) {
            return true;
        }
    }

    /** The steps before this one were taken by another process. */
    void startAt(long first) {
        step = first;
        if (bar != null) {
            bar.stepTo(first);
        }
        resume();
    }

    void step(double newLoss) {
        long now = System.nanoTime();
        loss = mean(loss, newLoss);
        secondsPerStep = mean(secondsPerStep, (now - last) * 1e-9);
        last = now;
        step++;
        if (bar != null) {
            bar.step();
        } else if (now - lastLine > LINE_NANOS || step == steps) {
            lastLine = now;
            System.out.println(line(step, Integer.MAX_VALUE));
        }
    }

    /** Units a second, of late. */
    double speed() {
        return unitsPerStep / secondsPerStep;
    }

    /** A line between the updates. */
    void say(String text) {
        System.out.println(bar == null ? text : "\r" + text + " ".repeat(Math.max(0, 100 - text.length())));
        resume();
    }

    /** What was done since the last step, such as a test, does not count as slowness. */
    void resume() {
        last = System.nanoTime();
    }

    /** What there is room for: of a line, all but the bar if the width has no end. */
    String line(long current, int width) {
        String numbers = Double.isNaN(loss)
                ? "…"
                : String.format(Locale.ROOT, "loss %.3f  %s %s/s", loss, shortened(speed()), unit);
        String percent = current * 100 / Math.max(1, steps) + " %";
        String count = task + " " + current + "/" + steps;
        String time = Double.isNaN(secondsPerStep) ? "" : "  " + time((steps - current) * secondsPerStep) + " left";
        String all = count + "  " + numbers + time;
        if (width == Integer.MAX_VALUE) {
            return all;
        }
        int room = width - all.length() - 4;
        if (room >= SHORTEST_BAR) {
            int length = Math.min(room, 40);
            int full = (int) (length * current / Math.max(1, steps));
            String drawn = "=".repeat(full) + (full < length ? ">" : "") + " ".repeat(Math.max(0, length - full - 1));
            return count + " [" + drawn + "] " + numbers + time;
        }
        for (String line : new String[] {all, percent + "  " + numbers + time, percent + "  " + numbers, numbers}) {
            if (line.length() <= width) {
                return line;
            }
        }
        return numbers.substring(0, Math.max(0, Math.min(width, numbers.length())));
    }

    private static String shortened(double speed) {
        return speed < 10
                ? String.format(Locale.ROOT, "%.1f", speed)
                : speed < 10_000
                        ? String.format(Locale.ROOT, "%,.0f", speed)
                        : String.format(Locale.ROOT, "%,.0f k", speed / 1000);
    }

    private static String time(double seconds) {
        long s = Math.round(seconds);
        return s < 3600
                ? String.format("%d:%02d", s / 60, s % 60)
                : String.format("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    }

    private static double mean(double before, double value) {
        return Double.isNaN(before) ? value : before + NEWEST * (value - before);
    }

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
        }
    }
}
