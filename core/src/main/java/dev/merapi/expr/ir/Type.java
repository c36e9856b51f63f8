// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.types.DType;

/**
 * Logical type of a node, by PyTorch's rules: tensors with dimensions decide; tensors of rank 0 and then weak numbers
 * matter only if their category is higher.
 */
record Type(DType dtype, Strength strength) {
    enum Strength {
        /** A constant or scalar parameter: takes on the type of what it meets. */
        WEAK,
        /** A tensor of rank 0. */
        RANK_0,
        TENSOR
    }

    static Type weak(DType.Kind kind) {
        return new Type(
                switch (kind) {
                    case BOOLEAN -> DType.BOOL;
                    case INTEGRAL -> DType.INT64;
                    case FLOATING -> DType.FLOAT32;
                },
                Strength.WEAK);
    }

    boolean isWeak() {
        return strength == Strength.WEAK;
    }

    DType.Kind kind() {
        return dtype.kind();
    }

    Type with(DType other) {
        return new Type(other, strength);
    }

    static Type promote(Type a, Type b) {
        Type high = a.strength.compareTo(b.strength) >= 0 ? a : b;
        Type low = high == a ? b : a;
        if (high.strength == low.strength || high.kind().compareTo(low.kind()) < 0) {
            return high.with(DType.promote(a.dtype, b.dtype));
        }
        return high;
    }

    /** Integers and bools become the default floating dtype. */
    Type floating() {
        return dtype.isFloating() ? this : with(DType.FLOAT32);
    }
}
