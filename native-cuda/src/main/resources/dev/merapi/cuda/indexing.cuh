// SPDX-License-Identifier: Apache-2.0
// Writing where indices say. T: storage, I: type of the indices. Shapes are seen as [outer, n, inner] around the
// indexed dimension. Negative indices count from the end; those out of range are skipped; `check` finds them before, or
// `fault` is told of them (0: of none).
namespace chosen {
using namespace merapi;

MERAPI_F i64 wrapped(I index, i64 size) { return index < 0 ? (i64)index + size : (i64)index; }
template <class C>
MERAPI_F C plus(C a, C b) {
    return op_add(a, b);
}
MERAPI_F bool plus(bool a, bool b) { return a || b; }
MERAPI_F bool inside(i64 k, i64 size) { return k >= 0 && k < size; }

// Whether an index, already wrapped, may be used; if not, that is told by one thread of those that share it.
MERAPI_F bool good(i64 k, i64 size, Fault fault, i64 position, bool tells) {
    if (inside(k, size)) return true;
    if (tells) outside(fault, k < 0 ? k - size : k, position, size, 0);
    return false;
}
}  // namespace chosen

#define CHOSEN_EACH(i, n)   \
    using namespace chosen; \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(n); i += (i64)gridDim.x * blockDim.x)

// The first position whose index is out of range goes to *first, which begins as the largest number.
extern "C" __global__ void check(const I* index, long long count, long long low, long long high, long long ignore,
                                 int ignores, long long* first) {
    CHOSEN_EACH(i, count) {
        const i64 k = index[i];
        if ((k < low || k >= high) && !(ignores && k == ignore)) atomicMin(first, (long long)i);
    }
}

// One thread for each of [outer, inner], which takes the indices in order: the last wins, and sums have one order.
extern "C" __global__ void scatter(T* x, const I* index, const T* source, long long lanes, long long n, long long size,
                                   long long inner, int row, int adds, merapi::Fault fault) {
    CHOSEN_EACH(lane, lanes) {
        const i64 i = lane % inner, o = lane / inner;
        for (i64 j = 0; j < n; j++) {
            const i64 e = (o * n + j) * inner + i, from = row ? j : e, k = wrapped(index[from], size);
            if (!good(k, size, fault, from, !row || lane == 0)) continue;
            T& at = x[(o * size + k) * inner + i];
            if (adds)
                wr(at, plus(rd(at), rd(source[e])));
            else
                at = source[e];
        }
    }
}

// The same for rows of a table, from a gradient of another type; `padding`, if not −1, gets nothing.
extern "C" __global__ void embedding_backward(const T* g, const I* index, ACC* sums, long long count, long long rows,
                                              long long width, long long padding, merapi::Fault fault) {
    CHOSEN_EACH(d, width) {
        for (i64 j = 0; j < count; j++) {
            const i64 k = wrapped(index[j], rows);
            if (good(k, rows, fault, j, d == 0) && k != padding)
                sums[k * width + d] += rd(g[j * width + d]);
        }
    }
}

extern "C" __global__ void one_hot(const I* index, T* y, long long count, long long classes, merapi::Fault fault) {
    CHOSEN_EACH(e, count) {
        const i64 j = e / classes, c = e - j * classes, k = wrapped(index[j], classes);
        wr(y[e], good(k, classes, fault, j, c == 0) && c == k);
    }
}
