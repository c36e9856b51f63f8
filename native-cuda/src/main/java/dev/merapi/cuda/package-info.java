// SPDX-License-Identifier: Apache-2.0

/** The CUDA backend: what a program asks before it uses a GPU. */
@NullMarked
package dev.merapi.cuda;

import org.jspecify.annotations.NullMarked;
