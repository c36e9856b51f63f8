// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.testkit.ops.Samples.close;
import static dev.merapi.testkit.ops.Samples.gradients;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Ctc;
import dev.merapi.ops.LikelihoodLosses;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Losses.Reduction;
import dev.merapi.ops.MarginLosses;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Losses and their gradients as PyTorch has them ({@code losses.py}), and where they stand at their edges. */
class LossValuesTest {
    private interface Loss {
        Tensor of(List<Tensor> in, Reduction r);
    }

    private record Case(Loss loss, Tensor... inputs) {}

    static Tensor t(int step, int of, long... shape) {
        double[] values = new double[(int) Arrays.stream(shape).reduce(1, (a, b) -> a * b)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (i * step % of - of / 2) / 8.0;
        }
        return Tensor.of(values, shape);
    }

    private static final Tensor X = t(5, 23, 4, 3);
    private static final Tensor Y = t(7, 19, 4, 3);
    private static final Tensor Z = t(3, 17, 4, 3);
    private static final Tensor SIGNS = Tensor.of(new double[] {1, -1, 1, -1, 1, 1, 1, 1, -1, -1, -1, 1}, 4, 3);
    private static final Tensor P = X.sigmoid();
    private static final Tensor Q = Y.softmax(1);
    private static final Tensor LOG_P = X.logSoftmax(1);
    private static final Tensor W = Tensor.of(0.5, 2.0, 1.0);
    private static final Tensor TARGETS = Tensor.of(2L, 0, 1, 1);
    private static final Tensor COUNTS = Y.abs().mul(4);

