// SPDX-License-Identifier: Apache-2.0
package dev.merapi.layer;

import dev.merapi.op.Definition;

/**
 * Sees every call of an op that a thread makes, and decides what becomes of it: logging, profiling, forward mode, batching.
 * Autocast, autograd and the checks are layers too; {@link Layers} has their order, and puts a layer of your own on a
 * thread.
 *
 * <p>A layer goes on with {@link Layers#below}, with the arguments that it got or with others, returns what comes back,
 * or something else of the same form; it may also not go on at all. Ops that it calls itself, as one always calls ops, start
 * below it, so that it does not see them. An op that is computed by others (a composition without a gradient formula or
 * kernels of its own) is seen as one call, and after {@code below} its parts are seen one by one; a layer that does not care
 * for the parts calls {@link Layers#whole} instead.
 *
 * <p>What an op says to one kind of layer is a {@link dev.merapi.op.LayerRule}, which the layer reads with
 * {@link Definition#rule}.
 *
 * <p>Threads to which modes are carried (a data loader's, a checkpoint that is computed again on another) call the same
 * object: one that is used there must be safe for threads.
 */
public interface DispatchLayer {
    /**
     * One call.
     *
     * @param <A> the record of the op's arguments
     * @param <R> what the op returns
     * @param op what is called, as it was when the call began
     * @param args its arguments; {@code op.schema().tensors(op.name(), args)} are the tensors among them
     * @param context the thread's
     * @param below where the call goes on, for {@link Layers#below}: it holds the index of the next layer; not to be
     *     computed with
     * @return the result, of the form that the op declares
     */
    <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below);

    /**
     * Whether this layer stands below autograd, and so sees kernels run rather than ops called; see {@link Layers}.
     *
     * @return false if it sees ops as they are called
     */
    default boolean isBelowAutograd() {
        return false;
    }
}
