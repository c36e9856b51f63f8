// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

/** Whether CUDA can be used, and if not, why. */
public final class Cuda {
    private Cuda() {}

    /** Whether tensors can live on a CUDA device. Never throws. */
    public static boolean isAvailable() {
        return false;
    }

    /** Why {@link #isAvailable} is false. */
    public static String unavailableBecause() {
        return "this build contains no CUDA backend yet";
    }
}
