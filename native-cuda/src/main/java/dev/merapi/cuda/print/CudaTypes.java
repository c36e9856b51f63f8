// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.print;

import dev.merapi.expr.ir.RegType;
import dev.merapi.types.DType;

/** Names of types in kernels. */
public final class CudaTypes {
    private CudaTypes() {}

    /** How elements lie in memory; those that are no C++ types are in the prelude, namespace merapi. */
    public static String storage(DType dtype) {
        return switch (dtype) {
            case FLOAT32 -> "float";
            case FLOAT64 -> "double";
            case FLOAT16 -> "merapi::f16";
            case BFLOAT16 -> "merapi::bf16";
            case INT32 -> "int";
            case INT64 -> "long long";
            case INT16 -> "short";
            case INT8 -> "signed char";
            case UINT8 -> "unsigned char";
            case BOOL -> "merapi::b8";
        };
    }

    static String register(RegType type) {
        return switch (type) {
            case F32 -> "float";
            case F64 -> "double";
            case I32 -> "int";
            case I64 -> "long long";
            case BOOL -> "bool";
        };
    }
}
