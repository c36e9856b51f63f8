// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What programs are specialised by: dtypes of the tensors, which of them have rank 0 and so count less in promotion,
 * whether each scalar is floating, and the dtype that was asked for. They are compared one by one, and not packed into a
 * number: that would hold so many operands and so many dtypes, and no more.
 */
final class OperandTypes {
    private final int[] keys;
    private final DType[] dtypes;
    private final boolean[] rank0;
    private final boolean[] floating;
    private final @Nullable DType asked;

    /** @param asked the dtype of the result; null for the usual one */
    OperandTypes(Tensor[] operands, List<Number> scalars, @Nullable DType asked) {
        this.keys = new int[operands.length];
        this.dtypes = new DType[operands.length];
        this.rank0 = new boolean[operands.length];
        for (int i = 0; i < operands.length; i++) {
            keys[i] = TENSORS.typeKey(operands[i]);
            dtypes[i] = operands[i].dtype();
            rank0[i] = operands[i].rank() == 0;
        }
        this.floating = new boolean[scalars.size()];
        for (int i = 0; i < floating.length; i++) {
            floating[i] = isFloating(scalars.get(i));
        }
        this.asked = asked;
    }

    /** Whether these operands have the same types; makes no garbage. */
    boolean match(Tensor[] operands, List<Number> scalars, @Nullable DType asked) {
        if (asked != this.asked || operands.length != keys.length || scalars.size() != floating.length) {
            return false;
        }
        for (int i = 0; i < keys.length; i++) {
            if (TENSORS.typeKey(operands[i]) != keys[i]) {
                return false;
            }
        }
        for (int i = 0; i < floating.length; i++) {
            if (isFloating(scalars.get(i)) != floating[i]) {
                return false;
            }
        }
        return true;
    }

    List<DType> dtypes() {
        return List.of(dtypes);
    }

    boolean[] rank0() {
        return rank0;
    }

    List<DType.Kind> scalars() {
        DType.Kind[] kinds = new DType.Kind[floating.length];
        for (int i = 0; i < kinds.length; i++) {
            kinds[i] = floating[i] ? DType.Kind.FLOATING : DType.Kind.INTEGRAL;
        }
        return List.of(kinds);
    }

    private static boolean isFloating(Number n) {
        return n instanceof Double || n instanceof Float;
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof OperandTypes o
                && asked == o.asked
                && Arrays.equals(keys, o.keys)
                && Arrays.equals(floating, o.floating);
    }

    @Override
    public int hashCode() {
        int hash = asked == null ? 0 : asked.hashCode();
        hash = hash * 31 + Arrays.hashCode(keys);
        return hash * 31 + Arrays.hashCode(floating);
    }
}
