// SPDX-License-Identifier: Apache-2.0
// What stable radix sorts share: a block's threads each have a piece, in their order, and count its digits of four
// bits.
namespace radix {
using namespace merapi;

constexpr int kThreads = 256;
constexpr int kDigits = 16;
constexpr int kPerThread = kDigits;  // counters are as many as digits times threads

// The sum of what the threads before this one have, by all threads of the block.
MERAPI_F u32 sums_before(u32 mine, u32* sums) {
    const int t = threadIdx.x;
    sums[t] = mine;
    __syncthreads();
    for (int step = 1; step < kThreads; step *= 2) {
        u32 before = t >= step ? sums[t - step] : 0;
        __syncthreads();
        sums[t] += before;
        __syncthreads();
    }
    return sums[t] - mine;
}

// counts[digit][thread] becomes how many elements come before the first of that digit of that thread.
MERAPI_F void places_of(u32 (*counts)[kThreads], u32* sums) {
    u32* mine = &counts[0][0] + threadIdx.x * kPerThread;
    u32 sum = 0;
    for (int i = 0; i < kPerThread; i++) sum += mine[i];
    u32 place = sums_before(sum, sums);
    for (int i = 0; i < kPerThread; i++) {
        u32 count = mine[i];
        mine[i] = place;
        place += count;
    }
    __syncthreads();
}
}  // namespace radix
