// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.types.DeviceType;
import java.util.function.Supplier;

/** The backend on a runtime that a test makes: what anybody writes who brings a runtime of his own. */
public final class GivenRuntime extends KernelBackend {
    private final Supplier<? extends CudaRuntime> given;

    public GivenRuntime(DeviceType type, Supplier<? extends CudaRuntime> given) {
        super(type, "a test's runtime");
        this.given = given;
    }

    @Override
    protected CudaRuntime open() {
        return given.get();
    }
}
