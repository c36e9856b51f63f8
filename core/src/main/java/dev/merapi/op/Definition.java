// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.OpResultException;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.PieceKey.BackwardKernelKey;
import dev.merapi.op.PieceKey.DefaultKey;
import dev.merapi.op.PieceKey.DisabledKey;
import dev.merapi.op.PieceKey.KernelKey;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.BiPredicate;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * All that hangs on an op at one moment; immutable, swapped as a whole when something is registered. Calls in progress,
 * and graph nodes, keep the one that they began with.
 *
 * @param <A> the arguments
 * @param <R> the result
 */
public final class Definition<A extends Record, R> {
    static final Object ABSENT = new Object();
    static final int ANY_DTYPE = DType.COUNT;
    static final int ROW = ANY_DTYPE + 1;

    /** A piece, where it was registered, and the override that it belongs to (null for good). */
    record Piece(Object value, Site site, @Nullable Object layer) {}

    private final Op<A, R> op;
    private final @Nullable Function<A, R> shape;
    private final @Nullable ViewRule<A> view;
    private final Set<String> mutates;
    private final boolean[] mutatedArguments;
    private final boolean returnsMutated;
    private final @Nullable KernelPiece[] kernels = new KernelPiece[DeviceType.LIMIT * ROW];
    private Resolved resolved = new Resolved(-1, new ReadyKernel<?, ?>[0]);
    private final @Nullable ReadyKernel<?, ?> reference;
    private final boolean[] disabled = new boolean[DeviceType.LIMIT];
    private final Backward.@Nullable Save<A, R, Object> save;
    private final @Nullable Backward<Object, R> backward;
    private final @Nullable BackwardPiece[] backwardKernels = new BackwardPiece[DeviceType.LIMIT];
    private final boolean anyBackwardKernel;
    private final @Nullable Function<A, R> compose;
    private final @Nullable Jvp<A, R> jvp;
    private final boolean composite;
    private final boolean nonDifferentiable;
    private final boolean @Nullable [] differentiable;
    private final boolean deterministic;
    private final boolean stridesOk;
    private final CastPolicy castPolicy;
    private final Set<String> internal;
    private final @Nullable Function<A, DType> kernelType;
    private final @Nullable Function<A, Device> device;
    private final Map<String, Object> defaults;
    private final @Nullable Object code;
    private final boolean layerRules;
    private final Map<PieceKey<?>, Piece> effective;
    private boolean whole; // known to be: two threads may find out

    Definition(Op<A, R> op, Map<PieceKey<?>, List<Piece>> pieces) {
        this.op = op;
        Map<PieceKey<?>, Piece> top = new LinkedHashMap<>();
        pieces.forEach((key, stack) -> top.put(key, stack.get(stack.size() - 1)));
        this.effective = top;
        this.shape = value(PieceKey.SHAPE);
        this.view = value(PieceKey.VIEW);
        this.mutates = valueOr(PieceKey.MUTATES, Set.of());
        this.mutatedArguments = new boolean[op.schema().record().size()];
        mutates.forEach(name -> mutatedArguments[op.schema().indexOf(name)] = true);
        this.returnsMutated = valueOr(PieceKey.RETURNS_MUTATED, false);
        this.reference = value(PieceKey.REFERENCE);
        this.save = value(PieceKey.SAVE);
        this.backward = value(PieceKey.BACKWARD);
        this.jvp = value(PieceKey.JVP);
        this.compose = value(PieceKey.COMPOSE);
        this.differentiable = value(PieceKey.DIFFERENTIABLE_OUTPUTS);
        this.deterministic = !valueOr(PieceKey.NONDETERMINISTIC, false);
        this.stridesOk = valueOr(PieceKey.STRIDES_OK, false);
        this.castPolicy = valueOr(PieceKey.AUTOCAST, CastPolicy.NONE);
        this.internal = valueOr(PieceKey.INTERNAL, Set.of());
        this.kernelType = value(PieceKey.KERNEL_TYPE);
        this.device = value(PieceKey.DEVICE);
        this.code = value(PieceKey.CODE);
        boolean rules = false;
        Map<String, Object> d = new HashMap<>();
        boolean any = false;
        for (PieceKey<?> each : top.keySet()) {
            if (each instanceof KernelKey key) {
                kernels[
                        index(
                                key.device(),
                                key.dtype() == null ? ANY_DTYPE : key.dtype().index())] = value(key);
            } else if (each instanceof BackwardKernelKey key) {
                backwardKernels[key.device().id()] = value(key);
                any = true;
            } else if (each instanceof DisabledKey key) {
                disabled[key.device().id()] = true;
            } else if (each instanceof DefaultKey key) {
                d.put(key.argument(), java.util.Objects.requireNonNull(value(key)));
            } else if (each instanceof PieceKey.LayerKey) {
                rules = true;
            }
        }
        this.layerRules = rules;
        this.anyBackwardKernel = any;
        this.composite = compose != null
                && shape == null
                && view == null
                && save == null
                && !hasBackward()
                && registeredKernels().isEmpty();
        boolean none = differentiable != null;
        for (int i = 0; none && i < java.util.Objects.requireNonNull(differentiable).length; i++) {
            none = !differentiable[i];
        }
        this.nonDifferentiable = valueOr(PieceKey.NON_DIFFERENTIABLE, false) || none;
        this.defaults = d;
    }

