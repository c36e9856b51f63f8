// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

import dev.merapi.cuda.host.CudaNative;
import dev.merapi.cuda.host.HostMemory;
import dev.merapi.cuda.runtime.CudaException;
import java.util.List;
import java.util.Set;

/** NVIDIA's driver: its functions, and what its errors mean. */
public final class Driver {
    /** All that is ever called; each exists since CUDA 12.0. {@code driver.cpp} has them in this order. */
    public static final List<String> FUNCTIONS = List.of(
            "cuInit",
            "cuDeviceGet",
            "cuDeviceGetName",
            "cuDeviceGetAttribute",
            "cuDeviceTotalMem_v2",
            "cuDevicePrimaryCtxRetain",
            "cuCtxGetCurrent",
            "cuCtxSetCurrent",
            "cuDeviceCanAccessPeer",
            "cuCtxEnablePeerAccess",
            "cuMemGetInfo_v2",
            "cuMemAlloc_v2",
            "cuMemFree_v2",
            "cuMemHostAlloc",
            "cuMemFreeHost",
            "cuMemcpyHtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2",
            "cuMemcpyDtoDAsync_v2",
            "cuMemcpyPeerAsync",
            "cuMemsetD8Async",
            "cuStreamCreate",
            "cuStreamDestroy_v2",
            "cuStreamSynchronize",
            "cuStreamWaitEvent",
            "cuEventCreate",
            "cuEventDestroy_v2",
            "cuEventRecord",
            "cuEventSynchronize",
            "cuModuleLoadData",
            "cuModuleGetFunction",
            "cuModuleUnload",
            "cuFuncSetAttribute",
            "cuLaunchKernel",
            "cuStreamBeginCapture_v2",
            "cuStreamEndCapture",
            "cuGraphGetNodes",
            "cuGraphInstantiateWithFlags",
            "cuGraphDestroy",
            "cuGraphLaunch",
            "cuGraphExecDestroy",
            "cuGetErrorName",
            "cuGetErrorString");

    /** After one of these a context never works again: memory errors, faults of a kernel, timeouts, the device gone. */
    private static final Set<Integer> FATAL = Set.of(
            CudaNumbers.CUDA_ERROR_ECC_UNCORRECTABLE,
            CudaNumbers.CUDA_ERROR_NVLINK_UNCORRECTABLE,
            CudaNumbers.CUDA_ERROR_CONTAINED,
            CudaNumbers.CUDA_ERROR_ILLEGAL_ADDRESS,
            CudaNumbers.CUDA_ERROR_LAUNCH_TIMEOUT,
            CudaNumbers.CUDA_ERROR_CONTEXT_IS_DESTROYED,
            CudaNumbers.CUDA_ERROR_ASSERT,
            CudaNumbers.CUDA_ERROR_HARDWARE_STACK_ERROR,
            CudaNumbers.CUDA_ERROR_ILLEGAL_INSTRUCTION,
            CudaNumbers.CUDA_ERROR_MISALIGNED_ADDRESS,
            CudaNumbers.CUDA_ERROR_INVALID_ADDRESS_SPACE,
            CudaNumbers.CUDA_ERROR_INVALID_PC,
            CudaNumbers.CUDA_ERROR_LAUNCH_FAILED,
            CudaNumbers.CUDA_ERROR_TENSOR_MEMORY_LEAK,
            CudaNumbers.CUDA_ERROR_UNKNOWN);

    private final FunctionTable table;

    private Driver(FunctionTable table) {
        this.table = table;
    }

    /**
     * @param library a file name, or a path
     * @throws CudaException if it cannot be opened, or lacks a function
     */
    public static Driver open(String library) {
        try (HostMemory name = HostMemory.text(library);
                HostMemory error = HostMemory.allocate(512)) {
            long handle = CudaNative.library_open(name.address(), error.address(), 512);
            if (handle == 0) {
                throw new CudaException("cuda: " + error.text());
            }
            return new Driver(FunctionTable.of(library, handle, FUNCTIONS));
        }
    }

    /** The table of functions, for native calls. */
    long functions() {
        return table.address();
    }

    /** The file that it was found in. */
    String place() {
        return table.place();
    }

    static boolean isFatal(int status) {
        return FATAL.contains(status);
    }

    /** {@code CUDA_ERROR_INVALID_VALUE (1): invalid argument} */
    String explained(int status) {
        try (HostMemory text = HostMemory.allocate(256)) {
            CudaNative.driver_error(functions(), status, text.address(), 256);
            return text.text();
        }
    }
}
