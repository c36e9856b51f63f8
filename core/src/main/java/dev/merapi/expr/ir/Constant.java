// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.List;

/** A number written in the expression; weakly typed, so only its kind matters for promotion. */
public final class Constant extends ExprNode {
    private final DType.Kind kind;
    /** Raw bits of the double where floating, so that −0 differs from 0; else the integer. */
    private final long bits;

    private Constant(DType.Kind kind, long bits) {
        super(kind.hashCode() * 31 + Long.hashCode(bits), 0);
        this.kind = kind;
        this.bits = bits;
    }

    public static Expr of(double value) {
        return Interner.intern(new Constant(DType.Kind.FLOATING, Double.doubleToLongBits(value)));
    }

    public static Expr of(long value) {
        return Interner.intern(new Constant(DType.Kind.INTEGRAL, value));
    }

    public static Expr of(boolean value) {
        return Interner.intern(new Constant(DType.Kind.BOOLEAN, value ? 1 : 0));
    }

    public DType.Kind kind() {
        return kind;
    }

    public double doubleValue() {
        return kind == DType.Kind.FLOATING ? Double.longBitsToDouble(bits) : bits;
    }

    /** The integer; floating values are truncated. */
    public long longValue() {
        return kind == DType.Kind.FLOATING ? (long) Double.longBitsToDouble(bits) : bits;
    }

    /** Whether this is the number, of any kind, and for zero of either sign. */
    boolean is(double value) {
        return doubleValue() == value;
    }

    @Override
    public List<Expr> operands() {
        return List.of();
    }

    @Override
    Expr withOperands(List<Expr> operands) {
        return this;
    }

    @Override
    boolean sameNode(Expr other) {
        return other instanceof Constant c && c.kind == kind && c.bits == bits;
    }
}