    /** What is put under a key is of its type, and made for this op: so it is also of the type for these A and R. */
    @SuppressWarnings("unchecked")
    private <V, T extends V> @Nullable T value(PieceKey<V> key) {
        Piece p = effective.get(key);
        return p == null ? null : (T) p.value();
    }

    private <V> V valueOr(PieceKey<V> key, V otherwise) {
        V value = value(key);
        return value == null ? otherwise : value;
    }

    static int index(DeviceType device, int dtype) {
        return device.id() * ROW + dtype;
    }

    /** {@return the op that it is of} */
    public Op<A, R> op() {
        return op;
    }

    /** {@return the op's name} */
    public String name() {
        return op.name();
    }

    /** {@return the op's arguments} */
    public Schema schema() {
        return op.schema();
    }

    /** {@return the op's result} */
    public Result<R> result() {
        return op.result();
    }

    /** {@return the shape rule; null for views, compositions and kernels that make their result} */
    public @Nullable Function<A, R> shape() {
        return shape;
    }

    /** {@return whether the result is a view, or a list of views} */
    public boolean isView() {
        return view != null;
    }

    /** {@return whether the result is a list of views} */
    public boolean hasManyViews() {
        return view != null && view.many();
    }

    /**
     * The argument that a view op shows.
     *
     * @return its name
     */
    public String viewedArgument() {
        return java.util.Objects.requireNonNull(view).argument();
    }

    /**
     * The layouts of the view op's outputs over the viewed argument's storage.
     *
     * @param args of a call
     * @return one for each output, checked not to be null
     */
    public List<Layout> viewLayouts(A args) {
        List<Layout> all = java.util.Objects.requireNonNull(view).layouts().apply(args);
        if (all == null) {
            throw new OpResultException(name() + ": the view rule returned null");
        }
        for (Layout layout : all) {
            if (layout == null) {
                throw new OpResultException(name() + ": the view rule returned a list with null in it");
            }
        }
        return all;
    }

    /** {@return whether it may write to some argument} */
    public boolean isMutating() {
        return !mutates.isEmpty();
    }

    /** {@return the names of arguments that it may write to} */
    public Set<String> mutates() {
        return mutates;
    }

    boolean mutates(int argument) {
        return mutatedArguments[argument];
    }

    /**
     * Per tensor slot of these arguments, whether it may be written.
     *
     * @param args of a call
     * @return a new array
     */
    public boolean[] mutatedSlots(A args) {
        int[] counts = schema().slotCounts(name(), args);
        int total = 0;
        for (int c : counts) {
            total += c;
        }
        boolean[] slots = new boolean[total];
        int next = 0;
        for (int i = 0; i < counts.length; i++) {
            boolean m = mutatedArguments[schema().tensorIndex(i)];
            for (int k = 0; k < counts[i]; k++) {
                slots[next++] = m;
            }
        }
        return slots;
    }

    /**
     * How many tensor slots each tensor argument takes.
     *
     * @param args of a call
     * @return in the order of the schema; 1 for a tensor, the length of a list
     */
    public int[] slotCounts(A args) {
        return schema().slotCounts(name(), args);
    }

    /**
     * What messages call tensor {@code slot} of these arguments: {@code x}, or {@code tensors[2]}.
     *
     * @param args of a call
     * @param slot from 0
     * @return a name
     */
    public String slotName(A args, int slot) {
        return schema().slotName(slotCounts(args), slot);
    }

    /**
     * As above, by what {@link #slotCounts} gave.
     *
     * @param slotCounts of a call
     * @param slot from 0
     * @return a name
     */
    public String slotName(int[] slotCounts, int slot) {
        return schema().slotName(slotCounts, slot);
    }

    /**
     * What messages call tensor {@code slot} of a result.
     *
     * @param value a result
     * @param slot from 0
     * @return a name
     */
    public String outputName(R value, int slot) {
        return op.result().slotName(name(), value, slot);
    }

