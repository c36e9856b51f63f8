// SPDX-License-Identifier: Apache-2.0
// Ranges, triangles, reversed and running elements. T: storage; V: what sums are made in.
namespace made {
using namespace merapi;
typedef decltype(rd(T())) C;
MERAPI_F float to(double v, float) { return (float)v; }
MERAPI_F double to(double v, double) { return v; }
MERAPI_F int to(double v, int) { return (int)cast_i64(v); }
MERAPI_F i64 to(double v, i64) { return cast_i64(v); }
MERAPI_F bool to(double v, bool) { return v != 0; }
MERAPI_F float to(i64 v, float) { return (float)v; }
MERAPI_F double to(i64 v, double) { return (double)v; }
MERAPI_F int to(i64 v, int) { return (int)v; }
MERAPI_F i64 to(i64 v, i64) { return v; }
MERAPI_F bool to(i64 v, bool) { return v != 0; }
}  // namespace made

#define MADE_EACH(i, n)   \
    using namespace made; \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(n); i += (i64)gridDim.x * blockDim.x)

extern "C" __global__ void arange(T* y, long long n, double start, double step, long long from, long long by,
                                  int exact) {
    MADE_EACH(i, n) {
        if (exact)
            wr(y[i], to((i64)(from + i * by), C()));
        else
            wr(y[i], to(start + (double)i * step, C()));
    }
}

// From the nearer end, so that the last element is the end exactly.
extern "C" __global__ void linspace(T* y, long long n, double start, double end, double step) {
    MADE_EACH(i, n) { wr(y[i], to(2 * i < n ? start + (double)i * step : end - (double)(n - 1 - i) * step, C())); }
}

extern "C" __global__ void triangle(const T* x, T* y, long long n, long long rows, long long columns,
                                    long long diagonal, int lower) {
    MADE_EACH(i, n) {
        const i64 distance = i % columns - i / columns % rows - diagonal;
        const C v = rd(x[i]);
        wr(y[i], (lower ? distance <= 0 : distance >= 0) ? v : C(0));
    }
}

struct Dimensions {
    long long rank;
    struct {
        long long size, flipped;
    } dims[8];
};
extern "C" __global__ void flip(const T* x, T* y, long long n, const Dimensions shape) {
    MADE_EACH(i, n) {
        i64 from = 0, stride = 1, rest = i;
        for (int d = (int)shape.rank - 1; d >= 0; d--) {
            const i64 size = shape.dims[d].size, at = rest % size;
            from += (shape.dims[d].flipped ? size - 1 - at : at) * stride;
            rest /= size;
            stride *= size;
        }
        y[i] = x[from];
    }
}

// One thread for each of [outer, inner].
extern "C" __global__ void cumsum(const T* x, Y* y, long long lanes, long long n, long long inner) {
    MADE_EACH(lane, lanes) {
        const i64 base = lane / inner * n * inner + lane % inner;
        V sum = 0;
        for (i64 j = 0; j < n; j++) {
            sum += (V)rd(x[base + j * inner]);
            wr(y[base + j * inner], (decltype(rd(Y())))sum);
        }
    }
}

// One block: the coordinates of what is not 0, in row-major order. With a null y only counts.
extern "C" __global__ void nonzero(const T* x, long long* y, long long* count, long long n, const Dimensions shape) {
    using namespace made;
    __shared__ i64 counts[256];
    const i64 each = (n + 255) / 256, begin = threadIdx.x * each, end = min(begin + each, (i64)n);
    i64 mine = 0;
    for (i64 i = begin; i < end; i++) mine += rd(x[i]) != C(0);
    counts[threadIdx.x] = mine;
    __syncthreads();
    i64 at = 0;
    for (int t = 0; t < (int)threadIdx.x; t++) at += counts[t];
    if (threadIdx.x == 255) *count = at + mine;
    if (!y) return;
    for (i64 i = begin; i < end; i++) {
        if (rd(x[i]) != C(0)) {
            i64 rest = i;
            for (int d = (int)shape.rank - 1; d >= 0; d--) {
                y[at * shape.rank + d] = rest % shape.dims[d].size;
                rest /= shape.dims[d].size;
            }
            at++;
        }
    }
}
