// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * First values of parameters that are more than a number for each element: PyTorch's {@code orthogonal_}, {@code eye_},
 * {@code dirac_} and {@code sparse_}. They are made on the CPU in float64.
 */
public final class InitMatrix {
    private InitMatrix() {}

    /** Rows, or columns if they are fewer, that are orthogonal to each other, of length {@code gain}.
     *
     * @param t a weight [rows, ..] of at least two dimensions
     * @param gain the length; 1 in PyTorch
     * @throws ShapeException if it has fewer dimensions
     * @see <a href="https://arxiv.org/abs/1312.6120">Saxe et al. 2013</a>
     */
    public static void orthogonal_(Tensor t, double gain) {
        Init.requireFloating("orthogonal_", t);
        Init.notNegative("orthogonal_", "gain", gain);
        requireRank("orthogonal_", t, 2, Integer.MAX_VALUE);
        if (t.numel() == 0) {
            return;
        }
        int rows = Math.toIntExact(t.size(0));
        int columns = Math.toIntExact(t.numel() / rows);
        boolean byRow = rows <= columns;
        int count = byRow ? rows : columns;
        int length = byRow ? columns : rows;
        try (Scope scope = Scope.open()) {
            double[][] vectors = new double[count][];
            for (int i = 0; i < count; i++) {
                vectors[i] = normal(Shape.of(length)).toDoubleArray();
                for (int again = 0; again < 2; again++) { // twice: the first leaves what rounding does
                    for (int j = 0; j < i; j++) {
                        subtract(vectors[i], vectors[j], dot(vectors[i], vectors[j]));
                    }
                    scale(vectors[i], 1 / Math.sqrt(dot(vectors[i], vectors[i])));
                }
            }
            double[] all = new double[rows * columns];
            for (int i = 0; i < count; i++) {
                for (int k = 0; k < length; k++) {
                    all[byRow ? i * columns + k : k * columns + i] = gain * vectors[i][k];
                }
            }
            put(t, Tensor.of(all));
        }
    }

    private static Tensor normal(Shape shape) {
        return Tensor.empty(shape, DType.FLOAT64, Device.CPU).normal_(0, 1);
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }

    private static void subtract(double[] a, double[] b, double factor) {
        for (int i = 0; i < a.length; i++) {
            a[i] -= factor * b[i];
        }
    }

    private static void scale(double[] a, double factor) {
        for (int i = 0; i < a.length; i++) {
            a[i] *= factor;
        }
    }

    /**
     * Ones on the diagonal, zeros elsewhere.
     *
     * @param t of two dimensions
     * @throws ShapeException if it has others
     */
    public static void eye_(Tensor t) {
        Init.requireFloating("eye_", t);
        requireRank("eye_", t, 2, 2);
        try (Scope scope = Scope.open()) {
            put(t, Tensor.eye(t.size(0), t.size(1), DType.FLOAT64, Device.CPU));
        }
    }

    /**
     * A convolution that gives its first channels back: a one in the middle of the kernel, zeros elsewhere.
     *
     * @param t a weight [out, in / groups, kernel] of three to five dimensions
     * @param groups each of which does so
     * @throws ShapeException if it has other dimensions, or the groups do not divide the first size
     */
    public static void dirac_(Tensor t, long groups) {
        Init.requireFloating("dirac_", t);
        requireRank("dirac_", t, 3, 5);
        if (Init.atLeast(1, "dirac_", "groups", groups) > 1 && t.size(0) % groups != 0) {
            throw new ShapeException(Message.of("dirac_", groups + " groups do not divide " + t.size(0) + " channels")
                    .argument("groups"));
        }
        long each = t.size(0) / groups;
        long kernel = 1;
        long middle = 0;
        for (int d = 2; d < t.rank(); d++) {
            kernel *= t.size(d);
            middle = middle * t.size(d) + t.size(d) / 2;
        }
        double[] all = new double[Math.toIntExact(t.numel())];
        for (long o = 0; o < t.size(0) && kernel > 0; o++) {
            if (o % each < t.size(1)) {
                all[Math.toIntExact((o * t.size(1) + o % each) * kernel + middle)] = 1;
            }
        }
        try (Scope scope = Scope.open()) {
            put(t, Tensor.of(all));
        }
    }

    /**
     * Normal numbers, but that so many of each column are zeros.
     *
     * @param t of two dimensions
     * @param sparsity which part of a column is 0, rounded up to whole elements
     * @param deviation the standard deviation of the others; 0.01 in PyTorch
     * @throws ShapeException if it has other dimensions
     */
    public static void sparse_(Tensor t, double sparsity, double deviation) {
        Init.requireFloating("sparse_", t);
        requireRank("sparse_", t, 2, 2);
        Init.notNegative("sparse_", "deviation", deviation);
        if (!(sparsity >= 0 && sparsity <= 1)) {
            throw new IllegalArgumentException("sparse_: sparsity " + sparsity + " does not lie in [0, 1]");
        }
        int rows = Math.toIntExact(t.size(0));
        int columns = Math.toIntExact(t.size(1));
        int zeros = (int) Math.ceil(sparsity * rows);
        try (Scope scope = Scope.open()) {
            double[] all = normal(t.shape()).toDoubleArray();
            for (int i = 0; i < all.length; i++) {
                all[i] *= deviation;
            }
            for (int c = 0; c < columns; c++) {
                long[] order = Tensor.randperm(rows).toLongArray();
                for (int k = 0; k < zeros; k++) {
                    all[Math.toIntExact(order[k] * columns + c)] = 0;
                }
            }
            put(t, Tensor.of(all));
        }
    }

    /** The inverse of the distribution, by bisection: it needs no series of its own, and is exact. */
    static void truncatedNormal(Tensor t, double mean, double deviation, double from, double to) {
        Shape shape = Shape.of(t.numel());
        Tensor low = Tensor.full(shape, from, DType.FLOAT64, Device.CPU);
        Tensor high = Tensor.full(shape, to, DType.FLOAT64, Device.CPU);
        Tensor at = Tensor.rand(shape, 0, 1, DType.FLOAT64, Device.CPU);
        Tensor least = below(low);
        Tensor wanted = least.add(below(high).sub(least).mul(at));
        for (int i = 0; i < 56; i++) {
            Tensor middle = low.add(high).mul(0.5);
            Tensor right = below(middle).lt(wanted);
            low = Tensor.where(right, middle, low);
            high = Tensor.where(right, high, middle);
        }
        put(t, low.add(high).mul(0.5 * deviation).add(mean));
    }

    private static Tensor below(Tensor x) {
        return x.mul(Math.sqrt(0.5)).erf().add(1).mul(0.5);
    }

    private static void put(Tensor t, Tensor values) {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            t.copy_(values.view(t.shape().toArray()).to(t.dtype()).to(t.device()));
        }
    }

    private static void requireRank(String name, Tensor t, int fewest, int most) {
        if (Objects.requireNonNull(t, "t").rank() < fewest || t.rank() > most) {
            throw new ShapeException(Message.of(
                            name,
                            "t must have " + (most == fewest ? "" : "at least ") + fewest + " dimensions, but is "
                                    + t.describe())
                    .argument("t"));
        }
    }
}
