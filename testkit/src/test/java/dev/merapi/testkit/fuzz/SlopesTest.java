// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Elementary;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.lang.invoke.MethodHandles;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleUnaryOperator;
import org.junit.jupiter.api.Test;

/** Wrong gradients of both orders are found, and what jumps is not taken for one. */
class SlopesTest {
    record X(Tensor x) {}

    private static final Device JAVA = Differential.plainJava();
    /** Of a seed whose programs are held against differences. */
    private static final long SEED = 8;

    private static Op<X, Tensor> op(String name, DoubleUnaryOperator f, Derivative derivative) {
        return Op.define(MethodHandles.lookup(), "slopestest::" + name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Elements from = Elements.of(a.x());
                    Elements to = Elements.of(out);
                    for (long i = 0; i < from.numel(); i++) {
                        to.setDouble(i, f.applyAsDouble(from.getDouble(i)));
                    }
                })
                .autograd((a, out) -> a, (context, a, g) -> Grads.of("x", g.mul(derivative.at(a.x()))))
                .register();
    }

    private interface Derivative {
        Tensor at(Tensor x);
    }

    private static final Op<X, Tensor> WRONG = op("wrong", x -> x * x, x -> x.mul(2.1));
    private static final Op<X, Tensor> WRONG_AFTER_ONE = op("three_squares", x -> 3 * x * x, x -> x);
    private static final Op<X, Tensor> CUBE = op("cube", x -> x * x * x, x -> WRONG_AFTER_ONE.call(new X(x)));

    private final List<Step> steps = new ArrayList<>();

    private Ref add(Callee callee, Object... args) {
        Ref made = new Ref(steps.size());
        steps.add(new Step(callee, Arrays.asList(args), made.number(), 1));
        return made;
    }

    private Ref leaf(boolean wantsGrad, double... values) {
        return add(new Leaf(DType.FLOAT64, new long[] {values.length}, Leaf.Form.DENSE, values, wantsGrad));
    }

    private Ref gradient(Ref out, Ref x, Ref given, Autograd.Graph graph) {
        return add(Action.GRAD, List.of(out), List.of(x), List.of(given), graph);
    }

    private List<Finding> findings() {
        Program program = new Program(SEED, steps);
        assertThat(Slopes.apply(program)).isTrue();
        List<Finding> findings = new ArrayList<>();
        Slopes.check(program, JAVA, new Features(), findings);
        return findings;
    }

    @Test
    void aWrongGradientIsFound() {
        Ref x = leaf(true, 0.3, -1.2);
        Ref y = add(new OpCallee<>(WRONG), x);
        gradient(y, x, leaf(false, 1, 2), Autograd.Graph.FREE);
        assertThat(findings()).extracting(Finding::kind).containsExactly(Finding.Kind.WRONG_GRADIENT);
    }

    @Test
    void soIsOneOfTheSecondOrder() {
        Ref x = leaf(true, 0.3, -1.2);
        Ref y = add(new OpCallee<>(CUBE), x);
        Ref given = leaf(false, 1, 2);
        Ref first = gradient(y, x, given, Autograd.Graph.CREATE);
        gradient(first, x, given, Autograd.Graph.FREE);
        assertThat(findings()).extracting(Finding::kind).containsExactly(Finding.Kind.WRONG_GRADIENT);
        steps.remove(steps.size() - 1);
        gradient(y, x, given, Autograd.Graph.FREE);
        assertThat(findings()).isEmpty(); // the first order is right
    }

    /** There are so many between the points, and as many to the left as to the right, that they look like a slope. */
    @Test
    void stairsAreNoSlope() {
        double perUnit = 8.2 / (Slopes.SHIFT * Math.abs(Run.direction(0, 0)));
        Ref x = leaf(true, 0.5 / perUnit);
        Ref stretched = add(new OpCallee<>(Arithmetic.MUL.op()), x, leaf(false, perUnit), List.<Number>of());
        Ref stairs = add(new OpCallee<>(Elementary.FLOOR.op()), stretched, List.<Number>of());
        Ref y = add(new OpCallee<>(Arithmetic.ADD.op()), stairs, x, List.<Number>of());
        gradient(y, x, leaf(false, 1), Autograd.Graph.FREE);
        assertThat(findings()).isEmpty();
    }

    /** It turns a million times between the points: what they say has nothing to do with its slope. */
    @Test
    void whatTurnsTooFastForDifferencesIsNotJudged() {
        for (double speed = 1e10; speed < 1e13; speed *= 1.7) {
            steps.clear();
            Ref x = leaf(true, 0.3);
            Ref fast = add(new OpCallee<>(Arithmetic.MUL.op()), x, leaf(false, speed), List.<Number>of());
            Ref y = add(new OpCallee<>(Elementary.SIN.op()), fast, List.<Number>of());
            gradient(y, x, leaf(false, 1), Autograd.Graph.FREE);
            assertThat(findings()).as("speed " + speed).isEmpty();
        }
    }

    /** A sum of integers is float32, whatever the others are: what is added to it in place is rounded there. */
    @Test
    void whatIsRoundedToLessThanFloat64IsNotJudged() {
        Ref whole = add(new Leaf(DType.INT64, new long[] {1}, Leaf.Form.DENSE, new long[] {1}, false));
        Ref sum = add(new OpCallee<>(Elementary.SQRT.op()), whole, List.<Number>of());
        Ref x = leaf(true, 0.3);
        Ref part = add(new OpCallee<>(Arithmetic.MUL.op()), x, leaf(false, 0.1131591796875), List.<Number>of());
        steps.add(new Step(
                new InPlaceCallee(Arithmetic.ADD), List.of(sum, List.of(sum, part), List.<Number>of()), 99, 0));
        gradient(sum, x, leaf(false, 1), Autograd.Graph.FREE);
        assertThat(findings()).isEmpty();
    }

    @Test
    void rightGradientsOfBothOrdersAreNoFindings() {
        Ref x = leaf(true, 0.3, -1.2);
        Ref y = add(new OpCallee<>(Elementary.EXP.op()), x, List.<Number>of());
        Ref given = leaf(false, 1, 2);
        Ref first = gradient(y, x, given, Autograd.Graph.CREATE);
        gradient(first, x, given, Autograd.Graph.FREE);
        assertThat(findings()).isEmpty();
    }
}
