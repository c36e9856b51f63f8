// SPDX-License-Identifier: Apache-2.0
//
// Copies by index, and the orders and positions that need no arithmetic: sort, topk, nonzero.
#include <algorithm>
#include <cstring>

#include "dtypes.h"
#include "indices.h"
#include "merapi_kernels.h"
#include "pool.h"
#include "scratch.h"

namespace merapi {
namespace {

template <class T>
T* at(int64_t address) {
    return reinterpret_cast<T*>(address);
}

// fn(const I* indices) with I int32_t or int64_t.
template <class F>
void with_index(int index_dtype, int64_t indices, F&& fn) {
    if (storage_of(index_dtype) == Storage::i32) {
        fn(at<const int32_t>(indices));
    } else {
        fn(at<const int64_t>(indices));
    }
}
template <class F>
void with_size(int element_size, F&& fn) {
    switch (element_size) {
        case 1:
            fn(uint8_t{});
            break;
        case 2:
            fn(uint16_t{});
            break;
        case 4:
            fn(uint32_t{});
            break;
        case 8:
            fn(uint64_t{});
            break;
        default:
            break;
    }
}
int64_t grain_of(int64_t work) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, work)); }

// ---- sorting --------------------------------------------------------------------------------------------------------

// An unsigned number that orders as the element does; every NaN is the largest.
uint32_t order_key(float, uint32_t u) {
    if ((u & 0x7fffffffu) > 0x7f800000u) return 0xffffffffu;
    if (u == 0x80000000u) u = 0;  // -0 equals 0
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}
uint64_t order_key(double, uint64_t u) {
    if ((u & 0x7fffffffffffffffu) > 0x7ff0000000000000u) return ~uint64_t{0};
    if (u == uint64_t{1} << 63) u = 0;
    return u >> 63 ? ~u : u | uint64_t{1} << 63;
}
uint32_t small_key(uint32_t u, uint32_t infinity) {
    if ((u & 0x7fffu) > infinity) return 0xffffu;
    if (u == 0x8000u) u = 0;
    return u & 0x8000u ? ~u & 0xffffu : u | 0x8000u;
}
template <Storage S>
uint64_t key_of(const void* x, int64_t i) {
    switch (S) {
        case Storage::f32:
            return order_key(float{}, static_cast<const uint32_t*>(x)[i]);
        case Storage::f64:
            return order_key(double{}, static_cast<const uint64_t*>(x)[i]);
        case Storage::f16:
            return small_key(static_cast<const uint16_t*>(x)[i], 0x7c00u);
        case Storage::bf16:
            return small_key(static_cast<const uint16_t*>(x)[i], 0x7f80u);
        case Storage::i8:
            return static_cast<const uint8_t*>(x)[i] ^ 0x80u;
        case Storage::i16:
            return static_cast<const uint16_t*>(x)[i] ^ 0x8000u;
        case Storage::i32:
            return static_cast<const uint32_t*>(x)[i] ^ 0x80000000u;
        case Storage::i64:
            return static_cast<const uint64_t*>(x)[i] ^ (uint64_t{1} << 63);
        default:
            return static_cast<const uint8_t*>(x)[i];
    }
}

// fn(uint64_t key(const void* x, int64_t i)), compiled for each dtype.
template <class F>
void with_key(int dtype, F&& fn) {
    switch (storage_of(dtype)) {
#define MERAPI_ROW(id, name, bytes, reg, converts)                                     \
    case Storage::id:                                                                  \
        fn([](const void* x, int64_t i) { return key_of<Storage::id>(x, i); });        \
        break;
        MERAPI_STORAGES(MERAPI_ROW)
#undef MERAPI_ROW
    }
}

struct Keyed {
    uint64_t key;
    int64_t index;
};
bool before(const Keyed& a, const Keyed& b) { return a.key != b.key ? a.key < b.key : a.index < b.index; }

