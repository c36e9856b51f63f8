// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
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
import java.util.TreeSet;
import java.util.function.UnaryOperator;

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
public abstract class Block {
    private final Map<String, Parameter> own = new LinkedHashMap<>();
    private final Map<String, Block> children = new LinkedHashMap<>();
    private boolean training = true;

    /** Registers a tensor to be trained. It leaves its scope. */
    protected final Parameter parameter(String name, Tensor initial) {
        return register(name, new Parameter(initial, true));
    }

    /** Registers a parameter of another block as well: both train the same tensor. */
    protected final Parameter shared(String name, Parameter of) {
        return register(name, of);
    }

    /** Registers a tensor that is saved with the block, and not trained. It leaves its scope. */
    protected final Parameter buffer(String name, Tensor initial) {
        return register(name, new Parameter(initial, false));
    }

    private Parameter register(String name, Parameter p) {
        requireNew(name);
        own.put(name, p);
        return p;
    }

    /** Registers a block inside this one; returns it. */
    protected final <M extends Block> M child(String name, M block) {
        requireNew(name);
        children.put(name, block);
        return block;
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

    /** All parameters and buffers with dotted names, in order of registration; one that is shared appears once. */
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

    /** The tensors to be trained, by name. */
    public final Map<String, Tensor> namedParameters() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        named().forEach((name, p) -> {
            if (p.isTrained()) {
                all.put(name, p.tensor());
            }
        });
        return all;
    }

    /** The tensors to be trained. */
    public final List<Tensor> parameters() {
        return new ArrayList<>(namedParameters().values());
    }

    /** Number of elements to be trained. */
    public final long parameterCount() {
        return parameters().stream().mapToLong(Tensor::numel).sum();
    }

    /** The blocks inside, by name. */
    public final Map<String, Block> children() {
        return new LinkedHashMap<>(children);
    }

    // ---------------------------------------------------------------- modes

    /** Whether layers such as dropout behave as in training; on at first. */
    public final boolean isTraining() {
        return training;
    }

    /** Training behaviour on or off, for this block and all inside. */
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

    /** Moves parameters and buffers; gradients are dropped. */
    public final void to(Device device) {
        Objects.requireNonNull(device, "device");
        replaceAll(t -> t.to(device));
    }

    /**
     * Converts floating parameters and buffers; gradients are dropped.
     *
     * @throws DTypeException if the dtype is not floating
     */
    public final void to(DType dtype) {
        Objects.requireNonNull(dtype, "dtype");
        if (!dtype.isFloating()) {
            throw new DTypeException(getClass().getSimpleName() + ": parameters are floating, they cannot become "
                    + dtype + "\n  fix: convert inputs or outputs instead.");
        }
        replaceAll(t -> t.dtype().isFloating() ? t.to(dtype) : t);
    }

    private void replaceAll(UnaryOperator<Tensor> change) {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            named().values().forEach(p -> p.replace(change.apply(p.tensor())));
        }
    }

    // ---------------------------------------------------------------- state

    /** Parameters and buffers by name: the tensors themselves, not copies. */
    public final Map<String, Tensor> stateDict() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        named().forEach((name, p) -> all.put(name, p.tensor()));
        return all;
    }

    /**
     * Copies values in, by name; converts dtype and device.
     *
     * @throws ShapeException if names are missing or unknown or a shape differs; nothing is changed then
     */
    public final void loadStateDict(Map<String, Tensor> state) {
        Objects.requireNonNull(state, "state");
        Map<String, Parameter> mine = named();
        TreeSet<String> missing = new TreeSet<>(mine.keySet());
        missing.removeAll(state.keySet());
        TreeSet<String> unknown = new TreeSet<>(state.keySet());
        unknown.removeAll(mine.keySet());
        Message wrong = Message.of("loadStateDict of " + getClass().getSimpleName() + ": the state does not fit");
        boolean fits = missing.isEmpty() && unknown.isEmpty();
        if (!fits) {
            wrong.fact("missing", missing).fact("unknown", unknown);
        }
        for (Map.Entry<String, Tensor> e : state.entrySet()) {
            Parameter p = mine.get(e.getKey());
            if (p != null && !p.tensor().shape().equals(e.getValue().shape())) {
                wrong.fact(
                        e.getKey(),
                        "expected " + p.tensor().describe() + ", got "
                                + e.getValue().describe());
                fits = false;
            }
        }
        if (!fits) {
            throw new ShapeException(wrong);
        }
        try (Autograd.Mode mode = Autograd.noGrad()) {
            mine.forEach((name, p) -> p.tensor()
                    .copy_(java.util.Objects.requireNonNull(state.get(name))
                            .to(p.tensor().device())));
        }
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
