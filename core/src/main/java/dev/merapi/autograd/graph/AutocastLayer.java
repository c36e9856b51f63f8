// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/** The layer directly above autograd that converts arguments by their op's {@link CastPolicy}. */
public final class AutocastLayer implements CallLayer {
    private final @Nullable DType[] lower;
    private final CastCache cache;

    public AutocastLayer(@Nullable DType[] lower, @Nullable CastCache outer, Context context) {
        this.lower = lower;
        this.cache = outer == null ? new CastCache(context) : outer;
    }

    @Nullable
    public DType lower(DeviceType device) {
        return lower[device.id()];
    }

    @Nullable
    public DType[] lower() {
        return lower.clone();
    }

    public CastCache cache() {
        return cache;
    }

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
        if (context.isAutocastPaused() || op.castPolicy() == CastPolicy.NONE && op.isComposite()) {
            // An op that is a composition has no precision of its own: the ops in it have theirs.
            return Dispatcher.below(op, args, context, below);
        }
        context.setAutocastPaused(true); // the parts of any other have its precision
        try {
            return op.castPolicy() == CastPolicy.NONE
                    ? Dispatcher.below(op, args, context, below)
                    : converted(op, args, context, below);
        } finally {
            context.setAutocastPaused(false);
        }
    }

    private <A extends Record, R> R converted(Definition<A, R> op, A args, Context context, int below) {
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        DType to = target(op.castPolicy(), inputs);
        @Nullable Tensor[] given = to == null ? inputs : converted(inputs, to, context);
        if (given == inputs) {
            return Dispatcher.below(op, args, context, below);
        }
        R result;
        try {
            result = Dispatcher.below(op, op.schema().rebuild(args, given), context, below);
        } catch (RuntimeException | Error e) {
            freeTemporaries(inputs, given, new Tensor[0]);
            throw e;
        }
        freeTemporaries(inputs, given, op.result().tensors(op.name(), result));
        return result;
    }

    /** What the arguments are to be converted to; null if they stay as they are. */
    private @Nullable DType target(CastPolicy policy, @Nullable Tensor[] inputs) {
        DType widest = null;
        DType here = null;
        for (Tensor t : inputs) {
            if (t != null && t.dtype().isFloating()) {
                here = here == null ? lower[t.device().type().id()] : here;
                widest = widest == null ? t.dtype() : DType.promote(widest, t.dtype());
            }
        }
        if (here == null || widest == DType.FLOAT64 && policy != CastPolicy.PROMOTE) {
            return null;
        }
        return switch (policy) {
            case NONE -> null;
            case LOWER -> here;
            case FLOAT32 -> DType.FLOAT32;
            case PROMOTE -> widest;
        };
    }

    private @Nullable Tensor[] converted(@Nullable Tensor[] inputs, DType to, Context context) {
        @Nullable Tensor[] given = inputs;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && t.dtype().isFloating() && t.dtype() != to) {
                given = given == inputs ? inputs.clone() : given;
                given[i] = cache.isFor(t, to, context) ? cache.convert(t, to, context) : t.to(to);
            }
        }
        return given;
    }

    /** What backward needs of the copies has shares of its own. */
    private void freeTemporaries(@Nullable Tensor[] inputs, @Nullable Tensor[] given, Tensor[] results) {
        for (int i = 0; i < given.length; i++) {
            Tensor t = given[i];
            if (t == null || t == inputs[i] || cache.owns(t)) {
                continue;
            }
            boolean returned = false;
            for (Tensor r : results) {
                returned |= r == t;
            }
            if (!returned) {
                t.close();
            }
        }
    }
}
