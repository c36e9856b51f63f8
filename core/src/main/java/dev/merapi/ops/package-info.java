// SPDX-License-Identifier: Apache-2.0
/**
 * The built-in ops, a file a family, all made with {@link dev.merapi.op.Op}. Start with {@link dev.merapi.ops.Pointwise}:
 * most ops are one line of it.
 */
@NullMarked
package dev.merapi.ops;

import org.jspecify.annotations.NullMarked;
