// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphNode;
import dev.merapi.dispatch.LayerOrder;
import dev.merapi.error.AliasException;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import java.nio.ByteBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.util.Objects;

/**
 * Elements as Java values. Any layout and any device: the call waits for the device, and leaves no memory behind but
 * what it returns.
 */
public abstract sealed class DataMethods extends RandomMethods permits GradientMethods {
    DataMethods() {}

    // ---------------------------------------------------------------- one element

    /**
     * {@return the only element, whatever the shape [1], [1, 1], [] … ; integers and bool convert}
     *
     * @throws ShapeException if there are more or fewer elements than one
     */
    public double item() {
        double[] value = new double[1];
        HostCopy.read(single(), (seen, start) -> value[0] = Elements.of(seen).getDouble(0));
        return value[0];
    }

    /** {@return the only element; floats are cut towards 0, and what is beyond int64 saturates} */
    public long itemLong() {
        long[] value = new long[1];
        HostCopy.read(single(), (seen, start) -> value[0] = Elements.of(seen).getLong(0));
        return value[0];
    }

    /** {@return whether the only element is not 0} */
    public boolean itemBoolean() {
        return item() != 0;
    }

    private Tensor single() {
        Tensor t = self();
        if (t.numel() != 1) {
            throw new ShapeException("item: " + t.describe() + " has " + t.numel() + " elements, not one"
                    + "\n  fix: choose one with at(i, …), or read all with toFloatArray().");
        }
        return t;
    }

    // ---------------------------------------------------------------- all elements

    /**
     * All elements in row-major order, converted. At most 2³¹ − 1 of them, as with all arrays.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public float[] toFloatArray() {
        return (float[]) HostCopy.array(self(), float.class);
    }

    /**
     * As {@link #toFloatArray}, in float64: nothing is lost but digits of int64 beyond 2⁵³.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public double[] toDoubleArray() {
        return (double[]) HostCopy.array(self(), double.class);
    }

    /**
     * As {@link #toFloatArray}; floats are cut towards 0.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public long[] toLongArray() {
        return (long[]) HostCopy.array(self(), long.class);
    }

    /**
     * As {@link #toFloatArray}; floats are cut towards 0, int64 keeps its low 32 bits.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public int[] toIntArray() {
        return (int[]) HostCopy.array(self(), int.class);
    }

    /**
     * As {@link #toFloatArray}; floats are cut towards 0, integers keep their low 16 bits.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public short[] toShortArray() {
        return (short[]) HostCopy.array(self(), short.class);
    }

    /**
     * As {@link #toFloatArray}; floats are cut towards 0, integers keep their low 8 bits, so that uint8 255 is −1.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public byte[] toByteArray() {
        return (byte[]) HostCopy.array(self(), byte.class);
    }

    /**
     * Whether each element is not 0.
     *
     * @return a new array of {@link Tensor#numel()} values
     */
    public boolean[] toBooleanArray() {
        return (boolean[]) HostCopy.array(self(), boolean.class);
    }

    /**
     * Puts all elements, converted, in row-major order at the buffer's position, which moves on.
     *
     * @param target where they go; on the heap or direct, not read-only
     * @throws ShapeException if the buffer has not that much room
     */
    public void copyTo(FloatBuffer target) {
        Objects.requireNonNull(target, "target");
        requireRoom(target.remaining());
        HostCopy.read(self(), (seen, start) -> target.put((float[]) HostCopy.array(seen, float.class)));
    }

    /**
     * As {@link #copyTo(FloatBuffer)}, as doubles.
     *
     * @param target where they go
     */
    public void copyTo(DoubleBuffer target) {
        Objects.requireNonNull(target, "target");
        requireRoom(target.remaining());
        HostCopy.read(self(), (seen, start) -> target.put((double[]) HostCopy.array(seen, double.class)));
    }

