// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * Steps one after the other, layers and plain functions; layers are named by their position.
 *
 * <pre>{@code
 * new Sequential().then(new Linear(784, 128)).then(Tensor::relu).then(new Linear(128, 10))
 * }</pre>
 */
public final class Sequential extends Layer {
    private final List<UnaryOperator<Tensor>> steps = new ArrayList<>();

    /**
     * Adds a layer.
     *
     * @param layer takes what the one before it gives
     * @return this block
     */
    public Sequential then(Layer layer) {
        Objects.requireNonNull(layer, "layer");
        child(String.valueOf(steps.size()), layer);
        steps.add(layer::forward);
        return this;
    }

    /**
     * Adds a function without parameters, such as {@code Tensor::relu} or {@code x -> x.flatten(1, -1)}.
     *
     * @param step takes what the layer before it gives
     * @return this block
     */
    public Sequential then(UnaryOperator<Tensor> step) {
        steps.add(step);
        return this;
    }

    @Override
    protected Tensor compute(Tensor x) {
        Tensor y = x;
        for (UnaryOperator<Tensor> step : steps) {
            y = step.apply(y);
        }
        return y;
    }
}
