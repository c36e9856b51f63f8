// SPDX-License-Identifier: Apache-2.0
/** The tensor handle, scopes and printing. Part of the engine group; read {@link dev.merapi.tensor.Tensor}, then {@link dev.merapi.tensor.Scope}. */
@NullMarked
package dev.merapi.tensor;

import org.jspecify.annotations.NullMarked;
