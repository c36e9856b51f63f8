// SPDX-License-Identifier: Apache-2.0
/**
 * Tensors in files: {@link dev.merapi.io.Safetensors} and {@link dev.merapi.io.Npy}. Files are not trusted: what they claim is
 * held against their size before anything is allocated. May import the engine.
 */
@NullMarked
package dev.merapi.io;

import org.jspecify.annotations.NullMarked;
