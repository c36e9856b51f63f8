// SPDX-License-Identifier: Apache-2.0
//
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), kF32 blocks side by side, and the
// normal distribution on it. dev.merapi.random.Philox is the same in Java, operation by operation, and the contract:
// every rounding below is written out (explicit fused multiply-adds, no contraction), so results are bit-identical.
#pragma once

#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {

// Lane l of kF32 blocks. Vector element 4q + j holds block first + j * kF32/4 + q: the order in which `in_order` brings
// the lanes of all blocks into sequence without crossing 128-bit boundaries.
struct PhiloxBlocks {
    u32v lane[4];
};

// The 64-bit products of the even elements with m.
MERAPI_INLINE u64v even_products(u32v a, uint32_t m) {
#if defined(__AVX512F__)
    return (u64v)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(m));
#elif defined(__AVX2__)
    return (u64v)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(m));
#elif defined(__x86_64__)
    return (u64v)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(m));
#else
    return ((u64v)a & 0xffffffffu) * uint64_t{m};
#endif
}
MERAPI_INLINE void multiply(u32v a, uint32_t m, u32v* high, u32v* low) {
    u64v even = even_products(a, m), odd = even_products((u32v)((u64v)a >> 32), m);
    *low = (u32v)((even & 0xffffffffu) | odd << 32);
    *high = (u32v)(even >> 32 | (odd & 0xffffffff00000000u));
}