// The first k of each row in order. Descending order is ascending order of the inverted key: equals keep their order.
void order_rows(int dtype, int64_t x, int64_t rows, int64_t n, int64_t k, bool descending, int64_t values,
                int64_t indices) {
    const int size = storage_size(storage_of(dtype));
    parallel_for(rows, grain_of(n * 8), [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        Keyed* keyed = static_cast<Keyed*>(scratch_take(static_cast<size_t>(n) * sizeof(Keyed)));
        for (int64_t r = begin; r < end; r++) {
            const char* row = at<const char>(x) + r * n * size;
            with_key(dtype, [&](auto key) {
                for (int64_t i = 0; i < n; i++) keyed[i] = {descending ? ~key(row, i) : key(row, i), i};
            });
            if (k < n) {
                std::nth_element(keyed, keyed + k, keyed + n, before);
            }
            std::sort(keyed, keyed + k, before);
            for (int64_t i = 0; i < k; i++) {
                if (indices != 0) at<int64_t>(indices)[r * k + i] = keyed[i].index;
                if (values != 0) std::memcpy(at<char>(values) + (r * k + i) * size, row + keyed[i].index * size, size);
            }
        }
    });
}

bool is_nonzero(int dtype, const void* x, int64_t i) {
    switch (storage_of(dtype)) {
        case Storage::f32:
            return (static_cast<const uint32_t*>(x)[i] & 0x7fffffffu) != 0;
        case Storage::f64:
            return (static_cast<const uint64_t*>(x)[i] & 0x7fffffffffffffffu) != 0;
        case Storage::f16:
        case Storage::bf16:
            return (static_cast<const uint16_t*>(x)[i] & 0x7fffu) != 0;
        case Storage::i16:
            return static_cast<const uint16_t*>(x)[i] != 0;
        case Storage::i32:
            return static_cast<const uint32_t*>(x)[i] != 0;
        case Storage::i64:
            return static_cast<const uint64_t*>(x)[i] != 0;
        default:
            return static_cast<const uint8_t*>(x)[i] != 0;
    }
}

}  // namespace

namespace abi {

int64_t check_indices(int index_dtype, int64_t indices, int64_t count, int64_t size) {
    int64_t bad = -1;
    with_index(index_dtype, indices, [&](auto* index) {
        // Blocks without an exit inside, so that the common case is a vector loop.
        for (int64_t block = 0; block < count && bad < 0; block += 1024) {
            int64_t end = std::min(count, block + 1024);
            bool wrong = false;
            for (int64_t i = block; i < end; i++) wrong |= index[i] < -size || index[i] >= size;
            // It may have been put right since: then it is not found again, and kernels look for themselves.
            for (int64_t i = block; wrong && bad < 0 && i < end; i++) {
                if (index[i] < -size || index[i] >= size) bad = i;
            }
        }
    });
    return bad;
}

int64_t index_select(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                     int64_t inner, int64_t k, int64_t out) {
    Outside outside;
    with_index(index_dtype, indices, [&](auto* index) {
        if (inner == 1) {
            with_size(element_size, [&](auto zero) {
                using T = decltype(zero);
                parallel_for(outer * k, kGrain, [&](int64_t begin, int64_t end) {
                    for (int64_t t = begin; t < end; t++) {
                        const int64_t i = index_once(index, t % k, dim, outside);
                        at<T>(out)[t] = i < 0 ? T{0} : at<const T>(x)[t / k * dim + i];
                    }
                });
            });
            return;
        }
        const int64_t bytes = inner * element_size;
        parallel_for(outer * k, grain_of(inner), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) {
                char* to = at<char>(out) + t * bytes;
                const int64_t i = index_once(index, t % k, dim, outside);
                if (i < 0) {
                    std::memset(to, 0, static_cast<size_t>(bytes));
                } else {
                    std::memcpy(to, at<const char>(x) + (t / k * dim + i) * bytes, static_cast<size_t>(bytes));
                }
            }
        });
    });
    return outside.position();
}

int64_t gather(int element_size, int64_t x, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
               int64_t k, int64_t out) {
    Outside outside;
    with_index(index_dtype, indices, [&](auto* index) {
        with_size(element_size, [&](auto zero) {
            using T = decltype(zero);
            parallel_for(outer * k, grain_of(inner), [&](int64_t begin, int64_t end) {
                for (int64_t t = begin; t < end; t++) {
                    const T* from = at<const T>(x) + t / k * dim * inner;
                    for (int64_t i = 0; i < inner; i++) {
                        const int64_t j = index_once(index, t * inner + i, dim, outside);
                        at<T>(out)[t * inner + i] = j < 0 ? T{0} : from[j * inner + i];
                    }
                }
            });
        });
    });
    return outside.position();
}

