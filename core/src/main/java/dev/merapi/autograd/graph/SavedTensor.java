// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.SavedTensorException;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** One tensor that waits for backward: a share of its memory (or what hooks made of it), and the version it was saved at. */
public final class SavedTensor {
    /** For {@link #source}: neither an argument of the op nor a result of it. */
    public static final int COMPUTED = Integer.MIN_VALUE;

    private final int version;
    private final int source;
    private final @Nullable Tensor handle;
    /** What stands for the tensor in the saved tree: the handle itself, or its form where hooks hold the contents. */
    private final Tensor placeholder;

    private final @Nullable AutogradMeta graph;
    private @Nullable Object packed;
    private @Nullable List<Function<Object, Tensor>> unpacking; // in the order of unpacking
    /** Where hooks hold the contents: the original, as long as somebody else keeps it; its version must not change. */
    private @Nullable WeakReference<Storage> original;

    private SavedTensor(Tensor tensor, int source, @Nullable AutogradMeta graph, boolean hooked) {
        Tensor own = TENSORS.engineHandle(tensor);
        TENSORS.setAutograd(own, graph);
        this.version = tensor.version();
        this.source = source;
        this.graph = graph;
        this.handle = hooked ? null : own;
        this.placeholder = hooked ? Tensor.meta(tensor) : own;
        this.packed = own;
    }

    /**
     * Saves a tensor.
     *
     * @param source which argument of the op it is, or −1 − i for result i, or {@link #COMPUTED}
     * @param graph the variable's place in the graph, as backward shall see it
     * @param op who saves it
     */
    public static SavedTensor save(
            Tensor tensor, int source, @Nullable AutogradMeta graph, @Nullable HookStack hooks, String op) {
        Context context = Context.current();
        requireSavable(tensor, op, context);
        SavedTensor saved = new SavedTensor(tensor, source, graph, hooks != null);
        if (hooks != null) {
            saved.pack(tensor, hooks, op, context);
        }
        return saved;
    }

    static void requireSavable(Tensor tensor, String op, Context context) {
        if (tensor.isInference() && context.isGradEnabled()) {
            throw new SavedTensorException(
                    Message.of(op, "inference tensors cannot be saved for backward: " + tensor.describe())
                            .fix("copy() it outside of inference mode."));
        }
    }

    /** Runs the hooks, innermost first, with recording off and outside of all scopes: what they make stays. */
    private void pack(Tensor source, HookStack hooks, String op, Context context) {
        original = source.isMeta() ? null : new WeakReference<>(TENSORS.storage(source));
        Tensor own = (Tensor) java.util.Objects.requireNonNull(packed);
        List<Function<Object, Tensor>> applied = new ArrayList<>();
        Object value = own;
        boolean grad = context.setGradEnabled(false);
        Object installed = context.setSavedTensorHooks(null);
        Scope scope = context.scope();
        context.setScope(null);
        try {
            for (HookStack h = hooks; h != null && value instanceof Tensor t; h = h.outer()) {
                int before = t.version();
                value = h.pack().apply(t, op);
                if (t.version() != before) {
                    throw new SavedTensorException("saved-tensor hook: pack wrote into the tensor that it was given");
                }
                applied.add(0, h.unpack());
            }
            packed = value;
            unpacking = applied;
        } finally {
            TENSORS.unwind(context, null, value);
            context.setScope(scope);
            context.setSavedTensorHooks(installed);
            context.setGradEnabled(grad);
            if (unpacking == null || value != own) { // failed, or held in another form
                own.close();
            }
        }
    }

    /** What the op saved here; see {@link #save}. */
    int source() {
        return source;
    }

    Tensor placeholder() {
        return placeholder;
    }

    boolean isPacked() {
        return unpacking != null;
    }

    /** The tensor, after the version check; a packed one is unpacked anew, and belongs to the scope that is open. */
    public Tensor unpack(String node, int position, @Nullable Node owner) {
        WeakReference<Storage> weak = original;
        Storage watched =
                weak != null ? weak.get() : handle == null || handle.isMeta() ? null : TENSORS.storage(handle);
        if (watched != null && watched.version() != version) {
            throw new SavedTensorException(Message.of("backward of " + node + ": "
                            + (owner == null ? "saved tensor " + position : owner.savedName(position))
                            + " was modified in place after " + node + " saved it")
                    .fact(
                            "tensor",
                            placeholder.describe() + ", saved at version " + version + ", now at version "
                                    + watched.version())
                    .fact(
                            "last in-place op",
                            watched.lastMutator()
                                    + (watched.lastMutatedAt() == null ? "" : ", called at " + watched.lastMutatedAt()))
                    .fix("use the out-of-place op there, or copy() the tensor first; Autograd.anomaly() shows where "
                            + node + " ran."));
        }
        List<Function<Object, Tensor>> hooks = unpacking;
        if (hooks == null) {
            return java.util.Objects.requireNonNull(handle);
        }
        Context context = Context.current();
        Object value = packed;
        if (value == null) {
            throw new SavedTensorException("backward of " + node + ": saved tensor " + position + " was freed already");
        }
        boolean grad = context.setGradEnabled(false);
        try {
            for (Function<Object, Tensor> unpack : hooks) {
                value = unpack.apply(value);
            }
        } finally {
            context.setGradEnabled(grad);
        }
        if (!(value instanceof Tensor t)) {
            throw new SavedTensorException("backward of " + node + ": a saved-tensor hook unpacked a "
                    + (value == null ? "null" : value.getClass().getName()) + " instead of a Tensor");
        }
        if (!t.shape().equals(placeholder.shape())
                || t.dtype() != placeholder.dtype()
                || t.device() != placeholder.device()) {
            throw new SavedTensorException("backward of " + node + ": a saved-tensor hook unpacked " + t.describe()
                    + " for " + placeholder.describe());
        }
        t.requireOpen();
        // The hooks return contents; the place in the graph is the original's, or second derivatives would be lost.
        Tensor seen = TENSORS.viewAs(t, t.layout(), context);
        TENSORS.setAutograd(seen, graph);
        return seen;
    }

    /** The memory, if {@code saved} is what waits here and nobody else can read it; with versions of its own. */
    @Nullable
    Tensor room(@Nullable Tensor saved, Context context) {
        Tensor own = handle;
        if (own == null || own != saved || own.isMeta() || !own.isContiguous()) {
            return null;
        }
        Storage memory = TENSORS.storage(own);
        if (!memory.isForgotten(context.allocator(own.device()))) {
            return null;
        }
        // A part of it that is the whole: a hook of another node's that watches the original's version sees no write.
        return TENSORS.joinScope(TENSORS.over(memory.slice(0, memory.byteSize()), own.layout(), own.dtype()), context);
    }

    public void release(ThreadState memory) {
        if (packed instanceof Tensor t) {
            t.close();
        } else if (packed instanceof SavedTensorHooks.Packed p) {
            p.close();
        }
        packed = null;
    }

    public void escape() {
        if (packed instanceof Tensor t) {
            t.leaveScope();
        }
    }
}
