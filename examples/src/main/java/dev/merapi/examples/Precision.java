// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.autograd.Autocast;
import dev.merapi.optim.GradScaler;
import dev.merapi.types.DType;
import java.util.Arrays;

/** The arithmetic of a training run: float32, mixed with 16 bits for the products of matrices, or bfloat16 throughout. */
enum Precision {
    F32("f32", DType.FLOAT32),
    BF16("bf16", DType.BFLOAT16),
    F16("f16", DType.FLOAT16),
    /** Parameters are bfloat16 too; the optimiser keeps float32 masters of them. */
    BF16_PARAMS("bf16-params", DType.BFLOAT16);

    private final String name;
    private final DType dtype;

    Precision(String name, DType dtype) {
        this.name = name;
        this.dtype = dtype;
    }

    static Precision of(String name) {
        for (Precision p : values()) {
            if (p.name.equals(name)) {
                return p;
            }
        }
        throw new IllegalArgumentException(
                "is none of " + Arrays.stream(values()).map(p -> p.name).toList());
    }

    /** What the forward passes run in. */
    Autocast mode() {
        return this == BF16 || this == F16 ? Autocast.on(dtype) : Autocast.off();
    }

    /** What the parameters are. */
    DType parameters() {
        return this == BF16_PARAMS ? dtype : DType.FLOAT32;
    }

    /** On for float16 alone: bfloat16 reaches as far as float32. */
    GradScaler scaler() {
        return new GradScaler(this == F16);
    }
}
