// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.tensor.Tensor;

/** Whether a gradient fits the tensor that it is the gradient of. */
final class GradientChecks {
    private GradientChecks() {}

    /** The gradient of input {@code i} in the form of that input: summed where it was broadcast, and in its dtype. */
    static Tensor fit(Node node, int i, Tensor gradient, Tensor input) {
        Tensor g = gradient;
        if (g.isClosed()) {
            throw new GradientException(Message.of("backward of " + node + ": the gradient of " + node.inputName(i)
                            + ", " + g.describe() + ", is closed")
                    .fix("leave what is returned open; the engine closes it."));
        }
        if (!g.shape().equals(input.shape())) {
            if (!input.shape().expandableTo(g.shape())) {
                throw new GradientException(Message.of(
                                "backward of " + node + ": the gradient of " + node.inputName(i) + " does not fit it")
                        .fact("gradient", g.describe())
                        .fact("input", input.describe())
                        .fix("return a gradient in the shape of the input, or one that sums to it."));
            }
            g = g.sumTo(input.shape());
        }
        if (g.device() != input.device()) {
            throw new GradientException("backward of " + node + ": the gradient of " + node.inputName(i) + " is on "
                    + g.device() + ", the input on " + input.device() + "\n  fix: to(device).");
        }
        if (g.dtype() != input.dtype()) {
            if (!g.dtype().isFloating()) {
                throw new GradientException("backward of " + node + ": the gradient of " + node.inputName(i) + " is "
                        + g.describe() + "; gradients are floating");
            }
            g = g.to(input.dtype());
        }
        return g;
    }

    static void sameForm(Node node, Tensor before, Tensor after) {
        if (!before.shape().equals(after.shape())
                || before.dtype() != after.dtype()
                || before.device() != after.device()) {
            throw new GradientException("hook on a gradient of " + node + ": it returned " + after.describe()
                    + " in place of " + before.describe());
        }
    }

    static void refuseNaN(Node node, int i, Tensor gradient) {
        try (Tensor nan = gradient.detach().ne(gradient.detach());
                Tensor any = nan.any()) {
            if (any.item() != 0) {
                throw new GradientException("backward of " + node + ": the gradient of " + node.inputName(i)
                        + " has NaN: " + gradient.describe());
            }
        }
    }
}
