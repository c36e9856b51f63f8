// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.types.DType;
import java.util.Locale;

/** Type of a register: what arithmetic is carried out in, as opposed to how elements are stored. */
public enum RegType {
    F32,
    F64,
    I32,
    I64,
    BOOL;

    private final String text = name().toLowerCase(Locale.ROOT);

    /** The register type that elements of a dtype are loaded into: small floats compute in f32, small integers in i32. */
    public static RegType of(DType dtype) {
        return switch (dtype) {
            case FLOAT16, BFLOAT16, FLOAT32 -> F32;
            case FLOAT64 -> F64;
            case UINT8, INT8, INT16, INT32 -> I32;
            case INT64 -> I64;
            case BOOL -> BOOL;
        };
    }

    public boolean isFloating() {
        return this == F32 || this == F64;
    }

    /** True for i32 and i64; bool is not one of them. */
    public boolean isInteger() {
        return this == I32 || this == I64;
    }

    /** The name in program texts. */
    @Override
    public String toString() {
        return text;
    }
}
