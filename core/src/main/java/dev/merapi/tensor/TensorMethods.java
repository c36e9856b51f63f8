// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.ops.Reductions;
import dev.merapi.types.Shape;

/** The operations of a tensor: one line each, to the op that does it. */
public abstract sealed class TensorMethods extends DataMethods permits Tensor {
    TensorMethods() {}

    // ---------------------------------------------------------------- reductions

    public Tensor sum(int... dims) {
        return Reductions.SUM.call(new Reductions.Over(self(), dims, false));
    }

    /** Sums over what broadcasting repeated, so that the result has that shape. */
    public Tensor sumTo(Shape shape) {
        Tensor t = self();
        if (t.shape().equals(shape)) {
            return t;
        }
        int extra = t.rank() - shape.rank();
        int[] dims = new int[t.rank()];
        int n = 0;
        for (int d = 0; d < t.rank(); d++) {
            if (d < extra || shape.size(d - extra) == 1 && t.size(d) != 1) {
                dims[n++] = d;
            }
        }
        Tensor s = n == 0 ? t : sum(java.util.Arrays.copyOf(dims, n));
        return s.shape().equals(shape) ? s : s.reshape(shape.toArray());
    }

    /** True where any element is not 0; 0-d. */
    public Tensor any() {
        return ne(0).sum().ne(0);
    }
}