MERAPI_INLINE PhiloxBlocks philox(uint64_t seed, uint64_t first) {
    u32v number;
    for (int i = 0; i < kF32; i++) number[i] = static_cast<uint32_t>(i % 4 * (kF32 / 4) + i / 4);
    const uint32_t first_low = static_cast<uint32_t>(first);
    u32v c0 = number + first_low, c1 = u32v{} + static_cast<uint32_t>(first >> 32), c2 = u32v{}, c3 = u32v{};
    if (__builtin_expect(first_low > 0xffffffffu - kF32, 0)) c1 += (u32v)(c0 < first_low) & 1u;  // carries
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; round++) {
        u32v high0, low0, high1, low1;
        multiply(c0, 0xD2511F53u, &high0, &low0);
        multiply(c2, 0xCD9E8D57u, &high1, &low1);
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Lanes 0 to 3 of block 0, then of block 1, …: a transposition of 4x4 within 128 bits.
MERAPI_INLINE void in_order(const u32v lane[4], uint32_t* out) {
#if defined(__AVX512F__)
    __m512i a = _mm512_unpacklo_epi32((__m512i)lane[0], (__m512i)lane[1]);
    __m512i b = _mm512_unpackhi_epi32((__m512i)lane[0], (__m512i)lane[1]);
    __m512i c = _mm512_unpacklo_epi32((__m512i)lane[2], (__m512i)lane[3]);
    __m512i d = _mm512_unpackhi_epi32((__m512i)lane[2], (__m512i)lane[3]);
    _mm512_storeu_si512(out, _mm512_unpacklo_epi64(a, c));
    _mm512_storeu_si512(out + 16, _mm512_unpackhi_epi64(a, c));
    _mm512_storeu_si512(out + 32, _mm512_unpacklo_epi64(b, d));
    _mm512_storeu_si512(out + 48, _mm512_unpackhi_epi64(b, d));
#elif defined(__AVX2__)
    __m256i a = _mm256_unpacklo_epi32((__m256i)lane[0], (__m256i)lane[1]);
    __m256i b = _mm256_unpackhi_epi32((__m256i)lane[0], (__m256i)lane[1]);
    __m256i c = _mm256_unpacklo_epi32((__m256i)lane[2], (__m256i)lane[3]);
    __m256i d = _mm256_unpackhi_epi32((__m256i)lane[2], (__m256i)lane[3]);
    __m256i* to = reinterpret_cast<__m256i*>(out);
    _mm256_storeu_si256(to, _mm256_unpacklo_epi64(a, c));
    _mm256_storeu_si256(to + 1, _mm256_unpackhi_epi64(a, c));
    _mm256_storeu_si256(to + 2, _mm256_unpacklo_epi64(b, d));
    _mm256_storeu_si256(to + 3, _mm256_unpackhi_epi64(b, d));
#else
    for (int i = 0; i < kF32; i++) {
        for (int l = 0; l < 4; l++) out[4 * (i % 4 * (kF32 / 4) + i / 4) + l] = lane[l][i];
    }
#endif
}

// a*b + c rounded once, on every instruction set.
MERAPI_INLINE f32v fused(f32v a, f32v b, f32v c) {
#if defined(__FMA__) || defined(__aarch64__)
    return mad(a, b, c);
#else
    for (int i = 0; i < kF32; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
#endif
}
MERAPI_INLINE f64v fused(f64v a, f64v b, f64v c) {
#if defined(__FMA__) || defined(__aarch64__)
    return mad(a, b, c);
#else
    for (int i = 0; i < kF64; i++) c[i] = __builtin_fma(a[i], b[i], c[i]);
    return c;
#endif
}
MERAPI_INLINE f32v square_root(f32v v) {
    for (int i = 0; i < kF32; i++) v[i] = __builtin_sqrtf(v[i]);
    return v;
}
MERAPI_INLINE f64v square_root(f64v v) {
    for (int i = 0; i < kF64; i++) v[i] = __builtin_sqrt(v[i]);
    return v;
}

// c0 + c1 x + c2 x² + … by fused multiply-adds.
template <class V, class C>
MERAPI_INLINE V fused_horner(V, C c) {
    return splat(c);
}
template <class V, class C, class... Rest>
MERAPI_INLINE V fused_horner(V x, C c0, C c1, Rest... rest) {
    return fused(fused_horner(x, c1, rest...), x, splat(c0));
}

// Box and Muller: two independent normals from two lanes.
struct NormalPair {
    f32v first, second;
};
MERAPI_INLINE NormalPair normal_pair(u32v a, u32v b) {
    // u = ((a >> 8) + 1) 2^-24 in (0, 1]; ln u = e ln 2 + ln m with m in [2/3, 4/3), ln m = 2 atanh s.
    f32v u = to_f32((i32v)((a >> 8) + 1u)) * splat(0x1p-24f);
    i32v e = (bits<i32v>(u) - splat(int32_t{0x3f2aaaab})) >> 23;
    f32v f = bits<f32v>(bits<i32v>(u) - (e << 23)) - splat(1.0f);
    f32v s = f / (f + splat(2.0f));
    f32v z = s * s;
    f32v p = fused_horner(z, 2.0f / 3, 2.0f / 5, 2.0f / 7, 2.0f / 9, 2.0f / 11);
    f32v log_u = fused(to_f32(e), splat(0.693147180559945309f), fused(s * z, p, s + s));
    f32v r = square_root(splat(-2.0f) * log_u);
    // The angle is (b >> 8) 2^-24 turns: quadrant k and the rest, at most an eighth of a turn either way.
    i32v t = (i32v)(b >> 8);
    i32v k = (t + (1 << 21)) >> 22;
    f32v y = to_f32(t - (k << 22)) * splat(0x1p-24f);
    f32v w = y * splat(6.28318530717958648f);
    f32v q = w * w;
    f32v sine = fused(w * q, fused_horner(q, -1.0f / 6, 1.0f / 120, -1.0f / 5040, 1.0f / 362880), w);
    f32v cosine = fused_horner(q, 1.0f, -1.0f / 2, 1.0f / 24, -1.0f / 720, 1.0f / 40320, -1.0f / 3628800);
    i32v swap = -(k & 1);
    f32v x_part = select(swap, sine, cosine), y_part = select(swap, cosine, sine);
    i32v x_sign = ((k + 1) & 2) << 30, y_sign = (k & 2) << 30;
    NormalPair out;
    out.first = r * bits<f32v>(bits<i32v>(x_part) ^ x_sign);
    out.second = r * bits<f32v>(bits<i32v>(y_part) ^ y_sign);
    return out;
}

// The same in double, on 52 bits: a gives u = ((a >> 12) + 1) 2^-52, b the angle (b >> 12) 2^-52 turns.
struct NormalPairF64 {
    f64v first, second;
};
MERAPI_INLINE f64v small_int_to_f64(i64v v) {  // |v| < 2^51
    const i64v magic = splat(int64_t{0x4338000000000000});
    return bits<f64v>(v + magic) - bits<f64v>(magic);
}
MERAPI_INLINE NormalPairF64 normal_pair(u64v a, u64v b) {
    // Bits of 1.x with the 52 bits as its fraction, minus 1: exact; then one more 2^-52.
    f64v u = bits<f64v>((a >> 12) | uint64_t{0x3ff0000000000000}) - splat(1.0) + splat(0x1p-52);
    i64v shifted = bits<i64v>(u) - splat(int64_t{0x3fe5555555555555});
    // No 64-bit arithmetic shift before AVX-512: move the exponent to where the sign doesn't matter.
    i64v e = (i64v)(((u64v)shifted + (uint64_t{1} << 62)) >> 52) - (int64_t{1} << 10);
    f64v f = bits<f64v>(bits<i64v>(u) - (e << 52)) - splat(1.0);
    f64v s = f / (f + splat(2.0));
    f64v z = s * s;
    f64v p = fused_horner(z, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19,
                          2.0 / 21, 2.0 / 23);
    f64v log_u = fused(small_int_to_f64(e), splat(0.693147180559945309), fused(s * z, p, s + s));
    f64v r = square_root(splat(-2.0) * log_u);
    i64v t = (i64v)(b >> 12);
    i64v k = (t + (int64_t{1} << 49)) >> 50;
    f64v y = small_int_to_f64(t - (k << 50)) * splat(0x1p-52);
    f64v w = y * splat(6.28318530717958648);
    f64v q = w * w;
    f64v sine = fused(w * q,
                      fused_horner(q, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800,
                                   1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0),
                      w);
    f64v cosine = fused_horner(q, 1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600,
                               -1.0 / 87178291200.0, 1.0 / 20922789888000.0, -1.0 / 6402373705728000.0);
    i64v swap = -(k & 1);
    f64v x_part = select(swap, sine, cosine), y_part = select(swap, cosine, sine);
    i64v x_sign = ((k + 1) & 2) << 62, y_sign = (k & 2) << 62;
    NormalPairF64 out;
    out.first = r * bits<f64v>(bits<i64v>(x_part) ^ x_sign);
    out.second = r * bits<f64v>(bits<i64v>(y_part) ^ y_sign);
    return out;
}

}  // namespace MERAPI_ISA
}  // namespace merapi
