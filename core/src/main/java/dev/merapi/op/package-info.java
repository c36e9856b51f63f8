// SPDX-License-Identifier: Apache-2.0
/**
 * How an op is defined: {@link dev.merapi.op.Op} and the pieces that hang on it. Part of the engine group (tensor, op,
 * dispatch, expr, ops, autograd, random, reference), which may import each other and {@code storage}, {@code types} and
 * {@code error}. Read {@link dev.merapi.op.Op}, then {@link dev.merapi.op.Definition}.
 */
@NullMarked
package dev.merapi.op;

import org.jspecify.annotations.NullMarked;