    /**
     * True if the result is made of the mutated arguments themselves, as with {@code add_}.
     *
     * @return whether the caller gets back what it gave
     */
    public boolean returnsMutated() {
        return returnsMutated;
    }

    /**
     * A registered kernel for a device and dtype: {@link ReadyKernel} or {@link DeviceCode}.
     *
     * @param device the kind
     * @param dtype that it is chosen by; null for none
     * @return the one for the dtype, else the one for any; null if there is none, or it is disabled
     */
    public @Nullable KernelPiece kernel(DeviceType device, @Nullable DType dtype) {
        if (disabled[device.id()]) {
            return null;
        }
        KernelPiece exact = dtype == null ? null : kernels[index(device, dtype.index())];
        return exact != null ? exact : kernels[index(device, ANY_DTYPE)];
    }

    /**
     * {@return whether an override passes over the kernels of a kind of device}
     *
     * @param device the kind
     */
    public boolean isDisabled(DeviceType device) {
        return disabled[device.id()];
    }

    /** What kernels resolved to among the backends of one generation. */
    private record Resolved(int generation, @Nullable ReadyKernel<?, ?>[] kernels) {}

    /**
     * The cache of what kernels resolved to, filled by the dispatcher; races are harmless.
     *
     * @param device the kind
     * @param dtype that the kernel is chosen by; null for none
     * @param generation of the backends that there are now
     * @return null if it must be looked for
     */
    public @Nullable ReadyKernel<?, ?> resolved(DeviceType device, @Nullable DType dtype, int generation) {
        Resolved known = resolved;
        return known.generation == generation
                ? known.kernels[index(device, dtype == null ? ANY_DTYPE : dtype.index())]
                : null;
    }

    /**
     * Remembers which kernel serves; for the dispatcher.
     *
     * @param device the kind
     * @param dtype that the kernel is chosen by; null for none
     * @param generation of the backends that the kernel was chosen from
     * @param kernel which serves
     */
    public void setResolved(DeviceType device, @Nullable DType dtype, int generation, ReadyKernel<?, ?> kernel) {
        Resolved known = resolved;
        if (known.generation != generation) {
            known = new Resolved(generation, new ReadyKernel<?, ?>[DeviceType.LIMIT * ROW]);
            resolved = known;
        }
        known.kernels[index(device, dtype == null ? ANY_DTYPE : dtype.index())] = kernel;
    }

    /**
     * The plain-Java kernel: serves any device whose memory Java can see and whose backend brings none of its own.
     *
     * @return null if none was registered
     */
    public @Nullable ReadyKernel<?, ?> reference() {
        return reference;
    }

    /** {@return what chooses what is saved; null if there is nothing} */
    public Backward.@Nullable Save<A, R, Object> save() {
        return save;
    }

    /** {@return the formula for all devices; null if there is none} */
    public @Nullable Backward<Object, R> backward() {
        return backward;
    }

    /**
     * A {@link Backward} or {@link DeviceCode} for one kind of device, or null.
     *
     * @param device the kind
     * @return null if there is none
     */
    public @Nullable BackwardPiece backwardKernel(DeviceType device) {
        return backwardKernels[device.id()];
    }

    /** {@return whether there is a formula, or a backward kernel for some kind of device} */
    public boolean hasBackward() {
        return backward != null || anyBackwardKernel;
    }

    /** {@return whether it says what is saved} */
    public boolean hasSave() {
        return save != null;
    }

    /** {@return the op written with other ops; null if it is not} */
    public @Nullable Function<A, R> compose() {
        return compose;
    }

    /**
     * Its forward-mode rule; null if tangents go through its parts, or through its backward.
     *
     * @return the rule
     */
    public @Nullable Jvp<A, R> jvp() {
        return jvp;
    }

    /**
     * True if the op has nothing but its expansion into other ops, whose gradients are its gradients.
     *
     * @return then layers see the op and after that its parts
     */
    public boolean isComposite() {
        return composite;
    }

    /** {@return whether no gradient ever flows through it} */
    public boolean isNonDifferentiable() {
        return nonDifferentiable;
    }

    boolean @Nullable [] differentiableOutputs() {
        return differentiable;
    }

    Set<String> internal() {
        return internal;
    }

    /**
     * True if some output of the op never requires a gradient, whatever it is computed by.
     *
     * @return whether {@link #isDifferentiable} may be false
     */
    public boolean restrictsGradients() {
        return nonDifferentiable || differentiable != null;
    }

    /**
     * Whether tensor {@code slot} of a result, lists flattened, may be part of a graph if it is floating.
     *
     * @param value a result
     * @param slot from 0
     * @return whether a gradient may come
     */
    public boolean isDifferentiable(R value, int slot) {
        if (nonDifferentiable) {
            return false;
        }
        if (differentiable == null && internal.isEmpty()) {
            return true;
        }
        int declared = op.result().declared(name(), value, slot);
        return (differentiable == null || differentiable[declared])
                && !internal.contains(op.result().names().get(declared));
    }

