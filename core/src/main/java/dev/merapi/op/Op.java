// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.OpError;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SchemaException;
import dev.merapi.op.Definition.Piece;
import dev.merapi.op.PieceKey.BackwardKernelKey;
import dev.merapi.op.PieceKey.DefaultKey;
import dev.merapi.op.PieceKey.DisabledKey;
import dev.merapi.op.PieceKey.KernelKey;
import dev.merapi.op.PieceKey.LayerKey;
import dev.merapi.op.tree.Plain;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * An operation on tensors: a name, a record of named and typed arguments, a result, and pieces that hang on it
 * independently, in any order, from any module. The built-in ops are made in this way and in no other.
 *
 * <pre>{@code
 * record Args(Tensor x, double slope) {}
 *
 * static final Op<Args, Tensor> LEAKY = Op.define(MethodHandles.lookup(), "demo::leaky", Args.class, Tensor.class)
 *         .shape(a -> Tensor.meta(a.x()))
 *         .kernel(DeviceType.CPU, (a, out) -> …)
 *         .autograd((a, out) -> a, (ctx, saved, g) -> Grads.of("x", …))
 *         .register();
 * }</pre>
 *
 * <p>Each piece takes effect on every kind of op, or is refused: at once where no other piece could give it sense, else
 * when the op is registered or first called. A piece that is there already is refused with both source locations;
 * {@link #replaceKernel}, {@link #replaceAutograd} and {@link #override} are the explicit ways. A registration that fails
 * changes nothing. Thread-safe.
 *
 * @param <A> the arguments
 * @param <R> the result: {@code Tensor}, {@code List<Tensor>}, a record of those and plain values, or Void
 */
public final class Op<A extends Record, R> {
    private final String name;
    private final Class<A> argumentType;
    private final Schema schema;
    private final Map<String, List<String>> elements;
    private final Result<R> result;
    private final Site site;
    private Map<PieceKey<?>, List<Piece>> pieces = new LinkedHashMap<>();
    private volatile Definition<A, R> definition;

    private Op(
            String name,
            Class<A> argumentType,
            Schema schema,
            Map<String, List<String>> elements,
            Result<R> result,
            Site site) {
        this.name = name;
        this.argumentType = argumentType;
        this.schema = schema;
        this.elements = Map.copyOf(elements);
        this.result = result;
        this.site = site;
        this.definition = new Definition<>(this, pieces);
    }

    /**
     * Begins an op whose record is public.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result {@code Tensor}, a record of tensors and plain values, or a plain value
     * @return an op, to be given pieces and registered
     * @throws SchemaException if the name or a component of the record is not allowed
     */
    public static <A extends Record, R> Op<A, R> define(String name, Class<A> arguments, Class<R> result) {
        return make(null, name, arguments, Result.of(result, null));
    }

    /**
     * As above, with a result that has no class of its own, such as {@link Result#tensors()}.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result what the op gives
     * @return an op, to be given pieces and registered
     */
    public static <A extends Record, R> Op<A, R> define(String name, Class<A> arguments, Result<R> result) {
        return make(null, name, arguments, result);
    }

    /**
     * Begins an op whose records may be private to the class, or to the module, that {@code lookup} stands for.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param lookup {@code MethodHandles.lookup()}
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result {@code Tensor}, a record of tensors and plain values, or a plain value
     * @return an op, to be given pieces and registered
     */
    public static <A extends Record, R> Op<A, R> define(
            MethodHandles.Lookup lookup, String name, Class<A> arguments, Class<R> result) {
        return make(lookup, name, arguments, Result.of(result, lookup));
    }

    /**
     * As above, with a result that has no class of its own, such as {@link Result#tensors()}.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param lookup {@code MethodHandles.lookup()}
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result what the op gives
     * @return an op, to be given pieces and registered
     */
    public static <A extends Record, R> Op<A, R> define(
            MethodHandles.Lookup lookup, String name, Class<A> arguments, Result<R> result) {
        return make(lookup, name, arguments, result);
    }

    /**
     * Begins an op whose lists of plain values have a name for each element: by these they are passed in a call by name, and
     * shown in the schema.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result {@code Tensor}, a record of tensors and plain values, or a plain value
     * @param elements by the name of the list, the names of its elements
     * @return an op, to be given pieces and registered
     */
    public static <A extends Record, R> Op<A, R> define(
            String name, Class<A> arguments, Class<R> result, Map<String, List<String>> elements) {
        return make(null, name, arguments, Result.of(result, null), elements);
    }

    /**
     * As {@link #define(String, Class, Class, Map)}, with a result that has no class of its own.
     *
     * @param <A> the arguments
     * @param <R> the result
     * @param name {@code namespace::name}
     * @param arguments a record: tensors, lists of them, and plain values
     * @param result what the op gives
     * @param elements by the name of the list, the names of its elements
     * @return an op, to be given pieces and registered
     */
    public static <A extends Record, R> Op<A, R> define(
            String name, Class<A> arguments, Result<R> result, Map<String, List<String>> elements) {
        return make(null, name, arguments, result, elements);
    }

    private static <A extends Record, R> Op<A, R> make(
            MethodHandles.@Nullable Lookup lookup, String name, Class<A> arguments, Result<R> result) {
        return make(lookup, name, arguments, result, Map.of());
    }

    private static <A extends Record, R> Op<A, R> make(
            MethodHandles.@Nullable Lookup lookup,
            String name,
            Class<A> arguments,
            Result<R> result,
            Map<String, List<String>> elements) {
        OpRegistry.checkName(Objects.requireNonNull(name, "name"));
        Objects.requireNonNull(arguments, "arguments");
        Objects.requireNonNull(result, "result");
        return new Op<>(name, arguments, Schema.of(arguments, lookup), elements, result, Site.caller());
    }

    /**
     * Makes the op known by its name.
     *
     * @return this op
     * @throws RegistrationException if the name is taken, with both locations
     */
    public Op<A, R> register() {
        definition.requireWhole();
        OpRegistry.add(this);
        return this;
    }

    /**
     * Runs the op: through the {@linkplain dev.merapi.layer.Layers layers} that are on, down to the kernel of its tensors'
     * device.
     *
     * @param args its arguments
     * @return what its kernel or composition gives
     * @throws RuntimeException of this project's, naming the op, if an argument does not fit
     */
    public R call(A args) {
        try {
            return Dispatcher.call(definition, args, Context.current());
        } catch (RuntimeException e) {
            throw OpError.in(name, e); // Note [Names in errors]
        }
    }

    /**
     * Runs the op on arguments by name; those left out take their defaults.
     *
     * @param named by the names of the record's components
     * @return what its kernel or composition gives
     * @throws SchemaException if one is missing, unknown or of another type
     */
    public R call(Map<String, ?> named) {
        return call(arguments(named));
    }

    /**
     * The argument record of a call by name.
     *
     * @param named by the names of the record's components
     * @return a record
     * @throws SchemaException if one is missing, unknown or of another type
     */
    public A arguments(Map<String, ?> named) {
        Objects.requireNonNull(named, "named");
        return NamedArguments.bind(this, argumentType, named);
    }

    /** {@return {@code namespace::name}} */
    public String name() {
        return name;
    }

    /**
     * The record of the arguments.
     *
     * @return a record class
     */
    public Class<A> argumentType() {
        return argumentType;
    }

    /** {@return the arguments: names, kinds, order} */
    public Schema schema() {
        return schema;
    }

    /** By the name of a list, the names of its elements; of lists that have names for them. */
    Map<String, List<String>> elements() {
        return elements;
    }

    /** {@return what it gives} */
    public Result<R> result() {
        return result;
    }

    /**
     * What hangs on this op now.
     *
     * @return all pieces as they are now; a later registration makes another one
     */
    public Definition<A, R> definition() {
        return definition;
    }

    /** {@return file and line where it was begun} */
    public Site definedAt() {
        return site;
    }

    // ---------------------------------------------------------------- pieces

    /**
     * Arguments to a result of tensors without memory ({@code Tensor.meta}). Runs on every call: the dispatcher attaches
     * storage to those very tensors. Never reads data.
     *
     * @param rule from arguments to the outputs' shapes, dtypes and devices; refuses what does not fit, naming the sizes
     * @return this op
     */
    public Op<A, R> shape(Function<A, R> rule) {
        return add(PieceKey.SHAPE, rule);
    }

    /**
     * The result is a view: a layout over one argument's storage. No memory, no kernel, no formula.
     *
     * @param argument a tensor that is always there
     * @param layout over that argument's memory; it must fit into it
     * @return this op
     */
    public Op<A, R> view(String argument, Function<A, Layout> layout) {
        requireViewed(argument, result.isTensor(), "a view is one tensor");
        return add(PieceKey.VIEW, new ViewRule<A>(argument, a -> one(layout.apply(a)), false));
    }

    private static @Nullable List<Layout> one(@Nullable Layout layout) {
        return layout == null ? null : List.of(layout);
    }

    /**
     * The result is a list of views of one argument. In-place ops on them are refused.
     *
     * @param argument a tensor that is always there
     * @param layouts over that argument's memory
     * @return this op
     */
    public Op<A, R> views(String argument, Function<A, List<Layout>> layouts) {
        requireViewed(argument, result.isList(), "views are a list of tensors, Result.tensors()");
        return add(PieceKey.VIEW, new ViewRule<A>(argument, layouts, true));
    }

    /**
     * These arguments may be written; everything else is read-only.
     *
     * @param arguments names of tensors or lists of tensors
     * @return this op
     */
    public Op<A, R> mutates(String... arguments) {
        Objects.requireNonNull(arguments, "arguments");
        if (arguments.length == 0) {
            throw new SchemaException(name + ": mutates() names no argument\n  fix: name those that may be written.");
        }
        Set<String> set = new LinkedHashSet<>();
        for (String a : arguments) {
            requireTensor(a);
            set.add(a);
        }
        return add(PieceKey.MUTATES, set);
    }

    /**
     * The result is made of mutated arguments, as with {@code add_}: the shape rule returns them, in order, and all of them
     * if the op has a backward.
     *
     * @return this op
     */
    public Op<A, R> returnsMutated() {
        return add(PieceKey.RETURNS_MUTATED, true);
    }

    /**
     * Fills the outputs on one kind of device, for all dtypes or those named.
     *
     * @param device the kind
     * @param kernel fills what the shape rule made
     * @param dtypes that it serves; none for any
     * @return this op
     */
    public Op<A, R> kernel(DeviceType device, Kernel<A, R> kernel, DType... dtypes) {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(dtypes, "dtypes");
        return addKernel(device, kernel, dtypes);
    }

    /**
     * Makes the result on one kind of device: for data-dependent sizes and plain values.
     *
     * @param device the kind
     * @param kernel makes the result
     * @param dtypes that it serves; none for any
     * @return this op
     */
    public Op<A, R> returningKernel(DeviceType device, Kernel.Returning<A, R> kernel, DType... dtypes) {
        return addKernel(device, kernel, dtypes);
    }

    /**
     * A kernel that the device's backend builds, such as {@code CudaKernel.body(…)}.
     *
     * @param device the kind
     * @param code of a class that the device's backend knows
     * @param dtypes that it serves; none for any
     * @return this op
     */
    public Op<A, R> kernel(DeviceType device, DeviceCode code, DType... dtypes) {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(dtypes, "dtypes");
        return addKernel(device, code, dtypes);
    }

    private Op<A, R> addKernel(DeviceType device, KernelPiece kernel, DType... dtypes) {
        OpRegistry.refuseHiddenReplacement(name, device);
        return change(next -> kernelKeys(device, dtypes).forEach(key -> put(next, key, kernel, null, false)));
    }

    private static List<KernelKey> kernelKeys(DeviceType device, DType... dtypes) {
        Objects.requireNonNull(device, "device");
        if (Objects.requireNonNull(dtypes, "dtypes").length == 0) {
            return List.of(new KernelKey(device, null));
        }
        return Arrays.stream(dtypes)
                .map(dtype -> new KernelKey(device, Objects.requireNonNull(dtype, "dtype")))
                .toList();
    }

    /**
     * The kernel in plain Java: for every device whose memory Java sees, unless its backend has a better one.
     *
     * @param kernel fills what the shape rule made
     * @return this op
     */
    public Op<A, R> reference(Kernel<A, R> kernel) {
        OpRegistry.refuseHiddenReplacement(name, DeviceType.CPU);
        return add(PieceKey.REFERENCE, kernel);
    }

    /**
     * As {@link #reference}, for kernels that make their result.
     *
     * @param kernel makes the result
     * @return this op
     */
    public Op<A, R> returningReference(Kernel.Returning<A, R> kernel) {
        OpRegistry.refuseHiddenReplacement(name, DeviceType.CPU);
        return add(PieceKey.REFERENCE, kernel);
    }

    /**
     * What the backward formula will need: (args, result) to any tree of tensors, records, lists, sets, maps, optionals,
     * arrays and plain values. Arrays and lists are copied; a class that could hide a tensor is refused. If it fails after
     * the op has written in place, the write stays, and a backward through it is an error.
     * Continue with the formula: {@code .saveForBackward(…).backward(…)}.
     *
     * @param <S> what is saved
     * @param save runs after the op, without recording
     * @return what takes the formula
     */
    public <S extends @Nullable Object> Saving<A, R, S> saveForBackward(Backward.Save<A, R, S> save) {
        add(PieceKey.SAVE, save);
        return new Saving<>(this);
    }

    /**
     * The shared formula, for all devices; {@code saved} is what {@link #saveForBackward} gives.
     *
     * @param <S> what was saved
     * @param saved its class, which the formula's argument is held against
     * @param formula gives a gradient for each tensor argument, by ops
     * @return this op
     */
    public <S extends @Nullable Object> Op<A, R> backward(Class<S> saved, Backward<S, R> formula) {
        Objects.requireNonNull(formula, "formula");
        return add(PieceKey.BACKWARD, checked(saved, formula));
    }

    /**
     * A backward kernel for one kind of device; preferred to the shared formula when no graph is created. Gradients and
     * saved tensors are row-major unless the op declares {@link #stridesOk}.
     *
     * @param <S> what was saved
     * @param device the kind
     * @param saved its class
     * @param kernel gives a gradient for each tensor argument
     * @return this op
     */
    public <S extends @Nullable Object> Op<A, R> backward(DeviceType device, Class<S> saved, Backward<S, R> kernel) {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(kernel, "kernel");
        return add(new BackwardKernelKey(device), checked(saved, kernel));
    }

    /** A formula that is told a wrong class would fail somewhere inside, and not name the op. */
    private <S extends @Nullable Object> Backward<S, R> checked(Class<S> saved, Backward<S, R> formula) {
        return saved == Object.class
                ? formula
                : (context, tree, gradients) -> {
                    if (tree != null && !saved.isInstance(tree)) {
                        throw new GradientException(
                                name + ": its backward takes a " + saved.getName() + ", but saveForBackward gave a "
                                        + tree.getClass().getName());
                    }
                    return formula.apply(context, tree, gradients);
                };
    }

    /**
     * A backward kernel that the device's backend builds.
     *
     * @param device the kind
     * @param code of a class that the device's backend knows
     * @return this op
     */
    public Op<A, R> backward(DeviceType device, DeviceCode code) {
        Objects.requireNonNull(device, "device");
        return add(new BackwardKernelKey(device), code);
    }

    /**
     * {@link #saveForBackward} and the shared formula in one.
     *
     * @param <S> what is saved
     * @param save runs after the op, without recording
     * @param formula gives a gradient for each tensor argument, by ops
     * @return this op
     */
    public <S extends @Nullable Object> Op<A, R> autograd(Backward.Save<A, R, S> save, Backward<S, R> formula) {
        return change(next -> {
            put(next, PieceKey.SAVE, save, null, false);
            put(next, PieceKey.BACKWARD, formula, null, false);
        });
    }

    /**
     * The forward-mode rule, for {@code Autograd.jvp}. Without one the tangents go through the op's composition if it has
     * no backward formula of its own, and else through the formula, which is differentiated; a view is linear in what it
     * views. Refused beside {@link #mutates}.
     *
     * @param rule from arguments, result and their tangents to the tangents of the result
     * @return this op
     */
    public Op<A, R> jvp(Jvp<A, R> rule) {
        return add(PieceKey.JVP, rule);
    }

    /**
     * The result depends on random numbers, whoever draws them: forward mode refuses the op by name. It refuses one that
     * draws from a {@code Generator} while it runs also without this. Stands in the place of {@link #jvp}.
     *
     * @return this op
     */
    public Op<A, R> random() {
        return jvp(Jvp.refused("it draws random numbers", Jvp.DRAW_OUTSIDE));
    }

    /**
     * The result is linear in each of these arguments while the others are held; of names joined by a comma, in all of them
     * together. {@code linear("a", "b")} of a product, {@code linear("tensors")} of a concatenation,
     * {@code linear("x, bias", "weight, bias")} of x·weightᵀ + bias. Then the forward mode follows: the op of the tangents.
     *
     * @param arguments names of tensor arguments, some joined by commas
     * @return this op
     * @throws SchemaException if one is not a tensor argument
     */
    public Op<A, R> linear(String... arguments) {
        Objects.requireNonNull(arguments, "arguments");
        if (arguments.length == 0) {
            throw new SchemaException(name + ": linear() names no argument\n  fix: name those that it is linear in.");
        }
        List<Set<String>> sets = Linear.sets(arguments);
        sets.forEach(set -> set.forEach(this::requireTensor));
        return jvp(new Linear<>(this, sets));
    }

    /**
     * The op written with other ops. Without kernels the op expands into it above autograd; with a gradient formula it is
     * the kernel, and the formula holds; beside kernels it is the reference, and the rule for higher derivatives.
     *
     * @param expansion from arguments to result, by other ops
     * @return this op
     */
    public Op<A, R> compose(Function<A, R> expansion) {
        return add(PieceKey.COMPOSE, expansion);
    }

    /**
     * No gradient ever flows through this op; its outputs never require one. A view is then as after {@code detach()}.
     *
     * @return this op
     */
    public Op<A, R> nonDifferentiable() {
        return add(PieceKey.NON_DIFFERENTIABLE, true);
    }

    /**
     * Per output (lists count once) whether it is differentiable; without this all floating outputs are.
     *
     * @param outputs one for each
     * @return this op
     */
    public Op<A, R> differentiableOutputs(boolean... outputs) {
        Objects.requireNonNull(outputs, "outputs");
        return add(PieceKey.DIFFERENTIABLE_OUTPUTS, outputs.clone());
    }

    /**
     * These outputs are only for {@link #saveForBackward}; they are closed when the call returns.
     *
     * @param outputs names of tensors of the result record
     * @return this op
     */
    public Op<A, R> internal(String... outputs) {
        Objects.requireNonNull(outputs, "outputs");
        if (outputs.length == 0) {
            throw new SchemaException(
                    name + ": internal() names no output\n  fix: name those that callers do not see.");
        }
        Schema r = result.schema();
        for (String name : outputs) {
            if (r == null || !r.tensorNames().contains(name)) {
                throw new SchemaException(
                        this.name + ": internal output '" + name + "' is not a tensor of the result " + result);
            }
        }
        return add(PieceKey.INTERNAL, Set.of(outputs));
    }

    /**
     * The kernel is chosen by this dtype instead of the result's.
     *
     * @param rule from the arguments to a dtype
     * @return this op
     */
    public Op<A, R> kernelType(Function<A, DType> rule) {
        return add(PieceKey.KERNEL_TYPE, rule);
    }

    /**
     * Where an op without tensor arguments runs.
     *
     * @param rule from the arguments to a device
     * @return this op
     */
    public Op<A, R> device(Function<A, Device> rule) {
        return add(PieceKey.DEVICE, rule);
    }

    /**
     * Two runs on the same input may differ; refused under {@code Merapi.deterministic(true)}.
     *
     * @return this op
     */
    public Op<A, R> nondeterministic() {
        return add(PieceKey.NONDETERMINISTIC, true);
    }

    /**
     * Kernels, of backward too, take any strides; without this the engine makes what they get contiguous first.
     *
     * @return this op
     */
    public Op<A, R> stridesOk() {
        return add(PieceKey.STRIDES_OK, true);
    }

    /**
     * What automatic mixed precision does to floating arguments; without this nothing.
     *
     * @param policy which dtype the arguments get
     * @return this op
     */
    public Op<A, R> autocast(CastPolicy policy) {
        return add(PieceKey.AUTOCAST, policy);
    }

    /**
     * What this op says to one layer of dispatch, which reads it with {@link Definition#rule}; one for each layer.
     *
     * @param <L> that class
     * @param layer the class that the layer asks with
     * @param rule what the layer does with this op
     * @return this op
     */
    public <L> Op<A, R> rule(Class<L> layer, LayerRule<L, A, R> rule) {
        return add(new LayerKey(Objects.requireNonNull(layer, "layer")), rule);
    }

    /**
     * The value of an argument that a call by name leaves out; null for absent.
     *
     * @param argument its name
     * @param value of the argument's type
     * @return this op
     */
    public Op<A, R> defaultValue(String argument, @Nullable Object value) {
        if (schema.indexOf(argument) < 0) {
            throw new SchemaException(
                    name + ": default for '" + argument + "', which is not an argument of " + schema.argumentText());
        }
        NamedArguments.checkDefault(this, argument, value);
        return add(
                new DefaultKey(argument),
                value == null ? Definition.ABSENT : java.util.Objects.requireNonNull(Plain.own(value)));
    }

    /**
     * A value that backends generate their kernel from, such as a pointwise expression.
     *
     * @param code of a class that backends know
     * @return this op
     */
    public Op<A, R> code(Object code) {
        return add(PieceKey.CODE, code);
    }

    private void requireTensor(String argument) {
        if (!schema.tensorNames().contains(argument)) {
            throw new SchemaException(name + ": '" + argument + "' is not a tensor argument of " + schema.argumentText()
                    + "\n  tensor arguments: " + schema.tensorNames());
        }
    }

    private void requireViewed(String argument, boolean resultFits, String form) {
        requireTensor(argument);
        Schema.Argument viewed = schema.arguments().get(schema.indexOf(argument));
        if (viewed.kind() != Schema.Kind.TENSOR || viewed.optional()) {
            throw new SchemaException(name + ": '" + argument + "' cannot be viewed, since it is not one tensor that is"
                    + " always there: " + schema.argumentText());
        }
        if (!resultFits) {
            throw new SchemaException(name + ": " + form + ", but the result is declared as " + result);
        }
    }

    private <V> Op<A, R> add(PieceKey<V> key, @Nullable V value) {
        return change(next -> put(next, key, value, null, false));
    }

    /**
     * Replaces pieces on purpose: within {@code change}, what is registered takes the place of what is there.
     *
     * @param device the kind
     * @param kernel fills what the shape rule made
     * @param dtypes that it serves; none for any
     * @return this op
     */
    public Op<A, R> replaceKernel(DeviceType device, Kernel<A, R> kernel, DType... dtypes) {
        Objects.requireNonNull(device, "device");
        Objects.requireNonNull(dtypes, "dtypes");
        return change(next -> kernelKeys(device, dtypes).forEach(key -> put(next, key, kernel, null, true)));
    }

    /**
     * Replaces both halves of the gradient formula.
     *
     * @param <S> what is saved
     * @param save runs after the op, without recording
     * @param formula gives a gradient for each tensor argument, by ops
     * @return this op
     */
    public <S extends @Nullable Object> Op<A, R> replaceAutograd(Backward.Save<A, R, S> save, Backward<S, R> formula) {
        return change(next -> {
            put(next, PieceKey.SAVE, save, null, true);
            put(next, PieceKey.BACKWARD, formula, null, true);
        });
    }

    /**
     * Pieces that hold until the returned object is closed; then what was there before is back.
     *
     * @return what takes the pieces, to be closed
     */
    public Override<A, R> override() {
        return new Override<>(this);
    }

    /**
     * Collects temporary pieces of one op; see {@link Op#override}.
     *
     * @param <A> the arguments
     * @param <R> the result
     */
    public static final class Override<A extends Record, R> implements AutoCloseable {
        private final Op<A, R> op;
        private boolean closed;

        private Override(Op<A, R> op) {
            this.op = op;
        }

        /**
         * A kernel, in the place of one for this device and these dtypes.
         *
         * @param device the kind
         * @param kernel fills what the shape rule made
         * @param dtypes that it serves; none for any
         * @return this override
         */
        public Override<A, R> kernel(DeviceType device, Kernel<A, R> kernel, DType... dtypes) {
            return change(next -> kernelKeys(device, dtypes).forEach(key -> put(next, key, kernel, this, false)));
        }

        /**
         * Another shape rule.
         *
         * @param rule as {@link Op#shape} takes it
         * @return this override
         */
        public Override<A, R> shape(Function<A, R> rule) {
            return change(next -> put(next, PieceKey.SHAPE, rule, this, false));
        }

        /**
         * Another gradient formula.
         *
         * @param <S> what is saved
         * @param save runs after the op, without recording
         * @param formula gives a gradient for each tensor argument, by ops
         * @return this override
         */
        public <S extends @Nullable Object> Override<A, R> autograd(
                Backward.Save<A, R, S> save, Backward<S, R> formula) {
            return change(next -> {
                put(next, PieceKey.SAVE, save, this, false);
                put(next, PieceKey.BACKWARD, formula, this, false);
            });
        }

        /**
         * What the op says to a layer meanwhile.
         *
         * @param <L> the class that the layer asks with
         * @param layer that class
         * @param rule what the layer does with this op
         * @return this override
         */
        public <L> Override<A, R> rule(Class<L> layer, LayerRule<L, A, R> rule) {
            Objects.requireNonNull(layer, "layer");
            return change(next -> put(next, new LayerKey(layer), rule, this, false));
        }

        /**
         * Kernels registered for this kind of device are passed over; the backend's own and the reference remain.
         *
         * @param device the kind
         * @return this override
         */
        public Override<A, R> disable(DeviceType device) {
            if (!op.definition().hasRegisteredKernels(device)) {
                throw new RegistrationException(Message.of(op.name() + ": there is no " + device + " kernel to disable")
                        .fact("registered", op.definition().registeredKernels())
                        .fix("leave it out, or register the kernel first."));
            }
            return change(next -> put(next, new DisabledKey(device), true, this, false));
        }

        private Override<A, R> change(Consumer<Map<PieceKey<?>, List<Piece>>> edit) {
            if (closed) {
                throw new RegistrationException(op.name() + ": this override is closed\n  fix: begin another one.");
            }
            op.change(edit);
            return this;
        }

        @java.lang.Override
        public void close() {
            closed = true;
            op.change(next -> {
                next.values().forEach(stack -> stack.removeIf(p -> p.layer() == this));
                next.values().removeIf(List::isEmpty);
            });
        }
    }

    private static <V> void put(
            Map<PieceKey<?>, List<Piece>> next,
            PieceKey<V> key,
            @Nullable V value,
            @Nullable Object layer,
            boolean replace) {
        if (value == null) {
            throw new RegistrationException("piece '" + key.text() + "' is null\n  fix: leave it out.");
        }
        List<Piece> stack = next.computeIfAbsent(key, k -> new ArrayList<>());
        Piece base = stack.isEmpty() || stack.get(0).layer() != null ? null : stack.get(0);
        Piece piece = new Piece(value, Site.caller(), layer);
        if (layer != null) {
            stack.add(piece);
        } else if (base == null) {
            stack.add(0, piece);
        } else if (replace) {
            stack.set(0, piece);
        } else {
            throw new RegistrationException(
                    Message.of("there is already a piece '" + key.text() + "', registered at " + base.site())
                            .fact("second registration", piece.site())
                            .fix("use replace… to take its place for good, or override() for a while."));
        }
    }

    private synchronized Op<A, R> change(Consumer<Map<PieceKey<?>, List<Piece>>> edit) {
        Map<PieceKey<?>, List<Piece>> next = new LinkedHashMap<>();
        pieces.forEach((key, stack) -> next.put(key, new ArrayList<>(stack)));
        try {
            edit.accept(next);
        } catch (RegistrationException e) {
            throw new RegistrationException(name + ": " + e.getMessage());
        }
        Definition<A, R> candidate = new Definition<>(this, next);
        candidate.validate();
        pieces = next;
        definition = candidate;
        return this;
    }

    /**
     * {@code ns::name(Tensor x, float slope=0.01) -> Tensor}.
     *
     * @return name, arguments with their defaults, and result, as people write it
     */
    public String schemaText() {
        Definition<A, R> d = definition;
        Map<String, Object> marks = new LinkedHashMap<>(d.defaults());
        d.mutates().forEach(m -> marks.put(m, Schema.Mark.MUTATED));
        return name + schema.text(marks, elements) + " -> " + result;
    }

    @java.lang.Override
    public String toString() {
        return "Op(" + name + ")";
    }
}
