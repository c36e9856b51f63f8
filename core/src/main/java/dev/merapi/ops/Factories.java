// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;

/** Ops without tensor arguments: the device argument decides where they run. */
public final class Factories {
    private Factories() {}

    public record Empty(long[] sizes, DType dtype, Device device) {}

    public record Full(long[] sizes, Number value, DType dtype, Device device) {}

    public record Eye(long rows, long columns, DType dtype, Device device) {}

    public record Arange(Number start, Number end, Number step, DType dtype, Device device) {}

    public record Linspace(double start, double end, long count, DType dtype, Device device) {}

    public static final Op<Empty, Tensor> EMPTY = Op.define("merapi::empty", Empty.class, Tensor.class)
            .compose(a -> Tensor.allocate(Shape.of("empty", a.sizes()), a.dtype(), a.device()))
            .register();

    public static final Op<Full, Tensor> FULL = Op.define("merapi::full", Full.class, Tensor.class)
            .compose(a -> Tensor.allocate(Shape.of("full", a.sizes()), a.dtype(), a.device())
                    .fill_(a.value()))
            .register();

    public static final Op<Eye, Tensor> EYE = Op.define("merapi::eye", Eye.class, Tensor.class)
            .compose(a -> {
                Tensor t = Tensor.zeros(Shape.of("eye", a.rows(), a.columns()), a.dtype(), a.device());
                try (Tensor diagonal = t.diagonal(0, 0, 1)) {
                    diagonal.fill_(1);
                }
                return t;
            })
            .register();

    public static final Op<Arange, Tensor> ARANGE = Op.define("merapi::arange", Arange.class, Tensor.class)
            .device(Arange::device)
            .shape(a -> Tensor.meta(Shape.of(count(a)), a.dtype(), a.device()))
            .reference((a, out) -> {
                Elements e = Elements.of(out);
                boolean exact = isIntegral(a.start()) && isIntegral(a.step());
                for (long i = 0; i < e.numel(); i++) {
                    if (exact) {
                        e.setLong(i, a.start().longValue() + i * a.step().longValue());
                    } else {
                        e.setDouble(i, a.start().doubleValue() + i * a.step().doubleValue());
                    }
                }
            })
            .register();

    public static final Op<Linspace, Tensor> LINSPACE = Op.define("merapi::linspace", Linspace.class, Tensor.class)
            .device(Linspace::device)
            .shape(a -> Tensor.meta(Shape.of("linspace", a.count()), a.dtype(), a.device()))
            .reference((a, out) -> {
                Elements e = Elements.of(out);
                long n = a.count();
                double step = n > 1 ? (a.end() - a.start()) / (n - 1) : 0;
                for (long i = 0; i < n; i++) {
                    // From the nearer end, so that the last element is the end exactly.
                    e.setDouble(i, 2 * i < n ? a.start() + i * step : a.end() - (n - 1 - i) * step);
                }
            })
            .register();

    private static boolean isIntegral(Number n) {
        return !(n instanceof Double || n instanceof Float);
    }

    private static long count(Arange a) {
        double step = a.step().doubleValue();
        double span = a.end().doubleValue() - a.start().doubleValue();
        if (step == 0 || !Double.isFinite(step) || !Double.isFinite(span) || span != 0 && span > 0 != step > 0) {
            throw new ShapeException("arange: from " + a.start() + " to " + a.end() + " by steps of " + a.step()
                    + " never arrives\n  fix: a step other than 0, with the sign of end - start.");
        }
        if (isIntegral(a.start()) && isIntegral(a.end()) && isIntegral(a.step())) {
            long from = a.start().longValue();
            long distance = a.end().longValue() - from;
            if (((a.end().longValue() ^ from) & (a.end().longValue() ^ distance)) < 0) {
                throw new ShapeException("arange: from " + a.start() + " to " + a.end() + " by steps of " + a.step()
                        + " has more numbers than a tensor can have elements");
            }
            long s = a.step().longValue();
            return distance / s + (distance % s != 0 ? 1 : 0);
        }
        return (long) Math.ceil(span / step);
    }
}
