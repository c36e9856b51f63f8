// SPDX-License-Identifier: Apache-2.0
/**
 * Checks for one's own ops: {@link dev.merapi.check.GradCheck} holds gradients against finite differences,
 * {@link dev.merapi.check.OpCheck} tries all that usually goes wrong with an op.
 */
@NullMarked
package dev.merapi.check;

import org.jspecify.annotations.NullMarked;
