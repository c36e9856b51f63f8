// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Indexing by tensors against loops over Java arrays. */
class IndexingOpsTest {
    private static final double[] VALUES =
            new SplittableRandom(3).doubles(24, -1, 1).toArray();
    /** [2, 3, 4]. */
    private static final Tensor X = Tensor.of(VALUES, 2, 3, 4);
    /** [2, 5, 4], into the 3 of dimension 1; some count from the end. */
    private static final long[] PLACES =
            new SplittableRandom(4).longs(40, -3, 3).toArray();

    private static Tensor places() {
        return Tensor.of(PLACES, 2, 5, 4);
    }

    private static int from(long place, int size) {
        return (int) (place < 0 ? place + size : place);
    }

    @Test
    void gatherAndScatterFollowTheLoops() {
        double[] src = new SplittableRandom(5).doubles(40).toArray();
        double[] gathered = new double[40];
        double[] added = VALUES.clone();
        double[] written = VALUES.clone();
        for (int o = 0; o < 2; o++) {
            for (int j = 0; j < 5; j++) {
                for (int i = 0; i < 4; i++) {
                    int k = (o * 5 + j) * 4 + i;
                    int at = (o * 3 + from(PLACES[k], 3)) * 4 + i;
                    gathered[k] = VALUES[at];
                    added[at] += src[k];
                    written[at] = src[k];
                }
            }
        }
        Tensor s = Tensor.of(src, 2, 5, 4);
        assertThat(X.gather(1, places()).toDoubleArray()).containsExactly(gathered);
        assertThat(X.scatterAdd(-2, places(), s).toDoubleArray()).containsExactly(added);
        assertThat(X.scatter(1, places().to(DType.INT32), s).toDoubleArray()).containsExactly(written);
        Tensor inPlace = X.copy();
        assertThat(inPlace.scatterAdd_(1, places(), s)).isSameAs(inPlace);
        assertThat(inPlace.toDoubleArray()).containsExactly(added);
        assertThat(X.toDoubleArray()).containsExactly(VALUES);
        Tensor turned = X.transpose(0, 2).contiguous().transpose(0, 2);
        assertThat(turned.scatterAdd_(1, places(), s).toDoubleArray()).containsExactly(added);
        assertThat(X.gather(1, places().slice(0, 0, 1)).shape().toString()).isEqualTo("[1, 5, 4]");
    }

    @Test
    void selectAndAddByIndexFollowTheLoops() {
        Tensor index = Tensor.of(2, 0, -1, 2);
        double[] selected = X.indexSelect(1, index).toDoubleArray();
        double[] added =
                X.indexAdd(1, index, Tensor.ones(DType.FLOAT64, 2, 4, 4)).toDoubleArray();
        int[] counts = {1, 0, 3};
        int[] rows = {2, 0, 2, 2};
        for (int o = 0; o < 2; o++) {
            for (int i = 0; i < 4; i++) {
                for (int j = 0; j < 4; j++) {
                    assertThat(selected[(o * 4 + j) * 4 + i]).isEqualTo(VALUES[(o * 3 + rows[j]) * 4 + i]);
                }
                for (int j = 0; j < 3; j++) {
                    double expected = VALUES[(o * 3 + j) * 4 + i];
                    for (int n = 0; n < counts[j]; n++) {
                        expected += 1;
                    }
                    assertThat(added[(o * 3 + j) * 4 + i]).isEqualTo(expected);
                }
            }
        }
    }

