// SPDX-License-Identifier: Apache-2.0
//
// Opcodes on integers and booleans, comparisons, selections and casts. Integer arithmetic wraps, and division by zero
// is defined (0): a SIGFPE would take the whole process along.
#include "loops.h"

namespace merapi {
namespace MERAPI_ISA {

namespace {

template <class T>
struct UnsignedOf;
template <>
struct UnsignedOf<int32_t> {
    using type = uint32_t;
};
template <>
struct UnsignedOf<int64_t> {
    using type = uint64_t;
};
#define MERAPI_WRAP(T, op) \
    static_cast<T>(static_cast<typename UnsignedOf<T>::type>(x) op static_cast<typename UnsignedOf<T>::type>(y))

template <class T>
MERAPI_INLINE T neg_of(T x) {
    using U = typename UnsignedOf<T>::type;
    return static_cast<T>(U(0) - static_cast<U>(x));
}
template <class T>
MERAPI_INLINE T mul_of(T x, T y) {
    return MERAPI_WRAP(T, *);
}
template <class T>
MERAPI_INLINE T truncdiv_of(T x, T y) {
    return y == 0 ? 0 : (y == -1 ? neg_of(x) : x / y);
}
template <class T>
MERAPI_INLINE T fmod_of(T x, T y) {
    return y == 0 || y == -1 ? 0 : x % y;
}
template <class T>
MERAPI_INLINE T floordiv_of(T x, T y) {
    if (y == 0) return 0;
    if (y == -1) return neg_of(x);
    T q = x / y;
    return x % y != 0 && ((x < 0) != (y < 0)) ? q - 1 : q;
}
template <class T>
MERAPI_INLINE T rem_of(T x, T y) {
    T m = fmod_of(x, y);
    return m != 0 && ((m < 0) != (y < 0)) ? m + y : m;
}
template <class T>
MERAPI_INLINE T pow_of(T x, T y) {
    if (y < 0) return x == 1 ? 1 : (x == -1 ? ((y & 1) != 0 ? -1 : 1) : 0);
    T result = 1;
    for (;;) {
        if ((y & 1) != 0) result = mul_of(result, x);
        y >>= 1;
        if (y == 0) return result;
        x = mul_of(x, x);
    }
}
template <class T>
MERAPI_INLINE T shl_of(T x, T y) {
    using U = typename UnsignedOf<T>::type;
    constexpr T width = sizeof(T) * 8;
    return y < 0 || y >= width ? 0 : static_cast<T>(static_cast<U>(x) << (y & (width - 1)));
}
template <class T>
MERAPI_INLINE T shr_of(T x, T y) {
    constexpr T width = sizeof(T) * 8;
    return y < 0 || y >= width ? (x < 0 ? -1 : 0) : x >> (y & (width - 1));
}

// NaN gives 0, and what doesn't fit saturates. The bounds are exact in F.
template <class I, class F>
MERAPI_INLINE I saturate(F x) {
    constexpr F low = sizeof(I) == 4 ? F(-2147483648.0) : F(-9223372036854775808.0);
    constexpr I max = sizeof(I) == 4 ? I(0x7fffffff) : I(0x7fffffffffffffff);
    constexpr I min = -max - 1;
    F inside = x >= low && x < -low ? x : F(0);
    I r = static_cast<I>(inside);
    r = x >= -low ? max : r;
    return x < low ? min : r;
}

template <class T>
void select_loop(void* d, const void* a, const void* b, const void* c, int64_t n) {
    T* dp = static_cast<T*>(d);
    const uint8_t* ap = static_cast<const uint8_t*>(a);
    const T *bp = static_cast<const T*>(b), *cp = static_cast<const T*>(c);
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) {
        T x = bp[i], y = cp[i];
        dp[i] = ap[i] ? x : y;
    }
}

#define MERAPI_COMPARE_OPS(T)                                                                      \
    MERAPI_BINARY("eq", T, uint8_t, x == y), MERAPI_BINARY("ne", T, uint8_t, x != y),              \
        MERAPI_BINARY("lt", T, uint8_t, x < y), MERAPI_BINARY("le", T, uint8_t, x <= y),           \
        MERAPI_BINARY("gt", T, uint8_t, x > y), MERAPI_BINARY("ge", T, uint8_t, x >= y), OpEntry { \
        "select", RegOf<T>::value, RegOf<T>::value, 3, select_loop<T>                              \
    }

#define MERAPI_INT_OPS(T)                                                                                      \
    MERAPI_UNARY("neg", T, T, neg_of(x)), MERAPI_UNARY("abs", T, T, x < 0 ? neg_of(x) : x),                    \
        MERAPI_UNARY("sign", T, T, (x > 0) - (x < 0)), MERAPI_UNARY("bitnot", T, T, ~x),                       \
        MERAPI_UNARY("square", T, T, mul_of(x, x)), MERAPI_UNARY("relu", T, T, x > 0 ? x : 0),                 \
        MERAPI_BINARY("add", T, T, MERAPI_WRAP(T, +)), MERAPI_BINARY("sub", T, T, MERAPI_WRAP(T, -)),          \
        MERAPI_BINARY("mul", T, T, MERAPI_WRAP(T, *)), MERAPI_BINARY("floordiv", T, T, floordiv_of(x, y)),     \
        MERAPI_BINARY("truncdiv", T, T, truncdiv_of(x, y)), MERAPI_BINARY("rem", T, T, rem_of(x, y)),          \
        MERAPI_BINARY("fmod", T, T, fmod_of(x, y)), MERAPI_BINARY("min", T, T, x < y ? x : y),                 \
        MERAPI_BINARY("max", T, T, x > y ? x : y), MERAPI_BINARY("pow", T, T, pow_of(x, y)),                   \
        MERAPI_BINARY("and", T, T, x& y), MERAPI_BINARY("or", T, T, x | y), MERAPI_BINARY("xor", T, T, x ^ y), \
        MERAPI_BINARY("shl", T, T, shl_of(x, y)), MERAPI_BINARY("shr", T, T, shr_of(x, y))

#define MERAPI_PLAIN_CAST(From, To, name) MERAPI_UNARY("cast." name, From, To, static_cast<To>(x))

}  // namespace

extern const OpEntry kIntOps[];
const OpEntry kIntOps[] = {
    MERAPI_INT_OPS(int32_t),
    MERAPI_INT_OPS(int64_t),
    MERAPI_UNARY("wrapu8", int32_t, int32_t, x & 0xff),
    MERAPI_UNARY("wrapi8", int32_t, int32_t, static_cast<int8_t>(x)),
    MERAPI_UNARY("wrapi16", int32_t, int32_t, static_cast<int16_t>(x)),
    MERAPI_UNARY("not", uint8_t, uint8_t, x == 0),
    MERAPI_BINARY("and", uint8_t, uint8_t, x& y),
    MERAPI_BINARY("or", uint8_t, uint8_t, x | y),
    MERAPI_BINARY("xor", uint8_t, uint8_t, x ^ y),
    MERAPI_COMPARE_OPS(float),
    MERAPI_COMPARE_OPS(double),
    MERAPI_COMPARE_OPS(int32_t),
    MERAPI_COMPARE_OPS(int64_t),
    MERAPI_COMPARE_OPS(uint8_t),
    OpEntry{nullptr, Reg::f32, Reg::f32, 0, nullptr},
};

extern const OpEntry kCastOps[];
const OpEntry kCastOps[] = {
    MERAPI_PLAIN_CAST(float, float, "f32"),
    MERAPI_PLAIN_CAST(float, double, "f64"),
    MERAPI_UNARY("cast.i32", float, int32_t, (saturate<int32_t, float>(x))),
    MERAPI_UNARY("cast.i64", float, int64_t, (saturate<int64_t, float>(x))),
    MERAPI_UNARY("cast.bool", float, uint8_t, x != 0),
    MERAPI_PLAIN_CAST(double, float, "f32"),
    MERAPI_PLAIN_CAST(double, double, "f64"),
    MERAPI_UNARY("cast.i32", double, int32_t, (saturate<int32_t, double>(x))),
    MERAPI_UNARY("cast.i64", double, int64_t, (saturate<int64_t, double>(x))),
    MERAPI_UNARY("cast.bool", double, uint8_t, x != 0),
    MERAPI_PLAIN_CAST(int32_t, float, "f32"),
    MERAPI_PLAIN_CAST(int32_t, double, "f64"),
    MERAPI_PLAIN_CAST(int32_t, int32_t, "i32"),
    MERAPI_PLAIN_CAST(int32_t, int64_t, "i64"),
    MERAPI_UNARY("cast.bool", int32_t, uint8_t, x != 0),
    MERAPI_PLAIN_CAST(int64_t, float, "f32"),
    MERAPI_PLAIN_CAST(int64_t, double, "f64"),
    MERAPI_PLAIN_CAST(int64_t, int32_t, "i32"),
    MERAPI_PLAIN_CAST(int64_t, int64_t, "i64"),
    MERAPI_UNARY("cast.bool", int64_t, uint8_t, x != 0),
    MERAPI_PLAIN_CAST(uint8_t, float, "f32"),
    MERAPI_PLAIN_CAST(uint8_t, double, "f64"),
    MERAPI_PLAIN_CAST(uint8_t, int32_t, "i32"),
    MERAPI_PLAIN_CAST(uint8_t, int64_t, "i64"),
    MERAPI_PLAIN_CAST(uint8_t, uint8_t, "bool"),
    OpEntry{nullptr, Reg::f32, Reg::f32, 0, nullptr},
};

}  // namespace MERAPI_ISA
}  // namespace merapi
