// SPDX-License-Identifier: Apache-2.0
//
// Blocked matrix multiplication: B packed once into panels by all threads, then tiles of C cut by size.
#include "gemm.h"

#include "pack.h"
#include "structured.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

constexpr int64_t kBlockK = 512;                             // a panel of B (64 KiB) and a block of A (384 KiB)
constexpr int64_t kBlockRows = 192 / kTileRows * kTileRows;  // share L2, and every element of C is visited seldom
constexpr int64_t kPackedLimit = 4 << 20;                    // elements of B packed at a time
constexpr int64_t kWorthATask = 1 << 20;                     // multiply-adds: about 20 microseconds

// k in blocks of nearly equal length.
struct BlocksOfK {
    int64_t count;
    int64_t length;
    explicit BlocksOfK(int64_t k) : count(most(1, ceil_div(k, kBlockK))), length(most(1, ceil_div(k, count))) {}
};

// out[i * Q + j] = x[i]·b[j] for R rows x and Q rows b: with one x, four b hide the latency of the sums.
template <class S, int R, int Q>
void dots(const S* x, int64_t ldx, const S* b, int64_t ldb, int64_t k, ComputeOf<S>* out) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    VecOf<S> acc[R][Q][2];
    for (int i = 0; i < R; i++) {
        for (int j = 0; j < Q; j++) acc[i][j][0] = acc[i][j][1] = splat(C(0));
    }
    int64_t p = 0;
    for (; p + 2 * L <= k; p += 2 * L) {
        for (int j = 0; j < Q; j++) {
            VecOf<S> b0 = vload(b + j * ldb + p), b1 = vload(b + j * ldb + p + L);
            for (int i = 0; i < R; i++) {
                acc[i][j][0] = mad(vload(x + i * ldx + p), b0, acc[i][j][0]);
                acc[i][j][1] = mad(vload(x + i * ldx + p + L), b1, acc[i][j][1]);
            }
        }
    }
    for (; p < k; p += L) {
        int64_t count = least(L, k - p);
        for (int j = 0; j < Q; j++) {
            VecOf<S> bv = vload_part(b + j * ldb + p, count, C(0));
            for (int i = 0; i < R; i++) {
                acc[i][j][0] = mad(vload_part(x + i * ldx + p, count, C(0)), bv, acc[i][j][0]);
            }
        }
    }
    for (int i = 0; i < R; i++) {
        for (int j = 0; j < Q; j++) out[i * Q + j] = hsum(acc[i][j][0] + acc[i][j][1]);
    }
}

template <class S>
void finish(S* c, ComputeOf<S> value, ComputeOf<S> beta, const S* bias) {
    using C = ComputeOf<S>;
    if (bias != nullptr) value += widen_one(*bias);
    if (beta != C(0)) value += beta * widen_one(*c);
    narrow_one(c, value);
}

// Few rows times a transposed B: memory-bound on B, whose rows are contiguous already.
template <class S, int R>
void few_rows(int64_t n, int64_t k, ComputeOf<S> alpha, const S* a, int64_t lda, const S* b, int64_t ldb,
              ComputeOf<S> beta, S* c, int64_t ldc_row, int64_t ldc_column, const S* bias) {
    constexpr int Q = R == 1 ? 4 : R == 2 ? 2 : 1;
    parallel_for(ceil_div(n, Q), most(1, 2 * kGrain / most(1, k * Q * R)), [&](int64_t begin, int64_t end) {
        for (int64_t j = begin * Q; j < least(n, end * Q); j += Q) {
            ComputeOf<S> out[R * Q];
            int64_t columns = least(Q, n - j);
            if (columns == Q) {
                dots<S, R, Q>(a, lda, b + j * ldb, ldb, k, out);
            } else {
                for (int64_t u = 0; u < columns; u++) {
                    ComputeOf<S> one[R];
                    dots<S, R, 1>(a, lda, b + (j + u) * ldb, ldb, k, one);
                    for (int i = 0; i < R; i++) out[i * Q + u] = one[i];
                }
            }
            for (int i = 0; i < R; i++) {
                for (int64_t u = 0; u < columns; u++) {
                    finish(c + i * ldc_row + (j + u) * ldc_column, alpha * out[i * Q + u], beta,
                           bias == nullptr ? bias : bias + j + u);
                }
            }
        }
    });
}