    @Test
    void gradientsOfBothOrders() {
        Tensor x = X.copy().requiresGrad(true);
        Tensor s = Tensor.of(new SplittableRandom(6).doubles(40).toArray(), 2, 5, 4)
                .requiresGrad(true);
        Tensor unique = Tensor.of(new long[] {2, 0, 1, 1}, 1, 1, 4).expand(2, 1, 4);
        Tensor index = Tensor.of(2, 0, -1, 2, 1);
        GradCheck.of(in -> in.get(0).gather(1, places()).square(), List.of(x))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).gather(1, places()).exp(), List.of(x))
                .run()
                .orThrow();
        GradCheck.of(in -> in.get(0).scatterAdd(1, places(), in.get(1)).square(), List.of(x, s))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).scatterAdd(1, places(), in.get(1)).exp(), List.of(x, s))
                .run()
                .orThrow();
        GradCheck.of(
                        in -> in.get(0)
                                .scatter(1, unique, in.get(1).slice(1, 0, 1))
                                .square(),
                        List.of(x, s))
                .run()
                .orThrow();
        GradCheck.of(in -> in.get(0).mul(2).scatterAdd_(1, places(), in.get(1)).square(), List.of(x, s))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).indexSelect(1, index).exp(), List.of(x))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).indexAdd(1, index, in.get(1)).exp(), List.of(x, s))
                .run()
                .orThrow();
        GradCheck.of(in -> in.get(0).maskedSelect(in.get(0).gt(0)).square(), List.of(x))
                .run()
                .orThrow();
    }

    @Test
    void embedding() {
        Tensor w =
                Tensor.of(new SplittableRandom(9).doubles(12).toArray(), 4, 3).requiresGrad(true);
        Tensor tokens = Tensor.of(new int[][] {{1, 1}, {3, 0}});
        Tensor rows = w.embedding(tokens);
        assertThat(rows.shape().toString()).isEqualTo("[2, 2, 3]");
        assertThat(rows.at(1, 0).toDoubleArray()).containsExactly(w.at(3).toDoubleArray());
        GradCheck.of(in -> in.get(0).embedding(tokens).square(), List.of(w))
                .run()
                .orThrow();
        GradCheck.second(in -> in.get(0).embedding(tokens).exp(), List.of(w))
                .run()
                .orThrow();
        Autograd.backward(w.embedding(tokens, 1).sum());
        assertThat(Objects.requireNonNull(w.grad()).toDoubleArray())
                .containsExactly(1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1);
    }

    @Test
    void indicesOutOfRangeAreNamedBeforeAnythingIsWritten() {
        Tensor x = X.copy();
        Tensor bad = Tensor.of(0, 1, 3);
        assertThatThrownBy(() -> x.indexAdd_(1, bad, Tensor.ones(DType.FLOAT64, 2, 3, 4)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("index_add")
                .hasMessageContaining("index 3")
                .hasMessageContaining("size 3");
        assertThat(x.toDoubleArray()).containsExactly(VALUES);
        assertThatThrownBy(() -> X.at(0).embedding(Tensor.of(0, -4)))
                .hasMessageContaining("index -4")
                .hasMessageContaining("position 1");
        assertThatThrownBy(() -> X.gather(1, places().add(1))).hasMessageContaining("gather");
        assertThatThrownBy(() -> Tensor.of(5).oneHot(5)).hasMessageContaining("one_hot");
        assertThatThrownBy(() -> X.gather(1, places().to(DType.FLOAT32))).isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> X.indexAdd(1, Tensor.of(0), Tensor.ones(2, 1, 4)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("float32");
    }

    @Test
    void sizesThatDependOnData() {
        Tensor x = Tensor.of(new int[][] {{0, 5, 0}, {7, 0, 8}});
        assertThat(x.nonzero().toLongArray()).containsExactly(0, 1, 1, 0, 1, 2);
        assertThat(x.t().nonzero().toLongArray()).containsExactly(0, 1, 1, 0, 2, 1);
        assertThat(x.maskedSelect(x.gt(5)).toIntArray()).containsExactly(7, 8);
        assertThat(x.maskedSelect(Tensor.of(false, true, true)).toIntArray()).containsExactly(5, 0, 0, 8);
        assertThat(Tensor.zeros(2, 2).nonzero().shape().toString()).isEqualTo("[0, 2]");
        assertThat(Tensor.of(0, 2).oneHot(3).toLongArray()).containsExactly(1, 0, 0, 0, 0, 1);
    }
}
