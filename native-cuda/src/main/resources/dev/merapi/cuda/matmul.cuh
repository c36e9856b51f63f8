// SPDX-License-Identifier: Apache-2.0
// c[b, m, n] = a[b, m, k] · b[b, k, n] (+ bias[n]) for operands of any strides. T: storage.
// Tiles of 64 × 64 results by 256 threads, 4 × 4 each, over slices of 16 along k in shared memory. The order of
// additions depends on sizes only.
namespace matrix {
using namespace merapi;

typedef decltype(rd(T())) C;
constexpr int kTile = 64, kSlice = 16, kEach = 4;

// Where the matrices of a batch begin: up to 6 dimensions, strides in elements, 0 where broadcast.
struct Batch {
    i64 rank;
    struct {
        i64 size, a, b;
    } dims[6];
};
}  // namespace matrix

extern "C" __global__ void __launch_bounds__(256)
    matmul(const T* a, const T* b, const T* bias, T* c, long long m, long long n, long long k, long long am,
           long long ak, long long bk, long long bn, long long count, const matrix::Batch batch) {
    using namespace matrix;
    __shared__ C left[kSlice][kTile + 4], right[kSlice][kTile + 4];
    const int t = threadIdx.x, tx = t % 16, ty = t / 16;
    const i64 row0 = (i64)blockIdx.y * kTile, column0 = (i64)blockIdx.x * kTile;
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
        C sums[kEach][kEach];
#pragma unroll
        for (int i = 0; i < kEach; i++)
#pragma unroll
            for (int j = 0; j < kEach; j++) sums[i][j] = 0;
        for (i64 k0 = 0; k0 < k; k0 += kSlice) {
            // Neighbouring threads take neighbours in memory, whichever way the operand lies.
#pragma unroll
            for (int s = 0; s < kTile * kSlice / 256; s++) {
                const int e = t + s * 256;
                const int r = ak == 1 ? e / kSlice : e % kTile, p = ak == 1 ? e % kSlice : e / kTile;
                left[p][r] = row0 + r < m && k0 + p < k ? rd(pa[(row0 + r) * am + (k0 + p) * ak]) : C(0);
                const int q = bk == 1 ? e / kSlice : e % kTile, u = bk == 1 ? e % kSlice : e / kTile;
                right[u][q] = column0 + q < n && k0 + u < k ? rd(pb[(k0 + u) * bk + (column0 + q) * bn]) : C(0);
            }
            __syncthreads();
#pragma unroll
            for (int p = 0; p < kSlice; p++) {
                C x[kEach], y[kEach];
#pragma unroll
                for (int i = 0; i < kEach; i++) {
                    x[i] = left[p][ty * kEach + i];
                    y[i] = right[p][tx * kEach + i];
                }
#pragma unroll
                for (int i = 0; i < kEach; i++)
#pragma unroll
                    for (int j = 0; j < kEach; j++) sums[i][j] = op_fma(x[i], y[j], sums[i][j]);
            }
            __syncthreads();
        }
#pragma unroll
        for (int i = 0; i < kEach; i++) {
#pragma unroll
            for (int j = 0; j < kEach; j++) {
                const i64 r = row0 + ty * kEach + i, q = column0 + tx * kEach + j;
                if (r < m && q < n) {
                    const C v = bias ? op_add(sums[i][j], rd(bias[q])) : sums[i][j];
                    wr(c[(z * m + r) * n + q], v);
                }
            }
        }
    }
}
