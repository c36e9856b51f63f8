// SPDX-License-Identifier: Apache-2.0
// c[z, m, n] = a[z, m, k] · b[z, k, n] (+ bias[n]) for operands with one unit stride, summed in float32.
// T: storage. A_ALONG_K, B_ALONG_K: whether the unit stride is the one along k. ALIGNED: whether every line of both
// operands begins at a multiple of 16 bytes. MMA: tensor cores (float is then rounded to tf32), else fused
// multiply-adds. EXTENT: rows and columns of a block's tile, 128 or 64.
//
// A block takes slices of 64 bytes along k through a ring of kStages in shared memory: while one is multiplied, the
// next ones are on their way. Slices lie there as in global memory, in lines of 16-byte pieces, permuted within a line
// so that what a warp reads at once lies in different banks.
namespace gemm {
using namespace warps;

constexpr int kEach = 16 / sizeof(T), kDepth = 4 * kEach, kStages = EXTENT == 128 ? 3 : 4, kTileBytes = EXTENT * 64;
constexpr int kWarpRows = MMA || EXTENT == 64 ? EXTENT / 2 : EXTENT / 4, kWarpColumns = EXTENT / 2;
constexpr int kWarpsAcross = EXTENT / kWarpColumns, kThreads = EXTENT / kWarpRows * kWarpsAcross * 32;
constexpr int kBand = 8;

// Where the matrices of a batch begin: up to 6 dimensions, strides in elements, 0 where broadcast.
struct Batch {
    i64 rank;
    struct {
        i64 size, a, b;
    } dims[6];
};

struct __align__(16) Piece {
    T v[kEach];
};

// How a slice of an operand lies in shared memory, and how it gets there.
template <bool ALONG_K>
struct Slice {
    static constexpr int kLines = ALONG_K ? EXTENT : kDepth, kPieces = EXTENT * 4 / kLines;
    static constexpr int kLinesAtOnce = kThreads / kPieces;

    static MERAPI_F int place(int line, int piece) {
        const int turn = ALONG_K ? line >> 1 & 3 : sizeof(T) == 2 ? line & 7 : (line & 3) << 1;
        return (line * kPieces + (piece ^ turn)) * 16;
    }
    static MERAPI_F float at(const unsigned char* slice, int line, int e) {
        return rd(*(const T*)(slice + place(line, e / kEach) + e % kEach * sizeof(T)));
    }

    const T* from;
    i64 step, advance;
    int line, piece, extent;

    MERAPI_F Slice(const T* matrix, i64 stride, i64 first, i64 size, i64 k0) {
        line = threadIdx.x / kPieces;
        piece = threadIdx.x % kPieces;
        extent = (int)min((i64)EXTENT, size - first);
        const i64 e = piece * kEach;
        from = matrix + (ALONG_K ? (first + line) * stride + k0 + e : (k0 + line) * stride + first + e);
        step = stride * kLinesAtOnce;
        advance = ALONG_K ? kDepth : kDepth * stride;
    }

    // The next slice, of which `depth` elements along k exist; the rest is zeros.
    MERAPI_F void fetch(Copies& copies, unsigned char* slice, int depth) {
        const int lines = ALONG_K ? extent : depth, length = ALONG_K ? depth : extent;
        const int here = max(0, min(kEach, length - piece * kEach));
#pragma unroll
        for (int s = 0; s < kLines / kLinesAtOnce; s++) {
            const int l = line + s * kLinesAtOnce, n = l < lines ? here : 0;
            const T* source = from + s * step;
            unsigned char* target = slice + place(l, piece);
            if (ALIGNED) {
                copies.add16(target, source, n * (int)sizeof(T));
            } else if (sizeof(T) == 4) {
#pragma unroll
                for (int i = 0; i < kEach; i++) {
                    copies.add4(target + 4 * i, i < n ? source + i : from, i < n ? 4 : 0);
                }
            } else {
                Piece p;
#pragma unroll
                for (int i = 0; i < kEach; i++) {
                    if (i < n) {
                        p.v[i] = source[i];
                    } else {
                        wr(p.v[i], 0.0f);
                    }
                }
                *(Piece*)target = p;
            }
        }
        from += advance;
    }
};
typedef Slice<A_ALONG_K> Left;
typedef Slice<B_ALONG_K> Right;

// Results on their way out: rows of float32 in shared memory, kBatch at a time, a little longer than the tile so that
// rows begin in different banks.
constexpr int kBatch = 64, kPitch = EXTENT + 8;
struct Stage {
    float* rows;
    int first;
    MERAPI_F float* at(int r, int q) const { return rows + (r - first) * kPitch + q; }
};

// Where a block's tile of the result goes.
struct Target {
    T* c;         // first element of the tile
    float* part;  // the same of a sum over a part of k, which goes on elsewhere; or null
    const T* bias;
    i64 n;
    int rows, columns;

