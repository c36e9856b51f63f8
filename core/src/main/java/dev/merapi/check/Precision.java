// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.types.DType;

/** What finite differences in a dtype can tell: their steps, and the errors below which nothing is said. */
enum Precision {
    FLOAT64(DType.FLOAT64, new double[] {2e-3, 1e-4, 5e-6}, 2e-9, 2e-7, 1e-3, 1e-6, 1e-11),
    /**
     * Steps are powers of two, so that they add to the inputs with little rounding. Rounding of values, some eps·|f|/h,
     * leaves three digits of a derivative.
     */
    FLOAT32(DType.FLOAT32, new double[] {0x1p-3, 0x1p-5, 0x1p-7}, 1e-4, 1e-4, 0.2, 0.05, 1e-4);

    final DType dtype;
    final double[] steps;
    /** An estimate this good, relative to the value, needs no smaller step. */
    final double good;
    /** The relative error that passes: below what must be found, above what extrapolated differences leave. */
    final double relative;
    /** Differences that vary by more than this part of a derivative ... */
    final double unreliable;
    /** ... and by more than this part of the largest one tell nothing. */
    final double noise;
    /** What other summation orders may change, relative to the largest element. */
    final double rounding;

    Precision(
            DType dtype,
            double[] steps,
            double good,
            double relative,
            double unreliable,
            double noise,
            double rounding) {
        this.dtype = dtype;
        this.steps = steps;
        this.good = good;
        this.relative = relative;
        this.unreliable = unreliable;
        this.noise = noise;
        this.rounding = rounding;
    }
}
