// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

/** How values between elements are found. */
public enum Interpolation {
    /** The element before, as PyTorch's {@code nearest}. */
    NEAREST,
    /** The element whose middle is nearest. */
    NEAREST_EXACT,
    /** On straight lines between two neighbours along each dimension: linear, bilinear, trilinear. */
    LINEAR,
    /** On cubic curves through four neighbours along each dimension. */
    CUBIC,
    /** The mean of what falls together: adaptive average pooling. */
    AREA
}
