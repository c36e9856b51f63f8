// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cpu.HostProducts;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.runtime.MatrixProduct;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The CPU's products on the simulator's memory, in every layout that a product may have, against float64. */
class SimulatedBlasTest {
    private final SimulatedBlas blas = new SimulatedBlas((stream, work) -> work.run());

    @BeforeAll
    static void natives() {
        Simulator.require();
        assumeTrue(HostProducts.isAvailable(), "skipped: there is no native code for the CPU");
    }

    private static Tensor random(DType dtype, long... shape) {
        return Tensor.randn(shape).to(dtype);
    }

    private static Tensor there(Tensor t) {
        return t.to(Simulator.DEVICE);
    }

    /** One rounding of a sum of k terms of about 1 in float32. */
    private static void near(Tensor exact, Tensor actual) {
        double[] expected = exact.toDoubleArray();
        double[] got = actual.to(Device.CPU).toDoubleArray();
        for (int i = 0; i < expected.length; i++) {
            double bound = Math.abs(expected[i]) * actual.dtype().epsilon() + 0x1p-20;
            assertThat(got[i]).isCloseTo(expected[i], within(bound));
        }
    }

    private void check(Tensor a, Tensor b, Tensor thereA, Tensor thereB) {
        Tensor exact = LinearAlgebra.matmul(a.to(DType.FLOAT64), b.to(DType.FLOAT64));
        Tensor out = Tensor.full(exact.shape(), 7, a.dtype(), Simulator.DEVICE);
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(thereA, thereB), out);
        assertThat(blas.multiply(p, false, 0)).isTrue();
        near(exact, out);
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT32", "FLOAT64", "FLOAT16", "BFLOAT16"})
    void layouts(DType dtype) {
        long[][][] shapes = {
            {{5, 9}, {9, 7}},
            {{1, 9}, {9, 7}},
            {{5, 9}, {9, 1}},
            {{5, 1}, {1, 7}},
            {{3, 5, 9}, {3, 9, 7}},
            {{3, 5, 9}, {9, 7}},
            {{5, 9}, {3, 9, 7}},
            {{3, 1, 5, 9}, {1, 4, 9, 7}},
        };
        for (long[][] s : shapes) {
            Tensor a = random(dtype, s[0]);
            Tensor b = random(dtype, s[1]);
            Tensor turnedA = there(a.transpose(-1, -2).contiguous()).transpose(-1, -2);
            Tensor turnedB = there(b.transpose(-1, -2).contiguous()).transpose(-1, -2);
            check(a, b, there(a), there(b));
            check(a, b, turnedA, there(b));
            check(a, b, there(a), turnedB);
            check(a, b, turnedA, turnedB);
        }
        Tensor wide = random(dtype, 6, 40);
        check(
                wide.narrow(1, 3, 9),
                wide.narrow(1, 20, 9).t(),
                there(wide).narrow(1, 3, 9),
                there(wide).narrow(1, 20, 9).t());
    }

    @Test
    void bias() {
        Tensor x = random(DType.FLOAT32, 2, 5, 9);
        Tensor w = random(DType.FLOAT32, 7, 9);
        Tensor bias = random(DType.FLOAT32, 7);
        Tensor exact = LinearAlgebra.matmul(
                        x.to(DType.FLOAT64), w.to(DType.FLOAT64).t())
                .add(bias);
        Tensor out = Tensor.full(exact.shape(), 7, DType.FLOAT32, Simulator.DEVICE);
        LinearAlgebra.Linear args = new LinearAlgebra.Linear(there(x), there(w), there(bias));
        assertThat(blas.multiply(MatrixProduct.of(args, out), false, 0)).isTrue();
        near(exact, out);
    }

    @Test
    void whatItDoesNotServe() {
        Tensor x = there(random(DType.FLOAT32, 8, 8));
        Tensor integers = x.to(DType.INT32);
        assertThat(blas.multiply(product(integers, integers, DType.INT32), false, 0))
                .isFalse();
        Tensor gaps = there(random(DType.FLOAT32, 16, 16)).slice(0, 0, 16, 2).slice(1, 0, 16, 2);
        assertThat(blas.multiply(product(gaps, x, DType.FLOAT32), false, 0)).isFalse();
    }

    private static MatrixProduct product(Tensor a, Tensor b, DType dtype) {
        Tensor out = Tensor.zeros(dtype, a.size(0), b.size(1)).to(Simulator.DEVICE);
        return MatrixProduct.of(new LinearAlgebra.Matmul(a, b), out);
    }

    /** As with a library on a GPU: a captured product is done when the graph is replayed. */
    @Test
    void inAGraph() {
        List<Runnable> later = new ArrayList<>();
        Tensor a = random(DType.FLOAT32, 4, 4);
        Tensor x = there(a);
        Tensor out = Tensor.full(a.shape(), 7, DType.FLOAT32, Simulator.DEVICE);
        MatrixProduct p = MatrixProduct.of(new LinearAlgebra.Matmul(x, x), out);
        new SimulatedBlas((stream, work) -> later.add(work)).multiply(p, false, 3);
        assertArrayEquals(
                Tensor.full(a.shape(), 7, DType.FLOAT64, Device.CPU).toDoubleArray(),
                out.to(Device.CPU).toDoubleArray());
        later.forEach(Runnable::run);
        near(LinearAlgebra.matmul(a.to(DType.FLOAT64), a.to(DType.FLOAT64)), out);
    }
}
