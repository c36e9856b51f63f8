// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.Backend;
import dev.merapi.error.AliasException;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.OpResultException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Definition;
import dev.merapi.op.DeviceCode;
import dev.merapi.op.Kernel;
import dev.merapi.op.KernelPiece;
import dev.merapi.op.ReadyKernel;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.ref.Reference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The way of a call: the {@linkplain dev.merapi.layer.Layers layers} that are active, then shape rule, allocation and kernel. One class on
 * purpose, to be read from top to bottom.
 */
public final class Dispatcher {
    private Dispatcher() {}

    /** Enters at the outermost layer that is active. What an op's pieces leave open ends here. */
    public static <A extends Record, R> R call(Definition<A, R> op, A args, Context context) {
        Scope scope = context.scope();
        R result = null;
        try {
            int level = context.level();
            LayerStack layers = context.layers();
            int autograd = layers.autograd();
            if (layers.top() > autograd && level > autograd) {
                result = go(op, args, context, level, Math.min(level, layers.top()));
            } else {
                result = LayerOrder.AUTOGRAD.call(op, args, context, here(context));
            }
            return result;
        } finally {
            if (context.scope() != scope) {
                TENSORS.unwind(
                        context, scope, result == null ? null : op.result().tensors(op.name(), result));
            }
        }
    }

    /**
     * Goes on with a call below the layer that it has come to.
     *
     * @param args those that the layer got, or others in the same form
     * @param below as the layer got it
     */
    public static <A extends Record, R> R below(Definition<A, R> op, A args, Context context, int below) {
        int next = LayerOrder.next(below);
        int level = context.setLevel(next);
        try {
            return go(op, args, context, LayerOrder.entry(below), next);
        } finally {
            context.restoreLevel(level);
        }
    }

    /** On to the next layer that is on; what is below autograd is not seen by views and ops that others compute. */
    private static <A extends Record, R> R go(Definition<A, R> op, A args, Context context, int entry, int next) {
        LayerStack layers = context.layers();
        int autograd = layers.autograd();
        for (int i = next; i > autograd; i--) {
            CallLayer layer = layers.get(i);
            if (layer != null) {
                return through(layer, op, args, context, entry, i - 1);
            }
        }
        if (next >= autograd || op.isComposite() || op.isView()) {
            return LayerOrder.AUTOGRAD.call(op, args, context, LayerOrder.at(entry, Math.min(next, autograd - 1)));
        }
        return belowAutograd(op, args, op.schema().tensors(op.name(), args), context, LayerOrder.at(entry, next));
    }

    /** Ops that the layer calls itself start below it. */
    private static <A extends Record, R> R through(
            CallLayer layer, Definition<A, R> op, A args, Context context, int entry, int next) {
        int level = context.setLevel(next);
        context.enterLayer();
        try {
            return layer.call(op, args, context, LayerOrder.at(entry, next));
        } finally {
            context.leaveLayer();
            context.restoreLevel(level);
        }
    }

    /**
     * Runs the op as a composition of others; outputs that are declared to need no gradient have none. The parts start where
     * the call came in, so that layers which let it pass see them too.
     *
     * @param below as a layer got it
     */
    public static <A extends Record, R> R expand(Definition<A, R> op, A args, Context context, int below) {
        op.requireWhole();
        if (!op.isDeterministic()) {
            Determinism.refuse(op);
        }
        Function<A, R> shape = op.shape();
        if (shape != null) {
            var unused = shape.apply(args); // refuses what the parts would complain about in their own words, or worse
        }
        R result;
        int level = context.setLevel(LayerOrder.entry(below));
        try {
            result = op.restrictsGradients()
                    ? LayerOrder.AUTOGRAD.restricted(op, args, context)
                    : composition(op, args, context);
        } finally {
            context.restoreLevel(level);
        }
        if (op.hasInternal()) {
            closeInternal(op, result);
        }
        return result;
    }

