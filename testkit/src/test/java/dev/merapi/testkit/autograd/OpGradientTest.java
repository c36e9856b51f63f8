// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.check.GradCheck;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.BackwardContext;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Gradient formulas of ops: registration, what is saved, what formulas return, backward kernels, higher orders. */
class OpGradientTest {
    public record X(Tensor x) {}

    public record XY(Tensor x, @Nullable Tensor y) {}

    private static Op<X, Tensor> forward(String name) {
        return Op.define(name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        double v = Elements.of(a.x()).getDouble(i);
                        Elements.of(out).setDouble(i, v * v);
                    }
                });
    }

    private static Tensor leaf(double... values) {
        return Tensor.of(values).requiresGrad(true);
    }

    // ---------------------------------------------------------------- not implemented, half registered

    @Test
    void withoutABackwardTheCallRefusesBeforeAnyKernelIsLookedUp() {
        Op<X, Tensor> op = Op.define("test::bare", X.class, Tensor.class).shape(a -> Tensor.meta(a.x()));
        assertThatThrownBy(() -> op.call(new X(leaf(1))))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("test::bare: autograd has not been implemented")
                .hasMessageContaining("float64[1] cpu (requires grad)")
                .hasMessageContaining("noGrad");
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1.0)))).isInstanceOf(MissingKernelException.class);
        assertThatThrownBy(() -> Autograd.noGrad((Supplier<Tensor>) () -> op.call(new X(leaf(1)))))
                .isInstanceOf(MissingKernelException.class);
    }

    @Test
    void withoutABackwardItRunsWhereNoGradientIsWanted() {
        Op<X, Tensor> op = forward("test::square");
        assertThat(op.call(new X(Tensor.of(3.0))).item()).isEqualTo(9);
        Tensor x = leaf(3);
        assertThat(Autograd.noGrad(() -> op.call(new X(x))).requiresGrad()).isFalse();
        try (Autograd.Mode mode = Autograd.inference()) {
            assertThat(op.call(new X(x)).item()).isEqualTo(9);
        }
        assertThat(op.nonDifferentiable().call(new X(x)).requiresGrad()).isFalse();
    }

    @Test
    void halfAPairComplainsOnlyWhenAGradientIsWanted() {
        Op<X, Tensor> onlySave = forward("test::half");
        onlySave.saveForBackward((a, out) -> a.x());
        assertThat(onlySave.call(new X(Tensor.of(2.0))).item()).isEqualTo(4);
        assertThatThrownBy(() -> onlySave.call(new X(leaf(2))))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("saveForBackward is registered at OpGradientTest.java:")
                .hasMessageContaining("no backward");
        Op<X, Tensor> onlyBackward = forward("test::otherhalf").backward(X.class, (c, s, g) -> Grads.of("x", g));
        assertThat(onlyBackward.call(new X(Tensor.of(2.0))).item()).isEqualTo(4);
        assertThatThrownBy(() -> onlyBackward.call(new X(leaf(2))))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("a backward is registered at OpGradientTest.java:");
    }

    @Test
    void aBackwardForOtherDevicesOnlyIsNoneAndShowsAtTheCall() {
        Op<X, Tensor> op = forward("test::elsewhere");
        op.saveForBackward((a, out) -> a.x()).backward(DeviceType.CUDA, (c, x, g) -> Grads.of("x", g));
        assertThatThrownBy(() -> op.call(new X(leaf(2))))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("has no backward for cpu");
    }

    // ---------------------------------------------------------------- saving

    @Test
    void savingHappensOncePerRecordedCallAndNeverInInference() {
        int[] saves = {0};
        Op<X, Tensor> op = forward("test::saves")
                .autograd(
                        (a, out) -> {
                            saves[0]++;
                            return a.x();
                        },
                        (c, x, g) -> Grads.of("x", g.mul(x).mul(2)));
        op.call(new X(Tensor.of(1.0)));
        Autograd.noGrad(() -> op.call(new X(leaf(1))));
        assertThat(saves[0]).isZero();
        Tensor y = op.call(new X(leaf(1)));
        assertThat(saves[0]).isOne();
        Autograd.backward(y, null, Graph.RETAIN);
        Autograd.backward(y);
        assertThat(saves[0]).isOne();
    }

    public record Tree(
            List<Tensor> list, Map<String, Object> map, Optional<Tensor> maybe, Tensor[] array, Object any) {}

    @Test
    void anyTreeOfTensorsAndValuesIsSaved() {
        Object opaque = new Object();
        Op<X, Tensor> op = forward("test::tree")
                .autograd(
                        (a, out) -> new Tree(
                                Arrays.asList(a.x(), null),
                                Map.of("out", out, "n", 3),
                                Optional.of(a.x()),
                                new Tensor[] {out},
                                opaque),
                        (c, s, g) -> {
                            assertThat(s.any()).isSameAs(opaque);
                            assertThat(s.map().get("n")).isEqualTo(3);
                            assertThat(s.list().get(1)).isNull();
                            assertThat(((Tensor) s.map().get("out")).item()).isEqualTo(9);
                            assertThat(s.array()[0].item()).isEqualTo(9);
                            return Grads.of(
                                    "x",
                                    g.mul(s.list().get(0)).add(g.mul(s.maybe().get())));
                        });
        Tensor x = leaf(3);
        Autograd.backward(op.call(new X(x)));
        assertThat(x.grad().item()).isEqualTo(6);
    }

    @Test
    void savedTensorsAreFreedByBackwardAndThenItSaysSo() {
        Tensor x = leaf(3);
        Tensor y = x.mul(x);
        Autograd.backward(y);
        assertThatThrownBy(() -> Autograd.backward(y))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("freed by an earlier backward")
                .hasMessageContaining("Graph.RETAIN");
    }

    @Test
    void aSavedTensorThatWasWrittenToIsAnErrorThatNamesTheWriter() {
        Tensor x = leaf(3, 4);
        Tensor a = x.mul(2);
        Tensor y = a.mul(a);
        a.slice(0, 0, 1).add_(Tensor.of(1.0));
        assertThatThrownBy(() -> Autograd.backward(y.sum()))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("merapi::mul")
                .hasMessageContaining("saved at version 0")
                .hasMessageContaining("last in-place op: merapi::");
    }

    @Test
    void inferenceTensorsCannotBeSaved() {
        Tensor made;
        try (Autograd.Mode mode = Autograd.inference()) {
            made = Tensor.of(2.0).mul(1);
        }
        assertThat(made.isInference()).isTrue();
        assertThatThrownBy(() -> leaf(3).mul(made))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("inference");
        assertThatThrownBy(() -> made.requiresGrad(true)).isInstanceOf(GradientException.class);
    }

    // ---------------------------------------------------------------- what a formula returns

    private static Op<XY, Tensor> returning(Supplier<@Nullable Grads> grads) {
        return Op.define("test::grads", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1))
                .autograd((a, out) -> null, (c, s, g) -> grads.get());
    }

    private static void refuses(Supplier<@Nullable Grads> grads, String... texts) {
        assertThatThrownBy(() -> Autograd.backward(returning(grads).call(new XY(leaf(1), null))))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("test::grads")
                .satisfies(e -> assertThat(e.getMessage()).contains(texts));
    }

    @Test
    void gradientsAreValidatedByName() {
        Tensor g = Tensor.of(1.0);
        refuses(() -> null, "returned null", "registered at: OpGradientTest.java:");
        refuses(() -> Grads.of("x", g), "gave gradients for [x], but the tensor arguments are [x, y]", "exactly once");
        refuses(() -> Grads.of("x", g).and("z", g), "[x, z]");
        refuses(() -> Grads.of("x", g).and("y", null).and("z", g), "[x, y, z]");
        refuses(() -> Grads.of("x", g).and("x", g).and("y", null), "[x, x, y]");
        refuses(() -> Grads.ofList("x", List.of(g)).and("y", null), "gave a list as the gradient of 'x'");
        refuses(() -> Grads.of("x", g).and("y", g), "'y', which was absent in the forward call");
        refuses(() -> Grads.of("x", Tensor.of(1L)).and("y", null), "gradients are floating");
    }

    @Test
    void gradientsThatDoNotFitAreRefusedAndBroadcastOnesAreSummed() {
        Op<XY, Tensor> op = Op.define("test::fit", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), Shape.SCALAR))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1))
                .autograd(
                        (a, out) -> null,
                        (c, s, g) ->
                                Grads.of("x", Tensor.ones(DType.FLOAT32, 4, 3)).and("y", null));
        Tensor x = leaf(1, 2, 3);
        Autograd.backward(op.call(new XY(x, null)));
        assertThat(x.grad().toDoubleArray()).containsExactly(4, 4, 4);
        assertThat(x.grad().dtype()).as("converted").isEqualTo(DType.FLOAT64);
        assertThatThrownBy(() -> Autograd.backward(op.call(new XY(leaf(1, 2), null))))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("gradient: float32[4, 3] cpu")
                .hasMessageContaining("input: float64[2] cpu");
    }

    public record Listed(List<Tensor> xs, Tensor y) {}

    private static Op<Listed, Tensor> sumOfAll(Supplier<Grads> wrong) {
        return Op.define("test::sumall", Listed.class, Tensor.class)
                .shape(a -> Tensor.meta(a.y()))
                .reference((a, out) -> {
                    double sum = Elements.of(a.y()).getDouble(0);
                    for (Tensor x : a.xs()) {
                        sum += Elements.of(x).getDouble(0);
                    }
                    Elements.of(out).setDouble(0, sum);
                })
                .autograd((a, out) -> a.xs().size(), (c, n, g) -> {
                    Grads w = wrong.get();
                    if (w != null) {
                        return w;
                    }
                    List<Tensor> all = new ArrayList<>();
                    for (int i = 0; i < n; i++) {
                        all.add(c.needs("xs", i) ? g : null);
                    }
                    return Grads.ofList("xs", all).and("y", c.needs("y") ? g : null);
                });
    }

    @Test
    void listsTakeAListOfGradients() {
        Tensor a = leaf(1);
        Tensor b = Tensor.of(2.0);
        Tensor c = leaf(3);
        Autograd.backward(sumOfAll(() -> null).call(new Listed(List.of(a, b, c), leaf(4))));
        assertThat(a.grad().item()).isEqualTo(1);
        assertThat(b.grad()).isNull();
        assertThat(c.grad().item()).isEqualTo(1);
        Tensor g = Tensor.of(1.0);
        for (Grads wrong : List.of(
                Grads.ofList("xs", List.of(g)).and("y", g),
                Grads.of("xs", g).and("y", g),
                Grads.of("xs", null).and("y", g))) {
            assertThatThrownBy(() ->
                            Autograd.backward(sumOfAll(() -> wrong).call(new Listed(List.of(a, b, c), leaf(4)))))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("'xs'");
        }
        Tensor y = leaf(4);
        Autograd.backward(sumOfAll(() -> null).call(new Listed(List.of(), y)));
        assertThat(y.grad().item()).isEqualTo(1);
    }

    // ---------------------------------------------------------------- what a formula is told

    @Test
    void neededGradientsAreThoseThatThisPassAsksFor() {
        List<String> asked = new ArrayList<>();
        Op<XY, Tensor> op = Op.define("test::needs", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1))
                .autograd((a, out) -> null, (c, s, g) -> {
                    asked.add((c.needs("x") ? "x" : "") + (c.needs("y") ? "y" : "") + c.neededSlots());
                    return Grads.of("x", c.needs("x") ? g : null).and("y", c.needs("y") ? g : null);
                });
        Tensor x = leaf(1);
        Tensor y = leaf(2);
        Autograd.backward(op.call(new XY(x, y)));
        Autograd.backward(op.call(new XY(x, Tensor.of(2.0))));
        Autograd.grad(op.call(new XY(x, y)), List.of(y));
        Autograd.grad(op.call(new XY(x.mul(2), y)), List.of(x));
        assertThat(asked).containsExactly("xy{0, 1}", "x{0}", "y{1}", "x{0}");
        assertThatThrownBy(() -> Autograd.backward(Op.define("test::asks", X.class, Tensor.class)
                        .compose(a -> a.x())
                        .shape(a -> Tensor.meta(a.x()))
                        .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", c.needs("nosuch") ? g : null))
                        .call(new X(leaf(1)))))
                .hasMessageContaining("asks about argument 'nosuch'");
    }

    @Test
    void anAbsentGradientIsAValueAndZerosAreMadeOnRequest() {
        List<Boolean> present = new ArrayList<>();
        Op<X, List<Tensor>> op = Op.define("test::two", X.class, Result.tensors())
                .shape(a -> List.of(Tensor.meta(a.x()), Tensor.meta(a.x(), Shape.of(2))))
                .reference((a, out) -> {})
                .autograd((a, out) -> null, (c, s, g) -> {
                    present.add(g.get(0) != null);
                    present.add(g.get(1) != null);
                    Tensor zeros = c.orZeros(g.get(1), 1);
                    assertThat(zeros.toDoubleArray()).containsExactly(0, 0);
                    return Grads.of("x", g.get(0));
                });
        Tensor x = leaf(1);
        Autograd.backward(op.call(new X(x)).get(0));
        assertThat(present).containsExactly(true, false);
        assertThat(x.grad().item()).isEqualTo(1);
    }

    @Test
    void aNullGradientLeavesTheLeafAlone() {
        Op<X, Tensor> op = forward("test::none").autograd((a, out) -> null, (c, s, g) -> Grads.of("x", null));
        Tensor x = leaf(1);
        Autograd.backward(op.call(new X(x)));
        assertThat(x.grad()).isNull();
        assertThatThrownBy(() -> Autograd.grad(op.call(new X(x)), List.of(x)))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("was not used in the graph");
        assertThat(Autograd.grad(List.of(op.call(new X(x))), List.of(x), null, Graph.FREE, true)
                        .get(0))
                .isNull();
    }

    public record Extremes(Tensor values, Tensor indices, List<Tensor> parts, long count) {}

    @Test
    void outputsAreDifferentiableByDeclarationAndDtype() {
        Op<X, Extremes> op = Op.define("test::extremes", X.class, Extremes.class)
                .shape(a -> new Extremes(
                        Tensor.meta(a.x()),
                        Tensor.meta(a.x(), DType.INT64),
                        List.of(Tensor.meta(a.x()), Tensor.meta(a.x())),
                        7))
                .reference((a, out) -> {})
                .differentiableOutputs(true, true, false)
                .autograd((a, out) -> null, (c, s, g) -> {
                    assertThat(g.count()).isEqualTo(7);
                    assertThat(g.indices()).isNull();
                    assertThat(g.parts()).containsExactly(null, null);
                    return Grads.of("x", g.values());
                });
        Tensor x = leaf(1);
        Extremes out = op.call(new X(x));
        assertThat(out.values().requiresGrad()).isTrue();
        assertThat(out.indices().requiresGrad()).isFalse();
        assertThat(out.parts()).noneMatch(Tensor::requiresGrad);
        assertThat(out.count()).isEqualTo(7);
        Autograd.backward(out.values());
        assertThat(x.grad().item()).isEqualTo(1);
    }

    // ---------------------------------------------------------------- backward kernels

    private static Op<X, Tensor> withKernel(List<String> ran) {
        Op<X, Tensor> op = forward("test::kernels");
        return op.saveForBackward((a, out) -> a.x())
                .backward((c, x, g) -> {
                    ran.add("formula");
                    return Grads.of("x", g.mul(x).mul(2));
                })
                .backward(DeviceType.CPU, (c, x, g) -> {
                    ran.add("kernel");
                    Tensor result = g.zerosLike();
                    for (long i = 0; i < g.numel(); i++) {
                        Elements.of(result)
                                .setDouble(
                                        i,
                                        2
                                                * Elements.of(x).getDouble(i)
                                                * Elements.of(g).getDouble(i));
                    }
                    return Grads.of("x", result);
                })
                .and();
    }

    @Test
    void aBackwardKernelIsPreferredAndTheFormulaServesHigherOrders() {
        List<String> ran = new ArrayList<>();
        Tensor x = leaf(3);
        Autograd.backward(withKernel(ran).call(new X(x)));
        assertThat(x.grad().item()).isEqualTo(6);
        Tensor first = Autograd.grad(List.of(withKernel(ran).call(new X(x))), List.of(x), null, Graph.CREATE, false)
                .get(0);
        assertThat(Autograd.grad(first, List.of(x)).get(0).item()).isEqualTo(2);
        assertThat(ran).containsExactly("kernel", "formula");
    }

    @Test
    void aBackwardKernelAloneGivesFirstOrderAndAnErrorForTheSecond() {
        Op<X, Tensor> op = forward("test::once");
        op.saveForBackward((a, out) -> a.x())
                .backward(DeviceType.CPU, (c, x, g) -> Grads.of("x", g.mul(x).mul(2)));
        Tensor x = leaf(3);
        Tensor first = Autograd.grad(List.of(op.call(new X(x))), List.of(x), null, Graph.CREATE, false)
                .get(0);
        assertThat(first.item()).isEqualTo(6);
        assertThatThrownBy(() -> Autograd.grad(first, List.of(x)))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("second derivative")
                .hasMessageContaining("test::once");
    }

    @Test
    void compositionIsTheHigherOrderRuleBesideAKernelThatSavesSomethingElse() {
        Op<X, Tensor> op = forward("test::composed");
        op.saveForBackward((a, out) -> Map.of("twice", Autograd.noGrad(() -> a.x().mul(2))))
                .backward(DeviceType.CPU, (c, s, g) -> Grads.of("x", g.mul(s.get("twice"))));
        op.compose(a -> a.x().mul(a.x()));
        Tensor x = leaf(3);
        Autograd.backward(op.call(new X(x)));
        assertThat(x.grad().item()).isEqualTo(6);
        GradCheck.of(in -> op.call(new X(in.get(0))), List.of(leaf(1, 2))).run().orThrow();
        GradCheck.second(in -> op.call(new X(in.get(0))), List.of(leaf(1, 2)))
                .run()
                .orThrow();
    }

    // ---------------------------------------------------------------- higher orders

    /** z = x², L = z², x = 3: 2x computed inside the op and saved as a constant gave 72 instead of 108. */
    @Test
    void aSavedIntermediateIsAnErrorInTheSecondDerivativeAndNeverAWrongNumber() {
        Op<X, Tensor> op = forward("test::constant")
                .autograd(
                        (a, out) -> Autograd.noGrad(() -> a.x().mul(2)), (c, twice, g) -> Grads.of("x", g.mul(twice)));
        Tensor x = leaf(3);
        Tensor z = op.call(new X(x));
        Tensor first = Autograd.grad(List.of(z.mul(z)), List.of(x), null, Graph.CREATE, false)
                .get(0);
        assertThat(first.item()).isEqualTo(108);
        assertThatThrownBy(() -> Autograd.grad(first, List.of(x)))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("neither an input nor an output")
                .hasMessageContaining("compose");
    }

    @Test
    void anIntermediateMadeWithRecordedOpsIsDifferentiatedRight() {
        Op<X, Tensor> op = forward("test::recorded")
                .autograd((a, out) -> a.x().mul(2), (c, twice, g) -> Grads.of("x", g.mul(twice)));
        Tensor x = leaf(3);
        Tensor z = op.call(new X(x));
        Tensor first = Autograd.grad(List.of(z.mul(z)), List.of(x), null, Graph.CREATE, false)
                .get(0);
        assertThat(Autograd.grad(first, List.of(x)).get(0).item()).isEqualTo(108);
    }

    static final class Waves {
        static final Op<X, Tensor> SIN = wave("test::sin", Math::sin)
                .autograd((a, out) -> a.x(), (c, x, g) -> Grads.of("x", g.mul(Waves.COS.call(new X(x)))));
        static final Op<X, Tensor> COS = wave("test::cos", Math::cos)
                .autograd(
                        (a, out) -> a.x(),
                        (c, x, g) -> Grads.of("x", g.mul(SIN.call(new X(x))).neg()));

        private static Op<X, Tensor> wave(String name, java.util.function.DoubleUnaryOperator f) {
            return Op.define(name, X.class, Tensor.class)
                    .shape(a -> Tensor.meta(a.x()))
                    .reference((a, out) -> {
                        for (long i = 0; i < out.numel(); i++) {
                            Elements.of(out)
                                    .setDouble(
                                            i,
                                            f.applyAsDouble(Elements.of(a.x()).getDouble(i)));
                        }
                    });
        }
    }

    @Test
    void opsThatCallEachOtherInBackwardGiveFourDerivatives() {
        Tensor x = leaf(0.5);
        Tensor y = Waves.SIN.call(new X(x));
        double[] expected = {0.479425538604, 0.877582561890, -0.479425538604, -0.877582561890, 0.479425538604};
        for (int order = 0; order < expected.length; order++) {
            assertThat(y.item()).as("order %d", order).isCloseTo(expected[order], within(1e-12));
            y = order + 1 < expected.length
                    ? Autograd.grad(List.of(y), List.of(x), null, Graph.CREATE, false)
                            .get(0)
                    : y;
        }
    }

    @Test
    void theContextSaysWhetherAGraphIsCreated() {
        List<Boolean> created = new ArrayList<>();
        List<BackwardContext> contexts = new ArrayList<>();
        Op<X, Tensor> op = forward("test::creates").autograd((a, out) -> a.x(), (c, x, g) -> {
            created.add(c.createGraph());
            assertThat(Autograd.isGradEnabled()).isEqualTo(c.createGraph());
            contexts.add(c);
            return Grads.of("x", g.mul(x).mul(2));
        });
        Tensor x = leaf(3);
        Autograd.grad(List.of(op.call(new X(x))), List.of(x), null, Graph.CREATE, false);
        Autograd.backward(op.call(new X(x)));
        assertThat(created).containsExactly(true, false);
        assertThat(contexts.get(0).outputMeta(0).describe()).isEqualTo("float64[1] cpu");
    }

    @Test
    void anArgumentMadeFromAnotherIsCountedOnceWhenTheCompositionIsDifferentiated() {
        Op<XY, Tensor> op = Op.define("test::related", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out)
                        .setDouble(
                                0,
                                Elements.of(a.x()).getDouble(0)
                                        * Elements.of(a.y()).getDouble(0)))
                .backward(
                        DeviceType.CPU,
                        XY.class,
                        (context, s, g) -> Grads.of("x", g.mul(s.y())).and("y", g.mul(s.x())))
                .saveForBackward((a, out) -> a)
                .and()
                .compose(a -> a.x().mul(a.y()));
        Tensor x = leaf(3);
        Tensor y = op.call(new XY(x, x.square()));
        Tensor first =
                Autograd.grad(List.of(y), List.of(x), null, Graph.CREATE, false).get(0);
        assertThat(first.item()).isEqualTo(27); // 3x²
        assertThat(Autograd.grad(first, List.of(x)).get(0).item()).isEqualTo(18); // 6x
    }
}
