// SPDX-License-Identifier: Apache-2.0
// What printed and hand-written kernels stand on. Includes nothing: no header is on a user's machine. Where an
// instruction has no C++ form, the device gets inline PTX and the simulator a body of its own.
// What C's headers have and kernels expect: in the simulator from there, on a device from here, where no header is.
#ifndef CUDASIM
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
#endif
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
#ifndef FLT_MAX
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define DBL_MAX 1.7976931348623158e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-16
#endif
#ifndef INT_MAX
#define INT_MAX 2147483647
#define INT_MIN (-2147483647 - 1)
#define UINT_MAX 0xffffffffu
#define LLONG_MAX 9223372036854775807ll
#define LLONG_MIN (-9223372036854775807ll - 1)
#endif
#ifndef M_PI
#define M_PI 3.14159265358979323846
#endif

namespace merapi {

typedef long long i64;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;
typedef signed char i8;
typedef short i16;

// Storage of the dtypes that C++ has no type for.
struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};
struct b8 {
    unsigned char bits;
};

template <class T, int N>
struct __align__((sizeof(T) * N < 16 ? sizeof(T) * N : 16)) Pack {
    T v[N];
};

#define MERAPI_F __device__ __forceinline__

// ---------------------------------------------------------------- what kernels tell the host

// Where, and which op is asking: a word of the struct of the arguments each.
struct Fault {
    i64* record;
    i64 op;
};

MERAPI_F float not_a_number() { return __uint_as_float(0x7fc00000u); }

// An index is out of range. The first thread that comes tells; IndexFaults reads it, on the host.
__device__ __noinline__ void outside(Fault fault, i64 index, i64 position, i64 size, i64 ignored) {
    if (fault.record == 0 || *(volatile i64*)fault.record != 0) return;
    if (atomicCAS((u64*)fault.record, 0ull, 1ull) != 0) return;
    volatile i64* word = fault.record;
    word[2] = fault.op;
    word[3] = index;
    word[4] = position;
    word[5] = size;
    word[6] = ignored;
    __threadfence_system();
    word[1] = 1;
}

