// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.withinPercentage;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class OptimizersTest {
    private static final double BETA1 = 0.9;
    private static final double BETA2 = 0.99;
    private static final double EPS = 1e-8;
    private static final double LR = 0.125;

    private static Optimizers.Adam adam(
            List<Tensor> p,
            List<Tensor> g,
            List<Tensor> m,
            List<Tensor> v,
            long step,
            @Nullable Tensor scale,
            @Nullable Tensor skip,
            double decay,
            boolean decoupled) {
        return new Optimizers.Adam(
                p,
                g,
                m,
                v,
                List.of(),
                had(step - 1, p.size()),
                Tensor.scalar(LR),
                scale,
                skip,
                BETA1,
                BETA2,
                EPS,
                decay,
                decoupled);
    }

    /** How many steps parameters have had. */
    private static List<Tensor> had(long steps, int parameters) {
        return java.util.stream.IntStream.range(0, parameters)
                .mapToObj(i -> Tensor.scalar(steps))
                .toList();
    }

    /** Three steps of one number. */
    private static double adamByHand(double x, double[] grads, double decay, boolean decoupled) {
        double m = 0;
        double v = 0;
        for (int t = 1; t <= grads.length; t++) {
            double g = grads[t - 1] + (decoupled ? 0 : decay * x);
            x -= decoupled ? LR * decay * x : 0;
            m = BETA1 * m + (1 - BETA1) * g;
            v = BETA2 * v + (1 - BETA2) * g * g;
            x -= LR * (m / (1 - Math.pow(BETA1, t))) / (Math.sqrt(v / (1 - Math.pow(BETA2, t))) + EPS);
        }
        return x;
    }

    @Test
    void adamAndAdamWFollowTheirPapers() {
        for (boolean decoupled : new boolean[] {true, false}) {
            Tensor p = normal(1, 2, 3);
            Tensor q = normal(2, 4);
            List<Tensor> parameters = List.of(p, q);
            List<Tensor> m = List.of(p.zerosLike(), q.zerosLike());
            List<Tensor> v = List.of(p.zerosLike(), q.zerosLike());
            double start = q.at(3).item();
            double[] grads = new double[3];
            for (int t = 1; t <= 3; t++) {
                List<Tensor> g = List.of(normal(10 + t, 2, 3), normal(20 + t, 4));
                grads[t - 1] = g.get(1).at(3).item() * 0.5;
                Optimizers.ADAM.call(
                        adam(parameters, g, m, v, t, Tensor.scalar(0.5), Tensor.scalar(0f), 0.1, decoupled));
            }
            close(q.at(3), new double[] {adamByHand(start, grads, 0.1, decoupled)}, 1e-14);
        }
    }

    /** Steps that 16 bits cannot show of a weight near 1 add up in the master, and the weight is its rounding. */
    @Test
    void mastersKeepWhatTheParametersRoundAway() {
        for (DType dtype : List.of(DType.BFLOAT16, DType.FLOAT16)) {
            Tensor p = Tensor.ones(dtype, 3);
            Tensor lost = p.copy();
            Tensor sgd = p.copy();
            List<Tensor> f32 = java.util.stream.IntStream.range(0, 7)
                    .mapToObj(i -> Tensor.zeros(3))
                    .toList();
            Tensor master = Tensor.ones(3);
            Tensor sgdMaster = Tensor.ones(3);
            double[] grads = new double[20];
            double rate = 1e-4;
            for (int t = 1; t <= 20; t++) {
                Tensor g = Tensor.full(0.25, 3).to(dtype);
                grads[t - 1] = 0.25;
                for (boolean kept : new boolean[] {true, false}) {
                    int at = kept ? 0 : 2;
                    Optimizers.ADAM.call(new Optimizers.Adam(
                            List.of(kept ? p : lost),
                            List.of(g),
                            List.of(f32.get(at)),
                            List.of(f32.get(at + 1)),
                            kept ? List.of(master) : List.of(),
                            had(t - 1, 1),
                            Tensor.scalar(rate),
                            null,
                            null,
                            BETA1,
                            BETA2,
                            EPS,
                            0,
                            true));
                }
                Optimizers.SGD.call(new Optimizers.Sgd(
                        List.of(sgd),
                        List.of(g),
                        List.of(),
                        List.of(sgdMaster),
                        had(t - 1, 1),
                        Tensor.scalar(rate),
                        null,
                        null,
                        0,
                        0,
                        false,
                        0));
            }
            // Adam steps by the rate where all gradients agree.
            close(master, new double[] {1 - 20 * rate, 1 - 20 * rate, 1 - 20 * rate}, 1e-5);
            close(p.to(DType.FLOAT32), master.to(dtype).to(DType.FLOAT32), 0);
            close(lost.to(DType.FLOAT32), Tensor.ones(3), 0);
            close(sgdMaster, new double[] {1 - 5 * rate, 1 - 5 * rate, 1 - 5 * rate}, 1e-5);
            close(sgd.to(DType.FLOAT32), sgdMaster.to(dtype).to(DType.FLOAT32), 0);
        }
    }

    @Test
    void infiniteAndNaNGradientsAreFoundWhereverTheyAre() {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64)) {
            Tensor a = normal(1, 40_000).to(dtype);
            Tensor b = normal(2, 3, 5).to(dtype);
            List<Tensor> grads = List.of(a, b, Tensor.zeros(dtype, 0));
            assertThat(nonFinite(grads)).isEqualTo(0);
            // The largest number there is, whose square is not.
            a.at(39_999).fill_(dtype == DType.FLOAT16 ? 65504 : dtype == DType.FLOAT64 ? 1e308 : 3e38);
            assertThat(nonFinite(grads)).isEqualTo(0);
            for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
                for (Tensor at : List.of(a.at(0), a.at(39_999), b.at(2, 4))) {
                    double before = at.item();
                    at.fill_(bad);
                    assertThat(nonFinite(grads)).as(dtype + " " + bad).isEqualTo(1);
                    at.fill_(before);
                }
            }
        }
    }

    private static double nonFinite(List<Tensor> grads) {
        return Optimizers.NON_FINITE.call(new Optimizers.NonFinite(grads)).item();
    }

    @Test
    void theScaleOfALossGrowsAndBacksOff() {
        Tensor scale = Tensor.scalar(8f);
        Tensor streak = Tensor.scalar(0L);
        double[] bad = {0, 0, 0, 0, 1, 0, 0, 1, 1};
        double[] expected = {8, 8, 16, 16, 4, 4, 4, 1, 0.25};
        for (int i = 0; i < bad.length; i++) {
            Optimizers.UPDATE_SCALE.call(
                    new Optimizers.UpdateScale(scale, streak, Tensor.scalar((float) bad[i]), 2, 0.25, 3));
            assertThat(scale.item()).as("step " + i).isEqualTo(expected[i]);
        }
        scale.fill_(3e38);
        Optimizers.UPDATE_SCALE.call(new Optimizers.UpdateScale(scale, streak, Tensor.scalar(0f), 2, 0.25, 1));
        assertThat(scale.item()).isEqualTo((double) 3e38f);
        assertThatThrownBy(() -> Optimizers.UPDATE_SCALE.call(
                        new Optimizers.UpdateScale(Tensor.ones(2), streak, Tensor.scalar(0f), 2, 0.5, 1)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("float32[2]");
    }

    @Test
    void skippedStepsChangeNothing() {
        Tensor p = normal(3, 3);
        Tensor before = p.copy();
        Tensor state = p.zerosLike();
        Optimizers.ADAM.call(adam(
                List.of(p),
                List.of(normal(4, 3)),
                List.of(state),
                List.of(state.copy()),
                1,
                null,
                Tensor.scalar(1f),
                0,
                true));
        close(p, before, 0);
        close(state, p.zerosLike(), 0);
    }

    @Test
    void sgdWithMomentum() {
        for (boolean nesterov : new boolean[] {false, true}) {
            Tensor p = Tensor.of(1.0, 2);
            Tensor b = p.zerosLike();
            double x = 2;
            double buffer = 0;
            for (int t = 1; t <= 3; t++) {
                double g = 0.3 * t + 0.01 * x;
                buffer = t == 1 ? g : 0.9 * buffer + g;
                x -= LR * (nesterov ? g + 0.9 * buffer : buffer);
                Optimizers.SGD.call(new Optimizers.Sgd(
                        List.of(p),
                        List.of(Tensor.of(0.0, 0.3 * t)),
                        List.of(b),
                        List.of(),
                        had(t - 1, 1),
                        Tensor.scalar(LR),
                        null,
                        null,
                        0.9,
                        0,
                        nesterov,
                        0.01));
            }
            close(p.at(1), new double[] {x}, 1e-14);
        }
        Tensor plain = Tensor.of(1f, 2);
        Optimizers.SGD.call(new Optimizers.Sgd(
                List.of(plain),
                List.of(Tensor.of(1f, 1)),
                List.of(),
                List.of(),
                had(0, 1),
                Tensor.scalar(0.5),
                null,
                null,
                0,
                0,
                false,
                0));
        assertThat(plain.toFloatArray()).containsExactly(0.5f, 1.5f);
    }

    @Test
    void theNormOfAllGradientsAndTheScaleThatClipsThem() {
        Tensor a = Tensor.of(3.0, 0);
        Tensor b = Tensor.of(new double[] {0, 4}, 2, 1);
        Optimizers.NormAndScale r = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(List.of(a, b), 1, null));
        close(r.norm(), new double[] {5}, 1e-7);
        close(r.scale(), new double[] {1 / (5 + 1e-6)}, 1e-7);
        Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(List.of(a, b), Tensor.scalar(0.25)));
        close(a, new double[] {0.75, 0}, 0);
        close(b, new double[] {0, 1}, 0);
        assertThat(Optimizers.GRAD_NORM
                        .call(new Optimizers.GradNorm(List.of(a), 1, null))
                        .scale()
                        .item())
                .isEqualTo(1);
    }

    /** The norm that others have is a size: {@code -4} is 4, also where squares are scaled. */
    @Test
    void theNormBeforeHasNoSign() {
        for (double before : new double[] {4, -4, 1e-200, -1e-200, 1e200, -1e200}) {
            Tensor other = Tensor.scalar(before).to(DType.FLOAT64);
            Optimizers.NormAndScale r = Optimizers.GRAD_NORM.call(new Optimizers.GradNorm(
                    List.of(Tensor.of(new double[] {3, 0}, 2)), 1, other));
            assertThat(r.norm().item()).isCloseTo(Math.hypot(3, before), withinPercentage(1e-9));
        }
    }

    @Test
    void transposedParametersAreWritten() {
        Tensor base = normal(5, 2, 3);
        Tensor p = base.t();
        double before = base.at(1, 2).item();
        Optimizers.SGD.call(new Optimizers.Sgd(
                List.of(p),
                List.of(Tensor.ones(DType.FLOAT64, 3, 2)),
                List.of(),
                List.of(),
                had(0, 1),
                Tensor.scalar(1.0),
                null,
                null,
                0,
                0,
                false,
                0));
        close(base.at(1, 2), new double[] {before - 1}, 1e-15);
    }

    @Test
    void misfitsAreNamedAndNothingIsWritten() {
        Tensor p = Tensor.ones(3);
        Tensor s = Tensor.zeros(3);
        Tensor other = Tensor.zeros(3);
        assertThatThrownBy(() -> Optimizers.ADAM.call(
                        adam(List.of(p), List.of(Tensor.ones(2)), List.of(s), List.of(other), 1, null, null, 0, true)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("grads 0 does not fit its parameter");
        assertThatThrownBy(() -> Optimizers.ADAM.call(
                        adam(List.of(p), List.of(p), List.of(s), List.of(), 1, null, null, 0, true)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("1 params, but 0 v");
        assertThat(p.toFloatArray()).containsOnly(1);
    }
}
