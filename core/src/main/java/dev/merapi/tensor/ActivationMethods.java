// SPDX-License-Identifier: Apache-2.0
package dev.merapi.tensor;

import dev.merapi.ops.Activations;

/** Activation functions, element by element. Where one has a kink, the gradient there is that of the left side. */
public abstract sealed class ActivationMethods extends PointwiseMethods permits ShapeMethods {
    ActivationMethods() {}

    /**
     * {@code max(this, 0)}; the gradient at 0 is 0, NaN stays.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor relu() {
        return Activations.RELU.call(self());
    }

    /**
     * {@link #relu} in place.
     *
     * @return this tensor
     */
    public Tensor relu_() {
        return into(Activations.RELU);
    }

    /**
     * {@code 1 / (1 + exp(-this))}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor sigmoid() {
        return Activations.SIGMOID.call(self());
    }

    /**
     * {@link #sigmoid} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor sigmoid_() {
        return into(Activations.SIGMOID);
    }

    /**
     * {@code log(sigmoid(this))} without underflow.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor logSigmoid() {
        return Activations.LOG_SIGMOID.call(self());
    }

    /**
     * {@code this * sigmoid(this)}, known as SiLU and Swish.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor silu() {
        return Activations.SILU.call(self());
    }

    /**
     * {@link #silu} in place; for floating tensors.
     *
     * @return this tensor
     */
    public Tensor silu_() {
        return into(Activations.SILU);
    }

    /**
     * {@code this * P(Z <= this)} for a standard normal Z, by the error function.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor gelu() {
        return Activations.GELU.call(self());
    }

    /**
     * The tanh approximation of {@link #gelu}: {@code 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³)))}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor geluTanh() {
        return Activations.GELU_TANH.call(self());
    }

    /**
     * {@code log(1 + exp(this))} without overflow.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor softplus() {
        return Activations.SOFTPLUS.call(self());
    }

    /**
     * This where positive, else {@code slope * this}.
     *
     * @param slope for negative elements
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor leakyRelu(Number slope) {
        return Activations.LEAKY_RELU.call(self(), slope);
    }

    /**
     * {@link #leakyRelu} in place.
     *
     * @param slope for negative elements
     * @return this tensor
     */
    public Tensor leakyRelu_(Number slope) {
        return into(Activations.LEAKY_RELU, slope);
    }

    /**
     * This where positive, else {@code alpha * (exp(this) - 1)}.
     *
     * @param alpha minus the limit for large negative elements
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor elu(Number alpha) {
        return Activations.ELU.call(self(), alpha);
    }

    /**
     * This between −1 and 1; beyond them and there the gradient is 0.
     *
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor hardtanh() {
        return hardtanh(-1, 1);
    }

    /**
     * This between two bounds; beyond them and there the gradient is 0.
     *
     * @param low the lower bound
     * @param high the upper bound
     * @return a new tensor of this shape; the numbers may raise the kind of its dtype
     */
    public Tensor hardtanh(Number low, Number high) {
        return Activations.HARDTANH.call(self(), low, high);
    }

    /**
     * This between 0 and 6; beyond them and there the gradient is 0.
     *
     * @return a new tensor of this shape and dtype
     */
    public Tensor relu6() {
        return hardtanh(0, 6);
    }

    /**
     * {@code clamp(this / 6 + 1/2, 0, 1)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor hardSigmoid() {
        return Activations.HARD_SIGMOID.call(self());
    }

    /**
     * {@code this * hardSigmoid(this)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor hardSwish() {
        return Activations.HARD_SWISH.call(self());
    }

    /**
     * {@code this * tanh(softplus(this))}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor mish() {
        return Activations.MISH.call(self());
    }

    /**
     * {@code log(1 + exp(beta * this)) / beta}, and this where {@code beta * this} is above the threshold.
     *
     * @param beta how steep it is; 1 is usual
     * @param threshold from where on it is linear; 20 is usual
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor softplus(Number beta, Number threshold) {
        return Activations.SOFTPLUS_SCALED.call(self(), beta, threshold);
    }

    /**
     * {@code 1.0507 * this} where positive, else {@code 1.0507 * 1.6733 * (exp(this) - 1)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor selu() {
        return Activations.SELU.call(self());
    }

    /**
     * This where positive, else {@code alpha * (exp(this / alpha) - 1)}.
     *
     * @param alpha minus the limit for large negative elements; 1 is usual
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor celu(Number alpha) {
        return Activations.CELU.call(self(), alpha);
    }

    /**
     * This where positive, else this times a learned slope.
     *
     * @param weight of one element, or of one for each channel: this is [N, C, ..], or [C]
     * @return a new tensor of this shape and dtype
     */
    public Tensor prelu(Tensor weight) {
        return Activations.prelu(self(), weight);
    }

    /**
     * A gated linear unit: the first half along a dimension, times the sigmoid of the second.
     *
     * @param dim the dimension, of an even size; negative from the end
     * @return a new tensor, half as large along that dimension
     */
    public Tensor glu(int dim) {
        return Activations.glu(self(), dim);
    }

    /**
     * {@code this / (1 + |this|)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor softsign() {
        return Activations.SOFTSIGN.call(self());
    }

    /**
     * This where above a threshold, else a value.
     *
     * @param threshold what must be exceeded
     * @param value for all others
     * @return a new tensor of this shape; the number may raise the kind of its dtype
     */
    public Tensor threshold(Number threshold, Number value) {
        return Activations.THRESHOLD.call(self(), threshold, value);
    }

    /**
     * This where {@code |this| > lambda}, else 0.
     *
     * @param lambda how large the hole is; 0.5 is usual
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor hardshrink(Number lambda) {
        return Activations.HARDSHRINK.call(self(), lambda);
    }

    /**
     * This moved by lambda towards 0, and 0 within that.
     *
     * @param lambda how far, at least 0; 0.5 is usual
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor softshrink(Number lambda) {
        return Activations.SOFTSHRINK.call(self(), lambda);
    }

    /**
     * {@code this - tanh(this)}.
     *
     * @return a new tensor of this shape; integers and bool become float32
     */
    public Tensor tanhshrink() {
        return Activations.TANHSHRINK.call(self());
    }
}
