// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * One recorded operation: edges to the nodes that made its inputs, and what its outputs look like. The edges point from
 * outputs to inputs, the way gradients travel. Made by the engine only; {@link Autograd#gradFn} gives that of a tensor.
 */
public interface Node {
    /** {@return what was recorded: the op's name, or what the engine calls its own nodes} */
    String name();

    /** {@return the number of its inputs} */
    int inputs();

    /**
     * The node that made an input.
     *
     * @param i the input, from 0
     * @return null if the input needs no gradient
     */
    @Nullable
    Node next(int i);

    /**
     * Shape, dtype and device of an output.
     *
     * @param i the output, from 0
     * @return a tensor without memory
     */
    Tensor output(int i);

    /**
     * Runs after this node: sees the gradients of the inputs and of the outputs (absent ones are null) and may return
     * other gradients of the inputs.
     *
     * @param hook what runs; null from it leaves the gradients as they are
     * @return what removes it
     */
    Runnable addHook(BiFunction<List<Tensor>, List<Tensor>, @Nullable List<Tensor>> hook);

    /**
     * Runs before this node: sees the gradients of its outputs (absent ones are null) and may return others in their
     * place.
     *
     * @param hook what runs; null from it leaves the gradients as they are
     * @return what removes it
     */
    Runnable addPreHook(Function<List<Tensor>, @Nullable List<Tensor>> hook);
}
