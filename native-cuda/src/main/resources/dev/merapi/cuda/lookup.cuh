// SPDX-License-Identifier: Apache-2.0
// What indices choose: y[o, j, i] = x[o, index[j], i], or with an index for each element. T: unsigned integers of the
// elements' size, I: type of the indices, PACK: neighbours that a thread takes at once, N: what elements are counted
// in. Negative indices count from the end; those out of range give 0, and `fault` is told of them (0: of none).
namespace lookup {
using namespace merapi;

MERAPI_F i64 wrapped(I index, i64 size) { return index < 0 ? (i64)index + size : (i64)index; }
}  // namespace lookup

// y: [rows, inner] in packs, rows = outer * n; a row of threads takes a row of it.
extern "C" __global__ void __launch_bounds__(256)
    lookup_rows(const T* x, const I* index, T* y, long long rows, long long n, long long size, long long inner,
                merapi::Fault fault) {
    using namespace lookup;
    const i64 first = (i64)blockIdx.y * blockDim.x + threadIdx.x;
    for (i64 r = (i64)blockIdx.x * blockDim.y + threadIdx.y; r < rows; r += (i64)gridDim.x * blockDim.y) {
        const i64 o = n == rows ? 0 : r / n, j = r - o * n;
        const I chosen = index[j];
        const i64 k = wrapped(chosen, size);
        const bool good = k >= 0 && k < size;
        if (!good && first == 0 && o == 0) outside(fault, chosen, j, size, 0);
        const Pack<T, PACK>* from = (const Pack<T, PACK>*)x + (o * size + k) * inner;
        Pack<T, PACK>* to = (Pack<T, PACK>*)y + r * inner;
        for (i64 i = first; i < inner; i += (i64)gridDim.y * blockDim.x) to[i] = good ? from[i] : Pack<T, PACK>();
    }
}

struct Around {
    long long n, size, inner;
    unsigned long long n_magic, inner_magic;
};

// y: [outer, n, inner], an index for each.
extern "C" __global__ void lookup_elements(const T* x, const I* index, T* y, long long count, const Around s,
                                           merapi::Fault fault) {
    using namespace lookup;
    const N step = (N)gridDim.x * blockDim.x;
    for (N e = (N)blockIdx.x * blockDim.x + threadIdx.x; e < (N)count; e += step) {
        const N line = quotient(e, s.inner, s.inner_magic), o = quotient(line, s.n, s.n_magic);
        const I chosen = index[e];
        const i64 k = wrapped(chosen, s.size);
        if (k < 0 || k >= s.size) {
            outside(fault, chosen, e, s.size, 0);
            y[e] = 0;
        } else {
            y[e] = x[((i64)o * s.size + k) * s.inner + (e - line * (N)s.inner)];
        }
    }
}
