// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.dispatch.Composition;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Each value once: a sort, and where its runs begin. How many there are depends on the data: the host waits for it. */
public final class Uniques {
    private Uniques() {}

    /**
     * What is different in a tensor.
     *
     * @param values each once
     * @param inverse int64: which of them each element, or each slice, is
     * @param counts int64: how often each is there
     */
    public record Unique(Tensor values, Tensor inverse, Tensor counts) {}

    /**
     * Each value once, in rising order; NaNs are all different.
     *
     * @param x of any dtype and shape
     * @return values [n], their place for each element of x, in its shape, and counts [n]
     */
    public static Unique sorted(Tensor x) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::unique", () -> {
            Tensor flat = x.reshape(-1);
            Ordering.Ordered sorted = flat.sort(0);
            Unique runs = runs(sorted.values(), null);
            return new Unique(
                    runs.values(),
                    runs.inverse()
                            .scatter(0, sorted.indices(), runs.inverse())
                            .view(x.shape().toArray()),
                    runs.counts());
        });
    }

    /**
     * Each slice of a dimension once, in rising order of their elements.
     *
     * @param x of any dtype
     * @param dim whose slices are compared; negative ones count from the end
     * @return x with n slices along the dimension, the place of each of its slices, and counts [n]
     * @throws ShapeException if slices are empty
     */
    public static Unique sorted(Tensor x, int dim) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::unique", () -> {
            int d = x.layout().requireDim("unique", dim);
            Tensor slices = slices(x, d);
            // By the last element first: each sort keeps the order of those before, where its elements are the same.
            Tensor order = TensorIndexing.range(x, x.size(d), 1);
            for (long k = slices.size(1) - 1; k >= 0; k--) {
                Tensor column = slices.select(1, k).indexSelect(0, order);
                order = order.indexSelect(0, column.sort(0).indices());
            }
            Unique runs = runs(slices.indexSelect(0, order), null);
            return new Unique(
                    unsliced(runs.values(), x, d), runs.inverse().scatter(0, order, runs.inverse()), runs.counts());
        });
    }

    /**
     * Each run of equal values once, in the order of x.
     *
     * @param x of any dtype and shape, in row-major order
     * @return values [n], their place for each element of x, in its shape, and counts [n]
     */
    public static Unique consecutive(Tensor x) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::unique_consecutive", () -> runs(x.reshape(-1), x));
    }

    /**
     * Each run of equal slices of a dimension once, in their order.
     *
     * @param x of any dtype
     * @param dim whose slices are compared; negative ones count from the end
     * @return x with n slices along the dimension, the place of each of its slices, and counts [n]
     * @throws ShapeException if slices are empty
     */
    public static Unique consecutive(Tensor x, int dim) {
        Objects.requireNonNull(x, "x");
        return Composition.of("merapi::unique_consecutive", () -> {
            int d = x.layout().requireDim("unique_consecutive", dim);
            Unique runs = runs(slices(x, d), null);
            return new Unique(unsliced(runs.values(), x, d), runs.inverse(), runs.counts());
        });
    }

    private static Tensor slices(Tensor x, int d) {
        if (x.numel() == 0 && x.size(d) > 0) {
            throw new ShapeException(Message.of("merapi::unique", "the slices of dimension " + d + " are empty")
                    .fact("x", x.describe())
                    .fix("leave the call out where a size is 0."));
        }
        Tensor first = x.moveDim(d, 0);
        return first.reshape(x.size(d), x.numel() == 0 ? 0 : x.numel() / x.size(d));
    }

    private static Tensor unsliced(Tensor rows, Tensor x, int d) {
        long[] sizes = x.moveDim(d, 0).shape().toArray();
        sizes[0] = rows.size(0);
        return rows.view(sizes).moveDim(0, d);
    }

    /** @param form the shape of the inverse, if it is not that of the rows */
    private static Unique runs(Tensor rows, @Nullable Tensor form) {
        long n = rows.size(0);
        Tensor differs;
        if (n < 2) {
            differs = Tensor.zeros(Shape.of(0), DType.BOOL, rows.device());
        } else {
            differs = rows.narrow(0, 1, n - 1).ne(rows.narrow(0, 0, n - 1));
            differs = rows.rank() == 1 ? differs : differs.any(1);
        }
        Tensor places = TensorIndexing.range(rows, n, 1);
        Tensor begins = n == 0 ? differs : Joining.pad(differs, new long[] {1, 0}, 1);
        Tensor starts = places.indexSelect(0, begins.nonzero().squeeze(1));
        Tensor ends = starts.numel() == 0
                ? starts
                : Tensor.cat(
                        List.of(
                                starts.narrow(0, 1, starts.numel() - 1),
                                places.narrow(0, n - 1, 1).add(1)),
                        0);
        Tensor inverse = begins.to(DType.INT64).cumsum(0).sub(1);
        return new Unique(
                rows.indexSelect(0, starts),
                form == null ? inverse : inverse.view(form.shape().toArray()),
                ends.sub(starts));
    }
}
