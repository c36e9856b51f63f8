// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.OpSamples.samples;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.FeedForwardOp;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.LinearCrossEntropy;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Pooling;
import dev.merapi.ops.SelfAttention;
import dev.merapi.ops.Windows;
import dev.merapi.random.Philox;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Products, norms, losses, attention, convolution and pooling, written out as loops over doubles. */
final class NeuralRows {
    private static final long[] ONE = {1, 1};
    private static final long[] NONE = {0, 0};

    private NeuralRows() {}

    private static final double NAN = Double.NaN;
    private static final double INF = Double.POSITIVE_INFINITY;

    /** As uniform, with a NaN, infinities and large numbers strewn in: one in nine. */
    private static Tensor strewn(Maker m, long... shape) {
        double[] odd = {NAN, INF, 1e4, -INF, -1e4};
        double[] values = m.uniform(-1, 1, shape).toDoubleArray();
        for (int i = 4, k = 0; i < values.length; i += 9, k++) {
            values[i] = odd[k % odd.length];
        }
        return m.of(values, shape);
    }

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(products());
        rows.addAll(norms());
        rows.addAll(losses());
        rows.addAll(images());
        rows.add(attention());
        rows.add(selfAttention());
        return rows;
    }

    private static Grid abs(Grid g) {
        return Grid.of(Arrays.stream(g.values()).map(Math::abs).toArray(), g.shape());
    }

    private static @Nullable Grid grid(@Nullable Tensor t) {
        return t == null ? null : Grid.of(t);
    }

    // ---------------------------------------------------------------- products

    private static Grid matmul(Grid a, Grid b) {
        long[] batch = Grid.broadcast(Arrays.copyOf(a.shape(), a.rank() - 2), Arrays.copyOf(b.shape(), b.rank() - 2));
        long[] shape = Arrays.copyOf(batch, batch.length + 2);
        shape[batch.length] = a.size(-2);
        shape[batch.length + 1] = b.size(-1);
        long inner = a.size(-1);
        return Grid.filled(
                i -> {
                    long[] left = i.clone();
                    long[] right = i.clone();
                    double sum = 0;
                    for (long k = 0; k < inner; k++) {
                        left[batch.length + 1] = k;
                        right[batch.length] = k;
                        sum += a.broadcastAt(left) * b.broadcastAt(right);
                    }
                    return sum;
                },
                shape);
    }

    private static Grid linear(Grid x, Grid w, @Nullable Grid bias) {
        long[] shape = x.shape().clone();
        shape[shape.length - 1] = w.size(0);
        return Grid.filled(
                i -> {
                    long[] at = i.clone();
                    long out = i[i.length - 1];
                    double sum = bias == null ? 0 : bias.at(out);
                    for (long k = 0; k < w.size(1); k++) {
                        at[i.length - 1] = k;
                        sum += x.at(at) * w.at(out, k);
                    }
                    return sum;
                },
                shape);
    }

    private static FeedForwardOp.Args fed(Maker m, long hidden, long... shape) {
        return fedTo(m, 2, hidden, shape);
    }

    private static FeedForwardOp.Args fedTo(Maker m, long results, long hidden, long... shape) {
        long width = shape[shape.length - 1];
        return new FeedForwardOp.Args(
                m.uniform(-1, 1, shape),
                m.uniform(-1, 1, hidden, width),
                m.uniform(-1, 1, hidden),
                m.uniform(-1, 1, results, hidden),
                m.uniform(-1, 1, results));
    }

    private static List<OpSamples<?, ?>> products() {
        return List.of(
                samples(LinearAlgebra.MATMUL)
                        .sample(
                                "[2, 3] [3, 4]",
                                m -> new LinearAlgebra.Matmul(m.uniform(-1, 1, 2, 3), m.uniform(-1, 1, 3, 4)))
                        .sample(
                                "[2, 1, 2, 3] [2, 3, 2]",
                                m -> new LinearAlgebra.Matmul(m.uniform(-1, 1, 2, 1, 2, 3), m.uniform(-1, 1, 2, 3, 2)))
                        .valuesOnly(
                                "[37, 129] [129, 23]",
                                m -> new LinearAlgebra.Matmul(m.uniform(-1, 1, 37, 129), m.uniform(-1, 1, 129, 23)))
                        .valuesOnly(
                                "[5, 0] [0, 3]",
                                m -> new LinearAlgebra.Matmul(m.of(new double[0], 5, 0), m.of(new double[0], 0, 3)))
                        .valuesOnly(
                                "special values [19, 21] [21, 17]",
                                m -> new LinearAlgebra.Matmul(strewn(m, 19, 21), m.uniform(-1, 1, 21, 17)))
                        .valuesOnly(
                                "zeros by NaN",
                                m -> new LinearAlgebra.Matmul(
                                        m.of(new double[6], 2, 3), m.of(new double[] {NAN, 1, INF, 1, 1, 1}, 3, 2)))
                        .references(a -> matmul(Grid.of(a.a()), Grid.of(a.b())))
                        .scale(a -> List.of(matmul(abs(Grid.of(a.a())), abs(Grid.of(a.b())))))
                        .terms(a -> a.a().size(-1))
                        .error(
                                m -> new LinearAlgebra.Matmul(m.uniform(0, 1, 2, 3), m.uniform(0, 1, 4, 2)),
                                ShapeException.class,
                                "matmul"),
                samples(LinearAlgebra.LINEAR)
                        .sample(
                                "[2, 3] 3 to 4",
                                m -> new LinearAlgebra.Linear(
                                        m.uniform(-1, 1, 2, 3), m.uniform(-1, 1, 4, 3), m.uniform(-1, 1, 4)))
                        .sample(
                                "[2, 2, 3] without bias",
                                m -> new LinearAlgebra.Linear(m.uniform(-1, 1, 2, 2, 3), m.uniform(-1, 1, 2, 3), null))
                        .valuesOnly(
                                "[17, 131] 131 to 65",
                                m -> new LinearAlgebra.Linear(
                                        m.uniform(-1, 1, 17, 131), m.uniform(-1, 1, 65, 131), m.uniform(-1, 1, 65)))
                        .valuesOnly(
                                "special values [17, 19] 19 to 21",
                                m -> new LinearAlgebra.Linear(
                                        strewn(m, 17, 19), m.uniform(-1, 1, 21, 19), m.uniform(-1, 1, 21)))
                        .references(a -> linear(Grid.of(a.x()), Grid.of(a.weight()), grid(a.bias())))
                        .scale(a -> List.of(linear(
                                abs(Grid.of(a.x())),
                                abs(Grid.of(a.weight())),
                                a.bias() == null ? null : abs(Grid.of(a.bias())))))
                        .terms(a -> a.x().size(-1))
                        .error(
                                m -> new LinearAlgebra.Linear(m.uniform(0, 1, 2, 3), m.uniform(0, 1, 4, 2), null),
                                ShapeException.class,
                                "linear"),
                samples(FeedForwardOp.FEED_FORWARD)
                        .sample("[2, 3] 3 to 8 to 2", m -> fed(m, 8, 2, 3))
                        .sample("[2, 1, 3] 3 to 5 to 2", m -> fed(m, 5, 2, 1, 3))
                        // As libraries want it: multiples of 16 bytes in 16-bit types, too.
                        .sample("[16, 16] 16 to 16 to 16", m -> fedTo(m, 16, 16, 16, 16))
                        .valuesOnly("[9, 33] 33 to 64 to 2", m -> fed(m, 64, 9, 33))
                        .references(a -> {
                            Grid inner = linear(Grid.of(a.x()), Grid.of(a.up()), Grid.of(a.upBias()));
                            double[] active = Arrays.stream(inner.values())
                                    .map(x -> 0.5
                                            * x
                                            * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))))
                                    .toArray();
                            return linear(Grid.of(active, inner.shape()), Grid.of(a.down()), Grid.of(a.downBias()));
                        })
                        // What is between the products is rounded to the dtype, and is at most as large as this.
                        .scale(a -> List.of(linear(
                                linear(abs(Grid.of(a.x())), abs(Grid.of(a.up())), abs(Grid.of(a.upBias()))),
                                abs(Grid.of(a.down())),
                                abs(Grid.of(a.downBias())))))
                        .roundsEachTerm()
                        .error(
                                m -> new FeedForwardOp.Args(
                                        m.uniform(0, 1, 2, 3),
                                        m.uniform(0, 1, 4, 2),
                                        m.uniform(0, 1, 4),
                                        m.uniform(0, 1, 2, 4),
                                        m.uniform(0, 1, 2)),
                                ShapeException.class,
                                "feed_forward: x [.., in] and up [hidden, in] do not fit"));
    }

    // ---------------------------------------------------------------- norms

    /** Rows of the trailing dimensions as a matrix. */
    private static Grid rows(Grid x, int dims) {
        long inner = 1;
        for (int d = x.rank() - dims; d < x.rank(); d++) {
            inner *= x.size(d);
        }
        return Grid.of(x.values(), x.values().length / inner, inner);
    }

    private static Grid norm(Grid x, int dims, double eps, boolean centre, @Nullable Grid weight, @Nullable Grid bias) {
        Grid r = rows(x, dims);
        long n = r.size(1);
        Grid y = Grid.filled(
                i -> {
                    double mean = 0;
                    for (long k = 0; k < n && centre; k++) {
                        mean += r.at(i[0], k) / n;
                    }
                    double square = 0;
                    for (long k = 0; k < n; k++) {
                        square += Math.pow(r.at(i[0], k) - mean, 2) / n;
                    }
                    double v = (r.at(i) - mean) / Math.sqrt(square + eps);
                    return v * (weight == null ? 1 : weight.values()[(int) i[1]])
                            + (bias == null ? 0 : bias.values()[(int) i[1]]);
                },
                r.shape());
        return Grid.of(y.values(), x.shape());
    }

    /** Rows of no numbers, infinite, equal, zero, huge and tiny ones. */
    private static Tensor special(Maker m) {
        return m.of(
                new double[] {
                    1, NAN, 2, 3, 1, INF, 2, 3, 3, 3, 3, 3, 0, 0, 0, 0, 1e8, -1e8, 1e8, 2e8, 1e-8, -1e-8, 0, 2e-8
                },
                6,
                4);
    }

    private static List<OpSamples<?, ?>> norms() {
        return List.of(
                samples(Normalization.LAYER_NORM)
                        .sample(
                                "[2, 5]",
                                m -> new Normalization.LayerNorm(
                                        m.uniform(-2, 2, 2, 5), m.uniform(0.5, 1.5, 5), m.uniform(-1, 1, 5), 1, 1e-5))
                        .sample(
                                "[2, 2, 3] over 2 without weight",
                                m -> new Normalization.LayerNorm(m.uniform(-2, 2, 2, 2, 3), null, null, 2, 1e-3))
                        .valuesOnly(
                                "[7, 131]",
                                m -> new Normalization.LayerNorm(
                                        m.uniform(-2, 2, 7, 131),
                                        m.uniform(0.5, 1.5, 131),
                                        m.uniform(-1, 1, 131),
                                        1,
                                        1e-5))
                        .valuesOnly(
                                "large mean",
                                m -> new Normalization.LayerNorm(
                                        m.uniform(1e4 - 1, 1e4 + 1, 7, 131), null, m.uniform(-1, 1, 131), 1, 1e-5))
                        .valuesOnly(
                                "special values",
                                m -> new Normalization.LayerNorm(special(m), m.uniform(0.5, 1.5, 4), null, 1, 1e-5))
                        .references(
                                a -> norm(Grid.of(a.x()), a.dims(), a.eps(), true, grid(a.weight()), grid(a.bias())))
                        // What the mean is rounded by is large beside the distances from it, if the mean is.
                        .scale(a -> {
                            double largest = largest(a.x());
                            double size = largest > 9e3 && largest < 2e4 ? largest : 4;
                            return List.of(Grid.filled(i -> size, a.x().shape().toArray()));
                        })
                        .terms(a -> a.x().size(-1))
                        .error(
                                m -> new Normalization.LayerNorm(
                                        m.uniform(0, 1, 2, 5), m.uniform(0, 1, 4), null, 1, 1e-5),
                                ShapeException.class,
                                "layerNorm"),
                samples(Normalization.RMS_NORM)
                        .sample(
                                "[2, 5]",
                                m -> new Normalization.RmsNorm(m.uniform(-2, 2, 2, 5), m.uniform(0.5, 1.5, 5), 1, 1e-5))
                        .sample(
                                "[3, 4] without weight",
                                m -> new Normalization.RmsNorm(m.uniform(-2, 2, 3, 4), null, 1, 1e-3))
                        .valuesOnly(
                                "[7, 131]",
                                m -> new Normalization.RmsNorm(
                                        m.uniform(-2, 2, 7, 131), m.uniform(0.5, 1.5, 131), 1, 1e-5))
                        .valuesOnly(
                                "special values",
                                m -> new Normalization.RmsNorm(special(m), m.uniform(0.5, 1.5, 4), 1, 1e-5))
                        .references(a -> norm(Grid.of(a.x()), a.dims(), a.eps(), false, grid(a.weight()), null))
                        .terms(a -> a.x().size(-1)));
    }

    // ---------------------------------------------------------------- losses

    private static List<OpSamples<?, ?>> losses() {
        return List.of(
                samples(Losses.CROSS_ENTROPY)
                        .sample(
                                "[3, 4] mean",
                                m -> new Losses.CrossEntropy(
                                        m.uniform(-2, 2, 3, 4),
                                        m.indices(new long[] {1, 3, 0}, 3),
                                        null,
                                        -100,
                                        0,
                                        Losses.Reduction.MEAN))
                        .sample(
                                "[3, 4] ignored, smoothed, weighted",
                                m -> new Losses.CrossEntropy(
                                        m.uniform(-2, 2, 3, 4),
                                        m.indices(new long[] {1, -100, 0}, 3),
                                        m.constant(0.5, 2, 4).to(m.dtype().computeType()),
                                        -100,
                                        0.1,
                                        Losses.Reduction.MEAN))
                        .sample(
                                "[3, 4] none",
                                m -> new Losses.CrossEntropy(
                                        m.uniform(-2, 2, 3, 4),
                                        m.indices(new long[] {2, 2, 1}, 3),
                                        null,
                                        -100,
                                        0,
                                        Losses.Reduction.NONE))
                        .valuesOnly(
                                "[33, 65] sum",
                                m -> new Losses.CrossEntropy(
                                        m.uniform(-5, 5, 33, 65),
                                        m.indices(65, 33),
                                        null,
                                        -100,
                                        0,
                                        Losses.Reduction.SUM))
                        .valuesOnly(
                                "special values",
                                m -> new Losses.CrossEntropy(
                                        m.of(
                                                new double[] {
                                                    1, NAN, 2, 1e4, 0, -1e4, -INF, 1, 2, 1e4 + 1, 1e4, 1e4 - 2, 5, 5, 5,
                                                    1, -INF, 2
                                                },
                                                6,
                                                3),
                                        m.indices(new long[] {0, 2, 1, 0, 1, 1}, 6),
                                        null,
                                        -100,
                                        0,
                                        Losses.Reduction.NONE))
                        .references(NeuralRows::crossEntropy)
                        .scale(a -> List.of(Grid.filled(
                                i -> Math.max(12, Math.min(2e4, 2 * largest(a.logits())))
                                        * (a.reduction() == Losses.Reduction.SUM
                                                ? a.logits().size(0)
                                                : 1),
                                a.reduction() == Losses.Reduction.NONE
                                        ? new long[] {a.logits().size(0)}
                                        : new long[0])))
                        .terms(a -> a.logits().numel())
                        .error(
                                m -> new Losses.CrossEntropy(
                                        m.uniform(0, 1, 2, 3),
                                        m.indices(new long[] {0, 3}, 2),
                                        null,
                                        -100,
                                        0,
                                        Losses.Reduction.MEAN),
                                ShapeException.class,
                                "3"),
                samples(LinearCrossEntropy.LINEAR_CROSS_ENTROPY)
                        .sample(
                                "[3, 2]·[4, 2] mean",
                                m -> linear(m, 3, 4, new long[] {1, 3, 0}, 0, Losses.Reduction.MEAN, true))
                        .sample(
                                "ignored, smoothed",
                                m -> linear(m, 3, 4, new long[] {1, -100, 0}, 0.1, Losses.Reduction.MEAN, true))
                        .sample(
                                "computed again",
                                m -> linear(m, 3, 4, new long[] {1, -100, 0}, 0.1, Losses.Reduction.SUM, false))
                        .sample("none", m -> linear(m, 3, 4, new long[] {2, 2, 1}, 0, Losses.Reduction.NONE, true))
                        .valuesOnly(
                                "chunks",
                                m -> linear(m, 300, 5, m.indices(5, 300).toLongArray(), 0, Losses.Reduction.SUM, false))
                        .references(NeuralRows::linearCrossEntropy)
                        .scale(a -> List.of(Grid.filled(
                                i -> 2
                                        * logitRounding(a.x().dtype())
                                        * (a.reduction() == Losses.Reduction.SUM ? a.x().size(0) : 1),
                                a.reduction() == Losses.Reduction.NONE ? new long[] {a.x().size(0)} : new long[0])))
                        .terms(a -> a.weight().numel())
                        .error(
                                m -> linear(m, 2, 3, new long[] {0, 3}, 0, Losses.Reduction.MEAN, true),
                                ShapeException.class,
                                "target 3 at row 1"),
                samples(Losses.NLL_LOSS)
                        .sample(
                                "[3, 4] mean, weighted",
                                m -> new Losses.Nll(
                                        m.uniform(-3, -0.1, 3, 4),
                                        m.indices(new long[] {1, -100, 0}, 3),
                                        m.constant(0.5, 2, 4),
                                        -100,
                                        Losses.Reduction.MEAN))
                        .sample(
                                "[3, 4] none",
                                m -> new Losses.Nll(
                                        m.uniform(-3, -0.1, 3, 4),
                                        m.indices(new long[] {1, 2, 0}, 3),
                                        null,
                                        -100,
                                        Losses.Reduction.NONE))
                        .references(NeuralRows::nll)
                        .terms(a -> a.logProbabilities().size(0)));
    }

    private static Grid crossEntropy(Losses.CrossEntropy a) {
        return crossEntropy(
                Grid.of(a.logits()), a.targets(), a.weight(), a.ignoreIndex(), a.labelSmoothing(), a.reduction());
    }

    private static Grid crossEntropy(
            Grid x,
            Tensor targetTensor,
            @Nullable Tensor weightTensor,
            long ignoreIndex,
            double smoothing,
            Losses.Reduction reduction) {
        long[] targets = targetTensor.toLongArray();
        int classes = (int) x.size(1);
        double[] weight = weightTensor == null ? ones(classes) : weightTensor.toDoubleArray();
        double[] loss = new double[targets.length];
        double total = 0;
        for (int r = 0; r < loss.length; r++) {
            if (targets[r] == ignoreIndex) {
                continue;
            }
            double max = Double.NEGATIVE_INFINITY;
            for (int c = 0; c < classes; c++) {
                max = Math.max(max, x.at(r, c));
            }
            double sum = 0;
            for (int c = 0; c < classes; c++) {
                sum += Math.exp(x.at(r, c) - max);
            }
            double lse = max + Math.log(sum);
            int t = (int) targets[r];
            loss[r] = (1 - smoothing) * weight[t] * (lse - x.at(r, t));
            for (int c = 0; c < classes && smoothing != 0; c++) {
                loss[r] += smoothing / classes * weight[c] * (lse - x.at(r, c));
            }
            total += weight[t];
        }
        return reduced(loss, total, reduction);
    }

    /** The logits are rounded to the dtype, the loss is float32. */
    private static double logitRounding(DType dtype) {
        return dtype == DType.FLOAT16 ? 0x1p13 : dtype == DType.BFLOAT16 ? 0x1p16 : 1;
    }

    private static LinearCrossEntropy.Args linear(
            Maker m,
            int rows,
            int classes,
            long[] targets,
            double smoothing,
            Losses.Reduction reduction,
            boolean want) {
        return new LinearCrossEntropy.Args(
                m.uniform(-1, 1, rows, 2),
                m.uniform(-1, 1, classes, 2),
                m.uniform(-1, 1, classes),
                m.indices(targets, rows),
                -100,
                smoothing,
                reduction,
                want,
                want,
                want);
    }

    private static Grid linearCrossEntropy(LinearCrossEntropy.Args a) {
        Grid x = Grid.of(a.x());
        Grid w = Grid.of(a.weight());
        Grid b = Grid.of(Objects.requireNonNull(a.bias()));
        int rows = (int) x.size(0);
        int classes = (int) w.size(0);
        double[] logits = new double[rows * classes];
        for (int i = 0; i < logits.length; i++) {
            logits[i] = b.at(i % classes);
            for (int k = 0; k < x.size(1); k++) {
                logits[i] += x.at(i / classes, k) * w.at(i % classes, k);
            }
        }
        return crossEntropy(
                Grid.of(logits, rows, classes), a.targets(), null, a.ignoreIndex(), a.labelSmoothing(), a.reduction());
    }

    private static double largest(Tensor t) {
        return Arrays.stream(t.toDoubleArray())
                .map(Math::abs)
                .filter(Double::isFinite)
                .max()
                .orElse(0);
    }

    private static Grid nll(Losses.Nll a) {
        Grid x = Grid.of(a.logProbabilities());
        long[] targets = a.targets().toLongArray();
        double[] weight =
                a.weight() == null ? ones((int) x.size(1)) : a.weight().toDoubleArray();
        double[] loss = new double[targets.length];
        double total = 0;
        for (int r = 0; r < loss.length; r++) {
            if (targets[r] != a.ignoreIndex()) {
                loss[r] = -weight[(int) targets[r]] * x.at(r, targets[r]);
                total += weight[(int) targets[r]];
            }
        }
        return reduced(loss, total, a.reduction());
    }

    private static double[] ones(int n) {
        double[] v = new double[n];
        Arrays.fill(v, 1);
        return v;
    }

    private static Grid reduced(double[] loss, double total, Losses.Reduction reduction) {
        double sum = Arrays.stream(loss).sum();
        return switch (reduction) {
            case NONE -> Grid.of(loss, loss.length);
            case SUM -> Grid.of(new double[] {sum});
            case MEAN -> Grid.of(new double[] {sum / total});
        };
    }

    // ---------------------------------------------------------------- images

    private static Grid conv(Convolution.Conv2d a, Grid x, Grid w, @Nullable Grid bias) {
        long oh = (x.size(2) + 2 * a.padding()[0] - a.dilation()[0] * (w.size(2) - 1) - 1) / a.stride()[0] + 1;
        long ow = (x.size(3) + 2 * a.padding()[1] - a.dilation()[1] * (w.size(3) - 1) - 1) / a.stride()[1] + 1;
        long perGroup = w.size(0) / a.groups();
        return Grid.filled(
                i -> {
                    long first = i[1] / perGroup * w.size(1);
                    double sum = bias == null ? 0 : bias.at(i[1]);
                    for (long c = 0; c < w.size(1); c++) {
                        for (long p = 0; p < w.size(2); p++) {
                            for (long q = 0; q < w.size(3); q++) {
                                long row = i[2] * a.stride()[0] + p * a.dilation()[0] - a.padding()[0];
                                long column = i[3] * a.stride()[1] + q * a.dilation()[1] - a.padding()[1];
                                if (row >= 0 && row < x.size(2) && column >= 0 && column < x.size(3)) {
                                    sum += x.at(i[0], first + c, row, column) * w.at(i[1], c, p, q);
                                }
                            }
                        }
                    }
                    return sum;
                },
                x.size(0),
                w.size(0),
                oh,
                ow);
    }

    /** x [1, I, 3, 2], weight [I, O/groups, 2, 3] with a bias, or without one where there are groups. */
    private static Convolution.ConvTranspose2d transpose(
            Maker m, long[] stride, long[] padding, long[] extra, long[] dilation, long groups) {
        return new Convolution.ConvTranspose2d(
                m.uniform(-1, 1, 1, 2, 3, 2),
                m.uniform(-1, 1, 2, 2, 2, 3),
                groups > 1 ? null : m.uniform(-1, 1, 2),
                stride,
                padding,
                extra,
                dilation,
                groups);
    }

    private static Grid transposed(Convolution.ConvTranspose2d a, Grid x, Grid w, @Nullable Grid bias) {
        long[] size = new long[2];
        for (int d = 0; d < 2; d++) {
            size[d] = (x.size(2 + d) - 1) * a.stride()[d]
                    - 2 * a.padding()[d]
                    + a.dilation()[d] * (w.size(2 + d) - 1)
                    + a.outputPadding()[d]
                    + 1;
        }
        long inputs = x.size(1) / a.groups();
        Grid y =
                Grid.filled(i -> bias == null ? 0 : bias.at(i[1]), x.size(0), w.size(1) * a.groups(), size[0], size[1]);
        Grid.filled(
                i -> {
                    for (long o = 0; o < w.size(1); o++) {
                        for (long p = 0; p < w.size(2); p++) {
                            for (long q = 0; q < w.size(3); q++) {
                                long row = i[2] * a.stride()[0] + p * a.dilation()[0] - a.padding()[0];
                                long column = i[3] * a.stride()[1] + q * a.dilation()[1] - a.padding()[1];
                                if (row >= 0 && row < size[0] && column >= 0 && column < size[1]) {
                                    long to = i[1] / inputs * w.size(1) + o;
                                    y.add(x.at(i) * w.at(i[1], o, p, q), i[0], to, row, column);
                                }
                            }
                        }
                    }
                    return 0;
                },
                x.shape());
        return y;
    }

    private static Grid windows(Grid x, Windows.Unfold a) {
        int d = a.dim() < 0 ? a.dim() + x.rank() : a.dim();
        long count = (x.size(d) + 2 * a.padding() - a.dilation() * (a.kernel() - 1) - 1) / a.stride() + 1;
        long[] shape = new long[x.rank() + 1];
        for (int k = 0; k < shape.length; k++) {
            shape[k] = k < d ? x.size(k) : k == d ? a.kernel() : k == d + 1 ? count : x.size(k - 1);
        }
        return Grid.filled(
                i -> {
                    long at = i[d + 1] * a.stride() + i[d] * a.dilation() - a.padding();
                    return at < 0 || at >= x.size(d) ? 0 : x.at(Grid.with(Grid.without(i, d), d, at));
                },
                shape);
    }

    private static Grid folded(Grid x, Windows.Fold a) {
        int d = a.dim();
        long[] shape = Grid.with(Grid.without(x.shape(), d), d, a.size());
        Grid y = Grid.filled(i -> 0, shape);
        Grid.filled(
                i -> {
                    long at = i[d + 1] * a.stride() + i[d] * a.dilation() - a.padding();
                    if (at >= 0 && at < a.size()) {
                        y.add(x.at(i), Grid.with(Grid.without(i, d), d, at));
                    }
                    return 0;
                },
                x.shape());
        return y;
    }

    private interface Fold {
        double apply(double[] values, int insidePlane, int inWindow);
    }

    private static Grid pooled(Grid x, long[] kernel, long[] stride, long[] padding, Fold fold) {
        return pooled(x, kernel, stride, padding, false, fold);
    }

    private static long windows(long n, long kernel, long stride, long padding, boolean ceil) {
        long windows = (n + 2 * padding - kernel + (ceil ? stride - 1 : 0)) / stride + 1;
        return ceil && (windows - 1) * stride >= n + padding ? windows - 1 : windows;
    }

    private static Grid pooled(Grid x, long[] kernel, long[] stride, long[] padding, boolean ceil, Fold fold) {
        long oh = windows(x.size(2), kernel[0], stride[0], padding[0], ceil);
        long ow = windows(x.size(3), kernel[1], stride[1], padding[1], ceil);
        return Grid.filled(
                i -> {
                    double[] values = new double[(int) (kernel[0] * kernel[1])];
                    int n = 0;
                    int counted = 0;
                    for (long p = 0; p < kernel[0]; p++) {
                        for (long q = 0; q < kernel[1]; q++) {
                            long row = i[2] * stride[0] + p - padding[0];
                            long column = i[3] * stride[1] + q - padding[1];
                            if (row >= 0 && row < x.size(2) && column >= 0 && column < x.size(3)) {
                                values[n++] = x.at(i[0], i[1], row, column);
                            }
                            counted += row < x.size(2) + padding[0] && column < x.size(3) + padding[1] ? 1 : 0;
                        }
                    }
                    return fold.apply(values, n, counted);
                },
                x.size(0),
                x.size(1),
                oh,
                ow);
    }

    private static List<OpSamples<?, ?>> images() {
        return List.of(
                samples(Convolution.CONV2D)
                        .sample(
                                "[1, 2, 4, 3] 3 x 2",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 1, 2, 4, 3),
                                        m.uniform(-1, 1, 2, 2, 3, 2),
                                        m.uniform(-1, 1, 2),
                                        ONE,
                                        ONE,
                                        ONE,
                                        1))
                        .sample(
                                "groups, strides, dilation",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 1, 2, 5, 5),
                                        m.uniform(-1, 1, 2, 1, 2, 2),
                                        null,
                                        new long[] {2, 1},
                                        NONE,
                                        new long[] {1, 2},
                                        2))
                        .sample(
                                "a channel a group",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 1, 2, 3, 4),
                                        m.uniform(-1, 1, 4, 1, 2, 3),
                                        m.uniform(-1, 1, 4),
                                        ONE,
                                        ONE,
                                        ONE,
                                        2))
                        .sample(
                                "1 x 1",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 2, 3, 2, 3),
                                        m.uniform(-1, 1, 2, 3, 1, 1),
                                        null,
                                        ONE,
                                        NONE,
                                        ONE,
                                        1))
                        .valuesOnly(
                                "[2, 6, 9, 37] a channel a group",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 2, 6, 9, 37),
                                        m.uniform(-1, 1, 6, 1, 3, 3),
                                        m.uniform(-1, 1, 6),
                                        ONE,
                                        ONE,
                                        new long[] {1, 2},
                                        6))
                        .valuesOnly(
                                "[2, 5, 13, 11] 3 x 3",
                                m -> new Convolution.Conv2d(
                                        m.uniform(-1, 1, 2, 5, 13, 11),
                                        m.uniform(-1, 1, 7, 5, 3, 3),
                                        m.uniform(-1, 1, 7),
                                        ONE,
                                        ONE,
                                        ONE,
                                        1))
                        .valuesOnly(
                                "special values",
                                m -> new Convolution.Conv2d(
                                        strewn(m, 1, 2, 13, 11),
                                        m.uniform(-1, 1, 3, 2, 3, 3),
                                        m.uniform(-1, 1, 3),
                                        ONE,
                                        ONE,
                                        ONE,
                                        1))
                        .references(a -> conv(a, Grid.of(a.x()), Grid.of(a.weight()), grid(a.bias())))
                        .scale(a -> List.of(conv(
                                a,
                                abs(Grid.of(a.x())),
                                abs(Grid.of(a.weight())),
                                a.bias() == null ? null : abs(Grid.of(a.bias())))))
                        .terms(a -> a.weight().numel() / a.weight().size(0))
                        .error(
                                m -> new Convolution.Conv2d(
                                        m.uniform(0, 1, 1, 3, 4, 4),
                                        m.uniform(0, 1, 2, 2, 3, 3),
                                        null,
                                        ONE,
                                        NONE,
                                        ONE,
                                        1),
                                ShapeException.class,
                                "conv2d"),
                samples(Convolution.CONV_TRANSPOSE2D)
                        .sample("[1, 2, 3, 2]", m -> transpose(m, ONE, NONE, NONE, ONE, 1))
                        .sample(
                                "groups, strides, more than it must",
                                m -> transpose(m, new long[] {2, 3}, ONE, new long[] {1, 2}, ONE, 2))
                        .sample(
                                "more than a stride leaves",
                                m -> transpose(m, ONE, ONE, new long[] {0, 1}, new long[] {1, 2}, 1))
                        .references(a -> transposed(a, Grid.of(a.x()), Grid.of(a.weight()), grid(a.bias())))
                        .scale(a -> List.of(transposed(
                                a,
                                abs(Grid.of(a.x())),
                                abs(Grid.of(a.weight())),
                                a.bias() == null ? null : abs(Grid.of(a.bias())))))
                        .terms(a -> a.weight().numel() / a.weight().size(1))
                        .roundsEachTerm() // the bias is added to what has been rounded
                        .error(
                                m -> transpose(m, ONE, NONE, ONE, ONE, 1),
                                ShapeException.class,
                                "outputPadding 1 must be")
                        .skip("empty inputs", "nothing is left of some sizes"),
                samples(Windows.UNFOLD)
                        .sample("[2, 5], 3 of 1", m -> new Windows.Unfold(m.uniform(-1, 1, 2, 5), 1, 3, 1, 0, 1))
                        .sample(
                                "[2, 5, 2], 2 of 1, padded, apart",
                                m -> new Windows.Unfold(m.uniform(-1, 1, 2, 5, 2), -2, 2, 2, 3, 2))
                        .valuesOnly("[400] special values", m -> new Windows.Unfold(strewn(m, 400), 0, 5, 3, 2, 1))
                        .references(a -> windows(Grid.of(a.x()), a))
                        .exact()
                        .error(
                                m -> new Windows.Unfold(m.uniform(0, 1, 2, 3), 1, 5, 1, 0, 1),
                                ShapeException.class,
                                "the kernel covers 5 elements"),
                samples(Windows.FOLD)
                        .sample("[2, 3, 3]", m -> new Windows.Fold(m.uniform(-1, 1, 2, 3, 3), 1, 5, 1, 0, 1))
                        .sample(
                                "[2, 2, 5, 2], padded, apart",
                                m -> new Windows.Fold(m.uniform(-1, 1, 2, 2, 5, 2), 1, 5, 2, 3, 2))
                        .references(a -> folded(Grid.of(a.x()), a))
                        .scale(a -> List.of(folded(abs(Grid.of(a.x())), a)))
                        .terms(a -> a.x().numel())
                        .roundsEachTerm()
                        .skip("empty inputs", "the sizes belong together")
                        .error(
                                m -> new Windows.Fold(m.uniform(0, 1, 2, 3, 3), 1, 6, 1, 0, 1),
                                ShapeException.class,
                                "6 elements have 4 windows"),
                samples(Pooling.MAX_POOL2D)
                        .sample(
                                "[1, 2, 4, 4] 2 x 2",
                                m -> new Pooling.MaxPool2d(
                                        m.distinct(1, 2, 4, 4), new long[] {2, 2}, new long[] {2, 2}, NONE, ONE))
                        .sample(
                                "overlapping, padded",
                                m -> new Pooling.MaxPool2d(
                                        m.distinct(1, 1, 5, 4), new long[] {3, 3}, new long[] {2, 1}, ONE, ONE))
                        .sample(
                                "ending outside",
                                m -> new Pooling.MaxPool2d(
                                        m.distinct(1, 1, 6, 4), new long[] {3, 2}, new long[] {2, 3}, ONE, ONE, true))
                        .reference(a -> {
                            Grid x = Grid.of(a.x());
                            Grid y = pooled(
                                    x,
                                    a.kernel(),
                                    a.stride(),
                                    a.padding(),
                                    a.ceilMode(),
                                    (v, n, all) -> Arrays.stream(v, 0, n).max().orElseThrow());
                            Grid where = Grid.filled(
                                    i -> {
                                        for (long k = 0; k < x.size(2) * x.size(3); k++) {
                                            long row = k / x.size(3) + a.padding()[0] - i[2] * a.stride()[0];
                                            long column = k % x.size(3) + a.padding()[1] - i[3] * a.stride()[1];
                                            boolean inside = row >= 0
                                                    && row < a.kernel()[0]
                                                    && column >= 0
                                                    && column < a.kernel()[1];
                                            double v = x.at(i[0], i[1], k / x.size(3), k % x.size(3));
                                            if (inside && Double.compare(v, y.at(i)) == 0) {
                                                return k;
                                            }
                                        }
                                        throw new AssertionError(y.at(i));
                                    },
                                    y.shape());
                            return List.of(y, where);
                        })
                        .valuesOnly(
                                "special values",
                                m -> new Pooling.MaxPool2d(
                                        m.of(
                                                new double[] {
                                                    1, NAN, -INF, -INF, 2, 3, -INF, -INF, INF, 1, NAN, 5, 1, 0, NAN, 6
                                                },
                                                1,
                                                1,
                                                4,
                                                4),
                                        new long[] {2, 2},
                                        new long[] {2, 2},
                                        NONE,
                                        ONE))
                        .exact()
                        .skip("expanded inputs", "the values have ties then"),
                samples(Pooling.AVG_POOL2D)
                        .sample(
                                "[1, 2, 4, 4] 2 x 2",
                                m -> new Pooling.AvgPool2d(
                                        m.uniform(-1, 1, 1, 2, 4, 4), new long[] {2, 2}, new long[] {2, 2}, NONE, true))
                        .sample(
                                "padding left out",
                                m -> new Pooling.AvgPool2d(
                                        m.uniform(-1, 1, 1, 1, 5, 4), new long[] {3, 3}, new long[] {2, 1}, ONE, false))
                        .sample(
                                "ending outside",
                                m -> new Pooling.AvgPool2d(
                                        m.uniform(-1, 1, 1, 1, 6, 4),
                                        new long[] {3, 2},
                                        new long[] {2, 3},
                                        ONE,
                                        true,
                                        true))
                        .valuesOnly(
                                "special values",
                                m -> new Pooling.AvgPool2d(
                                        strewn(m, 1, 1, 8, 8), new long[] {2, 2}, new long[] {2, 2}, NONE, true))
                        .references(a -> pooled(
                                Grid.of(a.x()),
                                a.kernel(),
                                a.stride(),
                                a.padding(),
                                a.ceilMode(),
                                (v, n, all) -> Arrays.stream(v, 0, n).sum() / (a.countIncludePad() ? all : n)))
                        .scale(a -> List.of(pooled(
                                Grid.of(a.x()),
                                a.kernel(),
                                a.stride(),
                                a.padding(),
                                a.ceilMode(),
                                (v, n, all) -> Math.max(
                                        1,
                                        Arrays.stream(v, 0, n)
                                                .map(Math::abs)
                                                .max()
                                                .orElse(1)))))
                        .terms(a -> 9));
    }

    // ---------------------------------------------------------------- attention

    private static OpSamples<Attention.Args, Attention.AttentionResult> attention() {
        return samples(Attention.ATTENTION)
                .sample(
                        "[1, 2, 3, 2]",
                        m -> new Attention.Args(
                                m.uniform(-1, 1, 1, 2, 3, 2),
                                m.uniform(-1, 1, 1, 2, 3, 2),
                                m.uniform(-1, 1, 1, 2, 3, 2),
                                false,
                                0.7))
                .sample(
                        "[1, 1, 3, 2] causal",
                        m -> new Attention.Args(
                                m.uniform(-1, 1, 1, 1, 3, 2),
                                m.uniform(-1, 1, 1, 1, 3, 2),
                                m.uniform(-1, 1, 1, 1, 3, 2),
                                true,
                                0.7))
                .valuesOnly(
                        "[2, 3, 33, 16] causal",
                        m -> new Attention.Args(
                                m.uniform(-1, 1, 2, 3, 33, 16),
                                m.uniform(-1, 1, 2, 3, 33, 16),
                                m.uniform(-1, 1, 2, 3, 33, 16),
                                true,
                                0.25))
                .valuesOnly(
                        "large scores",
                        m -> new Attention.Args(
                                m.uniform(-30, 30, 1, 1, 9, 8),
                                m.uniform(-30, 30, 1, 1, 11, 8),
                                m.uniform(-1, 1, 1, 1, 11, 8),
                                false,
                                1))
                .valuesOnly(
                        "NaN in a query, infinite values",
                        m -> new Attention.Args(
                                m.of(new double[] {1, NAN, 0.5, 0.25, 1, 2}, 1, 1, 3, 2),
                                m.uniform(-1, 1, 1, 1, 3, 2),
                                m.of(new double[] {1, INF, 2, 1, 3, 1}, 1, 1, 3, 2),
                                false,
                                1))
                .sample(
                        "[1, 4, 3, 2] on 2 heads, a mask that is added, causal",
                        m -> with(
                                new Attention.Args(
                                        m.uniform(-1, 1, 1, 4, 3, 2),
                                        m.uniform(-1, 1, 1, 2, 5, 2),
                                        m.uniform(-1, 1, 1, 2, 5, 2),
                                        true,
                                        0.7),
                                m.of(new double[] {0.5, -1, -INF, 2, 0.25}, 1, 1, 1, 5)
                                        .detach(),
                                1,
                                0))
                .sample(
                        "[2, 1, 3, 2], pairs and half of the weights dropped",
                        m -> with(
                                new Attention.Args(
                                        m.uniform(-1, 1, 2, 1, 3, 2),
                                        m.uniform(-1, 1, 2, 1, 4, 2),
                                        m.uniform(-1, 1, 2, 1, 4, 2),
                                        false,
                                        0.7),
                                m.of(new double[] {1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 1}, 1, 1, 3, 4)
                                        .ne(0)
                                        .detach(),
                                0,
                                0.5))
                .valuesOnly(
                        "[1, 4, 70, 16] on 2 heads of 150, keys, dropped, causal from the end",
                        m -> with(
                                new Attention.Args(
                                        m.uniform(-1, 1, 1, 4, 70, 16),
                                        m.uniform(-1, 1, 1, 2, 150, 16),
                                        m.uniform(-1, 1, 1, 2, 150, 16),
                                        true,
                                        0.25),
                                m.booleans(1, 1, 1, 150),
                                80,
                                0.3))
                .references(NeuralRows::attended)
                // An exponential is as far off as its score, which is as far off as it is large.
                .scale(a -> List.of(Grid.filled(
                        i -> 1 + Math.abs(a.scale()) * largest(a.q()) * largest(a.k()),
                        a.q().shape().toArray())))
                .terms(a -> a.k().size(2) * a.k().size(3))
                .error(
                        m -> new Attention.Args(
                                m.uniform(0, 1, 1, 2, 3, 2),
                                m.uniform(0, 1, 1, 2, 3, 4),
                                m.uniform(0, 1, 1, 2, 3, 4),
                                false,
                                1),
                        ShapeException.class,
                        "attention")
                .error(
                        m -> new Attention.Args(
                                m.indices(2, 1, 1, 2, 2), m.indices(2, 1, 1, 2, 2), m.indices(2, 1, 1, 2, 2), false, 1),
                        DTypeException.class,
                        "int64");
    }

    private static Attention.Args with(Attention.Args a, Tensor mask, long shift, double dropout) {
        return new Attention.Args(
                a.q(), a.k(), a.v(), mask, a.causal(), shift, a.scale(), dropout, dropout == 0 ? 0 : 7, 11, null);
    }

    private static Grid attended(Attention.Args a) {
        Grid q = Grid.of(a.q());
        Grid k = Grid.of(a.k());
        Grid v = Grid.of(a.v());
        Grid mask = a.mask() == null ? null : Grid.of(a.mask());
        boolean adds = a.mask() != null && a.mask().dtype().isFloating();
        int keys = (int) k.size(2);
        long group = q.size(1) / k.size(1);
        return Grid.filled(
                i -> {
                    double[] scores = new double[keys];
                    boolean[] sees = new boolean[keys];
                    double max = -INF;
                    for (int j = 0; j < keys; j++) {
                        double more = mask == null ? 1 : broadcast(mask, i[0], i[1], i[2], j);
                        sees[j] = (!a.causal() || j <= i[2] + a.shift()) && more != (adds ? -INF : 0);
                        for (long d = 0; d < q.size(3); d++) {
                            scores[j] += a.scale() * q.at(i[0], i[1], i[2], d) * k.at(i[0], i[1] / group, j, d);
                        }
                        scores[j] += adds ? more : 0;
                        max = sees[j] ? Math.max(max, scores[j]) : max;
                    }
                    double sum = 0;
                    double weighted = 0;
                    long row = (i[2] * q.size(0) + i[0]) * q.size(1) + i[1];
                    for (int j = 0; j < keys; j++) {
                        if (sees[j]) {
                            double p = Math.exp(scores[j] - max);
                            int lane = Philox.lane(a.seed(), a.offset() + row * ((keys + 3) / 4), j);
                            boolean kept = Integer.toUnsignedLong(lane) >= Math.round(a.dropout() * 0x1p32);
                            sum += p;
                            weighted += kept ? p / (1 - a.dropout()) * v.at(i[0], i[1] / group, j, i[3]) : 0;
                        }
                    }
                    return max == -INF ? 0 : weighted / sum;
                },
                q.shape());
    }

    private static double broadcast(Grid g, long... index) {
        for (int d = 0; d < index.length; d++) {
            index[d] = g.size(d) == 1 ? 0 : index[d];
        }
        return g.at(index);
    }

    private static OpSamples<SelfAttention.Args, SelfAttention.Attended> selfAttention() {
        return samples(SelfAttention.SELF_ATTENTION)
                .sample("[1, 3, 12], 2 heads", m -> new SelfAttention.Args(m.uniform(-1, 1, 1, 3, 12), 2, false, 0.7))
                .sample("[2, 3, 6] causal", m -> new SelfAttention.Args(m.uniform(-1, 1, 2, 3, 6), 1, true, 0.7))
                .valuesOnly(
                        "[2, 33, 144], 3 heads, causal",
                        m -> new SelfAttention.Args(m.uniform(-1, 1, 2, 33, 144), 3, true, 0.25))
                .references(a -> {
                    Grid x = Grid.of(a.qkv());
                    long width = x.size(2) / 3;
                    long each = Math.max(1, width / a.heads());
                    return Grid.filled(
                            i -> {
                                long last = a.causal() ? i[1] : x.size(1) - 1;
                                long first = i[2] / each * each;
                                double sum = 0;
                                double weighted = 0;
                                for (long j = 0; j <= last; j++) {
                                    double score = 0;
                                    for (long d = first; d < first + each; d++) {
                                        score += x.at(i[0], i[1], d) * x.at(i[0], j, width + d);
                                    }
                                    double p = Math.exp(a.scale() * score);
                                    sum += p;
                                    weighted += p * x.at(i[0], j, 2 * width + i[2]);
                                }
                                return weighted / sum;
                            },
                            x.size(0),
                            x.size(1),
                            width);
                })
                .scale(a -> {
                    long[] sizes = a.qkv().shape().toArray();
                    return List.of(Grid.filled(i -> 1, sizes[0], sizes[1], sizes[2] / 3));
                })
                .terms(a -> a.qkv().size(1) * a.qkv().size(2))
                .error(
                        m -> new SelfAttention.Args(m.uniform(0, 1, 1, 2, 9), 2, false, 1),
                        ShapeException.class,
                        "heads that divide W")
                .error(m -> new SelfAttention.Args(m.indices(2, 1, 2, 6), 1, false, 1), DTypeException.class, "int64");
    }
}
