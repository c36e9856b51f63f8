// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What programs are specialised by: dtypes of the tensors, which of them have rank 0 and so count less in promotion, and
 * whether each scalar is floating.
 */
record OperandTypes(List<DType> dtypes, boolean[] rank0, List<DType.Kind> scalars) {
    static OperandTypes of(Tensor[] operands, List<Number> scalars) {
        List<DType> dtypes = new ArrayList<>();
        boolean[] rank0 = new boolean[operands.length];
        for (int i = 0; i < operands.length; i++) {
            dtypes.add(operands[i].dtype());
            rank0[i] = operands[i].rank() == 0;
        }
        List<DType.Kind> kinds = new ArrayList<>();
        for (Number n : scalars) {
            kinds.add(isFloating(n) ? DType.Kind.FLOATING : DType.Kind.INTEGRAL);
        }
        return new OperandTypes(dtypes, rank0, kinds);
    }

    /** The same as a number, different for different types, without garbage. */
    static long key(Tensor[] operands, List<Number> scalars, @Nullable DType output) {
        long key = output == null ? 1 : 16 | output.ordinal();
        for (Tensor t : operands) {
            key = key << 4 | t.dtype().ordinal() << 1 | (t.rank() == 0 ? 1 : 0);
        }
        for (int i = 0; i < scalars.size(); i++) {
            key = key << 1 | (isFloating(scalars.get(i)) ? 1 : 0);
        }
        return key;
    }

    private static boolean isFloating(Number n) {
        return n instanceof Double || n instanceof Float;
    }
}
