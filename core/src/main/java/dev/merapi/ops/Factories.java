// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;

/** Ops without tensor arguments: the device argument decides where they run. */
public final class Factories {
    private Factories() {}

    /**
     * What {@link #EMPTY} takes.
     *
     * @param sizes of the result, none negative
     * @param dtype of the result
     * @param device where the result is made
     */
    public record Empty(long[] sizes, DType dtype, Device device) {}

    /**
     * What {@link #FULL} takes.
     *
     * @param sizes of the result, none negative
     * @param value of each element, converted to the dtype
     * @param dtype of the result
     * @param device where the result is made
     */
    public record Full(long[] sizes, Number value, DType dtype, Device device) {}

    /**
     * What {@link #EYE} takes.
     *
     * @param rows of the matrix
     * @param columns of the matrix
     * @param dtype of the result
     * @param device where the result is made
     */
    public record Eye(long rows, long columns, DType dtype, Device device) {}

    /**
     * What {@link #ARANGE} takes.
     *
     * @param start the first number
     * @param end beyond the last one
     * @param step not 0, with the sign of end − start
     * @param dtype of the result
     * @param device where the result is made
     */
    public record Arange(Number start, Number end, Number step, DType dtype, Device device) {}

    /**
     * What {@link #LINSPACE} takes.
     *
     * @param start the first number
     * @param end the last number
     * @param count how many; 1 gives {@code start} alone
     * @param dtype of the result
     * @param device where the result is made
     */
    public record Linspace(double start, double end, long count, DType dtype, Device device) {}

    /** A tensor of undefined contents; bools are false. */
    public static final Op<Empty, Tensor> EMPTY = Op.define("merapi::empty", Empty.class, Tensor.class)
            .compose(a -> {
                Tensor t = TENSORS.allocate(Shape.of("empty", a.sizes()), a.dtype(), a.device());
                // A bool is a byte of 0 or 1, and kernels count on that: no contents are undefined to it.
                return a.dtype() == DType.BOOL ? t.zero_() : t;
            })
            .register();

    /** A tensor of one value. */
    public static final Op<Full, Tensor> FULL = Op.define("merapi::full", Full.class, Tensor.class)
            .compose(a -> TENSORS.allocate(Shape.of("full", a.sizes()), a.dtype(), a.device())
                    .fill_(a.value()))
            .register();

    /** A matrix with ones on its main diagonal and zeros elsewhere. */
    public static final Op<Eye, Tensor> EYE = Op.define("merapi::eye", Eye.class, Tensor.class)
            .compose(a -> {
                Tensor t = Tensor.zeros(Shape.of("eye", a.rows(), a.columns()), a.dtype(), a.device());
                try (Tensor diagonal = t.diagonal(0, 0, 1)) {
                    diagonal.fill_(1);
                }
                return t;
            })
            .register();

    /**
     * start + i·step for all i from 0 to ⌈(end − start)/step⌉ − 1; each is computed by itself, so that errors do not
     * add up.
     */
    public static final Op<Arange, Tensor> ARANGE = Op.define("merapi::arange", Arange.class, Tensor.class)
            .device(Arange::device)
            .shape(a -> Tensor.meta(Shape.of("arange", count(a)), a.dtype(), a.device()))
            .register();

    /** Evenly spaced numbers from start to end, both included. */
    public static final Op<Linspace, Tensor> LINSPACE = Op.define("merapi::linspace", Linspace.class, Tensor.class)
            .device(Linspace::device)
            .shape(a -> Tensor.meta(Shape.of("linspace", a.count()), a.dtype(), a.device()))
            .register();

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    private static long count(Arange a) {
        double step = a.step().doubleValue();
        double span = a.end().doubleValue() - a.start().doubleValue();
        boolean integral = isIntegral(a.start()) && isIntegral(a.end()) && isIntegral(a.step());
        int way = integral ? Long.compare(a.end().longValue(), a.start().longValue()) : (int) Math.signum(span);
        if (step == 0 || !Double.isFinite(step) || !Double.isFinite(span) || way != 0 && way > 0 != step > 0) {
            throw new ShapeException("arange: from " + a.start() + " to " + a.end() + " by steps of " + a.step()
                    + " never arrives\n  fix: a step other than 0, with the sign of end - start.");
        }
        if (integral) {
            long from = a.start().longValue();
            long s = a.step().longValue();
            // Both as what remains of 2^64: the difference of two longs has one bit more than a long.
            long distance = s > 0 ? a.end().longValue() - from : from - a.end().longValue();
            long by = s > 0 ? s : -s;
            long count = Long.divideUnsigned(distance, by) + (Long.remainderUnsigned(distance, by) != 0 ? 1 : 0);
            if (count < 0) {
                throw tooMany(a);
            }
            return count;
        }
        double count = Math.ceil(span / step);
        if (count >= 0x1p63) {
            throw tooMany(a);
        }
        return (long) count;
    }

    private static ShapeException tooMany(Arange a) {
        return new ShapeException("arange: from " + a.start() + " to " + a.end() + " by steps of " + a.step()
                + " has more numbers than a tensor can have elements");
    }
}
