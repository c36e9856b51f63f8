// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.Locale;

/**
 * The vocabulary of expressions and of the programs they are specialised into. The lower-case name is the contract with
 * native code and CUDA; there are no shared numbers.
 */
public enum Opcode {
    // Memory and conversion, in programs only
    LOAD(Group.MEMORY, 0),
    CONST(Group.MEMORY, 0),
    SCALAR(Group.MEMORY, 0),
    STORE(Group.MEMORY, 1),
    CAST(Group.MEMORY, 1),
    /** Keeps the low 8 bits of an i32: arithmetic on uint8 wraps after each op. */
    WRAPU8(Group.MEMORY, 1),
    /** Keeps the low 8 bits of an i32, with their sign. */
    WRAPI8(Group.MEMORY, 1),
    /** Keeps the low 16 bits of an i32, with their sign. */
    WRAPI16(Group.MEMORY, 1),

    NEG(Group.SIGNED, 1),
    ABS(Group.SIGNED, 1),
    /** sign(NaN) is NaN, sign(±0) is ±0. */
    SIGN(Group.SIGNED, 1),
    SQUARE(Group.SIGNED, 1),
    /** relu(NaN) is NaN. */
    RELU(Group.SIGNED, 1),

    FLOOR(Group.ROUNDING, 1),
    CEIL(Group.ROUNDING, 1),
    /** Half to even. */
    ROUND(Group.ROUNDING, 1),
    TRUNC(Group.ROUNDING, 1),

    SQRT(Group.FLOAT_UNARY, 1),
    RSQRT(Group.FLOAT_UNARY, 1),
    RECIPROCAL(Group.FLOAT_UNARY, 1),
    EXP(Group.FLOAT_UNARY, 1),
    EXPM1(Group.FLOAT_UNARY, 1),
    EXP2(Group.FLOAT_UNARY, 1),
    LOG(Group.FLOAT_UNARY, 1),
    LOG1P(Group.FLOAT_UNARY, 1),
    LOG2(Group.FLOAT_UNARY, 1),
    LOG10(Group.FLOAT_UNARY, 1),
    SIN(Group.FLOAT_UNARY, 1),
    COS(Group.FLOAT_UNARY, 1),
    TAN(Group.FLOAT_UNARY, 1),
    ASIN(Group.FLOAT_UNARY, 1),
    ACOS(Group.FLOAT_UNARY, 1),
    ATAN(Group.FLOAT_UNARY, 1),
    SINH(Group.FLOAT_UNARY, 1),
    COSH(Group.FLOAT_UNARY, 1),
    TANH(Group.FLOAT_UNARY, 1),
    ASINH(Group.FLOAT_UNARY, 1),
    ACOSH(Group.FLOAT_UNARY, 1),
    ATANH(Group.FLOAT_UNARY, 1),
    ERF(Group.FLOAT_UNARY, 1),
    ERFC(Group.FLOAT_UNARY, 1),
    SIGMOID(Group.FLOAT_UNARY, 1),
    /** log1p(exp x), without overflow. */
    SOFTPLUS(Group.FLOAT_UNARY, 1),
    LOGSIGMOID(Group.FLOAT_UNARY, 1),
    /** x times the normal distribution function, by erf. */
    GELU(Group.FLOAT_UNARY, 1),
    /** The tanh approximation of gelu. */
    GELU_TANH(Group.FLOAT_UNARY, 1),
    SILU(Group.FLOAT_UNARY, 1),
    GELU_GRAD(Group.FLOAT_UNARY, 1),
    GELU_TANH_GRAD(Group.FLOAT_UNARY, 1),
    SILU_GRAD(Group.FLOAT_UNARY, 1),

    ISNAN(Group.PREDICATE, 1),
    ISINF(Group.PREDICATE, 1),
    ISFINITE(Group.PREDICATE, 1),

    /** Logical: true where the operand is zero. */
    NOT(Group.LOGICAL, 1),
    BITNOT(Group.BITWISE, 1),

