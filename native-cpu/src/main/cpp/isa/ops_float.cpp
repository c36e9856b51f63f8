// SPDX-License-Identifier: Apache-2.0
//
// Opcodes on f32 and f64. Functions without a vector form go through libm, f32 in double so that they round once.
#include "loops.h"

namespace merapi {
namespace MERAPI_ISA {

namespace {

template <class T>
MERAPI_INLINE T sign_of(T x) {
    return x > 0 ? T(1) : (x < 0 ? T(-1) : x);
}
template <class T>
MERAPI_INLINE T floor_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_floorf(float(x))) : T(__builtin_floor(double(x)));
}
template <class T>
MERAPI_INLINE T ceil_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_ceilf(float(x))) : T(__builtin_ceil(double(x)));
}
template <class T>
MERAPI_INLINE T trunc_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_truncf(float(x))) : T(__builtin_trunc(double(x)));
}
template <class T>
MERAPI_INLINE T round_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_rintf(float(x))) : T(__builtin_rint(double(x)));
}
template <class T>
MERAPI_INLINE T sqrt_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_sqrtf(float(x))) : T(__builtin_sqrt(double(x)));
}
template <class T>
MERAPI_INLINE T abs_of(T x) {
    return sizeof(T) == 4 ? T(__builtin_fabsf(float(x))) : T(__builtin_fabs(double(x)));
}
template <class T>
MERAPI_INLINE T copysign_of(T x, T y) {
    return sizeof(T) == 4 ? T(__builtin_copysignf(float(x), float(y))) : T(__builtin_copysign(double(x), double(y)));
}

// In double for f32, too: the quotient of large by small has more digits than a float.
double rem_f64(double x, double y) {
    double m = std::fmod(x, y);
    return m != 0 && ((y < 0) != (m < 0)) ? m + y : m;
}
double floordiv_f64(double x, double y) {
    if (y == 0) return x / y;
    double m = std::fmod(x, y);
    double q = (x - m) / y;
    if (m != 0 && ((y < 0) != (m < 0))) q -= 1;
    if (q == 0) return std::copysign(0.0, x / y);
    double f = std::floor(q);
    return q - f > 0.5 ? f + 1 : f;
}

double sigmoid_f64(double x) {
    if (x >= 0) return 1 / (1 + std::exp(-x));
    double e = std::exp(x);
    return e / (1 + e);
}
double softplus_f64(double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }
double normal_cdf(double x) { return 0.5 * std::erfc(x * -0.70710678118654752440); }
// At ±inf: limits, where the formulas say 0·inf.
double gated_f64(double x, double s) { return x == -INFINITY ? -0.0 : x * s; }
double gelu_grad_f64(double x) {
    if (__builtin_isinf(x)) return x > 0;
    return normal_cdf(x) + x * (0.39894228040143267794 * std::exp(-0.5 * x * x));
}
double gelu_tanh_argument_f64(double x) { return 1.5957691216057307118 * (x + 0.044715 * x * x * x); }
double gelu_tanh_grad_f64(double x) {
    if (std::fabs(x) > 1e3) return x > 0;
    double u = gelu_tanh_argument_f64(x);
    double s = sigmoid_f64(u), t = sigmoid_f64(-u);
    return s + x * s * t * (1.5957691216057307118 * (1 + 3 * 0.044715 * x * x));
}
double silu_grad_f64(double x) {
    if (__builtin_isinf(x)) return x > 0;
    double s = sigmoid_f64(x);
    return s * (1 + x * sigmoid_f64(-x));
}

// x^y for positive finite x and finite y is 2^(y log2 x), and double has the digits for it; the rest goes to libm.
MERAPI_INLINE f64v pow_wide(f64v x, f64v y) {
    const f64v big = splat(3.5e38);
    i64v plain = (x > splat(0.0)) & (x < big) & (abs(y) < big);
    f64v r = exp2_wide(y * log2_wide(x));
    int64_t all = -1;
    for (int i = 0; i < kF64; i++) all &= plain[i];
    if (__builtin_expect(all == 0, 0)) {
        for (int i = 0; i < kF64; i++) {
            if (plain[i] == 0) r[i] = std::pow(static_cast<double>(x[i]), static_cast<double>(y[i]));
        }
    }
    return r;
}
MERAPI_INLINE f32v pow(f32v x, f32v y) {
    return join_f32(pow_wide(low_f64(x), low_f64(y)), pow_wide(high_f64(x), high_f64(y)));
}

