// SPDX-License-Identifier: Apache-2.0
/** The graph and the backward pass. Part of the engine group. Users start at {@link dev.merapi.autograd.Autograd}; the algorithm is {@link dev.merapi.autograd.BackwardPass}. */
@NullMarked
package dev.merapi.autograd;

import org.jspecify.annotations.NullMarked;
