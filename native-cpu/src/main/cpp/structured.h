// SPDX-License-Identifier: Apache-2.0
//
// The structured kernels of each instruction set: one list, from which the declarations in merapi::base, avx2 and
// avx512 and the functions of merapi_kernels.h that choose between them are made.
#pragma once

#include <cstdint>

// X(result, name, (parameters), (arguments))
#define MERAPI_STRUCTURED(X)                                                                                           \
    X(void, softmax, (int d, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner),                           \
      (d, x, y, outer, n, inner))                                                                                      \
    X(void, log_softmax, (int d, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner),                       \
      (d, x, y, outer, n, inner))                                                                                      \
    X(void, softmax_backward, (int d, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner),      \
      (d, y, g, dx, outer, n, inner))                                                                                  \
    X(void, log_softmax_backward, (int d, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner),  \
      (d, y, g, dx, outer, n, inner))                                                                                  \
    X(void, logsumexp, (int d, int64_t x, int64_t out, int64_t outer, int64_t n, int64_t inner),                       \
      (d, x, out, outer, n, inner))                                                                                    \
    X(int64_t, cross_entropy,                                                                                          \
      (int d, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,    \
       double smoothing, int reduction, int64_t result, int64_t lse, int64_t total_weight),                            \
      (d, logits, targets, weight, rows, classes, ignore_index, smoothing, reduction, result, lse, total_weight))      \
    X(int64_t, cross_entropy_backward,                                                                                    \
      (int d, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,    \
       double smoothing, int reduction, int64_t lse, int64_t total_weight, int64_t grad, int64_t dlogits),             \
      (d, logits, targets, weight, rows, classes, ignore_index, smoothing, reduction, lse, total_weight, grad,         \
       dlogits))                                                                                                       \
    X(void, layer_norm,                                                                                                \
      (int d, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t n, double eps, int64_t y, int64_t mean,   \
       int64_t rstd),                                                                                                  \
      (d, x, weight, bias, rows, n, eps, y, mean, rstd))                                                               \
    X(void, layer_norm_backward,                                                                                       \
      (int d, int64_t dy, int64_t x, int64_t mean, int64_t rstd, int64_t weight, int64_t rows, int64_t n, int64_t dx,  \
       int64_t dweight, int64_t dbias),                                                                                \
      (d, dy, x, mean, rstd, weight, rows, n, dx, dweight, dbias))                                                     \
    X(void, rms_norm,                                                                                                  \
      (int d, int64_t x, int64_t weight, int64_t rows, int64_t n, double eps, int64_t y, int64_t rstd),                \
      (d, x, weight, rows, n, eps, y, rstd))                                                                           \
    X(void, rms_norm_backward,                                                                                         \
      (int d, int64_t dy, int64_t x, int64_t rstd, int64_t weight, int64_t rows, int64_t n, int64_t dx,                \
       int64_t dweight),                                                                                               \
      (d, dy, x, rstd, weight, rows, n, dx, dweight))                                                                  \
    X(int64_t, index_add,                                                                                                 \
      (int d, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner, int64_t k,     \
       int64_t skip, int64_t out),                                                                                     \
      (d, src, index_dtype, indices, outer, dim, inner, k, skip, out))                                                 \
    X(int64_t, scatter_add,                                                                                               \
      (int d, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner, int64_t k,     \
       int64_t out),                                                                                                   \
      (d, src, index_dtype, indices, outer, dim, inner, k, out))                                                       \
    X(void, attention,                                                                                                 \
      (int d, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k, int64_t v, int64_t o,    \
       int64_t lse),                                                                                                   \
      (d, shape, strides, scale, causal, q, k, v, o, lse))                                                             \
    X(void, attention_backward,                                                                                        \
      (int d, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k, int64_t v, int64_t o,    \
       int64_t lse, int64_t grad, int64_t dq, int64_t dk, int64_t dv),                                                 \
      (d, shape, strides, scale, causal, q, k, v, o, lse, grad, dq, dk, dv))                                           \
    X(void, conv2d, (int d, int64_t shape, int64_t x, int64_t weight, int64_t bias, int64_t y),                        \
      (d, shape, x, weight, bias, y))                                                                                  \
    X(void, conv2d_backward,                                                                                           \
      (int d, int64_t shape, int64_t x, int64_t weight, int64_t dy, int64_t dx, int64_t dweight, int64_t dbias),       \
      (d, shape, x, weight, dy, dx, dweight, dbias))                                                                   \
    X(void, max_pool2d, (int d, int64_t shape, int64_t x, int64_t y, int64_t indices), (d, shape, x, y, indices))      \
    X(void, max_pool2d_backward, (int d, int64_t shape, int64_t dy, int64_t indices, int64_t dx),                      \
      (d, shape, dy, indices, dx))                                                                                     \
    X(void, avg_pool2d, (int d, int64_t shape, int count_include_pad, int64_t x, int64_t y),                           \
      (d, shape, count_include_pad, x, y))                                                                             \
    X(void, avg_pool2d_backward, (int d, int64_t shape, int count_include_pad, int64_t dy, int64_t dx),                \
      (d, shape, count_include_pad, dy, dx))                                                                           \
    X(void, random_bits, (int64_t seed, int64_t offset, int64_t n, int64_t out), (seed, offset, n, out))               \
    X(void, random_uniform, (int d, int64_t seed, int64_t offset, int64_t n, double low, double high, int64_t out),    \
      (d, seed, offset, n, low, high, out))                                                                            \
    X(void, random_normal,                                                                                             \
      (int d, int64_t seed, int64_t offset, int64_t n, double mean, double deviation, int64_t out),                    \
      (d, seed, offset, n, mean, deviation, out))                                                                      \
    X(void, random_integers,                                                                                           \
      (int d, int64_t seed, int64_t offset, int64_t n, int64_t low, int64_t range, int64_t out),                       \
      (d, seed, offset, n, low, range, out))                                                                           \
    X(void, random_mask, (int64_t seed, int64_t offset, int64_t n, int64_t threshold, int64_t out),                    \
      (seed, offset, n, threshold, out))                                                                               \
    X(void, dropout,                                                                                                   \
      (int d, int64_t x, int64_t seed, int64_t offset, int64_t n, int64_t threshold, double scale, int64_t y,          \
       int64_t mask),                                                                                                  \
      (d, x, seed, offset, n, threshold, scale, y, mask))                                                              \
    X(void, dropout_backward, (int d, int64_t grad, int64_t mask, int64_t n, double scale, int64_t dx),                \
      (d, grad, mask, n, scale, dx))                                                                                   \
    X(void, adam,                                                                                                      \
      (int d, int64_t list, int64_t count, double beta1, double beta2, double eps, double weight_decay, int decoupled, \
       int64_t lr, int64_t grad_scale, int64_t skip),                                                                  \
      (d, list, count, beta1, beta2, eps, weight_decay, decoupled, lr, grad_scale, skip))                              \
    X(void, sgd,                                                                                                       \
      (int d, int64_t list, int64_t count, double momentum, double dampening, int nesterov, double weight_decay,       \
       int64_t lr, int64_t grad_scale, int64_t skip),                                                                  \
      (d, list, count, momentum, dampening, nesterov, weight_decay, lr, grad_scale, skip))                             \
    X(void, grad_norm,                                                                                                 \
      (int d, int64_t list, int64_t count, double max_norm, int64_t before, int64_t norm, int64_t scale, int64_t flag),\
      (d, list, count, max_norm, before, norm, scale, flag))                                                           \
    X(void, scale_grads, (int d, int64_t list, int64_t count, int64_t scale), (d, list, count, scale))                 \
    X(void, cumsum, (int d, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t y), (d, x, outer, n, inner, y))

