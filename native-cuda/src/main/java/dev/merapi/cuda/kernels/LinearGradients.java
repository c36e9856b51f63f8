// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.op.Backward;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.util.List;

/**
 * The backward of {@code linear} where a library multiplies: the gradient of the bias comes out of the product that makes
 * the weight's, which reads the incoming gradient anyway.
 */
public final class LinearGradients {
    static final String NAME = "cuda::linear_gradients";

    private LinearGradients() {}

    /**
     * @param g [rows, out]
     * @param x [rows, in]
     */
    public record Args(Tensor g, Tensor x) {}

    /**
     * @param weight gᵀ·x, [out, in]
     * @param bias the sums of g's columns, [out]
     */
    public record Parameters(Tensor weight, Tensor bias) {}

    /** An op, so that captures and streams know what it uses. */
    public static final Op<Args, Parameters> OP = Op.define(MethodHandles.lookup(), NAME, Args.class, Parameters.class)
            .shape(a -> new Parameters(
                    Tensor.meta(a.g(), Shape.of(a.g().size(1), a.x().size(1))),
                    Tensor.meta(a.g(), Shape.of(a.g().size(1)))))
            .compose(a -> new Parameters(a.g().t().matmul(a.x()), a.g().sum(0)))
            .register();

    public static final Backward<LinearAlgebra.SavedLinear, Tensor> BACKWARD = LinearGradients::backward;

    private static Grads backward(BackwardContext context, LinearAlgebra.SavedLinear s, Tensor g) {
        Tensor dx = context.needs("x") ? g.matmul(s.weight()) : null;
        boolean weight = context.needs("weight");
        boolean bias = s.hasBias() && context.needs("bias");
        Grads grads = Grads.of("x", dx);
        if (weight && bias && g.numel() > 0) {
            Parameters p = OP.call(new Args(rows(g), rows(s.x())));
            return grads.and("weight", p.weight).and("bias", p.bias);
        }
        return grads.and("weight", weight ? rows(g).t().matmul(rows(s.x())) : null)
                .and("bias", bias ? rows(g).sum(0) : null);
    }

    /** gᵀ·x for the gradient of a weight, and the sums of g's columns, the gradient of a bias. */
    public static MatrixProduct product(Args args, Parameters out) {
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(args.g().t(), args.x()), out.weight());
        return new MatrixProduct(NAME, p.a(), p.b(), null, out.bias(), null, p.out(), p.m(), p.n(), p.k(), List.of());
    }

    /** All but the last dimension as one. */
    static Tensor rows(Tensor t) {
        long n = 1;
        for (int d = 0; d < t.rank() - 1; d++) {
            n *= t.size(d);
        }
        return t.rank() == 2 ? t : t.reshape(n, t.size(-1));
    }
}
