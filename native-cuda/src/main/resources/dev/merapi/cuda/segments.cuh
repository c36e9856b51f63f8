// SPDX-License-Identifier: Apache-2.0
// Rows of a source added to the rows of x that indices choose: x[o, index[j], i] += source[o, j, i]. All in parallel
// and still in one order, whatever runs when: positions are sorted by their row, stably; equal rows then stand side by
// side, as segments. Chunks of the sorted positions sum up theirs; a segment over several chunks is joined in their
// order. T: storage, I: type of the indices, ACC: what sums are made in, PACK: neighbours that a thread takes at once.
namespace segments {
using namespace merapi;

constexpr int kAhead = 4;  // loads on their way at once

typedef decltype(rd(T())) C;
MERAPI_F C plus(C a, ACC b) { return op_add(a, C(b)); }

// Sizes of the view [outer, n, inner] around the chosen dimension, which has `size` rows in x; inner in packs.
struct Shape {
    i64 outer, n, inner, size, chunk, chunks;
};

// One lane of [outer, inner]: where its elements stand.
struct Lane {
    i64 source, x;  // packs to the first element
    const Shape& s;
    MERAPI_F Lane(const Shape& s, i64 lane) : s(s) {
        const i64 o = lane / s.inner, i = lane - o * s.inner;
        source = o * s.n * s.inner + i;
        x = o * s.size * s.inner + i;
    }
    MERAPI_F i64 from(u32 place) const { return source + place * s.inner; }
    MERAPI_F i64 to(u32 row) const { return x + row * s.inner; }
};

struct __align__((sizeof(ACC) * PACK < 16 ? sizeof(ACC) * PACK : 16)) Sum {
    ACC v[PACK];
    MERAPI_F void clear() {
#pragma unroll
        for (int e = 0; e < PACK; e++) v[e] = 0;
    }
    MERAPI_F void add(const Sum& other) {
#pragma unroll
        for (int e = 0; e < PACK; e++) v[e] = op_add(v[e], other.v[e]);
    }
    MERAPI_F void add(const Pack<T, PACK>& p) {
#pragma unroll
        for (int e = 0; e < PACK; e++) v[e] = op_add(v[e], ACC(rd(p.v[e])));
    }
    MERAPI_F void into(T* x, i64 at) const {
        Pack<T, PACK> p = ((const Pack<T, PACK>*)x)[at];
#pragma unroll
        for (int e = 0; e < PACK; e++) wr(p.v[e], plus(rd(p.v[e]), v[e]));
        ((Pack<T, PACK>*)x)[at] = p;
    }
};
}  // namespace segments

// The row of each position; `size` for those that add nothing: of the padding index, and out of range.
extern "C" __global__ void segment_keys(const I* index, unsigned int* keys, long long n, long long size,
                                        long long padding, merapi::Fault fault) {
    using namespace segments;
    for (i64 j = (i64)blockIdx.x * blockDim.x + threadIdx.x; j < n; j += (i64)gridDim.x * blockDim.x) {
        const i64 chosen = index[j], k = chosen < 0 ? chosen + size : chosen;
        const bool good = k >= 0 && k < size;
        if (!good) outside(fault, chosen, j, size, 0);
        keys[j] = good && k != padding ? (u32)k : (u32)size;
    }
}

// The same where each element of source has an index: which element of x it is for; `all` of them has x. Both are seen
// as [outer, n or size, inner].
extern "C" __global__ void segment_targets(const I* index, unsigned int* keys, long long count, long long n,
                                           long long inner, long long size, long long all, merapi::Fault fault) {
    using namespace segments;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += (i64)gridDim.x * blockDim.x) {
        const i64 chosen = index[e], k = chosen < 0 ? chosen + size : chosen;
        const bool good = k >= 0 && k < size;
        if (!good) outside(fault, chosen, e, size, 0);
        keys[e] = u32(good ? (e / inner / n * size + k) * inner + e % inner : all);
    }
}

