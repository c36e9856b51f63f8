// SPDX-License-Identifier: Apache-2.0
package dev.merapi.layer;

import dev.merapi.dispatch.Context;

/**
 * What a call takes from its thread, as a {@link DispatchLayer} sees it: to be looked at, and handed on to
 * {@link Layers#below}. Made by the engine only, for one call.
 */
public final class CallContext {
    private final Context thread;

    CallContext(Context thread) {
        this.thread = thread;
    }

    Context thread() {
        return thread;
    }

    /** {@return whether calls on tensors that require gradients are recorded} */
    public boolean isGradEnabled() {
        return thread.isGradEnabled();
    }

    /** {@return whether the thread is in inference mode: nothing is recorded, and what is made can never be} */
    public boolean isInference() {
        return thread.isInference();
    }

    /** {@return whether kernels are distrusted: see {@code Merapi.checked}} */
    public boolean isChecked() {
        return thread.isChecked();
    }
}