    /** {@return whether two runs on the same input give the same bits} */
    public boolean isDeterministic() {
        return deterministic;
    }

    /** {@return whether its kernels take any strides} */
    public boolean takesStrides() {
        return stridesOk;
    }

    /**
     * What automatic mixed precision does to the arguments.
     *
     * @return {@code NONE} if nothing was said
     */
    public CastPolicy castPolicy() {
        return castPolicy;
    }

    /**
     * True if some outputs are only for {@code saveForBackward}.
     *
     * @return whether {@link #isInternal} may be true
     */
    public boolean hasInternal() {
        return !internal.isEmpty();
    }

    /**
     * Whether tensor {@code slot} of a result, lists flattened, is only for {@code saveForBackward}.
     *
     * @param value a result
     * @param slot from 0
     * @return whether callers do not see it
     */
    public boolean isInternal(R value, int slot) {
        return !internal.isEmpty()
                && internal.contains(op.result().names().get(op.result().declared(name(), value, slot)));
    }

    /** {@return who may read the op's records; null for the public} */
    public java.lang.invoke.MethodHandles.@Nullable Lookup lookup() {
        return schema().lookup();
    }

    /**
     * {@return the dtype that the op's own rule chooses the kernel by; null if it has none}
     *
     * @param args of a call
     */
    public @Nullable DType kernelType(A args) {
        return kernelType == null ? null : kernelType.apply(args);
    }

    /**
     * {@return where the op's own rule lets it run; null if it has none}
     *
     * @param args of a call
     */
    public @Nullable Device device(A args) {
        return device == null ? null : device.apply(args);
    }

    /**
     * What the op says to a layer of dispatch; null if it says nothing. See {@link Op#rule}.
     *
     * @param <L> the class that the layer asks with
     * @param layer that class
     * @return the rule
     */
    public <L> @Nullable LayerRule<L, A, R> rule(Class<L> layer) {
        return layerRules ? value(new PieceKey.LayerKey(layer)) : null;
    }

    /**
     * What a backend generates its kernel from, such as a pointwise expression; null if there is nothing.
     *
     * @return of a class that backends know
     */
    public @Nullable Object code() {
        return code;
    }

    Map<String, Object> defaults() {
        return defaults;
    }

    void forEachPiece(BiConsumer<PieceKey<?>, Object> visitor) {
        effective.forEach((key, piece) -> visitor.accept(key, piece.value()));
    }

    /** Where the first piece was registered that is meant. */
    @Nullable
    Site site(BiPredicate<PieceKey<?>, Object> meant) {
        for (Map.Entry<PieceKey<?>, Piece> e : effective.entrySet()) {
            if (meant.test(e.getKey(), e.getValue().value())) {
                return e.getValue().site();
            }
        }
        return null;
    }

    /**
     * Where {@code saveForBackward} was registered; null if it was not.
     *
     * @return file and line
     */
    public @Nullable Site saveSite() {
        return site(PieceKey.SAVE);
    }

    /**
     * Where the shared backward formula was registered; null if it was not.
     *
     * @return file and line
     */
    public @Nullable Site backwardSite() {
        return site(PieceKey.BACKWARD);
    }

    @Nullable
    Site site(PieceKey<?> piece) {
        Piece p = effective.get(piece);
        return p == null ? null : p.site();
    }

    boolean hasRegisteredKernels(DeviceType device) {
        return effective.keySet().stream().anyMatch(key -> key instanceof KernelKey k && k.device() == device);
    }

    /**
     * The devices and dtypes that kernels were registered for, for messages.
     *
     * @return such as {@code cpu {float32}}
     */
    public List<String> registeredKernels() {
        List<String> all = new ArrayList<>();
        for (PieceKey<?> each : effective.keySet()) {
            if (each instanceof KernelKey key) {
                all.add(key.device() + " {" + (key.dtype() == null ? "any dtype" : key.dtype()) + "}"
                        + (disabled[key.device().id()] ? " (disabled)" : ""));
            } else if (each == PieceKey.REFERENCE) {
                all.add("plain Java");
            }
        }
        return all;
    }

    /** @throws RegistrationException if pieces are missing without which those that are there have no effect */
    public void requireWhole() {
        if (!whole) {
            Pieces.requireWhole(this);
            whole = true;
        }
    }

    /** Rules that concern several pieces; called before this definition is published. */
    void validate() {
        Pieces.refuseContradictions(this);
    }
}
