// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.check.OpCheck;
import dev.merapi.check.OpCheck.Outcome;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Backwards that are wrong, or right only where one usually looks. */
class PlantedGradientFaultsTest extends Planted {
    // ---------------------------------------------------------------- plainly wrong

    @Test
    void aWrongFactor() {
        found(
                squareBackward((c, x, g) -> Grads.of("x", x.mul(2.00001).mul(g))),
                x(),
                "gradients",
                "gradients disagree with finite differences",
                "d output 0[");
    }

    @Test
    void aForgottenGradient() {
        Op<XY, Tensor> op = product((c, a, g) -> Grads.of("x", g.mul(a.y())).and("y", null));
        found(op, xy(), "gradients", "the backward gives y no gradient at all");
    }

    @Test
    void gradientsOfAnotherForm() {
        found(squareBackward((c, x, g) -> Grads.of("x", x.mul(2).mul(g).sum())), x(), "gradients", "planted::square");
        found(
                squareBackward((c, x, g) -> Grads.of("x", x.mul(2).mul(g).to(DType.FLOAT32))),
                x(),
                "gradients",
                "not linear in the incoming gradient");
        found(
                squareBackward((c, x, g) -> Grads.of("y", x.mul(2).mul(g))),
                x(),
                "gradients",
                "the tensor arguments are [x]");
    }

    @Test
    void notANumberWhereThereIsADerivative() {
        X sample = new X(Tensor.of(0.0, 1, 2).requiresGrad(true));
        found(
                squareBackward((c, x, g) -> Grads.of("x", x.mul(x).mul(2).div(x).mul(g))),
                sample,
                "gradients",
                "the backward gives NaN where the function has a derivative");
    }

    @Test
    void secondDerivatives() {
        found(
                squareBackward((c, x, g) -> Grads.of("x", x.detach().mul(2).mul(g))),
                x(),
                "second derivatives",
                "gradients disagree with finite differences");
    }

    // ---------------------------------------------------------------- the incoming gradient

    /** Right for one element at a time. */
    @Test
    void rightForOneElementOfTheIncomingGradient() {
        Op<X, Tensor> op = squareBackward((c, x, g) -> {
            double many = g.ne(0.0).to(DType.FLOAT64).sum().item();
            return Grads.of("x", x.mul(many > 1 ? 4 : 2).mul(g));
        });
        found(op, x(), "gradients", "a random combination of outputs");
    }

    @Test
    void notLinearInManyElements() {
        Op<X, Tensor> op = squareBackward((c, x, g) -> Grads.of("x", x.mul(2).mul(g.clamp(-1, 1))));
        found(op, x(), "gradients", "not linear in the incoming gradient");
        found(op, new X(leaf(20, 20)), "gradients", "not linear in the incoming gradient");
    }

    @Test
    void aGradientOfZerosThatGivesMore() {
        Op<X, Tensor> op = squareBackward((c, x, g) -> Grads.of("x", x.mul(2).mul(g.where(g.ne(0.0), 1e-13))));
        found(op, x(), "gradients", "a gradient of zeros gives a gradient that is not zero");
    }

    /** y = (x², x³). */
    private static Op<X, List<Tensor>> powers(dev.merapi.op.Backward<Tensor, List<Tensor>> backward) {
        return Op.define("planted::powers", X.class, Result.tensors())
                .compose(a -> List.of(a.x().mul(a.x()), a.x().mul(a.x()).mul(a.x())))
                .shape(a -> List.of(Tensor.meta(a.x()), Tensor.meta(a.x())))
                .autograd((a, out) -> a.x(), backward);
    }

    private static Tensor first(Tensor x, Tensor g) {
        return x.mul(2).mul(g);
    }

    private static Tensor second(Tensor x, Tensor g) {
        return x.mul(x).mul(3).mul(g);
    }

    @Test
    void onlyACombinationOfOutputs() {
        Op<X, List<Tensor>> op = powers((c, x, g) -> {
            Tensor a = c.orZeros(g.get(0), 0);
            Tensor b = c.orZeros(g.get(1), 1);
            boolean both = a.abs().sum().item() > 0 && b.abs().sum().item() > 0;
            return Grads.of("x", both ? first(x, a) : first(x, a).add(second(x, b)));
        });
        found(op, x(), "gradients", "a random combination of outputs");
    }

    @Test
    void absentGradients() {
        found(
                powers((c, x, g) -> Grads.of("x", first(x, g.get(0)).add(second(x, g.get(1))))),
                x(),
                "gradients",
                "an absent gradient of output 0 gives another result than zeros: it throws SchemaException",
                "argument 'y' is null");
        found(
                powers((c, x, g) -> Grads.of(
                        "x",
                        g.get(1) == null
                                ? first(x, g.get(0)).mul(2)
                                : first(x, c.orZeros(g.get(0), 0)).add(second(x, g.get(1))))),
                x(),
                "gradients",
                "an absent gradient of output 1 gives another result than zeros");
    }

    @Test
    void incomingGradientsInOtherLayouts() {
        Op<X, Tensor> dense = squareBackward((c, x, g) -> {
            int base = Elements.of(g).byteOffset();
            return Grads.of("x", filled(g, i -> 2 * Elements.of(x).getDouble(i) * raw(g, base, i)));
        });
        found(dense, x(), "gradients", "a strided incoming gradient gives another result than a dense one");
        Op<X, Tensor> rows = squareBackward((c, x, g) -> {
            long step = g.layout().stride(g.rank() - 1); // as if columns were the only ones to be apart
            int base = Elements.of(g).byteOffset();
            boolean expanded =
                    g.rank() < 2 || g.layout().stride(0) == 0 || g.layout().stride(0) == step * g.size(1);
            return Grads.of(
                    "x",
                    expanded
                            ? x.mul(2).mul(g)
                            : filled(g, i -> 2 * Elements.of(x).getDouble(i) * raw(g, base, i)));
        });
        found(rows, x(), "gradients", "a transposed incoming gradient gives another result");
    }

