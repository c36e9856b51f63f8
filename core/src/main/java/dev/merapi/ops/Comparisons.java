// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.List;

/** Comparisons, logic, bits, and choices by a condition. Comparisons with NaN are false, except {@code ne}. */
public final class Comparisons {
    private static final Param S = Param.scalar("s");
    private static final List<Param> TOLERANCES = List.of(Param.scalar("relative"), Param.scalar("absolute"));

    private Comparisons() {}

    /** x = y, as bool. */
    public static final PointwiseOp EQ = Pointwise.define("merapi::eq", Expr::eq);
    /** x ≠ y, as bool; NaN differs from itself. */
    public static final PointwiseOp NE = Pointwise.define("merapi::ne", Expr::ne);
    /** {@code x < y}, as bool. */
    public static final PointwiseOp LT = Pointwise.define("merapi::lt", Expr::lt);
    /** x ≤ y, as bool. */
    public static final PointwiseOp LE = Pointwise.define("merapi::le", Expr::le);
    /** {@code x > y}, as bool. */
    public static final PointwiseOp GT = Pointwise.define("merapi::gt", Expr::gt);
    /** x ≥ y, as bool. */
    public static final PointwiseOp GE = Pointwise.define("merapi::ge", Expr::ge);

    /** x = s, as bool. */
    public static final PointwiseOp EQ_SCALAR = Pointwise.define("merapi::eq_scalar", Expr::eq, S);
    /** x ≠ s, as bool. */
    public static final PointwiseOp NE_SCALAR = Pointwise.define("merapi::ne_scalar", Expr::ne, S);
    /** {@code x < s}, as bool. */
    public static final PointwiseOp LT_SCALAR = Pointwise.define("merapi::lt_scalar", Expr::lt, S);
    /** x ≤ s, as bool. */
    public static final PointwiseOp LE_SCALAR = Pointwise.define("merapi::le_scalar", Expr::le, S);
    /** {@code x > s}, as bool. */
    public static final PointwiseOp GT_SCALAR = Pointwise.define("merapi::gt_scalar", Expr::gt, S);
    /** x ≥ s, as bool. */
    public static final PointwiseOp GE_SCALAR = Pointwise.define("merapi::ge_scalar", Expr::ge, S);

    /**
     * Equal, or |x − y| ≤ absolute + relative·|y| with finite numbers. A distance that does not fit the
     * dtype, and so comes out negative or infinite, is taken in float64.
     */
    public static final PointwiseOp IS_CLOSE = Pointwise.define("merapi::is_close", 2, TOLERANCES, a -> {
        Expr x = a.get(0);
        Expr y = a.get(1);
        Expr near = x.max(y).sub(x.min(y));
        Expr far = x.cast(DType.FLOAT64).sub(y.cast(DType.FLOAT64)).abs();
        Expr distance = near.ge(0).and(near.isFinite()).select(near.cast(DType.FLOAT64), far);
        Expr bound = a.get(3).add(a.get(2).mul(y.cast(DType.FLOAT64).abs()));
        return x.eq(y).or(distance.le(bound).and(x.isFinite()).and(y.isFinite()));
    });

    // ---------------------------------------------------------------- logic: not 0 is true

    /** Whether both are not 0, as bool; NaN is not 0. */
    public static final PointwiseOp LOGICAL_AND =
            Pointwise.define("merapi::logical_and", (x, y) -> truth(x).and(truth(y)));
    /** Whether one of both is not 0, as bool. */
    public static final PointwiseOp LOGICAL_OR =
            Pointwise.define("merapi::logical_or", (x, y) -> truth(x).or(truth(y)));
    /** Whether just one of both is not 0, as bool. */
    public static final PointwiseOp LOGICAL_XOR =
            Pointwise.define("merapi::logical_xor", (x, y) -> truth(x).xor(truth(y)));
    /** Whether x is 0, as bool. */
    public static final PointwiseOp LOGICAL_NOT = Pointwise.define("merapi::logical_not", Expr::not);

    private static Expr truth(Expr x) {
        return x.cast(DType.BOOL);
    }

    // ---------------------------------------------------------------- bits: integers, and bool

    /** The bits that both have. */
    public static final PointwiseOp BIT_AND = Pointwise.define("merapi::bit_and", Expr::and);
    /** The bits that one of both has. */
    public static final PointwiseOp BIT_OR = Pointwise.define("merapi::bit_or", Expr::or);
    /** The bits that just one of both has. */
    public static final PointwiseOp BIT_XOR = Pointwise.define("merapi::bit_xor", Expr::xor);
    /** The bits that x has not; of bools, not. */
    public static final PointwiseOp BIT_NOT = Pointwise.define("merapi::bit_not", Expr::bitNot);
    /** x·2ʸ, wrapped; 0 where y is negative, or the width of the dtype or more. Integers only. */
    public static final PointwiseOp SHIFT_LEFT = Pointwise.define("merapi::shift_left", Expr::shl);
    /** ⌊x/2ʸ⌋; where y is negative, or the width or more, 0, or −1 of negative x. Integers only. */
    public static final PointwiseOp SHIFT_RIGHT = Pointwise.define("merapi::shift_right", Expr::shr);
    /** The bits that x and s have. */
    public static final PointwiseOp BIT_AND_SCALAR = Pointwise.define("merapi::bit_and_scalar", Expr::and, S);
    /** The bits that x or s has. */
    public static final PointwiseOp BIT_OR_SCALAR = Pointwise.define("merapi::bit_or_scalar", Expr::or, S);
    /** The bits that just one of x and s has. */
    public static final PointwiseOp BIT_XOR_SCALAR = Pointwise.define("merapi::bit_xor_scalar", Expr::xor, S);
    /** x·2ˢ, as {@link #SHIFT_LEFT}. */
    public static final PointwiseOp SHIFT_LEFT_SCALAR = Pointwise.define("merapi::shift_left_scalar", Expr::shl, S);
    /** ⌊x/2ˢ⌋, as {@link #SHIFT_RIGHT}. */
    public static final PointwiseOp SHIFT_RIGHT_SCALAR = Pointwise.define("merapi::shift_right_scalar", Expr::shr, S);

    // ---------------------------------------------------------------- kinds of numbers

    /** Whether x is NaN; false of integers. */
    public static final PointwiseOp IS_NAN = Pointwise.define("merapi::is_nan", Expr::isNan);
    /** Whether x is ∞ or −∞; false of integers. */
    public static final PointwiseOp IS_INF = Pointwise.define("merapi::is_inf", Expr::isInf);
    /** Whether x is neither infinite nor NaN; true of integers. */
    public static final PointwiseOp IS_FINITE = Pointwise.define("merapi::is_finite", Expr::isFinite);

    // ---------------------------------------------------------------- choices

    /** Operands: condition, where it holds, where it does not. */
    public static final PointwiseOp WHERE = Pointwise.define("merapi::where", Expr::select);

    /** Operands: condition, where it holds; and a scalar where it does not. */
    public static final PointwiseOp WHERE_SCALAR =
            Pointwise.define("merapi::where_scalar", (c, x, s) -> c.select(x, s), S);

    /** Operands: x, mask; and the scalar that stands where the mask holds. */
    public static final PointwiseOp MASKED_FILL =
            Pointwise.define("merapi::masked_fill", (x, mask, s) -> mask.select(s, x), Param.scalar("value"));
}