// One row times a B that lies as it should: wide panels, to have enough sums in flight.
template <class C>
void one_row(int64_t n, int64_t k, C alpha, MatrixA<C> a, const C* b, int64_t ldb, C* c, Into into) {
    constexpr int64_t W = 8 * Lanes<C>::count;
    parallel_for(ceil_div(n, W), most(1, 2 * kGrain / most(1, k * W)), [&](int64_t begin, int64_t end) {
        for (int64_t j = begin * W; j < least(n, end * W); j += W) {
            if (n - j >= W) {
                micro<C, 1, 8, false>(k, a, MatrixB<C>{b + j, ldb}, c + j, 0, alpha, into, W, nullptr);
            } else {
                small_product<C>(1, n - j, k, alpha, a, MatrixB<C>{b + j, ldb}, c + j, 0, into);
            }
        }
    });
}

template <class S>
struct Problem {
    using C = ComputeOf<S>;
    bool trans_a;
    int64_t m, n, k;
    C alpha;
    const S* a;
    int64_t lda;
    C beta;
    S* c;
    int64_t ldc;
    const S* bias;
    const C* packed;  // B: for each block of k, for each panel, [length][kTileColumns]
    int64_t panels;
    BlocksOfK blocks;
};

// Copies rows [i0, i0+rows) x [p0, p0+length) of op(A) into micro-panels of kTileRows.
template <class S>
void pack_a(const Problem<S>& q, int64_t i0, int64_t rows, int64_t p0, int64_t length, ComputeOf<S>* out) {
    const int64_t whole = rows / kTileRows * kTileRows;
    if (q.trans_a) {
        // Row by row of the source: memory is read in order, once.
        const S* s = q.a + p0 * q.lda + i0;
        for (int64_t p = 0; p < length; p++, s += q.lda) {
            for (int64_t i = 0; i < rows; i += 64 / static_cast<int64_t>(sizeof(S)))
                __builtin_prefetch(s + 8 * q.lda + i);
            ComputeOf<S>* o = out + p * kTileRows;
            int64_t i = 0;
            for (; i < whole; i += kTileRows, o += length * kTileRows) {
                if constexpr (is_small<S>) {
                    for (int u = 0; u < kTileRows; u++) o[u] = widen_one(s[i + u]);
                } else {
                    std::memcpy(o, s + i, kTileRows * sizeof(S));
                }
            }
            for (int64_t u = 0; i + u < rows; u++) o[u] = widen_one(s[i + u]);
        }
        return;
    }
    for (int64_t i = 0; i < rows; i += kTileRows) {
        const int64_t height = least(kTileRows, rows - i);
        const S* s = q.a + (i0 + i) * q.lda + p0;
        int64_t u = 0;
        for (; u + 4 <= height; u += 4) {
            const S* r = s + u * q.lda;
            ComputeOf<S>* o = out + u;
            int64_t p = 0;
#if defined(__x86_64__)
            if constexpr (same_type<S, float>) {
                for (; p + 4 <= length; p += 4) {
                    __m128 r0 = _mm_loadu_ps(r + p), r1 = _mm_loadu_ps(r + q.lda + p);
                    __m128 r2 = _mm_loadu_ps(r + 2 * q.lda + p), r3 = _mm_loadu_ps(r + 3 * q.lda + p);
                    _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
                    _mm_storeu_ps(o + p * kTileRows, r0);
                    _mm_storeu_ps(o + (p + 1) * kTileRows, r1);
                    _mm_storeu_ps(o + (p + 2) * kTileRows, r2);
                    _mm_storeu_ps(o + (p + 3) * kTileRows, r3);
                }
            }
#endif
            for (; p < length; p++) {
                for (int w = 0; w < 4; w++) o[p * kTileRows + w] = widen_one(r[w * q.lda + p]);
            }
        }
        for (; u < height; u++) {
            for (int64_t p = 0; p < length; p++) out[p * kTileRows + u] = widen_one(s[u * q.lda + p]);
        }
        out += length * kTileRows;
    }
}

