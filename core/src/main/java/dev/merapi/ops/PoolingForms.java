// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.Objects;

/** Pooling of one and three dimensions by that of two: windows are boxes, whose extremes and means are those of their sides. */
final class PoolingForms {
    private PoolingForms() {}

    static Pooling.MaxPoolResult max(
            Tensor x, long[] kernel, long[] stride, long[] padding, long[] dilation, boolean ceil) {
        require("maxPool", x, kernel, stride, padding, dilation);
        return switch (kernel.length) {
            case 1 -> {
                Pooling.MaxPoolResult r = Pooling.MAX_POOL2D.call(new Pooling.MaxPool2d(
                        x.unsqueeze(2), row(kernel, 1), row(stride, 1), row(padding, 0), row(dilation, 1), ceil));
                yield new Pooling.MaxPoolResult(r.y().squeeze(2), r.indices().squeeze(2));
            }
            case 2 -> Pooling.MAX_POOL2D.call(new Pooling.MaxPool2d(x, kernel, stride, padding, dilation, ceil));
            default -> {
                long depth = x.size(2);
                Pooling.MaxPoolResult planes = Pooling.MAX_POOL2D.call(new Pooling.MaxPool2d(
                        x.reshape(x.size(0), x.size(1) * depth, x.size(3), x.size(4)),
                        plane(kernel),
                        plane(stride),
                        plane(padding),
                        plane(dilation),
                        ceil));
                long[] flat = {
                    x.size(0), x.size(1), depth, planes.y().size(2) * planes.y().size(3)
                };
                Pooling.MaxPoolResult along = Pooling.MAX_POOL2D.call(new Pooling.MaxPool2d(
                        planes.y().reshape(flat),
                        column(kernel, 1),
                        column(stride, 1),
                        column(padding, 0),
                        column(dilation, 1),
                        ceil));
                // Where a column's element stands in [D, OH·OW]: its depth, and the place that was kept there.
                Tensor at = along.indices().floorDivide(flat[3]);
                Tensor within = planes.indices().reshape(flat).gather(2, at);
                Tensor indices = at.mul(x.size(3) * x.size(4)).add(within);
                long[] shape = {
                    x.size(0),
                    x.size(1),
                    along.y().size(2),
                    planes.y().size(2),
                    planes.y().size(3)
                };
                yield new Pooling.MaxPoolResult(along.y().reshape(shape), indices.reshape(shape));
            }
        };
    }

    static Tensor average(Tensor x, long[] kernel, long[] stride, long[] padding, boolean ceil, boolean countPad) {
        require("avgPool", x, kernel, stride, padding, padding);
        return switch (kernel.length) {
            case 1 ->
                Pooling.AVG_POOL2D
                        .call(new Pooling.AvgPool2d(
                                x.unsqueeze(2), row(kernel, 1), row(stride, 1), row(padding, 0), countPad, ceil))
                        .squeeze(2);
            case 2 -> Pooling.AVG_POOL2D.call(new Pooling.AvgPool2d(x, kernel, stride, padding, countPad, ceil));
            default -> {
                long depth = x.size(2);
                Tensor planes = Pooling.AVG_POOL2D.call(new Pooling.AvgPool2d(
                        x.reshape(x.size(0), x.size(1) * depth, x.size(3), x.size(4)),
                        plane(kernel),
                        plane(stride),
                        plane(padding),
                        countPad,
                        ceil));
                Tensor along = Pooling.AVG_POOL2D.call(new Pooling.AvgPool2d(
                        planes.reshape(x.size(0), x.size(1), depth, planes.size(2) * planes.size(3)),
                        column(kernel, 1),
                        column(stride, 1),
                        column(padding, 0),
                        countPad,
                        ceil));
                yield along.reshape(x.size(0), x.size(1), along.size(2), planes.size(2), planes.size(3));
            }
        };
    }

    /** [N, C, size]. */
    static long[] with(Tensor x, long... size) {
        long[] shape = new long[2 + size.length];
        shape[0] = x.size(0);
        shape[1] = x.size(1);
        System.arraycopy(size, 0, shape, 2, size.length);
        return shape;
    }

    static void require(String op, Tensor x, long[]... sizes) {
        Objects.requireNonNull(x, "x");
        int rank = Objects.requireNonNull(sizes[0], "size").length;
        for (long[] s : sizes) {
            Objects.requireNonNull(s, "stride, padding or dilation");
            if (rank < 1 || rank > 3 || s.length != rank || x.rank() != rank + 2) {
                throw new ShapeException(
                        op + ": takes x [N, C, L], [N, C, H, W] or [N, C, D, H, W] and a size, stride, "
                                + "padding and dilation for each dimension after the channels, but one has "
                                + Arrays.toString(s)
                                + "\n  x: " + x.describe() + "\n  fix: unsqueeze(0) makes a batch of one.");
            }
        }
    }

    private static long[] row(long[] one, long other) {
        return new long[] {other, one[0]};
    }

    private static long[] column(long[] three, long other) {
        return new long[] {three[0], other};
    }

    private static long[] plane(long[] three) {
        return new long[] {three[1], three[2]};
    }
}
