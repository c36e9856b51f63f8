// SPDX-License-Identifier: Apache-2.0

/**
 * What programs ask of CUDA, and of the simulator that runs unmodified kernels on the CPU under the device {@code cuda-sim}.
 *
 * <p>The rooms below, each of which knows only those before it: {@code host}, {@code runtime} (the seam), then {@code driver}
 * and {@code sim}, which know nothing of each other, and {@code print}, {@code launch}, {@code kernels}, which know neither;
 * {@code backend} brings both sides together. May use core's engine packages except autograd.
 */
@NullMarked
package dev.merapi.cuda;

import org.jspecify.annotations.NullMarked;
