// SPDX-License-Identifier: Apache-2.0
/**
 * Scalar expressions, the source of every pointwise op: {@link dev.merapi.expr.Expr} is the maths, {@link
 * dev.merapi.expr.Exprs} its functions, {@link dev.merapi.expr.NamedFunction} one with a derivative of its own.
 *
 * <p>Depends on {@code types} and {@code error} only: nothing here knows tensors.
 */
@NullMarked
package dev.merapi.expr;

import org.jspecify.annotations.NullMarked;