// C's tile before the first block of k: beta·C + bias.
template <class S, class T>
void start_tile(const S* c, int64_t ldc, int64_t rows, int64_t columns, ComputeOf<S> beta, const S* bias, T* out,
                int64_t ldo) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j += L) {
            int64_t count = least(L, columns - j);
            VecOf<S> v = bias == nullptr ? splat(C(0)) : vload_part(bias + j, count, C(0));
            if (beta != C(0)) v += vload_part(c + i * ldc + j, count, C(0)) * splat(beta);
            vstore_part(out + i * ldo + j, v, count);
        }
    }
}

template <class S>
void compute_tile(const Problem<S>& q, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    using C = ComputeOf<S>;
    constexpr int64_t NR = kTileColumns<C>;
    ScratchFrame frame;
    const int64_t rows = i1 - i0, first = j0 * NR, columns = least(q.n, j1 * NR) - first;
    C* tile;
    int64_t ldt;
    if constexpr (is_small<S>) {
        ldt = (j1 - j0) * NR;
        tile = static_cast<C*>(scratch_take(static_cast<size_t>(rows * ldt) * sizeof(C)));
    } else {
        ldt = q.ldc;
        tile = q.c + i0 * q.ldc + first;
    }
    const S* bias = q.bias == nullptr ? nullptr : q.bias + first;
    // A bias goes into the first block's sums, if nothing else is to be added to.
    const bool late_bias = !is_small<S> && q.beta == C(0) && q.k > 0;
    bool started = q.beta != C(0) || (bias != nullptr && !late_bias);
    if (started && (is_small<S> || bias != nullptr || q.beta != C(1))) {
        start_tile(q.c + i0 * q.ldc + first, q.ldc, rows, columns, q.beta, bias, tile, ldt);
    }
    // Packing A pays for itself when several panels read it, and where its rows fight for one cache set of 8 lines: the
    // twelve that a tile steps along, if they lie a multiple of 4 KiB apart.
    const int64_t conflict = q.trans_a ? 2048 : 4096;
    bool pack = is_small<S> || (columns > NR && (q.lda * static_cast<int64_t>(sizeof(S))) % conflict == 0);
    C* packed_a = nullptr;
    if (pack) {
        size_t elements = static_cast<size_t>(ceil_div(rows, kTileRows) * kTileRows * q.blocks.length);
        packed_a = static_cast<C*>(scratch_take(elements * sizeof(C)));
    }
    for (int64_t p0 = 0; p0 < q.k; p0 += q.blocks.length) {
        int64_t length = least(q.blocks.length, q.k - p0);
        if (pack) pack_a(q, i0, rows, p0, length, packed_a);
        Into into = started ? Into::kAdd : Into::kStore;
        const C* block = q.packed + p0 * q.panels * NR;
        for (int64_t j = j0; j < j1; j++) {
            int64_t width = least(NR, q.n - j * NR);
            MatrixB<C> b{block + j * length * NR, NR};
            for (int64_t i = 0; i < rows; i += kTileRows) {
                MatrixA<C> a{packed_a + i * length, 1, kTileRows};
                if constexpr (!is_small<S>) {
                    if (!pack) {
                        a = q.trans_a ? MatrixA<C>{q.a + p0 * q.lda + i0 + i, 1, q.lda}
                                      : MatrixA<C>{q.a + (i0 + i) * q.lda + p0, q.lda, 1};
                    }
                }
                const C* late = nullptr;
                if constexpr (!is_small<S>) {
                    if (late_bias && p0 == 0 && bias != nullptr) late = bias + (j - j0) * NR;
                }
                micro_any<C>(static_cast<int>(least(kTileRows, rows - i)), length, a, b, tile + i * ldt + (j - j0) * NR,
                             ldt, q.alpha, into, width, late);
            }
        }
        started = true;
    }
    if (is_small<S> || q.k == 0) {
        constexpr int L = lanes_of<S>;
        for (int64_t i = 0; i < rows; i++) {
            for (int64_t j = 0; j < columns; j += L) {
                int64_t count = least(L, columns - j);
                VecOf<S> v = started ? vload_part(tile + i * ldt + j, count, C(0)) : splat(C(0));
                vstore_part(q.c + (i0 + i) * q.ldc + first + j, v, count);
            }
        }
    }
}

