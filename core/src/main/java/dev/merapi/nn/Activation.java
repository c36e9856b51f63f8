// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;

/**
 * Activation functions as layers, which texts call as PyTorch does: {@code new Sequential().then(Activation.gelu())}. Where
 * a name does not matter, {@code Tensor::gelu} will do. One with a parameter is {@link PRelu}.
 */
public final class Activation {
    private Activation() {}

    /**
     * {@code max(x, 0)}.
     *
     * @return a layer without parameters
     */
    public static Layer relu() {
        return Layer.of("ReLU", Tensor::relu);
    }

    /**
     * Between 0 and 6.
     *
     * @return a layer without parameters
     */
    public static Layer relu6() {
        return Layer.of("ReLU6", Tensor::relu6);
    }

    /**
     * x where positive, else a slope times x.
     *
     * @param slope for negative elements; 0.01 in PyTorch
     * @return a layer without parameters
     */
    public static Layer leakyRelu(double slope) {
        return Layer.of("LeakyReLU", x -> x.leakyRelu(slope));
    }

    /**
     * x where positive, else {@code alpha * (exp(x) - 1)}.
     *
     * @param alpha 1 in PyTorch
     * @return a layer without parameters
     */
    public static Layer elu(double alpha) {
        return Layer.of("ELU", x -> x.elu(alpha));
    }

    /**
     * A scaled ELU that keeps mean and variance.
     *
     * @return a layer without parameters
     */
    public static Layer selu() {
        return Layer.of("SELU", Tensor::selu);
    }

    /**
     * x where positive, else {@code alpha * (exp(x / alpha) - 1)}.
     *
     * @param alpha not 0; 1 in PyTorch
     * @return a layer without parameters
     */
    public static Layer celu(double alpha) {
        return Layer.of("CELU", x -> x.celu(alpha));
    }

    /**
     * x times the probability that a normal number is less.
     *
     * @return a layer without parameters
     */
    public static Layer gelu() {
        return Layer.of("GELU", Tensor::gelu);
    }

    /**
     * The approximation of {@link #gelu} by tanh.
     *
     * @return a layer without parameters
     */
    public static Layer geluTanh() {
        return Layer.of("GELU(tanh)", Tensor::geluTanh);
    }

    /**
     * x times its sigmoid, also called Swish.
     *
     * @return a layer without parameters
     */
    public static Layer silu() {
        return Layer.of("SiLU", Tensor::silu);
    }

    /**
     * {@code x * tanh(softplus(x))}.
     *
     * @return a layer without parameters
     */
    public static Layer mish() {
        return Layer.of("Mish", Tensor::mish);
    }

    /**
     * {@code 1 / (1 + exp(-x))}.
     *
     * @return a layer without parameters
     */
    public static Layer sigmoid() {
        return Layer.of("Sigmoid", Tensor::sigmoid);
    }

    /**
     * The logarithm of the sigmoid, without underflow.
     *
     * @return a layer without parameters
     */
    public static Layer logSigmoid() {
        return Layer.of("LogSigmoid", Tensor::logSigmoid);
    }

    /**
     * The hyperbolic tangent.
     *
     * @return a layer without parameters
     */
    public static Layer tanh() {
        return Layer.of("Tanh", Tensor::tanh);
    }

    /**
     * Between two bounds.
     *
     * @param low the lower bound; −1 in PyTorch
     * @param high the upper bound; 1 in PyTorch
     * @return a layer without parameters
     */
    public static Layer hardtanh(double low, double high) {
        return Layer.of("Hardtanh", x -> x.hardtanh(low, high));
    }

    /**
     * {@code clamp(x / 6 + 1/2, 0, 1)}.
     *
     * @return a layer without parameters
     */
    public static Layer hardSigmoid() {
        return Layer.of("Hardsigmoid", Tensor::hardSigmoid);
    }

    /**
     * {@code x * hardSigmoid(x)}.
     *
     * @return a layer without parameters
     */
    public static Layer hardSwish() {
        return Layer.of("Hardswish", Tensor::hardSwish);
    }

    /**
     * {@code log(1 + exp(beta * x)) / beta}, and x where {@code beta * x} is above a threshold.
     *
     * @param beta how steep it is; 1 in PyTorch
     * @param threshold from where on it is linear; 20 in PyTorch
     * @return a layer without parameters
     */
    public static Layer softplus(double beta, double threshold) {
        return Layer.of("Softplus", x -> x.softplus(beta, threshold));
    }

    /**
     * {@code x / (1 + |x|)}.
     *
     * @return a layer without parameters
     */
    public static Layer softsign() {
        return Layer.of("Softsign", Tensor::softsign);
    }

    /**
     * x where above a threshold, else a value.
     *
     * @param threshold what must be exceeded
     * @param value for all others
     * @return a layer without parameters
     */
    public static Layer threshold(double threshold, double value) {
        return Layer.of("Threshold", x -> x.threshold(threshold, value));
    }

    /**
     * x where {@code |x| > lambda}, else 0.
     *
     * @param lambda 0.5 in PyTorch
     * @return a layer without parameters
     */
    public static Layer hardshrink(double lambda) {
        return Layer.of("Hardshrink", x -> x.hardshrink(lambda));
    }

    /**
     * x moved by lambda towards 0, and 0 within that.
     *
     * @param lambda at least 0; 0.5 in PyTorch
     * @return a layer without parameters
     */
    public static Layer softshrink(double lambda) {
        return Layer.of("Softshrink", x -> x.softshrink(lambda));
    }

    /**
     * {@code x - tanh(x)}.
     *
     * @return a layer without parameters
     */
    public static Layer tanhshrink() {
        return Layer.of("Tanhshrink", Tensor::tanhshrink);
    }

    /**
     * The first half along a dimension, times the sigmoid of the second.
     *
     * @param dim of an even size; −1 in PyTorch
     * @return a layer without parameters
     */
    public static Layer glu(int dim) {
        return Layer.of("GLU", x -> x.glu(dim));
    }

    /**
     * Exponentials that sum to 1 along a dimension.
     *
     * @param dim the dimension; negative from the end
     * @return a layer without parameters
     */
    public static Layer softmax(int dim) {
        return Layer.of("Softmax", x -> x.softmax(dim));
    }

    /**
     * The softmax of −x.
     *
     * @param dim the dimension; negative from the end
     * @return a layer without parameters
     */
    public static Layer softmin(int dim) {
        return Layer.of("Softmin", x -> x.softmin(dim));
    }

    /**
     * The logarithm of the softmax.
     *
     * @param dim the dimension; negative from the end
     * @return a layer without parameters
     */
    public static Layer logSoftmax(int dim) {
        return Layer.of("LogSoftmax", x -> x.logSoftmax(dim));
    }
}
