// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.driver;

/**
 * Numbers of NVIDIA's headers, under the names that they have there; {@code cuda_numbers.h} has those that C++ needs. A
 * test compares them with the headers' own.
 */
public final class CudaNumbers {
    static final int CUDA_ERROR_OUT_OF_MEMORY = 2;
    public static final int CUDA_ERROR_NO_DEVICE = 100;
    static final int CUDA_ERROR_ECC_UNCORRECTABLE = 214;
    static final int CUDA_ERROR_NVLINK_UNCORRECTABLE = 220;
    static final int CUDA_ERROR_CONTAINED = 226;
    static final int CUDA_ERROR_ILLEGAL_ADDRESS = 700;
    static final int CUDA_ERROR_LAUNCH_TIMEOUT = 702;
    static final int CUDA_ERROR_CONTEXT_IS_DESTROYED = 709;
    static final int CUDA_ERROR_ASSERT = 710;
    static final int CUDA_ERROR_HARDWARE_STACK_ERROR = 714;
    static final int CUDA_ERROR_ILLEGAL_INSTRUCTION = 715;
    static final int CUDA_ERROR_MISALIGNED_ADDRESS = 716;
    static final int CUDA_ERROR_INVALID_ADDRESS_SPACE = 717;
    static final int CUDA_ERROR_INVALID_PC = 718;
    static final int CUDA_ERROR_LAUNCH_FAILED = 719;
    static final int CUDA_ERROR_TENSOR_MEMORY_LEAK = 721;
    static final int CUDA_ERROR_UNKNOWN = 999;
    static final int CUDA_R_32F = 0;
    static final int CUDA_R_64F = 1;
    static final int CUDA_R_16F = 2;
    static final int CUDA_R_16BF = 14;
    static final int CUBLAS_COMPUTE_32F = 68;
    static final int CUBLAS_COMPUTE_64F = 70;
    static final int CUBLAS_COMPUTE_32F_FAST_TF32 = 77;
    static final int CUBLAS_STATUS_NOT_SUPPORTED = 15;
    static final int CUBLASLT_EPILOGUE_BIAS = 4;
    static final int CUBLASLT_EPILOGUE_BGRADB = 512;
    static final int CUBLASLT_EPILOGUE_GELU_AUX_BIAS = 164;
    static final int CUBLASLT_EPILOGUE_DGELU = 192;
    static final int CUBLASLT_EPILOGUE_DGELU_BGRAD = 208;

    private CudaNumbers() {}
}
