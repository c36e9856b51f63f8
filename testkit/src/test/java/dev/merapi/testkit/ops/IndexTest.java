// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.tensor.Index.ALL;
import static dev.merapi.tensor.Index.ELLIPSIS;
import static dev.merapi.tensor.Index.at;
import static dev.merapi.tensor.Index.from;
import static dev.merapi.tensor.Index.upTo;
import static dev.merapi.testkit.ops.Samples.close;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What the golden values do not show: views and copies, edges, errors, draws. */
class IndexTest {
    private static Tensor x() {
        return Tensor.arange(12).to(DType.FLOAT32).view(3, 4);
    }

    @Test
    void placesWithoutTensorsAreViewsAndOthersCopies() {
        Tensor x = x();
        x.index(ELLIPSIS, from(2)).zero_();
        close(x.select(0, 0), new double[] {0, 1, 0, 0}, 0);
        x.index(at(Tensor.of(0L))).zero_();
        close(x.select(0, 0), new double[] {0, 1, 0, 0}, 0);
    }

    @Test
    void writesGoThroughViewsThatAreNotInOrder() {
        Tensor x = x();
        x.t().indexPut_(7, at(Tensor.of(0L, 3L)), at(Tensor.of(1L, 2L)));
        close(x, new double[] {0, 1, 2, 3, 7, 5, 6, 7, 8, 9, 10, 7}, 0);
        x.indexPut_(Tensor.of(1f, 2f), true, at(Tensor.of(0L, 0L)), at(1));
        close(x.select(0, 0), new double[] {0, 4, 2, 3}, 0);
        x.indexPut_(5, at(1), upTo(-2));
        close(x.select(0, 1), new double[] {5, 5, 6, 7}, 0);
    }

    @Test
    void aMaskOfNothingChoosesNothing() {
        Tensor none = Tensor.zeros(DType.BOOL, 3, 4);
        assertThat(x().index(at(none)).shape().toArray()).containsExactly(0);
        assertThat(x().index(at(none.select(1, 0)), ALL).shape().toArray()).containsExactly(0, 4);
        assertThat(x().index(at(Tensor.scalar(true))).shape().toArray()).containsExactly(1, 3, 4);
        assertThat(x().index(at(Tensor.scalar(false))).shape().toArray()).containsExactly(0, 3, 4);
        close(x().indexPut(Tensor.scalar(1f), false, at(none)), x(), 0);
    }

