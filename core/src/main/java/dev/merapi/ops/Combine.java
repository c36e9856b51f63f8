// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** How a reduction makes one value of many. */
public enum Combine {
    /** 0 over nothing. Integers and bools give int64 unless a dtype is asked for. */
    SUM,
    /** The sum divided by the number of elements; NaN over nothing. */
    MEAN,
    /** 1 over nothing. */
    PROD,
    /** NaN wins; an error over nothing. */
    MIN,
    /** NaN wins; an error over nothing. */
    MAX,
    /** The squared distances from the mean, divided by the number of elements less the correction (Welford). */
    VAR,
    /** Index of the first smallest element, in the row-major order of the reduced dimensions; the first NaN wins. */
    ARGMIN,
    /** Index of the first largest element; the first NaN wins. */
    ARGMAX,
    /** Whether one is not 0; false over nothing. */
    ANY,
    /** Whether none is 0; true over nothing. */
    ALL;

    /**
     * {@return whether there is no answer over no elements: of {@link #MIN}, {@link #MAX}, {@link #ARGMIN} and
     * {@link #ARGMAX}}
     */
    public boolean needsElements() {
        return this == MIN || this == MAX || isIndex();
    }

    /** {@return whether the result is an index, int64} */
    public boolean isIndex() {
        return this == ARGMIN || this == ARGMAX;
    }

    /** {@return whether the result is bool, of what is not 0} */
    public boolean isLogical() {
        return this == ANY || this == ALL;
    }

    boolean isDifferentiable() {
        return !isIndex() && !isLogical();
    }
}
