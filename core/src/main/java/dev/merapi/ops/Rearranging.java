// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;

/** Triangles of matrices, and elements in another order. Copies: strides are never negative. */
public final class Rearranging {
    private Rearranging() {}

    /**
     * What {@link #TRIL} and {@link #TRIU} take.
     *
     * @param x [.., M, N]
     * @param diagonal which one bounds the triangle: 0 the main one, 1 the one above it
     */
    public record Triangle(Tensor x, long diagonal) {}

    /**
     * What {@link #FLIP} takes.
     *
     * @param x of any dtype
     * @param dims along which the order is reversed; negative ones count from the end
     */
    public record Flip(Tensor x, int[] dims) {}

    /**
     * What {@link #ROLL} takes.
     *
     * @param x of any dtype
     * @param shift by how many places, negative ones towards the beginning
     * @param dim along which
     */
    public record Roll(Tensor x, long shift, int dim) {}

    /** Keeps what lies on and below the diagonal of the last two dimensions; the rest is 0. */
    public static final Op<Triangle, Tensor> TRIL = Op.define("merapi::tril", Triangle.class, Tensor.class)
            .shape(a -> matrix("tril", a))
            .autograd((a, out) -> a.diagonal(), (context, k, g) -> Grads.of("x", g.tril(k)))
            .linear("x")
            .register();

    /** Keeps what lies on and above the diagonal of the last two dimensions; the rest is 0. */
    public static final Op<Triangle, Tensor> TRIU = Op.define("merapi::triu", Triangle.class, Tensor.class)
            .shape(a -> matrix("triu", a))
            .autograd((a, out) -> a.diagonal(), (context, k, g) -> Grads.of("x", g.triu(k)))
            .linear("x")
            .register();

    /** The elements in reverse order along some dimensions. */
    public static final Op<Flip, Tensor> FLIP = Op.define("merapi::flip", Flip.class, Tensor.class)
            .shape(a -> {
                Arrays.stream(a.dims()).forEach(a.x().shape()::normalize);
                return Tensor.meta(a.x());
            })
            .autograd((a, out) -> a.dims(), (context, dims, g) -> Grads.of("x", g.flip(dims)))
            .linear("x")
            .register();

    /** Moves the elements along a dimension; what leaves at the end comes back at the beginning. */
    public static final Op<Roll, Tensor> ROLL = Op.define("merapi::roll", Roll.class, Tensor.class)
            .compose(a -> {
                long size = a.x().size(a.x().layout().requireDim("roll", a.dim()));
                long at = size == 0 ? 0 : Math.floorMod(-Math.floorMod(a.shift(), size), size);
                return at == 0
                        ? a.x().copy()
                        : Tensor.cat(
                                java.util.List.of(a.x().slice(a.dim(), at, size), a.x().slice(a.dim(), 0, at)),
                                a.dim());
            })
            .register();

    private static Tensor matrix(String op, Triangle a) {
        if (a.x().rank() < 2) {
            throw new ShapeException(op + ": needs at least 2 dimensions, but got " + a.x().describe());
        }
        return Tensor.meta(a.x());
    }
}
