// SPDX-License-Identifier: Apache-2.0
/**
 * Scalar expressions, the source of every pointwise op: {@link dev.merapi.expr.Expr} is the maths,
 * {@link dev.merapi.expr.Derivative} differentiates it, {@link dev.merapi.expr.Program} is an expression specialised for
 * concrete dtypes (text for native code, typed instructions for a CUDA printer, and a Java interpreter).
 *
 * <p>Depends on {@code types} and {@code error} only: nothing here knows tensors. Read {@code Expr}, {@code Opcode} and
 * {@code Lowering} first.
 */
@NullMarked
package dev.merapi.expr;

import org.jspecify.annotations.NullMarked;
