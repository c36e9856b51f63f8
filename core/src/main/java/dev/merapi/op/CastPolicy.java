// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * What automatic mixed precision ({@code Autocast}) does to the floating tensor arguments of an op. float64 and integers
 * are never converted.
 */
public enum CastPolicy {
    /** Nothing: the op runs in the dtype of its arguments. What ops have that declare no policy. */
    NONE,
    /** To the 16-bit dtype of the mode: products of matrices, which gain the most and accumulate in float32 anyway. */
    LOWER,
    /** 16-bit arguments to float32: what loses or overflows in 16 bits, such as exponentials, sums, norms and losses. */
    FLOAT32,
    /** All to the widest among them: ops that want one dtype for several arguments. */
    PROMOTE
}
