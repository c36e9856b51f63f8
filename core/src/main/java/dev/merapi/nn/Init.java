// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Tensor;

/** First values of parameters, drawn from the thread's generator. */
public final class Init {
    private Init() {}

    /** Uniform in ±1/√fanIn: what PyTorch gives linear and convolution layers. */
    public static Tensor kaimingUniform(long fanIn, long... shape) {
        double bound = fanIn == 0 ? 0 : 1 / Math.sqrt(fanIn);
        return Tensor.empty(shape).uniform_(-bound, bound);
    }

    /** Normal with mean 0. */
    public static Tensor normal(double deviation, long... shape) {
        return Tensor.empty(shape).normal_(0, deviation);
    }

    /** Draws a tensor that exists already anew, without recording. */
    public static void normal_(Tensor t, double deviation) {
        try (Autograd.Mode mode = Autograd.noGrad()) {
            t.normal_(0, deviation);
        }
    }
}
