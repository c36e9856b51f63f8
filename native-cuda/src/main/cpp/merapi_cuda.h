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

// ---- the driver's functions, by address ----

// `functions` holds the addresses of the driver's functions, in the order of Driver.FUNCTIONS; `context` is the
// device's primary context, which each call makes the calling thread's. All return the driver's status, 0 for success;
// what they make is written to `result`.

// Begins with a device. Writes its context, 10 * major + minor of its compute capability, multiprocessors, bytes of its
// memory and bytes that are free.
int32_t driver_open(int64_t functions, int32_t ordinal, int64_t result, int64_t name, int32_t capacity);
// Name, number and meaning of a status.
void driver_error(int64_t functions, int32_t error, int64_t text, int64_t capacity);
int32_t driver_use(int64_t functions, int64_t context);
// Lets kernels and copies of a device reach another one's memory by the shortest way. Not 0 if there is none: copies
// between them go through the host then.
int32_t driver_reach(int64_t functions, int64_t context, int32_t ordinal, int64_t peer_context, int32_t peer_ordinal);
int32_t driver_allocate(int64_t functions, int64_t context, int64_t bytes, int64_t result);
int32_t driver_free(int64_t functions, int64_t context, int64_t address);
int32_t driver_host_allocate(int64_t functions, int64_t context, int64_t bytes, int64_t result);
int32_t driver_upload(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t host, int64_t bytes);
int32_t driver_download(int64_t functions, int64_t context, int64_t stream, int64_t host, int64_t source,
                        int64_t bytes);
int32_t driver_copy(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t source, int64_t bytes);
int32_t driver_copy_peer(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t target_context,
                         int64_t source, int64_t source_context, int64_t bytes);
int32_t driver_fill(int64_t functions, int64_t context, int64_t stream, int64_t target, int32_t value, int64_t bytes);
int32_t driver_stream_create(int64_t functions, int64_t context, int64_t result);
int32_t driver_stream_destroy(int64_t functions, int64_t context, int64_t stream);
int32_t driver_stream_synchronize(int64_t functions, int64_t context, int64_t stream);
int32_t driver_event_create(int64_t functions, int64_t context, int64_t result);
int32_t driver_event_destroy(int64_t functions, int64_t context, int64_t event);
int32_t driver_event_record(int64_t functions, int64_t context, int64_t event, int64_t stream);
int32_t driver_event_await(int64_t functions, int64_t context, int64_t stream, int64_t event);
int32_t driver_event_synchronize(int64_t functions, int64_t context, int64_t event);
// Loads an image that is in memory.
int32_t driver_module(int64_t functions, int64_t context, int64_t image, int64_t result);
int32_t driver_function(int64_t functions, int64_t context, int64_t module, int64_t name, int64_t result);
// No function of it runs, nor will.
int32_t driver_module_unload(int64_t functions, int64_t context, int64_t module);
// Allows a function so many bytes of dynamic shared memory.
int32_t driver_shared(int64_t functions, int64_t context, int64_t function, int32_t bytes);
int32_t driver_launch(int64_t functions, int64_t context, int64_t stream, int64_t function, int64_t grid_x,
                      int64_t grid_y, int64_t grid_z, int32_t block_x, int32_t block_y, int32_t block_z, int32_t shared,
                      int64_t arguments);
// Launches a kernel without arguments so many times, one thread each; seconds of the calling thread for each, or the
// status, negative.
double driver_launch_cost(int64_t functions, int64_t context, int64_t stream, int64_t function, int32_t count);
int32_t driver_capture_begin(int64_t functions, int64_t context, int64_t stream);
// The graph comes ready to be launched; behind it, the number of its nodes.
int32_t driver_capture_end(int64_t functions, int64_t context, int64_t stream, int64_t result);
int32_t driver_graph_launch(int64_t functions, int64_t context, int64_t graph, int64_t stream);
int32_t driver_graph_destroy(int64_t functions, int64_t context, int64_t graph);

// ---- libraries ----

// Handle of a library, or 0, with the reason in `error` if that is not 0.
int64_t library_open(int64_t path, int64_t error, int64_t capacity);
int64_t library_symbol(int64_t library, int64_t name);
void library_close(int64_t library);
// The file that holds a function.
void library_place(int64_t address, int64_t text, int64_t capacity);

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
// nvrtcGetProgramLog, nvrtcDestroyProgram, nvrtcVersion, nvrtcGetNumSupportedArchs, nvrtcGetSupportedArchs; `options`
// the addresses of the texts of `count` options. Returns NVRTC's status, 0 for success; writes address and size of the
// image, then of the log, to `result`, both to be freed with memory_free.
int32_t nvrtc_compile(int64_t functions, int64_t source, int64_t name, int64_t options, int32_t count, int32_t ptx,
                      int64_t result);

// Writes 1000 * major + minor of its version, and then the architectures that it knows, at most `most`; returns their
// number.
int32_t nvrtc_describe(int64_t functions, int64_t result, int32_t most);

// ---- cuBLASLt: products of column-major matrices ----

// `functions` holds the addresses of cublasLt's functions, in the order of CublasLt.FUNCTIONS. All return cuBLAS's
// status, 0 for success.

// 10000 * major + 100 * minor + patch.
int64_t blas_version(int64_t functions);
// Writes a handle on the current device to `result`.
int32_t blas_create(int64_t functions, int64_t result);
// Descriptors and the algorithm for a problem, whose words are: data type and compute type as cuBLAS numbers them;
// rows, columns and depth of the product; for both operands whether transposed, and the leading dimension; that of the
// result; number of products, and strides between them for the operands and the result, in elements; the epilogue;
// bytes of workspace; bytes to which operands, result, the epilogue's vector and its matrix are aligned, 0 where there
// is none, and that matrix's leading dimension; how many algorithms are asked for, at most 8. Writes three words to
// `result`: the plan, or 0, the bytes of workspace that its first algorithm wants, and how many algorithms there are.
int32_t blas_plan(int64_t functions, int64_t handle, int64_t problem, int64_t result);
// From now on the plan runs this one of its algorithms, which wants so many bytes of workspace.
int64_t blas_choose(int64_t plan, int32_t candidate);
void blas_forget(int64_t functions, int64_t plan);
// d = op(a)·op(b), and what the epilogue does with a vector (bias) and a matrix (aux), 0 if the plan is without. Not
// for two threads with the same plan.
int32_t blas_run(int64_t functions, int64_t handle, int64_t plan, int64_t a, int64_t b, int64_t bias, int64_t aux,
                 int64_t d, int64_t workspace, int64_t bytes, int64_t stream);

}  // namespace abi
}  // namespace merapi
