// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

/**
 * Where operands of different dtypes are converted. Conditions, what is compared, operands of bit operations and what is
 * under an explicit cast keep their own dtypes in either way.
 */
public enum Promotion {
    /**
     * As if each node were an op of its own: integers keep their dtype, and wrap in it, until they meet a floating number.
     * Floating nodes are computed in the widest floating dtype that they meet: with float64 c and float32 a and b,
     * {@code a·b + c} is computed in float64 throughout. For people's own expressions.
     */
    STEPWISE,
    /**
     * As in one op of PyTorch's: all operands are converted, as they are loaded, to the dtype that they have in common; in
     * {@code a·b + c} with float64 c, int32 a and b are multiplied in float64. For the built-in ops.
     */
    TOGETHER;

    /** How operands meet in an op of this name. */
    public static Promotion of(String op) {
        return op.startsWith("merapi::") ? TOGETHER : STEPWISE;
    }
}