    /**
     * As {@link #copyTo(FloatBuffer)}; floats are cut towards 0.
     *
     * @param target where they go
     */
    public void copyTo(LongBuffer target) {
        Objects.requireNonNull(target, "target");
        requireRoom(target.remaining());
        HostCopy.read(self(), (seen, start) -> target.put((long[]) HostCopy.array(seen, long.class)));
    }

    /**
     * As {@link #copyTo(FloatBuffer)}; floats are cut towards 0, int64 keeps its low 32 bits.
     *
     * @param target where they go
     */
    public void copyTo(IntBuffer target) {
        Objects.requireNonNull(target, "target");
        requireRoom(target.remaining());
        HostCopy.read(self(), (seen, start) -> target.put((int[]) HostCopy.array(seen, int.class)));
    }

    /**
     * The bytes of all elements in row-major order and the machine's byte order, without conversion.
     *
     * @param target where they go; its own byte order is not looked at
     */
    public void copyTo(ByteBuffer target) {
        Objects.requireNonNull(target, "target");
        requireRoom(target.remaining() / self().dtype().byteSize());
        HostCopy.read(self(), (seen, start) -> target.put(Elements.bytes(seen)));
    }

    private void requireRoom(long elements) {
        if (elements < self().numel()) {
            throw new ShapeException("copyTo: " + self().describe() + " has " + self().numel()
                    + " elements, but the buffer has room for " + elements);
        }
    }

    /**
     * Fills this from Java values in row-major order, converted; returns this. A leaf that requires a gradient may be
     * filled, what ops made from one only without recording.
     *
     * @param values one number each; exactly as many as this has elements
     * @return this tensor
     * @throws ShapeException if their number is another
     * @throws AliasException if elements of this share memory, as those of an expanded tensor
     * @throws GradientException if this was made by a recorded op, and recording is on; or if it has a tangent
     */
    public Tensor copyFrom(float... values) {
        Objects.requireNonNull(values, "values");
        return filledFrom(values, values.length);
    }

    /**
     * As {@link #copyFrom(float...)}.
     *
     * @param values one number each; exactly as many as this has elements
     * @return this tensor
     */
    public Tensor copyFrom(double... values) {
        Objects.requireNonNull(values, "values");
        return filledFrom(values, values.length);
    }

    /**
     * As {@link #copyFrom(float...)}.
     *
     * @param values one number each; exactly as many as this has elements
     * @return this tensor
     */
    public Tensor copyFrom(int... values) {
        Objects.requireNonNull(values, "values");
        return filledFrom(values, values.length);
    }

    /**
     * As {@link #copyFrom(float...)}.
     *
     * @param values one number each; exactly as many as this has elements
     * @return this tensor
     */
    public Tensor copyFrom(long... values) {
        Objects.requireNonNull(values, "values");
        return filledFrom(values, values.length);
    }

    private Tensor filledFrom(Object values, int count) {
        Tensor t = self();
        if (count != t.numel()) {
            throw new ShapeException("copyFrom: " + count + " values do not fill " + t.describe());
        }
        if (!t.layout().isInjective()) {
            throw new AliasException("copyFrom: would write to a tensor whose elements overlap: " + t.dtype()
                    + t.layout() + "\n  fix: copy() it first; expanded tensors are read-only.");
        }
        if (LayerOrder.AUTOGRAD.hasTangent(t)) {
            throw new GradientException(
                    "copyFrom: " + t.describe() + " has a tangent in forward mode (jvp), which would not"
                            + " know of the new values\n  fix: make a new tensor with Tensor.of(…), or call it on t.detach().");
        }
        GraphNode maker = Context.current().isGradEnabled() ? LayerOrder.AUTOGRAD.madeBy(t) : null;
        if (maker != null) {
            throw new GradientException("copyFrom: " + t.describe() + " was made by " + maker
                    + " and is part of a graph, which would not know of the new values"
                    + "\n  fix: call it under Autograd.noGrad(), or on t.detach().");
        }
        t.storage().bumpVersion("copyFrom");
        HostCopy.write(t, values);
        return t;
    }
}
