// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

/** A kernel does not compile; the message holds what the compiler said. */
public final class KernelCompileException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    public KernelCompileException(String message) {
        super(message);
    }
}
