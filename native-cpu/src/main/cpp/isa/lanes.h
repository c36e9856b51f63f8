// SPDX-License-Identifier: Apache-2.0
//
// Storage types against compute types: a kernel is written once as a template over S, loads S as vectors of its compute
// type C (float for the 16-bit types) and rounds once when it stores. Include only from isa/*.cpp, as simd.h.
#pragma once

#include "dtypes.h"
#include "simd.h"
#include "vmath.h"

namespace merapi {
namespace MERAPI_ISA {

struct f16 {
    uint16_t bits;
};
struct bf16 {
    uint16_t bits;
};

template <class S>
struct Numeric {
    using C = float;
};
template <>
struct Numeric<double> {
    using C = double;
};
template <class C>
struct Lanes {
    using V = f32v;
    using M = i32v;
    static constexpr int count = kF32;
};
template <>
struct Lanes<double> {
    using V = f64v;
    using M = i64v;
    static constexpr int count = kF64;
};
template <class S>
using ComputeOf = typename Numeric<S>::C;
template <class S>
using VecOf = typename Lanes<ComputeOf<S>>::V;
template <class S>
constexpr int lanes_of = Lanes<ComputeOf<S>>::count;
template <class A, class B>
constexpr bool same_type = false;
template <class A>
constexpr bool same_type<A, A> = true;
// True where stores round to 16 bits.
template <class S>
constexpr bool is_small = !same_type<S, ComputeOf<S>>;

// ---- one element ----------------------------------------------------------------------------------------------------

MERAPI_INLINE float widen_one(float x) { return x; }
MERAPI_INLINE double widen_one(double x) { return x; }
MERAPI_INLINE float widen_one(f16 x) { return f16_to_f32(x.bits); }
MERAPI_INLINE float widen_one(bf16 x) { return bf16_to_f32(x.bits); }
MERAPI_INLINE void narrow_one(float* p, float x) { *p = x; }
MERAPI_INLINE void narrow_one(double* p, double x) { *p = x; }
MERAPI_INLINE void narrow_one(f16* p, float x) { p->bits = f32_to_f16(x); }
MERAPI_INLINE void narrow_one(bf16* p, float x) { p->bits = f32_to_bf16(x); }

// ---- a vector -------------------------------------------------------------------------------------------------------

MERAPI_INLINE f32v vload(const float* p) { return load(p); }
MERAPI_INLINE f64v vload(const double* p) { return load(p); }
MERAPI_INLINE f32v vload(const bf16* p) {
    u16h h;
    std::memcpy(&h, p, sizeof(h));
    return bits<f32v>(__builtin_convertvector(h, u32v) << 16);
}
MERAPI_INLINE f32v vload(const f16* p) {
#if defined(__AVX512F__)
    return (f32v)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
    return (f32v)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
    f32v v;
    for (int i = 0; i < kF32; i++) v[i] = f16_to_f32(p[i].bits);
    return v;
#endif
}
MERAPI_INLINE void vstore(float* p, f32v v) { store(p, v); }
MERAPI_INLINE void vstore(double* p, f64v v) { store(p, v); }
MERAPI_INLINE void vstore(bf16* p, f32v v) {
    u32v u = bits<u32v>(v);
    u32v rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    u32v quiet = (u >> 16) | 0x40u;
    i32v nan = v != v;
    u16h h = __builtin_convertvector((u32v)(nan ? (i32v)quiet : (i32v)rounded), u16h);
    std::memcpy(static_cast<void*>(p), &h, sizeof(h));
}
MERAPI_INLINE void vstore(f16* p, f32v v) {
#if defined(__AVX512F__)
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
#elif defined(__F16C__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
    for (int i = 0; i < kF32; i++) p[i].bits = f32_to_f16(v[i]);
#endif
}

// The first `count` lanes; the rest are `fill`, and memory behind them is neither read nor written.
template <class S>
MERAPI_INLINE VecOf<S> vload_part(const S* p, int64_t count, ComputeOf<S> fill) {
    constexpr int L = lanes_of<S>;
#if defined(__AVX512F__)
    if constexpr (same_type<S, float>) {
        return (f32v)_mm512_mask_loadu_ps((__m512)splat(fill), static_cast<__mmask16>((1u << count) - 1u), p);
    } else if constexpr (same_type<S, double>) {
        return (f64v)_mm512_mask_loadu_pd((__m512d)splat(fill), static_cast<__mmask8>((1u << count) - 1u), p);
    }
#endif
    ComputeOf<S> lane[L];
    for (int i = 0; i < L; i++) lane[i] = i < count ? widen_one(p[i]) : fill;
    return vload(lane);
}
template <class S>
MERAPI_INLINE void vstore_part(S* p, VecOf<S> v, int64_t count) {
    constexpr int L = lanes_of<S>;
#if defined(__AVX512F__)
    if constexpr (same_type<S, float>) {
        _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1u), (__m512)v);
        return;
    } else if constexpr (same_type<S, double>) {
        _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << count) - 1u), (__m512d)v);
        return;
    }
