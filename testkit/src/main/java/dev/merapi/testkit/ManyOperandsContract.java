// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.merapi.autograd.Autograd;
import dev.merapi.expr.Expr;
import dev.merapi.ops.Combine;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.ReductionOp;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Ops of many operands: each place counts, in value, dtype and gradient, however many there are. */
public abstract class ManyOperandsContract {
    /** Finer than float32 beside the sums here, and exact in float64. */
    private static final double FINE = 0x1p-30;

    protected abstract Device device();

    protected int[] counts() {
        return new int[] {8, 9, 16, 17, 24, 25, 40, 65};
    }

    /** The places that are tried. */
    protected int[] places(int n) {
        int[] all = new int[n];
        for (int i = 0; i < n; i++) {
            all[i] = i;
        }
        return all;
    }

    /** Σ (i + 1)·xᵢ */
    private static Expr weighted(List<Expr> x) {
        Expr sum = x.get(0);
        for (int i = 1; i < x.size(); i++) {
            sum = sum.add(x.get(i).mul(i + 1));
        }
        return sum;
    }

    private List<Tensor> ones(int n, DType dtype, long... shape) {
        List<Tensor> all = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            all.add(one(1, dtype, shape));
        }
        return all;
    }

    private Tensor one(double value, DType dtype, long... shape) {
        double[] values = new double[shape.length == 0 ? 1 : (int) shape[0]];
        java.util.Arrays.fill(values, value);
        return Tensor.of(values, shape).to(dtype).to(device());
    }

    private static void check(String what, DType dtype, double value, Tensor t) {
        assertEquals(dtype, t.dtype(), what);
        assertEquals(value, t.toDoubleArray()[0], 0, what);
    }

    @Test
    void everyOperandCounts() {
        for (int n : counts()) {
            PointwiseOp op = Pointwise.define("test::weighted" + n, n, 0, ManyOperandsContract::weighted);
            ReductionOp total =
                    ReductionOp.define("test::weighted_total" + n, n, 0, ManyOperandsContract::weighted, Combine.SUM);
            double sum = n * (n + 1) / 2.0;
            for (int i : places(n)) {
                try (Scope scope = Scope.open()) {
                    String what = n + " operands, float64 at " + i;
                    List<Tensor> x = ones(n, DType.FLOAT32, 2);
                    check(what, DType.FLOAT32, sum, op.call(x, List.of()));
                    check(what, DType.FLOAT32, 2 * sum, total.call(x, List.of(), new int[0], false, null));
                    x.set(i, one(1 + FINE, DType.FLOAT64, 2));
                    check(what, DType.FLOAT64, sum + (i + 1) * FINE, op.call(x, List.of()));
                    double both = 2 * (sum + (i + 1) * FINE);
                    check(what, DType.FLOAT64, both, total.call(x, List.of(), new int[0], false, null));
                    x.set(i, one(1 + FINE, DType.FLOAT64)); // of rank 0 it does not widen
                    check(what + " of rank 0", DType.FLOAT32, sum, op.call(x, List.of()));
                    x.set(i, one(3, DType.UINT8, 2));
                    check("uint8: " + what, DType.FLOAT32, sum + 2 * (i + 1), op.call(x, List.of()));
                }
            }
        }
    }

    @Test
    void everyScalarCounts() {
        for (int n : counts()) {
            Function<List<Expr>, Expr> f = ManyOperandsContract::weighted;
            PointwiseOp op = Pointwise.define("test::weighted_scalars" + n, 1, n - 1, f);
            double sum = n * (n + 1) / 2.0;
            Tensor x = one(1, DType.INT64, 2);
            for (int i : places(n - 1)) {
                try (Scope scope = Scope.open()) {
                    List<Number> scalars = new ArrayList<>(Collections.nCopies(n - 1, 1L));
                    check(n + " operands, all integers", DType.INT64, sum, op.call(List.of(x), scalars));
                    scalars.set(i, 1.5);
                    Tensor y = op.call(List.of(x), scalars);
                    check(n + " operands, scalar " + i, DType.FLOAT32, sum + (i + 2) * 0.5, y);
                }
            }
        }
    }

    @Test
    void everyOperandGetsItsGradient() {
        for (int n : counts()) {
            PointwiseOp op = Pointwise.define(
                    "test::weighted_squares" + n,
                    n,
                    0,
                    x -> weighted(x.stream().map(Expr::square).toList()));
            ReductionOp total = ReductionOp.define(
                    "test::weighted_squares_total" + n,
                    n,
                    0,
                    x -> weighted(x.stream().map(Expr::square).toList()),
                    Combine.SUM);
            try (Scope scope = Scope.open()) {
                List<Tensor> x = new ArrayList<>();
                for (int i = 0; i < n; i++) {
                    // Every third one is broadcast, every fourth wants no gradient.
                    x.add(one(i + 1, DType.FLOAT32, i % 3 == 2 ? 1 : 2).requiresGrad(i % 4 != 3));
                }
                Autograd.backward(op.call(x, List.of()).sum());
                gradients(n + " operands", x, 1);
                Autograd.backward(total.call(x, List.of(), new int[0], false, null));
                gradients("reduction of " + n + " operands", x, 2);
                for (int i : places(n)) {
                    List<Tensor> one = new ArrayList<>(ones(n, DType.FLOAT32, 2));
                    one.set(i, one(3, DType.FLOAT32, 2).requiresGrad(true));
                    Autograd.backward(op.call(one, List.of()).sum());
                    assertEquals(
                            6.0 * (i + 1),
                            java.util.Objects.requireNonNull(one.get(i).grad()).toDoubleArray()[0],
                            n + " operands, only " + i);
                }
            }
        }
    }

    private static void gradients(String what, List<Tensor> x, int times) {
        for (int i = 0; i < x.size(); i++) {
            Tensor g = x.get(i).grad();
            assertEquals(i % 4 != 3, g != null, what + ", gradient of " + i);
            if (g != null) {
                double each = 2.0 * (i + 1) * (i + 1) * times;
                assertEquals(each * (i % 3 == 2 ? 2 : 1), g.toDoubleArray()[0], what + ", gradient of " + i);
            }
        }
    }
}
