// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** What a quantile is that falls between two elements. */
public enum QuantileInterpolation {
    /** On the straight line between them. */
    LINEAR,
    /** The smaller one. */
    LOWER,
    /** The larger one. */
    HIGHER,
    /** The nearer one; of two that are equally near, the one whose place in order is even, from 0 on. */
    NEAREST,
    /** The middle between them. */
    MIDPOINT
}
