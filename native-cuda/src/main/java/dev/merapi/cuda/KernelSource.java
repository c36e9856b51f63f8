// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.util.List;

/**
 * CUDA C++ that includes nothing.
 *
 * @param name what messages call it
 * @param text a whole translation unit
 * @param entries its {@code extern "C" __global__} functions
 */
record KernelSource(String name, String text, List<String> entries) {}
