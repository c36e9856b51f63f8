// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import dev.merapi.cuda.Simulator;
import dev.merapi.dispatch.Context;
import dev.merapi.error.AliasException;
import dev.merapi.error.OpResultException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** What checked mode sees of kernels on a device, whose memory it has to fetch, and what it leaves to other checks. */
@Tag("kernels")
class CheckedModeTest {
    private static final MethodHandles.Lookup LOOKUP = MethodHandles.lookup();

    record X(Tensor x) {}

    private boolean before;

    @BeforeEach
    void on() {
        Simulator.require();
        before = Context.current().setChecked(true);
    }

    @AfterEach
    void off() {
        Context.current().setChecked(before);
    }

    private static Op<X, Tensor> op(String name, String body) {
        return Op.define(LOOKUP, "test::checked_" + name, X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(
                        DeviceType.CUDA,
                        CudaKernel.source(
                                        "k",
                                        "__device__ int runs;\n"
                                                + "extern \"C\" __global__ void k(const float* x, float* out, long long n) {\n"
                                                + "    long long i = blockIdx.x * blockDim.x + threadIdx.x;\n"
                                                + "    if (i < n) { " + body + " }\n}\n")
                                .arguments("x", "out", "x.numel")
                                .launch(new CudaKernel.Elements(64)))
                .nonDifferentiable();
    }

    private static X argument() {
        return new X(Tensor.of(1f, 2f, 3f, 4f).to(Simulator.DEVICE));
    }

    @Test
    void whatIsRightPasses() {
        assertArrayEquals(
                new float[] {2, 4, 6, 8},
                op("right", "out[i] = 2 * x[i];").call(argument()).toFloatArray());
    }

    @Test
    void anArgumentThatIsWritten() {
        Op<X, Tensor> op = op("writes", "out[i] = x[i]; if (i == 2) ((float*)x)[i] = 0;");
        assertThatThrownBy(() -> op.call(argument()))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("test::checked_writes: its kernel wrote to argument 'x'");
    }

    @Test
    void anElementThatIsNot() {
        Op<X, Tensor> op = op("skips", "if (i != 1) out[i] = x[i];");
        assertThatThrownBy(() -> op.call(argument()))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("element 1 of 'output'")
                .hasMessageContaining("is not written by its kernel");
    }

    @Test
    void aResultThatDiffersTheSecondTime() {
        Op<X, Tensor> op = op("counts", "out[i] = x[i] + (i == 0 ? runs++ : 0);");
        assertThatThrownBy(() -> op.call(argument()))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("element 0 of 'output'")
                .hasMessageContaining("differs between two runs");
    }

    /** Beside a tensor other threads may be writing: that is looked at by OpCheck, and by the simulator's own checks. */
    @Test
    void whatLiesBesideATensorIsLeftToOthers() {
        Tensor whole = Tensor.of(1f, 2f, 3f, 4f, 5f).to(Simulator.DEVICE);
        Op<X, Tensor> op = op("beside", "out[i] = x[i]; if (i == 0) ((float*)x)[4] = -1;");
        assertArrayEquals(
                new float[] {1, 2, 3, 4}, op.call(new X(whole.slice(0, 0, 4))).toFloatArray());
        assertArrayEquals(new float[] {1, 2, 3, 4, -1}, whole.toFloatArray());
    }

    /** A composition runs twice as a kernel does, and what one of its ops leaves unwritten shows. */
    @Test
    void compositions() {
        Op<X, Tensor> right = Op.define(LOOKUP, "test::checked_composed", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .compose(a -> op("inner", "out[i] = 2 * x[i];").call(a).add(1));
        assertArrayEquals(new float[] {3, 5, 7, 9}, right.call(argument()).toFloatArray());
        Op<X, Tensor> wrong = Op.define(LOOKUP, "test::checked_composed_wrong", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .compose(a -> op("inner_skips", "if (i != 1) out[i] = x[i];").call(a));
        assertThatThrownBy(() -> wrong.call(argument()))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("test::checked_composed_wrong: element 1 of 'output'");
    }
}
