// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** {@code y_o = x1 · weight_o · x2 + bias_o}: [*, in1] and [*, in2] → [*, out]. */
public final class Bilinear extends Block {
    private final Parameter weight;
    private final @Nullable Parameter bias;

    /**
     * Draws weight and bias from U(−1/√in1, 1/√in1), as PyTorch does.
     *
     * @param in1 size of the last dimension of the first input
     * @param in2 size of the last dimension of the second
     * @param out size of the last dimension of the result
     * @param hasBias whether something is added to each output
     */
    public Bilinear(long in1, long in2, long out, boolean hasBias) {
        Init.atLeast(1, "Bilinear", "in1", in1);
        Init.atLeast(0, "Bilinear", "in2", in2);
        Init.atLeast(0, "Bilinear", "out", out);
        weight = parameter("weight", Init.kaimingUniform(in1, out, in1, in2));
        bias = hasBias ? parameter("bias", Init.kaimingUniform(in1, out)) : null;
    }

    /**
     * What the two have to do with each other.
     *
     * @param x1 [*, in1]
     * @param x2 [*, in2], with the same first dimensions
     * @return [*, out]
     * @throws dev.merapi.error.ShapeException if sizes do not fit
     */
    public Tensor forward(Tensor x1, Tensor x2) {
        Tensor y = Tensor.einsum("...i,oij,...j->...o", x1, weight.tensor(), x2);
        return bias == null ? y : y.add(bias.tensor());
    }
}