#endif
    S lane[L];
    vstore(lane, v);
    for (int i = 0; i < count; i++) p[i] = lane[i];
}

// ---- across lanes: the same tree as sum_lanes, in registers
// -----------------------------------------------------------

MERAPI_INLINE float hsum(f32v v) {
#if defined(__AVX512F__)
    __m256 q = _mm256_add_ps(_mm512_castps512_ps256((__m512)v), _mm512_extractf32x8_ps((__m512)v, 1));
#elif defined(__AVX2__)
    __m256 q = (__m256)v;
#endif
#if defined(__AVX2__)
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(q), _mm256_extractf128_ps(q, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
#else
    return sum_lanes(v);
#endif
}
MERAPI_INLINE double hsum(f64v v) { return sum_lanes(v); }
MERAPI_INLINE float hmax(f32v v) {  // a NaN may be lost: the sums that follow bring it back
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float m = v[0];
    for (int i = 1; i < kF32; i++) m = v[i] > m ? v[i] : m;
    return m;
#endif
}
MERAPI_INLINE double hmax(f64v v) {
    double m = v[0];
    for (int i = 1; i < kF64; i++) m = v[i] > m ? v[i] : m;
    return m;
}
template <class V>
MERAPI_INLINE V vmax(V a, V b) {
    return select(a > b, a, b);
}

// ---- functions vmath.h has in float precision only
// --------------------------------------------------------------------

MERAPI_INLINE f32v vexp(f32v x) { return exp(x); }
// Within 1 ulp for results that are normal; e^x below 2^-1022 is 0.
MERAPI_INLINE f64v vexp(f64v x) {
    f64v c = select(x < splat(-745.0), splat(-745.0), select(x > splat(709.9), splat(709.9), x));
    const f64v magic = splat(6755399441055744.0);
    f64v t = mad(c, splat(1.4426950408889634), magic);
    f64v n = t - magic;
    f64v r = mad(n, splat(-1.90821492927058770e-10), mad(n, splat(-6.93147180369123816490e-01), c));
    f64v p = horner(r, 1.0, 1.0, 0.5, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880,
                    1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800.0);
    i64v k = bits<i64v>(t) << 52 >> 52;  // n as an integer of at most 12 bits
    i64v half = k >> 1;
    f64v y = p * bits<f64v>((half + 1023) << 52) * bits<f64v>((k - half + 1023) << 52);
    y = select(x > splat(709.782712893384), splat(static_cast<double>(INFINITY)), y);
    y = select(x < splat(-745.0), splat(0.0), y);
    return select(x != x, x, y);
}

MERAPI_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
MERAPI_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
// a/b rounded up, for a of 0 or more: also for a stride near 2^63.
MERAPI_INLINE int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
// What a task costs, for grains: a product that may be larger than any number, where much is much.
MERAPI_INLINE int64_t cost(int64_t a, int64_t b) {
    constexpr int64_t kMuch = int64_t{1} << 31;
    return least(a, kMuch) * least(b, kMuch);
}

// ---- dtype codes
// ------------------------------------------------------------------------------------------------------

template <class T>
struct Tag {
    using type = T;
};
// fn(Tag<S>) for the floating dtypes; other codes do nothing (Java checks dtypes before it calls).
template <class F>
MERAPI_INLINE void with_float(int dtype, F&& fn) {
    switch (storage_of(dtype)) {
        case Storage::f32:
            fn(Tag<float>{});
            break;
        case Storage::f64:
            fn(Tag<double>{});
            break;
        case Storage::f16:
            fn(Tag<f16>{});
            break;
        case Storage::bf16:
            fn(Tag<bf16>{});
            break;
        default:
            break;
    }
}
template <class T>
MERAPI_INLINE T* at(int64_t address) {
    return reinterpret_cast<T*>(address);
}

// ---- loops over a row
// --------------------------------------------------------------------------------------------------

// f(i, count) for i = 0, L, 2L …, count = lanes in use.
template <class S, class F>
MERAPI_INLINE void map_row(int64_t n, F&& f) {
    constexpr int L = lanes_of<S>;
    int64_t i = 0;
    for (; i + L <= n; i += L) f(i, L);
    if (i < n) f(i, static_cast<int>(n - i));
}
template <class S>
MERAPI_INLINE VecOf<S> pick(const S* p, int count, ComputeOf<S> fill = 0) {
    return count == lanes_of<S> ? vload(p) : vload_part(p, count, fill);
}
template <class S>
MERAPI_INLINE void put(S* p, VecOf<S> v, int count) {
    if (count == lanes_of<S>) {
        vstore(p, v);
    } else {
        vstore_part(p, v, count);
    }
}

// ---- sums over a row
// ----------------------------------------------------------------------------------------------------

// Adds term(i, count) for i = 0, L, 2L … (count = lanes in use; the others must be 0): vectors within blocks of 64, one
// double across blocks, so that the error doesn't grow with n and the result depends on n alone.
template <class C, class Term>
MERAPI_INLINE double blocked_sum(int64_t n, Term&& term) {
    using V = typename Lanes<C>::V;
    constexpr int L = Lanes<C>::count;
    double total = 0;
    for (int64_t block = 0; block < n; block += 64 * L) {
        int64_t end = n - block < 64 * L ? n : block + 64 * L;
        V a = splat(C(0)), b = a;
        int64_t i = block;
        for (; i + 2 * L <= end; i += 2 * L) {
            a += term(i, L);
            b += term(i + L, L);
        }
        if (i + L <= end) {
            a += term(i, L);
            i += L;
        }
        if (i < end) b += term(i, static_cast<int>(end - i));
        total += static_cast<double>(hsum(a + b));
    }
    return total;
}

// The largest element, or NaN-free garbage where there are NaNs: those come back through the sum.
template <class S>
inline ComputeOf<S> row_max(const S* x, int64_t n) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    const C low = -static_cast<C>(INFINITY);
    VecOf<S> m = splat(low);
    int64_t i = 0;
    for (; i + L <= n; i += L) m = vmax(vload(x + i), m);
    if (i < n) m = vmax(vload_part(x + i, n - i, low), m);
    return hmax(m);
}

// The sum of e^(x - shift).
template <class S>
inline double row_sum_exp(const S* x, int64_t n, ComputeOf<S> shift) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    const auto m = splat(shift);
    return blocked_sum<C>(n, [&](int64_t i, int count) {
        return count == L ? vexp(vload(x + i) - m) : vexp(vload_part(x + i, count, -static_cast<C>(INFINITY)) - m);
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
