// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.types.DType;

/** The dtype codes of {@code merapi_kernels.h}. */
final class DTypes {
    private DTypes() {}

    static int code(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> 0;
            case FLOAT64 -> 1;
            case FLOAT16 -> 2;
            case BFLOAT16 -> 3;
            case INT32 -> 4;
            case INT64 -> 5;
            case UINT8 -> 6;
            case BOOL -> 7;
        };
    }
}
