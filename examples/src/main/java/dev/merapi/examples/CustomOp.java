// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.OpCheck;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;

/** An op of one's own: what it takes, what it makes, how, and its gradient; then a check of all that. */
public final class CustomOp {
    private record Args(Tensor x, Tensor weight, double slope) {}

    /** weight · x where x is positive, slope · x elsewhere. */
    private static final Op<Args, Tensor> SCALED_RELU = Op.define(
                    MethodHandles.lookup(), "demo::scaled_relu", Args.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .kernel(DeviceType.CPU, (a, out) -> {
                Elements x = Elements.of(a.x());
                Elements y = Elements.of(out);
                double w = Elements.of(a.weight()).getDouble(0);
                for (long i = 0; i < x.numel(); i++) {
                    y.setDouble(i, x.getDouble(i) * (x.getDouble(i) > 0 ? w : a.slope()));
                }
            })
            .autograd((a, out) -> a, (context, a, g) -> {
                Tensor positive = a.x().gt(0).to(a.x().dtype());
                Tensor slopes = positive.mul(a.weight()).add(positive.rsub(1).mul(a.slope()));
                return Grads.of("x", g.mul(slopes))
                        .and("weight", g.mul(a.x()).mul(positive).sum());
            })
            .register();

    private CustomOp() {}

    public static void main(String[] args) {
        Tensor x = Tensor.of(-1f, 2f, -3f, 4f).requiresGrad(true);
        Tensor weight = Tensor.scalar(2f).requiresGrad(true);
        Tensor y = SCALED_RELU.call(new Args(x, weight, 0.1));
        Autograd.backward(y.sum());
        System.out.println("y = " + y + "\ndx = " + x.grad() + "\ndweight = " + weight.grad());

        Tensor sample = Tensor.randn(3, 5).to(DType.FLOAT64);
        OpCheck.of(SCALED_RELU)
                .samples(new Args(sample, Tensor.scalar(1.5), 0.1))
                .run()
                .orThrow();
        System.out.println("checked: shapes, layouts, gradients, aliases, leaks");
    }
}