    template <class U>
    MERAPI_F void put(U* to, const float* from, int count) const {
        if (count >= 8 && n * sizeof(U) % 16 == 0 && (u64)to % 16 == 0) {
            Pack<U, 16 / sizeof(U)> out[sizeof(U) / 2];
#pragma unroll
            for (int e = 0; e < 8; e++) wr(out[e * sizeof(U) / 16].v[e % (16 / sizeof(U))], from[e]);
#pragma unroll
            for (int i = 0; i < (int)sizeof(U) / 2; i++) ((Pack<U, 16 / sizeof(U)>*)to)[i] = out[i];
        } else {
#pragma unroll
            for (int e = 0; e < 8; e++) {
                if (e < count) wr(to[e], from[e]);
            }
        }
    }
    MERAPI_F void take(const Stage& from) const {
        for (int e = threadIdx.x; e < kBatch * EXTENT / 8; e += kThreads) {
            const int r = from.first + e / (EXTENT / 8), q = e % (EXTENT / 8) * 8;
            if (r >= rows || q >= columns) continue;
            __align__(16) float v[8];
            *(float4*)v = *(const float4*)from.at(r, q);
            *(float4*)(v + 4) = *(const float4*)from.at(r, q + 4);
            if (part) {
                put(part + r * n + q, v, columns - q);
                continue;
            }
            if (bias) {
#pragma unroll
                for (int i = 0; i < 8; i++) v[i] += q + i < columns ? rd(bias[q + i]) : 0.0f;
            }
            put(c + r * n + q, v, columns - q);
        }
    }
};

#if MMA
struct Core {
    static constexpr int kI = kWarpRows / 16, kJ = kWarpColumns / 8;
    FragmentC sums[kI][kJ];
    int row, column;

    MERAPI_F Core() {
        const int warp = threadIdx.x / 32;
        row = warp / kWarpsAcross * kWarpRows;
        column = warp % kWarpsAcross * kWarpColumns;
#pragma unroll
        for (int i = 0; i < kI; i++)
#pragma unroll
            for (int j = 0; j < kJ; j++)
#pragma unroll
                for (int e = 0; e < 4; e++) sums[i][j][e] = 0;
    }

    // 32 bytes along k of 16 rows or columns, as lanes hold them: registers 0 and 1 in the order that A or B wants.
    template <class S, bool ALONG_K, bool A>
    static MERAPI_F void fragments(const unsigned char* slice, int first, int half, u32 (&r)[4]) {
        const int l = threadIdx.x % 32, other = A ? l / 8 % 2 : l / 16, deep = A ? l / 16 : l / 8 % 2;
        if (ALONG_K) {
            load_matrices(r, slice + S::place(first + other * 8 + l % 8, half * 2 + deep));
        } else if (sizeof(T) == 2) {
            load_matrices_transposed(r, slice + S::place(half * 16 + deep * 8 + l % 8, first / 8 + other));
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int o = A ? i % 2 : i / 2, d = A ? i / 2 : i % 2;
                r[i] = __float_as_uint(S::at(slice, half * 8 + d * 4 + l % 4, first + o * 8 + l / 4));
            }
        }
        if (sizeof(T) == 4) {
#pragma unroll
            for (int i = 0; i < 4; i++) r[i] = f32_to_tf32(r[i]);
        }
    }

