// SPDX-License-Identifier: Apache-2.0
//
// Vectors of the width that the instruction set at hand likes best, through the compiler's vector extensions.
//
// Include only from isa/*.cpp. Those are compiled once per instruction set with -DMERAPI_ISA=base|avx2|avx512 and the
// matching -march, and everything in them lives in namespace merapi::<isa>. Two rules keep one build's AVX-512 code out
// of another's baseline path: no inline function or template outside of that namespace (no <algorithm>, no
// std::vector), and nothing but the exported table leaves the file.
//
// f32v holds kF32 floats, f64v holds kF64 = kF32/2 doubles; i32v, u32v, i64v, u64v go with them; f32h, i32h, u32h are
// the half vectors that convert to and from f64v.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef MERAPI_ISA
#error "compile with -DMERAPI_ISA=base, avx2 or avx512"
#endif

// Iterations of the loop that follows are independent, although the compiler can't see it: an output may be the very
// same memory as an input, but never a shifted one.
#if defined(__clang__)
#define MERAPI_IVDEP _Pragma("clang loop vectorize(assume_safety)")
#else
#define MERAPI_IVDEP _Pragma("GCC ivdep")
#endif

#define MERAPI_INLINE inline __attribute__((always_inline))

namespace merapi {
namespace MERAPI_ISA {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
constexpr int kF32 = kVectorBytes / 4;
constexpr int kF64 = kVectorBytes / 8;

#define MERAPI_VECTOR(T, name, bytes)                              \
    typedef T name __attribute__((vector_size(bytes), may_alias)); \
    typedef T name##_unaligned __attribute__((vector_size(bytes), may_alias, aligned(1)));
MERAPI_VECTOR(float, f32v, kVectorBytes)
MERAPI_VECTOR(double, f64v, kVectorBytes)
MERAPI_VECTOR(int32_t, i32v, kVectorBytes)
MERAPI_VECTOR(uint32_t, u32v, kVectorBytes)
MERAPI_VECTOR(int64_t, i64v, kVectorBytes)
MERAPI_VECTOR(uint64_t, u64v, kVectorBytes)
MERAPI_VECTOR(float, f32h, kVectorBytes / 2)
MERAPI_VECTOR(int32_t, i32h, kVectorBytes / 2)
MERAPI_VECTOR(uint32_t, u32h, kVectorBytes / 2)
MERAPI_VECTOR(uint16_t, u16h, kVectorBytes / 2)
#undef MERAPI_VECTOR

// ---- loads, stores, bit casts -------------------------------------------------------------------------------------

MERAPI_INLINE f32v load(const float* p) { return *reinterpret_cast<const f32v_unaligned*>(p); }
MERAPI_INLINE f64v load(const double* p) { return *reinterpret_cast<const f64v_unaligned*>(p); }
MERAPI_INLINE i32v load(const int32_t* p) { return *reinterpret_cast<const i32v_unaligned*>(p); }
MERAPI_INLINE i64v load(const int64_t* p) { return *reinterpret_cast<const i64v_unaligned*>(p); }
MERAPI_INLINE f32h load_half(const float* p) { return *reinterpret_cast<const f32h_unaligned*>(p); }
MERAPI_INLINE void store(float* p, f32v v) { *reinterpret_cast<f32v_unaligned*>(p) = v; }
MERAPI_INLINE void store(double* p, f64v v) { *reinterpret_cast<f64v_unaligned*>(p) = v; }
MERAPI_INLINE void store(int32_t* p, i32v v) { *reinterpret_cast<i32v_unaligned*>(p) = v; }
MERAPI_INLINE void store(int64_t* p, i64v v) { *reinterpret_cast<i64v_unaligned*>(p) = v; }
MERAPI_INLINE void store_half(float* p, f32h v) { *reinterpret_cast<f32h_unaligned*>(p) = v; }

MERAPI_INLINE f32v splat(float x) { return x - f32v{}; }
MERAPI_INLINE f64v splat(double x) { return x - f64v{}; }
MERAPI_INLINE i32v splat(int32_t x) { return x - i32v{}; }
MERAPI_INLINE i64v splat(int64_t x) { return x - i64v{}; }

template <class To, class From>
MERAPI_INLINE To bits(From v) {
    static_assert(sizeof(To) == sizeof(From), "bit cast between equal sizes");
    To r;
    std::memcpy(&r, &v, sizeof(r));
    return r;
}

// mask ? a : b, with the all-ones masks that vector comparisons give.
MERAPI_INLINE f32v select(i32v mask, f32v a, f32v b) { return mask ? a : b; }
MERAPI_INLINE f64v select(i64v mask, f64v a, f64v b) { return mask ? a : b; }
MERAPI_INLINE i32v select(i32v mask, i32v a, i32v b) { return mask ? a : b; }
MERAPI_INLINE i64v select(i64v mask, i64v a, i64v b) { return mask ? a : b; }

// ---- conversions between widths -----------------------------------------------------------------------------------

#if defined(__AVX512F__)
MERAPI_INLINE f64v widen(f32h v) { return (f64v)_mm512_cvtps_pd((__m256)v); }
MERAPI_INLINE f32h narrow(f64v v) { return (f32h)_mm512_cvtpd_ps((__m512d)v); }
MERAPI_INLINE f32h low_half(f32v v) { return (f32h)_mm512_castps512_ps256((__m512)v); }
MERAPI_INLINE f32h high_half(f32v v) { return (f32h)_mm512_extractf32x8_ps((__m512)v, 1); }
MERAPI_INLINE f32v join_halves(f32h low, f32h high) {
    return (f32v)_mm512_insertf32x8(_mm512_castps256_ps512((__m256)low), (__m256)high, 1);
}
#elif defined(__AVX2__)
MERAPI_INLINE f64v widen(f32h v) { return (f64v)_mm256_cvtps_pd((__m128)v); }
MERAPI_INLINE f32h narrow(f64v v) { return (f32h)_mm256_cvtpd_ps((__m256d)v); }
MERAPI_INLINE f32h low_half(f32v v) { return (f32h)_mm256_castps256_ps128((__m256)v); }
MERAPI_INLINE f32h high_half(f32v v) { return (f32h)_mm256_extractf128_ps((__m256)v, 1); }
MERAPI_INLINE f32v join_halves(f32h low, f32h high) { return (f32v)_mm256_set_m128((__m128)high, (__m128)low); }
#else
MERAPI_INLINE f64v widen(f32h v) { return f64v{v[0], v[1]}; }
MERAPI_INLINE f32h narrow(f64v v) { return f32h{static_cast<float>(v[0]), static_cast<float>(v[1])}; }
MERAPI_INLINE f32h low_half(f32v v) { return f32h{v[0], v[1]}; }
MERAPI_INLINE f32h high_half(f32v v) { return f32h{v[2], v[3]}; }
MERAPI_INLINE f32v join_halves(f32h low, f32h high) { return f32v{low[0], low[1], high[0], high[1]}; }
#endif
MERAPI_INLINE f64v low_f64(f32v v) { return widen(low_half(v)); }
MERAPI_INLINE f64v high_f64(f32v v) { return widen(high_half(v)); }
MERAPI_INLINE f32v join_f32(f64v low, f64v high) { return join_halves(narrow(low), narrow(high)); }

MERAPI_INLINE i32v to_i32(f32v v) { return __builtin_convertvector(v, i32v); }  // truncates; in range only
MERAPI_INLINE f32v to_f32(i32v v) { return __builtin_convertvector(v, f32v); }

// ---- arithmetic that the extensions don't spell -------------------------------------------------------------------

// a*b + c for polynomials: one rounding where the instruction set has it, two in the x86 baseline. Where one rounding
// is promised (the `fma` op), use fma_exact.
MERAPI_INLINE f32v mad(f32v a, f32v b, f32v c) {
#if defined(__AVX512F__)
    return (f32v)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
    return (f32v)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
    return (f32v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}
MERAPI_INLINE f64v mad(f64v a, f64v b, f64v c) {
#if defined(__AVX512F__)
    return (f64v)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
    return (f64v)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
    return (f64v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
    return a * b + c;
#endif
}
MERAPI_INLINE f32v mad(f32v a, f32v b, float c) { return mad(a, b, splat(c)); }
MERAPI_INLINE f64v mad(f64v a, f64v b, double c) { return mad(a, b, splat(c)); }

// To the nearest integer, ties to even, for |v| < 2^22 (f32) or 2^51 (f64).
MERAPI_INLINE f32v round_small(f32v v) {
    const f32v magic = splat(12582912.0f);  // 1.5 * 2^23
    return (v + magic) - magic;
}
MERAPI_INLINE f64v round_small(f64v v) {
    const f64v magic = splat(6755399441055744.0);  // 1.5 * 2^52
    return (v + magic) - magic;
}

MERAPI_INLINE f32v abs(f32v v) { return bits<f32v>(bits<i32v>(v) & splat(int32_t{0x7fffffff})); }
MERAPI_INLINE f64v abs(f64v v) { return bits<f64v>(bits<i64v>(v) & splat(int64_t{0x7fffffffffffffff})); }
MERAPI_INLINE f32v copysign(f32v magnitude, f32v sign) {
    const i32v m = splat(int32_t{0x7fffffff});
    return bits<f32v>((bits<i32v>(magnitude) & m) | (bits<i32v>(sign) & ~m));
}
MERAPI_INLINE f64v copysign(f64v magnitude, f64v sign) {
    const i64v m = splat(int64_t{0x7fffffffffffffff});
    return bits<f64v>((bits<i64v>(magnitude) & m) | (bits<i64v>(sign) & ~m));
}
// max(low, min(high, v)), and a NaN stays one: the x86 instructions give their second operand then.
MERAPI_INLINE f32v at_least(float low, f32v v) {
#if defined(__AVX512F__)
    return (f32v)_mm512_max_ps((__m512)splat(low), (__m512)v);
#elif defined(__AVX2__)
    return (f32v)_mm256_max_ps((__m256)splat(low), (__m256)v);
#else
    return select(v < splat(low), splat(low), v);
#endif
}
MERAPI_INLINE f32v at_most(float high, f32v v) {
#if defined(__AVX512F__)
    return (f32v)_mm512_min_ps((__m512)splat(high), (__m512)v);
#elif defined(__AVX2__)
    return (f32v)_mm256_min_ps((__m256)splat(high), (__m256)v);
#else
    return select(v > splat(high), splat(high), v);
#endif
}
MERAPI_INLINE f64v at_least(double low, f64v v) {
#if defined(__AVX512F__)
    return (f64v)_mm512_max_pd((__m512d)splat(low), (__m512d)v);
#elif defined(__AVX2__)
    return (f64v)_mm256_max_pd((__m256d)splat(low), (__m256d)v);
#else
    return select(v < splat(low), splat(low), v);
#endif
}
MERAPI_INLINE f64v at_most(double high, f64v v) {
#if defined(__AVX512F__)
    return (f64v)_mm512_min_pd((__m512d)splat(high), (__m512d)v);
#elif defined(__AVX2__)
    return (f64v)_mm256_min_pd((__m256d)splat(high), (__m256d)v);
#else
    return select(v > splat(high), splat(high), v);
#endif
}
MERAPI_INLINE f32v clamp_keep_nan(f32v v, float low, float high) { return at_most(high, at_least(low, v)); }
MERAPI_INLINE f64v clamp_keep_nan(f64v v, double low, double high) { return at_most(high, at_least(low, v)); }

// A NaN in either argument wins.
MERAPI_INLINE f32v max_nan(f32v a, f32v b) { return select((a > b) | (a != a), a, b); }
MERAPI_INLINE f32v min_nan(f32v a, f32v b) { return select((a < b) | (a != a), a, b); }
MERAPI_INLINE f64v max_nan(f64v a, f64v b) { return select((a > b) | (a != a), a, b); }
MERAPI_INLINE f64v min_nan(f64v a, f64v b) { return select((a < b) | (a != a), a, b); }

// Lane sums in a fixed tree (halves added to halves), the same for every width that starts from the same lanes.
MERAPI_INLINE float sum_lanes(f32v v) {
    float lane[kF32];
    std::memcpy(lane, &v, sizeof(v));
    for (int width = kF32 / 2; width >= 1; width /= 2) {
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    }
    return lane[0];
}
MERAPI_INLINE double sum_lanes(f64v v) {
    double lane[kF64];
    std::memcpy(lane, &v, sizeof(v));
    for (int width = kF64 / 2; width >= 1; width /= 2) {
        for (int i = 0; i < width; i++) lane[i] += lane[i + width];
    }
    return lane[0];
}
MERAPI_INLINE float max_lanes(f32v v) {  // a NaN wins
    float m = v[0];
    for (int i = 1; i < kF32; i++) {
        float x = v[i];
        m = (x > m || x != x) ? x : m;
    }
    return m;
}

// ---- half precision, one element -----------------------------------------------------------------------------------

MERAPI_INLINE float bits_to_f32(uint32_t u) { return bits<float>(u); }

MERAPI_INLINE float bf16_to_f32(uint16_t h) { return bits_to_f32(static_cast<uint32_t>(h) << 16); }
MERAPI_INLINE uint16_t f32_to_bf16(float f) {
    uint32_t u = bits<uint32_t>(f);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return static_cast<uint16_t>(f != f ? (u >> 16) | 0x40u : rounded);
}

MERAPI_INLINE float f16_to_f32(uint16_t h) {
    uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
    uint32_t rest = h & 0x7fffu;
    // Place the bits as a float 2^112 too small, then scale: denormals come out right by themselves.
    float scaled = bits_to_f32(rest << 13) * bits_to_f32(0x77800000u);
    uint32_t u = bits<uint32_t>(scaled);
    if (rest >= 0x7c00u) u = 0x7f800000u | (rest << 13) | (rest > 0x7c00u ? 0x400000u : 0u);
    return bits_to_f32(u | sign);
}
MERAPI_INLINE uint16_t f32_to_f16(float f) {
    uint32_t u = bits<uint32_t>(f);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t a = u & 0x7fffffffu;
    uint32_t normal = ((a + 0xfffu + ((a >> 13) & 1u)) >> 13) - (112u << 10);
    // Below 2^-14 the adder itself rounds: 0.5 has an ulp of 2^-24, that of a half denormal.
    uint32_t denormal = bits<uint32_t>(bits_to_f32(a) + 0.5f) - 0x3f000000u;
    uint32_t special = a > 0x7f800000u ? (0x7e00u | ((a >> 13) & 0x3ffu)) : 0x7c00u;
    uint32_t h = a >= 0x477ff000u ? special : (a < 0x38800000u ? denormal : normal);
    return static_cast<uint16_t>(h | sign);
}

// ---- half precision, arrays -----------------------------------------------------------------------------------------

inline void convert_bf16_to_f32(const uint16_t* in, float* out, int64_t n) {
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) {
        reinterpret_cast<uint32_t*>(out)[i] = static_cast<uint32_t>(in[i]) << 16;
    }
}
inline void convert_f32_to_bf16(const float* in, uint16_t* out, int64_t n) {
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) {
        uint32_t u = reinterpret_cast<const uint32_t*>(in)[i];
        uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
        out[i] = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded);
    }
}
inline void convert_f16_to_f32(const uint16_t* in, float* out, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i))));
    }
#endif
    for (; i < n; i++) out[i] = f16_to_f32(in[i]);
}
inline void convert_f32_to_f16(const float* in, uint16_t* out, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= n; i += 16) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i),
                            _mm512_cvtps_ph(_mm512_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    }
#elif defined(__F16C__)
    for (; i + 8 <= n; i += 8) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    }
#endif
    for (; i < n; i++) out[i] = f32_to_f16(in[i]);
}

}  // namespace MERAPI_ISA
}  // namespace merapi
