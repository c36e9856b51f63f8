// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.function.ToDoubleFunction;

/** An n-dimensional array of doubles, row-major: what references compute with. Nothing of the engine's is used. */
public final class Grid {
    private final long[] shape;
    private final double[] values;

    private Grid(long[] shape, double[] values) {
        this.shape = shape;
        this.values = values;
    }

    public static Grid of(Tensor t) {
        return new Grid(t.shape().toArray(), t.toDoubleArray());
    }

    public static Grid of(double[] values, long... shape) {
        return new Grid(shape, values);
    }

    /** Each element from its index tuple, which is reused. */
    public static Grid filled(ToDoubleFunction<long[]> f, long... shape) {
        Grid g = new Grid(shape, new double[count(shape)]);
        long[] index = new long[shape.length];
        for (int i = 0; i < g.values.length; i++) {
            g.values[i] = f.applyAsDouble(index);
            advance(index, shape);
        }
        return g;
    }

    private static int count(long[] shape) {
        long n = 1;
        for (long size : shape) {
            n *= size;
        }
        return Math.toIntExact(n);
    }

    static void advance(long[] index, long[] shape) {
        for (int d = shape.length - 1; d >= 0; d--) {
            if (++index[d] < shape[d]) {
                return;
            }
            index[d] = 0;
        }
    }

    public long[] shape() {
        return shape;
    }

    public int rank() {
        return shape.length;
    }

    public long size(int dim) {
        return shape[dim < 0 ? dim + shape.length : dim];
    }

    public double[] values() {
        return values;
    }

    public double at(long... index) {
        return values[position(index)];
    }

    public void add(double value, long... index) {
        values[position(index)] += value;
    }

    public void set(double value, long... index) {
        values[position(index)] = value;
    }

    private int position(long[] index) {
        long at = 0;
        for (int d = 0; d < shape.length; d++) {
            at = at * shape[d] + index[d];
        }
        return (int) at;
    }

    /** The element that broadcasting to a larger shape puts at {@code index}. */
    public double broadcastAt(long[] index) {
        long at = 0;
        int shift = index.length - shape.length;
        for (int d = 0; d < shape.length; d++) {
            at = at * shape[d] + (shape[d] == 1 ? 0 : index[d + shift]);
        }
        return values[(int) at];
    }

    /** The shape that two broadcast to; they are known to fit. */
    public static long[] broadcast(long[]... shapes) {
        int rank = Arrays.stream(shapes).mapToInt(s -> s.length).max().orElse(0);
        long[] result = new long[rank];
        Arrays.fill(result, 1);
        for (long[] s : shapes) {
            for (int d = 0; d < s.length; d++) {
                int k = rank - s.length + d;
                result[k] = result[k] == 1 ? s[d] : result[k];
            }
        }
        return result;
    }

    /** One value for each position along the other dimensions. */
    public Grid along(int dim, ToDoubleFunction<double[]> f) {
        int d = dim < 0 ? dim + shape.length : dim;
        long[] rest = without(shape, d);
        return filled(index -> f.applyAsDouble(line(index, d)), rest);
    }

    /** The elements along {@code dim} at a position among the other dimensions. */
    double[] line(long[] others, int dim) {
        long[] full = new long[shape.length];
        System.arraycopy(others, 0, full, 0, dim);
        System.arraycopy(others, dim, full, dim + 1, others.length - dim);
        double[] line = new double[(int) shape[dim]];
        for (int i = 0; i < line.length; i++) {
            full[dim] = i;
            line[i] = at(full);
        }
        return line;
    }

    static long[] without(long[] shape, int dim) {
        long[] rest = new long[shape.length - 1];
        System.arraycopy(shape, 0, rest, 0, dim);
        System.arraycopy(shape, dim + 1, rest, dim, rest.length - dim);
        return rest;
    }

    static long[] with(long[] index, int dim, long value) {
        long[] changed = index.clone();
        changed[dim] = value;
        return changed;
    }
}
