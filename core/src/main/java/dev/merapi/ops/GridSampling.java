// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;

/** Images at the places of a grid: neighbours that are gathered, and weighed by differentiable weights. */
final class GridSampling {
    private GridSampling() {}

    static Tensor sample(Tensor x, Tensor grid, Interpolation mode, GridPadding padding, boolean align) {
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(grid, "grid");
        Objects.requireNonNull(mode, "mode");
        Objects.requireNonNull(padding, "padding");
        Softmax.requireFloating("gridSample", x);
        LinearAlgebra.requireSame("gridSample", x, "x", grid, "grid");
        if (mode == Interpolation.AREA || mode == Interpolation.NEAREST_EXACT) {
            throw new ShapeException("gridSample: there is no mode " + mode + "\n  fix: NEAREST, LINEAR or CUBIC.");
        }
        if (x.rank() != 4
                || grid.rank() != 4
                || grid.size(3) != 2
                || grid.size(0) != x.size(0)
                || x.size(2) == 0
                || x.size(3) == 0) {
            throw new ShapeException(
                    Message.of("gridSample: needs x [N, C, H, W], not empty, and a grid [N, OH, OW, 2]")
                            .fact("x", x.describe())
                            .fact("grid", grid.describe())
                            .fix("x.unsqueeze(0) makes a batch of one."));
        }
        DType wide = x.dtype().computeType();
        Tensor image = x.to(wide).reshape(x.size(0), x.size(1), x.size(2) * x.size(3));
        long points = grid.size(1) * grid.size(2);
        Tensor places = grid.to(wide).reshape(grid.size(0), points, 2);
        Axis columns = new Axis(x.size(3), padding, align);
        Axis rows = new Axis(x.size(2), padding, align);
        Tensor column = columns.place(places.select(2, 0));
        Tensor row = rows.place(places.select(2, 1));
        if (mode != Interpolation.CUBIC) {
            column = columns.padded(column);
            row = rows.padded(row);
        }
        Tensor y = switch (mode) {
            case NEAREST ->
                at(image, columns, column.detach().round(), rows, row.detach().round());
            case LINEAR -> weighed(image, columns, linear(column), 0, rows, linear(row), 0, column, row);
            default -> weighed(image, columns, cubic(column), -1, rows, cubic(row), -1, column, row);
        };
        return y.reshape(x.size(0), x.size(1), grid.size(1), grid.size(2)).to(x.dtype());
    }

    private static List<Tensor> linear(Tensor place) {
        Tensor t = place.sub(place.detach().floor());
        return List.of(t.rsub(1), t);
    }

    private static List<Tensor> cubic(Tensor place) {
        return Resizing.cubic(place.sub(place.detach().floor()));
    }

    /** The sum of neighbours times the products of their weights; `from`: where the first stands. */
    private static Tensor weighed(
            Tensor image,
            Axis columns,
            List<Tensor> across,
            long from,
            Axis rows,
            List<Tensor> down,
            long top,
            Tensor column,
            Tensor row) {
        Tensor firstColumn = column.detach().floor();
        Tensor firstRow = row.detach().floor();
        Tensor sum = null;
        for (int i = 0; i < down.size(); i++) {
            for (int j = 0; j < across.size(); j++) {
                Tensor c = firstColumn.add(from + j);
                Tensor r = firstRow.add(top + i);
                if (across.size() > 2) {
                    c = columns.padded(c);
                    r = rows.padded(r);
                }
                Tensor weight = down.get(i).mul(across.get(j)).unsqueeze(1);
                Tensor value = at(image, columns, c, rows, r);
                sum = sum == null ? value.mul(weight) : sum.addcmul(value, weight, 1);
            }
        }
        return Objects.requireNonNull(sum);
    }

    /** Elements of the image; 0 outside. */
    private static Tensor at(Tensor image, Axis columns, Tensor column, Axis rows, Tensor row) {
        Tensor index = row.clamp(0, rows.size - 1)
                .to(DType.INT64)
                .mul(columns.size)
                .add(column.clamp(0, columns.size - 1).to(DType.INT64));
        Tensor values = image.gather(
                2,
                index.unsqueeze(1)
                        .expand(image.size(0), image.size(1), index.size(1))
                        .contiguous());
        if (columns.padding != GridPadding.ZEROS) {
            return values;
        }
        Tensor inside = columns.inside(column).logicalAnd(rows.inside(row)).unsqueeze(1);
        return values.where(inside, 0);
    }

    /** Where −1 to 1 is along a dimension. */
    private record Axis(long size, GridPadding padding, boolean align) {
        Tensor place(Tensor g) {
            return align
                    ? g.add(1).mul((size - 1) / 2.0)
                    : g.add(1).mul(size).sub(1).mul(0.5);
        }

        Tensor padded(Tensor place) {
            return switch (padding) {
                case ZEROS -> place;
                case BORDER -> place.hardtanh(0, size - 1);
                case REFLECTION -> reflected(place).hardtanh(0, size - 1);
            };
        }

        /** Mirrored at the middles of the outermost elements, or at their outer borders. */
        private Tensor reflected(Tensor place) {
            double low = align ? 0 : -0.5;
            double span = align ? size - 1 : size;
            if (span == 0) {
                return place.mul(0);
            }
            Tensor off = place.sub(low).abs();
            Tensor extra = off.fmod(span);
            Tensor even = off.detach().div(span).floor().remainder(2).eq(0);
            return Tensor.where(even, extra.add(low), extra.rsub(span + low));
        }

        Tensor inside(Tensor place) {
            return place.ge(0).logicalAnd(place.le(size - 1));
        }
    }

    /** The middles of n elements, from −1 to 1. */
    static Tensor middles(Tensor like, long n, boolean align) {
        Tensor i = Reductions.count(like, n).to(DType.FLOAT64);
        Tensor places = align
                ? n > 1 ? i.mul(2.0 / (n - 1)).sub(1) : i.mul(0)
                : i.mul(2).add(1).div(n).sub(1);
        return places.to(like.dtype());
    }
}
