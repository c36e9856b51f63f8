// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Backward from what somebody has in hand: looks at it first, and makes the gradients that were left out. */
public final class Gradients {
    private Gradients() {}

    /** Gradients in the form of each input, or null for one that was not used and may be. */
    public static List<Tensor> of(
            String what,
            List<Tensor> outputs,
            List<Tensor> inputs,
            @Nullable List<Tensor> gradients,
            boolean retain,
            boolean create,
            boolean allowUnused) {
        for (Tensor input : inputs) {
            if (!Objects.requireNonNull(input, "inputs").requiresGrad()) {
                throw notPartOfGraph(what, input);
            }
        }
        Tensor[] seeds = gradients == null ? null : array(gradients);
        @Nullable
        Tensor[] result = run(what, array(outputs), seeds, array(inputs), BackwardPass.Aim.RESULT, retain, create);
        for (int i = 0; i < result.length; i++) {
            if (result[i] == null && !allowUnused) {
                throw new GradientException(what + ": inputs[" + i + "], "
                        + inputs.get(i).describe()
                        + ", was not used in the graph of the outputs\n  fix: gradOrZeros gives zeros"
                        + " for it; with allowUnused there is null.");
            }
        }
        return Arrays.asList(result);
    }

    /**
     * Runs backward.
     *
     * @param gradients one for each root; null for ones
     * @param inputs the leaves that accumulate, or the tensors whose gradients are returned; null for all leaves
     */
    public static @Nullable Tensor[] run(
            String what,
            Tensor[] roots,
            Tensor @Nullable [] gradients,
            Tensor @Nullable [] inputs,
            BackwardPass.Aim aim,
            boolean retain,
            boolean create) {
        if (create && Context.current().isInference()) {
            throw new GradientException(Message.of(what, "Graph.CREATE: inference mode records nothing")
                    .fix("call it outside of inference mode; under noGrad() the gradients are recorded."));
        }
        Tensor[] seeds = new Tensor[roots.length];
        if (gradients != null && gradients.length != roots.length) {
            throw new GradientException(what + ": " + gradients.length + " gradients for " + roots.length + " outputs");
        }
        for (int i = 0; i < roots.length; i++) {
            if (roots[i].isClosed()) {
                roots[i].requireOpen(what, "outputs[" + i + "]");
            }
            if (!roots[i].requiresGrad()) {
                throw notPartOfGraph(what, roots[i]);
            }
            Tensor g = gradients == null ? null : gradients[i];
            if (g == null) {
                if (roots[i].numel() != 1) {
                    throw new GradientException(what + ": outputs[" + i + "] has " + roots[i].numel()
                            + " elements, so its gradient must be given\n  output: " + roots[i].describe()
                            + "\n  fix: reduce it to a scalar (sum, mean), or pass a gradient of its shape.");
                }
                g = one(roots[i]);
            } else if (!g.shape().equals(roots[i].shape())
                    || g.dtype() != roots[i].dtype()
                    || g.device() != roots[i].device()) {
                throw new GradientException(what + ": gradients[" + i + "] is " + g.describe() + ", but its output is "
                        + roots[i].describe() + "\n  fix: pass a gradient in the form of the output.");
            }
            seeds[i] = g;
        }
        // Tangents come through formulas made of ops, as a graph does, and not through backward kernels.
        boolean tangents = ForwardMode.sees(Context.current());
        if (tangents && aim != BackwardPass.Aim.RESULT) {
            throw new GradientException(what + ": accumulates into leaves, which forward mode cannot follow"
                    + "\n  fix: inside of jvp use Autograd.grad, which returns the gradients.");
        }
        @Nullable
        Tensor[] result = new BackwardPass(create || retain, create || tangents, aim).run(roots, seeds, inputs);
        for (int i = 0; tangents && !create && i < result.length; i++) {
            Tensor g = result[i];
            result[i] = g == null ? null : ForwardMode.withoutHistory(g);
        }
        if (gradients == null) {
            for (Tensor seed : seeds) {
                if (!create) {
                    seed.close();
                }
            }
        }
        return result;
    }

    /** The gradient of a loss of one element with respect to itself: where Java can, it writes that without an op. */
    private static Tensor one(Tensor loss) {
        Tensor seed = loss.emptyLike();
        if (seed.isMeta()
                || seed.device() != Device.CPU
                || !TENSORS.storage(seed).isJavaVisible()) {
            return seed.fill_(1);
        }
        Elements.of(seed).setDouble(0, 1);
        return seed;
    }

    /** The same as an array. */
    public static Tensor[] array(List<Tensor> tensors) {
        tensors.forEach(t -> Objects.requireNonNull(t, "tensors"));
        return tensors.toArray(new Tensor[0]);
    }

    // ---------------------------------------------------------------- why there is none

    /** The error for a tensor without a graph. */
    public static GradientException notPartOfGraph(String what, Tensor tensor) {
        return new GradientException(Message.of(what + ": " + tensor.describe()
                        + " does not require a gradient, and nothing that it was made from does")
                .fact("why", whyNone(tensor))
                .fix("call requiresGrad(true) on a leaf before the forward pass."));
    }

    /** Why a tensor requires no gradient, in words. */
    public static String whyNone(Tensor tensor) {
        if (tensor.requiresGrad()) {
            return "it does require a gradient";
        }
        if (!tensor.dtype().isFloating()) {
            return "its dtype " + tensor.dtype() + " is not floating";
        }
        if (tensor.isInference()) {
            return "it was made in inference mode";
        }
        if (!Context.current().isGradEnabled()) {
            return "recording is off on this thread";
        }
        return "it is a leaf without requiresGrad(true), or was made from such leaves, detached, or made under noGrad";
    }
}