template <class S>
void pack_b(bool trans_b, const S* b, int64_t ldb, const Problem<S>& q, ComputeOf<S>* out) {
    constexpr int64_t NR = kTileColumns<ComputeOf<S>>;
    parallel_for(q.panels, most(1, 2 * kGrain / most(1, q.k * NR)), [&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end; j++) {
            int64_t width = least(NR, q.n - j * NR);
            for (int64_t p0 = 0; p0 < q.k; p0 += q.blocks.length) {
                int64_t length = least(q.blocks.length, q.k - p0);
                ComputeOf<S>* panel = out + p0 * q.panels * NR + j * length * NR;
                if (trans_b) {
                    pack_transposed(b + j * NR * ldb + p0, ldb, length, width, NR, panel);
                } else {
                    pack_rows(b + p0 * ldb + j * NR, ldb, length, width, NR, panel);
                }
            }
        }
    });
}

// Rows of a task: as many as fit, for every task reads all of B, but so that the thread that gets most gets little more
// than its share.
int64_t step_of_rows(int64_t m, int64_t worth, int64_t threads) {
    int64_t best = kBlockRows, least_rows = m + 1;
    for (int64_t step = kBlockRows; step >= 4 * kTileRows; step -= kTileRows) {
        const int64_t tasks = ceil_div(m, step), rest = m - (tasks - 1) * step, rounds = ceil_div(tasks, threads);
        if (tasks > worth) break;
        const int64_t busiest = (rounds - 1) * step + (tasks - (rounds - 1) * threads == 1 ? rest : step);
        if (busiest < least_rows || tasks < 3 * threads) {
            best = step;
            least_rows = busiest;
        }
    }
    return best;
}

template <class S>
void run_tiles(const Problem<S>& q) {
    // Who computes a tile does not change it, so the cut may follow the number of threads. Columns are cut only where
    // there are few rows, for that packs A again.
    const int64_t worth = most(1, q.m * q.n * q.k / kWorthATask);
    const int64_t row_step = step_of_rows(q.m, worth, num_threads());
    const int64_t row_tasks = ceil_div(q.m, row_step);
    int64_t column_tasks = most(1, least(ceil_div(least(worth, 4 * num_threads()), row_tasks), q.panels));
    int64_t panel_step = ceil_div(q.panels, column_tasks);
    column_tasks = ceil_div(q.panels, panel_step);
    parallel_for(row_tasks * column_tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            int64_t i0 = t / column_tasks * row_step, j0 = t % column_tasks * panel_step;
            compute_tile(q, i0, least(q.m, i0 + row_step), j0, least(q.panels, j0 + panel_step));
        }
    });
}

}  // namespace

