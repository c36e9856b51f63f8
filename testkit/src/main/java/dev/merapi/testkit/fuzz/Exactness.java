// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Apply;
import dev.merapi.expr.ir.Call;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.op.Definition;
import dev.merapi.ops.Combine;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Which ops give the same bits on all backends: those that round at most once, as IEEE 754 says. */
final class Exactness {
    /** Functions that each backend computes in its own way, within a few ulps. */
    private static final Set<Opcode> APPROXIMATE = EnumSet.copyOf(Set.of(
            Opcode.RSQRT,
            Opcode.EXP,
            Opcode.EXPM1,
            Opcode.EXP2,
            Opcode.LOG,
            Opcode.LOG1P,
            Opcode.LOG2,
            Opcode.LOG10,
            Opcode.SIN,
            Opcode.COS,
            Opcode.TAN,
            Opcode.ASIN,
            Opcode.ACOS,
            Opcode.ATAN,
            Opcode.SINH,
            Opcode.COSH,
            Opcode.TANH,
            Opcode.ASINH,
            Opcode.ACOSH,
            Opcode.ATANH,
            Opcode.ERF,
            Opcode.ERFC,
            Opcode.SIGMOID,
            Opcode.SOFTPLUS,
            Opcode.LOGSIGMOID,
            Opcode.GELU,
            Opcode.GELU_TANH,
            Opcode.SILU,
            Opcode.GELU_GRAD,
            Opcode.GELU_TANH_GRAD,
            Opcode.SILU_GRAD,
            Opcode.POW,
            Opcode.ATAN2,
            Opcode.COPYSIGN, // of a NaN
            Opcode.FMA));

    /** What is rounded once. A chain of these is rounded after each or, as plain Java does, at its end only. */
    private static final Set<Opcode> ROUNDING = EnumSet.copyOf(Set.of(
            Opcode.ADD,
            Opcode.SUB,
            Opcode.MUL,
            Opcode.DIV,
            Opcode.SQUARE,
            Opcode.SQRT,
            Opcode.RECIPROCAL,
            Opcode.FMOD,
            Opcode.REM,
            Opcode.FLOORDIV,
            Opcode.TRUNCDIV));

    private static final int MANY = 100;

    private final Map<Object, Integer> known = new HashMap<>();

    /** Whether all backends give the same bits for these tensors, also in floating dtypes. */
    boolean isExact(Definition<?, ?> op, @Nullable Tensor[] inputs, List<Tensor> made) {
        Object code = op.code();
        if (code == null) {
            return false;
        }
        int roundings = known.computeIfAbsent(code, Exactness::roundings);
        return roundings == 0
                || roundings == 1
                        && Arrays.stream(inputs).noneMatch(Exactness::isSmall)
                        && made.stream().noneMatch(Exactness::isSmall);
    }

    /** Whether results in float32 are rounded once more. */
    private static boolean isSmall(@Nullable Tensor t) {
        return t != null && t.dtype() != t.dtype().computeType();
    }

    private static int roundings(Object code) {
        if (code instanceof PointwiseCode p) {
            return p.roots().stream().mapToInt(Exactness::ofExpression).max().orElse(0);
        }
        if (!(code instanceof ReduceCode r) || r.epilogue() != null) {
            return MANY;
        }
        boolean chooses = r.combine().isIndex()
                || r.combine().isLogical()
                || r.combine() == Combine.MIN
                || r.combine() == Combine.MAX;
        return chooses ? ofExpression(r.prologue()) : MANY;
    }

    private static int ofExpression(Expr e) {
        if (e instanceof Call || e instanceof Apply a && APPROXIMATE.contains(a.op())) {
            return MANY;
        }
        int own = e instanceof Apply a && ROUNDING.contains(a.op()) ? 1 : 0;
        return own + e.operands().stream().mapToInt(Exactness::ofExpression).sum();
    }
}
