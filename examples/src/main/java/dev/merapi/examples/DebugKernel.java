// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.check.OpCheck;
import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;

/**
 * A CUDA kernel with two mistakes, found without a GPU: the simulator reports the tensor or the shared variable, the thread
 * and the line of the kernel. Then the kernel without them, against the CPU's.
 */
public final class DebugKernel {
    private record Args(Tensor x) {}

    /** Each row less its mean; one block a row, with a sum over shared memory written by hand. */
    private static final String FIXED = """
            __shared__ float sums[128];
            float sum = 0;
            for (long long c = t; c < columns; c += threads) sum += x[row * columns + c];
            sums[t] = sum;
            for (int half = threads / 2; half > 0; half /= 2) {
                __syncthreads();
                if (t < half) sums[t] += sums[t + half];
            }
            __syncthreads();
            for (long long c = t; c < columns; c += threads) {
                out[row * columns + c] = x[row * columns + c] - sums[0] / columns;
            }
            """;

    private static final String ONE_TOO_FAR =
            FIXED.replace("c < columns; c += threads) sum", "c <= columns; c += threads) sum");
    private static final String NO_BARRIER = FIXED.replace("}\n__syncthreads();\n", "}\n");

    private DebugKernel() {}

    private static Op<Args, Tensor> centred(String name, String body) {
        return Op.define(MethodHandles.lookup(), name, Args.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    Elements from = Elements.of(a.x());
                    Elements to = Elements.of(out);
                    long columns = a.x().size(-1);
                    for (long begin = 0; begin < from.numel(); begin += columns) {
                        double sum = 0;
                        for (long c = 0; c < columns; c++) {
                            sum += from.getDouble(begin + c);
                        }
                        for (long c = 0; c < columns; c++) {
                            to.setDouble(begin + c, from.getDouble(begin + c) - sum / columns);
                        }
                    }
                })
                .kernel(DeviceType.CUDA, CudaKernel.body(body).launch(new CudaKernel.Rows(128)))
                .nonDifferentiable();
    }

    public static void main(String[] args) {
        if (!CudaSim.isAvailable()) {
            System.out.println("No simulator here: it needs a C++ compiler, g++ or clang++, on the PATH.");
            return;
        }
        Device simulator = Device.of("cuda-sim");
        Tensor x = Tensor.randn(5, 300);
        boolean before = CudaSim.checks();
        CudaSim.setChecks(true);
        try {
            report(centred("demo::one_too_far", ONE_TOO_FAR), x.to(simulator));
            report(centred("demo::no_barrier", NO_BARRIER), x.to(simulator));

            Op<Args, Tensor> fixed = centred("demo::centred", FIXED);
            Tensor expected = fixed.call(new Args(x));
            for (long order : new long[] {0, -1, 42}) {
                CudaSim.setOrder(order);
                Tensor found = fixed.call(new Args(x.to(simulator))).to(Device.CPU);
                double off = found.sub(expected).abs().max().item();
                System.out.println("Fixed, threads in order " + order + ": differs from the CPU by " + off);
                if (off > 1e-5) {
                    throw new AssertionError("the kernel differs from the CPU's by " + off);
                }
            }
            OpCheck.of(fixed).samples(new Args(x.to(simulator))).run().orThrow();
            System.out.println("OpCheck passes on " + simulator + ".");
        } finally {
            CudaSim.setChecks(before);
            CudaSim.setOrder(0);
        }
    }

    private static void report(Op<Args, Tensor> op, Tensor x) {
        try {
            op.call(new Args(x));
        } catch (CudaException found) {
            System.out.println(found.getMessage() + "\n");
            return;
        }
        throw new AssertionError(op.name() + ": its mistake was not found");
    }
}
