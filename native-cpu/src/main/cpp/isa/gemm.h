// SPDX-License-Identifier: Apache-2.0
//
// Matrix multiplication in registers: the micro-kernels that gemm, attention and convolution share.
//
// A micro-kernel computes R rows by NV vectors of C. A is read one element at a time (any strides: normal, transposed
// or packed alike), B as vectors of a row. Sums run over k in order in every lane, so that an element of C depends on
// the blocking of k only, never on where its tile lies or who computes it.
#pragma once

#include "../pool.h"
#include "../scratch.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {

#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVectors = 2;
template <class C>
constexpr int kTileColumns = kTileVectors * Lanes<C>::count;

template <class C>
struct MatrixA {  // element (i, p) = data[i * row + p * column]
    const C* data;
    int64_t row;
    int64_t column;
    MatrixA at(int64_t i, int64_t p) const { return {data + i * row + p * column, row, column}; }
};
template <class C>
struct MatrixB {  // row p starts at data + p * row; its columns are contiguous
    const C* data;
    int64_t row;
};

// What happens to a finished tile of A·B.
enum class Into { kStore, kAdd };

// Columns beyond `columns` are neither read nor written when Partial. With a bias, over columns, C is stored.
template <class C, int R, int NV, bool Partial>
inline __attribute__((noinline)) void micro(int64_t k, MatrixA<C> a, MatrixB<C> b, C* c, int64_t ldc, C alpha,
                                            Into into, int64_t columns, const C* bias) {
    using V = typename Lanes<C>::V;
    constexpr int L = Lanes<C>::count;
    constexpr int G = (R + 3) / 4;  // four rows share a pointer: 16 registers don't hold twelve
    const int64_t tail = columns - (NV - 1) * L;
    V acc[R][NV];
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) acc[i][v] = V{};
    }
    // C is fresh memory as a rule: by the time that the sums are done, its lines are here.
    const C* line = c;
#pragma GCC unroll 16
    for (int i = 0; i < R; i++, line += ldc) {
#pragma GCC unroll 8
        for (int v = 0; v < NV; v++) __builtin_prefetch(line + v * L, 1);
    }
    const C* rows[G];
#pragma GCC unroll 4
    for (int g = 0; g < G; g++) rows[g] = a.data + g * 4 * a.row;
    const C* bp = b.data;
    for (int64_t p = 0; p < k; p++) {
        V bv[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            bv[v] = Partial && v == NV - 1 ? vload_part(bp + v * L, tail, C(0)) : vload(bp + v * L);
        }
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
            V av = splat(rows[i / 4][(i % 4) * a.row]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) acc[i][v] = mad(av, bv[v], acc[i][v]);
        }
#pragma GCC unroll 4
        for (int g = 0; g < G; g++) rows[g] += a.column;
        bp += b.row;
    }
    asm("" : "+r"(c));  // or the compiler keeps C's addresses through the loop, in registers that the sums need
    if (bias != nullptr) {
        V bv[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            bv[v] = Partial && v == NV - 1 ? vload_part(bias + v * L, tail, C(0)) : vload(bias + v * L);
        }
#pragma GCC unroll 16
        for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                C* out = c + i * ldc + v * L;
                V x = acc[i][v] * splat(alpha) + bv[v];
                if (Partial && v == NV - 1) {
                    vstore_part(out, x, tail);
                } else {
                    vstore(out, x);
                }
            }
        }
        return;
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; i++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            C* out = c + i * ldc + v * L;
            V x = acc[i][v] * splat(alpha);
            if (Partial && v == NV - 1) {
                if (into == Into::kAdd) x += vload_part(out, tail, C(0));
                vstore_part(out, x, tail);
            } else {
                if (into == Into::kAdd) x += vload(out);
                vstore(out, x);
            }
        }
    }
}

// One panel of up to kTileColumns columns, `rows` rows. b_padded: B's panel is zero-padded, only C needs the care.
template <class C, int R, int NV>
MERAPI_INLINE void micro_columns(int64_t k, MatrixA<C> a, MatrixB<C> b, C* c, int64_t ldc, C alpha, Into into,
                                 int64_t columns, const C* bias) {
    if (columns == NV * Lanes<C>::count) {
        micro<C, R, NV, false>(k, a, b, c, ldc, alpha, into, columns, bias);
    } else {
        micro<C, R, NV, true>(k, a, b, c, ldc, alpha, into, columns, bias);
    }
}
template <class C, int R>
MERAPI_INLINE void micro_rows(int64_t k, MatrixA<C> a, MatrixB<C> b, C* c, int64_t ldc, C alpha, Into into,
                              int64_t columns, const C* bias) {
    if (columns > Lanes<C>::count) {
        micro_columns<C, R, 2>(k, a, b, c, ldc, alpha, into, columns, bias);
    } else {
        micro_columns<C, R, 1>(k, a, b, c, ldc, alpha, into, columns, bias);
    }
}
template <class C>
inline void micro_any(int rows, int64_t k, MatrixA<C> a, MatrixB<C> b, C* c, int64_t ldc, C alpha, Into into,
                      int64_t columns, const C* bias = nullptr) {
    while (rows > 0) {
        int done;
        if (rows >= kTileRows) {
            done = kTileRows;
            micro_rows<C, kTileRows>(k, a, b, c, ldc, alpha, into, columns, bias);
        } else if (rows >= 8 && kTileRows > 8) {
            done = 8;
            micro_rows<C, 8>(k, a, b, c, ldc, alpha, into, columns, bias);
        } else if (rows >= 4 && kTileRows > 4) {
            done = 4;
            micro_rows<C, 4>(k, a, b, c, ldc, alpha, into, columns, bias);
        } else if (rows >= 2) {
            done = 2;
            micro_rows<C, 2>(k, a, b, c, ldc, alpha, into, columns, bias);
        } else {
            done = 1;
            micro_rows<C, 1>(k, a, b, c, ldc, alpha, into, columns, bias);
        }
        a.data += done * a.row;
        c += done * ldc;
        rows -= done;
    }
}

// C[m, n] (+)= alpha · A·B on operands that fit the caches, without packing.
template <class C>
inline void small_product(int64_t m, int64_t n, int64_t k, C alpha, MatrixA<C> a, MatrixB<C> b, C* c, int64_t ldc,
                          Into into) {
    constexpr int NR = kTileColumns<C>;
    for (int64_t j = 0; j < n; j += NR) {
        int64_t columns = n - j < NR ? n - j : NR;
        micro_any<C>(static_cast<int>(m), k, a, MatrixB<C>{b.data + j, b.row}, c + j, ldc, alpha, into, columns);
    }
}

// C[m, n] = alpha · op(A)·op(B) + beta · C (+ bias over columns), row-major, on the pool. Own kernels only.
template <class S>
void product(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, ComputeOf<S> alpha, const S* a, int64_t lda,
             const S* b, int64_t ldb, ComputeOf<S> beta, S* c, int64_t ldc, const S* bias);

}  // namespace MERAPI_ISA
}  // namespace merapi
