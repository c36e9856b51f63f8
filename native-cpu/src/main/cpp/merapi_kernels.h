// SPDX-License-Identifier: Apache-2.0
//
// Structured CPU kernels, as Java calls them: primitives and addresses only. Nothing here throws or allocates results.
//
// A dtype is the number that dtype_code gives for its name. Without other words a kernel takes the floating ones; 16-bit
// floats compute in float and round once. "compute dtype" is f64 for f64 and f32 for the others.
// Arrays are contiguous and row-major unless strides are given; strides and leading dimensions count elements. An
// address of 0 means "absent" where it says (0 ok). No result depends on the number of threads. An output is never an
// input's memory, unless it says (in place ok). Those of structured.def are built for each instruction set.
#pragma once

#include <cstdint>

namespace merapi {
namespace abi {

#define MERAPI_KERNEL(result, name, parameters, arguments) result name parameters;
#include "structured.def"
#undef MERAPI_KERNEL

// ---- by position ----------------------------------------------------------------------------------------------------

// out = x [matrices, rows, columns] with zeros above (lower) or below the diagonal; elements of 1, 2, 4 or 8 bytes.
void triangle(int element_size, int64_t x, int64_t matrices, int64_t rows, int64_t columns, int64_t diagonal, int lower,
              int64_t out);
// out[i] = start + i * step, any dtype; computed in int64 and in double.
void arange(int dtype, int64_t start, int64_t step, int64_t n, int64_t out);
void arange_real(int dtype, double start, double step, int64_t n, int64_t out);
// n elements from start to end, both included; any dtype.
void linspace(int dtype, double start, double end, int64_t n, int64_t out);
// out [n, classes] of any dtype: 1 at the index, else 0. The indices as below, checked.
void one_hot(int dtype, int index_dtype, int64_t indices, int64_t n, int64_t classes, int64_t out);
// -weight[target] * log_probabilities[row, target], otherwise as cross_entropy; targets i64.
int64_t nll_loss(int dtype, int64_t log_probabilities, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                 int64_t ignore_index, int reduction, int64_t result);
int64_t nll_loss_backward(int dtype, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,
                       int reduction, int64_t grad, int64_t out);

// ---- indexing -------------------------------------------------------------------------------------------------------

// Indices are i32 or i64 (index_dtype 4 or 5); negative ones count from the end. Check them before anything is written:
// this returns the first position whose index is outside of [-size, size), or -1. Kernels look again at each, for another
// thread may have written it since: what is out of range is left out (0 where it would be read), and its position is what
// they return; -1 if there was none.
int64_t check_indices(int index_dtype, int64_t indices, int64_t count, int64_t size);
// out[o, j, :] = x[o, indices[j], :] for x [outer, dim, inner], indices [k], out [outer, k, inner]; elements of 1, 2, 4
// or 8 bytes. An embedding is outer = 1, dim = vocabulary, inner = width.
int64_t index_select(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                  int64_t inner, int64_t k, int64_t out);
// out[o, j, i] = x[o, indices[o, j, i], i] for x [outer, dim, inner], indices and out [outer, k, inner].
int64_t gather(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
            int64_t k, int64_t out);
// out[o, indices[o, j, i], i] = src[o, j, i]; the last j wins.
int64_t scatter(int element_size, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
             int64_t k, int64_t out);
// out[o, indices[j], :] = src[o, j, :]; the last j wins.
int64_t index_copy(int element_size, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                   int64_t inner, int64_t k, int64_t out);

// ---- matrix multiplication ------------------------------------------------------------------------------------------

// Addresses of cblas_sgemm, cblas_dgemm, openblas_set_num_threads. BLAS then runs the products from blas_threshold on,
// in tiles of ours, one thread a tile. On x86-64 that is none, our own kernels being the better ones: there BLAS need
// not be loaded at all.
void blas_init(int64_t sgemm, int64_t dgemm, int64_t set_num_threads);
// The smallest m*n*k for which BLAS is asked; < 0: never. Returns the former value. For measurements.
int64_t blas_threshold(int64_t multiply_adds);
// C = alpha * op(A)·op(B) + beta * C, row-major: op(A) [m, k], op(B) [k, n], C [m, n]; trans_x != 0: stored transposed.
// C is not read when beta is 0. k = 0 gives beta * C.
void gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda,
          int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc);
// y [rows, out] = x [rows, in] · weight [out, in]ᵀ + bias [out] (0 ok).
void linear(int dtype, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t in, int64_t out, int64_t y);
// One product a batch entry. Entry i of A starts at a + offsets_a[i] elements where offsets_a (int64 [batch]) is given,
// else at a + i * stride_a; B alike; C at c + i * stride_c. Strides may be 0 for A and B.
void gemm_batched(int dtype, int trans_a, int trans_b, int64_t batch, int64_t m, int64_t n, int64_t k, double alpha,
                  int64_t a, int64_t lda, int64_t stride_a, int64_t offsets_a, int64_t b, int64_t ldb, int64_t stride_b,
                  int64_t offsets_b, double beta, int64_t c, int64_t ldc, int64_t stride_c);

// ---- scans and orders: every dtype ----------------------------------------------------------------------------------

// Sorts rows of [rows, n], stable. NaN counts as the largest number. values, indices (i64): each 0 ok.
void sort(int dtype, int64_t x, int64_t rows, int64_t n, int descending, int64_t values, int64_t indices);
// The k largest (or smallest) of each row, in order; the first of equals first.
void topk(int dtype, int64_t x, int64_t rows, int64_t n, int64_t k, int largest, int64_t values, int64_t indices);
// out i64 [count]: how many of the n elements of a row of `sorted` are less than values[i], or not more (right); the row
// is i / each. NaN counts as the largest number.
void search_sorted(int dtype, int64_t sorted, int64_t values, int64_t count, int64_t n, int64_t each, int right,
                   int64_t out);
int64_t nonzero_count(int dtype, int64_t x, int64_t n);
// Writes coordinates i64 [count, ndim] in row-major order; shape: address of int64 [ndim].
void nonzero(int dtype, int64_t x, int64_t ndim, int64_t shape, int64_t out);

}  // namespace abi
}  // namespace merapi
