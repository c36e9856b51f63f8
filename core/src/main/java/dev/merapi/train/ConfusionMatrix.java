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
import java.util.Arrays;
import java.util.Objects;
import java.util.function.ToDoubleFunction;

/**
 * How often which class was taken for which, and what follows from that: accuracy, precision, recall and F1. Counted on the device;
 * each of the results reads the counts, so read several from one {@link #counts}.
 */
public final class ConfusionMatrix implements Stateful, AutoCloseable {
    private final int classes;
    /** [C·C] int64: rows are targets, columns what was predicted. */
    private Tensor cells;

    /** How the values of classes become one. */
    public enum Average {
        /** Every class counts the same. */
        MACRO,
        /** A class counts as often as it is a target. */
        WEIGHTED
    }

    /**
     * Nothing counted yet.
     *
     * @param classes how many, at least 1
     */
    public ConfusionMatrix(int classes) {
        if (classes < 1 || classes > 1 << 15) {
            throw new IllegalArgumentException(
                    "ConfusionMatrix: " + classes + " classes; it has from 1 to " + (1 << 15));
        }
        this.classes = classes;
        this.cells = Tensor.zeros(Shape.of((long) classes * classes), DType.INT64, Device.CPU)
                .leaveScope();
    }

    /**
     * A batch.
     *
     * @param scores floating [..., C], or classes [...]
     * @param targets classes, int32 or int64 [...]
     * @throws dev.merapi.error.ShapeException if they do not fit
     * @throws IndexOutOfBoundsException if a class is none from 0 below the number of classes; on devices that run ahead, later
     */
    public void add(Tensor scores, Tensor targets) {
        Objects.requireNonNull(scores, "scores");
        Objects.requireNonNull(targets, "targets");
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor predicted = Accuracy.classes("ConfusionMatrix", scores, targets)
                    .to(DType.INT64)
                    .reshape(-1);
            Tensor expected = targets.to(DType.INT64).reshape(-1);
            // What is none of the classes is sent out of range: it must not be counted in a cell of another.
            Tensor known = isClass(predicted).logicalAnd(isClass(expected));
            Tensor nowhere = predicted.mul(0).add((long) classes * classes);
            Tensor cell = Tensor.where(known, expected.mul(classes).add(predicted), nowhere);
            if (!cells.device().equals(cell.device())) {
                Tensor moved = cells.to(cell.device()).leaveScope();
                cells.close();
                cells = moved;
            }
            cells.scatterAdd_(0, cell, Tensor.ones(cell.shape(), DType.INT64, cell.device()));
        }
    }

    private Tensor isClass(Tensor t) {
        return t.ge(0).logicalAnd(t.lt(classes));
    }

    /** {@return how often: [target][predicted]} Waits for the device. */
    public long[][] counts() {
        long[] all = cells.toLongArray();
        long[][] rows = new long[classes][];
        for (int c = 0; c < classes; c++) {
            rows[c] = Arrays.copyOfRange(all, c * classes, (c + 1) * classes);
        }
        return rows;
    }

    /** What was counted of a class. */
    private record Class(long right, long expected, long predicted) {
        double precision() {
            return predicted == 0 ? 0 : (double) right / predicted;
        }

        double recall() {
            return expected == 0 ? 0 : (double) right / expected;
        }

        double f1() {
            return expected + predicted == 0 ? 0 : 2.0 * right / (expected + predicted);
        }
    }

    private Class[] read() {
        long[][] counts = counts();
        Class[] all = new Class[classes];
        for (int c = 0; c < classes; c++) {
            long predicted = 0;
            for (long[] row : counts) {
                predicted += row[c];
            }
            all[c] = new Class(counts[c][c], Arrays.stream(counts[c]).sum(), predicted);
        }
        return all;
    }

    private double average(Average average, ToDoubleFunction<Class> value) {
        Objects.requireNonNull(average, "average");
        double sum = 0;
        double weights = 0;
        for (Class c : read()) {
            // A class that is neither expected nor predicted says nothing.
            double weight = average == Average.WEIGHTED ? c.expected : c.expected + c.predicted == 0 ? 0 : 1;
            sum += weight * value.applyAsDouble(c);
            weights += weight;
        }
        return weights == 0 ? Double.NaN : sum / weights;
    }

    /** {@return the share of all that was predicted right; NaN if nothing was added} Waits for the device. */
    public double accuracy() {
        return average(Average.WEIGHTED, Class::recall);
    }

    /**
     * Of what was taken for a class, the share that is of it; 0 for a class that was never predicted.
     *
     * @param average over classes; one that is neither a target nor predicted is left out
     * @return the mean; NaN if nothing was added
     */
    public double precision(Average average) {
        return average(average, Class::precision);
    }

    /**
     * Of a class, the share that was taken for it; 0 for one that was no target.
     *
     * @param average over classes; one that is neither a target nor predicted is left out
     * @return the mean; NaN if nothing was added
     */
    public double recall(Average average) {
        return average(average, Class::recall);
    }

    /**
     * The harmonic mean of precision and recall of each class.
     *
     * @param average over classes; one that is neither a target nor predicted is left out
     * @return the mean; NaN if nothing was added
     */
    public double f1(Average average) {
        return average(average, Class::f1);
    }

    /** {@return F1 of each class; 0 for one that is neither a target nor predicted} Waits for the device. */
    public double[] f1() {
        return Arrays.stream(read()).mapToDouble(Class::f1).toArray();
    }

    /** Forgets what was added. */
    public void reset() {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            cells.zero_();
        }
    }

    /** {@code counts}, [C·C] int64: the tensor itself, not a copy. */
    @Override
    public StateDict stateDict() {
        return new StateDict().put("counts", cells);
    }

    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("ConfusionMatrix", state);
        in.tensor("counts", cells);
        in.copy();
    }

    /** Frees the counts. Idempotent. */
    @Override
    public void close() {
        cells.close();
    }
}