    private static final Map<String, Case> CASES = Map.ofEntries(
            Map.entry("bce", new Case((in, r) -> Losses.BINARY_CROSS_ENTROPY.call(in.get(0), in.get(1), r), P, Q)),
            Map.entry(
                    "bce_weighted",
                    new Case((in, r) -> Losses.bceWithLogits(in.get(0), in.get(1), W, W.add(1), r), X, Q)),
            Map.entry("smooth_l1", new Case((in, r) -> Losses.SMOOTH_L1.call(in.get(0), in.get(1), r, 0.7), X, Y)),
            Map.entry("kl_div", new Case((in, r) -> Losses.KL_DIV.call(in.get(0), in.get(1), r), LOG_P, Q)),
            Map.entry("kl_div_batchmean", new Case((in, r) -> Losses.klDiv(in.get(0), in.get(1), false), LOG_P, Q)),
            Map.entry("kl_div_log", new Case((in, r) -> Losses.klDiv(in.get(0), in.get(1), true), LOG_P, Q.log())),
            Map.entry(
                    "cross_entropy_of_probabilities",
                    new Case((in, r) -> Losses.crossEntropyOfProbabilities(in.get(0), in.get(1), W, 0.1, r), X, Q)),
            Map.entry(
                    "cosine_similarity",
                    new Case((in, r) -> MarginLosses.cosineSimilarity(in.get(0), in.get(1), 1, 1e-8), X, Y)),
            Map.entry(
                    "pairwise_distance",
                    new Case((in, r) -> MarginLosses.pairwiseDistance(in.get(0), in.get(1), 3, 0.01, true), X, Y)),
            Map.entry(
                    "cosine_embedding",
                    new Case(
                            (in, r) ->
                                    MarginLosses.cosineEmbeddingLoss(in.get(0), in.get(1), SIGNS.select(1, 0), 0.2, r),
                            X,
                            Y)),
            Map.entry(
                    "triplet",
                    new Case(
                            (in, r) ->
                                    MarginLosses.tripletMarginLoss(in.get(0), in.get(1), in.get(2), 1.5, 2, false, r),
                            X,
                            Y,
                            Z)),
            Map.entry(
                    "triplet_swap",
                    new Case(
                            (in, r) -> MarginLosses.tripletMarginLoss(in.get(0), in.get(1), in.get(2), 0.5, 1, true, r),
                            X,
                            Y,
                            Z)),
            Map.entry(
                    "hinge_embedding",
                    new Case((in, r) -> MarginLosses.hingeEmbeddingLoss(in.get(0), SIGNS, 1.2, r), X)),
            Map.entry(
                    "margin_ranking",
                    new Case((in, r) -> MarginLosses.marginRankingLoss(in.get(0), in.get(1), SIGNS, 0.3, r), X, Y)),
            Map.entry("soft_margin", new Case((in, r) -> MarginLosses.softMarginLoss(in.get(0), SIGNS, r), X)),
            Map.entry(
                    "multi_margin",
                    new Case((in, r) -> MarginLosses.multiMarginLoss(in.get(0), TARGETS, 1, 0.9, W, r), X)),
            Map.entry(
                    "multi_margin_2",
                    new Case((in, r) -> MarginLosses.multiMarginLoss(in.get(0), TARGETS, 2, 0.9, null, r), X)),
            Map.entry(
                    "multilabel_margin",
                    new Case(
                            (in, r) -> MarginLosses.multilabelMarginLoss(
                                    in.get(0), Tensor.of(new long[] {2, 0, -1, 1, -1, 0, -1, 1, 2, 0, 1, 2}, 4, 3), r),
                            X)),
            Map.entry(
                    "multilabel_soft_margin",
                    new Case((in, r) -> MarginLosses.multilabelSoftMarginLoss(in.get(0), Q, W, r), X)),
            Map.entry(
                    "poisson",
                    new Case(
                            (in, r) -> LikelihoodLosses.poissonNllLoss(in.get(0), in.get(1), true, false, 1e-8, r),
                            X,
                            COUNTS)),
            Map.entry(
                    "poisson_full",
                    new Case((in, r) -> LikelihoodLosses.poissonNllLoss(in.get(0), COUNTS, false, true, 1e-8, r), P)),
            Map.entry(
                    "gaussian",
                    new Case(
                            (in, r) -> LikelihoodLosses.gaussianNllLoss(in.get(0), in.get(1), in.get(2), true, 1e-6, r),
                            X,
                            Y,
                            P.select(1, 0).copy())),
            Map.entry(
                    "gaussian_each",
                    new Case(
                            (in, r) -> LikelihoodLosses.gaussianNllLoss(in.get(0), in.get(1), in.get(2), false, 0.5, r),
                            X,
                            Y,
                            P)),
            Map.entry(
                    "ctc",
                    new Case(
                            (in, r) -> Ctc.ctcLoss(
                                    in.get(0).logSoftmax(2),
                                    Tensor.of(new long[] {1, 2, 2, 3, 0, 0, 2, 1, 3}, 3, 3),
                                    new long[] {7, 5, 6},
                                    new long[] {3, 1, 2},
                                    0,
                                    r,
                                    false),
                            t(5, 23, 7, 3, 4))),
            Map.entry(
                    "ctc_short",
                    new Case(
                            (in, r) -> Ctc.ctcLoss(
                                    in.get(0).logSoftmax(2),
                                    Tensor.of(new long[] {1, 1, 1, 3, 0, 0}, 2, 3),
                                    new long[] {4, 4},
                                    new long[] {3, 0},
                                    2,
                                    r,
                                    true),
                            t(5, 23, 4, 2, 4))));

    @Test
    void valuesAndGradientsArePyTorchs() throws IOException {
        List<String> lines;
        try (InputStream in = LossValuesTest.class.getResourceAsStream("losses.txt")) {
            lines = new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .toList();
        }
        Set<String> seen = new HashSet<>();
        for (String line : lines) {
            String[] words = line.split(" ");
            String[] name = words[0].split(":");
            Case c = Objects.requireNonNull(CASES.get(name[0]), name[0]);
            seen.add(name[0]);
            Reduction reduction =
                    name.length == 1 ? Reduction.MEAN : Reduction.valueOf(name[1].toUpperCase(Locale.ROOT));
            List<Tensor> leaves = Arrays.stream(c.inputs())
                    .map(x -> x.copy().requiresGrad(true))
                    .toList();
            Tensor loss = c.loss().of(leaves, reduction);
            Tensor weights = Tensor.arange(1, loss.numel() + 1, 1).to(DType.FLOAT64);
            Autograd.backward(loss, weights.reshape(loss.shape().toArray()), Autograd.Graph.FREE);
            List<Tensor> found = new ArrayList<>(List.of(loss.detach()));
            leaves.forEach(x -> found.add(Objects.requireNonNull(x.grad())));
            double[] actual = found.stream()
                    .flatMapToDouble(x -> Arrays.stream(x.toDoubleArray()))
                    .toArray();
            double[] expected = Arrays.stream(words)
                    .skip(1)
                    .mapToDouble(Double::parseDouble)
                    .toArray();
            assertThat(actual).as(line).hasSameSizeAs(expected);
            for (int i = 0; i < actual.length; i++) {
                assertThat(actual[i])
                        .as("%s, number %d", words[0], i)
                        .isCloseTo(expected[i], org.assertj.core.data.Offset.offset(1e-12));
            }
        }
        assertThat(seen).isEqualTo(CASES.keySet());
    }