void fma_f32(void* d, const void* a, const void* b, const void* c, int64_t n) {
    float* dp = static_cast<float*>(d);
    const float *ap = static_cast<const float*>(a), *bp = static_cast<const float*>(b),
                *cp = static_cast<const float*>(c);
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) dp[i] = __builtin_fmaf(ap[i], bp[i], cp[i]);
}
void fma_f64(void* d, const void* a, const void* b, const void* c, int64_t n) {
    double* dp = static_cast<double*>(d);
    const double *ap = static_cast<const double*>(a), *bp = static_cast<const double*>(b);
    const double* cp = static_cast<const double*>(c);
    MERAPI_IVDEP for (int64_t i = 0; i < n; i++) dp[i] = __builtin_fma(ap[i], bp[i], cp[i]);
}

#define MERAPI_FLOAT_OPS(T)                                                                                           \
    MERAPI_UNARY("neg", T, T, -x), MERAPI_UNARY("abs", T, T, abs_of(x)), MERAPI_UNARY("sign", T, T, sign_of(x)),      \
        MERAPI_UNARY("floor", T, T, floor_of(x)), MERAPI_UNARY("ceil", T, T, ceil_of(x)),                             \
        MERAPI_UNARY("round", T, T, round_of(x)), MERAPI_UNARY("trunc", T, T, trunc_of(x)),                           \
        MERAPI_UNARY("sqrt", T, T, sqrt_of(x)), MERAPI_UNARY("rsqrt", T, T, T(1) / sqrt_of(x)),                       \
        MERAPI_UNARY("reciprocal", T, T, T(1) / x), MERAPI_UNARY("square", T, T, x* x),                               \
        MERAPI_UNARY("relu", T, T, x < 0 ? T(0) : x), MERAPI_UNARY("isnan", T, uint8_t, x != x),                      \
        MERAPI_UNARY("isinf", T, uint8_t, abs_of(x) == T(INFINITY)),                                                  \
        MERAPI_UNARY("isfinite", T, uint8_t, abs_of(x) < T(INFINITY)), MERAPI_BINARY("add", T, T, x + y),             \
        MERAPI_BINARY("sub", T, T, x - y), MERAPI_BINARY("mul", T, T, x* y), MERAPI_BINARY("div", T, T, x / y),       \
        MERAPI_BINARY("min", T, T, (x < y) | (x != x) ? x : y),                                                       \
        MERAPI_BINARY("max", T, T, (x > y) | (x != x) ? x : y),                                                       \
        MERAPI_BINARY("fmod", T, T, T(std::fmod(double(x), double(y)))),                                              \
        MERAPI_BINARY("rem", T, T, T(rem_f64(double(x), double(y)))),                                                 \
        MERAPI_BINARY("floordiv", T, T, T(floordiv_f64(double(x), double(y)))),                                       \
        MERAPI_BINARY("copysign", T, T, copysign_of(x, y)),                                                           \
        MERAPI_BINARY("atan2", T, T, T(std::atan2(double(x), double(y)))),                                            \
        MERAPI_UNARY("tan", T, T, T(std::tan(double(x)))), MERAPI_UNARY("asin", T, T, T(std::asin(double(x)))),       \
        MERAPI_UNARY("acos", T, T, T(std::acos(double(x)))), MERAPI_UNARY("atan", T, T, T(std::atan(double(x)))),     \
        MERAPI_UNARY("sinh", T, T, T(std::sinh(double(x)))), MERAPI_UNARY("cosh", T, T, T(std::cosh(double(x)))),     \
        MERAPI_UNARY("asinh", T, T, T(std::asinh(double(x)))), MERAPI_UNARY("acosh", T, T, T(std::acosh(double(x)))), \
        MERAPI_UNARY("atanh", T, T, T(std::atanh(double(x))))

}  // namespace

