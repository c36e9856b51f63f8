// SPDX-License-Identifier: Apache-2.0
// A stable radix sort of rows that are longer than a block's tile, eight bits a pass: each tile counts its digits, the
// counts become the places where the tile's keys of a digit begin, and each tile moves its keys there. `Key`: u32, u64.
// table [rows, tiles + 1, digits]: the counts of a row's tiles, and of all of them.
namespace sorting {
using namespace radix;

constexpr int kEach = 16;
typedef Tile<kEach, Key> KeyTile;
constexpr int kAcross = 32;  // digits of a block that sums up
constexpr int kAhead = 8;    // loads on their way at once

// Where a row's counts begin in the table.
MERAPI_F i64 counts_of(i64 row, i64 tiles) { return row * (tiles + 1) * kDigits; }

// Digits of tiles, one below the other, of which a thread takes a piece.
struct Column {
    u32* counts;
    i64 begin, end;

    MERAPI_F int load(i64 i, u32 (&count)[kAhead]) const {
        const int n = min(end - i, (i64)kAhead);
#pragma unroll
        for (int a = 0; a < kAhead; a++) count[a] = a < n ? counts[(i + a) * kDigits] : 0;
        return n;
    }
};
}  // namespace sorting

// A block for each tile, by rows.
extern "C" __global__ void __launch_bounds__(256)
    sort_counts(const Key* keys, unsigned int* table, long long rows, long long n, int shift) {
    using namespace sorting;
    __shared__ u32 counts[kDigits];
    const int t = threadIdx.x;
    const i64 first = (i64)blockIdx.x * KeyTile::kSize + t;
    for (i64 row = blockIdx.y; row < rows; row += gridDim.y) {
        counts[t] = 0;
        __syncthreads();
        Key key[kEach];
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            if (first + e * kThreads < n) key[e] = keys[row * n + first + e * kThreads];
        }
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            if (first + e * kThreads < n) atomicAdd(&counts[digit(key[e], shift)], 1u);
        }
        __syncthreads();
        table[counts_of(row, gridDim.x) + (i64)blockIdx.x * kDigits + t] = counts[t];
    }
}

// Each count becomes the sum of those of the tiles before; behind the last stands the sum of all. Blocks of 32 digits
// by pieces of the tiles.
extern "C" __global__ void __launch_bounds__(1024) sort_offsets(unsigned int* table, long long rows, long long tiles) {
    using namespace sorting;
    __shared__ u32 sums[kAcross][kAcross];
    const int x = threadIdx.x, y = threadIdx.y, pieces = blockDim.y;
    const i64 piece = (tiles + pieces - 1) / pieces, begin = min(y * piece, (i64)tiles);
    for (i64 row = blockIdx.y; row < rows; row += gridDim.y) {
        const Column c = {table + counts_of(row, tiles) + blockIdx.x * kAcross + x, begin,
                          min(begin + piece, (i64)tiles)};
        u32 count[kAhead];
        u32 sum = 0;
        for (i64 i = c.begin; i < c.end; i += kAhead) {
            c.load(i, count);
#pragma unroll
            for (int a = 0; a < kAhead; a++) sum += count[a];
        }
        sums[y][x] = sum;
        __syncthreads();
        u32 place = 0;
        for (int p = 0; p < y; p++) place += sums[p][x];
        if (y == pieces - 1) c.counts[tiles * kDigits] = place + sum;
        for (i64 i = c.begin; i < c.end; i += kAhead) {
            const int some = c.load(i, count);
#pragma unroll
            for (int a = 0; a < kAhead; a++) {
                if (a < some) c.counts[(i + a) * kDigits] = place;
                place += count[a];
            }
        }
        __syncthreads();
    }
}

// A block for each tile, by rows. The tile is sorted first, so that neighbours go to neighbours. places: 0 before the
// first pass, where each key stands in its own.
extern "C" __global__ void __launch_bounds__(256)
    sort_move(const Key* keys, const unsigned int* places, const unsigned int* table, Key* keys_out,
              unsigned int* places_out, long long rows, long long n, int shift) {
    using namespace sorting;
    __shared__ KeyTile tile;
    __shared__ u32 begins[kDigits];
    const int t = threadIdx.x;
    const i64 first = (i64)blockIdx.x * KeyTile::kSize;
    const int size = min(n - first, (i64)KeyTile::kSize);
    for (i64 row = blockIdx.y; row < rows; row += gridDim.y) {
        const i64 from = row * n + first;
        const Key* const key_in = keys + from;
        const u32* const place_in = places == 0 ? 0 : places + from;
        Key* const key_out = keys_out + row * n;
        u32* const place_out = places_out + row * n;
        Key key[kEach];
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            // Behind the end the largest: they stay behind all others.
            const int i = number<kEach>(e);
            key[e] = i < size ? key_in[i] : ~Key(0);
        }
        u32 to[kEach];
        const u32 before = tile.rank(key, shift, to);
        const u32* counts = table + counts_of(row, gridDim.x) + t;
        const u32 smaller = sums_before(counts[(i64)gridDim.x * kDigits], tile.sums);
        begins[t] = smaller + counts[(i64)blockIdx.x * kDigits] - before;
#pragma unroll
        for (int e = 0; e < kEach; e++) tile.staged[to[e]] = key[e];
        __syncthreads();
        u32 at[kEach];
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            const int i = e * kThreads + t;
            if (i >= size) continue;
            const Key k = tile.staged[i];
            at[e] = begins[digit(k, shift)] + i;
            key_out[at[e]] = k;
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            const int i = number<kEach>(e);
            if (i < size) tile.staged[to[e]] = place_in == 0 ? u32(first + i) : place_in[i];
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            const int i = e * kThreads + t;
            if (i < size) place_out[at[e]] = u32(tile.staged[i]);
        }
        __syncthreads();
    }
}
