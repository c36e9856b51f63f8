// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import org.jspecify.annotations.Nullable;

/** What a tensor knows of its place in a graph, which is autograd's. For the engine. */
public interface GraphPlace {
    /** True if gradients flow here: this is a leaf that wants them, or was made from one. */
    boolean requiresGradNow();

    /** What made this variable; null for a leaf. */
    @Nullable
    GraphNode gradFn();
}
