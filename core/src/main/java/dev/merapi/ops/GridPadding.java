// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** What a grid sees outside of the image. */
public enum GridPadding {
    /** Zeros. */
    ZEROS,
    /** The outermost element. */
    BORDER,
    /** The image in a mirror at its border. */
    REFLECTION
}
