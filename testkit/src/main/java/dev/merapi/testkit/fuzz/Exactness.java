// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.expr.Apply;
import dev.merapi.expr.Expr;
import dev.merapi.expr.Opcode;
import dev.merapi.op.Definition;
import dev.merapi.ops.PointwiseCode;
import dev.merapi.ops.ReduceCode;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/** Which ops give the same bits on all backends: those whose every step is rounded as IEEE 754 says, or is not rounded. */
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
            Opcode.ATAN2));

    private final Map<Object, Boolean> known = new HashMap<>();

    /** Whether all backends give the same bits, also in floating dtypes. */
    boolean isExact(Definition<?, ?> op) {
        Object code = op.code();
        return code != null && known.computeIfAbsent(code, Exactness::ofCode);
    }

    private static boolean ofCode(Object code) {
        if (code instanceof PointwiseCode p) {
            return p.roots().stream().allMatch(Exactness::ofExpression);
        }
        return code instanceof ReduceCode r
                && r.epilogue() == null
                && switch (r.combine()) {
                    case MIN, MAX, ANY, ALL -> ofExpression(r.prologue());
                    default -> r.combine().isIndex() && ofExpression(r.prologue());
                };
    }

    private static boolean ofExpression(Expr e) {
        return !(e instanceof Apply a && APPROXIMATE.contains(a.op()))
                && !(e instanceof dev.merapi.expr.Call)
                && e.operands().stream().allMatch(Exactness::ofExpression);
    }
}
