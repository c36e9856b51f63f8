// SPDX-License-Identifier: Apache-2.0
// The loops of a reduction. Printed in front, by ReducePrinter: the accumulator, the arguments, where inputs stand, how
// they are loaded, what is made of them, and the constants of the variant.
//
// Blocks of 256 threads are tiles of 2^tx results (or packs of them) by 2^ty parts of the elements that make one; a
// tile takes one chunk of those, and what it finds goes to the result, if there is one chunk, else to memory, from
// where `again` goes on. Chunks depend on sizes only, so results do not depend on the device; there are no atomics.
//
// kRows: a pack is neighbours of one result; else it is neighbouring results. kAhead packs are loaded before the first
// is used: that many bytes are on their way.
namespace reduction {
using namespace merapi;

constexpr int kThreads = 256;
// What a pack is of the reduced elements.
constexpr Index kStep = kRows ? kPack : 1;

// Folds packs first, first + by, … before end: each lane of a pack has an accumulator of its own.
MERAPI_F void fold(const Arguments& a, const Places& at, Index r, Index end, Index by, Acc (&acc)[kPack]) {
    for (; r + (kAhead - 1) * by < end; r += kAhead * by) {
        Loaded<kPack> in[kAhead];
#pragma unroll
        for (int u = 0; u < kAhead; u++) in[u] = load<kPack>(a, at, (r + u * by) * kStep);
#pragma unroll
        for (int e = 0; e < kPack; e++) {
            Value v[kAhead];
#pragma unroll
            for (int u = 0; u < kAhead; u++) v[u] = value(a, in[u], e);
            add(acc[e], v, (long long)r * kStep + (kRows ? e : 0), (long long)by * kStep);
        }
    }
    for (; r < end; r += by) {
        const Loaded<kPack> in = load<kPack>(a, at, r * kStep);
#pragma unroll
        for (int e = 0; e < kPack; e++) add(acc[e], value(a, in, e), (long long)r * kStep + (kRows ? e : 0));
    }
}

// The tile's result in its first part: lower parts stand left, so that order is kept.
template <bool rows>
MERAPI_F void join_parts(Acc (&acc)[kPack], int width, int height, int x, int y) {
    if constexpr (rows) {
#pragma unroll
        for (int half = kPack / 2; half > 0; half /= 2) {
#pragma unroll
            for (int e = 0; e < half; e++) acc[e] = join(acc[e], acc[e + half]);
        }
        for (int by = min(height, 32) / 2; by > 0; by /= 2) acc[0] = join(acc[0], from_above(acc[0], by));
        if (height > 32) {
            __shared__ Acc warps[kThreads / 32];
            const int warp = threadIdx.x / 32;
            if (threadIdx.x % 32 == 0) warps[warp] = acc[0];
            __syncthreads();
            if (y == 0) {
                for (int w = 1; w < height / 32; w++) acc[0] = join(acc[0], warps[warp + w]);
            }
        }
    } else {
        __shared__ Acc parts[kPack][kThreads];
        const int at = y * width + x;
        for (int half = height / 2; half > 0; half /= 2) {
            if (y >= half && y < 2 * half) {
#pragma unroll
                for (int e = 0; e < kPack; e++) parts[e][at] = acc[e];
            }
            __syncthreads();
            if (y < half) {
#pragma unroll
                for (int e = 0; e < kPack; e++) acc[e] = join(acc[e], parts[e][at + half * width]);
            }
        }
    }
}
}  // namespace reduction

extern "C" __global__ void __launch_bounds__(256) reduce(const reduction::Arguments a) {
    using namespace reduction;
    const int t = threadIdx.x, width = 1 << a.tx, height = 1 << a.ty;
    const int x = kRows ? t >> a.ty : t & (width - 1), y = kRows ? t & (height - 1) : t >> a.tx;
    const unsigned chunk = blockIdx.x / (unsigned)a.tiles;
    const long long result = (((long long)(blockIdx.x - chunk * (unsigned)a.tiles) << a.tx) + x) * (kRows ? 1 : kPack);
    Acc acc[kPack];
#pragma unroll
    for (int e = 0; e < kPack; e++) acc[e] = empty();
    if (result < a.results) {
        const Places at = places(a, result);
        const Index packs = (Index)(a.elements / kStep), first = (Index)(chunk * a.chunk);
        fold(a, at, first + y, min(first + (Index)a.chunk, packs), (Index)height, acc);
        if (kStep > 1 && first + (Index)a.chunk >= packs) {
            // Fewer than a pack are left.
            for (Index r = packs * kStep + y; r < (Index)a.elements; r += height)
                add(acc[0], value(a, load<1>(a, at, r), 0), r);
        }
    }
    join_parts<kRows>(acc, width, height, x, y);
    if (y == 0 && result < a.results) {
#pragma unroll
        for (int e = 0; e < (kRows ? 1 : kPack); e++) {
            if (a.partial)
                a.partial[chunk * a.results + result + e] = acc[e];
            else
                store(a, a.y + result + e, acc[e]);
        }
    }
}

// One accumulator of each result for each chunk becomes fewer.
extern "C" __global__ void __launch_bounds__(256) again(const reduction::Again a) {
    using namespace reduction;
    __shared__ Acc shared[kThreads];
    const int t = threadIdx.x, width = 1 << a.tx, height = 1 << a.ty;
    const int x = a.rows ? t >> a.ty : t & (width - 1), y = a.rows ? t & (height - 1) : t >> a.tx;
    const unsigned chunk = blockIdx.x / (unsigned)a.tiles;
    const long long result = ((long long)(blockIdx.x - chunk * (unsigned)a.tiles) << a.tx) + x;
    Acc acc = empty();
    if (result < a.results) {
        const long long end = min((chunk + 1) * a.chunk, a.parts);
#pragma unroll 8
        for (long long r = chunk * a.chunk + y; r < end; r += height) acc = join(acc, a.from[r * a.results + result]);
    }
    const int at = y * width + x;
    shared[at] = acc;
    for (int half = height / 2; half > 0; half /= 2) {
        __syncthreads();
        if (y < half) shared[at] = join(shared[at], shared[at + half * width]);
    }
    if (y == 0 && result < a.results) {
        acc = shared[at];
        if (a.partial)
            a.partial[chunk * a.results + result] = acc;
        else
            store(a, a.y + result, acc);
    }
}
