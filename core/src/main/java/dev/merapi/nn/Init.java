// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import java.util.Objects;

/**
 * First values of parameters, drawn from the thread's generator: PyTorch's {@code nn.init}. Those that end with an underscore
 * write a tensor that exists already, of any floating dtype on any device, without recording. Those that need a matrix's
 * structure are in {@link InitMatrix}.
 */
public final class Init {
    private Init() {}

    /** What a weight stands before; {@link #gain} says by which factor it must be larger. */
    public enum Nonlinearity {
        /** Nothing: 1; also for convolutions. */
        LINEAR,
        /** 1. */
        SIGMOID,
        /** 5/3. */
        TANH,
        /** √2. */
        RELU,
        /** √(2 / (1 + slope²)). */
        LEAKY_RELU,
        /** 3/4. */
        SELU
    }

    /** Which variance shall stay as it is. */
    public enum FanMode {
        /** That of what goes forward. */
        FAN_IN,
        /** That of gradients. */
        FAN_OUT
    }

    /**
     * How many inputs an output is a sum of, and how many outputs an input is in.
     *
     * @param in size 1 times the kernel's
     * @param out size 0 times the kernel's
     */
    public record Fans(long in, long out) {
        long of(FanMode mode) {
            return Objects.requireNonNull(mode, "mode") == FanMode.FAN_IN ? in : out;
        }
    }

    /** @throws ShapeException naming layer and argument if a size is less than it can be */
    static long atLeast(long least, String layer, String argument, long size) {
        if (size < least) {
            throw new ShapeException(Message.of(layer, argument + " is " + size + ", but must be at least " + least)
                    .argument(argument));
        }
        return size;
    }

