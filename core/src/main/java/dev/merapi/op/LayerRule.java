// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

/**
 * What an op says to one layer of dispatch: how it is batched, say. A layer declares a functional interface that extends
 * this one; an op gives its rule with {@link Op#rule}, and the layer finds it with {@link Definition#rule}.
 *
 * <pre>{@code
 * interface Cost<A extends Record, R> extends LayerRule<Profiler, A, R> {
 *     long flops(A args);
 * }
 * }</pre>
 *
 * @param <L> the layer that reads it
 * @param <A> the arguments of the op
 * @param <R> its result
 */
public interface LayerRule<L, A extends Record, R> {}
