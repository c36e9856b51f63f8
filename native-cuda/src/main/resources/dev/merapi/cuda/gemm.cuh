// SPDX-License-Identifier: Apache-2.0
// c[z, m, n] = a[z, m, k] · b[z, k, n] (+ bias[n]) for operands with one unit stride, in tiles. ALIGNED: whether every
// line of both operands begins at a multiple of 16 bytes.
namespace gemm {
using namespace tiles;

// Of a multiprocessor at once, at least, for which registers are held back; 0: as many as it happens to be.
constexpr int kBlocks = ROWS == 128 ? 2 : 0;

// Where the matrices of a batch begin: up to 6 dimensions, strides in elements, 0 where broadcast.
struct Batch {
    i64 rank;
    struct {
        i64 size, a, b;
    } dims[6];
};

// An operand, whose lines lie in memory as in a slice.
template <bool ALONG_K, int EXTENT>
struct Matrix {
    typedef Slice<ALONG_K, EXTENT> S;
    const T* from;
    i64 step, advance, depth;
    int line, piece, extent;

    MERAPI_F Matrix(const T* matrix, i64 stride, i64 first, i64 size, i64 k0, i64 parts) {
        line = threadIdx.x / S::kPieces;
        piece = threadIdx.x % S::kPieces;
        extent = (int)min((i64)EXTENT, size - first);
        depth = parts;
        const i64 e = piece * kEach;
        from = matrix + (ALONG_K ? (first + line) * stride + k0 + e : (k0 + line) * stride + first + e);
        step = stride * S::kLinesAtOnce;
        advance = ALONG_K ? kDepth : kDepth * stride;
    }

    // Slice s; what lies outside of the matrix is zeros.
    MERAPI_F void fetch(Copies& copies, unsigned char* slice, int s) {
        const int there = (int)min((i64)kDepth, depth - (i64)s * kDepth);
        const int lines = ALONG_K ? extent : there, length = ALONG_K ? there : extent;
        const int here = max(0, min(kEach, length - piece * kEach));
#pragma unroll
        for (int t = 0; t < S::kSteps; t++) {
            const int l = line + t * S::kLinesAtOnce, n = l < lines ? here : 0;
            const T* source = from + t * step;
            unsigned char* target = slice + S::place(l, piece);
            if (ALIGNED) {
                copies.add16(target, source, n * (int)sizeof(T));
            } else if constexpr (sizeof(T) == 4) {
#pragma unroll
                for (int i = 0; i < kEach; i++) {
                    copies.add4(target + 4 * i, source + i, i < n ? 4 : 0);
                }
            } else {
                Piece p;
                load_first(p.v, source, n);
                *(Piece*)target = p;
            }
        }
        from += advance;
    }
    MERAPI_F void settle(unsigned char*) const {}
};
}  // namespace gemm

// grid: tiles, parts of k, batch. With more parts than one, sums go to parts[z, part, m, n], for gemm_join.
extern "C" __global__ void __launch_bounds__(tiles::kThreads, gemm::kBlocks)
    gemm_tiles(const T* a, const T* b, const T* bias, T* c, float* parts, long long m, long long n, long long k,
               long long lda, long long ldb, long long deep, long long count, const gemm::Batch batch) {
    using namespace gemm;
    __shared__ Ring ring;
    const Origin tile(blockIdx.x, m, n);
    const i64 k0 = blockIdx.y * deep, depth = min(deep, k - k0);
    const int slices = (int)((depth + kDepth - 1) / kDepth);
    for (i64 z = blockIdx.z; z < count; z += gridDim.z) {
        const T* pa = a;
        const T* pb = b;
        i64 rest = z;
#pragma unroll 1
        for (int d = (int)batch.rank - 1; d >= 0; d--) {
            const i64 q = rest / batch.dims[d].size, at = rest - q * batch.dims[d].size;
            pa += at * batch.dims[d].a;
            pb += at * batch.dims[d].b;
            rest = q;
        }
        Matrix<A_ALONG_K, ROWS> left(pa, lda, tile.row, m, k0, depth);
        Matrix<B_ALONG_K, COLUMNS> right(pb, ldb, tile.column, n, k0, depth);
        Core core;
        multiply(core, ring, slices, left, right);
        const bool partial = gridDim.y > 1;
        const i64 from = ((partial ? z * gridDim.y + blockIdx.y : z) * m + tile.row) * n + tile.column;
        const T* add = bias && !partial ? bias + tile.column : nullptr;
        results(core, ring, (int)min((i64)ROWS, m - tile.row), (int)min((i64)COLUMNS, n - tile.column),
                [&](int r, int q, float* v, int here) {
                    if (add) add8(v, [&](int i) { return i < here ? rd(add[q + i]) : 0.0f; });
                    put8(c, parts, partial, from + r * n + q, v, here);
                });
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
