// SPDX-License-Identifier: Apache-2.0
/**
 * What expressions are made of, for the engine: nodes, their derivatives ({@link dev.merapi.expr.ir.Derivative}), and
 * {@link dev.merapi.expr.ir.Program}, an expression specialised for concrete dtypes (text for native code, typed
 * instructions for a CUDA printer, and a Java interpreter). Read {@code Opcode} and {@code Lowering} first.
 */
@NullMarked
package dev.merapi.expr.ir;

import org.jspecify.annotations.NullMarked;
