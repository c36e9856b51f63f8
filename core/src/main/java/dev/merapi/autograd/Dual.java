// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.tensor.Tensor;

/**
 * A result of {@link Autograd#jvp} and how it moves.
 *
 * @param value what the function returned
 * @param tangent the Jacobian times the tangents of the inputs, in the shape and dtype of the value; zeros where the value
 *     does not depend on the inputs, as for integers
 */
public record Dual(Tensor value, Tensor tangent) {}
