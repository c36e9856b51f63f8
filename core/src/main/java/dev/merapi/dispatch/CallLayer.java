// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.op.Definition;

/** One layer of the way to a kernel, as the engine knows it; {@link dev.merapi.layer.DispatchLayer} is what users write. */
public interface CallLayer {
    /**
     * One call.
     *
     * @param op what is called, as it was when the call began
     * @param below where the call goes on; see {@link LayerOrder}
     */
    <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below);

    /** Whether this layer stands below autograd. */
    default boolean isBelowAutograd() {
        return false;
    }
}
