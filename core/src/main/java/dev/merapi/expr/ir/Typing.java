// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Infers the logical type of every node, bottom-up. Inputs have the type of their tensor, or, where they are promoted
 * together, the one that they have in common.
 */
final class Typing {
    private final Map<Expr, Type> known = new HashMap<>();
    private final List<DType> inputs;
    private final boolean[] rank0;
    private final List<DType.Kind> scalars;

    Typing(List<DType> inputs, boolean[] rank0, List<DType.Kind> scalars) {
        this.inputs = inputs;
        this.rank0 = rank0;
        this.scalars = scalars;
    }

    /** Gives all inputs that the roots are calculated from the type that they have in common. */
    void promoteTogether(List<Expr> roots) {
        Set<Expr> met = new HashSet<>();
        roots.forEach(root -> collect(root, met));
        @Nullable Type dimensioned = null;
        @Nullable Type rank0 = null;
        for (Expr e : met) {
            if (e instanceof Variable v && v.role() == Variable.Role.INPUT) {
                Type type = variable(v);
                if (type.strength() == Type.Strength.TENSOR) {
                    dimensioned = dimensioned == null ? type : Type.promote(dimensioned, type);
                } else {
                    rank0 = rank0 == null ? type : Type.promote(rank0, type);
                }
            }
        }
        @Nullable
        Type common = dimensioned == null ? rank0 : rank0 == null ? dimensioned : Type.promote(dimensioned, rank0);
        if (common != null) {
            for (Expr e : met) {
                if (e instanceof Variable v && v.role() == Variable.Role.INPUT) {
                    known.put(e, common);
                }
            }
        }
    }

    /** Nodes on the way from a root that are numbers made of numbers. */
    private static void collect(Expr e, Set<Expr> met) {
        if (e instanceof Cast || e instanceof Apply a && !a.op().isArithmetic() || !met.add(e)) {
            return;
        }
        if (e instanceof Call call) {
            collect(call.body(), met);
        } else if (e instanceof Apply a && a.op() == Opcode.SELECT) {
            a.operands().subList(1, 3).forEach(branch -> collect(branch, met));
        } else {
            e.operands().forEach(operand -> collect(operand, met));
        }
    }

    /** The dtype of an input's tensor. */
    DType stored(int input) {
        return inputs.get(input);
    }

    Type of(Expr e) {
        Type type = known.get(e);
        if (type == null) {
            type = infer(e);
            known.put(e, type);
        }
        return type;
    }

    private Type infer(Expr e) {
        if (e instanceof Constant c) {
            return Type.weak(c.kind());
        }
        if (e instanceof Variable v) {
            return variable(v);
        }
        if (e instanceof Cast cast) {
            Type from = of(cast.operand());
            return new Type(cast.dtype(), from.isWeak() ? Type.Strength.RANK_0 : from.strength());
        }
        return e instanceof Call call ? of(call.body()) : apply((Apply) e);
    }

    private Type variable(Variable v) {
        int k = v.index();
        switch (v.role()) {
            case INPUT -> {
                if (k < inputs.size()) {
                    return new Type(inputs.get(k), rank0[k] ? Type.Strength.RANK_0 : Type.Strength.TENSOR);
                }
                throw new IllegalArgumentException(Message.of("expression: uses input " + k + " of " + inputs.size())
                        .fix("give the dtypes of all inputs")
                        .toString());
            }
            case SCALAR -> {
                if (k < scalars.size()) {
                    return Type.weak(scalars.get(k));
                }
                throw new IllegalArgumentException(Message.of("expression: uses scalar " + k + " of " + scalars.size())
                        .fix("give the kinds of all scalar parameters")
                        .toString());
            }
            default ->
                throw new IllegalArgumentException(
                        Message.of("expression: contains " + v.name() + ", which exists in derivatives only")
                                .fix("substitute inputs for outputs and gradients before compiling")
                                .toString());
        }
    }

    private Type apply(Apply e) {
        Opcode op = e.op();
        Type type = operandType(e);
        if (op.isPredicate()) {
            return type.with(DType.BOOL);
        }
        return switch (op.group()) {
            case FLOAT_UNARY, FLOAT_BINARY -> type.floating();
            default -> type;
        };
    }

    /** The promoted type of the operands; of the two branches in a select. Refuses dtypes the op is not defined for. */
    private Type operandType(Apply e) {
        Opcode op = e.op();
        List<Expr> x = e.operands();
        if (op == Opcode.SELECT) {
            // Not even in the rank: where(x > 0, 1.0, 0.1) * x must keep the dtype, and the digits, of x.
            return Type.promote(of(x.get(1)), of(x.get(2)));
        }
        Type type = of(x.get(0));
        for (int k = 1; k < x.size(); k++) {
            type = Type.promote(type, of(x.get(k)));
        }
        check(op, type, x);
        return type;
    }

    private void check(Opcode op, Type type, List<Expr> operands) {
        boolean ok = switch (op.group()) {
            case SHIFT -> type.kind() == DType.Kind.INTEGRAL;
            case BITWISE -> type.kind() != DType.Kind.FLOATING;
            case NUMERIC -> type.kind() != DType.Kind.BOOLEAN;
            default -> !(op == Opcode.NEG || op == Opcode.SUB) || type.kind() != DType.Kind.BOOLEAN;
        };
        if (ok) {
            return;
        }
        StringBuilder dtypes = new StringBuilder();
        for (Expr operand : operands) {
            dtypes.append(dtypes.length() == 0 ? "" : ", ").append(of(operand).dtype());
        }
        throw new DTypeException(Message.of(op + ": not defined for " + type.dtype())
                .fact("operands", dtypes)
                .fix(
                        type.kind() == DType.Kind.BOOLEAN
                                ? (op == Opcode.NEG
                                        ? "use not"
                                        : op == Opcode.SUB ? "use xor, or cast to a number" : "cast to a number")
                                : "cast to an integer dtype"));
    }
}