    /** Where they are smooth, and no part is declared to have no gradient. */
    @Test
    void secondDerivativesToo() {
        CASES.forEach((name, c) -> {
            if (!Set.of(
                            "hinge_embedding",
                            "margin_ranking",
                            "multi_margin",
                            "multilabel_margin",
                            "bce",
                            "gaussian_each",
                            "triplet_swap",
                            "ctc")
                    .contains(name)) {
                List<Tensor> leaves = Arrays.stream(c.inputs())
                        .map(x -> x.copy().requiresGrad(true))
                        .toList();
                gradients(in -> c.loss().of(in, Reduction.MEAN), leaves.toArray(new Tensor[0]));
            }
        });
    }

    @Test
    void atTheEdges() {
        Tensor zero = Tensor.of(0.0, 1.0, 0.0);
        close(
                Losses.BINARY_CROSS_ENTROPY.call(zero, Tensor.of(1.0, 0, 0), Reduction.NONE),
                new double[] {100, 100, 0},
                0);
        close(Losses.KL_DIV.call(Tensor.of(-1.0, -2, -3), zero, Reduction.NONE), new double[] {0, 2, 0}, 0);
        close(Losses.smoothL1Loss(zero, Tensor.of(2.0, 2, 2), 0), new double[] {5 / 3.0}, 1e-15);
        assertThat(MarginLosses.cosineSimilarity(zero.mul(0), zero, 0, 1e-8).item())
                .isZero();
        assertThat(LikelihoodLosses.gaussianNllLoss(zero, zero, Tensor.of(1.0, -1, 1))
                        .item())
                .isNaN();
        Tensor same = zero.copy().requiresGrad(true);
        Autograd.backward(MarginLosses.pairwiseDistance(same, zero));
        assertThat(Objects.requireNonNull(same.grad()).isFinite().all().item()).isEqualTo(1);
        Tensor x = t(5, 23, 2, 1, 4).requiresGrad(true);
        Tensor loss = Ctc.ctcLoss(
                x.logSoftmax(2), Tensor.of(new long[] {1, 1}, 1, 2), new long[] {2}, new long[] {2}); // needs a blank
        assertThat(loss.item()).isEqualTo(Double.POSITIVE_INFINITY);
        Autograd.backward(loss);
        assertThat(Objects.requireNonNull(x.grad()).abs().sum().item()).isZero();
    }

    @Test
    void mistakesAreNamed() {
        Tensor three = Tensor.zeros(DType.FLOAT64, 3);
        assertThatThrownBy(() -> Losses.crossEntropyOfProbabilities(X, three, null, 0, Reduction.MEAN))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("shapes differ: [4, 3] and [3]");
        assertThatThrownBy(() -> Losses.smoothL1Loss(X, Y, -1))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("beta");
        assertThatThrownBy(() -> MarginLosses.cosineEmbeddingLoss(X, Y, SIGNS, 0, Reduction.MEAN))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("the target [N]");
        assertThatThrownBy(() -> MarginLosses.multiMarginLoss(X, TARGETS, 3, 1, null, Reduction.MEAN))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("p is 3");
        assertThatThrownBy(() -> LikelihoodLosses.gaussianNllLoss(X, Y, three))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("the variance must be [4, 3]");
        Tensor steps = t(5, 23, 4, 1, 4).logSoftmax(2);
        Tensor labels = Tensor.of(new long[] {1, 2}, 1, 2);
        assertThatThrownBy(() -> Ctc.ctcLoss(steps, labels, new long[] {5}, new long[] {2}))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("inputLengths[0]");
        assertThatThrownBy(() -> Ctc.ctcLoss(steps, labels, new long[] {4, 4}, new long[] {2}))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("needs 1 input lengths");
    }
}
