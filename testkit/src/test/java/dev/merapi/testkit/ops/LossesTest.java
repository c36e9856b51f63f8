// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static dev.merapi.testkit.ops.Samples.leaf;
import static dev.merapi.testkit.ops.Samples.normal;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class LossesTest {
    private static final long IGNORED = -100;
    private static final long[] TARGETS = {2, 0, IGNORED, 3, 1};

    private static double[] expected(
            double[] logits, int classes, double @Nullable [] weight, double smoothing, Reduction reduction) {
        int rows = logits.length / classes;
        double[] losses = new double[rows];
        double total = 0;
        double weights = 0;
        for (int r = 0; r < rows; r++) {
            if (TARGETS[r] == IGNORED) {
                continue;
            }
            double sum = 0;
            for (int c = 0; c < classes; c++) {
                sum += Math.exp(logits[r * classes + c]);
            }
            for (int c = 0; c < classes; c++) {
                double q = (c == TARGETS[r] ? 1 - smoothing : 0) + smoothing / classes;
                losses[r] -= q * (weight == null ? 1 : weight[c]) * (logits[r * classes + c] - Math.log(sum));
            }
            total += losses[r];
            weights += weight == null ? 1 : weight[(int) TARGETS[r]];
        }
        return switch (reduction) {
            case NONE -> losses;
            case SUM -> new double[] {total};
            case MEAN -> new double[] {total / weights};
        };
    }

    @ParameterizedTest
    @EnumSource(Reduction.class)
    void crossEntropyMeetsItsDefinition(Reduction reduction) {
        Tensor x = leaf(1, 5, 4);
        Tensor t = Tensor.of(TARGETS);
        double[] w = {0.5, 2, 1, 3};
        double[] logits = x.toDoubleArray();
        close(Losses.crossEntropy(x, t, null, IGNORED, 0, reduction), expected(logits, 4, null, 0, reduction), 1e-14);
        close(
                Losses.crossEntropy(x, t, Tensor.of(w), IGNORED, 0.1, reduction),
                expected(logits, 4, w, 0.1, reduction),
                1e-14);
        gradients(in -> Losses.crossEntropy(in.get(0), t, null, IGNORED, 0, reduction), x);
        gradients(in -> Losses.crossEntropy(in.get(0), t, Tensor.of(w), IGNORED, 0.1, reduction), x);
    }

    @ParameterizedTest
    @EnumSource(Reduction.class)
    void nllOfLogSoftmaxIsCrossEntropy(Reduction reduction) {
        Tensor x = leaf(2, 5, 4);
        Tensor t = Tensor.of(TARGETS);
        Tensor w = Tensor.of(0.5, 2, 1, 3);
        close(
                Losses.nllLoss(x.logSoftmax(1), t, w, IGNORED, reduction),
                Losses.crossEntropy(x, t, w, IGNORED, 0, reduction),
                1e-14);
        gradients(in -> Losses.nllLoss(in.get(0), t, w, IGNORED, reduction), x);
        gradients(in -> Losses.nllLoss(in.get(0), t, null, IGNORED, reduction), x);
    }

    @Test
    void classesStandInTheSecondDimension() {
        Tensor x = normal(3, 2, 4, 3);
        Tensor t = Tensor.of(new long[] {0, 1, 2, 3, 0, 1}, 2, 3);
        Tensor each = Losses.crossEntropy(x, t, null, IGNORED, 0, Reduction.NONE);
        assertThat(each.shape().toArray()).containsExactly(2, 3);
        close(each.at(1, 2), Losses.crossEntropy(x.at(1).t().at(2), Tensor.scalar(1L)), 1e-14);
        assertThat(Losses.crossEntropy(x, Tensor.full(IGNORED, 2, 3).to(DType.INT64))
                        .item())
                .isNaN();
    }

    @Test
    void badTargetsAreRefusedBeforeAnythingIsWritten() {
        Tensor x = normal(4, 2, 3);
        assertThatThrownBy(() -> Losses.crossEntropy(x, Tensor.of(1L, 3L)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("target 3 at row 1 is not a class from 0 to 2");
        assertThatThrownBy(() -> Losses.crossEntropy(x, Tensor.of(1, 2)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("int64");
        assertThatThrownBy(() -> Losses.crossEntropy(normal(5, 2, 3, 4), Tensor.of(1L, 2L)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("reshape(-1, C)");
        assertThatThrownBy(() -> Losses.crossEntropy(x, Tensor.of(1L, 2L), Tensor.of(1.0, 2), 0, 0, Reduction.SUM))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("weight must be [3]");
    }

    @Test
    void lossesOfNumbers() {
        Tensor x = leaf(6, 3, 2);
        Tensor y = leaf(7, 3, 2);
        close(Losses.mseLoss(x, y), x.sub(y).square().mean(), 1e-14);
        close(Losses.l1Loss(x, y), x.sub(y).abs().mean(), 1e-14);
        Tensor p = y.sigmoid().detach().requiresGrad(true);
        Tensor s = x.sigmoid();
        close(
                Losses.bceWithLogits(x, p),
                p.mul(s.log()).add(p.rsub(1).mul(s.rsub(1).log())).mean().neg(),
                1e-13);
        close(Losses.huberLoss(Tensor.of(0.5, 3), Tensor.of(0.0, 0), 1), new double[] {(0.125 + 2.5) / 2}, 1e-15);
        for (Reduction r : Reduction.values()) {
            gradients(in -> Losses.MSE.call(in.get(0), in.get(1), r), x, y);
            gradients(in -> Losses.BCE_WITH_LOGITS.call(in.get(0), in.get(1), r), x, p);
            gradients(in -> Losses.HUBER.call(in.get(0), in.get(1), r, 0.7), x, y);
        }
        assertThat(Losses.bceWithLogits(Tensor.of(-800.0, 800), Tensor.of(0.0, 1))
                        .item())
                .isZero();
        assertThatThrownBy(() -> Losses.mseLoss(x, Tensor.zeros(DType.FLOAT64, 3)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("shapes differ: [3, 2] and [3]");
    }
}
