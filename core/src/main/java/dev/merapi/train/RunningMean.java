// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.autograd.Autograd;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * The mean of what comes batch by batch, such as losses; its sums stay on the device of the first batch, in float64, and nothing
 * waits for that until {@link #value} is called. {@link #perplexity} is that of a mean cross entropy in nats.
 *
 * <p>For one thread at a time.
 */
public final class RunningMean implements Stateful, AutoCloseable {
    /** Sum of the values and of their weights, [2] float64. */
    private Tensor sums = zeros(Device.CPU);

    private boolean empty = true;

    /** Of nothing yet. */
    public RunningMean() {}

    private static Tensor zeros(Device device) {
        return Tensor.zeros(Shape.of(2), DType.FLOAT64, device).leaveScope();
    }

    /**
     * Each element counts once.
     *
     * @param values of any shape and dtype
     */
    public void add(Tensor values) {
        Objects.requireNonNull(values, "values").requireOpen("RunningMean.add", "values");
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            take(values.detach().to(DType.FLOAT64).sum(), values.numel());
        }
    }

    /**
     * A mean that was computed already counts as often as it has elements: {@code loss.add(crossEntropy(…), targets.numel())}.
     *
     * @param mean 0-d
     * @param count of what, at least 0
     * @throws IllegalArgumentException if it has dimensions, or the count is negative
     */
    public void add(Tensor mean, long count) {
        Objects.requireNonNull(mean, "mean").requireOpen("RunningMean.add", "mean");
        if (mean.rank() != 0 || count < 0) {
            throw new IllegalArgumentException(
                    "RunningMean.add: needs a 0-d mean and a count that is not negative, not " + mean.describe()
                            + " and " + count + "\n  fix: add(values) takes single values.");
        }
        if (count == 0) {
            return; // of nothing the mean is NaN
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            take(mean.detach().to(DType.FLOAT64).mul(count), count);
        }
    }

    private void take(Tensor sum, long count) {
        if (!sums.device().equals(sum.device())) {
            Tensor moved = sums.to(sum.device()).leaveScope();
            sums.close();
            sums = moved;
        }
        empty = false;
        sums.at(0).add_(sum);
        sums.at(1).add_(count);
    }

    /** {@return the mean; NaN if nothing was added} Waits for the device. */
    public double value() {
        if (empty) {
            return Double.NaN;
        }
        double[] read = sums.toDoubleArray();
        return read[0] / read[1];
    }

    /** {@return e to the power of the mean} Waits for the device. */
    public double perplexity() {
        return Math.exp(value());
    }

    /** Forgets what was added. */
    public void reset() {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            sums.zero_();
        }
        empty = true;
    }

    /** {@code sum} and {@code weight}. */
    @Override
    public StateDict stateDict() {
        double[] read = sums.toDoubleArray();
        return new StateDict().put("sum", read[0]).put("weight", read[1]);
    }

    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("RunningMean", state);
        double sum = in.number("sum");
        double weight = in.number("weight");
        in.copy();
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            sums.copy_(Tensor.of(sum, weight));
        }
        empty = weight == 0;
    }

    /** Frees the sums. Idempotent. */
    @Override
    public void close() {
        sums.close();
    }
}
