// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.Losses;
import dev.merapi.tensor.Tensor;
import dev.merapi.train.Accuracy;
import dev.merapi.train.ConfusionMatrix;
import dev.merapi.train.ConfusionMatrix.Average;
import dev.merapi.train.RunningMean;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

/** Against the examples in the documents of scikit-learn, whose figures these are, and against sums by hand. */
class MeasuresTest {
    private static final Offset<Double> CLOSE = within(1e-12);

    @Test
    void theConfusionMatrixOfScikitLearn() {
        try (ConfusionMatrix matrix = new ConfusionMatrix(3)) {
            matrix.add(Tensor.of(0L, 0L, 2L), Tensor.of(2L, 0L, 2L)); // batch by batch
            matrix.add(Tensor.of(2, 0, 2), Tensor.of(2, 0, 1));
            assertThat(matrix.counts()).isDeepEqualTo(new long[][] {{2, 0, 0}, {0, 0, 1}, {1, 0, 2}});
            ConfusionMatrix other = new ConfusionMatrix(3);
            other.loadStateDict(matrix.stateDict());
            other.add(Tensor.of(1L), Tensor.of(1L));
            assertThat(other.counts()).isDeepEqualTo(new long[][] {{2, 0, 0}, {0, 1, 1}, {1, 0, 2}});
            matrix.reset();
            assertThat(matrix.accuracy()).isNaN();
            other.close();
        }
    }

    @Test
    void precisionRecallAndF1OfScikitLearn() {
        try (ConfusionMatrix matrix = new ConfusionMatrix(3)) {
            matrix.add(Tensor.of(0L, 2L, 1L, 0L, 0L, 1L), Tensor.of(0L, 1L, 2L, 0L, 1L, 2L));
            assertThat(matrix.precision(Average.MACRO)).isEqualTo(0.2222222222222222, CLOSE);
            assertThat(matrix.recall(Average.MACRO)).isEqualTo(0.3333333333333333, CLOSE);
            assertThat(matrix.f1(Average.MACRO)).isEqualTo(0.26666666666666666, CLOSE);
            assertThat(matrix.f1(Average.WEIGHTED)).isEqualTo(0.26666666666666666, CLOSE);
            assertThat(matrix.f1()).containsExactly(new double[] {0.8, 0, 0}, CLOSE);
            assertThat(matrix.accuracy()).isEqualTo(2 / 6.0, CLOSE);
        }
        try (ConfusionMatrix matrix = new ConfusionMatrix(4)) { // class 3 is not there, and says nothing
            matrix.add(Tensor.of(0L, 2L, 1L, 0L, 0L, 1L), Tensor.of(0L, 1L, 2L, 0L, 1L, 2L));
            assertThat(matrix.f1(Average.MACRO)).isEqualTo(0.26666666666666666, CLOSE);
        }
    }

    @Test
    void theTopKAccuracyOfScikitLearn() {
        Tensor scores = Tensor.of(
                new float[][] {{0.5f, 0.2f, 0.2f}, {0.3f, 0.4f, 0.2f}, {0.2f, 0.4f, 0.3f}, {0.7f, 0.2f, 0.1f}});
        Tensor targets = Tensor.of(0L, 1L, 2L, 2L);
        try (Accuracy one = new Accuracy();
                Accuracy two = new Accuracy(2)) {
            assertThat(one.value()).isNaN();
            one.add(scores, targets);
            two.add(scores, targets);
            assertThat(one.value()).isEqualTo(0.5);
            assertThat(two.value()).isEqualTo(0.75);
            two.add(Tensor.of(new float[][] {{1, 0, 2}}), Tensor.of(1L));
            assertThat(two.value()).isEqualTo(0.6);
            Accuracy other = new Accuracy(2);
            other.loadStateDict(two.stateDict());
            assertThat(other.value()).isEqualTo(0.6);
            other.close();
            // Pixels and positions: the classes are the last dimension.
            one.reset();
            one.add(Tensor.zeros(2, 3, 5), Tensor.of(0L, 0L, 1L, 0L, 2L, 0L).reshape(2, 3));
            assertThat(one.value()).isEqualTo(4 / 6.0);
        }
    }

    @Test
    void meansAndPerplexity() {
        Tensor scores = Tensor.linspace(-1, 2, 20).reshape(4, 5);
        Tensor targets = Tensor.of(0L, 3L, 2L, 4L);
        double sum = 0;
        for (int i = 0; i < 4; i++) {
            double norm = 0;
            for (int c = 0; c < 5; c++) {
                norm += Math.exp(scores.at(i, c).item());
            }
            sum += Math.log(norm) - scores.at(i, (int) targets.at(i).item()).item();
        }
        try (RunningMean mean = new RunningMean()) {
            assertThat(mean.value()).isNaN();
            mean.add(Losses.crossEntropy(scores.slice(0, 0, 3), targets.slice(0, 0, 3)), 3);
            mean.add(Losses.crossEntropy(scores.slice(0, 3, 4), targets.slice(0, 3, 4)), 1);
            mean.add(Tensor.scalar(Double.NaN), 0); // the mean of nothing
            assertThat(mean.value()).isEqualTo(sum / 4, within(1e-6));
            assertThat(mean.perplexity()).isEqualTo(Math.exp(sum / 4), within(1e-5));
            RunningMean other = new RunningMean();
            other.loadStateDict(mean.stateDict());
            assertThat(other.value()).isEqualTo(mean.value());
            other.reset();
            other.add(Tensor.of(1L, 2L, 6L));
            assertThat(other.value()).isEqualTo(3);
            other.close();
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        try (Accuracy accuracy = new Accuracy();
                Accuracy three = new Accuracy(3);
                ConfusionMatrix matrix = new ConfusionMatrix(3);
                RunningMean mean = new RunningMean()) {
            Tensor targets = Tensor.of(0L, 1L);
            assertThatThrownBy(() -> accuracy.add(Tensor.zeros(3, 4), targets)).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> accuracy.add(Tensor.zeros(2), targets)).isInstanceOf(ShapeException.class);
            assertThatThrownBy(() -> three.add(Tensor.zeros(2, 2), targets))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("top 3");
            assertThatThrownBy(() -> mean.add(targets, 2)).hasMessageContaining("0-d mean");
            assertThatThrownBy(() -> new Accuracy(0)).hasMessageContaining("k is 0");
            assertThatThrownBy(() -> new ConfusionMatrix(0)).hasMessageContaining("0 classes");
            for (long[] bad : new long[][] {{3, 0}, {-1, 0}, {0, 3}, {0, -1}, {4, -1}, {-1, 5}}) {
                assertThatThrownBy(() -> matrix.add(Tensor.of(bad[0]), Tensor.of(bad[1])))
                        .as("%d for %d", bad[0], bad[1])
                        .isInstanceOf(RuntimeException.class);
            }
            assertThat(matrix.accuracy()).isNaN(); // nothing was counted
        }
    }
}