extern const OpEntry kFloatOps[];
const OpEntry kFloatOps[] = {
    MERAPI_FLOAT_OPS(float),
    MERAPI_FLOAT_OPS(double),
    OpEntry{"fma", Reg::f32, Reg::f32, 3, fma_f32},
    OpEntry{"fma", Reg::f64, Reg::f64, 3, fma_f64},
    OpEntry{"pow", Reg::f32, Reg::f32, 2,
            [](void* d, const void* a, const void* b, const void*, int64_t n) {
                map2_vector(d, a, b, n, [](f32v x, f32v y) -> f32v { return pow(x, y); });
            }},
    MERAPI_BINARY("pow", double, double, std::pow(x, y)),
    MERAPI_VECTOR_UNARY("exp", exp(x)),
    MERAPI_VECTOR_UNARY("expm1", expm1(x)),
    MERAPI_VECTOR_UNARY("exp2", exp2(x)),
    MERAPI_VECTOR_UNARY("log", log(x)),
    MERAPI_VECTOR_UNARY("log1p", log1p(x)),
    MERAPI_VECTOR_UNARY("log2", log2(x)),
    MERAPI_VECTOR_UNARY("log10", log10(x)),
    MERAPI_VECTOR_UNARY("sin", sin(x)),
    MERAPI_VECTOR_UNARY("cos", cos(x)),
    MERAPI_VECTOR_UNARY("tanh", tanh(x)),
    MERAPI_VECTOR_UNARY("erf", erf(x)),
    MERAPI_VECTOR_UNARY("erfc", erfc(x)),
    MERAPI_VECTOR_UNARY("sigmoid", sigmoid(x)),
    MERAPI_VECTOR_UNARY("softplus", softplus(x)),
    MERAPI_VECTOR_UNARY("logsigmoid", logsigmoid(x)),
    MERAPI_VECTOR_UNARY("silu", silu(x)),
    MERAPI_VECTOR_UNARY("silu_grad", silu_grad(x)),
    MERAPI_VECTOR_UNARY("gelu", gelu(x)),
    MERAPI_VECTOR_UNARY("gelu_grad", gelu_grad(x)),
    MERAPI_VECTOR_UNARY("gelu_tanh", gelu_tanh(x)),
    MERAPI_VECTOR_UNARY("gelu_tanh_grad", gelu_tanh_grad(x)),
    MERAPI_UNARY("exp", double, double, std::exp(x)),
    MERAPI_UNARY("expm1", double, double, std::expm1(x)),
    MERAPI_UNARY("exp2", double, double, std::exp2(x)),
    MERAPI_UNARY("log", double, double, std::log(x)),
    MERAPI_UNARY("log1p", double, double, std::log1p(x)),
    MERAPI_UNARY("log2", double, double, std::log2(x)),
    MERAPI_UNARY("log10", double, double, std::log10(x)),
    MERAPI_UNARY("sin", double, double, std::sin(x)),
    MERAPI_UNARY("cos", double, double, std::cos(x)),
    MERAPI_UNARY("tanh", double, double, std::tanh(x)),
    MERAPI_UNARY("erf", double, double, std::erf(x)),
    MERAPI_UNARY("erfc", double, double, std::erfc(x)),
    MERAPI_UNARY("sigmoid", double, double, sigmoid_f64(x)),
    MERAPI_UNARY("softplus", double, double, softplus_f64(x)),
    MERAPI_UNARY("logsigmoid", double, double, -softplus_f64(-x)),
    MERAPI_UNARY("silu", double, double, gated_f64(x, sigmoid_f64(x))),
    MERAPI_UNARY("silu_grad", double, double, silu_grad_f64(x)),
    MERAPI_UNARY("gelu", double, double, gated_f64(x, normal_cdf(x))),
    MERAPI_UNARY("gelu_grad", double, double, gelu_grad_f64(x)),
    MERAPI_UNARY("gelu_tanh", double, double, gated_f64(x, sigmoid_f64(gelu_tanh_argument_f64(x)))),
    MERAPI_UNARY("gelu_tanh_grad", double, double, gelu_tanh_grad_f64(x)),
    OpEntry{nullptr, Reg::f32, Reg::f32, 0, nullptr},
};

}  // namespace MERAPI_ISA
}  // namespace merapi
