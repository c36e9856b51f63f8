// SPDX-License-Identifier: Apache-2.0
//
// What sums of every number type are kept in, for kernels that add one by one.
#pragma once

#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {

// Sums are kept in T, which is the compute type for floats and the type itself for integers.
template <class S>
struct Sum {
    using T = ComputeOf<S>;
    static T get(const S* p) { return widen_one(*p); }
    static void set(S* p, T x) { narrow_one(p, x); }
};
template <class S>
struct IntegerSum {
    using T = uint64_t;  // wraps
    static T get(const S* p) { return static_cast<T>(*p); }
    static void set(S* p, T x) { *p = static_cast<S>(x); }
};
template <>
struct Sum<uint8_t> : IntegerSum<uint8_t> {};
template <>
struct Sum<int8_t> : IntegerSum<int8_t> {};
template <>
struct Sum<int16_t> : IntegerSum<int16_t> {};
template <>
struct Sum<int32_t> : IntegerSum<int32_t> {};
template <>
struct Sum<int64_t> : IntegerSum<int64_t> {};

template <bool first, class A, class B>
struct Pick {
    using type = A;
};
template <class A, class B>
struct Pick<false, A, B> {
    using type = B;
};
template <class S>
constexpr bool is_float = same_type<S, float> || same_type<S, double> || same_type<S, f16> || same_type<S, bf16>;

template <class F>
MERAPI_INLINE void with_number(int dtype, F&& fn) {
    switch (storage_of(dtype)) {
        case Storage::u8:
            fn(Tag<uint8_t>{});
            break;
        case Storage::i8:
            fn(Tag<int8_t>{});
            break;
        case Storage::i16:
            fn(Tag<int16_t>{});
            break;
        case Storage::i32:
            fn(Tag<int32_t>{});
            break;
        case Storage::i64:
            fn(Tag<int64_t>{});
            break;
        default:
            with_float(dtype, fn);
            break;
    }
}

}  // namespace MERAPI_ISA
}  // namespace merapi