    MERAPI_F void multiply(const unsigned char* left, const unsigned char* right) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            u32 a[kI][4], b[kJ / 2][4];
#pragma unroll
            for (int i = 0; i < kI; i++) fragments<Left, A_ALONG_K, true>(left, row + i * 16, half, a[i]);
#pragma unroll
            for (int j = 0; j < kJ / 2; j++) fragments<Right, B_ALONG_K, false>(right, column + j * 16, half, b[j]);
#pragma unroll
            for (int i = 0; i < kI; i++)
#pragma unroll
                for (int j = 0; j < kJ; j++) {
                    const FragmentB pair = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                    mma(T(), sums[i][j], a[i], pair);
                }
        }
    }

    MERAPI_F void store(const Stage& to) const {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
        for (int i = 0; i < kI; i++)
#pragma unroll
            for (int j = 0; j < kJ; j++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    *(float2*)to.at(row + i * 16 + h * 8 + g, column + j * 8 + t * 2) =
                        make_float2(sums[i][j][2 * h], sums[i][j][2 * h + 1]);
                }
    }
};
#else
// Four lanes down, eight across; a thread's rows and columns are neighbours where the slice's lines run along them.
struct Core {
    static constexpr int kI = kWarpRows / 4, kJ = kWarpColumns / 8;
    float sums[kI][kJ];
    int row, column, down, across;

    MERAPI_F Core() {
        const int warp = threadIdx.x / 32, l = threadIdx.x % 32;
        down = l / 8;
        across = l % 8;
        row = warp / kWarpsAcross * kWarpRows;
        column = warp % kWarpsAcross * kWarpColumns;
#pragma unroll
        for (int i = 0; i < kI; i++)
#pragma unroll
            for (int j = 0; j < kJ; j++) sums[i][j] = 0;
    }
    MERAPI_F int rowAt(int i) const { return row + (A_ALONG_K ? down + 4 * i : down * 4 + i % 4 + 16 * (i / 4)); }
    MERAPI_F int columnAt(int j) const {
        return column + (B_ALONG_K ? across + 8 * j : across * 4 + j % 4 + 32 * (j / 4));
    }

    // Two along k of N rows or columns.
    template <class S, bool ALONG_K, int N, class F>
    static MERAPI_F void fragments(const unsigned char* slice, int pair, float (&x)[N][2], F at) {
        if (ALONG_K) {
#pragma unroll
            for (int i = 0; i < N; i++) {
                *(float2*)x[i] = *(const float2*)(slice + S::place(at(i), pair / 2) + pair % 2 * 8);
            }
        } else {
#pragma unroll
            for (int e = 0; e < 2; e++)
#pragma unroll
                for (int i = 0; i < N; i += 4) {
                    const float4 v = *(const float4*)(slice + S::place(pair * 2 + e, at(i) / 4));
                    x[i][e] = v.x;
                    x[i + 1][e] = v.y;
                    x[i + 2][e] = v.z;
                    x[i + 3][e] = v.w;
                }
        }
    }

    MERAPI_F void multiply(const unsigned char* left, const unsigned char* right) {
#pragma unroll
        for (int pair = 0; pair < 8; pair++) {
            __align__(8) float x[kI][2], y[kJ][2];
            fragments<Left, A_ALONG_K>(left, pair, x, [&](int i) { return rowAt(i); });
            fragments<Right, B_ALONG_K>(right, pair, y, [&](int j) { return columnAt(j); });
#pragma unroll
            for (int e = 0; e < 2; e++)
#pragma unroll
                for (int i = 0; i < kI; i++)
#pragma unroll
                    for (int j = 0; j < kJ; j++) sums[i][j] = op_fma(x[i][e], y[j][e], sums[i][j]);
        }
    }

