// SPDX-License-Identifier: Apache-2.0
//
// The loops that opcodes are made of: a scalar expression that the compiler vectorises, or a function of vectors.
#pragma once

#include "../program.h"
#include "../vmath.h"

namespace merapi {
namespace MERAPI_ISA {

template <class T>
struct RegOf;
template <>
struct RegOf<float> {
    static constexpr Reg value = Reg::f32;
};
template <>
struct RegOf<double> {
    static constexpr Reg value = Reg::f64;
};
template <>
struct RegOf<int32_t> {
    static constexpr Reg value = Reg::i32;
};
template <>
struct RegOf<int64_t> {
    static constexpr Reg value = Reg::i64;
};
template <>
struct RegOf<uint8_t> {
    static constexpr Reg value = Reg::boolean;
};  // one byte, 0 or 1

template <class D, class A, class F>
MERAPI_INLINE void map1(void* d, const void* a, int64_t n, F f) {
    D* dp = static_cast<D*>(d);
    const A* ap = static_cast<const A*>(a);
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) dp[i] = f(ap[i]);
}
template <class D, class A, class F>
MERAPI_INLINE void map2(void* d, const void* a, const void* b, int64_t n, F f) {
    D* dp = static_cast<D*>(d);
    const A* ap = static_cast<const A*>(a);
    const A* bp = static_cast<const A*>(b);
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) dp[i] = f(ap[i], bp[i]);
}

// f: f32v -> f32v. The tail goes through a padded copy: an operand may end at the end of a page.
template <class F>
MERAPI_INLINE void map1_vector(void* d, const void* a, int64_t n, F f) {
    float* dp = static_cast<float*>(d);
    const float* ap = static_cast<const float*>(a);
    int64_t i = 0;
    for (; i + kF32 <= n; i += kF32) store(dp + i, f(load(ap + i)));
    if (i < n) {
        float pad[kF32] = {0};
        std::memcpy(pad, ap + i, static_cast<size_t>(n - i) * sizeof(float));
        store(pad, f(load(pad)));
        std::memcpy(dp + i, pad, static_cast<size_t>(n - i) * sizeof(float));
    }
}
template <class F>
MERAPI_INLINE void map2_vector(void* d, const void* a, const void* b, int64_t n, F f) {
    float* dp = static_cast<float*>(d);
    const float* ap = static_cast<const float*>(a);
    const float* bp = static_cast<const float*>(b);
    int64_t i = 0;
    for (; i + kF32 <= n; i += kF32) store(dp + i, f(load(ap + i), load(bp + i)));
    if (i < n) {
        float pad_a[kF32] = {0}, pad_b[kF32] = {0};
        std::memcpy(pad_a, ap + i, static_cast<size_t>(n - i) * sizeof(float));
        std::memcpy(pad_b, bp + i, static_cast<size_t>(n - i) * sizeof(float));
        store(pad_a, f(load(pad_a), load(pad_b)));
        std::memcpy(dp + i, pad_a, static_cast<size_t>(n - i) * sizeof(float));
    }
}

}  // namespace MERAPI_ISA
}  // namespace merapi

// Rows of an op table. `x`, `y`, `z` are the operands inside the expression.
#define MERAPI_UNARY(name, T, D, expression)                                                                         \
    OpEntry {                                                                                                        \
        name, RegOf<T>::value, RegOf<D>::value, 1, [](void* d, const void* a, const void*, const void*, int64_t n) { \
            map1<D, T>(d, a, n, [](T x) -> D { return expression; });                                                \
        }                                                                                                            \
    }
#define MERAPI_BINARY(name, T, D, expression)                                                                          \
    OpEntry {                                                                                                          \
        name, RegOf<T>::value, RegOf<D>::value, 2, [](void* d, const void* a, const void* b, const void*, int64_t n) { \
            map2<D, T>(d, a, b, n, [](T x, T y) -> D { return expression; });                                          \
        }                                                                                                              \
    }
#define MERAPI_VECTOR_UNARY(name, expression)                                                          \
    OpEntry {                                                                                          \
        name, Reg::f32, Reg::f32, 1, [](void* d, const void* a, const void*, const void*, int64_t n) { \
            map1_vector(d, a, n, [](f32v x) -> f32v { return expression; });                           \
        }                                                                                              \
    }
