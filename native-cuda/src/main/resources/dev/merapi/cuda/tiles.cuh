// SPDX-License-Identifier: Apache-2.0
// What products of matrices in tiles are made of: slices of two operands in shared memory, and a block's multiplication
// of them, summed in float32.
// T: storage. MMA: tensor cores (float is then rounded to tf32), else fused multiply-adds. ROWS, COLUMNS: a block's
// tile of the result, 128 × 128, 64 × 64 or 32 × 128. THREADS: of a block; 128, or 256 for the largest tile. A_ALONG_K,
// B_ALONG_K: whether lines of the left and the right slice run along k, or along rows and columns of the result.
//
// A block takes slices of 64 bytes along k through a ring of kStages in shared memory: while one is multiplied, the
// next ones are on their way. Slices lie there in lines of 16-byte pieces, permuted within a line so that what a warp
// reads at once lies in different banks.
namespace tiles {
using namespace warps;

constexpr int kEach = 16 / sizeof(T), kDepth = 4 * kEach, kStages = ROWS == 128 ? 3 : 4;
constexpr int kThreads = THREADS, kWarpColumns = ROWS == 32 ? 32 : COLUMNS / 2;
constexpr int kWarpsAcross = COLUMNS / kWarpColumns, kWarpRows = ROWS * kWarpsAcross / (kThreads / 32);
constexpr int kBand = 8;
// Of a multiprocessor at once, at least, where registers must be held back for it.
constexpr int kBlocks = ROWS == 128 ? 1 : 3;

struct __align__(16) Piece {
    T v[kEach];
};

// Slices as they follow each other.
struct Ring {
    __align__(128) unsigned char left[kStages][ROWS * 64];
    __align__(128) unsigned char right[kStages][COLUMNS * 64];
};

// How a slice of an operand lies in shared memory, and which threads bring what: each the same piece of every
// kLinesAtOnce-th line.
template <bool ALONG_K, int EXTENT>
struct Slice {
    static constexpr int kLines = ALONG_K ? EXTENT : kDepth, kPieces = EXTENT * 4 / kLines;
    static constexpr int kLinesAtOnce = kThreads / kPieces, kSteps = kLines / kLinesAtOnce;

    static MERAPI_F int place(int line, int piece) {
        const int turn = kPieces == 4 ? line >> 1 & 3 : sizeof(T) == 2 ? line & 7 : (line & 3) << 1;
        return (line * kPieces + (piece ^ turn)) * 16;
    }
    static MERAPI_F float at(const unsigned char* slice, int line, int e) {
        return rd(*(const T*)(slice + place(line, e / kEach) + e % kEach * sizeof(T)));
    }
};
typedef Slice<A_ALONG_K, ROWS> Left;
typedef Slice<B_ALONG_K, COLUMNS> Right;

// Results on their way out: rows of float32 in shared memory, kBatch at a time, a little longer than the tile so that
// rows begin in different banks.
constexpr int kBatch = ROWS < 64 ? ROWS : 64, kPitch = COLUMNS + 8;
struct Stage {
    float* rows;
    int first;
    MERAPI_F float* at(int r, int q) const { return rows + (r - first) * kPitch + q; }
};

#if MMA
// Loops over fragments are one, not nested: the compiler unrolls each level again, and takes a tenth longer for a kernel.
struct Core {
    static constexpr int kI = kWarpRows / 16, kJ = kWarpColumns / 8;
    FragmentC sums[kI][kJ];
    int row, column;

