// SPDX-License-Identifier: Apache-2.0

/** NVIDIA's GPUs under the seam: driver, NVRTC and cuBLASLt, found when they are asked for and called through tables of functions. No API. */
@NullMarked
package dev.merapi.cuda.driver;

import org.jspecify.annotations.NullMarked;
