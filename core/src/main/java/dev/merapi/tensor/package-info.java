// SPDX-License-Identifier: Apache-2.0
/**
 * The tensor handle, scopes and printing. Part of the engine group; read {@link dev.merapi.tensor.Tensor}, then
 * {@link dev.merapi.tensor.Scope}.
 *
 * <p>What a tensor can do stands in the classes above it, a family a file: factories, pointwise, shapes, indexing, random,
 * data exchange, and the rest in {@link dev.merapi.tensor.TensorMethods}. Each method is a line that calls its op.
 */
@NullMarked
package dev.merapi.tensor;

import org.jspecify.annotations.NullMarked;