template <class S>
void product(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, ComputeOf<S> alpha, const S* a, int64_t lda,
             const S* b, int64_t ldb, ComputeOf<S> beta, S* c, int64_t ldc, const S* bias) {
    using C = ComputeOf<S>;
    constexpr int64_t NR = kTileColumns<C>;
    if (m <= 0 || n <= 0) return;
    if (trans_b && !trans_a && m <= 4) {
        switch (m) {
            case 1:
                few_rows<S, 1>(n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, bias);
                break;
            case 2:
                few_rows<S, 2>(n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, bias);
                break;
            case 3:
                few_rows<S, 3>(n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, bias);
                break;
            default:
                few_rows<S, 4>(n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, bias);
                break;
        }
        return;
    }
    if (n == 1 && !trans_a && bias == nullptr && (trans_b || ldb == 1)) {
        few_rows<S, 1>(m, k, alpha, b, k, a, lda, beta, c, 1, ldc, nullptr);
        return;
    }
    if constexpr (!is_small<S>) {
        bool plain = bias == nullptr && (beta == C(0) || beta == C(1));
        if (plain && m == 1 && !trans_b && k > 0) {
            one_row<C>(n, k, alpha, trans_a ? MatrixA<C>{a, 0, lda} : MatrixA<C>{a, 0, 1}, b, ldb, c,
                       beta == C(0) ? Into::kStore : Into::kAdd);
            return;
        }
        if (plain && !trans_b && k > 0 && (m <= 2 || (m * n * k <= kWorthATask / 8 && ldb * sizeof(S) < 2048))) {
            MatrixA<C> ma = trans_a ? MatrixA<C>{a, 1, lda} : MatrixA<C>{a, lda, 1};
            Into into = beta == C(0) ? Into::kStore : Into::kAdd;
            parallel_for(ceil_div(n, NR), most(1, kGrain / most(1, m * k)), [&](int64_t begin, int64_t end) {
                small_product<C>(m, least(n, end * NR) - begin * NR, k, alpha, ma, MatrixB<C>{b + begin * NR, ldb},
                                 c + begin * NR, ldc, into);
            });
            return;
        }
    }
    ScratchFrame frame;
    int64_t chunk = most(NR, least(n, kPackedLimit / most(1, k)) / NR * NR);
    if (n <= chunk) chunk = n;
    C* packed = static_cast<C*>(scratch_take(static_cast<size_t>(ceil_div(chunk, NR) * NR * k) * sizeof(C)));
    for (int64_t j = 0; j < n; j += chunk) {
        int64_t width = least(chunk, n - j);
        Problem<S> q{trans_a,
                     m,
                     width,
                     k,
                     alpha,
                     a,
                     lda,
                     beta,
                     c + j,
                     ldc,
                     bias == nullptr ? nullptr : bias + j,
                     packed,
                     ceil_div(width, NR),
                     BlocksOfK(k)};
        pack_b(trans_b, trans_b ? b + j * ldb : b + j, ldb, q, packed);
        run_tiles(q);
    }
}

template void product<float>(bool, bool, int64_t, int64_t, int64_t, float, const float*, int64_t, const float*, int64_t,
                             float, float*, int64_t, const float*);
template void product<double>(bool, bool, int64_t, int64_t, int64_t, double, const double*, int64_t, const double*,
                              int64_t, double, double*, int64_t, const double*);
template void product<f16>(bool, bool, int64_t, int64_t, int64_t, float, const f16*, int64_t, const f16*, int64_t,
                           float, f16*, int64_t, const f16*);
template void product<bf16>(bool, bool, int64_t, int64_t, int64_t, float, const bf16*, int64_t, const bf16*, int64_t,
                            float, bf16*, int64_t, const bf16*);

void gemm_own(int dtype, bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, double alpha, int64_t a,
              int64_t lda, int64_t b, int64_t ldb, double beta, int64_t c, int64_t ldc, int64_t bias) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        product<S>(trans_a, trans_b, m, n, k, static_cast<C>(alpha), at<const S>(a), lda, at<const S>(b), ldb,
                   static_cast<C>(beta), at<S>(c), ldc, at<const S>(bias));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
