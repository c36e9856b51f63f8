// SPDX-License-Identifier: Apache-2.0
package dev.merapi.layer;

import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.dispatch.LayerOrder;
import dev.merapi.op.Definition;
import java.util.Objects;

/**
 * The layers that a call goes through on its way to a kernel. This is their order, the outermost first:
 *
 * <ol>
 *   <li>layers that were pushed, the last one first
 *   <li>autocast, so that what it converts is recorded
 *   <li>autograd
 *   <li>layers that were pushed and {@linkplain DispatchLayer#isBelowAutograd say} that they stand here, the last one first:
 *       they see an op when it is computed, whether recorded or not, and after autocast; views and ops that are computed by
 *       others do not come here
 *   <li>checks
 * </ol>
 *
 * Within a kernel no layer is active. A backward pass starts at the top again, less autocast, so that layers see the ops of
 * its formulas (but not backward kernels, which are no ops); one that a layer starts itself stays below that layer.
 */
public final class Layers {
    private Layers() {}

    /** A user's layer among those of the engine; pushed twice, it is there twice. */
    private static final class OnThread implements CallLayer {
        private final DispatchLayer layer;

        OnThread(DispatchLayer layer) {
            this.layer = layer;
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
            return layer.call(op, args, new CallContext(context), below);
        }

        @Override
        public boolean isBelowAutograd() {
            return layer.isBelowAutograd();
        }
    }

    /** A layer that is on a thread, until this is closed. */
    public interface Pushed extends AutoCloseable {
        /**
         * Takes the layer from the thread, and what was pushed after it. Idempotent.
         *
         * @throws IllegalStateException on another thread than the one that pushed it, or while a call is in progress that
         *     the layer sees
         */
        @Override
        void close();
    }

    /**
     * Puts a layer on this thread until the returned mode is closed.
     *
     * <pre>{@code
     * try (Layers.Pushed on = Layers.push(new Logging())) {
     *     model.forward(x);
     * }
     * }</pre>
     *
     * <p>One that is pushed by code that runs below other layers (by a layer, or within a kernel) becomes active where
     * those are passed again.
     *
     * @param layer sees every call of this thread from now on
     * @return what ends it, to be closed by this thread
     * @throws IllegalStateException if {@code layer} stands below autograd and a call is in progress that layers see, or if
     *     thousands were pushed and not closed
     */
    public static Pushed push(DispatchLayer layer) {
        Objects.requireNonNull(layer, "layer");
        return LayerOrder.push("layer " + layer.getClass().getName(), new OnThread(layer))::close;
    }

    /**
     * Goes on with a call below the layer that it has come to.
     *
     * @param <A> the record of the op's arguments
     * @param <R> what the op returns
     * @param op as the layer got it
     * @param args those that the layer got, or others in the same form
     * @param context as the layer got it
     * @param below as the layer got it
     * @return what the op returns
     */
    public static <A extends Record, R> R below(Definition<A, R> op, A args, CallContext context, int below) {
        return Dispatcher.below(op, args, context.thread(), below);
    }

    /**
     * As {@link #below}, for a layer that does not care for the parts of an op that is computed by others: it sees none of
     * them.
     *
     * @param <A> the record of the op's arguments
     * @param <R> what the op returns
     * @param op as the layer got it
     * @param args those that the layer got, or others in the same form
     * @param context as the layer got it
     * @return what the op returns
     */
    public static <A extends Record, R> R whole(Definition<A, R> op, A args, CallContext context) {
        return Dispatcher.call(op, args, context.thread());
    }
}
