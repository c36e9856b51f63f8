// SPDX-License-Identifier: Apache-2.0
//
// The structured kernels of each instruction set: the declarations of structured.def in merapi::base, avx2 and avx512.
#pragma once

#include <cstdint>

#define MERAPI_KERNEL(result, name, parameters, arguments) result name parameters;

// The product of gemm.cpp, which blas.cpp chooses from.
#define MERAPI_GEMM                                                                                              \
    void gemm_own(int dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, \
                  int64_t lda, int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc, int64_t bias);

namespace merapi {
namespace base {
#include "structured.def"
MERAPI_GEMM
}  // namespace base
#if defined(__x86_64__)
namespace avx2 {
#include "structured.def"
MERAPI_GEMM
}  // namespace avx2
namespace avx512 {
#include "structured.def"
MERAPI_GEMM
}  // namespace avx512
#endif
}  // namespace merapi

#undef MERAPI_KERNEL
#undef MERAPI_GEMM

// name(arguments) of the best build this machine runs.
#if defined(__x86_64__)
#define MERAPI_BEST(name, arguments)                                             \
    (::merapi::isa() == ::merapi::Isa::avx512 ? ::merapi::avx512::name arguments \
     : ::merapi::isa() == ::merapi::Isa::avx2 ? ::merapi::avx2::name arguments   \
                                              : ::merapi::base::name arguments)
#else
#define MERAPI_BEST(name, arguments) (::merapi::base::name arguments)
#endif