    MERAPI_F void store(const Stage& to) const {
#pragma unroll
        for (int i = 0; i < kI; i++)
#pragma unroll
            for (int j = 0; j < kJ; j++) *to.at(rowAt(i), columnAt(j)) = sums[i][j];
    }
};
#endif
}  // namespace gemm

// grid: tiles, parts of k, batch. With more parts than one, sums go to parts[z, part, m, n], for gemm_join.
extern "C" __global__ void __launch_bounds__(gemm::kThreads)
    gemm_tiles(const T* a, const T* b, const T* bias, T* c, float* parts, long long m, long long n, long long k,
               long long lda, long long ldb, long long deep, long long count, const gemm::Batch batch) {
    using namespace gemm;
    __shared__ __align__(128) unsigned char ring[kStages][2][kTileBytes];
    // Blocks that run at the same time take tiles of a band of rows, which share what they read.
    const i64 down = (m + EXTENT - 1) / EXTENT, across = (n + EXTENT - 1) / EXTENT;
    const i64 band = blockIdx.x / (kBand * across) * kBand, rows = min((i64)kBand, down - band);
    const i64 within = blockIdx.x % (kBand * across);
    const i64 row0 = (band + within % rows) * EXTENT, column0 = within / rows * EXTENT;
    const i64 k0 = blockIdx.y * deep, depth = min(deep, k - k0);
    const int slices = (int)((depth + kDepth - 1) / kDepth);
    for (i64 z = blockIdx.z; z < count; z += gridDim.z) {
        const T* pa = a;
        const T* pb = b;
        i64 rest = z;
        for (int d = (int)batch.rank - 1; d >= 0; d--) {
            const i64 q = rest / batch.dims[d].size, at = rest - q * batch.dims[d].size;
            pa += at * batch.dims[d].a;
            pb += at * batch.dims[d].b;
            rest = q;
        }
        Left left(pa, lda, row0, m, k0);
        Right right(pb, ldb, column0, n, k0);
        Core core;
        Copies copies;
        const auto fetch = [&](int s) {
            if (s < slices) {
                const int there = (int)min((i64)kDepth, depth - (i64)s * kDepth);
                left.fetch(copies, ring[s % kStages][0], there);
                right.fetch(copies, ring[s % kStages][1], there);
            }
            copies.commit();
        };
#pragma unroll
        for (int s = 0; s < kStages - 1; s++) fetch(s);
#pragma unroll 1
        for (int s = 0; s < slices; s++) {
            copies.wait<kStages - 2>();
            __syncthreads();
            // Into the slice that was multiplied last; all threads are through with it.
            fetch(s + kStages - 1);
            core.multiply(ring[s % kStages][0], ring[s % kStages][1]);
        }
        copies.wait<0>();
        const i64 first = (z * m + row0) * n + column0;
        const i64 partial = ((z * gridDim.y + blockIdx.y) * m + row0) * n + column0;
        const Target target = {
            c + first, gridDim.y > 1 ? parts + partial : nullptr, bias ? bias + column0 : nullptr,
            n,         (int)min((i64)EXTENT, m - row0),           (int)min((i64)EXTENT, n - column0)};
#pragma unroll
        for (int r = 0; r < EXTENT; r += kBatch) {
            const Stage stage = {(float*)ring, r};
            __syncthreads();
            if (core.row / kBatch * kBatch == r) core.store(stage);
            __syncthreads();
            target.take(stage);
        }
        __syncthreads();
    }
}

// c[z, i] = parts[z, 0, i] + parts[z, 1, i] + … (+ bias): in this order, so that the result is always the same.
extern "C" __global__ void gemm_join(const float* parts, const T* bias, T* c, long long count, long long splits,
                                     long long size, long long n) {
    using namespace gemm;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count * size; i += (i64)gridDim.x * blockDim.x) {
        const i64 z = i / size, e = i - z * size;
        const float* part = parts + z * splits * size + e;
        float sum = part[0];
        for (i64 s = 1; s < splits; s++) sum += part[s * size];
        wr(c[i], bias ? sum + rd(bias[e % n]) : sum);
    }
}
