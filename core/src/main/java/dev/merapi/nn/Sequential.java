// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;

/** Steps one after the other: modules and plain functions. */
public final class Sequential extends Module {
    private final List<UnaryOperator<Tensor>> steps = new ArrayList<>();

    /** Adds a function without parameters, such as {@code Tensor::relu}. */
    public Sequential then(UnaryOperator<Tensor> step) {
        steps.add(step);
        return this;
    }

    /** Adds a module and the way to call it: {@code then(new Linear(4, 8), Linear::forward)}. */
    public <M extends Module> Sequential then(M module, java.util.function.BiFunction<M, Tensor, Tensor> forward) {
        child(String.valueOf(steps.size()), module);
        steps.add(x -> forward.apply(module, x));
        return this;
    }

    public Tensor forward(Tensor x) {
        Tensor y = x;
        for (UnaryOperator<Tensor> step : steps) {
            y = step.apply(y);
        }
        return y;
    }
}
