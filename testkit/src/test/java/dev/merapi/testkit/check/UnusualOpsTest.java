// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.check.OpCheck;
import dev.merapi.check.OpCheck.Outcome;
import dev.merapi.dispatch.Context;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.concurrent.atomic.DoubleAdder;
import org.junit.jupiter.api.Test;

/** Right ops of every unusual kind pass, and the report says what of them was not checked. */
class UnusualOpsTest extends Planted {
    public record Count(long n) {}

    public record Part(Tensor a, double factor) {}

    public record Nested(Part part, List<Tensor> more) {}

    public record Stats(Tensor y, Tensor norm) {}

    private static <A extends Record, R> OpCheck.Report passes(Op<A, R> op, A sample) {
        OpCheck.Report report = OpCheck.of(op).samples(List.of(sample)).run().orThrow();
        assertThat(report.toString())
                .contains(" passed, 0 failed, " + report.count(Outcome.NOT_CHECKED) + " not checked");
        return report;
    }

    private static void notChecked(OpCheck.Report report, String check, String why) {
        assertThat(line(report, check).outcome()).as(check).isEqualTo(Outcome.NOT_CHECKED);
        assertThat(line(report, check).detail()).contains(why);
    }

    @Test
    void sizesThatDependOnData() {
        Op<X, Tensor> positive = Op.define("unusual::positive", X.class, Tensor.class)
                .returningKernel(DeviceType.CPU, a -> {
                    double[] kept = java.util.Arrays.stream(a.x().toDoubleArray())
                            .filter(v -> v > 1)
                            .toArray();
                    return Tensor.of(kept, kept.length).to(a.x().dtype());
                })
                .nonDifferentiable();
        OpCheck.Report report = passes(positive, new X(values(7)));
        notChecked(report, "shape rule", "there is no shape rule");
        notChecked(report, "gradients", "declared non-differentiable");
        notChecked(report, "expected values", "nothing says what the values must be");
    }