// The products of gemm.cpp, which blas.cpp chooses from.
#define MERAPI_PRODUCTS(X)                                                                                       \
    X(void, gemm_own,                                                                                            \
      (int d, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a, int64_t lda, \
       int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc, int64_t bias),                               \
      (d, trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, bias))

namespace merapi {

#define MERAPI_DECLARE(result, name, parameters, arguments) result name parameters;
namespace base {
MERAPI_STRUCTURED(MERAPI_DECLARE)
MERAPI_PRODUCTS(MERAPI_DECLARE)
}  // namespace base
#if defined(__x86_64__)
namespace avx2 {
MERAPI_STRUCTURED(MERAPI_DECLARE)
MERAPI_PRODUCTS(MERAPI_DECLARE)
}  // namespace avx2
namespace avx512 {
MERAPI_STRUCTURED(MERAPI_DECLARE)
MERAPI_PRODUCTS(MERAPI_DECLARE)
}  // namespace avx512
#endif
#undef MERAPI_DECLARE

}  // namespace merapi

// name(arguments) of the best build this machine runs.
#if defined(__x86_64__)
#define MERAPI_BEST(name, arguments)                                             \
    (::merapi::isa() == ::merapi::Isa::avx512 ? ::merapi::avx512::name arguments \
     : ::merapi::isa() == ::merapi::Isa::avx2 ? ::merapi::avx2::name arguments   \
                                              : ::merapi::base::name arguments)
#else
#define MERAPI_BEST(name, arguments) (::merapi::base::name arguments)
#endif
