// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.StateReader;
import java.util.Objects;

/**
 * Multiplies an optimiser's learning rate when a metric has stopped to get better, as {@code ReduceLROnPlateau}:
 *
 * <pre>{@code
 * Plateau plateau = new Plateau(optimizer);
 * plateau.step(lossOfEvaluation); // after each evaluation
 * }</pre>
 *
 * <p>It depends on what was measured, so it has a state, which a run that goes on restores beside the optimiser's.
 */
public final class Plateau implements Stateful {
    /** A change of the rate that is smaller is not made. */
    private static final double LEAST_CHANGE = 1e-8;

    private final Optimizer optimizer;
    private final boolean larger;
    private final double factor;
    private final int patience;
    private final double threshold;
    private final boolean relative;
    private final int cooldown;
    private final double floor;

    private double best;
    private long bad;
    private long cooling;

    /**
     * With PyTorch's numbers: smaller is better by 1e-4 of the best at least, and after 10 times in a row where it is not the
     * rate becomes a tenth.
     *
     * @param optimizer whose rate it is
     */
    public Plateau(Optimizer optimizer) {
        this(optimizer, false, 0.1, 10, 1e-4, true, 0, 0);
    }

    /**
     * @param optimizer whose rate it is
     * @param larger whether larger is better
     * @param factor what the rate is multiplied by, below 1
     * @param patience how many times in a row the metric may be no better
     * @param threshold by how much it must be better than the best, at least 0
     * @param relative whether that is a share of the best
     * @param cooldown how many times after a change of the rate are not counted
     * @param floor the smallest rate
     * @throws IllegalArgumentException if a number is not as said here
     */
    public Plateau(
            Optimizer optimizer,
            boolean larger,
            double factor,
            int patience,
            double threshold,
            boolean relative,
            int cooldown,
            double floor) {
        this.optimizer = Objects.requireNonNull(optimizer, "optimizer");
        if (!(factor >= 0 && factor < 1) || patience < 0 || !(threshold >= 0) || cooldown < 0 || !(floor >= 0)) {
            throw new IllegalArgumentException("plateau: factor " + factor + " must lie in [0, 1), patience " + patience
                    + ", threshold " + threshold + ", cooldown " + cooldown + " and floor " + floor
                    + " must not be negative");
        }
        this.larger = larger;
        this.factor = factor;
        this.patience = patience;
        this.threshold = threshold;
        this.relative = relative;
        this.cooldown = cooldown;
        this.floor = floor;
        this.best = worst(larger);
    }

    private static double worst(boolean larger) {
        return larger ? Double.NEGATIVE_INFINITY : Double.POSITIVE_INFINITY;
    }

    /**
     * Takes a measurement.
     *
     * @param metric NaN is no better
     * @return whether the rate was changed
     */
    public boolean step(double metric) {
        if (isBetter(metric)) {
            best = metric;
            bad = 0;
        } else {
            bad++;
        }
        if (cooling > 0) {
            cooling--;
            bad = 0;
        }
        if (bad <= patience) {
            return false;
        }
        cooling = cooldown;
        bad = 0;
        double before = optimizer.learningRate();
        double after = Math.max(before * factor, floor);
        if (before - after <= LEAST_CHANGE) {
            return false;
        }
        optimizer.setLearningRate(after);
        return true;
    }

    private boolean isBetter(double metric) {
        if (larger) {
            return metric > (relative ? best * (1 + threshold) : best + threshold);
        }
        return metric < (relative ? best * (1 - threshold) : best - threshold);
    }

    /** {@return the best that was measured; infinite if nothing was} */
    public double best() {
        return best;
    }

    /** {@code best}, {@code bad} (how many times in a row it was no better), and {@code cooling}. */
    @Override
    public StateDict stateDict() {
        return new StateDict().put("best", best).put("bad", bad).put("cooling", cooling);
    }

    /**
     * Takes all of that over; settings stay, and the rate is the optimiser's.
     *
     * @throws dev.merapi.error.StateDictException if it does not fit; nothing is changed then
     */
    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("plateau", state);
        double newBest = in.number("best");
        long newBad = in.integer("bad");
        long newCooling = in.integer("cooling");
        in.require(!Double.isNaN(newBest), "best", "is NaN");
        in.require(newBad >= 0, "bad", newBad + " is negative");
        in.require(newCooling >= 0, "cooling", newCooling + " is negative");
        in.copy();
        best = newBest;
        bad = newBad;
        cooling = newCooling;
    }
}
