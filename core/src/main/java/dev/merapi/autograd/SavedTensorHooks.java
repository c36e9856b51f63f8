// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.autograd.graph.HookStack;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.error.SavedTensorException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.Objects;

/**
 * Replaces saved tensors by something else while they wait for backward: offloaded, compressed or recomputed ones. Hooks
 * compose: the innermost packs first, and unpacks last. The version check stays in force, on the original tensor. The
 * tensors of one node are packed, and unpacked, in the order in which its saved tree holds them.
 */
public final class SavedTensorHooks implements AutoCloseable {
    /** What a pair of hooks does; both run with recording off. */
    public interface Pair {
        /**
         * Called when a tensor is saved; must not write to it. May return anything; a returned tensor goes on to the next
         * outer pair, and belongs to the engine from then on, which closes it after its last use.
         *
         * @param tensor what is saved: a handle of the engine's, valid during the call
         * @return what waits in its place; not null
         */
        Object pack(Tensor tensor);

        /**
         * As {@link #pack(Tensor)}, for hooks that want to know which op saves.
         *
         * @param tensor what is saved: a handle of the engine's, valid during the call
         * @param op the name of the op that saves
         * @return what waits in its place; not null
         */
        default Object pack(Tensor tensor, String op) {
            return pack(tensor);
        }

        /**
         * Called when it is needed, with what {@code pack} returned; every time that it is needed.
         *
         * @param packed what {@code pack} returned
         * @return a tensor with the values, shape, dtype and device of what was saved
         */
        Tensor unpack(Object packed);
    }

    /** What {@code pack} may return if it wants to know when it is not needed any more. */
    public interface Packed extends AutoCloseable {
        /** The graph let go of it. */
        @Override
        void close();
    }

    private final ThreadMode mode;

    private SavedTensorHooks(ThreadMode mode) {
        this.mode = mode;
    }

    /**
     * Installs a pair on this thread until the returned object is closed.
     *
     * @param pair how tensors are packed and unpacked
     * @return what ends it, to be closed by this thread
     */
    public static SavedTensorHooks install(Pair pair) {
        Objects.requireNonNull(pair, "pair");
        return new SavedTensorHooks(HookStack.push(Context.current(), pair::pack, pair::unpack));
    }

    /**
     * Saved tensors wait in the memory of the CPU and come back to their device for backward.
     *
     * @return what ends it, to be closed by this thread
     */
    public static SavedTensorHooks onCpu() {
        return install(new Pair() {
            @Override
            public Object pack(Tensor tensor) {
                return tensor.device() == Device.CPU ? tensor : new Offloaded(tensor.to(Device.CPU), tensor.device());
            }

            @Override
            public Tensor unpack(Object packed) {
                return packed instanceof Offloaded o ? o.tensor.to(o.from) : (Tensor) packed;
            }
        });
    }

    private record Offloaded(Tensor tensor, Device from) implements Packed {
        @Override
        public void close() {
            tensor.close();
        }
    }

    /**
     * Saving for backward is an error until the returned object is closed; {@code why} is its message.
     *
     * @param why what the error says
     * @return what ends it, to be closed by this thread
     */
    public static SavedTensorHooks refuse(String why) {
        return install(new Pair() {
            @Override
            public Object pack(Tensor tensor) {
                throw new SavedTensorException(why);
            }

            @Override
            public Tensor unpack(Object packed) {
                throw new SavedTensorException(why);
            }
        });
    }

    @Override
    public void close() {
        mode.close();
    }
}
