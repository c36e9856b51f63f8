// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.CudaSim;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Each kind of mistake is found, with what it happened to and the line of the source; and what is right is let pass. */
class SimulatorChecksTest {
    private static Kernels kernels;

    private Tensor x;
    private Tensor out;

    @BeforeAll
    static void simulator() {
        Simulator.require();
        kernels = Kernels.of(Backends.of(DeviceType.CUDA_SIM));
    }

    @BeforeEach
    void on() {
        CudaSim.setChecks(true);
        // Views of one allocation: beyond the end of one lies the other.
        Tensor all = Tensor.arange(256).to(DType.FLOAT32).to(Simulator.DEVICE);
        x = all.slice(0, 0, 64);
        out = all.slice(0, 64, 128);
    }

    @AfterEach
    void off() {
        CudaSim.setChecks(false);
        CudaSim.setOrder(0);
    }

    private static final String SIGNATURE = "extern \"C\" __global__ void k(const float* x, float* out, int n) {\n";

    /** Line 2 is the first of the body. */
    private void run(String body, CudaRuntime.Grid grid, boolean fresh) {
        KernelSource source = new KernelSource("kernel.cu", SIGNATURE + body + "\n}", List.of("k"));
        KernelFunction function = kernels.function(0, source);
        Arguments a = Arguments.begin()
                .next()
                .word(x.address())
                .next()
                .word(out.address())
                .next()
                .half((int) x.numel());
        a.region("x", x, false, false).region("out", out, true, fresh);
        kernels.launch("test", 0, function, grid, a);
    }

    private void found(String body, int threads, String... parts) {
        found(body, CudaRuntime.Grid.of(1, threads), true, parts);
    }

    private void found(String body, CudaRuntime.Grid grid, boolean fresh, String... parts) {
        String message =
                assertThrows(CudaException.class, () -> run(body, grid, fresh)).getMessage();
        assertAll(Stream.of(parts)
                .map(p -> () -> assertTrue(message.contains(p), () -> p + "\nis not in\n" + message)));
    }

    private void right(String body, int blocks, int threads) {
        for (long order : new long[] {0, -1, 3}) {
            CudaSim.setOrder(order);
            run(body, CudaRuntime.Grid.of(blocks, threads), false);
        }
    }

    // ---------------------------------------------------------------- tensors

    @Test
    void readsBeyondATensor() {
        found(
                "int i = threadIdx.x;\nout[i] = x[i]\n + x[i + 1];",
                64,
                "out of bounds: reads 4 bytes at byte 256 of x (float32[64] cuda-sim:0), which has 256",
                "at: kernel.cu:4: + x[i + 1];",
                "thread: (63, 0, 0)",
                "block (0, 0, 0)");
        found("out[0] = x[-1];", 1, "reads 4 bytes at byte -4 of x");
    }

    @Test
    void writesBeyondATensor() {
        found("out[threadIdx.x] = 0;", 65, "writes 4 bytes at byte 256 of out", "kernel.cu:2", "thread: (64, 0, 0)");
        found("atomicAdd(out + n, 1.0f);", 1, "updates 4 bytes at byte 256 of out", "kernel.cu:2: atomicAdd");
    }

    @Test
    void writesWhatIsOnlyRead() {
        found(
                "((float*)x)[threadIdx.x] = 1;",
                2,
                "writes x (float32[64] cuda-sim:0) at byte 0, which it may only read",
                "kernel.cu:2: ((float*)x)");
    }

    @Test
    void pointersToNowhere() {
        found("float* p = nullptr;\nout[0] = p[n];", 1, "null pointer: reads 4 bytes at address 0x100", "kernel.cu:3");
        found("*(float*)0x123456789000ull = 1;", 1, "wild pointer: writes 4 bytes at address 0x123456789000");
    }

    @Test
    void misalignedVectors() {
        found(
                "float4 v = *(const float4*)(x + 1);\nout[0] = v.x + v.w;",
                1,
                "float4 needs an address that is a multiple of 16, this one is 4 bytes off",
                "kernel.cu:2: float4 v");
    }

    @Test
    void outputsReadBeforeTheyAreWritten() {
        found(
                "out[threadIdx.x] += x[threadIdx.x];",
                64,
                "uninitialised: reads what nothing has written: out (float32[64] cuda-sim:0) at element 0",
                "kernel.cu:2: out[threadIdx.x] +=");
        run("out[threadIdx.x] += x[threadIdx.x];", CudaRuntime.Grid.of(1, 64), false);
    }

