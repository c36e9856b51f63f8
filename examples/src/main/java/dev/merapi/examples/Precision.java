// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.autograd.Autocast;
import dev.merapi.optim.GradScaler;
import dev.merapi.types.DType;
import java.util.Arrays;

/** The arithmetic of a training run: float32, or mixed with 16 bits for the products of matrices. */
enum Precision {
    F32(DType.FLOAT32),
    BF16(DType.BFLOAT16),
    F16(DType.FLOAT16);

    private final DType dtype;

    Precision(DType dtype) {
        this.dtype = dtype;
    }

    static Precision of(String name) {
        for (Precision p : values()) {
            if (p.dtype.shortName().equals(name)) {
                return p;
            }
        }
        throw new IllegalArgumentException("--precision " + name + ": is none of "
                + Arrays.stream(values()).map(p -> p.dtype.shortName()).toList());
    }

    /** What the forward passes run in. */
    Autocast mode() {
        return this == F32 ? Autocast.off() : Autocast.on(dtype);
    }

    /** On for float16 alone: bfloat16 reaches as far as float32. */
    GradScaler scaler() {
        return new GradScaler(this == F16);
    }
}