    ADD(Group.ARITHMETIC, 2),
    SUB(Group.ARITHMETIC, 2),
    MUL(Group.ARITHMETIC, 2),
    /** NaN wins. */
    MIN(Group.ARITHMETIC, 2),
    /** NaN wins. */
    MAX(Group.ARITHMETIC, 2),
    /** Integers with negative exponents: 1 → 1, −1 → ±1, anything else → 0. */
    POW(Group.NUMERIC, 2),
    /** C's remainder, with the sign of the dividend; integers by zero give 0. */
    FMOD(Group.NUMERIC, 2),
    /** Python's remainder, with the sign of the divisor; integers by zero give 0. */
    REM(Group.NUMERIC, 2),
    /** Integers by zero give 0. */
    FLOORDIV(Group.NUMERIC, 2),
    /** Integers by zero give 0. */
    TRUNCDIV(Group.NUMERIC, 2),
    /** True division: integers give floats. */
    DIV(Group.FLOAT_BINARY, 2),
    ATAN2(Group.FLOAT_BINARY, 2),
    COPYSIGN(Group.FLOAT_BINARY, 2),

    AND(Group.BITWISE, 2),
    OR(Group.BITWISE, 2),
    XOR(Group.BITWISE, 2),
    /** Shifts by less than 0, or by the width or more, give 0. */
    SHL(Group.SHIFT, 2),
    /** Arithmetic; shifts by less than 0, or by the width or more, give 0, or −1 where the number is negative. */
    SHR(Group.SHIFT, 2),

    EQ(Group.COMPARISON, 2),
    NE(Group.COMPARISON, 2),
    LT(Group.COMPARISON, 2),
    LE(Group.COMPARISON, 2),
    GT(Group.COMPARISON, 2),
    GE(Group.COMPARISON, 2),

    SELECT(Group.SELECTION, 3),
    /** a·b + c with one rounding; integers wrap. */
    FMA(Group.NUMERIC, 3);

    /** Ops that share a typing rule. */
    enum Group {
        MEMORY,
        /** Keeps the operand's dtype. */
        SIGNED,
        /** Keeps the operand's dtype; integers are left as they are. */
        ROUNDING,
        /** Integers become float32. */
        FLOAT_UNARY,
        /** Float to bool. */
        PREDICATE,
        LOGICAL,
        BITWISE,
        SHIFT,
        /** Promotes; on bools add and max are or, mul and min are and. */
        ARITHMETIC,
        /** Promotes; refuses bools. */
        NUMERIC,
        /** Promotes, and integers become float32. */
        FLOAT_BINARY,
        COMPARISON,
        SELECTION
    }

    private final Group group;
    private final int arity;
    private final String text = name().toLowerCase(Locale.ROOT);

    Opcode(Group group, int arity) {
        this.group = group;
        this.arity = arity;
    }

    Group group() {
        return group;
    }

    /** Number of operands that are registers. */
    public int arity() {
        return arity;
    }

    /** Whether a result jumps where its operands move a little. */
    public boolean isStep() {
        return group == Group.ROUNDING || this == SIGN || this == FLOORDIV || this == REM || this == FMOD;
    }

    /** Whether the result is bool whatever the operands are. */
    public boolean isPredicate() {
        return group == Group.PREDICATE || group == Group.COMPARISON || this == NOT;
    }

    /** Whether a result is a number that its operands' numbers make, and not their bits or which of them are true. */
    boolean isArithmetic() {
        return switch (group) {
            case SIGNED, ROUNDING, FLOAT_UNARY, ARITHMETIC, NUMERIC, FLOAT_BINARY, SELECTION -> true;
            default -> false;
        };
    }

    /** Whether operands may be exchanged without changing any bit of the result (NaN payloads apart). */
    boolean isCommutative() {
        return switch (this) {
            case ADD, MUL, AND, OR, XOR, EQ, NE -> true;
            default -> false;
        };
    }

    /** The name in program texts. */
    @Override
    public String toString() {
        return text;
    }
}
