// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.error.Message;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * A learning rate for each step, counted from 0: a function, so that a run that goes on needs no state of it.
 *
 * <pre>{@code
 * Schedule rates = Schedule.cosine(1e-3, 1e-5, 10_000).warmup(500);
 * optimizer.setLearningRate(rates.at(step));
 * }</pre>
 *
 * <p>One of your own is a lambda. {@link Plateau}, which looks at a metric, is no function of the step.
 */
@FunctionalInterface
public interface Schedule {
    /**
     * The learning rate of a step.
     *
     * @param step from 0
     * @return a rate, at least 0
     */
    double at(long step);

    /**
     * The same after a warm-up: over so many steps the rate rises linearly to the first of this schedule, which then begins.
     *
     * @param steps of the warm-up, at least 0; step i of them has (i + 1) / steps of the rate
     * @return a schedule
     */
    default Schedule warmup(long steps) {
        require(steps >= 0, "warmup", "steps " + steps, "at least 0");
        return step -> step < steps ? at(0) * (step + 1) / steps : at(step - steps);
    }

    /**
     * The same at every step.
     *
     * @param lr the rate
     * @return a schedule
     */
    static Schedule constant(double lr) {
        return step -> lr;
    }

    /**
     * Multiplied by {@code gamma} every so many steps, as {@code StepLR}.
     *
     * @param lr the rate of the first steps
     * @param every how many steps have the same rate, at least 1
     * @param gamma what it is multiplied by, mostly below 1
     * @return a schedule
     */
    static Schedule step(double lr, long every, double gamma) {
        require(every >= 1, "step", "every " + every + " steps", "at least 1");
        return step -> lr * Math.pow(gamma, (double) (step / every));
    }

    /**
     * Multiplied by {@code gamma} at each milestone, as {@code MultiStepLR}.
     *
     * @param lr the rate of the first steps
     * @param gamma what it is multiplied by
     * @param milestones steps, rising; one that is given twice counts twice
     * @return a schedule
     */
    static Schedule multiStep(double lr, double gamma, long... milestones) {
        long[] at = rising("multiStep", milestones);
        return step -> {
            int passed = 0;
            while (passed < at.length && at[passed] <= step) {
                passed++;
            }
            return lr * Math.pow(gamma, passed);
        };
    }

    /**
     * Multiplied by {@code gamma} at each step, as {@code ExponentialLR}.
     *
     * @param lr the first rate
     * @param gamma what it is multiplied by
     * @return a schedule
     */
    static Schedule exponential(double lr, double gamma) {
        return step -> lr * Math.pow(gamma, (double) step);
    }

    /**
     * From one share of a rate to another in a straight line, as {@code LinearLR}.
     *
     * @param lr the rate
     * @param start what times {@code lr} is the first rate
     * @param end what times {@code lr} is the rate from step {@code total} on
     * @param total steps, at least 1
     * @return a schedule
     */
    static Schedule linear(double lr, double start, double end, long total) {
        require(total >= 1, "linear", "total " + total, "at least 1");
        return step -> lr * (start + (end - start) * Math.min(step, total) / total);
    }

    /**
     * Falls to 0 at step {@code total} as a power of what is left, as {@code PolynomialLR}.
     *
     * @param lr the first rate
     * @param total steps, at least 1
     * @param power 1 for a straight line
     * @return a schedule
     */
    static Schedule polynomial(double lr, long total, double power) {
        require(total >= 1, "polynomial", "total " + total, "at least 1");
        return step -> lr * Math.pow(1 - (double) Math.min(step, total) / total, power);
    }

    /**
     * Falls along half a cosine to {@code floor} at step {@code total}, and stays there; up to there it is
     * {@code CosineAnnealingLR}, which rises again.
     *
     * @param lr the first rate
     * @param floor the last
     * @param total steps, at least 1
     * @return a schedule
     */
    static Schedule cosine(double lr, double floor, long total) {
        require(total >= 1, "cosine", "total " + total, "at least 1");
        return step -> between(lr, floor, (double) Math.min(step, total) / total);
    }

