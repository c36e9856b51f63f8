// SPDX-License-Identifier: Apache-2.0
//
// What Java calls. Only primitives and addresses (as int64) cross, so that a call costs a JNI transition and no more.
// Nothing here throws. Functions that can refuse return 0 for success and a negative code otherwise (see Status).
#pragma once

#include <cstdint>

namespace merapi {
namespace abi {

// Status codes: 0 is success.
constexpr int kBadHandle = -1;       // the handle is 0
constexpr int kBadDescriptor = -2;   // counts, dimensions or sizes that don't fit the program
constexpr int kNullAddress = -3;     // an operand has no address although there are elements
constexpr int kEmptyReduction = -4;  // min, max, argmin or argmax over no elements
constexpr int kNoMemory = -5;
constexpr int kBeyondLimits = -6;  // more dimensions, operands, registers or values than program.h has room for

// ---- threads --------------------------------------------------------------------------------------------------------

int num_threads();
void set_num_threads(int threads);
// 0 base, 1 AVX2, 2 AVX-512.
int isa_level();
// The address of a function for openblas_set_threads_callback_function.
int64_t openblas_callback_address();

// ---- numbers of names -----------------------------------------------------------------------------------------------

// The number by which functions here take a dtype ("f32", "bool", …: the names of program texts) or what a loss of many
// rows becomes ("none", "mean", "sum"), or values that meet ("sum", "prod", "mean", "amax", "amin"); -1 for a name that nobody knows. Asked for once: no number is agreed on.
int dtype_code(const char* name);
int reduction_code(const char* name);
int scatter_reduction_code(const char* name);

// ---- pointwise programs ---------------------------------------------------------------------------------------------

// Parses program text (UTF-8, `length` bytes). Returns a handle, kBeyondLimits, or 0 with a zero-terminated message in the
// buffer.
int64_t program_create(int64_t text, int64_t length, int64_t error, int64_t error_capacity);
void program_destroy(int64_t handle);
// How many programs and reductions were created and not destroyed.
int64_t programs_alive();

// One output and at most three inputs, all contiguous, n elements. Bit k of `broadcast` says that input k is one
// element for all. `scalars` is the address of (double, int64) pairs, or 0 when the program has none.
int program_run_flat(int64_t handle, int64_t n, int64_t out, int64_t in0, int64_t in1, int64_t in2, int broadcast,
                     int64_t scalars);

// The general case. `descriptor` is the address of int64 words:
//   ndim (0..16), outputs, inputs, scalars,
//   size[ndim], outermost first,
//   for each output, then for each input: address, byte stride[ndim],
//   for each scalar: the bits of a double, the same value as an int64.
// An output may be the very memory of an input (same address and strides), never a shifted part of it.
int program_run(int64_t handle, int64_t descriptor);

// ---- reductions -----------------------------------------------------------------------------------------------------

// Program text with one more line, `reduce <op> <dtype of the result>`, and `out 0` of the type that is reduced (f32,
// f64, i32, i64 or bool): op is sum prod min max argmin argmax any all mean sumsq var.
int64_t reduce_create(int64_t text, int64_t length, int64_t error, int64_t error_capacity);
void reduce_destroy(int64_t handle);

// `descriptor` is the address of int64 words:
//   kept dims K, reduced dims R (K + R <= 16), inputs, scalars,
//   bits of a double: the correction of var (0 otherwise),
//   size[K] of the kept dims, size[R] of the reduced dims, outermost first,
//   the result: address, byte stride[K]; the second result (mean, for var; address 0 when not wanted): the same,
//   for each input: address, byte stride[K], byte stride[R],
//   for each scalar: the bits of a double, the same value as an int64.
// argmin and argmax give the index in the row-major order of the reduced dims.
int reduce_run(int64_t handle, int64_t descriptor);

}  // namespace abi
}  // namespace merapi
