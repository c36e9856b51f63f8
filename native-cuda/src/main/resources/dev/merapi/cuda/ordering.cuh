// SPDX-License-Identifier: Apache-2.0
// The order of rows: a stable radix sort, four bits a pass, one block a row. `T` is the storage of the elements.

namespace ordering {
using namespace radix;

// Unsigned numbers that order as the elements do: NaN is the largest, -0 equals 0.
MERAPI_F u32 order(float x) {
    u32 u = __float_as_uint(x);
    return (u & 0x7fffffffu) > 0x7f800000u ? ~0u : u == 0x80000000u ? 0x80000000u : u >> 31 ? ~u : u | 0x80000000u;
}
MERAPI_F u64 order(double x) {
    const u64 top = 1ull << 63;
    u64 u = u64(__double_as_longlong(x));
    return (u & ~top) > 0x7ff0000000000000ull ? ~0ull : u == top ? top : u >> 63 ? ~u : u | top;
}
MERAPI_F u32 order_small(u32 u, u32 infinity) {
    return (u & 0x7fffu) > infinity ? 0xffffu : u == 0x8000u ? 0x8000u : u >> 15 ? ~u & 0xffffu : u | 0x8000u;
}
MERAPI_F u32 order(f16 x) { return order_small(x.bits, 0x7c00u); }
MERAPI_F u32 order(bf16 x) { return order_small(x.bits, 0x7f80u); }
MERAPI_F u32 order(int x) { return u32(x) ^ 0x80000000u; }
MERAPI_F u64 order(i64 x) { return u64(x) ^ (1ull << 63); }
MERAPI_F u32 order(u8 x) { return x; }
MERAPI_F u32 order(b8 x) { return x.bits; }

template <int Bytes>
struct Unsigned {
    typedef u32 type;
};
template <>
struct Unsigned<8> {
    typedef u64 type;
};
typedef Unsigned<sizeof(T)>::type Key;
}  // namespace ordering

// values, indices [rows, k] of x [rows, n]. Room for two orders of each row: keys, places [2, rows, n].
extern "C" __global__ void __launch_bounds__(256)
    topk(const T* x, T* values, long long* indices, void* keys, unsigned int* places, long long rows, long long n,
         long long k, int largest) {
    using namespace ordering;
    __shared__ u32 counts[kDigits][kThreads];
    __shared__ u32 sums[kThreads];
    const int t = threadIdx.x;
    // Each thread has a piece of the row: in the order of the pieces, equals keep their own.
    const i64 piece = (n + kThreads - 1) / kThreads, first = t * piece < n ? t * piece : n;
    const i64 last = first + piece < n ? first + piece : n;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        Key* key = (Key*)keys + row * n;
        Key* other_key = key + rows * n;
        u32* place = places + row * n;
        u32* other_place = place + rows * n;
        for (i64 i = t; i < n; i += kThreads) {
            Key o = order(x[row * n + i]);
            key[i] = largest ? ~o : o;
            place[i] = u32(i);
        }
        for (int shift = 0; shift < int(sizeof(T)) * 8; shift += 4) {
            for (int d = 0; d < kDigits; d++) counts[d][t] = 0;
            __syncthreads();
            for (i64 i = first; i < last; i++) counts[key[i] >> shift & 15][t]++;
            __syncthreads();
            places_of(counts, sums);
            for (i64 i = first; i < last; i++) {
                u32 to = counts[key[i] >> shift & 15][t]++;
                other_key[to] = key[i];
                other_place[to] = place[i];
            }
            __syncthreads();
            Key* swapped_key = key;
            key = other_key;
            other_key = swapped_key;
            u32* swapped_place = place;
            place = other_place;
            other_place = swapped_place;
        }
        for (i64 i = t; i < k; i += kThreads) {
            indices[row * k + i] = place[i];
            values[row * k + i] = x[row * n + place[i]];
        }
        __syncthreads();
    }
}
