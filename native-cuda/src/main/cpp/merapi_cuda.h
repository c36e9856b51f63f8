// SPDX-License-Identifier: Apache-2.0
// What Java calls. Primitives and addresses only; texts are zero-terminated UTF-8.
#pragma once

#include <cstdint>

namespace merapi {
namespace abi {

// ---- driver ----

// Number of CUDA devices; -1 without a driver library, -2 if it lacks a function, -100 - e if it answers with error e.
int32_t driver_devices();
// CUDA version of the driver as 1000 * major + 10 * minor; 0 without one.
int32_t driver_version();

// ---- libraries ----

// Handle of a library, or 0, with the reason in `error` if that is not 0.
int64_t library_open(int64_t path, int64_t error, int64_t capacity);
int64_t library_symbol(int64_t library, int64_t name);
void library_close(int64_t library);

// ---- host memory, which is also the simulator's ----

int64_t memory_allocate(int64_t bytes);
void memory_free(int64_t address);
void memory_copy(int64_t target, int64_t source, int64_t bytes);
void memory_fill(int64_t target, int32_t value, int64_t bytes);
// Bytes of the machine or of this process's control group.
int64_t memory_limit();

// ---- simulator ----

// Runs a grid. The words of `launch`: entry, bind, grid x y z, block x y z, bytes of dynamic shared memory, address of
// the table of argument addresses, operating-system threads, thread order (0 forward, -1 backward, else a seed),
// whether accesses are checked, and then address and number of the tensors, of the device's segments, and of the
// variables in shared memory. 0, or 1 with the reason in `error`.
int32_t simulator_launch(int64_t launch, int64_t error, int64_t capacity);

// ---- NVRTC ----

// Compiles to a cubin (or PTX with ptx != 0). `functions` holds the addresses of nvrtcCreateProgram,
// nvrtcCompileProgram, nvrtcGetCUBINSize, nvrtcGetCUBIN, nvrtcGetPTXSize, nvrtcGetPTX, nvrtcGetProgramLogSize,
// nvrtcGetProgramLog, nvrtcDestroyProgram; `options` the addresses of the texts of `count` options. Returns NVRTC's
// status, 0 for success; writes address and size of the image, then of the log, to `result`, both to be freed with
// memory_free.
int32_t nvrtc_compile(int64_t functions, int64_t source, int64_t name, int64_t options, int32_t count, int32_t ptx,
                      int64_t result);

// ---- cuBLASLt: products of column-major matrices ----

// `functions` holds the addresses of cublasLt's functions, in the order of CublasLt.FUNCTIONS. All return cuBLAS's
// status, 0 for success.

// Writes a handle on the current device to `result`.
int32_t blas_create(int64_t functions, int64_t result);
// Descriptors and the algorithm for a problem, whose words are: data type and compute type as cuBLAS numbers them;
// rows, columns and depth of the product; for both operands whether transposed, and the leading dimension; that of the
// result; number of products, and strides between them for the operands and the result, in elements; whether with bias;
// bytes of workspace; bytes to which operands and result are aligned. Writes the plan, or 0, to `result`.
int32_t blas_plan(int64_t functions, int64_t handle, int64_t problem, int64_t result);
void blas_forget(int64_t functions, int64_t plan);
// d = op(a)·op(b) (+ bias, one number a row; 0 if the plan is without). Not for two threads with the same plan.
int32_t blas_run(int64_t functions, int64_t handle, int64_t plan, int64_t a, int64_t b, int64_t bias, int64_t d,
                 int64_t workspace, int64_t bytes, int64_t stream);

}  // namespace abi
}  // namespace merapi