    @Test
    void outputsNotWritten() {
        found(
                "if (threadIdx.x != 7) out[threadIdx.x] = 1;",
                60,
                "unwritten: 5 of the 64 elements of out (float32[64] cuda-sim:0) are not written, the first of them"
                        + " at element 7");
    }

    // ---------------------------------------------------------------- shared memory

    @Test
    void staticSharedMemory() {
        found(
                "__shared__ float tile[64];\ntile[threadIdx.x] = 0;",
                65,
                "index 64 of an array of type float [64]",
                "kernel.cu:3: tile[threadIdx.x]");
        found("__shared__ float tile[2][8];\ntile[1][threadIdx.x - 1] = 0;", 1, "of an array of type float [8]");
        found("float a[4];\nfor (int i = 0; i < 5; i++) a[i + n - 64] = x[i];\nout[0] = a[n % 4];", 1, "index 4 of");
        // By a pointer, of which the compiler does not know the array.
        found(
                "__shared__ float tile[64];\nfloat* p = tile + n;\n__syncthreads();\n*p = 1; tile[0] = 1;",
                1,
                "of shared memory tile",
                "kernel.cu:5: *p = 1");
    }

    @Test
    void dynamicSharedMemory() {
        CudaRuntime.Grid grid = new CudaRuntime.Grid(1, 1, 1, 64, 1, 1, 128);
        found(
                "extern __shared__ float tile[];\ntile[threadIdx.x] = 0;",
                grid,
                true,
                "writes 4 bytes at byte 128 of dynamic shared memory, which has 128",
                "kernel.cu:3: tile[threadIdx.x] = 0;",
                "thread: (32, 0, 0)");
    }

    @Test
    void sharedMemoryReadBeforeItIsWritten() {
        found(
                "__shared__ float sum;\natomicAdd(&sum, 1.0f);",
                64,
                "uninitialised: reads what nothing has written: shared memory sum",
                "kernel.cu:3: atomicAdd");
        // What another block has written counts for nothing.
        found(
                "extern __shared__ float s[];\nif (blockIdx.x == 0) s[0] = 1; else out[0] = s[0];",
                new CudaRuntime.Grid(2, 1, 1, 1, 1, 1, 4),
                false,
                "block (1, 0, 0)",
                "uninitialised: reads what nothing has written: dynamic shared memory at byte 0");
    }

    /** Nobody writes the padding of a struct; whoever copies it, reads it. */
    @Test
    void paddingOfStructs() {
        right("""
                struct Pair { float value; long long at; };
                __shared__ Pair pairs[64];
                pairs[threadIdx.x].value = x[threadIdx.x];
                pairs[threadIdx.x].at = threadIdx.x;
                __syncthreads();
                Pair other = pairs[63 - threadIdx.x];
                pairs[63 - threadIdx.x] = other;
                out[threadIdx.x] = other.value + other.at;""", 1, 64);
    }

    @Test
    void tooMuchSharedMemory() {
        found("__shared__ float s[12289];\ns[n] = x[0]; out[0] = s[n + 1];", 1, "49156 bytes of __shared__ variables");
    }

    // ---------------------------------------------------------------- races