    /**
     * Falls along half a cosine, jumps back to the first rate, and falls again, as {@code CosineAnnealingWarmRestarts}.
     *
     * @param lr the rate after each jump
     * @param floor what it falls to
     * @param period steps before the first jump, at least 1
     * @param factor how many times as long each fall is as the one before, at least 1
     * @return a schedule
     */
    static Schedule cosineRestarts(double lr, double floor, long period, int factor) {
        require(period >= 1 && factor >= 1, "cosineRestarts", "period " + period + ", factor " + factor, "at least 1");
        return step -> {
            long length = period;
            long at = factor == 1 ? step % period : step;
            while (at >= length) {
                at -= length;
                length *= factor;
            }
            return between(lr, floor, (double) at / length);
        };
    }

    /**
     * Rises linearly over {@code warmup} steps, then falls along half a cosine to {@code floor} at step {@code total}.
     *
     * @param peak the rate at step {@code warmup}
     * @param floor the rate from step {@code total} on
     * @param warmup how many steps it rises
     * @param total after how many steps it has fallen
     * @return a schedule
     */
    static Schedule warmupCosine(double peak, double floor, long warmup, long total) {
        require(
                warmup >= 0 && total >= warmup,
                "warmupCosine",
                warmup + " steps of warm-up out of " + total,
                "0 ≤ warmup ≤ total");
        Schedule fall = total == warmup ? constant(floor) : cosine(peak, floor, total - warmup);
        return step -> step < warmup ? peak * (step + 1) / warmup : fall.at(step - warmup);
    }

    /**
     * Up along half a cosine and down along another, as {@code OneCycleLR} with PyTorch's numbers: from a 25th of the peak,
     * over the first 30 %, down to 4e-6 of it.
     *
     * @param peak the largest rate
     * @param total steps, at least 1
     * @return a schedule
     */
    static Schedule oneCycle(double peak, long total) {
        return oneCycle(peak / 25, peak, peak / 25 / 1e4, total, 0.3);
    }

    /**
     * Up along half a cosine and down along another. With momentum turned round it makes PyTorch's cycle of momenta:
     * {@code optimizer.setMomentum(Schedule.oneCycle(0.95, 0.85, 0.95, total, 0.3).at(step))}.
     *
     * @param first at step 0
     * @param peak at the end of the way up
     * @param last at step {@code total − 1} and after it
     * @param total steps, at least 1
     * @param rise the share of steps that go up, in [0, 1]
     * @return a schedule
     */
    static Schedule oneCycle(double first, double peak, double last, long total, double rise) {
        require(total >= 1, "oneCycle", "total " + total, "at least 1");
        require(rise >= 0 && rise <= 1, "oneCycle", "rise " + rise, "from 0 to 1");
        double top = rise * total - 1;
        return step -> {
            double at = Math.min(step, total - 1);
            return at <= top
                    ? between(first, peak, top == 0 ? 1 : at / top)
                    : between(peak, last, (at - top) / (total - 1 - top));
        };
    }

    /**
     * One schedule after the other, each counted from its own first step, as {@code SequentialLR}.
     *
     * @param schedules at least one
     * @param milestones the first steps of the second schedule and those after it, rising
     * @return a schedule
     */
    static Schedule sequential(List<Schedule> schedules, long... milestones) {
        List<Schedule> all = List.copyOf(Objects.requireNonNull(schedules, "schedules"));
        long[] from = rising("sequential", milestones);
        require(
                all.size() == from.length + 1,
                "sequential",
                all.size() + " schedules with " + from.length + " milestones",
                "one milestone less than schedules");
        return step -> {
            int i = 0;
            while (i < from.length && step >= from[i]) {
                i++;
            }
            return all.get(i).at(i == 0 ? step : step - from[i - 1]);
        };
    }

    private static double between(double from, double to, double share) {
        return to + (from - to) * (1 + Math.cos(Math.PI * share)) / 2;
    }

    private static long[] rising(String what, long[] milestones) {
        long[] all = Objects.requireNonNull(milestones, "milestones").clone();
        for (int i = 0; i < all.length; i++) {
            require(all[i] >= (i == 0 ? 0 : all[i - 1]), what, "milestones " + Arrays.toString(all), "rising, from 0");
        }
        return all;
    }

    private static void require(boolean holds, String schedule, String what, String needed) {
        if (!holds) {
            throw new IllegalArgumentException(
                    Message.of(schedule + ": " + what).fix(needed + ".").toString());
        }
    }
}
