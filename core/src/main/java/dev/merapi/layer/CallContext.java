// SPDX-License-Identifier: Apache-2.0
package dev.merapi.layer;

/**
 * What a call takes from its thread, as a {@link DispatchLayer} sees it: to be looked at, and handed on to
 * {@link Layers#below}. Made by the engine only.
 */
public interface CallContext {
    /** {@return whether calls on tensors that require gradients are recorded} */
    boolean isGradEnabled();

    /** {@return whether the thread is in inference mode: nothing is recorded, and what is made can never be} */
    boolean isInference();

    /** {@return whether kernels are distrusted: see {@code Merapi.checked}} */
    boolean isChecked();
}
