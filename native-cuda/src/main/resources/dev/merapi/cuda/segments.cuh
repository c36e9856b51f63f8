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
        i64 k = index[j];
        const bool pads = padding >= 0 && k == padding;
        if (k < 0) k += size;
        const bool good = k >= 0 && k < size;
        if (!good) outside(fault, index[j], j, size, 0);
        keys[j] = good && !pads ? (u32)k : (u32)size;
    }
}

// Blocks of lanes by chunks. A segment within a chunk goes to x; of those that go on in others, what the chunk has of
// the one that came in goes to ends[chunk][0], of the one that goes out to ends[chunk][1].
extern "C" __global__ void segment_sums(const unsigned int* keys, const unsigned int* places, const T* source, T* x,
                                        ACC* ends, const segments::Shape s) {
    using namespace segments;
    const i64 chunk = (i64)blockIdx.x * blockDim.y + threadIdx.y, lanes = s.outer * s.inner;
    if (chunk >= s.chunks) return;
    const i64 begin = chunk * s.chunk, end = min(begin + s.chunk, s.n);
    const bool comes = begin > 0 && keys[begin - 1] == keys[begin], goes = end < s.n && keys[end - 1] == keys[end];
    for (i64 l = (i64)blockIdx.y * blockDim.x + threadIdx.x; l < lanes; l += (i64)gridDim.y * blockDim.x) {
        const Lane lane(s, l);
        u32 row = keys[begin];
        bool first = comes;
        Sum sum;
        sum.clear();
        for (i64 i = begin; i < end; i += kAhead) {
            Pack<T, PACK> in[kAhead];
#pragma unroll
            for (int a = 0; a < kAhead; a++) {
                if (i + a < end) in[a] = ((const Pack<T, PACK>*)source)[lane.from(places[i + a])];
            }
#pragma unroll
            for (int a = 0; a < kAhead; a++) {
                if (i + a >= end) break;
                const u32 next = keys[i + a];
                if (next != row) {
                    if (first) {
                        ((Sum*)ends)[2 * chunk * lanes + l] = sum;
                    } else if (row < s.size) {
                        sum.into(x, lane.to(row));
                    }
                    sum.clear();
                    first = false;
                    row = next;
                }
                sum.add(in[a]);
            }
        }
        if (first || goes) {
            ((Sum*)ends)[(2 * chunk + !first) * lanes + l] = sum;
        } else if (row < s.size) {
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