    /** Closes the outputs that the caller is not meant to see; what was saved has shares of its own. */
    public static <R> void closeInternal(Definition<?, R> op, R result) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        for (int i = 0; i < outputs.length; i++) {
            if (op.isInternal(result, i)) {
                outputs[i].close();
            }
        }
    }

    /** As above for code that calls the op where it stands, and wants the composition whatever else there is. */
    public static <A extends Record, R> R expand(Definition<A, R> op, A args, Context context) {
        return expand(op, args, context, here(context));
    }

    /** The composition itself; what it makes on the way is freed at its end. */
    public static <A extends Record, R> R composition(Definition<A, R> op, A args, Context context) {
        if (op.schema().tensorNames().isEmpty()) { // a factory: what it makes is what it returns
            return java.util.Objects.requireNonNull(op.compose()).apply(args);
        }
        try (Scope scope = TENSORS.openScope(context)) {
            R result = expansion(op, args).apply(args);
            if (op.isMutating()) {
                ownWrites(op, args);
            }
            for (Tensor t : op.result().tensors(op.name(), result)) {
                scope.keep(t);
            }
            return result;
        }
    }

    /** What ops inside of this one wrote to its arguments, it wrote: an error says what the user called. */
    private static <A extends Record> void ownWrites(Definition<A, ?> op, A args) {
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        boolean[] mutated = op.mutatedSlots(args);
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (mutated[i] && t != null && !t.isMeta()) {
                TENSORS.storage(t).nameMutator(op.name());
            }
        }
    }

    /** The op's own, or for an op that is nothing else that of the device's backend. */
    @SuppressWarnings("unchecked")
    private static <A extends Record, R> Function<A, R> expansion(Definition<A, R> op, A args) {
        if (op.shape() == null && op.registeredKernels().isEmpty()) {
            for (Tensor t : op.schema().tensors(op.name(), args)) {
                if (t != null) {
                    Function<?, ?> own = BackendChoice.of(t.device().type()).expansion(op);
                    if (own != null) {
                        return (Function<A, R>) own;
                    }
                    break;
                }
            }
        }
        return java.util.Objects.requireNonNull(op.compose());
    }

    /** The layers below autograd and the kernel, with everything above them masked. */
    public static <A extends Record, R> R belowAutograd(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, Context context, int below) {
        LayerStack layers = context.layers();
        int level = context.setLevel(LayerOrder.NONE);
        context.memory().enter();
        try {
            for (int i = LayerOrder.next(below); i >= 0; i--) {
                CallLayer layer = layers.get(i);
                if (layer != null) {
                    return through(layer, op, args, context, LayerOrder.entry(below), i - 1);
                }
            }
            return kernel(op, args, inputs, context, false);
        } finally {
            context.memory().exit();
            context.restoreLevel(level);
            Reference.reachabilityFence(args);
        }
    }

    /** As above for a kernel that stands on another op's, with its internal outputs. */
    public static <A extends Record, R> R belowAutograd(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, Context context) {
        return belowAutograd(op, args, inputs, context, here(context));
    }

    /** Below autograd, for what comes in where this thread's calls do. */
    private static int here(Context context) {
        int level = context.level();
        return LayerOrder.at(level, Math.min(level, context.layers().autograd() - 1));
    }

    /**
     * For a kernel that is a program of ops: each of them is a call of its own, so that what one of them frees serves the
     * next. Within a call memory comes back at its end only (Note [Epochs] in {@code Protection}), for the kernel might use
     * it; so the program gets handles of its own, which nobody else can close, and the call is left meanwhile. One within
     * another call stays in it, and keeps its memory that long.
     */
    public static <A extends Record> void apart(Definition<A, ?> op, A args, Consumer<A> program) {
        ThreadState memory = Context.current().memory();
        if (!memory.isOutermost()) {
            program.accept(args);
            return;
        }
        @Nullable Tensor[] held = op.schema().tensors(op.name(), args);
        int count = 0;
        try {
            for (; count < held.length; count++) {
                Tensor t = held[count];
                held[count] = t == null ? null : TENSORS.engineHandle(t);
            }
            A own = op.schema().rebuild(args, held);
            memory.exit();
            try {
                program.accept(own);
            } finally {
                memory.enter();
            }
        } finally {
            for (int i = 0; i < count; i++) {
                Tensor t = held[i];
                if (t != null) {
                    t.close();
                }
            }
        }
    }

    /** Layouts, then shape rule, memory, kernel. */
    static <A extends Record, R> R kernel(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, Context context, boolean checked) {
        Device device = ready(inputs);
        boolean meta = false;
        if (device == null) { // something is unusual, or wrong
            device = device(op, args, inputs);
            meta = inputs.length > 0 && allMeta(op, args, inputs);
        }
        boolean[] mutated = op.isMutating() ? op.mutatedSlots(args) : null;
        @Nullable Tensor[] prepared = null;
        if (mutated != null) {
            prepared = meta ? null : prepareMutated(op, inputs, mutated);
        } else if (!meta && !op.takesStrides()) {
            prepared = contiguous(inputs);
        }
        if (prepared == null) {
            return compute(op, args, inputs, mutated, device, meta, context, checked);
        }
        try {
            A given = op.schema().rebuild(args, prepared);
            R result = compute(op, given, prepared, mutated, device, false, context, checked);
            return mutated == null ? result : writeBack(op, inputs, mutated, prepared, result, context);
        } finally {
            for (int i = 0; i < inputs.length; i++) {
                Tensor copy = prepared[i];
                if (copy != null && copy != inputs[i]) {
                    copy.close();
                }
            }
        }
    }

    private static <A extends Record, R> R compute(
            Definition<A, R> op,
            A given,
            @Nullable Tensor[] inputs,
            boolean @Nullable [] mutated,
            @Nullable Device device,
            boolean meta,
            Context context,
            boolean checked) {
        Function<A, R> shape = op.shape();
        if (shape == null) {
            return returning(op, given, inputs, mutated, device, meta, context);
        }
        R out = shape.apply(given);
        Device target = device;
        DType dtype = op.kernelType(given);
        if (op.result().isTensor()) {
            Tensor t = (Tensor) out;
            if (t == null) {
                throw new OpResultException(op.name() + ": the shape rule returned null");
            }
            target = target == null ? t.device() : target;
            dtype = dtype == null ? t.dtype() : dtype;
            if (op.returnsMutated()) {
                requireWritten(op, new Tensor[] {t}, inputs, mutated);
            }
            if (meta) {
                return out;
            }
            boolean fresh = t.isMeta();
            if (fresh) {
                TENSORS.allocate(t, context);
            } else if (!op.returnsMutated()) {
                throw notFresh(op, t);
            }
            // Nothing to compute for an empty result, unless arguments are written too.
            if (t.numel() != 0 || mutated != null) {
                try {
                    run(op, given, inputs, mutated, out, target, dtype, context, checked);
                } catch (RuntimeException | Error e) {
                    if (fresh) {
                        t.close();
                    }
                    throw e;
                }
            }
            return out;
        }
        Tensor[] outputs = op.result().tensors(op.name(), out);
        if (op.returnsMutated()) {
            requireWritten(op, outputs, inputs, mutated);
        }
        for (Tensor t : outputs) {
            target = target == null ? t.device() : target;
            dtype = dtype == null ? t.dtype() : dtype;
            if (!meta && !t.isMeta() && !op.returnsMutated()) {
                throw notFresh(op, t);
            }
        }
        if (!meta) {
            dtype = dtype == null ? firstType(inputs) : dtype;
            int made = 0;
            try {
                for (; made < outputs.length; made++) {
                    if (outputs[made].isMeta()) {
                        TENSORS.allocate(outputs[made], context);
                    }
                }
                run(op, given, inputs, mutated, out, requireDevice(op, target), dtype, context, checked);
            } catch (RuntimeException | Error e) {
                for (int i = 0; i < made && !op.returnsMutated(); i++) {
                    outputs[i].close();
                }
                throw e;
            }
        }
        return out;
    }

    /** What an op that returns what it writes gives back, before it is written: written tensors, in their order. */
    private static void requireWritten(
            Definition<?, ?> op, Tensor[] outputs, @Nullable Tensor[] inputs, boolean @Nullable [] mutated) {
        boolean all = op.hasBackward(); // their history is rewritten by what is returned
        int next = 0;
        for (int i = 0; mutated != null && i < inputs.length; i++) {
            boolean returned = mutated[i] && next < outputs.length && outputs[next] == inputs[i];
            if (returned) {
                next++;
            } else if (all && mutated[i] && inputs[i] != null) {
                next = -1;
                break;
            }
        }
        if (next != outputs.length) {
            op.requireWhole();
            throw new OpResultException(Message.of(op.name() + ": declares returnsMutated() and writes " + op.mutates()
                            + ", but its result is not made of the written tensors in order")
                    .fact("result", describe(outputs))
                    .fix("return them from the shape rule or kernel, or drop returnsMutated()."));
        }
    }

    private static List<String> describe(Tensor[] tensors) {
        return Arrays.stream(tensors).map(Tensor::describe).toList();
    }

    private static OpResultException notFresh(Definition<?, ?> op, Tensor t) {
        return new OpResultException(
                op.name() + ": the shape rule returned a tensor that has memory already: " + t.describe()
                        + "\n  fix: return Tensor.meta(…); declare returnsMutated() if the op returns what it writes.");
    }

    @SuppressWarnings("unchecked")
    private static <A extends Record, R> void run(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            boolean @Nullable [] mutated,
            R out,
            Device device,
            @Nullable DType dtype,
            Context context,
            boolean checked) {
        GraphCapture capture = context.graphCapture();
        if (capture != null) {
            capture.admit(op.name(), device, inputs, mutated);
        } else {
            WorkStream.noteUse(device, inputs);
        }
        ReadyKernel<?, ?> found = op.resolved(device.type(), dtype, BackendChoice.generation());
        if (found == null) {
            found = resolve(op, device.type(), dtype);
        }
        if (!op.isDeterministic()) {
            Determinism.refuse(op);
        }
        if (!(found instanceof Kernel<?, ?>)) {
            throw new OpResultException(op.name() + ": has a shape rule and a returning kernel; it needs one of them");
        }
        Kernel<A, R> kernel = (Kernel<A, R>) found;
        if (mutated != null) {
            try {
                kernel.run(args, out);
            } catch (RuntimeException | Error e) {
                countWrites(op, inputs, mutated, e, context);
                throw e;
            }
            countWrites(op, inputs, mutated, null, context);
            return;
        }
        if (checked && op.isDeterministic()) {
            CheckedMode.runTwice(op, kernel, args, out);
            return;
        }
        kernel.run(args, out);
    }

    @SuppressWarnings({"unchecked", "NullAway"}) // the result of an op without one is null
    private static <A extends Record, R> R returning(
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            boolean @Nullable [] mutated,
            @Nullable Device device,
            boolean meta,
            Context context) {
        if (meta) {
            if (op.compose() != null) {
                return composition(op, args, context);
            }
            throw new ShapeException(
                    op.name() + ": has no shape rule, so it cannot run on meta tensors, which have no data"
                            + "\n  fix: add .shape(a -> Tensor.meta(…)), unless the sizes of the result depend on data.");
        }
        Device target = requireDevice(op, device);
        DType dtype = op.kernelType(args);
        dtype = dtype == null ? firstType(inputs) : dtype;
        ReadyKernel<?, ?> kernel = op.resolved(target.type(), dtype, BackendChoice.generation());
        if (kernel == null) {
            kernel = resolve(op, target.type(), dtype);
        }
        if (!op.isDeterministic()) {
            Determinism.refuse(op);
        }
        if (kernel instanceof Kernel<?, ?> && !op.result().isNone()) {
            throw new OpResultException(op.name() + ": its kernel fills outputs, but there is no shape rule"
                    + "\n  fix: add .shape(a -> Tensor.meta(…)), or register a returningKernel.");
        }
        GraphCapture capture = context.graphCapture();
        if (capture != null) {
            if (!(kernel instanceof Kernel<?, ?> || kernel instanceof Composed<?, ?>)) {
                throw capture.refused(op.name(), "makes a result that depends on data, or waits for the device,");
            }
            capture.admit(op.name(), target, inputs, mutated);
        } else {
            WorkStream.noteUse(target, inputs);
        }
        R out;
        try {
            if (kernel instanceof Kernel<?, ?> writing) {
                ((Kernel<A, R>) writing).run(args, (R) null);
                out = null;
            } else {
                out = ((Kernel.Returning<A, R>) kernel).run(args);
            }
        } catch (RuntimeException | Error e) {
            if (mutated != null) {
                countWrites(op, inputs, mutated, e, context);
            }
            throw e;
        }
        if (mutated != null) {
            countWrites(op, inputs, mutated, null, context);
        }
        if (kernel instanceof Kernel<?, ?>) {
            return out;
        }
        Tensor[] outputs = op.result().tensors(op.name(), out);
        if (op.returnsMutated()) {
            requireWritten(op, outputs, inputs, mutated);
        }
        for (int i = 0; i < outputs.length; i++) {
            refuseAlias(op, args, out, outputs, i, inputs);
        }
        return out;
    }

    /** A returned tensor has memory of its own; where the shape rule makes outputs that cannot be otherwise. */
    private static <A extends Record, R> void refuseAlias(
            Definition<A, R> op, A args, R out, Tensor[] outputs, int i, @Nullable Tensor[] inputs) {
        Tensor output = outputs[i];
        if (output.isMeta()) {
            throw new OpResultException(op.name() + ": its kernel returned a tensor without memory, "
                    + output.describe() + " (meta)\n  fix: return one that has contents.");
        }
        if (op.returnsMutated()) {
            return;
        }
        for (int k = 0; k < inputs.length; k++) {
            Tensor t = inputs[k];
            if (t != null && !t.isMeta() && TENSORS.storage(t) == TENSORS.storage(output)) {
                String name = op.slotName(args, k);
                throw new AliasException(Message.of(
                                op.name() + ": its result shares memory with an input, '" + name + "', " + t.describe())
                        .argument(name)
                        .fix("return a copy (t.copy()), or declare the op a view."));
            }
        }
        for (int k = 0; k < i; k++) {
            if (TENSORS.storage(outputs[k]) == TENSORS.storage(output)) {
                throw new AliasException(op.name() + ": its outputs '" + op.outputName(out, k) + "' and '"
                        + op.outputName(out, i) + "', " + output.describe()
                        + ", share memory\n  fix: return a copy of one (t.copy()).");
            }
        }
    }

    private static @Nullable DType firstType(@Nullable Tensor[] inputs) {
        for (Tensor t : inputs) {
            if (t != null) {
                return t.dtype();
            }
        }
        return null;
    }

    /** The one device of tensors that are all there, open and with memory, as is usual: seen by one look at each. */
    private static @Nullable Device ready(@Nullable Tensor[] inputs) {
        Device device = null;
        for (Tensor t : inputs) {
            if (t == null || t.isMeta() || t.isClosed() || device != null && device != t.device()) {
                return null;
            }
            device = t.device();
        }
        return device;
    }

    /** The one device of all tensors; null if there are none and no device argument decides. */
    private static <A extends Record, R> @Nullable Device device(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs) {
        Device device = null;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t == null) {
                continue;
            }
            if (t.isClosed()) {
                throw closed(op, args, i, t);
            }
            if (device == null) {
                device = t.device();
            } else if (device != t.device()) {
                throw mixedDevices(op, args, inputs);
            }
        }
        return device != null ? device : op.device(args);
    }

    /** For an op that is only its composition: the ops in it would name themselves. */
    public static <A extends Record> void requireOpen(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && t.isClosed()) {
                throw closed(op, args, i, t);
            }
        }
    }

    private static <A extends Record> ClosedTensorException closed(Definition<A, ?> op, A args, int i, Tensor t) {
        String name = op.slotName(args, i);
        return new ClosedTensorException(
                Message.of(op.name() + ": argument '" + name + "', " + t.describe() + ", is closed")
                        .argument(name)
                        .fix("keep it beyond its scope with scope.keep(t), or close it later."));
    }

    private static <A extends Record> DeviceException mixedDevices(
            Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        Message m = Message.of(op.name() + ": operands are on different devices");
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            m.fact(op.slotName(args, i), t == null ? "absent" : t.describe());
        }
        return new DeviceException(m.fix("nothing is moved implicitly; use t.to(device)."));
    }

    private static Device requireDevice(Definition<?, ?> op, @Nullable Device device) {
        if (device == null) {
            throw new MissingKernelException(
                    Message.of(op.name() + ": there are no tensor inputs to choose a kernel by")
                            .fix("declare .device(a -> a.device()), or pass at least one tensor."));
        }
        return device;
    }

    private static <A extends Record> boolean allMeta(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        boolean meta = false;
        boolean real = false;
        for (Tensor t : inputs) {
            if (t != null) {
                meta |= t.isMeta();
                real |= !t.isMeta();
            }
        }
        if (meta && real) {
            Message m = Message.of(op.name() + ": some inputs have memory and some are meta, without memory");
            for (int i = 0; i < inputs.length; i++) {
                Tensor t = inputs[i];
                m.fact(op.slotName(args, i), t == null ? "absent" : t.describe() + (t.isMeta() ? ", meta" : ""));
            }
            throw new ShapeException(m.fix("Tensor.meta(t) makes a meta tensor of one that has memory."));
        }
        return meta;
    }

    // ---------------------------------------------------------------- layouts

    /** Row-major copies where needed; null if nowhere. */
    private static @Nullable Tensor @Nullable [] contiguous(@Nullable Tensor[] inputs) {
        @Nullable Tensor[] dense = null;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && !t.isContiguous()) {
                dense = dense == null ? inputs.clone() : dense;
                dense[i] = t.contiguous();
            }
        }
        return dense;
    }

    /**
     * Before a kernel writes: a destination may not overlap itself nor another one, and an input that overlaps it is copied: but for
     * expressions in the same layout, which read each element before they write it. Without {@code stridesOk} all are made contiguous, destinations too; {@link #writeBack} ends that.
     */
    private static @Nullable Tensor @Nullable [] prepareMutated(
            Definition<?, ?> op, @Nullable Tensor[] inputs, boolean[] mutated) {
        @Nullable Tensor[] prepared = null;
        int targets = 0;
        for (int i = 0; i < inputs.length; i++) {
            Tensor target = inputs[i];
            if (!mutated[i] || target == null) {
                continue;
            }
            targets++;
            if (!target.layout().isInjective()) {
                throw new AliasException(
                        op.name() + ": would write to a tensor whose elements overlap: " + target.dtype()
                                + target.layout() + "\n  fix: copy() it first; expanded tensors are read-only.");
            }
        }
        Destinations written = targets > Destinations.FEW ? Destinations.of(inputs, mutated, targets) : null;
        if (targets > 1 && (written == null || !written.areApart())) {
            Destinations.refuseMeeting(op, inputs, mutated);
        }
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t == null) {
                continue;
            }
            boolean copy = false;
            boolean near = !mutated[i] && (written == null || written.meet(TENSORS.storage(t)));
            for (int k = 0; k < inputs.length && near && !copy; k++) {
                Tensor target = inputs[k];
                copy = mutated[k]
                        && target != null
                        && TENSORS.storage(t).overlaps(TENSORS.storage(target))
                        && !(op.code() != null && t.layout().sameAs(target.layout()) && t.dtype() == target.dtype());
            }
            if (copy || !op.takesStrides() && !t.isContiguous()) {
                prepared = prepared == null ? inputs.clone() : prepared;
                prepared[i] = copy ? t.copy() : t.contiguous();
            }
        }
        return prepared;
    }

    /** Brings what a kernel wrote to row-major stand-ins into the tensors themselves, and those into the result. */
    @SuppressWarnings("NullAway") // outputs of a mutating op are present
    private static <A extends Record, R> R writeBack(
            Definition<A, R> op,
            @Nullable Tensor[] inputs,
            boolean[] mutated,
            @Nullable Tensor[] prepared,
            R result,
            Context context) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        boolean replaced = false;
        for (int i = 0; i < inputs.length; i++) {
            Tensor written = prepared[i];
            Tensor target = inputs[i];
            if (!mutated[i] || written == null || target == null || written == target) {
                continue;
            }
            target.copy_(written);
            TENSORS.storage(target).bumpVersion(op.name(), context.remembersWrites());
            for (int k = 0; k < outputs.length; k++) {
                if (outputs[k] == written) {
                    outputs[k] = target;
                    replaced = true;
                }
            }
        }
        return replaced ? op.result().rebuild(result, outputs) : result;
    }

    /** A kernel that failed may have written all the same, unless it says that it has not. */
    private static void countWrites(
            Definition<?, ?> op,
            @Nullable Tensor[] inputs,
            boolean[] mutated,
            @Nullable Throwable failure,
            Context context) {
        if (failure instanceof ShapeException e && e.isBeforeWriting()) {
            return;
        }
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (mutated[i] && t != null) {
                TENSORS.storage(t).bumpVersion(op.name(), context.remembersWrites());
            }
        }
    }

    // ---------------------------------------------------------------- which kernel

    private static synchronized <A extends Record, R> ReadyKernel<?, ?> resolve(
            Definition<A, R> op, DeviceType device, @Nullable DType dtype) {
        op.requireWhole();
        int generation = BackendChoice.generation(); // before the backend is asked for: one that comes now counts anew
        KernelPiece registered = op.kernel(device, dtype);
        Backend backend = BackendChoice.of(device);
        ReadyKernel<?, ?> kernel = null;
        if (registered instanceof DeviceCode code) {
            kernel = backend.link(op, code, dtype);
            if (kernel == null) {
                throw new MissingKernelException(
                        Message.of(op.name() + ": its " + device + " kernel is code that this backend cannot run")
                                .fact("kernel", code)
                                .fact("backend", backend.description())
                                .fix("register it for the devices that it is written for."));
            }
        } else if (registered instanceof ReadyKernel<?, ?> ready) {
            kernel = ScopedKernel.of(op, ready);
        }
        if (kernel == null) {
            kernel = backend.kernel(op, dtype);
        }
        if (kernel == null && backend.memory(0).isJavaVisible()) {
            kernel = BackendChoice.javaKernel(op, dtype);
        }
        if (kernel == null && op.compose() != null) {
            kernel = op.shape() == null && !op.result().isNone() ? new Composed<>(op) : filledByComposition(op);
        }
        if (kernel == null) {
            throw noKernel(op, device, dtype);
        }
        op.setResolved(device, dtype, generation, kernel);
        return kernel;
    }

    /** The composition as the kernel of an op that has a formula of its own, or none for this device. */
    private record Composed<A extends Record, R>(Definition<A, R> op) implements Kernel.Returning<A, R> {
        @Override
        public R run(A args) {
            return composition(op, args, Context.current());
        }
    }

    /** The composition as the kernel of an op with a shape rule, which it has to keep to. */
    private static <A extends Record, R> Kernel<A, R> filledByComposition(Definition<A, R> op) {
        Function<A, R> compose = java.util.Objects.requireNonNull(op.compose());
        return (args, out) -> {
            try (Scope scope = TENSORS.openScope(Context.current())) {
                Tensor[] from = op.result().tensors(op.name(), compose.apply(args));
                Tensor[] to = op.result().tensors(op.name(), out);
                for (int i = 0; i < Math.max(from.length, to.length); i++) {
                    if (i >= from.length
                            || i >= to.length
                            || !from[i].shape().equals(to[i].shape())
                            || from[i].dtype() != to[i].dtype()) {
                        throw new OpResultException(
                                Message.of(op.name() + ": its composition and its shape rule do not agree")
                                        .fact("composition", describe(from))
                                        .fact("shape rule", describe(to))
                                        .fix("both must give the same shapes and dtypes."));
                    }
                    if (from[i] != to[i]) {
                        to[i].copy_(from[i]);
                    }
                }
            }
        };
    }

    private static MissingKernelException noKernel(Definition<?, ?> op, DeviceType device, @Nullable DType dtype) {
        List<String> registered = new ArrayList<>(op.registeredKernels());
        if (op.reference() == null && BackendChoice.javaKernel(op, dtype) != null) {
            registered.add("plain Java");
        }
        String facts = registered.isEmpty() ? "none" : String.join(", ", registered);
        boolean here = registered.stream().anyMatch(k -> k.startsWith(device + " "));
        if (op.isDisabled(device)) {
            return new MissingKernelException(
                    Message.of(op.name() + ": its " + device + " kernels are disabled by an override")
                            .fact("registered", facts)
                            .fix("close the override, or register a kernel in it."));
        }
        if (here && dtype == null) {
            return new MissingKernelException(Message.of(op.name() + ": has " + device
                            + " kernels for single dtypes, and nothing says which to choose")
                    .fact("registered", facts)
                    .fix("declare .kernelType(a -> …), or register a kernel without dtypes: for any."));
        }
        return new MissingKernelException(
                Message.of(op.name() + ": no " + device + " kernel" + (dtype == null ? "" : " for " + dtype))
                        .fact("registered", facts)
                        .fix((here ? "convert with x.to(dtype), or " : "") + "register one: op.kernel(DeviceType.of(\""
                                + device + "\"), …)."));
    }
}
