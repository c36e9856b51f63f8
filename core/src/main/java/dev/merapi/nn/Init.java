// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.util.Objects;

/** First values of parameters, drawn from the thread's generator. */
public final class Init {
    private Init() {}

    /** @throws ShapeException naming layer and argument if a size is less than it can be */
    static long atLeast(long least, String layer, String argument, long size) {
        if (size < least) {
            throw new ShapeException(Message.of(layer, argument + " is " + size + ", but must be at least " + least)
                    .argument(argument));
        }
        return size;
    }

    /**
     * Uniform in ±1/√fanIn: what PyTorch gives linear and convolution layers.
     *
     * @param fanIn how many inputs each output is a sum of: columns of a weight, or channels times the kernel's area
     * @param shape of the tensor
     * @return a float32 tensor on the CPU, drawn from this thread's generator
     */
    public static Tensor kaimingUniform(long fanIn, long... shape) {
        Objects.requireNonNull(shape, "shape");
        double bound = fanIn == 0 ? 0 : 1 / Math.sqrt(fanIn);
        return Tensor.empty(shape).uniform_(-bound, bound);
    }

    /**
     * Normal with mean 0.
     *
     * @param deviation the standard deviation, at least 0
     * @param shape of the tensor
     * @return a float32 tensor on the CPU, drawn from this thread's generator
     */
    public static Tensor normal(double deviation, long... shape) {
        Objects.requireNonNull(shape, "shape");
        return Tensor.empty(shape).normal_(0, deviation);
    }

    /**
     * Draws a tensor that exists already anew, without recording.
     *
     * @param t a floating tensor, of any device
     * @param deviation the standard deviation, at least 0
     */
    public static void normal_(Tensor t, double deviation) {
        Objects.requireNonNull(t, "t");
        try (Autograd.Mode mode = Autograd.noGrad()) {
            t.normal_(0, deviation);
        }
    }
}