// ---------------------------------------------------------------- conversions of 16-bit floats
#ifdef CUDASIM
MERAPI_F float f16_to_f32(unsigned short h) {
    u32 sign = u32(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
    return __uint_as_float(sign | (exponent == 31  ? 0x7f800000u | fraction << 13
                                   : exponent != 0 ? (exponent + 112) << 23 | fraction << 13
                                                   : __float_as_uint(float(fraction) * 5.9604645e-8f)));
}
MERAPI_F unsigned short f32_to_f16(float f) {
    u32 u = __float_as_uint(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
    if (a > 0x7f800000) return 0x7fff;
    if (a >= 0x477ff000) return (unsigned short)(sign | 0x7c00);
    // Below the smallest normal number the adder rounds.
    if (a < 0x38800000) return (unsigned short)(sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000));
    a -= 0x38000000;
    return (unsigned short)(sign | (a + 0xfff + (a >> 13 & 1)) >> 13);
}
MERAPI_F unsigned short f32_to_bf16(float f) {
    u32 u = __float_as_uint(f);
    return f != f ? 0x7fff : (unsigned short)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
#else
MERAPI_F float f16_to_f32(unsigned short h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
    return f;
}
MERAPI_F unsigned short f32_to_f16(float f) {
    unsigned short h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}
MERAPI_F unsigned short f32_to_bf16(float f) {
    unsigned short h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
    return h;
}
#endif

// ---------------------------------------------------------------- quick functions
// 2^x to 2 units in the last place and 1/x to 1, in one instruction each: numbers below the smallest normal one are 0.
#ifdef CUDASIM
MERAPI_F float flushed(float x) { return fabsf(x) < 1.17549435e-38f ? copysignf(0.0f, x) : x; }
MERAPI_F float quick_exp2(float x) { return flushed(exp2f(flushed(x))); }
MERAPI_F float quick_reciprocal(float x) { return flushed(1 / flushed(x)); }
#else
MERAPI_F float quick_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
MERAPI_F float quick_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

// The nearest float with an odd last bit, unless x is a float itself: rounded once more, to 16 bits, that is what rounding x
// gives.
MERAPI_F float to_odd(double x) {
    float f = (float)x;
    u32 u = __float_as_uint(f);
    if ((double)f == x || (u & 0x7fffffff) >= 0x7f800000 || (u & 1) != 0) return f;
    return __uint_as_float(fabs((double)f) > fabs(x) ? u - 1 : u + 1);
}

// ---------------------------------------------------------------- elements: storage to what arithmetic is done in, and
// back
MERAPI_F float rd(float x) { return x; }
MERAPI_F double rd(double x) { return x; }
MERAPI_F float rd(f16 x) { return f16_to_f32(x.bits); }
MERAPI_F float rd(bf16 x) { return __uint_as_float(u32(x.bits) << 16); }
MERAPI_F int rd(int x) { return x; }
MERAPI_F i64 rd(i64 x) { return x; }
MERAPI_F int rd(u8 x) { return x; }
MERAPI_F int rd(i8 x) { return x; }
MERAPI_F int rd(i16 x) { return x; }
MERAPI_F bool rd(b8 x) { return x.bits != 0; }
MERAPI_F void wr(float& at, float x) { at = x; }
MERAPI_F void wr(double& at, double x) { at = x; }
// What 16 bits are rounded from.
MERAPI_F float unrounded(double x) { return to_odd(x); }
template <class X>
MERAPI_F float unrounded(X x) {
    return (float)x;
}
template <class X>
MERAPI_F void wr(f16& at, X x) {
    at.bits = f32_to_f16(unrounded(x));
}
template <class X>
MERAPI_F void wr(bf16& at, X x) {
    at.bits = f32_to_bf16(unrounded(x));
}
MERAPI_F void wr(int& at, int x) { at = x; }
MERAPI_F void wr(i64& at, i64 x) { at = x; }
MERAPI_F void wr(u8& at, int x) { at = u8(x); }
MERAPI_F void wr(i8& at, int x) { at = i8(x); }
MERAPI_F void wr(i16& at, int x) { at = i16(x); }
MERAPI_F void wr(b8& at, bool x) { at.bits = x; }

MERAPI_F float infinity(float) { return __int_as_float(0x7f800000); }
MERAPI_F double infinity(double) { return __longlong_as_double(0x7ff0000000000000ll); }

// ---------------------------------------------------------------- index arithmetic
// n / d for n < 2^31 by a multiplication: the low word of `magic` is the multiplier, the high one the shift.
MERAPI_F u32 divide(u32 n, u64 magic) { return u32((u64(__umulhi(n, u32(magic))) + n) >> (magic >> 32)); }
// For kernels that count in either width.
MERAPI_F i64 quotient(i64 n, i64 size, u64) { return n / size; }
MERAPI_F u32 quotient(u32 n, i64, u64 magic) { return divide(n, magic); }

// ---------------------------------------------------------------- opcodes
#define MERAPI_FLOATS(D) D(float, f) D(double, )
#define MERAPI_INTS(D) D(int, u32, 32) D(i64, u64, 64)

#define MERAPI_MATH(T, F)                                                                                          \
    MERAPI_F T op_neg(T x) { return -x; }                                                                          \
    MERAPI_F T op_abs(T x) { return fabs##F(x); }                                                                  \
    MERAPI_F T op_sign(T x) { return x > 0 ? T(1) : x < 0 ? T(-1) : x; }                                           \
    MERAPI_F T op_square(T x) { return x * x; }                                                                    \
    MERAPI_F T op_relu(T x) { return x <= 0 ? T(0) : x; }                                                          \
    MERAPI_F T op_floor(T x) { return floor##F(x); }                                                               \
    MERAPI_F T op_ceil(T x) { return ceil##F(x); }                                                                 \
    MERAPI_F T op_round(T x) { return rint##F(x); }                                                                \
    MERAPI_F T op_trunc(T x) { return trunc##F(x); }                                                               \
    MERAPI_F T op_sqrt(T x) { return sqrt##F(x); }                                                                 \
    MERAPI_F T op_rsqrt(T x) { return rsqrt##F(x); }                                                               \
    MERAPI_F T op_reciprocal(T x) { return T(1) / x; }                                                             \
    MERAPI_F T op_exp(T x) { return exp##F(x); }                                                                   \
    MERAPI_F T op_expm1(T x) { return expm1##F(x); }                                                               \
    MERAPI_F T op_exp2(T x) { return exp2##F(x); }                                                                 \
    MERAPI_F T op_log(T x) { return log##F(x); }                                                                   \
    MERAPI_F T op_log1p(T x) { return log1p##F(x); }                                                               \
    MERAPI_F T op_log2(T x) { return log2##F(x); }                                                                 \
    MERAPI_F T op_log10(T x) { return log10##F(x); }                                                               \
    MERAPI_F T op_sin(T x) { return sin##F(x); }                                                                   \
    MERAPI_F T op_cos(T x) { return cos##F(x); }                                                                   \
    MERAPI_F T op_tan(T x) { return tan##F(x); }                                                                   \
    MERAPI_F T op_asin(T x) { return asin##F(x); }                                                                 \
    MERAPI_F T op_acos(T x) { return acos##F(x); }                                                                 \
    MERAPI_F T op_atan(T x) { return atan##F(x); }                                                                 \
    MERAPI_F T op_sinh(T x) { return sinh##F(x); }                                                                 \
    MERAPI_F T op_cosh(T x) { return cosh##F(x); }                                                                 \
    MERAPI_F T op_tanh(T x) { return tanh##F(x); }                                                                 \
    MERAPI_F T op_asinh(T x) { return asinh##F(x); }                                                               \
    MERAPI_F T op_acosh(T x) { return acosh##F(x); }                                                               \
    MERAPI_F T op_atanh(T x) { return atanh##F(x); }                                                               \
    MERAPI_F T op_erf(T x) { return erf##F(x); }                                                                   \
    MERAPI_F T op_erfc(T x) { return erfc##F(x); }                                                                 \
    MERAPI_F bool op_isnan(T x) { return x != x; }                                                                 \
    MERAPI_F bool op_isfinite(T x) { return x - x == 0; }                                                          \
    MERAPI_F bool op_isinf(T x) { return x == x && x - x != 0; }                                                   \
    MERAPI_F T op_sigmoid(T x) {                                                                                   \
        T e = exp##F(-fabs##F(x));                                                                                 \
        return (x >= 0 ? T(1) : e) / (T(1) + e);                                                                   \
    }                                                                                                              \
    MERAPI_F T op_softplus(T x) { return (x > 0 ? x : T(0)) + log1p##F(exp##F(-fabs##F(x))); }                     \
    MERAPI_F T op_logsigmoid(T x) { return (x < 0 ? x : T(0)) - log1p##F(exp##F(-fabs##F(x))); }                   \
    MERAPI_F T op_silu(T x) { return x < 0 && op_isinf(x) ? T(-0.0) : x * op_sigmoid(x); }                         \
    MERAPI_F T op_silu_grad(T x) {                                                                                 \
        if (op_isinf(x)) return x > 0 ? T(1) : T(0);                                                               \
        T s = op_sigmoid(x);                                                                                       \
        return s * (T(1) + x * (T(1) - s));                                                                        \
    }                                                                                                              \
    /* By erfc, which keeps the digits of the left tail. */                                                        \
    MERAPI_F T op_gelu(T x) {                                                                                      \
        return x < 0 && op_isinf(x) ? T(-0.0) : x * T(0.5) * erfc##F(-x * T(0.70710678118654752440));              \
    }                                                                                                              \
    MERAPI_F T op_gelu_grad(T x) {                                                                                 \
        if (op_isinf(x)) return x > 0 ? T(1) : T(0);                                                               \
        return T(0.5) * erfc##F(-x * T(0.70710678118654752440)) +                                                  \
               x * T(0.39894228040143267794) * exp##F(T(-0.5) * x * x);                                            \
    }                                                                                                              \
    MERAPI_F T gelu_inner(T x) { return T(0.79788456080286535588) * (x + T(0.044715) * x * x * x); }               \
    MERAPI_F T op_gelu_tanh(T x) { return x < 0 && op_isinf(x) ? T(-0.0) : x * op_sigmoid(T(2) * gelu_inner(x)); } \
    MERAPI_F T op_gelu_tanh_grad(T x) {                                                                            \
        if (fabs##F(x) > T(1e3)) return x > 0 ? T(1) : T(0);                                                       \
        T s = op_sigmoid(T(2) * gelu_inner(x));                                                                    \
        return s + x * T(2) * s * (T(1) - s) * T(0.79788456080286535588) * (T(1) + T(0.134145) * x * x);           \
    }                                                                                                              \
    MERAPI_F T op_add(T a, T b) { return a + b; }                                                                  \
    MERAPI_F T op_sub(T a, T b) { return a - b; }                                                                  \
    MERAPI_F T op_mul(T a, T b) { return a * b; }                                                                  \
    MERAPI_F T op_div(T a, T b) { return a / b; }                                                                  \
    MERAPI_F T op_min(T a, T b) { return a != a ? a : b != b ? b : a < b ? a : b; }                                \
    MERAPI_F T op_max(T a, T b) { return a != a ? a : b != b ? b : a > b ? a : b; }                                \
    MERAPI_F T op_pow(T a, T b) { return pow##F(a, b); }                                                           \
    MERAPI_F T op_fmod(T a, T b) { return fmod##F(a, b); }                                                         \
    MERAPI_F T op_rem(T a, T b) {                                                                                  \
        T r = fmod##F(a, b);                                                                                       \
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                                           \
    }                                                                                                              \
    MERAPI_F T op_floordiv(T a, T b) {                                                                             \
        if (b == 0) return a / b;                                                                                  \
        T r = fmod##F(a, b);                                                                                       \
        T q = (a - r) / b;                                                                                         \
        if (r != 0 && (r < 0) != (b < 0)) q -= 1;                                                                  \
        if (q == 0) return copysign##F(T(0), a / b);                                                               \
        T below = floor##F(q);                                                                                     \
        return q - below > T(0.5) ? below + 1 : below;                                                             \
    }                                                                                                              \
    MERAPI_F T op_truncdiv(T a, T b) { return trunc##F(a / b); }                                                   \
    MERAPI_F T op_atan2(T a, T b) { return atan2##F(a, b); }                                                       \
    MERAPI_F T op_copysign(T a, T b) { return copysign##F(a, b); }                                                 \
    MERAPI_F T op_fma(T a, T b, T c) { return fma##F(a, b, c); }
MERAPI_FLOATS(MERAPI_MATH)

// GELU for 16-bit storage, where the forms above are bound by arithmetic: the normal distribution's lower tail is
// exp(-t^2/2) r P(r) with r = 1 / (1 + 0.31 t), to 2^-22 of itself and as far out as float32 goes. The first factor is
// larger by 2^24 and P smaller, so that the product may be subnormal.
MERAPI_F float bell(float x) { return quick_exp2(op_fma(x * x, -0.72134752f, 24.0f)); }
MERAPI_F float below_bell(float t) {
    constexpr float kOne = 5.9604645e-8f;
    const float r = quick_reciprocal(op_fma(0.31f, t, 1.0f));
    float p = op_fma(r, 0.03589051f * kOne, -0.14181869f * kOne);
    p = op_fma(r, p, 0.15545824f * kOne);
    p = op_fma(r, p, -0.01528544f * kOne);
    p = op_fma(r, p, 0.11032603f * kOne);
    p = op_fma(r, p, 0.10770094f * kOne);
    p = op_fma(r, p, 0.12407243f * kOne);
    return r * op_fma(r, p, 0.12365606f * kOne);
}
MERAPI_F float op_short_gelu(float x) {
    const float tail = bell(x) * below_bell(fabsf(x));
    return fmaxf(x, -64.0f) * (x > 0 ? 1 - tail : tail);
}
MERAPI_F float op_short_gelu_grad(float x) {
    const float t = fabsf(x);
    const float lower = bell(x) * op_fma(fminf(t, 64.0f), -0.39894228f * 5.9604645e-8f, below_bell(t));
    return x > 0 ? 1 - lower : lower;
}

// Integers wrap, and never trap: division by zero is 0, the smallest number by -1 is itself.
#define MERAPI_INTEGER(T, U, WIDTH)                                                       \
    MERAPI_F T op_neg(T x) { return T(U(0) - U(x)); }                                     \
    MERAPI_F T op_abs(T x) { return x < 0 ? op_neg(x) : x; }                              \
    MERAPI_F T op_sign(T x) { return (x > 0) - (x < 0); }                                 \
    MERAPI_F T op_square(T x) { return T(U(x) * U(x)); }                                  \
    MERAPI_F T op_relu(T x) { return x > 0 ? x : 0; }                                     \
    MERAPI_F T op_bitnot(T x) { return ~x; }                                              \
    MERAPI_F T op_add(T a, T b) { return T(U(a) + U(b)); }                                \
    MERAPI_F T op_sub(T a, T b) { return T(U(a) - U(b)); }                                \
    MERAPI_F T op_mul(T a, T b) { return T(U(a) * U(b)); }                                \
    MERAPI_F T op_fma(T a, T b, T c) { return T(U(a) * U(b) + U(c)); }                    \
    MERAPI_F T op_min(T a, T b) { return a < b ? a : b; }                                 \
    MERAPI_F T op_max(T a, T b) { return a > b ? a : b; }                                 \
    MERAPI_F T op_truncdiv(T a, T b) { return b == 0 ? 0 : b == -1 ? op_neg(a) : a / b; } \
    MERAPI_F T op_fmod(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; }                \
    MERAPI_F T op_rem(T a, T b) {                                                         \
        T r = op_fmod(a, b);                                                              \
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;                                  \
    }                                                                                     \
    MERAPI_F T op_floordiv(T a, T b) {                                                    \
        T r = op_fmod(a, b);                                                              \
        return op_truncdiv(a, b) - (r != 0 && (r < 0) != (b < 0));                        \
    }                                                                                     \
    MERAPI_F T op_pow(T a, T b) {                                                         \
        if (b < 0) return a == 1 ? 1 : a == -1 ? ((b & 1) == 0 ? 1 : -1) : 0;             \
        U result = 1, square = U(a);                                                      \
        for (U e = U(b); e != 0; e >>= 1) {                                               \
            if (e & 1) result *= square;                                                  \
            square *= square;                                                             \
        }                                                                                 \
        return T(result);                                                                 \
    }                                                                                     \
    MERAPI_F T op_and(T a, T b) { return a & b; }                                         \
    MERAPI_F T op_or(T a, T b) { return a | b; }                                          \
    MERAPI_F T op_xor(T a, T b) { return a ^ b; }                                         \
    MERAPI_F T op_shl(T a, T b) { return b < 0 || b >= WIDTH ? 0 : T(U(a) << b); }        \
    MERAPI_F T op_shr(T a, T b) { return a >> (b < 0 || b >= WIDTH ? WIDTH - 1 : b); }
MERAPI_INTS(MERAPI_INTEGER)
MERAPI_F int op_wrapu8(int x) { return x & 0xff; }
MERAPI_F int op_wrapi8(int x) { return i8(x); }
MERAPI_F int op_wrapi16(int x) { return i16(x); }

MERAPI_F bool op_not(bool x) { return !x; }
MERAPI_F bool op_and(bool a, bool b) { return a && b; }
MERAPI_F bool op_or(bool a, bool b) { return a || b; }
MERAPI_F bool op_xor(bool a, bool b) { return a != b; }

template <class T>
MERAPI_F bool op_eq(T a, T b) {
    return a == b;
}
template <class T>
MERAPI_F bool op_ne(T a, T b) {
    return a != b;
}
template <class T>
MERAPI_F bool op_lt(T a, T b) {
    return a < b;
}
template <class T>
MERAPI_F bool op_le(T a, T b) {
    return a <= b;
}
template <class T>
MERAPI_F bool op_gt(T a, T b) {
    return a > b;
}
template <class T>
MERAPI_F bool op_ge(T a, T b) {
    return a >= b;
}
template <class T>
MERAPI_F T op_select(bool c, T a, T b) {
    return c ? a : b;
}

// Floats to integers saturate; NaN is 0, and true.
template <class T>
MERAPI_F float cast_f32(T x) {
    return float(x);
}
template <class T>
MERAPI_F double cast_f64(T x) {
    return double(x);
}
template <class T>
MERAPI_F bool cast_bool(T x) {
    return x != T(0);
}
template <class T>
MERAPI_F int cast_i32(T x) {
    return int(x);
}
template <class T>
MERAPI_F i64 cast_i64(T x) {
    return i64(x);
}
#define MERAPI_SATURATE(T, F)                                                                                     \
    template <>                                                                                                   \
    MERAPI_F int cast_i32(T x) {                                                                                  \
        return x != x ? 0 : x >= T(2147483648.0) ? 2147483647 : x <= T(-2147483648.0) ? -2147483647 - 1 : int(x); \
    }                                                                                                             \
    template <>                                                                                                   \
    MERAPI_F i64 cast_i64(T x) {                                                                                  \
        return x != x                           ? 0                                                               \
               : x >= T(9223372036854775808.0)  ? 9223372036854775807ll                                           \
               : x <= T(-9223372036854775808.0) ? -9223372036854775807ll - 1                                      \
                                                : i64(x);                                                         \
    }
MERAPI_FLOATS(MERAPI_SATURATE)

}  // namespace merapi