int64_t scatter(int element_size, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                int64_t inner, int64_t k, int64_t out) {
    Outside outside;
    with_index(index_dtype, indices, [&](auto* index) {
        with_size(element_size, [&](auto zero) {
            using T = decltype(zero);
            // The order of j decides who wins, so an outer entry is one thread's.
            parallel_for(outer, grain_of(k * inner), [&](int64_t begin, int64_t end) {
                for (int64_t t = begin * k; t < end * k; t++) {
                    T* to = at<T>(out) + t / k * dim * inner;
                    for (int64_t i = 0; i < inner; i++) {
                        const int64_t j = index_once(index, t * inner + i, dim, outside);
                        if (j >= 0) to[j * inner + i] = at<const T>(src)[t * inner + i];
                    }
                }
            });
        });
    });
    return outside.position();
}

int64_t index_copy(int element_size, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                   int64_t inner, int64_t k, int64_t out) {
    Outside outside;
    with_index(index_dtype, indices, [&](auto* index) {
        // The order of j decides who wins, so a piece of the rows is one thread's.
        const int64_t bytes = inner * element_size, piece = 1024, pieces = std::max<int64_t>(1, (bytes + piece - 1) / piece);
        parallel_for(outer * pieces, grain_of(k * std::min(inner, piece)), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) {
                const int64_t o = t / pieces, first = t % pieces * piece, size = std::min(piece, bytes - first);
                const char* from = at<const char>(src) + o * k * bytes + first;
                char* to = at<char>(out) + o * dim * bytes + first;
                for (int64_t j = 0; j < k; j++) {
                    const int64_t i = index_once(index, j, dim, outside);
                    if (i >= 0) std::memcpy(to + i * bytes, from + j * bytes, static_cast<size_t>(size));
                }
            }
        });
    });
    return outside.position();
}

void search_sorted(int dtype, int64_t sorted, int64_t values, int64_t count, int64_t n, int64_t each, int right,
                   int64_t out) {
    const int size = storage_size(storage_of(dtype));
    with_key(dtype, [&](auto key) {
        parallel_for(count, grain_of(64), [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) {
                const char* row = at<const char>(sorted) + t / each * n * size;
                const uint64_t value = key(at<const char>(values), t);
                int64_t low = 0, high = n;
                while (low < high) {
                    const int64_t middle = low + (high - low) / 2;
                    const uint64_t at_middle = key(row, middle);
                    if (at_middle < value || (right != 0 && at_middle == value)) {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                at<int64_t>(out)[t] = low;
            }
        });
    });
}

void sort(int dtype, int64_t x, int64_t rows, int64_t n, int descending, int64_t values, int64_t indices) {
    order_rows(dtype, x, rows, n, n, descending != 0, values, indices);
}

void topk(int dtype, int64_t x, int64_t rows, int64_t n, int64_t k, int largest, int64_t values, int64_t indices) {
    order_rows(dtype, x, rows, n, std::min(k, n), largest != 0, values, indices);
}

int64_t nonzero_count(int dtype, int64_t x, int64_t n) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += is_nonzero(dtype, at<const void>(x), i);
    return count;
}

void nonzero(int dtype, int64_t x, int64_t ndim, int64_t shape, int64_t out) {
    const int64_t* size = at<const int64_t>(shape);
    int64_t n = 1;
    for (int64_t d = 0; d < ndim; d++) n *= size[d];
    int64_t* to = at<int64_t>(out);
    for (int64_t i = 0; i < n; i++) {
        if (!is_nonzero(dtype, at<const void>(x), i)) continue;
        int64_t rest = i;
        for (int64_t d = ndim - 1; d >= 0; d--) {
            to[d] = rest % size[d];
            rest /= size[d];
        }
        to += ndim;
    }
}

}  // namespace abi
}  // namespace merapi
