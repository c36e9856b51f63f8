// SPDX-License-Identifier: Apache-2.0
//
// Random numbers by counter: element i depends on (seed, offset, i) and on nothing else.
#include "../pool.h"
#include "../structured.h"
#include "philox.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

constexpr int kGroup = 4 * kF32;  // lanes of kF32 blocks

// fill(blocks, element, count): elements [element, element + count), `per_block` of them a block, starting at lane 0 of
// the first block given.
template <int per_block, class Fill>
void for_blocks(int64_t seed, int64_t offset, int64_t n, Fill&& fill) {
    constexpr int64_t group = per_block * kF32;
    parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i += group) {
            const PhiloxBlocks blocks = philox(static_cast<uint64_t>(seed),
                                               static_cast<uint64_t>(offset) + static_cast<uint64_t>(i / per_block));
            fill(blocks, i, static_cast<int>(least(group, end - i)));
        }
    });
}

// fn(lane, i) for every element that takes one lane.
template <class F>
void each_lane(int64_t seed, int64_t offset, int64_t n, F&& fn) {
    for_blocks<4>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
        uint32_t lanes[kGroup];
        in_order(blocks.lane, lanes);
        if (count == kGroup) {  // a constant trip count, for the vectoriser
            MERAPI_IVDEP for (int j = 0; j < kGroup; j++) fn(lanes[j], i + j);
        } else {
            for (int j = 0; j < count; j++) fn(lanes[j], i + j);
        }
    });
}

uint64_t pair_at(const uint32_t* lanes) { return uint64_t{lanes[0]} << 32 | lanes[1]; }

// fn(bits, i) for every element that takes two lanes: the first is the high word.
template <class F>
void each_pair(int64_t seed, int64_t offset, int64_t n, F&& fn) {
    for_blocks<2>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
        uint32_t lanes[kGroup];
        in_order(blocks.lane, lanes);
        for (int j = 0; j < count; j++) fn(pair_at(lanes + 2 * j), i + j);
    });
}

__extension__ typedef unsigned __int128 Wide;
// Which lanes are kept: those from the threshold on; none where it is 2^32.
struct Threshold {
    uint32_t limit;
    bool none;
    explicit Threshold(int64_t threshold) : limit(static_cast<uint32_t>(threshold)), none(threshold > 0xffffffffll) {}
    bool operator()(uint32_t lane) const { return (lane >= limit) & !none; }
};

uint64_t high_product(uint64_t a, uint64_t b) { return static_cast<uint64_t>(static_cast<Wide>(a) * b >> 64); }

template <class T>
void integers(int64_t seed, int64_t offset, int64_t n, uint64_t low, uint64_t range, T* out) {
    if (range != 0 && range < uint64_t{1} << 32) {
        each_lane(seed, offset, n,
                  [=](uint32_t lane, int64_t i) { out[i] = static_cast<T>(low + (lane * range >> 32)); });
    } else {
        each_pair(seed, offset, n, [=](uint64_t x, int64_t i) {
            out[i] = static_cast<T>(low + (range == 0 ? x : high_product(x, range)));
        });
    }
}

// low + span * u in float, where u has as many bits as the type holds.
template <class S>
void uniforms(int64_t seed, int64_t offset, int64_t n, double low, double span, int shift, float unit, S* out) {
    const f32v from = splat(static_cast<float>(low)), width = splat(static_cast<float>(span));
    for_blocks<4>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
        uint32_t lanes[kGroup];
        in_order(blocks.lane, lanes);
        map_row<S>(count, [&](int64_t j, int n_lanes) {
            const i32v number = (i32v)((u32v)load(reinterpret_cast<const int32_t*>(lanes) + j) >> shift);
            put(out + i + j, from + width * (to_f32(number) * splat(unit)), n_lanes);
        });
    });
}

template <class S>
void normals(int64_t seed, int64_t offset, int64_t n, float mean, float deviation, S* out) {
    for_blocks<4>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
        u32v value[4];
        for (int pair = 0; pair < 2; pair++) {
            const NormalPair z = normal_pair(blocks.lane[2 * pair], blocks.lane[2 * pair + 1]);
            value[2 * pair] = bits<u32v>(splat(mean) + splat(deviation) * z.first);
            value[2 * pair + 1] = bits<u32v>(splat(mean) + splat(deviation) * z.second);
        }
        float tile[kGroup];
        in_order(value, reinterpret_cast<uint32_t*>(tile));
        map_row<S>(count, [&](int64_t j, int lanes) { put(out + i + j, vload(tile + j), lanes); });
    });
}

