// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a step calls: a way to run it, and to print it as Java. */
interface Callee {
    /** The name that its errors and findings are sorted by. */
    String name();

    /**
     * Runs it.
     *
     * @param args with tensors in the place of {@link Ref}s and the device in that of {@link Here}
     * @return the tensors that it makes
     */
    List<Tensor> call(Run run, @Nullable Object[] args);

    /** The call as a Java expression or statement, with the arguments as expressions. */
    String print(List<String> args);

    /** What follows the expression to reach the {@code i}-th tensor; nothing if the expression is the tensor. */
    default String part(int i) {
        return "";
    }

    /** Whether it is a statement that makes no tensor. */
    default boolean isStatement() {
        return false;
    }
}
