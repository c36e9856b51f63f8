// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.CheckFailedException;
import dev.merapi.check.GradCheck;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

class GradCheckTest {
    public record X(Tensor x) {}

    /** y = x², with whatever the gradient 2·x·g is turned into. */
    private static Op<X, Tensor> square(BinaryOperator<Tensor> gradient) {
        return Op.define("test::square", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Elements x = Elements.of(a.x());
                    Elements y = Elements.of(out);
                    for (long i = 0; i < x.numel(); i++) {
                        y.setDouble(i, x.getDouble(i) * x.getDouble(i));
                    }
                })
                .autograd((a, out) -> a.x(), (context, x, g) -> Grads.of("x", gradient.apply(x, g)));
    }

    private static Op<X, Tensor> squareTimes(UnaryOperator<Tensor> wrong) {
        return square((x, g) -> wrong.apply(x.mul(2).mul(g)));
    }

    private static Tensor input(int n) {
        return Tensor.of(new SplittableRandom(n).doubles(n, 0.5, 2).toArray()).requiresGrad(true);
    }

    private static Tensor withFactorAt(Tensor g, long element, double factor) {
        Tensor copy = g.copy();
        Elements e = Elements.of(copy);
        e.setDouble(element, e.getDouble(element) * factor);
        return copy;
    }

    private static GradCheck check(Op<X, Tensor> op, Tensor x) {
        return GradCheck.of(in -> op.call(new X(in.get(0))), List.of(x));
    }

    @Test
    void rightGradientsPassInBothModes() {
        Op<X, Tensor> op = square((x, g) -> x.mul(2).mul(g));
        check(op, input(7)).slow().run().orThrow();
        check(op, input(301)).fast().run().orThrow();
    }

    @Test
    void fastModeFindsADroppedLastEntryAtEverySize() {
        for (int n = 2; n <= 1000; n += n < 40 ? 1 : 53) {
            int last = n - 1;
            Op<X, Tensor> op = squareTimes(g -> withFactorAt(g, last, 0));
            assertThat(check(op, input(n)).fast().run().ok()).as("size %d", n).isFalse();
        }
    }

    @Test
    void fastModeFindsASingleWrongEntryAnywhere() {
        SplittableRandom random = new SplittableRandom(5);
        for (int k = 0; k < 20; k++) {
            int n = random.nextInt(2, 1001);
            int at = random.nextInt(n);
            Op<X, Tensor> op = squareTimes(g -> withFactorAt(g, at, 0.5));
            assertThat(check(op, input(n)).fast().seed(k).run().ok())
                    .as("entry %d of %d", at, n)
                    .isFalse();
        }
    }

    @Test
    void aMillionthOffIsFoundAndATenMillionthIsNot() {
        for (int n : new int[] {3, 50, 700}) {
            assertThat(check(squareTimes(g -> g.mul(1 + 1e-6)), input(n)).run().ok())
                    .isFalse();
            check(squareTimes(g -> g.mul(1 + 1e-8)), input(n)).run().orThrow();
        }
    }

    @Test
    void reportsTheWorstElementWithBothValuesAndTheSeed() {
        Tensor x = Tensor.of(new double[] {1, 2, 3}).requiresGrad(true);
        assertThatThrownBy(() -> check(squareTimes(g -> withFactorAt(g, 1, 2)), x)
                        .seed(77)
                        .run()
                        .orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("output 0[1]")
                .hasMessageContaining("input 0[1]")
                .hasMessageContaining("analytic 8")
                .hasMessageContaining("seed: 77L");
    }

    @Test
    void findsAGradientThatIgnoresWhatComesIn() {
        Op<X, Tensor> op = square((x, g) ->
                x.mul(2).mul(g).add(g.ne(g.onesLike()).to(g.dtype()).mul(0).add(0)));
        check(op, input(4)).run().orThrow();
        Op<X, Tensor> constant = square((x, g) -> x.mul(2));
        assertThat(check(constant, input(4)).run().ok()).isFalse();
    }

    /** Right for each element of the incoming gradient alone, at any size. */
    @Test
    void findsABackwardThatIsNotLinear() {
        for (int n : new int[] {3, 40, 55, 700}) {
            Op<X, Tensor> clipped = square((x, g) -> x.mul(2).mul(g.clamp(-1, 1)));
            assertThatThrownBy(() -> check(clipped, input(n)).run().orThrow())
                    .as("size %d", n)
                    .hasMessageContaining("not linear in the incoming gradient");
            Op<X, Tensor> alone =
                    square((x, g) -> x.mul(g.ne(0.0).sum().item() > 1 ? 3 : 2).mul(g));
            assertThatThrownBy(() -> check(alone, input(n)).run().orThrow())
                    .as("size %d", n)
                    .hasMessageContaining("a random combination of outputs");
        }
    }

    @Test
    void gradientsThatAreAbsentOrNotANumberAreToldAsSuch() {
        Op<X, Tensor> forgetful = Op.define("test::square", X.class, Tensor.class)
                .compose(a -> a.x().mul(a.x()))
                .shape(a -> Tensor.meta(a.x()))
                .autograd((a, out) -> a.x(), (context, x, g) -> Grads.of("x", null));
        assertThatThrownBy(() -> check(forgetful, input(4)).run().orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("the backward gives input 0 no gradient at all");
        assertThat(GradCheck.second(in -> forgetful.call(new X(in.get(0))), List.of(input(4)))
                        .run())
                .isNotNull();
        Op<X, Tensor> divides = square((x, g) -> x.square().mul(2).div(x).mul(g));
        Tensor zero = Tensor.of(0.0, 1).requiresGrad(true);
        assertThatThrownBy(() -> check(divides, zero).run().orThrow())
                .hasMessageContaining("the backward gives NaN where the function has a derivative");
    }

    @Test
    void findsABackwardThatReadsItsGradientAsIfDense() {
        Op<X, Tensor> op = square((x, g) -> {
            Tensor result = x.mul(2);
            Elements e = Elements.of(result);
            java.nio.ByteBuffer raw = Elements.of(g).buffer();
            int base = Elements.of(g).byteOffset();
            for (int i = 0; i < e.numel(); i++) {
                e.setDouble(i, e.getDouble(i) * raw.getDouble(base + 8 * i));
            }
            return result;
        });
        assertThatThrownBy(() -> check(op, input(5)).run().orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("strided");
    }

    @Test
    void findsABackwardThatWritesIntoItsGradient() {
        Op<X, Tensor> op = square((x, g) -> g.mul_(x.mul(2)));
        assertThatThrownBy(() -> check(op, input(5)).run().orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("wrote into the gradient of output 0");
    }

    @Test
    void findsABackwardThatDiffersFromRunToRun() {
        int[] calls = {0};
        Op<X, Tensor> op = squareTimes(g -> g.mul(1 + 1e-9 * calls[0]++));
        assertThatThrownBy(() -> check(op, input(3)).run().orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("second backward");
    }

    @Test
    void aKinkIsReportedAsSuch() {
        Tensor x = Tensor.of(new double[] {1, 3e-7, -1}).requiresGrad(true);
        assertThatThrownBy(() ->
                        GradCheck.of(in -> in.get(0).relu(), List.of(x)).run().orThrow())
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("kink");
    }

    @Test
    void aConstantOutputIsFineAndALostGradientIsNot() {
        Tensor x = input(3);
        assertThat(GradCheck.of(in -> in.get(0).detach().mul(2), List.of(x))
                        .run()
                        .ok())
                .isFalse();
        GradCheck.of(in -> in.get(0).detach().mul(0).add(in.get(0)), List.of(x))
                .run()
                .orThrow();
    }

    /** z = (x², x³) as one op; the second gradient may be absent. */
    private static Op<X, List<Tensor>> powers(boolean careless) {
        return Op.define("test::powers", X.class, Result.tensors())
                .compose(a -> List.of(a.x().mul(a.x()), a.x().mul(a.x()).mul(a.x())))
                .shape(a -> List.of(Tensor.meta(a.x()), Tensor.meta(a.x())))
                .autograd((a, out) -> a.x(), (context, x, g) -> {
                    Tensor total = null;
                    if (g.get(0) != null) {
                        total = x.mul(2).mul(g.get(0));
                    }
                    if (g.get(1) != null) {
                        Tensor part = x.mul(x).mul(3).mul(g.get(1));
                        total = total == null ? part : total.add(part);
                    } else if (careless) {
                        total = total == null ? null : total.mul(0.5);
                    }
                    return Grads.of("x", total);
                });
    }

    @Test
    void absentGradientsOfSingleOutputsAreTried() {
        GradCheck.ofMany(in -> powers(false).call(new X(in.get(0))), List.of(input(3)))
                .run()
                .orThrow();
        assertThatThrownBy(() -> GradCheck.ofMany(in -> powers(true).call(new X(in.get(0))), List.of(input(3)))
                        .run()
                        .orThrow())
                .hasMessageContaining("absent gradient of output 1");
    }

    @Test
    void secondDerivativesAreChecked() {
        Tensor x = input(4);
        Op<X, Tensor> right = square((in, g) -> in.mul(2).mul(g));
        GradCheck.second(in -> right.call(new X(in.get(0))), List.of(x)).run().orThrow();
        Op<X, Tensor> detached = square((in, g) -> in.detach().mul(2).mul(g));
        assertThat(GradCheck.of(in -> detached.call(new X(in.get(0))), List.of(x))
                        .run()
                        .ok())
                .isTrue();
        assertThat(GradCheck.second(in -> detached.call(new X(in.get(0))), List.of(x))
                        .run()
                        .ok())
                .isFalse();
    }

    @Test
    void functionsThatReturnNothingAreRefused() {
        assertThatThrownBy(() -> GradCheck.of(in -> null, List.of(input(3))).run())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("returns null");
        assertThatThrownBy(() -> GradCheck.second(in -> null, List.of(input(3))).run())
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("returns null");
    }

    @Test
    void inputsThatCannotBeCheckedAreRefused() {
        assertThatThrownBy(() ->
                        GradCheck.of(in -> in.get(0), List.of(Tensor.of(1f).requiresGrad(true))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("float64");
        assertThatThrownBy(() -> GradCheck.of(in -> in.get(0), List.of(Tensor.of(new double[] {1}))))
                .hasMessageContaining("no input requires a gradient");
    }

    @Test
    void emptyAndScalarInputsPass() {
        Tensor empty = Tensor.of(new double[0]).requiresGrad(true);
        GradCheck.of(in -> in.get(0).mul(in.get(0)), List.of(empty)).run().orThrow();
        Tensor scalar = Tensor.scalar(1.5).requiresGrad(true);
        GradCheck.of(in -> in.get(0).sin(), List.of(scalar)).run().orThrow();
        GradCheck.second(in -> in.get(0).sin(), List.of(scalar)).run().orThrow();
    }

    @Test
    void transposedInputsKeepTheirLayoutAndTheGeneratorItsState() {
        Tensor x =
                Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3).transpose(0, 1).requiresGrad(true);
        boolean[] seen = {false};
        long before = dev.merapi.random.Generator.global().offset();
        GradCheck.of(
                        in -> {
                            dev.merapi.random.Generator.global().take(3);
                            seen[0] |= !in.get(0).isContiguous();
                            return in.get(0).mul(in.get(0));
                        },
                        List.of(x))
                .run()
                .orThrow();
        assertThat(seen[0]).isTrue();
        assertThat(dev.merapi.random.Generator.global().offset()).isEqualTo(before);
    }

    /** Rounding at this size is some thousandths: much beside 0, nothing beside the derivatives. A kink is found all the same. */
    @Test
    void largeValuesAreNoKinks() {
        Tensor x = Tensor.of(1e8, 2e8).requiresGrad(true);
        GradCheck.of(in -> in.get(0).square(), List.of(x)).slow().run().orThrow();
        Tensor kink = Tensor.of(0.0, 1e3).requiresGrad(true);
        GradCheck.Report report =
                GradCheck.of(in -> in.get(0).relu(), List.of(kink)).slow().run();
        assertThat(report.ok()).isFalse();
    }

    @Test
    void gradientsOfLeavesAreNotTouched() {
        Tensor x = input(3);
        GradCheck.of(in -> in.get(0).mul(2), List.of(x)).run().orThrow();
        assertThat(x.grad()).isNull();
        assertThat(Autograd.isGradEnabled()).isTrue();
        assertThat(x.shape()).isEqualTo(Shape.of(3));
        assertThat(x.device().type()).isEqualTo(DeviceType.CPU);
    }
}