    /**
     * What the compiler sees through: a variable that nobody reads any more once each thread's own value is passed on, and
     * one that nobody writes. Their accesses are announced all the same.
     */
    @Test
    void accessesThatTheCompilerCouldLeaveOut() {
        // Every thread reads what it wrote itself, as far as the compiler knows.
        found(
                "__shared__ float s;\ns = x[threadIdx.x];\nout[threadIdx.x] = s;",
                64,
                "race: writes",
                "shared memory s",
                "kernel.cu:3");
        found("__shared__ int s;\ns = threadIdx.x;\nout[threadIdx.x] = s + s;", 2, "race: writes", "kernel.cu:3");
        // A flag that is cleared by all, and set by one before the others have cleared it.
        found(
                "__shared__ int any;\nany = 0;\nif (x[threadIdx.x] > 3) any = 1;\nout[threadIdx.x] = any;",
                64,
                "race: ",
                "shared memory any");
        // In an array, by an index that is a constant.
        found(
                "__shared__ float s[4];\ns[1] = x[threadIdx.x];\nout[threadIdx.x] = s[1];",
                64,
                "race: writes",
                "shared memory s");
        found(
                "__shared__ struct { float a, b; } s;\ns.b = x[threadIdx.x];\nout[threadIdx.x] = s.b;",
                64,
                "race: writes");
        // A total that stays in a register until the end of the loop.
        found(
                "__shared__ float s;\nif (threadIdx.x == 0) s = 0;\n__syncthreads();\n"
                        + "for (int i = 0; i < 4; i++) s += x[threadIdx.x];\n__syncthreads();\nout[threadIdx.x] = s;",
                64,
                "race: ",
                "kernel.cu:5");
        found("__shared__ float s;\nout[threadIdx.x] = s;", 1, "uninitialised", "shared memory s", "kernel.cu:3");
        found("__shared__ float s[8];\nout[threadIdx.x] = s[threadIdx.x];", 8, "uninitialised", "shared memory s");
        // The right forms of the same.
        right("__shared__ float s;\nif (threadIdx.x == 0) s = x[3];\n__syncthreads();\nout[threadIdx.x] = s;", 2, 64);
        right("__shared__ int seven;\nseven = 7;\n__syncthreads();\nout[threadIdx.x] = seven;", 2, 64);
    }

    @Test
    void barriersThatSomeThreadsMiss() {
        found(
                "if (threadIdx.x < 7) __syncthreads();\nout[threadIdx.x] = 1;",
                64,
                "divergent __syncthreads: 7 threads wait at line 2, 57 have returned without reaching it");
        found(
                "if (threadIdx.x >= 50) return;\nout[threadIdx.x] = x[threadIdx.x];\n__syncthreads();",
                64,
                "divergent __syncthreads: 50 threads wait at line 4, 14 have returned");
        found(
                "if (threadIdx.x > 8)\n__syncthreads();\nelse\n__syncthreads();",
                64,
                "divergent __syncthreads: some threads wait at line 5, others at line 3");
    }

    private static final String NO_BARRIER = """
            __shared__ float s[64];
            s[threadIdx.x] = x[threadIdx.x];
            out[threadIdx.x] = s[63 - threadIdx.x];""";

    @Test
    void missingBarriers() {
        // Where the other thread comes later, what it would write is not there yet.
        found(NO_BARRIER, 64, "uninitialised", "shared memory s", "kernel.cu:4");
        // In any order, and when everything was written once before.
        String again =
                "__shared__ float s[64];\ns[threadIdx.x] = 0;\n__syncthreads();\ns[threadIdx.x] = x[threadIdx.x];\n"
                        + "out[threadIdx.x] = s[63 - threadIdx.x];";
        for (long order : new long[] {0, -1, 5}) {
            CudaSim.setOrder(order);
            found(again, 64, "race: ", "shared memory s at byte ", "kernel.cu:5", "kernel.cu:6", "other: ");
        }
        // Two warps of which each is in step by itself.
        String warps =
                "__shared__ float s[64];\ns[threadIdx.x] = 1;\n__syncwarp();\nout[threadIdx.x] = s[threadIdx.x ^ %d];";
        right(warps.formatted(1), 1, 64);
        found(warps.formatted(32), 64, "shared memory s", "kernel.cu:5");
    }

    @Test
    void barriersOfBlocksAndWarps() {
        right(NO_BARRIER.replace(";\nout", ";\n__syncthreads();\nout"), 2, 64);
        right("""
                __shared__ float s[64];
                s[threadIdx.x] = x[threadIdx.x];
                for (int o = 16; o > 0; o /= 2) {
                    float other = s[threadIdx.x ^ o];
                    __syncwarp();
                    s[threadIdx.x] += other;
                    __syncwarp();
                }""".replace("x];\nfor", "x];\n__syncwarp();\nfor"), 1, 64);
        right("float v = x[threadIdx.x];\nfor (int o = 16; o > 0; o /= 2) v += __shfl_xor_sync(~0u, v, o);", 2, 64);
        found("""
                __shared__ float s[32];
                s[threadIdx.x] = x[threadIdx.x];
                __syncwarp();
                s[threadIdx.x] += s[threadIdx.x ^ 1];
                out[threadIdx.x] = s[threadIdx.x];""", 32, "race: reads what another thread writes", "kernel.cu:5");
    }

