// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * What the layers of a transformer are.
 *
 * @param hidden size between the two linear maps
 * @param dropout probability, from 0 to 1, of weights of attention, within the linear maps and of what is added
 * @param activation between the two linear maps
 * @param normFirst whether norms stand before attention and linear maps, and not behind
 * @param causal whether self-attention sees only what is before
 * @param bias whether linear maps and norms have a bias
 * @param eps of the norms
 */
public record TransformerOptions(
        long hidden,
        double dropout,
        UnaryOperator<Tensor> activation,
        boolean normFirst,
        boolean causal,
        boolean bias,
        double eps) {
    /** {@return PyTorch's: 2048 hidden, dropout 0.1, ReLU, norms behind, all is seen, biases, eps 1e-5} */
    public static TransformerOptions options() {
        return new TransformerOptions(2048, 0.1, Tensor::relu, false, false, true, 1e-5);
    }

    /**
     * With another size between the linear maps.
     *
     * @param size at least 0
     * @return the same options but for that
     */
    public TransformerOptions hidden(long size) {
        return new TransformerOptions(size, dropout, activation, normFirst, causal, bias, eps);
    }

    /**
     * With another dropout.
     *
     * @param p from 0 to 1
     * @return the same options but for that
     */
    public TransformerOptions dropout(double p) {
        return new TransformerOptions(hidden, p, activation, normFirst, causal, bias, eps);
    }

    /**
     * With another activation.
     *
     * @param function such as {@code Tensor::gelu}
     * @return the same options but for that
     */
    public TransformerOptions activation(UnaryOperator<Tensor> function) {
        Objects.requireNonNull(function, "function");
        return new TransformerOptions(hidden, dropout, function, normFirst, causal, bias, eps);
    }

    /**
     * With norms before attention and linear maps.
     *
     * @return the same options but for that
     */
    public TransformerOptions normIsFirst() {
        return new TransformerOptions(hidden, dropout, activation, true, causal, bias, eps);
    }

    /**
     * With self-attention that sees only what is before.
     *
     * @return the same options but for that
     */
    public TransformerOptions isCausal() {
        return new TransformerOptions(hidden, dropout, activation, normFirst, true, bias, eps);
    }

    /**
     * Without biases.
     *
     * @return the same options but for that
     */
    public TransformerOptions noBias() {
        return new TransformerOptions(hidden, dropout, activation, normFirst, causal, false, eps);
    }

    /**
     * With another eps of the norms.
     *
     * @param added greater than 0
     * @return the same options but for that
     */
    public TransformerOptions eps(double added) {
        return new TransformerOptions(hidden, dropout, activation, normFirst, causal, bias, added);
    }

    LayerNorm norm(long width) {
        return new LayerNorm(new long[] {width}, eps, true, bias);
    }

    MultiheadAttention attention(long width, long heads, boolean ofItself) {
        MultiheadAttention.Options o =
                MultiheadAttention.options().causal(ofItself && causal).dropout(dropout);
        return new MultiheadAttention(width, heads, bias ? o : o.noBias());
    }
}
