// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

/** A launch, copy or load failed on the device. */
public final class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public CudaException(String message) {
        super(message);
    }
}