    @Test
    void twoThreadsWriteTheSameElement() {
        found(
                "out[threadIdx.x / 2] = threadIdx.x;",
                64,
                "race: writes what another thread writes",
                "out (float32[64] cuda-sim:0) at element 0",
                "thread: (1, 0, 0)",
                "other: kernel.cu:2: out[threadIdx.x / 2]",
                "other thread: (0, 0, 0)");
        // The same value, or in turn, is no race.
        right("out[threadIdx.x / 2] = threadIdx.x / 2;", 1, 64);
        right("for (int i = 0; i < 64; i++) {\nif (i == threadIdx.x) out[0] = i;\n__syncthreads();\n}", 1, 64);
        right("atomicAdd(out, 1.0f);", 4, 64);
    }

    @Test
    void blocksThatUseWhatOthersWrite() {
        found(
                "out[blockIdx.x] = x[0];\nif (blockIdx.x > 0) out[63] = out[blockIdx.x - 1];",
                CudaRuntime.Grid.of(3, 1),
                false,
                "race: reads what another block writes, with nothing that orders blocks",
                "kernel.cu:3",
                "other: kernel.cu:2",
                "other thread: (0, 0, 0) of block 0");
        found("out[0] = blockIdx.x;", CudaRuntime.Grid.of(3, 1), false, "race: writes what another block writes");
        // The usual way for the last block to add up what all have found.
        right("""
                __shared__ bool last;
                out[blockIdx.x] = x[blockIdx.x];
                __threadfence();
                if (threadIdx.x == 0) last = atomicAdd((unsigned*)out + 60, 1u) == gridDim.x - 1;
                __syncthreads();
                if (last && threadIdx.x == 0) for (int i = 0; i < gridDim.x; i++) out[61] += out[i];""", 3, 32);
    }

    // ---------------------------------------------------------------- and the rest

    record Args(Tensor x) {}

    @Test
    void bodiesOfOps() {
        Op<Args, Tensor> op = Op.define(MethodHandles.lookup(), "test::beyond", Args.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("const auto v = x[i];\nout[i] = v - x[i + 1];"))
                .nonDifferentiable();
        String message =
                assertThrows(CudaException.class, () -> op.call(new Args(x))).getMessage();
        assertTrue(message.contains("test::beyond: cuda-sim: kernel body"), message);
        assertTrue(message.contains("reads 4 bytes at byte 256 of x (float32[64] cuda-sim:0)"), message);
        assertTrue(message.contains("at: test::beyond (body):2: out[i] = v - x[i + 1];"), message);
    }

    @Test
    void divisionByZero() {
        found("out[0] = n / (n - 64);", 1, "integer division by zero", "kernel.cu:2");
    }

    /** The line is the user's, also where functions of the prelude and of the simulator are inlined. */
    @Test
    void linesOfWhatIsInlined() {
        found(
                "auto past = [](const float* p) {\nreturn __ldg(p + 64); };\nout[0] = past(x);",
                1,
                "kernel.cu:3: return");
        found("merapi::f16 h = {0};\nout[0] = merapi::rd(((merapi::f16*)x)[128]);", 1, "kernel.cu:3");
    }

    @Test
    void whatIsRightPasses() {
        right("""
                __shared__ float s[128];
                extern __shared__ double unused[];
                const int t = threadIdx.x;
                float4 v = ((const float4*)x)[t / 4];
                float local[4] = {v.x, v.y, v.z, v.w};
                s[t] = local[t % 4];
                __syncthreads();
                bool any = __syncthreads_or(s[63 - t] > 3);
                unsigned votes = __ballot_sync(~0u, any);
                unsigned same = __match_any_sync(~0u, t / 4);
                if (t == 0) printf("%s", "");
                out[t] = s[63 - t] + __popc(votes & same) + __reduce_max_sync(~0u, t);""", 1, 64);
        float[] found = out.toFloatArray();
        for (int t = 0; t < 64; t++) {
            assertEquals(63 - t + 4 + (t / 32 * 32 + 31), found[t]);
        }
    }

    /** The next launch knows nothing of the one that failed. */
    @Test
    void switchedOffEverythingPasses() {
        found("out[threadIdx.x] += x[threadIdx.x];", 64, "uninitialised");
        right("out[threadIdx.x] = x[threadIdx.x];", 1, 64);
        CudaSim.setChecks(false);
        run("out[threadIdx.x] += x[threadIdx.x];", CudaRuntime.Grid.of(1, 64), true);
        assertEquals(126, out.toFloatArray()[63]);
    }
}
