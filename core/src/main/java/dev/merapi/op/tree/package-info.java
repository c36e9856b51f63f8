// SPDX-License-Identifier: Apache-2.0
/** Values in which tensors stand, records above all: read, walked and made anew. For the engine. */
@NullMarked
package dev.merapi.op.tree;

import org.jspecify.annotations.NullMarked;
