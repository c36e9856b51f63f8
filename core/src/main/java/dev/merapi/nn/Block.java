// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Part of a model: parameters and buffers by name, and blocks inside it. A subclass registers them in its constructor
 * and has a {@code forward} of its own:
 *
 * <pre>{@code
 * final class Mlp extends Block {
 *     private final Linear in = child("in", new Linear(784, 128));
 *     private final Linear out = child("out", new Linear(128, 10));
 *
 *     Tensor forward(Tensor x) {
 *         return out.forward(in.forward(x).relu());
 *     }
 * }
 * }</pre>
 */
public abstract class Block implements Stateful {
    private final Map<String, Parameter> own = new LinkedHashMap<>();
    private final Map<String, Block> children = new LinkedHashMap<>();
    private @Nullable Block parent;
    private String nameInParent = "";
    private boolean training = true;

    /**
     * Registers a tensor to be trained. It leaves its scope.
     *
     * @param name without dots, which no other parameter, buffer or child of this block has
     * @param initial a floating tensor without a graph, whose values training begins with
     * @return what {@code forward} takes its tensor from
     */
    protected final Parameter parameter(String name, Tensor initial) {
        return register(name, new Parameter(initial, true));
    }

    /**
     * Registers a parameter of another block as well: both train the same tensor.
     *
     * @param name without dots, as above
     * @param of the other block's parameter
     * @return the same parameter
     */
    protected final Parameter shared(String name, Parameter of) {
        return register(name, of);
    }

    /**
     * Registers a tensor that is saved with the block, and not trained. It leaves its scope.
     *
     * @param name without dots, as above
     * @param initial a tensor of any dtype without a graph
     * @return what {@code forward} takes its tensor from
     */
    protected final Parameter buffer(String name, Tensor initial) {
        return register(name, new Parameter(initial, false));
    }

    private Parameter register(String name, Parameter p) {
        requireNew(name);
        own.put(name, p);
        p.register(this, name);
        return p;
    }

    /**
     * Registers a block inside this one; returns it.
     *
     * @param <M> its class
     * @param name without dots, as above
     * @param block made by the caller
     * @return the block
     */
    protected final <M extends Block> M child(String name, M block) {
        Objects.requireNonNull(block, "block");
        requireNew(name);
        children.put(name, block);
        Block child = block;
        if (child.parent == null) {
            child.parent = this;
            child.nameInParent = name;
        }
        return block;
    }

    /** Its dotted name within the outermost block around it, with a dot behind; empty for that block itself. */
    final String path() {
        return parent == null ? "" : parent.path() + nameInParent + ".";
    }

    private void requireNew(String name) {
        if (name.isEmpty() || name.indexOf('.') >= 0) {
            throw new IllegalArgumentException("block: name '" + name + "' is empty or has a dot");
        }
        if (own.containsKey(name) || children.containsKey(name)) {
            throw new IllegalArgumentException(
                    "block " + getClass().getSimpleName() + ": there is already a '" + name + "'");
        }
    }

    // ---------------------------------------------------------------- what it holds

    /**
     * All parameters and buffers with dotted names, in order of registration; one that is shared appears once.
     *
     * @return a new map
     */
    public final Map<String, Parameter> named() {
        Map<String, Parameter> all = new LinkedHashMap<>();
        collect("", all, new HashSet<>());
        return all;
    }

    private void collect(String prefix, Map<String, Parameter> into, Set<Parameter> seen) {
        own.forEach((name, p) -> {
            if (seen.add(p)) {
                into.put(prefix + name, p);
            }
        });
        children.forEach((name, m) -> m.collect(prefix + name + ".", into, seen));
    }

    /**
     * What is to be trained, by name.
     *
     * @return a new map: those of {@link #named} that are trained
     */
    public final Map<String, Parameter> namedParameters() {
        Map<String, Parameter> all = named();
        all.values().removeIf(p -> !p.isTrained());
        return all;
    }

