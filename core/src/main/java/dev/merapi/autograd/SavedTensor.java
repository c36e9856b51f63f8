// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.SavedTensorException;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** One tensor that waits for backward: a share of its memory (or what hooks made of it), and the version it was saved at. */
final class SavedTensor {
    private final int version;
    private final @Nullable Storage watched; // whose version must not change; not a share of it
    private final @Nullable Tensor handle;
    private final @Nullable Object packed;
    private final @Nullable List<SavedTensorHooks.Pair> pairs;
    private final Tensor placeholder;

    private SavedTensor(Tensor source, Tensor handle, @Nullable SavedTensorHooks hooks) {
        this.watched = source.isMeta() ? null : source.storage();
        this.version = source.version();
        if (hooks == null) {
            this.handle = handle;
            this.packed = null;
            this.pairs = null;
            this.placeholder = handle;
            return;
        }
        this.handle = null;
        this.placeholder = Tensor.meta(source);
        List<SavedTensorHooks.Pair> applied = new ArrayList<>();
        Object value = handle;
        Context context = Context.current();
        boolean grad = context.setGradEnabled(false);
        try {
            for (SavedTensorHooks h = hooks; h != null && value instanceof Tensor t; h = h.outer()) {
                int before = t.version();
                value = h.pair().pack(t);
                if (t.version() != before) {
                    throw new SavedTensorException("saved-tensor hook: pack wrote into the tensor that it was given");
                }
                applied.add(0, h.pair());
            }
        } finally {
            context.setGradEnabled(grad);
        }
        if (value != handle) {
            handle.close();
        }
        this.packed = value;
        this.pairs = applied;
    }

    /**
     * Saves a tensor.
     *
     * @param graph the variable's place in the graph, as backward shall see it
     */
    static SavedTensor save(Tensor tensor, @Nullable AutogradMeta graph, @Nullable SavedTensorHooks hooks) {
        if (tensor.isInference() && Context.current().isGradEnabled()) {
            throw new SavedTensorException("inference tensors cannot be saved for backward: " + tensor.describe()
                    + "\n  fix: clone() it outside of inference mode.");
        }
        Tensor handle = tensor.engineHandle();
        handle.setAutograd(graph);
        return new SavedTensor(tensor, handle, hooks);
    }

    /** What stands for this tensor in the saved tree until it is unpacked. */
    Tensor placeholder() {
        return placeholder;
    }

    boolean isPacked() {
        return pairs != null;
    }

    /** The tensor, after the version check; a packed one is unpacked anew. */
    Tensor unpack(String node, int position) {
        if (watched != null && watched.version() != version) {
            throw new SavedTensorException(Message.of("backward of " + node + ": saved tensor " + position
                            + " was modified in place after " + node + " saved it")
                    .fact("tensor", placeholder.describe() + ", saved at version " + version + ", now at version "
                            + watched.version())
                    .fact("last in-place op", watched.lastMutator())
                    .fix("use the out-of-place op there, or clone the tensor first; Autograd.anomaly() shows where "
                            + node + " ran."));
        }
        if (pairs == null) {
            return java.util.Objects.requireNonNull(handle);
        }
        Object value = java.util.Objects.requireNonNull(packed);
        for (SavedTensorHooks.Pair pair : pairs) {
            value = pair.unpack(value);
        }
        if (!(value instanceof Tensor t)) {
            throw new SavedTensorException("backward of " + node + ": a saved-tensor hook unpacked a "
                    + value.getClass().getName() + " instead of a Tensor");
        }
        if (!t.shape().equals(placeholder.shape()) || t.dtype() != placeholder.dtype()) {
            throw new SavedTensorException("backward of " + node + ": a saved-tensor hook unpacked "
                    + t.describe() + " for " + placeholder.describe());
        }
        return t;
    }

    void release(ThreadState memory) {
        if (handle != null) {
            handle.close();
        } else if (packed instanceof Tensor t) {
            t.close();
        }
    }

    void escape() {
        if (handle != null) {
            handle.leaveScope();
        } else if (packed instanceof Tensor t) {
            t.leaveScope();
        }
    }
}