// Lanes by positions: where a segment or a chunk begins, that much of it is summed up. A segment within a chunk goes to
// x; of those that go on in others, what the chunk has of the one that came in goes to ends[chunk][0], of the one that
// goes out to ends[chunk][1].
extern "C" __global__ void segment_sums(const unsigned int* keys, const unsigned int* places, const T* source, T* x,
                                        ACC* ends, const segments::Shape s) {
    using namespace segments;
    const i64 begin = (i64)blockIdx.x * blockDim.y + threadIdx.y, lanes = s.outer * s.inner;
    if (begin >= s.n) return;
    const i64 chunk = begin / s.chunk, end = min((chunk + 1) * s.chunk, s.n);
    const u32 row = keys[begin];
    const bool same = begin > 0 && keys[begin - 1] == row, comes = same && begin == chunk * s.chunk;
    if (row >= s.size || (same && !comes)) return;
    const bool goes = end < s.n && keys[end] == row;
    for (i64 l = (i64)blockIdx.y * blockDim.x + threadIdx.x; l < lanes; l += (i64)gridDim.y * blockDim.x) {
        const Lane lane(s, l);
        Sum sum;
        sum.clear();
        bool more = true;
        for (i64 i = begin; more; i += kAhead) {
            Pack<T, PACK> in[kAhead];
            bool has[kAhead];
#pragma unroll
            for (int a = 0; a < kAhead; a++) {
                has[a] = i + a < end && keys[i + a] == row;
                if (has[a]) in[a] = ((const Pack<T, PACK>*)source)[lane.from(places[i + a])];
            }
#pragma unroll
            for (int a = 0; a < kAhead; a++) {
                if (has[a]) sum.add(in[a]);
            }
            more = has[kAhead - 1];
        }
        if (comes || goes) {
            ((Sum*)ends)[(2 * chunk + !comes) * lanes + l] = sum;
        } else {
            sum.into(x, lane.to(row));
        }
    }
}

// The segments that begin in a chunk and go on in others.
extern "C" __global__ void segment_joins(const unsigned int* keys, const ACC* ends, T* x, const segments::Shape s) {
    using namespace segments;
    const i64 chunk = (i64)blockIdx.x * blockDim.y + threadIdx.y, lanes = s.outer * s.inner;
    if (chunk >= s.chunks - 1) return;
    const i64 begin = chunk * s.chunk, end = begin + s.chunk;
    const u32 row = keys[end - 1];
    const bool begins = begin == 0 || keys[begin - 1] != row;
    if (!begins || keys[end] != row || row >= s.size) return;
    i64 last = chunk + 1;
    while ((last + 1) * s.chunk < s.n && keys[(last + 1) * s.chunk] == row) last++;
    for (i64 l = (i64)blockIdx.y * blockDim.x + threadIdx.x; l < lanes; l += (i64)gridDim.y * blockDim.x) {
        Sum sum = ((const Sum*)ends)[(2 * chunk + 1) * lanes + l];
#pragma unroll 4
        for (i64 c = chunk + 1; c <= last; c++) sum.add(((const Sum*)ends)[2 * c * lanes + l]);
        sum.into(x, Lane(s, l).to(row));
    }
}

// The last of each segment replaces its row.
extern "C" __global__ void segment_last(const unsigned int* keys, const unsigned int* places, const T* source, T* x,
                                        const segments::Shape s) {
    using namespace segments;
    const i64 lanes = s.outer * s.inner;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < s.n * lanes; e += (i64)gridDim.x * blockDim.x) {
        const i64 i = e / lanes;
        const u32 row = keys[i];
        if (row >= s.size || (i + 1 < s.n && keys[i + 1] == row)) continue;
        const Lane lane(s, e - i * lanes);
        ((Pack<T, PACK>*)x)[lane.to(row)] = ((const Pack<T, PACK>*)source)[lane.from(places[i])];
    }
}
