// SPDX-License-Identifier: Apache-2.0
/** Gradients, for users: start at {@link dev.merapi.autograd.Autograd}. The graph behind it is the engine's own. */
@NullMarked
package dev.merapi.autograd;

import org.jspecify.annotations.NullMarked;
