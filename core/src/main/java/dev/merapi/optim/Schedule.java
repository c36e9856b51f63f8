// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

/** A learning rate for each step, counted from 0. */
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
     * The same at every step.
     *
     * @param lr the rate
     * @return a schedule
     */
    static Schedule constant(double lr) {
        return step -> lr;
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
        if (warmup < 0 || total < warmup) {
            throw new IllegalArgumentException(
                    "warmupCosine: " + warmup + " steps of warm-up out of " + total + "\n  fix: 0 ≤ warmup ≤ total.");
        }
        return step -> {
            if (step < warmup) {
                return peak * (step + 1) / warmup;
            }
            double progress = total == warmup ? 1 : Math.min(1, (double) (step - warmup) / (total - warmup));
            return floor + 0.5 * (peak - floor) * (1 + Math.cos(Math.PI * progress));
        };
    }

    /**
     * Multiplied by {@code factor} every {@code every} steps.
     *
     * @param lr the rate of the first steps
     * @param factor what it is multiplied by, mostly below 1
     * @param every how many steps have the same rate, at least 1
     * @return a schedule
     */
    static Schedule decay(double lr, double factor, long every) {
        if (every < 1) {
            throw new IllegalArgumentException("decay: every " + every + " steps\n  fix: at least 1.");
        }
        return step -> lr * Math.pow(factor, (double) (step / every));
    }
}
