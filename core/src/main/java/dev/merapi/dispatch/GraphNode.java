// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.storage.ThreadState;
import org.jspecify.annotations.Nullable;

/** What a scope knows of a recorded operation: what it points to, and that it has saved something. For the engine. */
public interface GraphNode {
    /** Number of edges: one for each tensor that the operation took, absent ones included. */
    int inputs();

    /** Where the gradient of input {@code i} goes; null if it is not wanted. */
    @Nullable
    GraphNode next(int i);

    /** Lets go of what was saved; a later backward says that the scope is the reason. */
    void releaseByScope(ThreadState memory);

    /** What is saved outlives its scope: put it under the backstop. */
    void escape();
}
