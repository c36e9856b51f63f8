// SPDX-License-Identifier: Apache-2.0
// y = x, where neighbours in x are not neighbours in y: by tiles in shared memory, so that both are read and written
// along their own lines. T: unsigned integers of the elements' size.
namespace transpose {
using namespace merapi;

constexpr int kTile = sizeof(T) <= 2 ? 64 : 32, kThreadRows = 8;
// Columns of a tile lie in different banks.
constexpr int kPitch = kTile + (sizeof(T) < 4 ? 4 / sizeof(T) : 1);

// Strides in elements. Along `fromUnit` x steps by one, along `toUnit` y does.
struct Space {
    i64 fromUnit, toUnit, xStride, yStride;
    i64 rank;
    struct {
        i64 size, x, y;
    } dims[6];
};
}  // namespace transpose

extern "C" __global__ void __launch_bounds__(256)
    copy_transposed(const T* x, T* y, long long tiles, const transpose::Space s) {
    using namespace transpose;
    __shared__ T tile[kTile][kPitch];
    const i64 across = (s.toUnit + kTile - 1) / kTile, down = (s.fromUnit + kTile - 1) / kTile;
    for (i64 t = blockIdx.x; t < tiles; t += gridDim.x) {
        const i64 line = t / across, row = (t - line * across) * kTile;
        i64 rest = line / down;
        const i64 column = (line - rest * down) * kTile;
        const T* from = x + row * s.xStride + column;
        T* to = y + column * s.yStride + row;
        for (int d = (int)s.rank - 1; d >= 0; d--) {
            const i64 q = rest / s.dims[d].size, at = rest - q * s.dims[d].size;
            from += at * s.dims[d].x;
            to += at * s.dims[d].y;
            rest = q;
        }
        const int rows = (int)min((i64)kTile, s.toUnit - row), columns = (int)min((i64)kTile, s.fromUnit - column);
#pragma unroll
        for (int r = threadIdx.y; r < kTile; r += kThreadRows) {
#pragma unroll
            for (int q = threadIdx.x; q < kTile; q += 32) {
                if (r < rows && q < columns) tile[r][q] = from[r * s.xStride + q];
            }
        }
        __syncthreads();
#pragma unroll
        for (int q = threadIdx.y; q < kTile; q += kThreadRows) {
#pragma unroll
            for (int r = threadIdx.x; r < kTile; r += 32) {
                if (r < rows && q < columns) to[q * s.yStride + r] = tile[r][q];
            }
        }
        __syncthreads();
    }
}