void normals(int64_t seed, int64_t offset, int64_t n, double mean, double deviation, double* out) {
    for_blocks<2>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
        double tile[2 * kF32];
        uint32_t lanes[kGroup];
        in_order(blocks.lane, lanes);
        for (int half = 0; half < kF32; half += kF64) {
            u64v a, b;
            for (int k = 0; k < kF64; k++) {
                a[k] = pair_at(lanes + 4 * (half + k));
                b[k] = pair_at(lanes + 4 * (half + k) + 2);
            }
            NormalPairF64 z = normal_pair(a, b);
            f64v first = splat(mean) + splat(deviation) * z.first, second = splat(mean) + splat(deviation) * z.second;
            for (int k = 0; k < kF64; k++) {
                tile[2 * (half + k)] = first[k];
                tile[2 * (half + k) + 1] = second[k];
            }
        }
        std::memcpy(static_cast<void*>(out + i), tile, static_cast<size_t>(count) * sizeof(double));
    });
}

}  // namespace

void random_bits(int64_t seed, int64_t offset, int64_t n, int64_t out) {
    uint32_t* p = at<uint32_t>(out);
    each_lane(seed, offset, n, [=](uint32_t lane, int64_t i) { p[i] = lane; });
}

void random_uniform(int dtype, int64_t seed, int64_t offset, int64_t n, double low, double high, int64_t out) {
    const double span = high - low;
    switch (storage_of(dtype)) {
        case Storage::f32:
            uniforms(seed, offset, n, low, span, 8, 0x1p-24f, at<float>(out));
            break;
        case Storage::f64: {
            double* p = at<double>(out);
            each_pair(seed, offset, n, [=](uint64_t x, int64_t i) {
                p[i] = low + span * (static_cast<double>(static_cast<int64_t>(x >> 11)) * 0x1p-53);
            });
            break;
        }
        case Storage::f16:
            uniforms(seed, offset, n, low, span, 21, 0x1p-11f, at<f16>(out));
            break;
        case Storage::bf16:
            uniforms(seed, offset, n, low, span, 24, 0x1p-8f, at<bf16>(out));
            break;
        default:
            break;
    }
}

void random_normal(int dtype, int64_t seed, int64_t offset, int64_t n, double mean, double deviation, int64_t out) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        normals(seed, offset, n, static_cast<C>(mean), static_cast<C>(deviation), at<S>(out));
    });
}

void random_integers(int dtype, int64_t seed, int64_t offset, int64_t n, int64_t low, int64_t range, int64_t out) {
    const uint64_t from = static_cast<uint64_t>(low), span = static_cast<uint64_t>(range);
    switch (storage_of(dtype)) {
        case Storage::i16:
            integers(seed, offset, n, from, span, at<int16_t>(out));
            break;
        case Storage::i32:
            integers(seed, offset, n, from, span, at<int32_t>(out));
            break;
        case Storage::i64:
            integers(seed, offset, n, from, span, at<int64_t>(out));
            break;
        case Storage::u8:
        case Storage::i8:
        case Storage::boolean:
            integers(seed, offset, n, from, span, at<uint8_t>(out));
            break;
        default:
            break;
    }
}

void random_mask(int64_t seed, int64_t offset, int64_t n, int64_t threshold, int64_t out) {
    uint8_t* p = at<uint8_t>(out);
    const Threshold keep(threshold);
    each_lane(seed, offset, n, [=](uint32_t lane, int64_t i) { p[i] = keep(lane); });
}

void dropout(int dtype, int64_t x, int64_t seed, int64_t offset, int64_t n, int64_t threshold, double scale, int64_t y,
             int64_t mask) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const S* from = at<const S>(x);
        S* to = at<S>(y);
        uint8_t* kept = at<uint8_t>(mask);
        const auto factor = splat(static_cast<C>(scale));
        const Threshold keep(threshold);
        for_blocks<4>(seed, offset, n, [&](const PhiloxBlocks& blocks, int64_t i, int count) {
            uint32_t lanes[kGroup];
            uint8_t mask_bytes[kGroup];
            C keep_bits[kGroup];
            in_order(blocks.lane, lanes);
            for (int j = 0; j < kGroup; j++) mask_bytes[j] = keep(lanes[j]);
            for (int j = 0; j < kGroup; j++) keep_bits[j] = static_cast<C>(static_cast<int32_t>(keep(lanes[j])));
            std::memcpy(kept + i, mask_bytes, static_cast<size_t>(count));
            map_row<S>(count, [&](int64_t j, int n_lanes) {
                // Not a product with 0: dropped infinities and NaNs are gone.
                put(to + i + j,
                    select(vload(keep_bits + j) == splat(C(0)), splat(C(0)), pick(from + i + j, n_lanes) * factor),
                    n_lanes);
            });
        });
    });
}

void dropout_backward(int dtype, int64_t grad, int64_t mask, int64_t n, double scale, int64_t dx) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const S* g = at<const S>(grad);
        S* to = at<S>(dx);
        const uint8_t* kept = at<const uint8_t>(mask);
        const C factor = static_cast<C>(scale);
        parallel_for(n, kGrain, [=](int64_t begin, int64_t end) {
            MERAPI_IVDEP for (int64_t i = begin; i < end; i++) {
                narrow_one(to + i, kept[i] != 0 ? widen_one(g[i]) * factor : C(0));
            }
        });
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
