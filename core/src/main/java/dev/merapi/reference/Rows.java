// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.types.Shape;

/** A row-major tensor seen as [outer, length, inner] around one dimension: its rows along that dimension. */
record Rows(long outer, long length, long inner) {
    static Rows of(Shape shape, int dim) {
        long outer = 1;
        long inner = 1;
        for (int d = 0; d < shape.rank(); d++) {
            outer *= d < dim ? shape.size(d) : 1;
            inner *= d > dim ? shape.size(d) : 1;
        }
        return new Rows(outer, shape.rank() == 0 ? 1 : shape.size(dim), inner);
    }

    /** Number of rows. */
    long count() {
        return outer * inner;
    }

    /** Row-major index of element {@code j} of row {@code r}. */
    long index(long r, long j) {
        return (r / inner * length + j) * inner + r % inner;
    }
}
