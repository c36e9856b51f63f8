// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.Cuda;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.kernels.PointwiseTest;
import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.CudaException;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.MissingKernelException;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.util.List;
import java.util.function.IntUnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The simulator by itself: what it does as a GPU does, and what it finds. */
class SimulatedCudaTest {
    private static Kernels kernels;

    @BeforeAll
    static void simulator() {
        Simulator.require();
        kernels = Kernels.of(Backends.of(DeviceType.CUDA_SIM));
    }

    /** Runs {@code k(int* out, int n)} and gives what it wrote. */
    private static int[] run(String source, CudaRuntime.Grid grid, int size) {
        Tensor out = Tensor.zeros(dev.merapi.types.DType.INT32, size).to(Simulator.DEVICE);
        KernelFunction function = kernels.function(0, new KernelSource("test", source, List.of("k")));
        Arguments a = Arguments.begin().next().word(out.address()).next().half(size);
        kernels.launch("test", 0, function, grid, a);
        return out.toIntArray();
    }

    private static void expect(IntUnaryOperator expected, String source, CudaRuntime.Grid grid, int size) {
        int[] found = run(source, grid, size);
        for (int i = 0; i < size; i++) {
            assertEquals(expected.applyAsInt(i), found[i], "element " + i);
        }
    }

    @Test
    void warpOperations() {
        String source = """
                extern "C" __global__ void k(int* out, int n) {
                    const int t = threadIdx.x, lane = t & 31;
                    int* o = out + t * 8;
                    o[0] = __shfl_sync(~0u, t, lane + 1, 8);
                    o[1] = __shfl_up_sync(~0u, t, 3);
                    o[2] = __shfl_down_sync(~0u, t, 7);
                    o[3] = __shfl_xor_sync(~0u, t, 9, 16);
                    o[4] = __reduce_add_sync(~0u, t);
                    o[5] = (int)__ballot_sync(~0u, lane % 3 == 0);
                    o[6] = __syncthreads_count(t % 5 == 0);
                    o[7] = lane < 16 ? __reduce_add_sync(0x0000ffffu, 1) : __reduce_add_sync(0xffff0000u, t);
                }
                """;
        expect(
                i -> {
                    int t = i / 8;
                    int lane = t % 32;
                    int w = t - lane;
                    return switch (i % 8) {
                        case 0 -> w + (lane & ~7) + (lane + 1 & 7);
                        case 1 -> lane >= 3 ? t - 3 : t;
                        case 2 -> lane + 7 < 32 ? t + 7 : t;
                        case 3 -> w + (lane ^ 9);
                        case 4 -> 32 * w + 496;
                        case 5 -> 0x49249249;
                        case 6 -> 20;
                        default -> lane < 16 ? 16 : 16 * w + (16 + 31) * 8;
                    };
                },
                source,
                CudaRuntime.Grid.of(1, 96),
                96 * 8);
    }

    @Test
    void threeDimensionsOfThreadsAndBlocks() {
        String source = """
                extern "C" __global__ void k(int* out, int n) {
                    int b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
                    int t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
                    out[b * 24 + t] = b * 100 + t;
                }
                """;
        expect(i -> i / 24 * 100 + i % 24, source, new CudaRuntime.Grid(2, 3, 2, 4, 3, 2, 0), 12 * 24);
    }

    /** Blocks run on several threads of the operating system; each has shared memory of its own. */
    @Test
    void manyBlocksWithSharedMemoryAndAtomics() {
        String source = """
                __device__ int twice(int v) { return 2 * v; }
                extern "C" __global__ void k(int* out, int n) {
                    __shared__ int s[256];
                    extern __shared__ int dynamic[];
                    s[threadIdx.x] = blockIdx.x + threadIdx.x;
                    if (threadIdx.x < 16) dynamic[threadIdx.x] = blockIdx.x;
                    __syncthreads();
                    if (s[255 - threadIdx.x] == (int)blockIdx.x + 255 - (int)threadIdx.x)
                        atomicAdd(&out[dynamic[threadIdx.x % 16] % n], twice(1));
                }
                """;
        expect(i -> 2 * 256 * 25, source, new CudaRuntime.Grid(400, 1, 1, 256, 1, 1, 64), 16);
    }

    @Test
    void dynamicSharedMemoryAtFileScope() {
        String source = """
                extern "C" {
                extern __shared__ __align__(16) float4 tile[];
                __global__ void k(int* out, int n) {
                    float* words = (float*)tile;
                    words[threadIdx.x] = threadIdx.x;
                    __syncthreads();
                    out[threadIdx.x] = tile[threadIdx.x / 4].w;
                }
                }
                """;
        expect(i -> i / 4 * 4 + 3, source, new CudaRuntime.Grid(1, 1, 1, 64, 1, 1, 256), 64);
    }

