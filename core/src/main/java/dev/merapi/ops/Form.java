// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;

/**
 * What ops for gradients ask of tensors that the forward op took or made. They are ops like any other, so that anybody
 * may call them: kernels must not find out about wrong sizes.
 */
final class Form {
    private Form() {}

    /** @throws ShapeException or DTypeException if a tensor has another form than the one it must have */
    static void require(String op, String name, Tensor t, Shape shape, DType dtype) {
        if (!t.shape().equals(shape)) {
            throw new ShapeException(
                    Message.of(op + ": " + name + " has shape " + t.shape() + ", but must have " + shape)
                            .fact(name, t.describe())
                            .fix("pass what the forward op took or returned, or a gradient of its shape."));
        }
        if (t.dtype() != dtype) {
            throw new DTypeException(op + ": " + name + " is " + t.describe() + ", but must be " + dtype
                    + "\n  fix: to(" + dtype + ").");
        }
    }

    /** As {@link #require}, in the form of another tensor. */
    static void requireLike(String op, String name, Tensor t, Tensor like) {
        require(op, name, t, like.shape(), like.dtype());
    }

    static void requireRank(String op, String name, Tensor t, int rank) {
        if (t.rank() != rank) {
            throw new ShapeException(op + ": " + name + " must have " + rank + " dimensions, but is " + t.describe());
        }
    }

    /** @throws SchemaException for NaN, an infinity, and what lies outside of [least, most] */
    static void requireNumber(String op, String name, double value, double least, double most) {
        if (!(value >= least && value <= most) || Double.isInfinite(value)) {
            String range = most == Double.MAX_VALUE
                    ? least == -Double.MAX_VALUE ? "finite" : "finite and at least " + least
                    : "from " + least + " to " + most;
            throw new SchemaException(Message.of(op + ": " + name + " is " + value + ", but must be " + range)
                    .fix("pass a " + name + " in this range."));
        }
    }

    /** @throws SchemaException for NaN, an infinity, and negative numbers */
    static void requireNotNegative(String op, String name, double value) {
        requireNumber(op, name, value, 0, Double.MAX_VALUE);
    }

    /** @throws SchemaException for NaN and infinities */
    static void requireFinite(String op, String name, double value) {
        requireNumber(op, name, value, -Double.MAX_VALUE, Double.MAX_VALUE);
    }

    /** Two numbers each, for height and width. */
    static void requirePairs(String op, long[]... pairs) {
        for (long[] pair : pairs) {
            if (pair.length != 2) {
                throw new ShapeException(op + ": sizes, stride, padding and dilation take two numbers, but one has "
                        + java.util.Arrays.toString(pair));
            }
        }
    }
}
