// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.backend.Backends;
import dev.merapi.check.CheckFailedException;
import dev.merapi.check.OpCheck;
import dev.merapi.check.OpCheck.Outcome;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class OpCheckTest {
    private static final DeviceType TOY = DeviceType.register("toy");

    public record X(Tensor x) {}

    public record XY(Tensor x, Tensor y) {}

    @BeforeAll
    static void toyDevice() {
        Backends.register(new JavaBackend(TOY));
    }

    private static void doubled(Tensor x, Tensor out) {
        for (long i = 0; i < out.numel(); i++) {
            Elements.of(out).setDouble(i, 2 * Elements.of(x).getDouble(i));
        }
    }

    private static Op<X, Tensor> twice(BiConsumer<Tensor, Tensor> kernel) {
        return Op.define("test::twice", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> kernel.accept(a.x(), out))
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.mul(2)));
    }

    private static X sample() {
        return new X(Tensor.of(new double[] {1, -2, 3, 4, 5, 6}, 2, 3).requiresGrad(true));
    }

    private static String outcome(OpCheck.Report report, String check) {
        return report.lines().stream()
                .filter(l -> l.check().equals(check))
                .findFirst()
                .orElseThrow()
                .toString();
    }

    private static void finds(Op<X, Tensor> op, String check, String text) {
        OpCheck.Report report = OpCheck.of(op).samples(sample()).run();
        assertThat(outcome(report, check)).startsWith("FAILED").contains(text);
        assertThatThrownBy(report::orThrow)
                .isInstanceOf(CheckFailedException.class)
                .hasMessageContaining("opcheck test::twice")
                .hasMessageContaining("reproduce:");
    }

    @Test
    void aGoodOpPassesAndTheReportIsReadable() {
        OpCheck.Report report =
                OpCheck.of(twice(OpCheckTest::doubled)).samples(sample()).run().orThrow();
        assertThat(report.count(Outcome.FAIL)).isZero();
        assertThat(report.toString()).startsWith("opcheck test::twice: ").contains("passed       sample 0: gradients");
        assertThat(outcome(report, "agrees with toy")).startsWith("passed");
        assertThat(outcome(report, "kernel and composition agree"))
                .startsWith("not checked")
                .contains("no composition");
        assertThat(outcome(report, "empty inputs")).startsWith("passed");
        assertThat(outcome(report, "0-d inputs")).startsWith("passed");
    }

    /** Held against itself a kernel says nothing. */
    @Test
    void thePlainJavaKernelIsHeldAgainstOthersOnly() {
        String check = "kernel and plain Java agree";
        assertThat(outcome(
                        OpCheck.of(twice(OpCheckTest::doubled))
                                .samples(sample())
                                .run(),
                        check))
                .startsWith("not checked")
                .contains("the only one here");
        Op<X, Tensor> other = twice(OpCheckTest::doubled).kernel(DeviceType.CPU, (a, out) -> doubled(a.x(), out));
        assertThat(outcome(OpCheck.of(other).samples(sample()).run(), check)).startsWith("passed");
        Op<X, Tensor> wrong = twice(OpCheckTest::doubled).kernel(DeviceType.CPU, (a, out) -> out.fill_(2));
        finds(wrong, check, "the plain-Java kernel");
    }

    @Test
    void findsAnUndeclaredWriteOfTheLastBit() {
        finds(
                twice((x, out) -> {
                    doubled(x, out);
                    Elements.of(x).setDouble(0, Math.nextUp(Elements.of(x).getDouble(0)));
                }),
                "writes and aliases",
                "not declared as mutated");
    }

    @Test
    void findsAnElementThatIsNotWritten() {
        finds(
                twice((x, out) -> {
                    for (long i = 0; i < out.numel() - 1; i++) {
                        Elements.of(out).setDouble(i, 1);
                    }
                }),
                "writes and aliases",
                "element 5 of 'output'");
    }

    @Test
    void findsAKernelThatIgnoresStridesItClaimsToTake() {
        finds(
                twice((x, out) -> {
                            java.nio.ByteBuffer raw = Elements.of(x).buffer();
                            int base = Elements.of(x).byteOffset();
                            for (int i = 0; i < out.numel(); i++) {
                                double v = x.dtype() == DType.FLOAT64
                                        ? raw.getDouble(base + 8 * i)
                                        : raw.getFloat(base + 4 * i);
                                Elements.of(out).setDouble(i, 2 * v);
                            }
                        })
                        .stridesOk(),
                "transposed inputs",
                "with layout [2, 3] strides [1, 2]");
    }

    @Test
    void findsAKernelThatDiffersFromRunToRun() {
        int[] calls = {0};
        Op<X, Tensor> op = twice((x, out) -> {
            for (long i = 0; i < out.numel(); i++) {
                Elements.of(out).setDouble(i, calls[0]++);
            }
        });
        finds(op, "determinism", "differs in element 0");
    }

    @Test
    void findsAWrongGradientAndAWrongSecondOne() {
        Op<X, Tensor> wrong = Op.define("test::twice", X.class, Tensor.class)
                .compose(a -> a.x().mul(a.x()))
                .shape(a -> Tensor.meta(a.x()))
                .autograd(
                        (a, out) -> a.x(),
                        (c, x, g) -> Grads.of("x", x.mul(2.00001).mul(g)));
        finds(wrong, "gradients", "disagree with finite differences");
        Op<X, Tensor> detached = Op.define("test::twice", X.class, Tensor.class)
                .compose(a -> a.x().mul(a.x()))
                .shape(a -> Tensor.meta(a.x()))
                .autograd(
                        (a, out) -> a.x(),
                        (c, x, g) -> Grads.of("x", x.detach().mul(2).mul(g)));
        finds(detached, "second derivatives", "disagree with finite differences");
    }

    @Test
    void findsABackwardThatWritesIntoItsGradient() {
        Op<X, Tensor> op = Op.define("test::twice", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> doubled(a.x(), out))
                .autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.isContiguous() ? g.mul_(2) : g.mul(2)));
        finds(op, "backward under suspicion", "wrote into the gradient");
    }

    @Test
    void findsADeviceThatDisagrees() {
        Op<X, Tensor> op = twice(OpCheckTest::doubled).kernel(TOY, (a, out) -> {
            doubled(a.x(), out);
            Elements.of(out).setDouble(1, 0);
        });
        finds(op, "agrees with toy", "on toy:0: output 0 differs most in element 1");
    }

    @Test
    void findsAKernelThatDisagreesWithPlainJavaOrItsComposition() {
        Op<X, Tensor> op = twice(OpCheckTest::doubled)
                .kernel(DeviceType.CPU, (a, out) -> {
                    doubled(a.x(), out);
                    Elements.of(out).setDouble(5, 12.00001);
                })
                .compose(a -> a.x().add(a.x()));
        finds(op, "kernel and plain Java agree", "element 5");
        finds(op, "kernel and composition agree", "element 5");
    }

    /** Sizes that belong together stay together: [n, k] · [k] is not refused, and a kernel that forgets tails is found. */
    @Test
    void triesOddSizesThatFitTogether() {
        Op<XY, Tensor> product = Op.define("test::matvec", XY.class, Tensor.class)
                .shape(a -> {
                    if (a.x().rank() != 2 || a.y().rank() != 1 || a.x().size(1) != a.y().size(0)) {
                        throw new ShapeException("matvec: " + a.x().shape() + " and " + a.y().shape());
                    }
                    return Tensor.meta(a.y(), Shape.of(a.x().size(0)));
                })
                .reference((a, out) -> product(a, out, a.y().numel()))
                .nonDifferentiable();
        XY sample = new XY(Tensor.ones(DType.FLOAT64, 3, 4), Tensor.ones(DType.FLOAT64, 4));
        OpCheck.Report report = OpCheck.of(product).samples(sample).run().orThrow();
        assertThat(outcome(report, "odd sizes")).startsWith("passed");
        Op<XY, Tensor> forgetful = Op.define("test::matvec", XY.class, Tensor.class)
                .shape(Objects.requireNonNull(product.definition().shape()))
                .reference((a, out) -> product(a, out, a.y().numel()))
                .kernel(DeviceType.CPU, (a, out) -> product(a, out, a.y().numel() / 4 * 4))
                .nonDifferentiable();
        report = OpCheck.of(forgetful).samples(sample).run();
        assertThat(outcome(report, "kernel and plain Java agree")).startsWith("passed");
        assertThat(outcome(report, "odd sizes")).startsWith("FAILED").contains("element 0");
    }

    private static void product(XY a, Tensor out, long depth) {
        for (long i = 0; i < out.numel(); i++) {
            double sum = 0;
            for (long k = 0; k < depth; k++) {
                sum += a.x().at(i, k).item() * a.y().at(k).item();
            }
            Elements.of(out).setDouble(i, sum);
        }
    }

    @Test
    void findsMemoryThatIsNotGivenBack() {
        List<Tensor> kept = new ArrayList<>();
        Op<X, Tensor> op = twice((x, out) -> {
            kept.add(Tensor.zeros(DType.FLOAT64, 5000).leaveScope());
            doubled(x, out);
        });
        finds(op, "no leak", "bytes behind");
        kept.forEach(Tensor::close);
    }

    @Test
    void findsADeclaredWriteThatNeverHappensAndPassesARealOne() {
        Op<XY, Tensor> idle = Op.define("test::idle", XY.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(XY::x)
                .reference((a, out) -> {})
                .nonDifferentiable();
        XY sample = new XY(Tensor.of(1f, 2f), Tensor.of(3f, 4f));
        OpCheck.Report report = OpCheck.of(idle).samples(sample).run();
        assertThat(outcome(report, "writes and aliases")).startsWith("FAILED").contains("nothing changed");
        Op<XY, Void> real = Op.define("test::real", XY.class, Result.none())
                .mutates("x")
                .reference((a, out) -> doubled(a.y(), a.x()))
                .nonDifferentiable();
        OpCheck.of(real).samples(sample).run().orThrow();
        assertThat(sample.x().toDoubleArray()).as("samples are copied").containsExactly(1, 2);
    }

    @Test
    void findsAShapeRuleThatALiesToMetaTensors() {
        Op<X, Tensor> op = Op.define("test::twice", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), a.x().isMeta() ? Shape.of(7) : a.x().shape()))
                .reference((a, out) -> doubled(a.x(), out))
                .nonDifferentiable();
        finds(op, "shape rule", "but the shape rule says float64[7] cpu");
    }

    @Test
    void skippedChecksCarryTheirReason() {
        OpCheck.Report report = OpCheck.of(twice(OpCheckTest::doubled))
                .skip("0-d inputs", "has none")
                .samples(sample())
                .run();
        assertThat(outcome(report, "0-d inputs")).isEqualTo("not checked  sample 0: 0-d inputs, because has none");
        assertThatThrownBy(() -> OpCheck.of(twice(OpCheckTest::doubled)).run())
                .isInstanceOf(IllegalArgumentException.class);
    }
}