    @Test
    void integersOnly() {
        Op<XY, Tensor> and = Op.define("unusual::and", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(
                        DeviceType.CPU,
                        (a, out) -> {
                            for (long i = 0; i < out.numel(); i++) {
                                Elements.of(out)
                                        .setLong(
                                                i,
                                                Elements.of(a.x()).getLong(i)
                                                        & Elements.of(a.y()).getLong(i));
                            }
                        },
                        DType.INT32,
                        DType.INT64)
                .nonDifferentiable();
        OpCheck.Report report = passes(and, new XY(Tensor.of(1L, 2, 3), Tensor.of(7L, 2, 4)));
        notChecked(report, "other dtypes", "there is no floating input");
    }

    @Test
    void noTensorsAtAll() {
        Op<Count, Tensor> squares = Op.define("unusual::squares", Count.class, Tensor.class)
                .device(a -> Device.CPU)
                .shape(a -> Tensor.meta(Shape.of(a.n()), DType.FLOAT32, Device.CPU))
                .kernel(DeviceType.CPU, (a, out) -> {
                    for (long i = 0; i < a.n(); i++) {
                        Elements.of(out).setDouble(i, i * i);
                    }
                })
                .nonDifferentiable();
        notChecked(passes(squares, new Count(5)), "odd sizes", "there are no tensor inputs");
    }

    @Test
    void listsOfOutputsAndRecords() {
        Op<X, List<Tensor>> rows = Op.define("unusual::rows", X.class, Result.tensors())
                .compose(a -> a.x().unbind(0).stream().map(t -> t.mul(1)).toList())
                .shape(a -> a.x().unbind(0).stream()
                        .map(t -> Tensor.meta(t.shape(), t.dtype(), t.device()))
                        .toList())
                .autograd((a, out) -> null, (c, s, g) -> {
                    List<Tensor> parts = new java.util.ArrayList<>();
                    for (int i = 0; i < g.size(); i++) {
                        parts.add(c.orZeros(g.get(i), i));
                    }
                    return Grads.of("x", Tensor.stack(parts, 0));
                });
        passes(rows, x());
        Op<Nested, Tensor> nested = Op.define("unusual::nested", Nested.class, Tensor.class)
                .compose(a -> {
                    Tensor sum = a.part().a().mul(a.part().factor());
                    for (Tensor t : a.more()) {
                        sum = sum.add(t);
                    }
                    return sum;
                });
        passes(nested, new Nested(new Part(leaf(2, 3), 0.5), List.of(leaf(2, 3), leaf(2, 3))));
    }

    @Test
    void viewsAndWritesInPlace() {
        Op<X, Tensor> diagonal = Op.define("unusual::first_column", X.class, Tensor.class)
                .view("x", a -> a.x().layout().select(1, 0));
        passes(diagonal, x());
        Op<XY, Tensor> blend = Op.define("unusual::blend_", XY.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(XY::x)
                .kernel(DeviceType.CPU, (a, out) -> {
                    for (long i = 0; i < a.x().numel(); i++) {
                        Elements x = Elements.of(a.x());
                        x.setDouble(i, (x.getDouble(i) + Elements.of(a.y()).getDouble(i)) / 2);
                    }
                })
                .autograd(
                        (a, out) -> null, (c, s, g) -> Grads.of("x", g.mul(0.5)).and("y", g.mul(0.5)));
        passes(blend, xy());
        passes(
                voidOp("unusual::halve", (a, out) -> each(a.x(), a.x(), v -> v / 2))
                        .nonDifferentiable(),
                new X(values(3)));
    }

    @Test
    void randomNumbersOfTheGenerator() {
        Op<X, Tensor> dropout = Op.define("unusual::mask", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    long offset = Context.current().generator().take(1);
                    for (long i = 0; i < out.numel(); i++) {
                        Elements.of(out)
                                .setDouble(
                                        i,
                                        (offset + i) % 3 == 0
                                                ? 0
                                                : Elements.of(a.x()).getDouble(i));
                    }
                })
                .nondeterministic()
                .nonDifferentiable();
        assertThat(line(passes(dropout, x()), "determinism").detail()).contains("up to rounding");
    }

    @Test
    void sumsInAnyOrder() {
        Op<X, Tensor> sum = Op.define("unusual::sum", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), Shape.of()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    DoubleAdder total = new DoubleAdder();
                    double[] all = a.x().toDoubleArray();
                    java.util.Arrays.stream(all).parallel().forEach(total::add);
                    Elements.of(out).setDouble(0, total.sum());
                })
                .nondeterministic()
                .autograd(
                        (a, out) -> Tensor.meta(a.x()),
                        (c, x, g) -> Grads.of("x", g.expand(x.shape().toArray())));
        passes(sum, x());
    }

    @Test
    void optionalTensorsThereOrNot() {
        Op<XBias, Tensor> op = Op.define("unusual::biased", XBias.class, Tensor.class)
                .compose(a -> a.bias() == null ? a.x().mul(2) : a.x().mul(2).add(a.bias()));
        OpCheck.Report report = passes(op, new XBias(leaf(2, 3), leaf(2, 3)));
        assertThat(line(report, "absent inputs").detail()).isEqualTo("bias");
        notChecked(passes(op, new XBias(leaf(2, 3), null)), "absent inputs", "no input of the sample is optional");
    }

    /** A backward kernel and nothing else: once differentiable, and saying so. */
    @Test
    void onceDifferentiable() {
        Op<X, Tensor> op = Op.define("unusual::once", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE)
                .saveForBackward((a, out) -> a.x())
                .backward(DeviceType.CPU, (c, x, g) -> Grads.of("x", x.mul(2).mul(g)))
                .and();
        OpCheck.Report report = passes(op, x());
        notChecked(report, "second derivatives", "refused");
        notChecked(report, "backward kernel and formula agree", "there is no formula beside the kernel");
    }

    @Test
    void compositionsAndInternalOutputs() {
        Op<X, Tensor> composite = Op.define("unusual::cube", X.class, Tensor.class)
                .compose(a -> a.x().mul(a.x()).mul(a.x()));
        notChecked(passes(composite, x()), "kernel and composition agree", "the op is a composition");
        Op<X, Stats> internal = Op.define("unusual::scaled", X.class, Stats.class)
                .internal("norm")
                .shape(a -> new Stats(Tensor.meta(a.x()), Tensor.meta(a.x(), Shape.of())))
                .kernel(DeviceType.CPU, (a, out) -> {
                    double norm = 2;
                    Elements.of(out.norm()).setDouble(0, norm);
                    each(a.x(), out.y(), v -> v * norm);
                })
                .autograd((a, out) -> out.norm(), (c, norm, g) -> Grads.of("x", g.y().mul(norm)));
        OpCheck.of(internal)
                .skip("second derivatives", "norm is a constant")
                .samples(x())
                .run()
                .orThrow();
    }

    @Test
    void wrongNamesOfChecksAreRefused() {
        for (String name : new String[] {"no such check", "", "Gradients", "gradients on nowhere"}) {
            org.assertj.core.api.Assertions.assertThatThrownBy(
                            () -> OpCheck.of(square(SQUARE)).skip(name, "why"))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("opcheck planted::square: there is no check '" + name + "'")
                    .hasMessageContaining("second derivatives");
        }
        OpCheck.Report report = OpCheck.of(square(SQUARE))
                .skip("gradients", "why not")
                .only("gradients", "gradients on toy", "determinism")
                .samples(x())
                .run();
        assertThat(report.lines()).hasSize(3);
        notChecked(report, "gradients on toy", "why not");
    }
}
