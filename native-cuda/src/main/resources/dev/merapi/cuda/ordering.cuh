// SPDX-License-Identifier: Apache-2.0
// The order of rows. `T` is the storage of the elements.

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
MERAPI_F u32 order(i8 x) { return u8(x) ^ 0x80u; }
MERAPI_F u32 order(i16 x) { return u32(x) & 0xffffu ^ 0x8000u; }
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

MERAPI_F Key key_of(T x, int largest) { return largest ? ~order(x) : order(x); }
}  // namespace ordering

// values, indices [rows, k] of x [rows, n]: a block for each row, of at most as many elements as it holds, EACH a
// thread.
extern "C" __global__ void __launch_bounds__(256)
    topk(const T* x, T* values, long long* indices, long long rows, long long n, long long k, int largest) {
    using namespace ordering;
    __shared__ Tile<EACH, Key> tile;
    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        Key key[EACH];
        u32 place[EACH], to[EACH];
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            // Behind the end the largest: they stay behind all others.
            place[e] = number<EACH>(e);
            key[e] = place[e] < n ? key_of(x[row * n + place[e]], largest) : ~Key(0);
        }
#pragma unroll 1
        for (int shift = 0; shift < int(sizeof(T)) * 8; shift += kBits) {
            tile.rank(key, shift, to);
            tile.exchange(key, to);
            tile.exchange(place, to);
        }
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            const i64 i = number<EACH>(e);
            if (i >= k) continue;
            indices[row * k + i] = place[e];
            values[row * k + i] = x[row * n + place[e]];
        }
    }
}

// Of longer rows, before they are sorted and after.
extern "C" __global__ void keys_of(const T* x, void* keys, long long count, int largest) {
    using namespace ordering;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (i64)gridDim.x * blockDim.x)
        ((Key*)keys)[i] = key_of(x[i], largest);
}

// places [count]: how many of the n elements of a row of `sorted` are less than values[e], or not more (right); the row is
// e / each.
extern "C" __global__ void search_sorted(const T* sorted, const T* values, long long* places, long long count,
                                         long long n, long long each, int right) {
    using namespace ordering;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < count; e += (i64)gridDim.x * blockDim.x) {
        const T* const row = sorted + e / each * n;
        const Key value = order(values[e]);
        i64 low = 0, high = n;
        while (low < high) {
            const i64 middle = low + (high - low) / 2;
            const Key key = order(row[middle]);
            if (key < value || (right && key == value))
                low = middle + 1;
            else
                high = middle;
        }
        places[e] = low;
    }
}

extern "C" __global__ void first_of(const T* x, const unsigned int* places, T* values, long long* indices,
                                    long long rows, long long n, long long k) {
    using namespace ordering;
    for (i64 e = (i64)blockIdx.x * blockDim.x + threadIdx.x; e < rows * k; e += (i64)gridDim.x * blockDim.x) {
        const i64 row = e / k;
        const u32 place = places[row * n + e - row * k];
        indices[e] = place;
        values[e] = x[row * n + place];
    }
}