    // ---------------------------------------------------------------- sizes, dtypes, layouts, what is wanted

    @Test
    void rightAtTheSizeOfTheSampleOnly() {
        Op<X, Tensor> op = Op.define("planted::mean", X.class, Tensor.class)
                .compose(a -> a.x().mean())
                .shape(a -> Tensor.meta(a.x(), dev.merapi.types.Shape.of()))
                .autograd(
                        (a, out) -> a.x(),
                        (c, x, g) -> Grads.of("x", g.div(6.0).expand(x.shape().toArray())));
        found(op, x(), "gradients at other sizes", "with inputs [5, 7]", "disagree with finite differences");
    }

    @Test
    void aGradientThatNeedsTheOptionalInput() {
        Op<XBias, Tensor> op = Op.define("planted::biased", XBias.class, Tensor.class)
                .compose(a -> a.bias() == null ? a.x().mul(2) : a.x().mul(2).add(a.bias()))
                .shape(a -> Tensor.meta(a.x()))
                .autograd(
                        (a, out) -> a,
                        (c, a, g) -> Grads.of("x", g.mul(a.bias() == null ? 1 : 2))
                                .and("bias", a.bias() == null ? null : g));
        found(op, new XBias(leaf(2, 3), leaf(2, 3)), "gradients at other sizes", "with inputs [2, 3]: ");
    }

    @Test
    void rightInFloat64Only() {
        for (DType dtype : new DType[] {DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16}) {
            Op<X, Tensor> op = squareBackward((c, x, g) ->
                    Grads.of("x", x.mul(x.dtype() == dtype ? 3 : 2).mul(g)));
            found(op, x(), "gradients in other dtypes", "in " + dtype + ": gradient of x");
        }
    }

    @Test
    void rightOnlyWhenAllAreWanted() {
        Op<XY, Tensor> op = product((c, a, g) -> Grads.of("x", c.needs("x") ? g.mul(a.y()) : null)
                .and("y", c.needs("y") ? g.mul(c.needs("x") ? a.x() : a.y()) : null));
        found(op, xy(), "gradients of some inputs", "when only y wants a gradient: gradient of y[");
    }

    @Test
    void savedTensorsInOtherLayouts() {
        Op<X, Tensor> op = squareBackward((c, x, g) -> {
            int base = Elements.of(x).byteOffset();
            Tensor factor =
                    filled(x, i -> x.dtype().byteSize() < 4 ? 2 * Elements.of(x).getDouble(i) : 2 * raw(x, base, i));
            return Grads.of("x", factor.mul(g));
        });
        found(op, x(), "gradients of other layouts", "on transposed inputs: gradient of x[");
    }

    // ---------------------------------------------------------------- kernels and devices

    @Test
    void aBackwardKernelBesideARightFormula() {
        Op<X, Tensor> op = squareBackward(SQUARE_BACKWARD)
                .backward(
                        DeviceType.CPU,
                        Tensor.class,
                        (c, x, g) -> Grads.of("x", x.mul(3).mul(g)));
        found(
                op,
                x(),
                "backward kernel and formula agree",
                "the backward kernel of cpu, beside the formula: gradient of x[");
        found(op, x(), "gradients", "disagree with finite differences");
        Op<X, Tensor> far = squareBackward(SQUARE_BACKWARD)
                .backward(TOY, Tensor.class, (c, x, g) -> Grads.of("x", x.mul(3).mul(g)));
        found(far, x(), "gradients on toy", "disagree with finite differences");
    }

    /** No float64: differences are taken in float32, which the report says; and where that is not possible either. */
    @Test
    void kernelsOfNarrowDtypes() {
        X single = new X(values(2, 3).to(DType.FLOAT32).detach().requiresGrad(true));
        found(narrow(DType.FLOAT32, 2.02), single, "gradients", "disagree with finite differences");
        OpCheck.Report right =
                OpCheck.of(narrow(DType.FLOAT32, 2)).samples(single).run().orThrow();
        assertThat(line(right, "gradients").toString())
                .startsWith("passed")
                .contains("in float32, as the op does not take float64");
        assertThat(line(right, "second derivatives").toString())
                .startsWith("not checked")
                .contains("float32 is too coarse");
        X half = new X(values(2, 3).to(DType.FLOAT16).detach().requiresGrad(true));
        OpCheck.Report blind =
                OpCheck.of(narrow(DType.FLOAT16, 2.5)).samples(half).run();
        assertThat(line(blind, "gradients").outcome()).isEqualTo(Outcome.NOT_CHECKED);
        assertThat(blind.toString())
                .contains("not checked  sample 0: gradients, because the op takes neither float64 nor float32");
    }

    private static Op<X, Tensor> narrow(DType only, double factor) {
        return Op.define("planted::narrow", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE, only)
                .autograd(
                        (a, out) -> a.x(),
                        (c, x, g) -> Grads.of("x", x.mul(factor).mul(g)));
    }

    @Test
    void aGradientThatNobodyAskedFor() {
        XY sample = new XY(leaf(2, 3), values(2, 3));
        OpCheck.Report report = OpCheck.of(
                        product((c, a, g) -> Grads.of("x", g.mul(a.y())).and("y", null)))
                .samples(sample)
                .run()
                .orThrow();
        assertThat(line(report, "gradients").detail()).contains("not of y, which the sample does not ask for");
    }
}
