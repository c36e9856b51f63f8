// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Factories;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;

/**
 * Ways to make a tensor: {@code Tensor.of(1f, 2f)}, {@code Tensor.zeros(3, 4)}. Without a dtype they are float32 (made
 * from Java values: the dtype of those), without a device they are on the CPU.
 */
public abstract sealed class TensorFactories permits PointwiseMethods {
    TensorFactories() {}

    // ---------------------------------------------------------------- from Java values

    /**
     * One dimension, float32.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(float... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, float64.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(double... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, int32.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(int... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, int64.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(long... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, int16.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(short... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, uint8: the bytes count from 0 to 255. For int8 see {@link #of(byte[], DType, long...)}.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(byte... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * One dimension, bool.
     *
     * @param values one for each element; copied
     * @return a new tensor [n] on the CPU
     */
    public static Tensor of(boolean... values) {
        Objects.requireNonNull(values, "values");
        return of(values, values.length);
    }

    /**
     * A copy of the values in row-major order, float32.
     *
     * @param values row by row: the last dimension runs fastest
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     * @throws ShapeException if the shape has another number of elements
     */
    public static Tensor of(float[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.FLOAT32, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, float64.
     *
     * @param values row by row
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(double[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.FLOAT64, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, int32.
     *
     * @param values row by row
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(int[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.INT32, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, int64.
     *
     * @param values row by row
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(long[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.INT64, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, uint8.
     *
     * @param values row by row, each from 0 to 255 as if it had no sign
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(byte[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.UINT8, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, of a dtype of 8 bits.
     *
     * @param values row by row: what lies in memory for uint8 and int8; for bool, whether they differ from 0
     * @param dtype uint8, int8 or bool
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     * @throws DTypeException for other dtypes
     */
    public static Tensor of(byte[] values, DType dtype, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(dtype, "dtype");
        Objects.requireNonNull(shape, "shape");
        if (dtype.isFloating() || dtype.byteSize() != Byte.BYTES) {
            throw new DTypeException(Message.of("of: bytes are no " + dtype)
                    .fix("take UINT8, INT8 or BOOL, then convert with to(DType." + dtype.name() + ")."));
        }
        byte[] own = values;
        if (dtype == DType.BOOL) {
            own = new byte[values.length];
            for (int i = 0; i < own.length; i++) {
                own[i] = (byte) (values[i] != 0 ? 1 : 0);
            }
        }
        return filled(dtype, own, own.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, int16.
     *
     * @param values row by row
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(short[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        return filled(DType.INT16, values, values.length, shape);
    }

    /**
     * As {@link #of(float[], long...)}, bool.
     *
     * @param values row by row
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor of(boolean[] values, long... shape) {
        Objects.requireNonNull(values, "values");
        Objects.requireNonNull(shape, "shape");
        byte[] bytes = new byte[values.length];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (values[i] ? 1 : 0);
        }
        return filled(DType.BOOL, bytes, bytes.length, shape);
    }

    /**
     * Rows of equal length, float32.
     *
     * @param rows all of one length
     * @return a new tensor [rows, columns] on the CPU
     */
    public static Tensor of(float[][] rows) {
        return nested(rows);
    }

    /**
     * Rows of equal length, float64.
     *
     * @param rows all of one length
     * @return a new tensor [rows, columns] on the CPU
     */
    public static Tensor of(double[][] rows) {
        return nested(rows);
    }

    /**
     * Rows of equal length, int32.
     *
     * @param rows all of one length
     * @return a new tensor [rows, columns] on the CPU
     */
    public static Tensor of(int[][] rows) {
        return nested(rows);
    }

    /**
     * Rows of equal length, int64.
     *
     * @param rows all of one length
     * @return a new tensor [rows, columns] on the CPU
     */
    public static Tensor of(long[][] rows) {
        return nested(rows);
    }

    /**
     * Rows of equal length, bool.
     *
     * @param rows all of one length
     * @return a new tensor [rows, columns] on the CPU
     */
    public static Tensor of(boolean[][] rows) {
        return nested(rows);
    }

    /**
     * An array of arrays … of float, double, int, long, short, byte or boolean, of any depth.
     *
     * @param array such as {@code new double[][][] {…}}; its depth is the rank
     * @return a new tensor on the CPU, of the dtype of the values
     * @throws ShapeException if arrays of one depth differ in length, naming the first that does
     */
    public static Tensor nested(Object array) {
        return NestedArrays.toTensor(array);
    }

    private static Tensor filled(DType dtype, Object values, long count, long[] shape) {
        Shape s = Shape.of("of", shape);
        if (s.numel() != count) {
            throw new ShapeException(
                    "of: " + count + " values do not fill shape " + s + ", which has " + s.numel() + " elements");
        }
        Tensor t = Tensor.allocate(s, dtype, Device.CPU);
        HostCopy.write(t, values);
        return t;
    }

    // ---------------------------------------------------------------- 0-d

    /**
     * {@return a 0-d tensor, float32}
     *
     * @param value its element
     */
    public static Tensor scalar(float value) {
        return scalar(value, DType.FLOAT32);
    }

    /**
     * {@return a 0-d tensor, float64}
     *
     * @param value its element
     */
    public static Tensor scalar(double value) {
        return scalar(value, DType.FLOAT64);
    }

    /**
     * {@return a 0-d tensor, int32}
     *
     * @param value its element
     */
    public static Tensor scalar(int value) {
        return scalar(value, DType.INT32);
    }

    /**
     * {@return a 0-d tensor, int64}
     *
     * @param value its element
     */
    public static Tensor scalar(long value) {
        return scalar(value, DType.INT64);
    }

    /**
     * {@return a 0-d tensor, bool}
     *
     * @param value its element
     */
    public static Tensor scalar(boolean value) {
        return scalar(value ? 1 : 0, DType.BOOL);
    }

    /**
     * {@return a 0-d tensor}
     *
     * @param value its element, converted once to the dtype
     * @param dtype of the element
     */
    public static Tensor scalar(Number value, DType dtype) {
        return full(Shape.SCALAR, value, dtype, Device.CPU);
    }

    // ---------------------------------------------------------------- constant

    /**
     * {@return zeros, float32}
     *
     * @param shape the sizes; none gives a 0-d tensor
     */
    public static Tensor zeros(long... shape) {
        return zeros(Shape.of("zeros", shape), DType.FLOAT32, Device.CPU);
    }

    /**
     * {@return zeros of a dtype; false for bool}
     *
     * @param dtype of the elements
     * @param shape the sizes; none gives a 0-d tensor
     */
    public static Tensor zeros(DType dtype, long... shape) {
        return zeros(Shape.of("zeros", shape), dtype, Device.CPU);
    }

    /**
     * {@return zeros of a dtype on a device}
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param dtype of the elements
     * @param device where it is made
     */
    public static Tensor zeros(Shape shape, DType dtype, Device device) {
        return full(shape, 0, dtype, device);
    }

    /**
     * {@return ones, float32}
     *
     * @param shape the sizes; none gives a 0-d tensor
     */
    public static Tensor ones(long... shape) {
        return ones(Shape.of("ones", shape), DType.FLOAT32, Device.CPU);
    }

    /**
     * {@return ones of a dtype; true for bool}
     *
     * @param dtype of the elements
     * @param shape the sizes; none gives a 0-d tensor
     */
    public static Tensor ones(DType dtype, long... shape) {
        return ones(Shape.of("ones", shape), dtype, Device.CPU);
    }

    /**
     * {@return ones of a dtype on a device}
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param dtype of the elements
     * @param device where it is made
     */
    public static Tensor ones(Shape shape, DType dtype, Device device) {
        return full(shape, 1, dtype, device);
    }

    /**
     * All elements the same; float32 for a Float or Double, int64 for an integer.
     *
     * @param value what each element is
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU
     */
    public static Tensor full(Number value, long... shape) {
        Objects.requireNonNull(shape, "shape");
        boolean floating = value instanceof Float || value instanceof Double;
        return full(Shape.of("full", shape), value, floating ? DType.FLOAT32 : DType.INT64, Device.CPU);
    }

    /**
     * All elements the same.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param value what each element is, converted once to the dtype
     * @param dtype of the elements
     * @param device where it is made
     * @return a new tensor
     */
    public static Tensor full(Shape shape, Number value, DType dtype, Device device) {
        return Factories.FULL.call(
                new Factories.Full(Objects.requireNonNull(shape, "shape").toArray(), value, dtype, device));
    }

    /**
     * Contents undefined; false for bool.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @return a new tensor on the CPU, float32
     */
    public static Tensor empty(long... shape) {
        Objects.requireNonNull(shape, "shape");
        return empty(Shape.of("empty", shape), DType.FLOAT32, Device.CPU);
    }

    /**
     * Contents undefined; false for bool.
     *
     * @param shape the sizes; none gives a 0-d tensor
     * @param dtype of the elements
     * @param device where it is made
     * @return a new tensor
     */
    public static Tensor empty(Shape shape, DType dtype, Device device) {
        Objects.requireNonNull(shape, "shape");
        return Factories.EMPTY.call(new Factories.Empty(shape.toArray(), dtype, device));
    }

    // ---------------------------------------------------------------- patterns

    /**
     * The identity matrix, float32.
     *
     * @param n rows and columns
     * @return a new tensor [n, n] on the CPU
     */
    public static Tensor eye(long n) {
        return eye(n, n, DType.FLOAT32, Device.CPU);
    }

    /**
     * Ones on the main diagonal.
     *
     * @param rows how many
     * @param columns how many
     * @param dtype of the elements
     * @param device where it is made
     * @return a new tensor [rows, columns]
     */
    public static Tensor eye(long rows, long columns, DType dtype, Device device) {
        return Factories.EYE.call(new Factories.Eye(rows, columns, dtype, device));
    }

    /**
     * 0, 1, … below {@code end}, int64.
     *
     * @param end above the last number
     * @return a new tensor [n] on the CPU
     */
    public static Tensor arange(long end) {
        return arange(0, end, 1);
    }

    /**
     * start, start + step, … before end, int64.
     *
     * @param start the first number
     * @param end beyond the last one
     * @param step not 0; negative if {@code end} is below {@code start}
     * @return a new tensor [n] on the CPU
     */
    public static Tensor arange(long start, long end, long step) {
        return arange(start, end, step, DType.INT64, Device.CPU);
    }

    /**
     * start, start + step, … before end: ceil((end − start) / step) elements; each is start + i·step, so that errors do
     * not add up.
     *
     * @param start the first number
     * @param end beyond the last one
     * @param step not 0; negative if {@code end} is below {@code start}
     * @param dtype of the elements
     * @param device where it is made
     * @return a new tensor of one dimension
     * @throws ShapeException if the step is 0, or leads away from the end
     */
    public static Tensor arange(Number start, Number end, Number step, DType dtype, Device device) {
        return Factories.ARANGE.call(new Factories.Arange(start, end, step, dtype, device));
    }

    /**
     * {@code count} evenly spaced numbers from start to end, both included; float32.
     *
     * @param start the first number
     * @param end the last number
     * @param count how many; 1 gives {@code start} alone
     * @return a new tensor [n] on the CPU
     */
    public static Tensor linspace(double start, double end, long count) {
        return linspace(start, end, count, DType.FLOAT32, Device.CPU);
    }

    /**
     * As {@link #linspace(double, double, long)}, of a dtype on a device.
     *
     * @param start the first number
     * @param end the last number
     * @param count how many; 1 gives {@code start} alone
     * @param dtype of the elements
     * @param device where it is made
     * @return a new tensor [count]
     */
    public static Tensor linspace(double start, double end, long count, DType dtype, Device device) {
        return Factories.LINSPACE.call(new Factories.Linspace(start, end, count, dtype, device));
    }
}