    /**
     * What is to be trained: for an optimiser, which follows where the model moves.
     *
     * @return a new list, in the order of {@link #named}
     */
    public final List<Parameter> parameters() {
        return new ArrayList<>(namedParameters().values());
    }

    /**
     * Number of elements to be trained.
     *
     * @return the sum over {@link #parameters}
     */
    public final long parameterCount() {
        return parameters().stream().mapToLong(p -> p.tensor().numel()).sum();
    }

    /**
     * The blocks inside, by name.
     *
     * @return a new map, in order of registration
     */
    public final Map<String, Block> children() {
        return new LinkedHashMap<>(children);
    }

    // ---------------------------------------------------------------- modes

    /**
     * Whether layers such as dropout behave as in training; on at first.
     *
     * @return true until {@code train(false)}
     */
    public final boolean isTraining() {
        return training;
    }

    /**
     * Training behaviour on or off, for this block and all inside.
     *
     * @param on false for evaluation
     */
    public final void train(boolean on) {
        training = on;
        children.values().forEach(m -> m.train(on));
    }

    /** {@code train(false)}. */
    public final void eval() {
        train(false);
    }

    /** Drops and frees all gradients. */
    public final void zeroGrad() {
        named().values().forEach(p -> p.tensor().setGrad(null));
    }

    // ---------------------------------------------------------------- moves

    /**
     * Moves parameters and buffers, with their gradients and hooks. Optimisers that hold the parameters follow at their next
     * step.
     *
     * @param device where they shall be
     * @throws GraphCaptureException in a step that is being captured
     */
    public final void to(Device device) {
        Objects.requireNonNull(device, "device");
        replaceAll(t -> t.to(device));
    }

    /**
     * Converts floating parameters and buffers, with their gradients and hooks. Optimisers that hold the parameters follow at
     * their next step.
     *
     * @param dtype a floating one
     * @throws DTypeException if the dtype is not floating
     * @throws GraphCaptureException in a step that is being captured
     */
    public final void to(DType dtype) {
        Objects.requireNonNull(dtype, "dtype");
        if (!dtype.isFloating()) {
            throw new DTypeException(getClass().getSimpleName() + ": parameters are floating, they cannot become "
                    + dtype + "\n  fix: convert inputs or outputs instead.");
        }
        replaceAll(t -> t.dtype().isFloating() ? t.to(dtype) : t);
    }

    /** All or none: what fails is found before the first is replaced. */
    private void replaceAll(UnaryOperator<Tensor> change) {
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null) {
            throw capture.refused("to", getClass().getSimpleName() + " would move");
        }
        Context context = Context.current();
        boolean inference = context.setInference(false); // parameters are ordinary tensors, wherever they move
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            Map<Parameter, Tensor> changed = new LinkedHashMap<>();
            named().values().forEach(p -> changed.put(p, change.apply(p.tensor())));
            changed.forEach(Parameter::replace);
        } finally {
            context.setInference(inference);
        }
    }

    // ---------------------------------------------------------------- state

    /** Parameters and buffers by name: the tensors themselves, not copies. */
    @Override
    public final StateDict stateDict() {
        StateDict all = new StateDict();
        named().forEach((name, p) -> all.put(name, p.tensor()));
        return all;
    }

    /**
     * Copies values in, by name, from any device; floating dtypes become those of the parameters.
     *
     * @throws dev.merapi.error.StateDictException if names are missing or unknown, or a shape or dtype does not fit; nothing
     *     is changed then
     */
    @Override
    public final void loadStateDict(StateDict state) {
        StateReader in = new StateReader(getClass().getSimpleName(), state);
        named().forEach((name, p) -> in.floating(name, p.tensor()));
        in.copy();
    }

    /** The tree of blocks and their parameters. */
    @Override
    public String toString() {
        StringBuilder s = new StringBuilder(getClass().getSimpleName());
        own.forEach((name, p) -> s.append("\n  ").append(name).append(": ").append(p));
        children.forEach((name, m) ->
                s.append("\n  ").append(name).append(": ").append(m.toString().replace("\n", "\n  ")));
        return s.toString();
    }
}
