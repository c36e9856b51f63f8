// SPDX-License-Identifier: Apache-2.0
// What stable radix sorts share: where the keys of a block go, by a digit of eight bits. Each warp has a piece of the
// keys, of which it takes 32 neighbours at a time; those before a key are those of its digit that its warp took before.
namespace radix {
using namespace merapi;

constexpr int kThreads = 256, kWarps = kThreads / 32;
constexpr int kBits = 8, kDigits = 1 << kBits;
static_assert(kDigits == kThreads, "a thread for each digit");

template <class Key>
MERAPI_F u32 digit(Key key, int shift) {
    return u32(key >> shift) & (kDigits - 1);
}

// Which of its block's keys a thread's e-th is.
template <int Each>
MERAPI_F int number(int e) {
    return (threadIdx.x & ~31) * Each + e * 32 + (threadIdx.x & 31);
}

// The sum of what the threads before this one have, by all threads of the block.
MERAPI_F u32 sums_before(u32 mine, u32* sums) {
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    u32 sum = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const u32 before = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += before;
    }
    if (lane == 31) sums[warp] = sum;
    __syncthreads();
    u32 before = sum - mine;
#pragma unroll
    for (int w = 0; w < kWarps; w++) before += w < warp ? sums[w] : 0;
    __syncthreads();
    return before;
}

// What sorting a block's keys takes. Keys and their places stand in `staged`, one after the other.
template <int Each, class Key>
struct Tile {
    static constexpr int kSize = Each * kThreads;
    Key staged[kSize];
    u32 counts[kWarps][kDigits];
    u32 sums[kWarps];

    // Where each key goes, in `to`. Returns how many keys have a digit less than the thread's number.
    MERAPI_F u32 rank(const Key (&key)[Each], int shift, u32 (&to)[Each]) {
        const int t = threadIdx.x;
        u32* mine = counts[t >> 5];
        for (int d = t & 31; d < kDigits; d += 32) mine[d] = 0;
        __syncwarp();
#pragma unroll
        for (int e = 0; e < Each; e++) {
            const u32 d = digit(key[e], shift), peers = __match_any_sync(~0u, d), before = mine[d];
            const u32 ahead = __popc(peers & ((1u << (t & 31)) - 1));
            to[e] = before + ahead;
            __syncwarp();
            if (ahead == 0) mine[d] = before + __popc(peers);
            __syncwarp();
        }
        __syncthreads();
        u32 sum = 0;
#pragma unroll
        for (int w = 0; w < kWarps; w++) sum += counts[w][t];
        const u32 first = sums_before(sum, sums);
        u32 place = first;
#pragma unroll
        for (int w = 0; w < kWarps; w++) {
            const u32 count = counts[w][t];
            counts[w][t] = place;
            place += count;
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < Each; e++) to[e] += mine[digit(key[e], shift)];
        return first;
    }

    // By all threads: what each has goes to where it belongs, and each gets what is its own now.
    template <class V>
    MERAPI_F void exchange(V (&v)[Each], const u32 (&to)[Each]) {
#pragma unroll
        for (int e = 0; e < Each; e++) staged[to[e]] = v[e];
        __syncthreads();
#pragma unroll
        for (int e = 0; e < Each; e++) v[e] = V(staged[number<Each>(e)]);
        __syncthreads();
    }
};
}  // namespace radix
