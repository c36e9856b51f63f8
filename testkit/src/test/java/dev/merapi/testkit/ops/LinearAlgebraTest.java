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
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import org.junit.jupiter.api.Test;

class LinearAlgebraTest {
    /** a [m, k] · b [k, n] by three loops. */
    private static double[] product(double[] a, double[] b, int m, int k, int n) {
        double[] c = new double[m * n];
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                for (int p = 0; p < k; p++) {
                    c[i * n + j] += a[i * k + p] * b[p * n + j];
                }
            }
        }
        return c;
    }

    @Test
    void multipliesMatrices() {
        Tensor a = normal(1, 3, 5);
        Tensor b = normal(2, 5, 4);
        close(a.matmul(b), product(a.toDoubleArray(), b.toDoubleArray(), 3, 5, 4), 1e-14);
        assertThat(a.matmul(b).shape().toArray()).containsExactly(3, 4);
    }

    @Test
    void takesTransposedAndSlicedOperands() {
        Tensor a = normal(3, 5, 3);
        Tensor b = normal(4, 4, 5);
        close(a.t().matmul(b.t()), a.t().copy().matmul(b.t().copy()), 1e-14);
        Tensor wide = normal(5, 4, 10).slice(1, 0, 10, 2);
        close(a.t().matmul(wide.t()), a.t().copy().matmul(wide.t().copy()), 1e-14);
        Tensor row = normal(6, 5).expand(3, 5);
        close(row.matmul(a), row.copy().matmul(a), 1e-14);
    }

    @Test
    void vectorsCountAsRowAndColumn() {
        Tensor v = normal(7, 4);
        Tensor w = normal(8, 4);
        Tensor m = normal(9, 3, 4);
        Tensor batch = normal(10, 2, 3, 4);
        assertThat(v.matmul(w).rank()).isZero();
        close(v.matmul(w), v.mul(w).sum(), 1e-14);
        close(m.matmul(v), m.mul(v).sum(1), 1e-14);
        close(v.matmul(m.t()), m.mul(v).sum(1), 1e-14);
        close(batch.matmul(v), batch.mul(v).sum(2), 1e-14);
        close(v.matmul(batch.transpose(1, 2)), batch.mul(v).sum(2), 1e-14);
    }

    @Test
    void batchesBroadcast() {
        Tensor a = normal(11, 2, 1, 3, 4);
        Tensor b = normal(12, 5, 4, 2);
        Tensor c = a.matmul(b);
        assertThat(c.shape().toArray()).containsExactly(2, 5, 3, 2);
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < 5; j++) {
                close(c.at(i, j), a.at(i, 0).matmul(b.at(j)), 1e-14);
            }
        }
        close(normal(13, 2, 3, 4).bmm(normal(14, 2, 4, 1)), normal(13, 2, 3, 4).matmul(normal(14, 2, 4, 1)), 0);
    }

    @Test
    void integersAreExactAndNothingGivesZeros() {
        long odd = (1L << 53) + 1; // no double is this number; its square wraps
        Tensor big = Tensor.of(new long[] {odd, 1}, 1, 2);
        assertThat(big.matmul(big.t()).toLongArray()).containsExactly(odd * odd + 1);
        assertThat(Tensor.zeros(2, 0).matmul(Tensor.zeros(0, 3)).toFloatArray())
                .containsOnly(0)
                .hasSize(6);
        assertThat(Tensor.zeros(0, 3).matmul(Tensor.zeros(3, 2)).shape().toArray())
                .containsExactly(0, 2);
        assertThat(Tensor.zeros(0, 3).linear(Tensor.zeros(2, 3), null).shape().toArray())
                .containsExactly(0, 2);
    }

    @Test
    void mapsTheLastDimension() {
        Tensor x = normal(15, 2, 3, 4);
        Tensor w = normal(16, 5, 4);
        Tensor bias = normal(17, 5);
        close(x.linear(w, bias), x.matmul(w.t()).add(bias), 1e-14);
        close(x.linear(w, null), x.matmul(w.t()), 1e-14);
        close(x.at(0, 0).linear(w, bias), w.matmul(x.at(0, 0)).add(bias), 1e-14);
        Tensor half = x.to(DType.BFLOAT16);
        close(
                half.linear(w.to(DType.BFLOAT16), null),
                half.to(DType.FLOAT64)
                        .matmul(w.to(DType.BFLOAT16).to(DType.FLOAT64).t()),
                0x1p-8);
    }

    @Test
    void gradientsOfProducts() {
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(20, 3, 4), leaf(21, 4, 2));
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(22, 4), leaf(23, 4));
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(24, 2, 3, 4), leaf(25, 4, 2));
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(26, 3, 4), leaf(27, 2, 4, 2));
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(28, 2, 1, 2, 3), leaf(29, 3, 3, 2));
        gradients(in -> in.get(0).matmul(in.get(1)), leaf(30, 2, 3, 4), leaf(31, 4));
        gradients(in -> in.get(0).transpose(0, 1).matmul(in.get(0)), leaf(32, 3, 2));
    }

    @Test
    void gradientsOfLinear() {
        gradients(in -> in.get(0).linear(in.get(1), in.get(2)), leaf(33, 2, 3, 4), leaf(34, 5, 4), leaf(35, 5));
        gradients(in -> in.get(0).linear(in.get(1), null), leaf(36, 4), leaf(37, 2, 4));
    }

    @Test
    void misfitsAreNamed() {
        Tensor a = Tensor.zeros(32, 128);
        Tensor b = Tensor.zeros(256, 128);
        assertThatThrownBy(() -> a.matmul(b))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("a.size(-1) = 128, b.size(-2) = 256")
                .hasMessageContaining("b.transpose(-2, -1) makes the shapes fit");
        assertThatThrownBy(() -> a.matmul(Tensor.scalar(1f)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("0-d");
        assertThatThrownBy(() -> a.matmul(b.to(DType.FLOAT64)))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("float32 and float64");
        assertThatThrownBy(() -> Tensor.zeros(3, 2, 2).matmul(Tensor.zeros(4, 2, 2)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("broadcast");
        assertThatThrownBy(() -> a.linear(b.t(), null))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("weight.t() makes the shapes fit");
        assertThatThrownBy(() -> a.linear(b, Tensor.zeros(3)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("bias must be [256]");
    }
}
