// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** {@code y = x · weightᵀ + bias}: [*, in] → [*, out]. */
public final class Linear extends Layer {
    private final Parameter weight;
    private final @Nullable Parameter bias;

    /**
     * With a bias.
     *
     * @param in size of the last dimension of the input
     * @param out size of the last dimension of the result
     */
    public Linear(long in, long out) {
        this(in, out, true);
    }

    /**
     * Draws weight and bias from U(−1/√in, 1/√in), as PyTorch does.
     *
     * @param in size of the last dimension of the input
     * @param out size of the last dimension of the result
     * @param hasBias whether something is added to each output
     */
    public Linear(long in, long out, boolean hasBias) {
        Init.atLeast(0, "Linear", "in", in);
        Init.atLeast(0, "Linear", "out", out);
        weight = parameter("weight", Init.kaimingUniform(in, out, in));
        bias = hasBias ? parameter("bias", Init.kaimingUniform(in, out)) : null;
    }

    @Override
    protected Tensor compute(Tensor x) {
        return LinearAlgebra.linear(x, weight.tensor(), Parameter.of(bias));
    }

    /**
     * [out, in].
     *
     * @return the parameter, as it is now
     */
    public Tensor weight() {
        return weight.tensor();
    }

    /**
     * [out], or null.
     *
     * @return the parameter, as it is now
     */
    public @Nullable Tensor bias() {
        return Parameter.of(bias);
    }
}
