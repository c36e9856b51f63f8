// SPDX-License-Identifier: Apache-2.0
//
// Rearranging operands of products: to the compute type, into panels, transposed through registers.
#pragma once

#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {

// Packs columns [0, width) of rows [0, k) into one zero-padded panel of `stride` columns.
template <class S>
inline void pack_rows(const S* b, int64_t ldb, int64_t k, int64_t width, int64_t stride, ComputeOf<S>* out) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    for (int64_t p = 0; p < k; p++) {
        const S* row = b + p * ldb;
        int64_t j = 0;
        for (; j + L <= width; j += L) vstore(out + j, vload(row + j));
        if (j < width) {
            vstore(out + j, vload_part(row + j, width - j, C(0)));
            j += L;
        }
        for (; j < stride; j += L) vstore(out + j, splat(C(0)));
        out += stride;
    }
}

// The same for a panel whose columns are rows of the source: source (j, p) at b[j * ldb + p].
template <class S>
inline void pack_transposed(const S* b, int64_t ldb, int64_t k, int64_t width, int64_t stride, ComputeOf<S>* out) {
    using C = ComputeOf<S>;
    int64_t j = 0;
    for (; j + 8 <= width; j += 8) {
        const S* s = b + j * ldb;
        C* o = out + j;
        for (int64_t p = 0; p < k; p++) {
            for (int u = 0; u < 8; u++) o[u] = widen_one(s[u * ldb + p]);
            o += stride;
        }
    }
    for (; j < width; j++) {
        const S* s = b + j * ldb;
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = widen_one(s[p]);
    }
    for (; j < stride; j++) {
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = C(0);
    }
}

#if defined(__AVX512F__)
// Sixteen rows at a time through registers.
inline void transpose16(const float* s, int64_t ld, float* o, int64_t ldo) {
    __m512 r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) r[i] = _mm512_loadu_ps(s + i * ld);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        _mm512_storeu_ps(o + (0 + i) * ldo, _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88));
        _mm512_storeu_ps(o + (8 + i) * ldo, _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd));
        _mm512_storeu_ps(o + (4 + i) * ldo, _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88));
        _mm512_storeu_ps(o + (12 + i) * ldo, _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd));
    }
}
template <>
inline void pack_transposed<float>(const float* b, int64_t ldb, int64_t k, int64_t width, int64_t stride, float* out) {
    int64_t j = 0;
    for (; j + 16 <= width; j += 16) {
        int64_t p = 0;
        for (; p + 16 <= k; p += 16) transpose16(b + j * ldb + p, ldb, out + p * stride + j, stride);
        for (; p < k; p++) {
            for (int u = 0; u < 16; u++) out[p * stride + j + u] = b[(j + u) * ldb + p];
        }
    }
    for (; j < width; j++) {
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = b[j * ldb + p];
    }
    for (; j < stride; j++) {
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = 0.0f;
    }
}
#elif defined(__x86_64__)
template <>
inline void pack_transposed<float>(const float* b, int64_t ldb, int64_t k, int64_t width, int64_t stride, float* out) {
    int64_t j = 0;
    for (; j + 4 <= width; j += 4) {
        const float* s = b + j * ldb;
        int64_t p = 0;
        for (; p + 4 <= k; p += 4) {
            __m128 r0 = _mm_loadu_ps(s + p), r1 = _mm_loadu_ps(s + ldb + p);
            __m128 r2 = _mm_loadu_ps(s + 2 * ldb + p), r3 = _mm_loadu_ps(s + 3 * ldb + p);
            _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
            float* o = out + p * stride + j;
            _mm_storeu_ps(o, r0);
            _mm_storeu_ps(o + stride, r1);
            _mm_storeu_ps(o + 2 * stride, r2);
            _mm_storeu_ps(o + 3 * stride, r3);
        }
        for (; p < k; p++) {
            for (int u = 0; u < 4; u++) out[p * stride + j + u] = s[u * ldb + p];
        }
    }
    for (; j < width; j++) {
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = b[j * ldb + p];
    }
    for (; j < stride; j++) {
        for (int64_t p = 0; p < k; p++) out[p * stride + j] = 0.0f;
    }
}
#endif

}  // namespace MERAPI_ISA
}  // namespace merapi
