// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/**
 * A record of arguments that lists its tensors itself. {@link Schema} reads any record by method handles; the smallest
 * calls feel the few nanoseconds that those take. A record whose components are tensors, or one list of them, and plain
 * values beside them, may implement this.
 */
public interface Slotted {
    /**
     * {@return all tensors, in the order of the record's components, in an array of the caller's; null if anything is
     * absent: the schema then finds out what it is}
     */
    Tensor @Nullable [] slots();
}
