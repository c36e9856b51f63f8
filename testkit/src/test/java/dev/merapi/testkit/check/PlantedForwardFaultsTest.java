// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.OpCheck;
import dev.merapi.check.OpCheck.Outcome;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SchemaException;
import dev.merapi.op.Grads;
import dev.merapi.op.Jvp;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Forward modes that are wrong, or right only where one usually looks. */
class PlantedForwardFaultsTest extends Planted {
    private static final String CHECK = "forward mode";

    private static Op<X, Tensor> square(Jvp<X, Tensor> rule) {
        return squareBackward(SQUARE_BACKWARD).jvp(rule);
    }

    private static Op<XY, Tensor> product() {
        return product((c, a, g) -> Grads.of("x", g.mul(a.y())).and("y", g.mul(a.x())));
    }

    @Test
    void whatIsRightPasses() {
        assertThat(line(
                                OpCheck.of(square((a, out, t) ->
                                                t.orZeros("x").mul(a.x()).mul(2)))
                                        .samples(x())
                                        .run()
                                        .orThrow(),
                                CHECK)
                        .outcome())
                .isEqualTo(Outcome.PASS);
        assertThat(line(
                                OpCheck.of(product().linear("x", "y"))
                                        .samples(xy())
                                        .run()
                                        .orThrow(),
                                CHECK)
                        .outcome())
                .isEqualTo(Outcome.PASS);
    }

    @Test
    void aWrongFactor() {
        found(
                square((a, out, t) -> t.orZeros("x").mul(a.x()).mul(2.00001)),
                x(),
                CHECK,
                "disagrees with finite differences",
                "d output 0[");
    }

    @Test
    void noTangentAtAll() {
        found(square((a, out, t) -> null), x(), CHECK, "disagrees with finite differences", "jvp 0.0");
    }

    @Test
    void linearThatIsNot() {
        found(squareBackward(SQUARE_BACKWARD).linear("x"), x(), CHECK, "disagrees with finite differences");
        found(product().linear("x, y"), xy(), CHECK, "disagrees with finite differences");
        found(product().linear("x"), xy(), CHECK, "disagrees with finite differences", "/ d y along");
    }

    @Test
    void onlyOneTangentAtATime() {
        Op<XY, Tensor> op = product().jvp((a, out, t) -> {
            Tensor x = t.of("x");
            return x != null ? x.mul(a.y()) : t.orZeros("y").mul(a.x());
        });
        found(op, xy(), CHECK, "not linear in the tangents");
    }

    @Test
    void notLinear() {
        found(
                square((a, out, t) ->
                        t.orZeros("x").mul(a.x()).mul(t.orZeros("x").abs())),
                x(),
                CHECK,
                "disagrees with finite differences");
    }

    @Test
    void anotherForm() {
        found(square((a, out, t) -> t.orZeros("x").sum()), x(), CHECK, "planted::square", "a tangent of another form");
        found(
                square((a, out, t) -> t.orZeros("x").to(DType.FLOAT32)),
                x(),
                CHECK,
                "planted::square",
                "a tangent of another form");
    }

    /** Right at the sample's size. */
    @Test
    void atAnotherSize() {
        Op<X, Tensor> op = square((a, out, t) -> t.orZeros("x").mul(a.x()).mul(a.x().numel() == 6 ? 2 : 2.5));
        found(op, x(), CHECK, "with inputs [", "forward and reverse mode disagree");
    }

    @Test
    void piecesThatDoNotGoTogether() {
        assertThatThrownBy(() -> square((a, out, t) -> null).linear("x")).isInstanceOf(RegistrationException.class);
        assertThatThrownBy(() -> squareBackward(SQUARE_BACKWARD).linear("z"))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'z' is not a tensor argument");
        assertThatThrownBy(() -> voidOp("planted::write", (a, out) -> {}).jvp((a, out, t) -> null))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("do not go together");
        assertThatThrownBy(() -> Op.define("planted::plain", X.class, Tensor.class)
                        .shape(a -> Tensor.meta(a.x()))
                        .kernel(DeviceType.CPU, SQUARE)
                        .nonDifferentiable()
                        .linear("x"))
                .isInstanceOf(RegistrationException.class);
    }

    @Test
    void whatHasNoForwardModeSaysSo() {
        Op<X, Tensor> kernelOnly = Op.define("planted::once", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE)
                .saveForBackward((a, out) -> a.x())
                .backward(DeviceType.CPU, SQUARE_BACKWARD)
                .and();
        Tensor x = values(3);
        assertThatThrownBy(() -> Autograd.jvp(t -> kernelOnly.call(new X(t)), x, x))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("planted::once")
                .hasMessageContaining("differentiable once");
        Op<X, Tensor> none = Op.define("planted::none", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE);
        assertThatThrownBy(() -> Autograd.jvp(t -> none.call(new X(t)), x, x))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("planted::none")
                .hasMessageContaining("neither a backward nor a jvp");
        OpCheck.Line line = line(OpCheck.of(kernelOnly).samples(x()).run(), CHECK);
        assertThat(line.outcome()).isEqualTo(Outcome.NOT_CHECKED);
        assertThat(line.detail()).contains("refused", "planted::once");
    }

    /** y = x²·c, with c = x computed by the kernel's save: a second derivative through it would be wrong. */
    @Test
    void whatNobodyKnowsTheTangentOf() {
        Op<X, Tensor> op = Op.define("planted::computed", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE)
                .autograd((a, out) -> a.x().detach().mul(2), (c, slope, g) -> Grads.of("x", g.mul(slope)));
        Tensor x = leaf(3);
        assertThat(Autograd.jvp(t -> op.call(new X(t)), x.detach(), x.detach())
                        .tangent()
                        .toDoubleArray())
                .isEqualTo(x.detach().square().mul(2).toDoubleArray());
        assertThatThrownBy(() -> Autograd.jvp(
                        t -> Autograd.grad(op.call(new X(t)).sum(), List.of(t)).get(0), x, x.detach()))
                .hasMessageContaining("planted::computed")
                .hasMessageContaining("no tangent");
        assertThatThrownBy(() -> Autograd.jvp(
                        t -> Autograd.jvp(u -> op.call(new X(u)), t, t).tangent(), x.detach(), x.detach()))
                .hasMessageContaining("planted::computed")
                .hasMessageContaining("no tangent");
    }
}
