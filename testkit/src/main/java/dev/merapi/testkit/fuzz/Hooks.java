// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.SavedTensorHooks;
import dev.merapi.tensor.Tensor;

/** Saved-tensor hooks of programs. */
final class Hooks {
    /** What is saved is copied, and copied again when it is needed. */
    static final SavedTensorHooks.Pair COPYING = new SavedTensorHooks.Pair() {
        @Override
        public Object pack(Tensor tensor) {
            return tensor.detach().copy();
        }

        @Override
        public Tensor unpack(Object packed) {
            return ((Tensor) packed).copy();
        }
    };

    private Hooks() {}
}