    MERAPI_F Core() : sums{} {
        const int warp = threadIdx.x / 32;
        row = warp / kWarpsAcross * kWarpRows;
        column = warp % kWarpsAcross * kWarpColumns;
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

    // Both halves are compiled once where one has enough to do that the loop costs nothing.
    MERAPI_F void multiply(const unsigned char* left, const unsigned char* right) {
#pragma unroll(kI * kJ >= 32 ? 1 : 2)
        for (int half = 0; half < 2; half++) {
            u32 a[kI][4], b[kJ / 2][4];
#pragma unroll
            for (int i = 0; i < kI; i++) fragments<Left, A_ALONG_K, true>(left, row + i * 16, half, a[i]);
#pragma unroll
            for (int j = 0; j < kJ / 2; j++) fragments<Right, B_ALONG_K, false>(right, column + j * 16, half, b[j]);
#pragma unroll
            for (int n = 0; n < kI * kJ; n++) {
                const int i = n / kJ, j = n % kJ;
                const FragmentB pair = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
                mma(T(), sums[i][j], a[i], pair);
            }
        }
    }

    MERAPI_F void store(const Stage& to) const {
        float* const corner = to.at(row + threadIdx.x % 32 / 4, column + threadIdx.x % 4 * 2);
#pragma unroll
        for (int n = 0; n < kI * kJ * 2; n++) {
            const int i = n / (2 * kJ), j = n / 2 % kJ, h = n % 2;
            *(float2*)(corner + (i * 16 + h * 8) * kPitch + j * 8) =
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

    MERAPI_F Core() : sums{} {
        const int warp = threadIdx.x / 32, l = threadIdx.x % 32;
        down = l / 8;
        across = l % 8;
        row = warp / kWarpsAcross * kWarpRows;
        column = warp % kWarpsAcross * kWarpColumns;
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
#pragma unroll(2)
        for (int pair = 0; pair < 8; pair++) {
            __align__(8) float x[kI][2], y[kJ][2];
            fragments<Left, A_ALONG_K>(left, pair, x, [&](int i) { return rowAt(i); });
            fragments<Right, B_ALONG_K>(right, pair, y, [&](int j) { return columnAt(j); });
#pragma unroll
            for (int e = 0; e < 2; e++)
#pragma unroll
                for (int n = 0; n < kI * kJ; n++) {
                    const int i = n / kJ, j = n % kJ;
                    sums[i][j] = op_fma(x[i][e], y[j][e], sums[i][j]);
                }
        }
    }

    MERAPI_F void store(const Stage& to) const {
#pragma unroll
        for (int n = 0; n < kI * kJ; n++) *to.at(rowAt(n / kJ), columnAt(n % kJ)) = sums[n / kJ][n % kJ];
    }
};
#endif

// The first row and column of a block's tile. Blocks that run at the same time take tiles of a band of rows, which
// share what they read.
struct Origin {
    i64 row, column;
    MERAPI_F Origin(u32 block, i64 m, i64 n) {
        // 32 bits hold the number of blocks.
        const u32 down = u32((m + ROWS - 1) / ROWS), across = u32((n + COLUMNS - 1) / COLUMNS);
        const u32 all = min((u32)kBand, down) * across, band = block / all, within = block - band * all;
        const u32 rows = min((u32)kBand, down - band * kBand), aside = within / rows;
        row = (i64)(band * kBand + within - aside * rows) * ROWS;
        column = (i64)aside * COLUMNS;
    }
};

// The sum over so many slices. A side's fetch begins to bring its next slice, and settle() ends what does not arrive by
// itself.
template <class A, class B>
MERAPI_F void multiply(Core& core, Ring& ring, int slices, A& left, B& right) {
    Copies copies;
    const auto fetch = [&](int s) {
        if (s < slices) {
            left.fetch(copies, ring.left[s % kStages], s);
            right.fetch(copies, ring.right[s % kStages], s);
        }
        copies.commit();
    };
    const auto settle = [&](int s) {
        if (s < slices) {
            left.settle(ring.left[s % kStages]);
            right.settle(ring.right[s % kStages]);
        }
    };
    // The first turns only fetch: one loop, so that fetching is compiled once.
#pragma unroll 1
    for (int next = 0; next < slices + kStages - 1; next++) {
        const int s = next - (kStages - 1);
        if (s >= 0) {
            copies.wait<kStages - 2>();
            __syncthreads();
        }
        // Into the slice that was multiplied last; all threads are through with it.
        fetch(next);
        if (s >= 0) core.multiply(ring.left[s % kStages], ring.right[s % kStages]);
        settle(next);
    }
    copies.wait<0>();
}

// Eight neighbours of shared memory, from a multiple of 16 bytes on, of which the first `count` exist.
template <class U>
MERAPI_F void put8(U* to, const float* from, int count) {
    if (count >= 8 && (u64)to % 16 == 0) {
        __align__(16) float v[8];
        *(float4*)v = *(const float4*)from;
        *(float4*)(v + 4) = *(const float4*)(from + 4);
        Pack<U, 16 / sizeof(U)> out[sizeof(U) / 2];
#pragma unroll
        for (int e = 0; e < 8; e++) wr(out[e * sizeof(U) / 16].v[e % (16 / sizeof(U))], v[e]);
#pragma unroll
        for (int i = 0; i < (int)sizeof(U) / 2; i++) ((Pack<U, 16 / sizeof(U)>*)to)[i] = out[i];
    } else {
#pragma unroll 1
        for (int e = 0; e < count; e++) wr(to[e], from[e]);
    }
}

// To results or, of a part of them, to float32: where results are that as well, this is compiled once.
MERAPI_F void put8(T* to, float* parts, bool partial, i64 at, const float* from, int count) {
    if constexpr (sizeof(T) == 4) {
        put8((partial ? parts : (float*)to) + at, from, count);
    } else if (partial) {
        put8(parts + at, from, count);
    } else {
        put8(to + at, from, count);
    }
}

// Adds a number to each of eight neighbours of shared memory.
template <class F>
MERAPI_F void add8(float* to, F number) {
    __align__(16) float v[8];
    *(float4*)v = *(const float4*)to;
    *(float4*)(v + 4) = *(const float4*)(to + 4);
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] += number(e);
    *(float4*)to = *(const float4*)v;
    *(float4*)(to + 4) = *(const float4*)(v + 4);
}

// Hands out the results, through the ring's memory: put(row, column, values, count) for up to eight in a row, for the
// first `rows` and `columns` of the tile. The values lie in shared memory, so that a loop over them need not be unrolled.
template <class F>
MERAPI_F void results(const Core& core, Ring& ring, int rows, int columns, F put) {
    // Once a tile: what is unrolled here costs more to compile than it saves.
#pragma unroll 1
    for (int first = 0; first < ROWS; first += kBatch) {
        const Stage stage = {(float*)&ring, first};
        __syncthreads();
        if (core.row / kBatch * kBatch == first) core.store(stage);
        __syncthreads();
#pragma unroll 1
        for (int e = threadIdx.x; e < kBatch * COLUMNS / 8; e += kThreads) {
            const int r = first + e / (COLUMNS / 8), q = e % (COLUMNS / 8) * 8;
            if (r >= rows || q >= columns) continue;
            put(r, q, stage.at(r, q), min(8, columns - q));
        }
    }
    __syncthreads();
}
}  // namespace tiles