    /** @throws IllegalArgumentException naming layer and argument if a number is negative, or not finite */
    static double notNegative(String layer, String argument, double value) {
        if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException(
                    layer + ": " + argument + " is " + value + ", but must be finite and not negative");
        }
        return value;
    }

    // ---------------------------------------------------------------- new ones

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

    // ---------------------------------------------------------------- numbers

    /**
     * The factor by which a weight before a nonlinearity is larger.
     *
     * @param nonlinearity what follows
     * @param slope of a leaky ReLU for negative elements; 0.01 in PyTorch. Others do not look at it
     * @return the factor
     */
    public static double gain(Nonlinearity nonlinearity, double slope) {
        return switch (Objects.requireNonNull(nonlinearity, "nonlinearity")) {
            case LINEAR, SIGMOID -> 1;
            case TANH -> 5.0 / 3;
            case RELU -> Math.sqrt(2);
            case LEAKY_RELU -> Math.sqrt(2 / (1 + slope * slope));
            case SELU -> 0.75;
        };
    }

    /**
     * The fans of a weight [out, in, kernel sizes].
     *
     * @param t of at least two dimensions
     * @return both fans
     * @throws ShapeException if it has fewer
     */
    public static Fans fans(Tensor t) {
        Objects.requireNonNull(t, "t").requireOpen("Init.fans", "t");
        if (t.rank() < 2) {
            throw new ShapeException(
                    Message.of("Init.fans", "a weight has at least two dimensions, but this is " + t.describe())
                            .argument("t"));
        }
        long kernel = 1;
        for (int d = 2; d < t.rank(); d++) {
            kernel = Sizes.multiply(kernel, t.size(d));
        }
        return new Fans(Sizes.multiply(t.size(1), kernel), Sizes.multiply(t.size(0), kernel));
    }

    // ---------------------------------------------------------------- in place

    private interface Write {
        void to(Tensor t);
    }

    private static void write(String name, Tensor t, Write write) {
        requireFloating(name, t);
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            write.to(t);
        }
    }

    static void requireFloating(String name, Tensor t) {
        Objects.requireNonNull(t, "t").requireOpen("Init." + name, "t");
        if (!t.dtype().isFloating()) {
            throw new DTypeException("Init." + name + ": t must be floating, but is " + t.describe());
        }
    }

    /**
     * One number everywhere.
     *
     * @param t a floating tensor
     * @param value the number
     */
    public static void constant_(Tensor t, double value) {
        write("constant_", t, to -> to.fill_(value));
    }

    /**
     * Uniform between two bounds.
     *
     * @param t a floating tensor
     * @param low the lower bound
     * @param high the upper bound
     */
    public static void uniform_(Tensor t, double low, double high) {
        write("uniform_", t, to -> to.uniform_(low, high));
    }

    /**
     * Normal with mean 0.
     *
     * @param t a floating tensor
     * @param deviation the standard deviation, at least 0
     */
    public static void normal_(Tensor t, double deviation) {
        normal_(t, 0, deviation);
    }

    /**
     * Normal.
     *
     * @param t a floating tensor
     * @param mean the mean
     * @param deviation the standard deviation, at least 0
     */
    public static void normal_(Tensor t, double mean, double deviation) {
        write("normal_", t, to -> to.normal_(mean, deviation));
    }

    /**
     * Uniform in ±gain·√(6 / (fan in + fan out)).
     *
     * @param t a weight, of at least two dimensions
     * @param gain such as {@link #gain} gives; 1 in PyTorch
     * @see <a href="https://proceedings.mlr.press/v9/glorot10a.html">Glorot, Bengio 2010</a>
     */
    public static void xavierUniform_(Tensor t, double gain) {
        double bound = Math.sqrt(3) * xavier("xavierUniform_", t, gain);
        uniform_(t, -bound, bound);
    }

    /**
     * Normal with deviation gain·√(2 / (fan in + fan out)).
     *
     * @param t a weight, of at least two dimensions
     * @param gain such as {@link #gain} gives; 1 in PyTorch
     */
    public static void xavierNormal_(Tensor t, double gain) {
        normal_(t, xavier("xavierNormal_", t, gain));
    }

    private static double xavier(String name, Tensor t, double gain) {
        requireFloating(name, t);
        Fans fans = fans(t);
        return notNegative(name, "gain", gain) * root(2.0, Sizes.add(fans.in(), fans.out()));
    }

    /**
     * Uniform in ±gain·√(3 / fan).
     *
     * @param t a weight, of at least two dimensions
     * @param slope of a leaky ReLU; 0 in PyTorch
     * @param mode which fan
     * @param nonlinearity what follows; LEAKY_RELU in PyTorch
     * @see <a href="https://arxiv.org/abs/1502.01852">He et al. 2015</a>
     */
    public static void kaimingUniform_(Tensor t, double slope, FanMode mode, Nonlinearity nonlinearity) {
        double bound = Math.sqrt(3) * kaiming("kaimingUniform_", t, slope, mode, nonlinearity);
        uniform_(t, -bound, bound);
    }

    /**
     * Normal with deviation gain / √fan.
     *
     * @param t a weight, of at least two dimensions
     * @param slope of a leaky ReLU; 0 in PyTorch
     * @param mode which fan
     * @param nonlinearity what follows; LEAKY_RELU in PyTorch
     */
    public static void kaimingNormal_(Tensor t, double slope, FanMode mode, Nonlinearity nonlinearity) {
        normal_(t, kaiming("kaimingNormal_", t, slope, mode, nonlinearity));
    }

    private static double kaiming(String name, Tensor t, double slope, FanMode mode, Nonlinearity nonlinearity) {
        requireFloating(name, t);
        if (!Double.isFinite(slope)) {
            throw new IllegalArgumentException(name + ": slope is " + slope + ", but must be finite");
        }
        return gain(nonlinearity, slope) * root(1.0, fans(t).of(mode));
    }

    /** √(number / fan), 0 where there is nothing to fill. */
    private static double root(double number, long fan) {
        return fan == 0 ? 0 : Math.sqrt(number / fan);
    }

    /**
     * Normal, but for what lies outside of two bounds, which is not drawn.
     *
     * @param t a floating tensor
     * @param mean of the whole distribution
     * @param deviation of the whole distribution, greater than 0
     * @param low the lower bound; −2 in PyTorch
     * @param high the upper bound; 2 in PyTorch
     * @throws IllegalArgumentException if numbers are not finite, the deviation not positive, the bounds not in order, or
     *     so far from the mean (8 deviations) that the probability between them is not seen
     */
    public static void truncatedNormal_(Tensor t, double mean, double deviation, double low, double high) {
        requireFloating("truncatedNormal_", t);
        double from = (low - mean) / deviation;
        double to = (high - mean) / deviation;
        if (!(deviation > 0
                && Double.isFinite(mean)
                && Double.isFinite(deviation)
                && from < to
                && from < 8
                && to > -8)) {
            throw new IllegalArgumentException("truncatedNormal_: no normal numbers with mean " + mean
                    + " and deviation " + deviation + " lie between " + low + " and " + high);
        }
        write(
                "truncatedNormal_",
                t,
                out -> InitMatrix.truncatedNormal(out, mean, deviation, Math.max(from, -9), Math.min(to, 9)));
    }
}
