// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** What a border is made of. */
public enum PadMode {
    /** Mirrored at the outermost element, which is not repeated: c b | a b c | b a. */
    REFLECT,
    /** The outermost element again and again: a a | a b c | c c. */
    REPLICATE,
    /** As if the tensor came again: b c | a b c | a b. */
    CIRCULAR
}
