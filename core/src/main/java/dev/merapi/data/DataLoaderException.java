// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

/** A batch could not be made; the cause says why, with the stack of the thread that makes batches. */
public class DataLoaderException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * An error of a dataset, thrown where the batch is taken.
     *
     * @param message which batch and samples
     * @param cause what the dataset threw
     */
    public DataLoaderException(String message, Throwable cause) {
        super(message, cause);
    }
}
