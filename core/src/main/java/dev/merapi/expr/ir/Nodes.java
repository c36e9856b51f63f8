// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.types.DType;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * Makes the nodes of expressions. All that {@code Expr} knows of them; found as a service.
 *
 * @param <E> that class, which is not named here: it stands above
 */
public interface Nodes<E> {
    /** Element of the k-th input. */
    E input(int k);

    /** The k-th run-time scalar parameter. */
    E scalar(int k);

    /** The k-th result of the op, in a derivative. */
    E output(int k);

    /** The gradient of the op's k-th result, in a derivative. */
    E gradient(int k);

    /** A weak floating constant. */
    E constant(double value);

    /** A weak integer constant. */
    E constant(long value);

    /** A weak bool constant. */
    E constant(boolean value);

    /** An op of as many operands as it takes. */
    E apply(Opcode op, List<E> operands);

    /** A conversion. */
    E cast(DType dtype, E operand);

    /** The same expression with its variables replaced; each is asked for once. */
    E substitute(E root, UnaryOperator<E> replacement);
}
