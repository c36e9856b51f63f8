// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.runtime.KernelCompileException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Kernels of one's own: bodies and whole sources, run unmodified by the simulator. */
@Tag("kernels")
public class CustomKernelTest {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    record Scaled(
            Tensor x, Tensor weight, double slope, @Nullable Tensor bias) {}

    record Softmax(Tensor x) {}

    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    private static Op<Scaled, Tensor> scaled(String name, String body) {
        return Op.define(LOOKUP, name, Scaled.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body(body))
                .nonDifferentiable();
    }

    private static final String BODY = """
            if (i >= n) return;
            auto v = x[i] > 0 ? x[i] * weight[i] : slope * x[i];
            if (bias) v += bias[i % bias.numel];
            out[i] = v;
            """;

    @Test
    void aBodyInEveryFloatingDtype() {
        Op<Scaled, Tensor> op = scaled("test::scaled", BODY);
        for (DType dtype : new DType[] {DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16}) {
            Tensor x = PointwiseTest.random(dtype, 1, 7, 11);
            Tensor w = PointwiseTest.random(dtype, 2, 7, 11);
            Tensor b = PointwiseTest.random(dtype, 3, 11);
            for (Tensor bias : new Tensor[] {null, b}) {
                Tensor y = op.call(new Scaled(
                        x.to(Simulator.DEVICE),
                        w.to(Simulator.DEVICE),
                        0.25,
                        bias == null ? null : bias.to(Simulator.DEVICE)));
                double[] xs = x.toDoubleArray();
                double[] ws = w.toDoubleArray();
                double[] bs = b.toDoubleArray();
                double[] expected = new double[xs.length];
                for (int i = 0; i < xs.length; i++) {
                    expected[i] = (xs[i] > 0 ? xs[i] * ws[i] : 0.25 * xs[i]) + (bias == null ? 0 : bs[i % 11]);
                }
                assertArrayEquals(expected, y.toDoubleArray(), 12 * dtype.epsilon(), dtype.toString());
            }
        }
    }

    @Test
    void stridedInputsWhereTheOpTakesThem() {
        Op<Scaled, Tensor> op = scaled("test::scaled_strided", BODY).stridesOk();
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 5, 6);
        Tensor there = x.to(Simulator.DEVICE).transpose(0, 1);
        Tensor y = op.call(new Scaled(there, there, 2, null));
        double[] expected = x.transpose(0, 1).toDoubleArray();
        for (int i = 0; i < expected.length; i++) {
            expected[i] = expected[i] > 0 ? expected[i] * expected[i] : 2 * expected[i];
        }
        assertArrayEquals(expected, y.toDoubleArray(), 1e-5);
    }

    @Test
    void emptyTensorsLaunchNothing() {
        Op<Scaled, Tensor> op = scaled("test::scaled_empty", "this does not even compile");
        Tensor x = Tensor.zeros(DType.FLOAT32, 0, 3).to(Simulator.DEVICE);
        assertTrue(op.call(new Scaled(x, x, 1, null)).numel() == 0);
    }

    @Test
    void compileErrorsNameTheUsersLine() {
        Op<Scaled, Tensor> op = scaled("test::scaled_wrong", "float a = x[i];\nout[i] = a + missing;");
        Tensor x = Tensor.zeros(3).to(Simulator.DEVICE);
        KernelCompileException e = assertThrows(KernelCompileException.class, () -> op.call(new Scaled(x, x, 1, null)));
        assertTrue(e.getMessage().contains("test::scaled_wrong (body):2:"), e.getMessage());
    }

    public static final String WHOLE_SOFTMAX = """
            template <class T> __device__ T largest(T v) {
                for (int o = 16; o > 0; o /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
                return v;
            }
            extern "C" __global__ void softmax(const scalar_t* x, scalar_t* out, long long columns) {
                extern __shared__ float s[];
                const scalar_t* row = x + blockIdx.x * columns;
                float m = -INFINITY;
                for (int i = threadIdx.x; i < columns; i += blockDim.x) m = fmaxf(m, row[i]);
                m = largest(m);
                if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = m;
                __syncthreads();
                for (int i = 0; i < blockDim.x / 32; i++) m = fmaxf(m, s[i]);
                __syncthreads();
                if (threadIdx.x == 0) s[0] = 0;
                __syncthreads();
                float sum = 0;
                for (int i = threadIdx.x; i < columns; i += blockDim.x) sum += expf(row[i] - m);
                atomicAdd(&s[0], sum);
                __syncthreads();
                for (int i = threadIdx.x; i < columns; i += blockDim.x)
                    out[blockIdx.x * columns + i] = expf(row[i] - m) / s[0];
            }
            """;

    @Test
    void aWholeKernelWithSharedMemoryAndShuffles() {
        Op<Softmax, Tensor> op = Op.define(LOOKUP, "test::softmax", Softmax.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.source("softmax", WHOLE_SOFTMAX)
                                .arguments("x", "out", "x.size(-1)")
                                .launch(new CudaKernel.Rows(64))
                                .shared(256))
                .nonDifferentiable();
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 9, 100);
        double[] v = x.toDoubleArray();
        double[] expected = new double[900];
        for (int r = 0; r < 9; r++) {
            double sum = 0;
            for (int c = 0; c < 100; c++) {
                sum += Math.exp(v[r * 100 + c]);
            }
            for (int c = 0; c < 100; c++) {
                expected[r * 100 + c] = Math.exp(v[r * 100 + c]) / sum;
            }
        }
        assertArrayEquals(expected, op.call(new Softmax(x.to(Simulator.DEVICE))).toDoubleArray(), 1e-6);
    }
}
