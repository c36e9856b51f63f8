// SPDX-License-Identifier: Apache-2.0
/**
 * The CPU in plain Java: {@link dev.merapi.reference.JavaBackend} and the kernels that stand behind every built-in op
 * where no native one exists. Written to be read, not to be fast.
 */
@NullMarked
package dev.merapi.reference;

import org.jspecify.annotations.NullMarked;
