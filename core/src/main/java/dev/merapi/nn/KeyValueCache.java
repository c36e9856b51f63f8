// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.GradientException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Attention;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Keys and values of the positions that attention has seen, so that one more position costs one position's work. Memory for
 * all positions is taken once; what comes is written behind what is there. For generation: no gradient goes through it, and
 * no captured step appends to it, as each replay would write to the same place.
 *
 * <pre>{@code
 * try (KeyValueCache cache = attention.cache(batch, 1024)) {
 *     Tensor y = Autograd.noGrad(() -> attention.forward(prompt, cache)); // then one position after another
 * }
 * }</pre>
 */
public final class KeyValueCache implements AutoCloseable {
    private final Tensor keys;
    private final Tensor values;
    private long length;

    /**
     * For float32 on the CPU.
     *
     * @param batch sequences at once
     * @param heads of keys and values
     * @param capacity positions that there is room for
     * @param width of a head
     */
    public KeyValueCache(long batch, long heads, long capacity, long width) {
        this(batch, heads, capacity, width, DType.FLOAT32, Device.CPU);
    }

    /**
     * @param batch sequences at once
     * @param heads of keys and values
     * @param capacity positions
     * @param width of a head
     * @param dtype of keys and values
     * @param device where they are
     */
    public KeyValueCache(long batch, long heads, long capacity, long width, DType dtype, Device device) {
        Shape shape = Shape.of("KeyValueCache", new long[] {batch, heads, capacity, width});
        keys = Tensor.zeros(shape, dtype, device).leaveScope();
        values = Tensor.zeros(shape, dtype, device).leaveScope();
    }

    /**
     * Positions that are there.
     *
     * @return positions, at most the capacity
     */
    public long length() {
        return length;
    }

    /**
     * Positions that there is room for.
     *
     * @return positions
     */
    public long capacity() {
        return keys.size(2);
    }

    /**
     * Writes keys and values [B, heads, T, width] behind those that are there.
     *
     * @param k keys of the next positions, [batch, heads, positions, width]
     * @param v their values, in the same shape
     * @throws ShapeException if they do not fit, or there is no room for T positions
     * @throws GradientException if they want a gradient: what is written over could not have one
     * @throws GraphCaptureException while a graph is captured
     */
    public void append(Tensor k, Tensor v) {
        Objects.requireNonNull(k, "k");
        Objects.requireNonNull(v, "v");
        boolean fits = k.rank() == 4 && k.shape().equals(v.shape());
        for (int d = 0; fits && d < 4; d++) {
            fits = d == 2 || k.size(d) == keys.size(d);
        }
        if (!fits || k.size(2) > capacity() - length) {
            throw new ShapeException(Message.of("KeyValueCache: needs k and v [" + keys.size(0) + ", " + keys.size(1)
                            + ", T, " + keys.size(3) + "], and has room for T ≤ " + (capacity() - length))
                    .fact("k", k.describe())
                    .fact("v", v.describe())
                    .fact("positions that are there", length)
                    .fix("make the cache for more positions, or forget some: truncate(0) forgets all."));
        }
        if (Autograd.isGradEnabled() && (k.requiresGrad() || v.requiresGrad())) {
            throw new GradientException(
                    Message.of("KeyValueCache: keys and values want a gradient, which a cache has not")
                            .fact("k", k.describe())
                            .fix("generate within Autograd.noGrad(…), or append k.detach() and v.detach()."));
        }
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null) {
            throw new GraphCaptureException(Message.of("KeyValueCache: positions are appended while a graph of "
                            + capture.device() + " is captured, and each replay would write to the same place")
                    .fact("positions that are there", length)
                    .fix("generate without CudaGraph; a captured step may read keys() and values()."));
        }
        long end = length + k.size(2);
        try (Tensor to = keys.slice(2, length, end)) {
            to.copy_(k);
        }
        try (Tensor to = values.slice(2, length, end)) {
            to.copy_(v);
        }
        length = end;
    }

    /**
     * A view of the keys that are there, [B, heads, length, width]; what is appended later is not in it.
     *
     * @return [batch, heads, length, width]
     */
    public Tensor keys() {
        return keys.slice(2, 0, length);
    }

    /**
     * A view of the values that are there.
     *
     * @return [batch, heads, length, width]
     */
    public Tensor values() {
        return values.slice(2, 0, length);
    }

    /**
     * Appends keys and values, and gives what queries [B, H, T, width] of the same positions see: everything up to their own.
     *
     * @param q queries, [batch, heads of queries, positions, width]
     * @param k keys of the same positions
     * @param v their values
     * @return [B, H, T, width]
     */
    public Tensor attend(Tensor q, Tensor k, Tensor v) {
        append(k, v);
        return Attention.attention(q, keys(), values(), Attention.options().causalFromEnd());
    }

    /**
     * Forgets all positions but the first so many.
     *
     * @param positions that are left
     * @throws ShapeException if there are fewer
     */
    public void truncate(long positions) {
        if (positions < 0 || positions > length) {
            throw new ShapeException("KeyValueCache: cannot keep " + positions + " of " + length + " positions"
                    + "\n  fix: keep from 0 to length() of them.");
        }
        length = positions;
    }

    /** Gives the memory back. */
    @Override
    public void close() {
        keys.close();
        values.close();
    }
}
