// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import java.util.function.UnaryOperator;

/** A layer without parameters: a function with a name. */
final class FunctionLayer extends Layer {
    private final String name;
    private final UnaryOperator<Tensor> function;

    FunctionLayer(String name, UnaryOperator<Tensor> function) {
        this.name = name;
        this.function = function;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return function.apply(Objects.requireNonNull(x, "x"));
    }

    @Override
    String kind() {
        return name;
    }
}