    private static String failure(String source, CudaRuntime.Grid grid) {
        return assertThrows(CudaException.class, () -> run(source, grid, 64)).getMessage();
    }

    @Test
    void findsDeadlocksAndDivergentBarriers() {
        String deadlock = failure("""
                extern "C" __global__ void k(int* out, int n) {
                    if (threadIdx.x < 16) out[0] = __shfl_xor_sync(~0u, 1, 1); else __syncthreads();
                }
                """, CudaRuntime.Grid.of(1, 32));
        assertTrue(deadlock.contains("16 threads wait at __syncthreads, 16 at a warp operation"), deadlock);
        String divergent = failure("""
                extern "C" __global__ void k(int* out, int n) {
                    if (threadIdx.x < 16)
                        __syncthreads();
                    else
                        __syncthreads();
                }
                """, CudaRuntime.Grid.of(1, 32));
        assertTrue(divergent.contains("wait at line 3, others at line 5"), divergent);
        String mask = failure(
                "extern \"C\" __global__ void k(int* out, int n) { __shfl_sync(1u, 0, 0); }",
                CudaRuntime.Grid.of(1, 32));
        assertTrue(mask.contains("lane 1 is not in its own mask 0x00000001"), mask);
        String trap = failure(
                "extern \"C\" __global__ void k(int* out, int n) { assert(threadIdx.x < 3); }",
                CudaRuntime.Grid.of(1, 32));
        assertTrue(trap.contains("assertion failed: threadIdx.x < 3 in thread (3, 0, 0)"), trap);
    }

    @Test
    void refusesImpossibleLaunches() {
        String source = "extern \"C\" __global__ void k(int* out, int n) {}";
        assertTrue(failure(source, CudaRuntime.Grid.of(1, 2048)).contains("at most 1024 threads"));
        assertTrue(failure(source, CudaRuntime.Grid.of(0, 32)).contains("grid (0, 1, 1)"));
        assertTrue(
                failure(source, new CudaRuntime.Grid(1, 1, 1, 1, 1, 1, 1 << 20)).contains("shared memory"));
    }

    /** A launch that failed leaves nothing behind that the next one stumbles over. */
    @Test
    void goesOnAfterAFailure() {
        findsDeadlocksAndDivergentBarriers();
        warpOperations();
    }

    @Test
    void compiledKernelsStayOnDisk() {
        SimulatedCuda runtime = (SimulatedCuda) kernels.runtime();
        KernelSource a = new KernelSource("a", "extern \"C\" __global__ void k(int* out) {}", List.of("k"));
        KernelSource b = new KernelSource("a", "extern \"C\" __global__ void k(int* in) {}", List.of("k"));
        assertEquals(runtime.compile(a), runtime.compile(a));
        assertNotEquals(runtime.compile(a), runtime.compile(b));
    }

    // ---------------------------------------------------------------- the device as a whole

    record Args(Tensor x) {}

    /** Its memory is the host's, but no Java kernel may serve in its place. */
    @Test
    void noJavaKernelServesInSecret() {
        Op<Args, Tensor> op = Op.define(MethodHandles.lookup(), "test::java_only", Args.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.copyBytes(a.x(), out))
                .nonDifferentiable();
        Tensor x = Tensor.of(1.0, 2.0).to(Simulator.DEVICE);
        assertThrows(MissingKernelException.class, () -> op.call(new Args(x)));
    }

    @Test
    void copiesToAndFroAndWithin() {
        Tensor x = PointwiseTest.random(dev.merapi.types.DType.FLOAT32, 1, 3, 1000);
        Tensor there = x.to(Simulator.DEVICE);
        PointwiseTest.exact("there and back", x, there.to(dev.merapi.types.Device.CPU));
        PointwiseTest.exact("copy", x, there.copy());
        PointwiseTest.exact("strided", x.transpose(0, 1), there.transpose(0, 1).to(dev.merapi.types.Device.CPU));
    }

    @Test
    void cudaSaysWhyItIsNotThere() {
        if (!Cuda.isAvailable()) {
            assertNotNull(Cuda.unavailableBecause());
            assertFalse(Backends.isAvailable(DeviceType.CUDA));
            Exception e = assertThrows(
                    dev.merapi.error.DeviceException.class,
                    () -> Tensor.of(1.0).to(dev.merapi.types.Device.of("cuda")));
            assertTrue(e.getMessage().contains(Cuda.unavailableBecause()), e.getMessage());
        }
    }
}
