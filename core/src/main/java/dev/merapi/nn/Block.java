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
import java.util.Collections;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
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
            throw new IllegalArgumentException(kind() + ": name '" + name + "' is empty or has a dot");
        }
        if (own.containsKey(name) || children.containsKey(name)) {
            throw new IllegalArgumentException(kind() + ": there is already a '" + name + "'");
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

    /** @param seen those that are there already, which come no second time; null for each name that there is */
    private void collect(String prefix, Map<String, Parameter> into, @Nullable Set<Parameter> seen) {
        own.forEach((name, p) -> {
            if (seen == null || seen.add(p)) {
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
     * What is kept and not trained, by name.
     *
     * @return a new map: those of {@link #named} that are buffers
     */
    public final Map<String, Parameter> namedBuffers() {
        Map<String, Parameter> all = named();
        all.values().removeIf(Parameter::isTrained);
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

    /**
     * This block, by the empty name, and all inside, by dotted names, each before those that are inside of it; one that is
     * registered twice appears once.
     *
     * @return a new map, in order of registration
     */
    public final Map<String, Block> namedBlocks() {
        Map<String, Block> all = new LinkedHashMap<>();
        outerFirst("", all, Collections.newSetFromMap(new IdentityHashMap<>()));
        return all;
    }

    private void outerFirst(String name, Map<String, Block> into, Set<Block> seen) {
        if (seen.add(this)) {
            into.put(name, this);
            children.forEach((n, m) -> m.outerFirst(name.isEmpty() ? n : name + "." + n, into, seen));
        }
    }

    /**
     * Does something to each block inside, and then to this one: such as to give them other first values.
     *
     * @param action takes each block once
     */
    public final void apply(Consumer<? super Block> action) {
        Objects.requireNonNull(action, "action");
        List<Block> all = new ArrayList<>();
        innerFirst(all, Collections.newSetFromMap(new IdentityHashMap<>()));
        all.forEach(action);
    }

    private void innerFirst(List<Block> into, Set<Block> seen) {
        if (seen.add(this)) {
            children.values().forEach(m -> m.innerFirst(into, seen));
            into.add(this);
        }
    }

    /** What it is called in texts. */
    String kind() {
        return getClass().getSimpleName();
    }

    /** Those that this block itself registered. */
    final List<Parameter> own() {
        return List.copyOf(own.values());
    }

    /**
     * A table of what is inside: names, kinds and numbers of parameters. That of a {@link Layer} has shapes, too.
     *
     * @return some lines
     */
    public final String summary() {
        return Summary.table(this, Map.of());
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

    /** {@code train(true)}. */
    public final void train() {
        train(true);
    }

    /** {@code train(false)}. */
    public final void eval() {
        train(false);
    }

    /**
     * Freezes or thaws all parameters in it: what wants no gradient gets none, and an optimiser leaves it alone. Buffers are
     * never trained.
     *
     * @param wanted false to freeze
     */
    public final void requiresGrad(boolean wanted) {
        namedParameters().values().forEach(p -> p.tensor().requiresGrad(wanted));
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
            throw new DTypeException(kind() + ": parameters are floating, they cannot become " + dtype
                    + "\n  fix: convert inputs or outputs instead.");
        }
        replaceAll(t -> t.dtype().isFloating() ? t.to(dtype) : t);
    }

    /** All or none: what fails is found before the first is replaced. */
    private void replaceAll(UnaryOperator<Tensor> change) {
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null) {
            throw capture.refused("to", kind() + " would move");
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
        var unused = loadStateDict(state, true);
    }

    /**
     * Names that did not fit.
     *
     * @param missing of parameters and buffers that the state has no value for; they are as they were
     * @param unexpected of values that nothing here has the name of
     */
    public record Incompatible(List<String> missing, List<String> unexpected) {}

    /**
     * As above; if not {@code strict}, what fits by name is loaded, and the rest is returned. A parameter that stands under two
     * names is loaded by either. Other names are for {@link StateDict#renamed}.
     *
     * <pre>{@code
     * model.loadStateDict(state.renamed(name -> name.replaceFirst("^transformer[.]", "")), false);
     * }</pre>
     *
     * @param state tensors by name
     * @param strict whether all names must be there, and no others
     * @return what was left out; both lists are empty if {@code strict}
     * @throws dev.merapi.error.StateDictException if a shape or dtype does not fit, or a name if {@code strict}; nothing is
     *     changed then
     */
    public final Incompatible loadStateDict(StateDict state, boolean strict) {
        Objects.requireNonNull(state, "state");
        Map<String, Parameter> all = new LinkedHashMap<>();
        collect("", all, null);
        Map<Parameter, String> source = new LinkedHashMap<>();
        StateDict taken = new StateDict();
        List<String> unexpected = new ArrayList<>();
        for (String name : state.names()) {
            Parameter p = all.get(name);
            if (p == null) {
                unexpected.add(name);
            }
            if (p == null ? strict : source.putIfAbsent(p, name) == null) {
                taken.put(name, state.get(name, Object.class));
            }
        }
        StateReader in = new StateReader(kind(), taken);
        List<String> missing = new ArrayList<>();
        named().forEach((name, p) -> {
            String from = source.get(p);
            if (from == null) {
                missing.add(name);
            }
            if (from != null || strict) {
                in.floating(from == null ? name : from, p.tensor());
            }
        });
        in.copy();
        return new Incompatible(missing, unexpected);
    }

    /** The tree of blocks and their parameters. */
    @Override
    public String toString() {
        StringBuilder s = new StringBuilder(kind());
        own.forEach((name, p) -> s.append("\n  ").append(name).append(": ").append(p));
        children.forEach((name, m) ->
                s.append("\n  ").append(name).append(": ").append(m.toString().replace("\n", "\n  ")));
        return s.toString();
    }
}