    @Test
    void placesThatDoNotFitAreRefused() {
        Tensor x = x();
        assertThatThrownBy(() -> x.index(ALL, ALL, at(0)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("merapi::index: places for 3 dimensions, but x has 2");
        assertThatThrownBy(() -> x.index(ELLIPSIS, ELLIPSIS)).hasMessageContaining("2 times");
        assertThatThrownBy(() -> x.index(at(3))).hasMessageContaining("index 3 is out of range");
        assertThatThrownBy(() -> x.index(at(Tensor.of(0L)), at(Tensor.of(-5L))))
                .hasMessageContaining("index -5, at position 0 of the indices, is out of range for size 4");
        assertThatThrownBy(() -> x.index(at(Tensor.of(1f)))).isInstanceOf(DTypeException.class);
        assertThatThrownBy(() -> x.index(at(Tensor.ones(DType.BOOL, 3, 5))))
                .hasMessageContaining("a mask of size 5 for dimension 1 of size 4");
        assertThatThrownBy(() -> x.indexPut_(Tensor.zeros(3), at(Tensor.of(0L, 1L))))
                .isInstanceOf(ShapeException.class);
        close(x, x(), 0);
    }

    @Test
    void aLeafThatWantsAGradientIsNotWrittenAndItsCopyIs() {
        Tensor leaf = x().requiresGrad(true);
        assertThatThrownBy(() -> leaf.indexPut_(1, at(Tensor.of(0L)))).isInstanceOf(GradientException.class);
        Tensor y = leaf.mul(2);
        y.indexPut_(Tensor.scalar(1f), at(Tensor.of(0L, 2L)), at(Tensor.of(1L, 1L)));
        Autograd.backward(y.sum());
        close(leaf.grad(), new double[] {2, 0, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2}, 0);
    }

    @Test
    void sourcesAndIndicesMayBeFewer() {
        Tensor index = Tensor.of(new long[] {2, 0}, 1, 2);
        Tensor src = Tensor.of(new float[] {10, 20, 30, 40, 50, 60}, 2, 3);
        close(x().scatter(0, index, src), new double[] {0, 20, 2, 3, 4, 5, 6, 7, 10, 9, 10, 11}, 0);
        close(x().scatterAdd_(0, index, src), new double[] {0, 21, 2, 3, 4, 5, 6, 7, 18, 9, 10, 11}, 0);
        close(
                x().scatterReduce(0, index, src, Reduce.AMAX, true),
                new double[] {0, 20, 2, 3, 4, 5, 6, 7, 10, 9, 10, 11},
                0);
        assertThatThrownBy(() -> x().scatter(0, Tensor.of(new long[] {0, 0, 0, 0, 0}, 1, 5), src))
                .isInstanceOf(ShapeException.class);
    }

    @Test
    void nanIsTheLargestInSearchesAndNoneOfThose() {
        Tensor sorted = Tensor.of(1.0, 2, Double.NaN);
        assertThat(sorted.searchSorted(Tensor.of(1.5, Double.NaN, Double.POSITIVE_INFINITY), false)
                        .toLongArray())
                .containsExactly(1, 2, 2);
        assertThat(sorted.searchSorted(Tensor.of(Double.NaN), true).toLongArray())
                .containsExactly(3);
        assertThat(Tensor.of(1.0, Double.NaN).isIn(sorted).toBooleanArray()).containsExactly(true, false);
        assertThat(sorted.median().item()).isNaN();
        assertThat(sorted.nanMedian().item()).isEqualTo(1);
        assertThat(Tensor.of(Double.NaN, 0.0, -0.0, Double.NaN).unique().toDoubleArray())
                .hasSize(3);
        assertThat(Tensor.of(Double.NaN, 1.0, 5).histc(2, 0, 2).toDoubleArray()).containsExactly(0, 1);
    }

    @Test
    void nothingHasNothing() {
        Tensor none = Tensor.zeros(0);
        assertThat(none.uniqueWithCounts().counts().numel()).isZero();
        assertThat(none.to(DType.INT64).bincount().numel()).isZero();
        assertThat(none.isIn(x()).numel()).isZero();
        assertThat(x().isIn(none).any().itemBoolean()).isFalse();
        assertThat(none.searchSorted(Tensor.of(1f), false).itemLong()).isZero();
        assertThat(none.repeatInterleave(3, 0).numel()).isZero();
        assertThat(none.histc(2, 0, 1).toDoubleArray()).containsExactly(0, 0);
        assertThatThrownBy(() -> none.median(0, false)).isInstanceOf(ShapeException.class);
        assertThat(Tensor.einsum("ij,jk->ik", Tensor.zeros(2, 0), Tensor.zeros(0, 3))
                        .sum()
                        .item())
                .isZero();
        close(Tensor.scalar(3.0).median(), new double[] {3}, 0);
        assertThat(Tensor.scalar(3.0).mode(0, false).indices().itemLong()).isZero();
    }

    @Test
    void comparisons() {
        assertThat(x().equal(x())).isTrue();
        assertThat(x().equal(x().view(4, 3))).isFalse();
        assertThat(x().equal(x().to(DType.FLOAT64))).isFalse();
        assertThat(Tensor.of(Float.NaN).equal(Tensor.of(Float.NaN))).isFalse();
        assertThat(x().allClose(x().mul(1 + 1e-6))).isTrue();
        assertThat(x().allClose(x().add(1e-3))).isFalse();
    }

    @Test
    void equationsThatAreNone() {
        Tensor a = Tensor.zeros(2, 3);
        for (String wrong : List.of("ij,jk->ik", "ij->ijk", "i", "ij->ii", "i.j", "......", "ii", "i1->i")) {
            assertThatThrownBy(() -> Tensor.einsum(wrong, a))
                    .as(wrong)
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining("merapi::einsum");
        }
        assertThatThrownBy(() -> Tensor.einsum("ij,ij", a, Tensor.zeros(3, 2))).hasMessageContaining("'i' is 2 and 3");
        assertThatThrownBy(() -> Tensor.einsum("ij,ij", a, a.to(DType.FLOAT64))).isInstanceOf(DTypeException.class);
    }

    /** The chain a·b·v of a long and a flat matrix: from the right it takes far fewer multiplications. */
    @Test
    void cheapProductsComeFirst() {
        Tensor a = Tensor.randn(3000, 200);
        Tensor b = Tensor.randn(200, 3000);
        Tensor v = Tensor.randn(3000);
        close(Tensor.einsum("ij,jk,k->i", a, b, v), a.matmul(b.matmul(v)), 1e-4);
    }

    @Test
    void productsOfSeveralZerosHaveFirstDerivativesOnly() {
        Tensor src = Tensor.of(0.0, 0, 3).requiresGrad(true);
        Tensor out =
                Tensor.ones(DType.FLOAT64, 1).scatterReduce(0, Tensor.zeros(DType.INT64, 3), src, Reduce.PROD, true);
        assertThatThrownBy(() -> Autograd.grad(out.sum(), List.of(src), Autograd.Graph.CREATE))
                .isInstanceOf(GradientException.class);
        Tensor again =
                Tensor.ones(DType.FLOAT64, 1).scatterReduce(0, Tensor.zeros(DType.INT64, 3), src, Reduce.PROD, true);
        close(Autograd.grad(again.sum(), List.of(src)).get(0), new double[] {0, 0, 0}, 0);
    }

    // ---------------------------------------------------------------- draws

    @Test
    void multinomialDrawsAsOftenAsIsSaid() {
        Merapi.seed(5);
        Tensor p = Tensor.of(new float[] {1, 0, 3, 4, 0, 0, 5, 0}, 2, 4);
        Tensor drawn = p.multinomial(8000, true);
        double[] first = drawn.select(0, 0).bincount(null, 4).toDoubleArray();
        assertThat(first[1]).isZero();
        assertThat(first[0]).isBetween(850.0, 1150.0);
        assertThat(first[2]).isBetween(2850.0, 3150.0);
        assertThat(drawn.select(0, 1).toLongArray()).containsOnly(2);
        long[] all = p.select(0, 0).multinomial(3, false).toLongArray();
        Arrays.sort(all);
        assertThat(all).containsExactly(0, 2, 3);
        Tensor once = p.narrow(0, 0, 1).expand(4000, 4).multinomial(1, false).flatten();
        assertThat(once.bincount(null, 4).toDoubleArray()[3]).isBetween(1900.0, 2100.0);
        assertThatThrownBy(() -> p.multinomial(2, false)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> p.neg().multinomial(1, true)).isInstanceOf(ShapeException.class);
    }

    @Test
    void exponentialHasItsMoments() {
        Merapi.seed(6);
        Tensor x = Tensor.zeros(DType.FLOAT64, 20000).exponential_(2);
        assertThat(x.mean().item()).isBetween(0.48, 0.52);
        assertThat(x.std().item()).isBetween(0.48, 0.52);
        assertThat(x.min().item()).isNotNegative();
        assertThatThrownBy(() -> x.exponential_(0)).isInstanceOf(SchemaException.class);
        assertThatThrownBy(() -> Tensor.zeros(DType.INT64, 2).exponential_(1)).isInstanceOf(DTypeException.class);
    }
}
