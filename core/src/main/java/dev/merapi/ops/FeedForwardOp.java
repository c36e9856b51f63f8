// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;

/** Two linear maps with a GELU (its tanh approximation) between them, what a transformer's block does to each position. */
public final class FeedForwardOp {
    private static final String OP = "feed_forward";

    private FeedForwardOp() {}

    /**
     * @param x [.., in]
     * @param up [hidden, in]
     * @param upBias [hidden]
     * @param down [out, hidden]
     * @param downBias [out]
     */
    public record Args(Tensor x, Tensor up, Tensor upBias, Tensor down, Tensor downBias) {}

    /** A composition, which a backend may write in another way: a library does a part of it within the products. */
    public static final Op<Args, Tensor> FEED_FORWARD = Op.define("merapi::feed_forward", Args.class, Tensor.class)
            .compose(FeedForwardOp::composed)
            .register();

    /**
     * Linear map, GELU, linear map: what the op means, by ops that have gradients.
     *
     * @param a the operands
     * @return [.., out]
     */
    public static Tensor composed(Args a) {
        check(a);
        return LinearAlgebra.linear(
                LinearAlgebra.linear(a.x(), a.up(), a.upBias()).geluTanh(), a.down(), a.downBias());
    }

    /**
     * Refuses operands that do not fit together; for backends that write the op in another way.
     *
     * @param a the operands
     * @throws ShapeException or DTypeException if the operands do not fit together
     */
    public static void check(Args a) {
        Softmax.requireFloating(OP, a.x());
        fit("x [.., in] and up [hidden, in]", a.x(), "x", -1, a.up(), "up", 1, 2);
        fit("up [hidden, in] and upBias [hidden]", a.up(), "up", 0, a.upBias(), "upBias", 0, 1);
        fit("up [hidden, in] and down [out, hidden]", a.up(), "up", 0, a.down(), "down", 1, 2);
        fit("down [out, hidden] and downBias [out]", a.down(), "down", 0, a.downBias(), "downBias", 0, 1);
    }

    private static void fit(
            String what, Tensor a, String nameA, int dimA, Tensor b, String nameB, int dimB, int rankB) {
        Softmax.requireFloating(OP, b); // that they are alike is for the products to say: autocast may see to it
        if (a.rank() == 0 || b.rank() != rankB || a.size(dimA) != b.size(dimB)) {
            throw new ShapeException(Message.of(OP + ": " + what + " do not fit")
                    .fact(nameA, a.describe())
                    .fact(nameB, b.describe()));
        }
    }

    /**
     * geluTanh(x·upᵀ + upBias)·downᵀ + downBias: [.., in] → [.., out], of one floating dtype. Gradient: everything, to any
     * order.
     *
     * @param x [.., in], floating
     * @param up [hidden, in]
     * @param upBias [hidden]
     * @param down [out, hidden]
     * @param downBias [out]
     * @return [.., out]
     * @throws ShapeException if the sizes do not fit
     */
    public static Tensor feedForward(Tensor x, Tensor up, Tensor upBias, Tensor down, Tensor downBias) {
        return FEED_FORWARD.call(new Args(x, up, upBias, down, downBias));
    }
}
