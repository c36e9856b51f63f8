// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

/** A function that can be launched. Its module stays loaded as long as one of its functions is reachable. */
public final class KernelFunction {
    private final long handle;
    /** Held, and otherwise not used. */
    private final Object module;

    KernelFunction(Object module, long handle) {
        this.module = module;
        this.handle = handle;
    }

    /** The runtime's handle; whoever uses it holds on to this object meanwhile. */
    public long handle() {
        return handle;
    }

    @Override
    public String toString() {
        return "function " + handle + " of " + module;
    }
}
