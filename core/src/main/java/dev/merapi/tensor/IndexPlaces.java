// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * The places of an index applied to a tensor: the view that numbers, slices and new axes make, and the tensors that are
 * still to choose, each with its dimension of that view. A mask is the coordinates of what it holds for.
 */
record IndexPlaces(Tensor view, int[] dims, List<Tensor> chosen) {
    static IndexPlaces of(Tensor x, Index... where) {
        Objects.requireNonNull(where, "where");
        int taken = 0;
        int ellipses = 0;
        for (Index place : where) {
            Objects.requireNonNull(place, "where");
            taken += takes(place);
            ellipses += place.kind == Index.Kind.ELLIPSIS ? 1 : 0;
        }
        if (taken > x.rank() || ellipses > 1) {
            throw new ShapeException(Message.of(
                            "merapi::index",
                            ellipses > 1
                                    ? "ELLIPSIS stands for all other dimensions, and is there " + ellipses + " times"
                                    : "places for " + taken + " dimensions, but x has " + x.rank())
                    .fact("x", x.describe())
                    .fact("places", Arrays.toString(where)));
        }
        Tensor view = x;
        List<Integer> dims = new ArrayList<>();
        List<Tensor> chosen = new ArrayList<>();
        int d = 0;
        for (Index place : where) {
            switch (place.kind) {
                case NUMBER -> view = view.select(d, place.start);
                case SLICE -> view = place == Index.ALL ? view : view.slice(d, place.start, place.end, place.step);
                case NEW_AXIS -> view = view.unsqueeze(d);
                case TENSOR -> {
                    Tensor t = Objects.requireNonNull(place.tensor);
                    if (t.dtype() != DType.BOOL && t.rank() == 0) {
                        requireIntegers(t);
                        view = view.select(d--, t.itemLong());
                    } else if (t.dtype() != DType.BOOL) {
                        requireIntegers(t);
                        dims.add(d);
                        chosen.add(t);
                    } else {
                        if (t.rank() == 0) {
                            view = view.unsqueeze(d);
                            t = t.reshape(1);
                        }
                        requireMask(view, d, t);
                        Tensor coordinates = t.nonzero();
                        for (int k = 0; k < t.rank(); k++) {
                            dims.add(d + k);
                            chosen.add(coordinates.select(1, k));
                        }
                        d += t.rank() - 1;
                    }
                }
                case ELLIPSIS -> d += x.rank() - taken - 1;
            }
            d += place.kind == Index.Kind.NUMBER ? 0 : 1;
        }
        return new IndexPlaces(view, dims.stream().mapToInt(i -> i).toArray(), chosen);
    }

    private static int takes(Index place) {
        return switch (place.kind) {
            case NUMBER, SLICE -> 1;
            case TENSOR -> {
                Tensor t = Objects.requireNonNull(place.tensor);
                yield t.dtype() == DType.BOOL ? t.rank() : 1;
            }
            case NEW_AXIS, ELLIPSIS -> 0;
        };
    }

    private static void requireIntegers(Tensor t) {
        if (t.dtype() != DType.INT64 && t.dtype() != DType.INT32) {
            throw new DTypeException(Message.of(
                            "merapi::index", "a place is int32, int64 or, as a mask, bool; but one is " + t.describe())
                    .fix("to(DType.INT64) for indices, ne(0) for a mask."));
        }
    }

    private static void requireMask(Tensor view, int d, Tensor mask) {
        Shape shape = view.shape();
        for (int k = 0; k < mask.rank(); k++) {
            if (mask.size(k) != shape.size(d + k)) {
                throw new ShapeException(Message.of(
                                "merapi::index",
                                "a mask of size " + mask.size(k) + " for dimension " + (d + k) + " of size "
                                        + shape.size(d + k))
                        .fact("x", view.describe())
                        .fact("mask", mask.describe()));
            }
        }
    }
}
