// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Observer;
import dev.merapi.tensor.Tensor;
import java.util.Objects;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A block that makes one tensor of one tensor, so that {@link Sequential} can chain it. A subclass has {@link #compute}; others
 * call {@link #forward}, which runs the layer's hooks around it:
 *
 * <pre>{@code
 * Runnable remove = layer.forwardHook((input, output) -> {
 *     System.out.println(output.shape());
 *     return output;
 * });
 * }</pre>
 */
public abstract class Layer extends Block {
    private @Nullable LayerHooks hooks;

    /** For subclasses. */
    protected Layer() {}

    /**
     * A layer without parameters.
     *
     * @param name what texts call it
     * @param function what it computes
     * @return a new layer
     */
    public static Layer of(String name, UnaryOperator<Tensor> function) {
        return new FunctionLayer(Objects.requireNonNull(name, "name"), Objects.requireNonNull(function, "function"));
    }

    /**
     * What the layer computes, with its hooks.
     *
     * @param x a tensor in the form that the layer says
     * @return a new tensor, part of the graph of {@code x} and the layer's parameters
     */
    public final Tensor forward(Tensor x) {
        Observer observer = Context.current().observer();
        if (observer != null) {
            return observed(observer, x, this::compute);
        }
        return hooks == null ? compute(x) : hooks.run(x, this::compute);
    }

    /** What tables call it: by its name within the model. */
    private String fullName() {
        String path = path();
        return path.isEmpty() ? kind() : path.substring(0, path.length() - 1);
    }

    private Tensor observed(Observer observer, Tensor x, UnaryOperator<Tensor> computation) {
        observer.begin(Observer.Work.BLOCK, fullName());
        try {
            return hooks == null ? computation.apply(x) : hooks.run(x, computation);
        } finally {
            observer.end();
        }
    }

    /**
     * What the layer computes.
     *
     * @param x a tensor in the form that the layer says
     * @return a new tensor, part of the graph of {@code x} and the layer's parameters
     */
    protected abstract Tensor compute(Tensor x);

    /**
     * Runs the hooks around another form of the computation: for a subclass whose {@code forward} takes more than {@code x}.
     *
     * @param x the first argument
     * @param computation the form, with its other arguments
     * @return its result
     */
    protected final Tensor hooked(Tensor x, UnaryOperator<Tensor> computation) {
        Observer observer = Context.current().observer();
        if (observer != null) {
            return observed(observer, x, computation);
        }
        return hooks == null ? computation.apply(x) : hooks.run(x, computation);
    }

    /**
     * Calls a function with what the layer is given, before it computes.
     *
     * @param hook takes the input, and returns it or another
     * @return what removes the hook
     */
    public final Runnable forwardPreHook(UnaryOperator<Tensor> hook) {
        return LayerHooks.add(hooks().before, hook);
    }

    /**
     * Calls a function with what the layer was given and has computed.
     *
     * @param hook takes input and output, and returns the output or another
     * @return what removes the hook
     */
    public final Runnable forwardHook(BinaryOperator<Tensor> hook) {
        return LayerHooks.add(hooks().after, hook);
    }

    /**
     * Calls a function with the gradient of what the layer gave, before backward comes to the layer.
     *
     * @param hook takes the gradient of the output, and returns it or another
     * @return what removes the hook; graphs that are there already keep it
     */
    public final Runnable backwardPreHook(UnaryOperator<Tensor> hook) {
        return LayerHooks.add(hooks().ofOutput, hook);
    }

    /**
     * Calls a function with the gradient of what the layer was given, as far as it comes through this layer. Not for an input
     * that requires no gradient.
     *
     * @param hook takes the gradient of the input, and returns it or another
     * @return what removes the hook; graphs that are there already keep it
     */
    public final Runnable backwardHook(UnaryOperator<Tensor> hook) {
        return LayerHooks.add(hooks().ofInput, hook);
    }

    private LayerHooks hooks() {
        if (hooks == null) {
            hooks = new LayerHooks();
        }
        return hooks;
    }

    /**
     * A table of the layers inside: names, kinds, shapes of what they give, and numbers of parameters. Runs the layer once, in
     * evaluation mode, without gradients; nothing changes by it.
     *
     * @param x what the layer shall be given
     * @return some lines
     */
    public final String summary(Tensor x) {
        return Summary.of(this, Objects.requireNonNull(x, "x"));
    }

    /**
     * {@link #summary(Tensor)} of zeros in the dtype and on the device of the parameters.
     *
     * @param shape of what the layer shall be given
     * @return some lines
     */
    public final String summary(long... shape) {
        return Summary.of(this, Objects.requireNonNull(shape, "shape"));
    }
}
