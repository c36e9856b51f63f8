// SPDX-License-Identifier: Apache-2.0
// Ranges, triangles, and reversed elements. T: storage.
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
        const i64 above = i % columns - i / columns % rows;
        const C v = rd(x[i]);
        wr(y[i], (lower ? above <= diagonal : above >= diagonal) ? v : C(0));
    }
}

struct Dimensions {
    long long rank;
    struct {
        long long size, flipped;
    } dims[64];
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
