// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.layer.DispatchLayer;
import dev.merapi.op.Definition;

/**
 * The autograd layer as the dispatcher knows it, which names no class of the graph: every call comes to it, also those
 * within kernels, where it records nothing. Found as a service.
 */
public interface GraphLayer extends DispatchLayer {
    /** A composition whose outputs, or some of them, are declared to need no gradient. */
    <A extends Record, R> R restricted(Definition<A, R> op, A args, Context context);
}
