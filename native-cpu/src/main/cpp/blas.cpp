// SPDX-License-Identifier: Apache-2.0
//
// Which matrix multiplication runs: our own, or BLAS where it is the better one.
//
// On x86-64 our kernels are level with OpenBLAS on large matrices and ahead on small ones, on transposed ones and when
// the cores are shared with others. So a BLAS serves only where there are no tuned micro-kernels (other architectures), or
// where the user says so: Blas.java decides, and hands its functions over. It computes one thread a tile of ours.
#include <atomic>

#include "dtypes.h"
#include "isa.h"
#include "merapi_kernels.h"
#include "pool.h"
#include "structured.h"

namespace merapi {
namespace {

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
using Dgemm = void (*)(int, int, int, int, int, int, double, const double*, int, const double*, int, double, double*,
                       int);
std::atomic<Sgemm> sgemm{nullptr};
std::atomic<Dgemm> dgemm{nullptr};

constexpr int64_t kNever = INT64_MAX;
std::atomic<int64_t> threshold{int64_t{48} * 48 * 48};

constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;
constexpr int64_t kInt = INT32_MAX;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Tiles by size, so that the bits don't depend on the number of threads: rows first, then columns.
template <class T, class F>
void tiles(F blas, bool ta, bool tb, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda, const T* b,
           int64_t ldb, T beta, T* c, int64_t ldc) {
    const int64_t wanted = most(1, least(64, m * n / 64 * k / (1 << 16)));
    const int64_t row_step = most(64, ceil_div(ceil_div(m, wanted), 64) * 64), row_tiles = ceil_div(m, row_step);
    const int64_t column_wanted = most(1, wanted / row_tiles);
    const int64_t column_step = most(64, ceil_div(ceil_div(n, column_wanted), 64) * 64);
    const int64_t column_tiles = ceil_div(n, column_step);
    parallel_for(row_tiles * column_tiles, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            const int64_t i = t / column_tiles * row_step, j = t % column_tiles * column_step;
            blas(kRowMajor, ta ? kTransposed : kPlain, tb ? kTransposed : kPlain,
                 static_cast<int>(least(row_step, m - i)), static_cast<int>(least(column_step, n - j)),
                 static_cast<int>(k), alpha, ta ? a + i : a + i * lda, static_cast<int>(lda), tb ? b + j * ldb : b + j,
                 static_cast<int>(ldb), beta, c + i * ldc + j, static_cast<int>(ldc));
        }
    });
}

template <class T>
void broadcast_bias(const T* bias, int64_t m, int64_t n, T* c, int64_t ldc) {
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) c[i * ldc + j] = bias[j];
    }
}

template <class T, class F>
void with_blas(F blas, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda,
               int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc, int64_t bias) {
    T* out = reinterpret_cast<T*>(c);
    if (bias != 0) {
        broadcast_bias(reinterpret_cast<const T*>(bias), m, n, out, ldc);
        beta = 1;
    }
    tiles<T>(blas, ta, tb, m, n, k, static_cast<T>(alpha), reinterpret_cast<const T*>(a), lda,
             reinterpret_cast<const T*>(b), ldb, static_cast<T>(beta), out, ldc);
}

void product(int dtype, bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda,
             int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc, int64_t bias) {
    if (m <= 0 || n <= 0) return;
    const int64_t limit = threshold.load(std::memory_order_relaxed);
    const bool fits = most(most(m, n), most(k, most(lda, most(ldb, ldc)))) <= kInt;
    const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
    if (limit != kNever && fits && k > 0 && work >= static_cast<double>(limit)) {
        if (storage_of(dtype) == Storage::f32 && sgemm.load() != nullptr) {
            with_blas<float>(sgemm.load(), ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias);
            return;
        }
        if (storage_of(dtype) == Storage::f64 && dgemm.load() != nullptr) {
            with_blas<double>(dgemm.load(), ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias);
            return;
        }
    }
    MERAPI_BEST(gemm_own, (dtype, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias));
}

}  // namespace

namespace abi {

void blas_init(int64_t sgemm_address, int64_t dgemm_address, int64_t set_num_threads_address) {
    // Our tiles are the parallelism: its own threads would fight ours for the cores.
    if (set_num_threads_address != 0) reinterpret_cast<void (*)(int)>(set_num_threads_address)(1);
    sgemm.store(reinterpret_cast<Sgemm>(sgemm_address));
    dgemm.store(reinterpret_cast<Dgemm>(dgemm_address));
}

int64_t blas_threshold(int64_t multiply_adds) {
    int64_t before = threshold.exchange(multiply_adds < 0 ? kNever : multiply_adds);
    return before == kNever ? -1 : before;
}

void gemm(int dtype, int trans_a, int trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda,
          int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc) {
    product(dtype, trans_a != 0, trans_b != 0, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 0);
}

void linear(int dtype, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t in, int64_t out, int64_t y) {
    product(dtype, false, true, rows, out, in, 1, x, in, weight, in, 0, y, out, bias);
}

void gemm_batched(int dtype, int trans_a, int trans_b, int64_t batch, int64_t m, int64_t n, int64_t k, double alpha,
                  int64_t a, int64_t lda, int64_t stride_a, int64_t offsets_a, int64_t b, int64_t ldb, int64_t stride_b,
                  int64_t offsets_b, double beta, int64_t c, int64_t ldc, int64_t stride_c) {
    const int64_t size = storage_size(storage_of(dtype));
    const int64_t* at_a = reinterpret_cast<const int64_t*>(offsets_a);
    const int64_t* at_b = reinterpret_cast<const int64_t*>(offsets_b);
    auto entry = [&](int64_t i) {
        product(dtype, trans_a != 0, trans_b != 0, m, n, k, alpha,
                a + (at_a != nullptr ? at_a[i] : i * stride_a) * size, lda,
                b + (at_b != nullptr ? at_b[i] : i * stride_b) * size, ldb, beta, c + i * stride_c * size, ldc, 0);
    };
    // Parallel over entries (and serial inside) while there are enough of them for any machine, else inside each.
    const int64_t work = most(1, m * n * most(1, k));
    if (batch >= 16 || work < (1 << 20)) {
        parallel_for(batch, most(1, (1 << 18) / work), [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++) entry(i);
        });
    } else {
        for (int64_t i = 0; i < batch; i++) entry(i);
    }
}

}  // namespace abi
}  // namespace merapi
