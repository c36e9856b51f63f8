// SPDX-License-Identifier: Apache-2.0
// Running sums, and the places that they give: where what is not 0 stands. T: storage, Y: of the sums, V: what sums are
// made in, N: what elements are counted in, kEach: neighbours of a thread, which kPacked loads and stores at once.
//
// Long lanes are cut into chunks: first the sum of each, then the running sums of those, with which the chunks begin. A
// chunk belongs to a team: a row of threads of the block, which is a warp, or the whole block.
namespace scan {
using namespace merapi;

// Lanes of [outer, n, inner], each in chunks.
struct Lanes {
    i64 lanes, n, inner, chunk, chunks;
};

// A chunk of a lane, and where its elements stand.
struct Chunk {
    i64 index, begin, end, base, step;
    MERAPI_F Chunk(const Lanes& s, i64 piece) : step(s.inner) {
        const i64 lane = s.chunks == 1 ? piece : piece / s.chunks, o = s.inner == 1 ? lane : lane / s.inner;
        index = piece - lane * s.chunks;
        begin = index * s.chunk;
        end = min(begin + s.chunk, s.n);
        base = o * s.n * s.inner + (lane - o * s.inner);
    }
    MERAPI_F i64 at(i64 j) const { return base + j * step; }
};

// The sum of what the threads of the team before this one have; `all`: of all of them. Always in the same order.
template <class S>
MERAPI_F S before(S mine, S& all) {
    S sum = mine;
    for (int by = 1; by < 32; by *= 2) {
        const S other = __shfl_up_sync(0xffffffffu, sum, by);
        if (threadIdx.x % 32 >= by) sum += other;
    }
    S from = __shfl_up_sync(0xffffffffu, sum, 1);
    if (threadIdx.x % 32 == 0) from = 0;
    all = __shfl_sync(0xffffffffu, sum, 31);
    if (blockDim.x == 32) return from;
    __shared__ S warps[8];
    __syncthreads();  // the sums of the call before may still be read
    if (threadIdx.x % 32 == 31) warps[threadIdx.x / 32] = sum;
    __syncthreads();
    all = 0;
    S ahead = 0;
    for (int w = 0; w < 8; w++) {
        if (w == threadIdx.x / 32) ahead = all;
        all += warps[w];
    }
    return ahead + from;
}
}  // namespace scan

// The pieces of all lanes, one after the other, by teams.
#define SCAN_PIECES(piece, count) \
    using namespace scan;         \
    for (i64 piece = (i64)blockIdx.x * blockDim.y + threadIdx.y; piece < (count); piece += (i64)gridDim.x * blockDim.y)

// totals[lane][chunk]: the sum of each chunk.
extern "C" __global__ void __launch_bounds__(256) scan_totals(const T* x, V* totals, const scan::Lanes s) {
    SCAN_PIECES(piece, s.lanes * s.chunks) {
        const Chunk c(s, piece);
        V mine = 0, all;
        for (i64 j = c.begin + threadIdx.x; j < c.end; j += blockDim.x) mine += (V)rd(x[c.at(j)]);
        before(mine, all);
        if (threadIdx.x == 0) totals[piece] = all;
    }
}

// With running totals of the chunks, or with null, if there is one chunk.
extern "C" __global__ void __launch_bounds__(256) scan_sums(const T* x, const V* totals, Y* y, const scan::Lanes s) {
    SCAN_PIECES(piece, s.lanes * s.chunks) {
        const Chunk c(s, piece);
        V carry = totals && c.index > 0 ? totals[piece - 1] : V(0);
        for (i64 tile = c.begin; tile < c.end; tile += blockDim.x * kEach) {
            const i64 first = tile + threadIdx.x * kEach;
            V v[kEach], mine = 0, all;
            Pack<T, kEach> in;
            if (kPacked && first < c.end) in = *(const Pack<T, kEach>*)(x + c.at(first));
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                v[e] = 0;
                if (first + e < c.end) v[e] = (V)rd(kPacked ? in.v[e] : x[c.at(first + e)]);
                mine += v[e];
            }
            V sum = carry + before(mine, all);
            Pack<Y, kEach> out;
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                sum += v[e];
                wr(out.v[e], (decltype(rd(Y())))sum);
                if (!kPacked && first + e < c.end) y[c.at(first + e)] = out.v[e];
            }
            if (kPacked && first < c.end) *(Pack<Y, kEach>*)(y + c.at(first)) = out;
            carry += all;
        }
    }
}

// One thread for each of many lanes that lie side by side.
extern "C" __global__ void __launch_bounds__(256) scan_columns(const T* x, Y* y, const scan::Lanes s) {
    using namespace scan;
    for (i64 lane = (i64)blockIdx.x * blockDim.x + threadIdx.x; lane < s.lanes; lane += (i64)gridDim.x * blockDim.x) {
        const Chunk c(s, lane);
        V sum = 0;
#pragma unroll 4
        for (i64 j = 0; j < s.n; j++) {
            sum += (V)rd(x[c.at(j)]);
            wr(y[c.at(j)], (decltype(rd(Y())))sum);
        }
    }
}

// ---------------------------------------------------------------- what is not 0

// counts[chunk]: how many of each chunk of x [n] are not 0.
extern "C" __global__ void __launch_bounds__(256) nonzero_counts(const T* x, long long* counts, const scan::Lanes s) {
    SCAN_PIECES(piece, s.chunks) {
        const Chunk c(s, piece);
        i64 mine = 0, all;
        for (i64 i = c.begin + threadIdx.x; i < c.end; i += blockDim.x) mine += rd(x[i]) != decltype(rd(T()))(0);
        before(mine, all);
        if (threadIdx.x == 0) counts[piece] = all;
    }
}

struct Sizes {
    long long rank;
    struct {
        long long size;
        unsigned long long magic;
    } dims[64];
};

// The coordinates of what is not 0, in row-major order; counts: running sums.
extern "C" __global__ void __launch_bounds__(256)
    nonzero_places(const T* x, const long long* counts, long long* y, const scan::Lanes s, const Sizes sizes) {
    SCAN_PIECES(piece, s.chunks) {
        const Chunk c(s, piece);
        i64 at = piece > 0 ? counts[piece - 1] : 0;
        for (i64 tile = c.begin; tile < c.end; tile += blockDim.x) {
            const i64 i = tile + threadIdx.x;
            const u32 found = i < c.end && rd(x[i]) != decltype(rd(T()))(0);
            u32 all;
            const u32 ahead = before(found, all);
            if (found) {
                long long* to = y + (at + ahead) * sizes.rank;
                N rest = (N)i;
                for (int d = (int)sizes.rank - 1; d >= 0; d--) {
                    const N up = quotient(rest, sizes.dims[d].size, sizes.dims[d].magic);
                    to[d] = rest - up * (N)sizes.dims[d].size;
                    rest = up;
                }
            }
            at += all;
        }
    }
}
