// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * The 16-bit copies of parameters that live as long as the outermost autocast mode. A copy that is part of a graph and one
 * that is not are two entries: were a copy made under {@code noGrad} handed to a recorded call, the parameter would get no
 * gradient. Only the thread that opened the mode uses it; others, and calls made again after its end (checkpointing),
 * convert for themselves.
 */
public final class CastCache {
    private record Entry(Tensor copy, int version) {}

    private record Kind(DType dtype, boolean recorded) {}

    private final Context owner;
    /** A captured graph makes its own copies: those from before it would be the same in every replay. */
    private final @Nullable GraphCapture capture;

    private final Map<Tensor, Map<Kind, Entry>> entries = new IdentityHashMap<>();
    private final Set<Tensor> copies = Collections.newSetFromMap(new IdentityHashMap<>());
    private boolean closed;

    CastCache(Context owner) {
        this.owner = owner;
        this.capture = owner.graphCapture();
    }

    /** True for parameters: leaves that want a gradient. Anything else may be an activation, used once and large. */
    boolean isFor(Tensor t, DType to, Context context) {
        return context == owner
                && context.graphCapture() == capture
                && !closed
                && t.dtype() == DType.FLOAT32
                && to != DType.FLOAT32
                && TENSORS.autograd(t) != null
                && !(TENSORS.autograd(t) instanceof ViewMeta)
                && t.requiresGrad()
                && !AutogradMeta.isMade(t)
                && !t.isMeta();
    }

    boolean owns(Tensor copy) {
        return !copies.isEmpty() && copies.contains(copy);
    }

    Tensor convert(Tensor t, DType to, Context context) {
        Map<Kind, Entry> ofTensor = entries.computeIfAbsent(t, key -> new java.util.HashMap<>(2));
        Entry recorded = fresh(ofTensor, new Kind(to, true), t);
        if (recorded != null) {
            return recorded.copy;
        }
        Kind kind = new Kind(to, context.isGradEnabled());
        Entry found = fresh(ofTensor, kind, t);
        if (found == null) {
            found = new Entry(copy(t, to, context), t.version());
            ofTensor.put(kind, found);
            copies.add(found.copy);
        }
        return found.copy;
    }

    /** Out of all scopes, and an ordinary tensor also in inference mode: it may be used again outside of it. */
    private static Tensor copy(Tensor t, DType to, Context context) {
        boolean recording = context.setGradEnabled(context.isGradEnabled());
        boolean inference = context.setInference(false);
        try {
            return t.to(to).leaveScope();
        } finally {
            context.setInference(inference);
            context.setGradEnabled(recording);
        }
    }

    private @Nullable Entry fresh(Map<Kind, Entry> ofTensor, Kind kind, Tensor t) {
        Entry e = ofTensor.get(kind);
        if (e != null && (e.version != t.version() || e.copy.isClosed())) {
            ofTensor.remove(kind);
            copies.remove(e.copy);
            e.copy.close();
            return null;
        }
        return e;
    }

    public void close() {
        closed = true;
        copies.forEach(Tensor::close);
        copies.clear();
        entries.clear();
    }
}
