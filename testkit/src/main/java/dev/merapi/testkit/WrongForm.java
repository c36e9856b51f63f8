// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;

/** Ways to make a tensor what an op does not expect. */
enum WrongForm {
    ONE_ROW_LESS {
        @Override
        Tensor of(Tensor t) {
            return t.rank() == 0
                    ? t.unsqueeze(0)
                    : t.slice(0, 0, Math.max(0, t.size(0) - 1)).copy();
        }
    },
    ONE_COLUMN_LESS {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return t.rank() == 0
                    ? null
                    : t.slice(-1, 0, Math.max(0, t.size(-1) - 1)).copy();
        }
    },
    ONE_DIMENSION_MORE {
        @Override
        Tensor of(Tensor t) {
            return t.unsqueeze(0);
        }
    },
    VECTOR {
        @Override
        Tensor of(Tensor t) {
            return t.view(t.numel());
        }
    },
    EMPTY {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return t.rank() == 0 ? null : t.slice(0, 0, 0).copy();
        }
    },
    SCALAR {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return t.numel() == 0 ? null : t.view(t.numel()).select(0, 0).copy();
        }
    },
    TWICE {
        @Override
        Tensor of(Tensor t) {
            Tensor rows = t.rank() == 0 ? t.unsqueeze(0) : t;
            return Tensor.cat(java.util.List.of(rows, rows), 0);
        }
    },
    TRANSPOSED {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return t.rank() < 2 ? null : t.transpose(0, t.rank() - 1).copy();
        }
    },
    INTEGER {
        @Override
        Tensor of(Tensor t) {
            return t.to(t.dtype() == DType.INT64 ? DType.INT32 : DType.INT64);
        }
    },
    FLOATING {
        @Override
        Tensor of(Tensor t) {
            return t.to(t.dtype() == DType.FLOAT32 ? DType.FLOAT64 : DType.FLOAT32);
        }
    },
    TRUTH {
        @Override
        Tensor of(Tensor t) {
            return t.to(DType.BOOL);
        }
    },
    MUCH_LARGER_NUMBERS {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return isIndex(t) ? t.add(1_000_003) : null;
        }
    },
    MUCH_SMALLER_NUMBERS {
        @Override
        @Nullable
        Tensor of(Tensor t) {
            return isIndex(t) ? t.sub(1_000_003) : null;
        }
    };

    private static boolean isIndex(Tensor t) {
        return t.dtype() == DType.INT64 || t.dtype() == DType.INT32;
    }

    /** The changed tensor, or null where there is no such change. */
    abstract @Nullable Tensor of(Tensor t);
}
