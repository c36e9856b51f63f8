// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.merapi.autograd.Autograd;
import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Gradients by CUDA kernels of one's own. */
@Tag("kernels")
class CustomBackwardTest {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    record Prelu(Tensor x, Tensor weight) {}

    record Scaled(Tensor x, double factor) {}

    record Joined(List<Tensor> xs) {}

    record Split(Tensor low, Tensor high) {}

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    @BeforeEach
    void on() {
        CudaSim.setChecks(!Simulator.BY_A_DRIVER);
    }

    @AfterEach
    void off() {
        CudaSim.setChecks(false);
    }

    private static Op<Prelu, Tensor> prelu(String name, CudaKernel backward) {
        return Op.define(LOOKUP, name, Prelu.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = x[i] > 0 ? x[i] : weight[i % weight.numel] * x[i];"))
                .saveForBackward((a, out) -> a)
                .backward(DeviceType.CUDA, backward)
                .and();
    }

    private static Tensor there(Tensor t, boolean grad) {
        return t.to(Simulator.DEVICE).requiresGrad(grad);
    }

    @Test
    void aBodyThatWritesTwoGradients() {
        Op<Prelu, Tensor> op = prelu("test::prelu", CudaKernel.body("""
                d_x[i] = x[i] > 0 ? d_out[i] : weight[i] * d_out[i];
                if (x[i] <= 0) d_weight[i] += x[i] * d_out[i];""").zeroed("d_weight"));
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 4, 3);
        Tensor w = PointwiseTest.random(DType.FLOAT32, 2, 4, 3);
        double[] xs = x.toDoubleArray();
        double[] ws = w.toDoubleArray();
        for (int wanted = 1; wanted < 4; wanted++) {
            Tensor xt = there(x, (wanted & 1) != 0);
            Tensor wt = there(w, (wanted & 2) != 0);
            // The gradient of a sum is one number that is repeated: strides of 0.
            Autograd.backward(op.call(new Prelu(xt, wt)).sum());
            if ((wanted & 1) != 0) {
                double[] expected = new double[12];
                for (int i = 0; i < 12; i++) {
                    expected[i] = xs[i] > 0 ? 1 : ws[i];
                }
                assertArrayEquals(expected, xt.grad().toDoubleArray(), 1e-7);
            } else {
                assertNull(xt.grad());
            }
            if ((wanted & 2) != 0) {
                double[] expected = new double[12];
                for (int i = 0; i < 12; i++) {
                    expected[i] = xs[i] > 0 ? 0 : xs[i];
                }
                assertArrayEquals(expected, wt.grad().toDoubleArray(), 1e-7);
            }
        }
    }

    @Test
    void aWholeKernelWithNullForWhatIsNotWanted() {
        String source = """
                extern "C" __global__ void k(float* d_x, float* d_weight, const float* d_out, const float* x,
                                             const float* weight, long long n) {
                    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
                    if (i >= n) return;
                    if (d_x) d_x[i] = x[i] > 0 ? d_out[i] : weight[i] * d_out[i];
                    if (d_weight) d_weight[i] = x[i] > 0 ? 0 : x[i] * d_out[i];
                }""";
        Op<Prelu, Tensor> op = prelu("test::prelu_whole", CudaKernel.source("k", source));
        Tensor x = there(Tensor.of(new float[] {-2, 3}, 2), false);
        Tensor w = there(Tensor.of(new float[] {0.5f, 0.5f}, 2), true);
        Autograd.backward(op.call(new Prelu(x, w)).sum());
        assertArrayEquals(new double[] {-2, 0}, w.grad().toDoubleArray());
    }

    /** Nothing saved but the scalar: the gradient has the shape of the one that came. */
    @Test
    void gradientsInTheShapeOfWhatCame() {
        Op<Scaled, Tensor> op = Op.define(LOOKUP, "test::scaled_by", Scaled.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = factor * x[i];"))
                .saveForBackward((a, out) -> a.factor())
                .backward(DeviceType.CUDA, CudaKernel.body("d_x[i] = saved * d_out[i];"))
                .and();
        Tensor x = there(Tensor.of(1.0, 2.0, 3.0), true);
        Tensor y = op.call(new Scaled(x, 2.5));
        Autograd.backward(y, there(Tensor.of(1.0, 10.0, 100.0), false), Autograd.Graph.FREE);
        assertArrayEquals(new double[] {2.5, 25, 250}, x.grad().toDoubleArray());
        Tensor empty = there(Tensor.zeros(0), true);
        Autograd.backward(op.call(new Scaled(empty, 1)).sum());
        assertArrayEquals(new double[0], empty.grad().toDoubleArray());
    }

    @Test
    void listsAndSeveralResults() {
        Op<Joined, Split> op = Op.define(LOOKUP, "test::least_and_most", Joined.class, Split.class)
                .shape(a -> new Split(Tensor.meta(a.xs().get(0)), Tensor.meta(a.xs().get(0))))
                .kernel(DeviceType.CUDA, CudaKernel.body("""
                        acc_t a = xs[0][i], b = xs[0][i];
                        for (int k = 1; k < xs.count; k++) a = fmin(a, xs[k][i]), b = fmax(b, xs[k][i]);
                        low[i] = a, high[i] = b;"""))
                .saveForBackward((a, out) -> a)
                .backward(DeviceType.CUDA, CudaKernel.body("""
                        acc_t a = xs[0][i], b = xs[0][i];
                        for (int k = 1; k < xs.count; k++) a = fmin(a, xs[k][i]), b = fmax(b, xs[k][i]);
                        for (int k = 0; k < xs.count; k++)
                            d_xs[k][i] = (xs[k][i] == a ? d_low[i] : 0) + (xs[k][i] == b ? d_high[i] : 0);"""))
                .and();
        Tensor p = there(Tensor.of(1.0, 9.0), true);
        Tensor q = there(Tensor.of(5.0, 5.0), true);
        Tensor r = there(Tensor.of(7.0, 2.0), true);
        Split y = op.call(new Joined(List.of(p, q, r)));
        assertArrayEquals(new double[] {1, 2}, y.low().toDoubleArray());
        // Of `low` no gradient comes: zeros.
        Autograd.backward(y.high().mul(3).sum());
        assertArrayEquals(new double[] {0, 3}, p.grad().toDoubleArray());
        assertArrayEquals(new double[] {0, 0}, q.grad().toDoubleArray());
        assertArrayEquals(new double[] {3, 0}, r.grad().toDoubleArray());
    }

    @Test
    void mistakesInABackwardAreReportedAsSuch() {
        assumeFalse(Simulator.BY_A_DRIVER, "skipped: only the simulator checks accesses");
        Op<Prelu, Tensor> op = prelu("test::prelu_wrong", CudaKernel.body("d_x[i] = x[i + 1];"));
        Tensor x = there(Tensor.of(1.0, 2.0), true);
        Tensor y = op.call(new Prelu(x, x.detach()));
        String said = assertThrows(RuntimeException.class, () -> Autograd.backward(y.sum()))
                .toString();
        assertTrue(said.contains("backward of test::prelu_wrong"), said);
        assertTrue(said.contains("reads 8 bytes at byte 16 of x"), said);
        assertTrue(said.contains("backward of test::prelu_wrong (body):1: d_x[i] = x[i + 1];"), said);
    }
}
