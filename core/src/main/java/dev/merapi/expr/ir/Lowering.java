// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Turns expressions into typed values. A node is computed in the register type of its logical dtype; a weak node has no
 * dtype of its own: what is made of constants and scalars only is computed in double or i64, as the caller would have
 * done (1 − β^t needs it), and then converted; what a condition on inputs selects, in the dtype it is used in. A node that
 * is used in another dtype than its own is computed in that one where {@link Promotion} says so.
 *
 * <p>Integers of 8 and 16 bits live in i32 registers and are wrapped after each op that can leave their range.
 */
final class Lowering {
    private record Use(Expr node, DType dtype) {
        // Not generated: see Value.Key.
        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Use use && use.dtype == dtype && use.node.equals(node);
        }

        @Override
        public int hashCode() {
            return 31 * node.hashCode() + dtype.hashCode();
        }
    }

    private final Values values;
    private final Typing typing;
    private final Promotion promotion;
    private final Map<Use, Value> known = new HashMap<>();
    private final Map<Expr, Boolean> uniform = new HashMap<>();
    /** The narrowest integers that scalars are converted to. */
    private final Map<Integer, DType> narrow = new HashMap<>();

    Lowering(Values values, Typing typing, Promotion promotion) {
        this.values = values;
        this.typing = typing;
        this.promotion = promotion;
    }

    /** The node's value, converted to a dtype. */
    Value at(Expr e, DType dtype) {
        Use use = new Use(e, dtype);
        Value value = known.get(use);
        if (value == null) {
            Type type = typing.of(e);
            value = type.isWeak()
                    ? weak(e, type.kind(), dtype)
                    : type.dtype() == dtype || adopts(e, type.dtype(), dtype)
                            ? computed(e, dtype)
                            : converted(e, dtype);
            known.put(use, value);
        }
        return value;
    }

    /** The node's value, computed as if nobody used it, and then converted to a dtype. */
    Value converted(Expr e, DType dtype) {
        Type type = typing.of(e);
        return type.isWeak() ? at(e, dtype) : convert(at(e, type.dtype()), type.dtype(), dtype);
    }

    /** Whether a node is computed in the dtype that it is used in instead of its own. */
    private boolean adopts(Expr e, DType own, DType used) {
        if (!(e instanceof Call) && !(e instanceof Apply a && a.op().isArithmetic())) {
            return false;
        }
        return promotion == Promotion.TOGETHER || own.isFloating() && DType.promote(own, used) == used;
    }

    /** The integer dtype that a scalar must fit into, or null where it becomes a floating number or a bool. */
    @Nullable
    DType integersOf(int scalar) {
        return narrow.get(scalar);
    }

    /** A node without a dtype of its own, for use in {@code dtype}. */
    private Value weak(Expr e, DType.Kind kind, DType dtype) {
        RegType register = RegType.of(dtype);
        if (e instanceof Constant c && (c.kind() == dtype.kind() || dtype.isFloating())) {
            Value value = c.kind() == DType.Kind.FLOATING
                    ? values.constant(c.doubleValue(), register)
                    : values.constant(c.longValue(), register);
            return values.wrap(value, dtype);
        }
        if (e instanceof Variable v && dtype.kind().compareTo(kind) >= 0) {
            Value value = values.scalar(v.index(), register);
            if (dtype.isIntegral()) {
                narrow.merge(v.index(), dtype, (a, b) -> a.byteSize() < b.byteSize() ? a : b);
            }
            return values.wrap(value, dtype);
        }
        DType own = switch (kind) {
            case BOOLEAN -> DType.BOOL;
            case INTEGRAL -> DType.INT64;
            case FLOATING -> dtype.isFloating() && !isUniform(e) ? dtype : DType.FLOAT64;
        };
        return own == dtype ? computed(e, dtype) : convert(at(e, own), own, dtype);
    }

    /** Whether no input has a part in the node; else, by a condition, a weak node may differ between elements. */
    private boolean isUniform(Expr e) {
        Boolean done = uniform.get(e);
        if (done == null) {
            done = !(e instanceof Variable v) || v.role() == Variable.Role.SCALAR;
            for (Expr operand : e.operands()) {
                done &= isUniform(operand);
            }
            uniform.put(e, done);
        }
        return done;
    }

    private Value convert(Value value, DType from, DType to) {
        RegType register = RegType.of(to);
        Value there = values.cast(value, register);
        return !from.isFloating() && to.contains(from) ? there : values.wrap(there, to);
    }

    /** The node computed in a dtype: its own, or for a weak node the one it is used in. */
    private Value computed(Expr e, DType dtype) {
        if (e instanceof Variable v) {
            if (v.role() == Variable.Role.SCALAR) {
                return values.scalar(v.index(), RegType.of(dtype));
            }
            DType stored = typing.stored(v.index());
            return convert(values.load(v.index(), RegType.of(stored)), stored, dtype);
        }
        if (e instanceof Constant c) {
            return c.kind() == DType.Kind.FLOATING
                    ? values.constant(c.doubleValue(), RegType.of(dtype))
                    : values.constant(c.longValue(), RegType.of(dtype));
        }
        if (e instanceof Cast cast) {
            return converted(cast.operand(), dtype);
        }
        return e instanceof Call call ? at(call.body(), dtype) : apply((Apply) e, dtype);
    }

    private Value apply(Apply e, DType dtype) {
        Opcode op = e.op();
        List<Expr> x = e.operands();
        RegType register = RegType.of(dtype);
        switch (op.group()) {
            case COMPARISON -> {
                DType common = comparisonType(x.get(0), x.get(1));
                return values.make(op, RegType.of(common), at(x.get(0), common), at(x.get(1), common));
            }
            case PREDICATE -> {
                return predicate(op, x.get(0));
            }
            case LOGICAL -> {
                return values.make(Opcode.NOT, RegType.BOOL, truth(x.get(0)));
            }
            case SELECTION -> {
                return values.make(op, register, truth(x.get(0)), at(x.get(1), dtype), at(x.get(2), dtype));
            }
            default -> {
                Value[] operands = new Value[x.size()];
                for (int k = 0; k < operands.length; k++) {
                    operands[k] = at(x.get(k), dtype);
                }
                Value value = arithmetic(op, register, operands);
                return leaves(dtype, op) ? values.wrap(value, dtype) : value;
            }
        }
    }

    private Value arithmetic(Opcode op, RegType type, Value[] x) {
        if (type == RegType.BOOL) {
            return switch (op) {
                case ADD, MAX -> values.make(Opcode.OR, type, x);
                case MUL, MIN -> values.make(Opcode.AND, type, x);
                case BITNOT -> values.make(Opcode.NOT, type, x);
                case ABS, SIGN, SQUARE, RELU, FLOOR, CEIL, ROUND, TRUNC -> x[0];
                default -> values.make(op, type, x);
            };
        }
        if (op == Opcode.FMA && type.isInteger()) {
            return values.make(Opcode.ADD, type, values.make(Opcode.MUL, type, x[0], x[1]), x[2]);
        }
        if (op == Opcode.TRUNCDIV && type.isFloating()) {
            return values.make(Opcode.TRUNC, type, values.make(Opcode.DIV, type, x));
        }
        return op.group() == Opcode.Group.ROUNDING && type.isInteger() ? x[0] : values.make(op, type, x);
    }

    /** Whether a result of operands in the range of an integer dtype may lie outside. */
    private static boolean leaves(DType dtype, Opcode op) {
        return switch (op) {
            case NEG, SQUARE, ADD, SUB, MUL, POW, SHL, FMA -> true;
            case BITNOT -> dtype.min() == 0;
            case ABS, FLOORDIV, TRUNCDIV -> dtype.min() < 0; // the smallest number, without its sign
            default -> false;
        };
    }

    /** The node as a condition: true where it is not zero. */
    private Value truth(Expr e) {
        return values.cast(at(e, own(e)), RegType.BOOL);
    }

    private Value predicate(Opcode op, Expr x) {
        DType dtype = own(x);
        if (!dtype.isFloating()) {
            return values.constant(op == Opcode.ISFINITE ? 1L : 0L, RegType.BOOL);
        }
        return values.make(op, RegType.of(dtype), at(x, dtype));
    }

    /** The dtype of a node that nothing else decides on: weak numbers at full width. */
    private DType own(Expr e) {
        Type type = typing.of(e);
        return type.isWeak() ? wide(type) : type.dtype();
    }

    private static DType wide(Type type) {
        return switch (type.kind()) {
            case BOOLEAN -> DType.BOOL;
            case INTEGRAL -> DType.INT64;
            case FLOATING -> DType.FLOAT64;
        };
    }

    /**
     * What two operands are compared in. An integer that may not fit the tensor's dtype is compared in i64: wrapped, it
     * would give a wrong answer.
     */
    private DType comparisonType(Expr a, Expr b) {
        Type common = Type.promote(typing.of(a), typing.of(b));
        if (common.isWeak()) {
            return wide(common);
        }
        if (common.kind() == DType.Kind.INTEGRAL
                && (mayOverflow(a, common.dtype()) || mayOverflow(b, common.dtype()))) {
            return DType.INT64;
        }
        return common.dtype();
    }

    private boolean mayOverflow(Expr e, DType dtype) {
        if (e instanceof Constant c) {
            return !dtype.contains(c.longValue());
        }
        Type type = typing.of(e);
        // A rank-0 int64 beside an int32 tensor does not widen the arithmetic either.
        return type.dtype().isIntegral() && !dtype.contains(type.dtype());
    }
}
