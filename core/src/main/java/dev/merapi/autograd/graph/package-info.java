// SPDX-License-Identifier: Apache-2.0
/**
 * The graph behind {@link dev.merapi.autograd.Autograd}, for the engine: nodes, saved tensors, forward mode, and the backward
 * pass, where reading begins: {@link dev.merapi.autograd.graph.BackwardPass}.
 */
@NullMarked
package dev.merapi.autograd.graph;

import org.jspecify.annotations.NullMarked;
