// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.SplittableRandom;

/** Makes the tensors of a sample in one dtype on one device; the same numbers each time, rounded to the dtype. */
public final class Maker {
    private final DType dtype;
    private final Device device;
    private final SplittableRandom random;
    private final boolean differentiated;

    /** @param differentiated whether the floating tensors that are made want gradients */
    public Maker(DType dtype, Device device, long seed, boolean differentiated) {
        this.dtype = dtype;
        this.device = device;
        this.random = new SplittableRandom(seed);
        this.differentiated = differentiated;
    }

    public DType dtype() {
        return dtype;
    }

    public Device device() {
        return device;
    }

    public Tensor draw(Domain domain, long... shape) {
        double[] values = new double[Math.toIntExact(Shape.of(shape).numel())];
        for (int i = 0; i < values.length; i++) {
            values[i] = domain.draw(random);
        }
        return of(values, shape);
    }

    public Tensor uniform(double low, double high, long... shape) {
        return draw(Domain.uniform(low, high), shape);
    }

    /** Values a step of 0.25 apart in random order: no ties, and none by rounding to a small float. */
    public Tensor distinct(long... shape) {
        double[] values = new double[Math.toIntExact(Shape.of(shape).numel())];
        for (int i = 0; i < values.length; i++) {
            values[i] = (i - values.length / 2) * 0.25;
        }
        for (int i = values.length - 1; i > 0; i--) {
            int k = random.nextInt(i + 1);
            double swapped = values[i];
            values[i] = values[k];
            values[k] = swapped;
        }
        return of(values, shape);
    }

    /** These values in the maker's dtype. */
    public Tensor of(double[] values, long... shape) {
        Tensor t = place(Tensor.of(values, shape).to(dtype));
        return differentiated && dtype.isFloating() ? t.requiresGrad(true) : t;
    }

    /** As {@link #uniform}, and never differentiated. */
    public Tensor constant(double low, double high, long... shape) {
        return uniform(low, high, shape).detach();
    }

    public Tensor indices(long bound, long... shape) {
        long[] values = random.longs(Shape.of(shape).numel(), 0, bound).toArray();
        return place(Tensor.of(values, shape));
    }

    public Tensor indices(long[] values, long... shape) {
        return place(Tensor.of(values, shape));
    }

    public Tensor booleans(long... shape) {
        boolean[] values = new boolean[Math.toIntExact(Shape.of(shape).numel())];
        for (int i = 0; i < values.length; i++) {
            values[i] = random.nextBoolean();
        }
        return place(Tensor.of(values, shape));
    }

    private Tensor place(Tensor t) {
        return t.to(device).detach();
    }
}
