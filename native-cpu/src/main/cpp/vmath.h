// SPDX-License-Identifier: Apache-2.0
//
// Vectorised float32 functions: at most 2 ulp over the whole range, right at zeros, denormals, infinities and NaN.
//
// Most are computed in double ("wide") to about 1e-10 and rounded once. That is within 0.51 ulp, the same on every
// instruction set but for a few inputs in a billion, and leaves nothing to compensate for: no split arguments, no
// cancellation. exp, sigmoid, silu and tanh are hot enough to get a float32 form.
// The polynomials are Chebyshev interpolants, fitted with 60 digits.
// At ±inf functions take their limits (silu(-inf) is -0), also where the formula says 0·inf.
#pragma once

#include "simd.h"

namespace merapi {
namespace MERAPI_ISA {

// ---- wide: f64v in, f64v out, for arguments that came from floats ---------------------------------------------------

MERAPI_INLINE f64v horner(f64v, double c) { return splat(c); }
// c0 + c1 x + c2 x² + …
template <class... C>
MERAPI_INLINE f64v horner(f64v x, double c0, double c1, C... rest) {
    return mad(horner(x, c1, rest...), x, c0);
}

// x = n ln2 + r with |r| <= ln2/2; n as the power-of-two bits to add to a double's exponent.
struct WideExp {
    f64v r;
    i64v exponent;
};
MERAPI_INLINE WideExp reduce_exp(f64v x) {
    const f64v magic = splat(6755399441055744.0);
    f64v t = mad(x, splat(1.4426950408889634), magic);
    f64v n = t - magic;
    WideExp e;
    e.r = mad(n, splat(-1.90821492927058770e-10), mad(n, splat(-6.93147180369123816490e-01), x));
    e.exponent = bits<i64v>(t) << 52;
    return e;
}
// (e^r - 1 - r) / r²
MERAPI_INLINE f64v exp_tail(f64v r) {
    return horner(r, 0.500000001353873, 0.16666666681704215, 0.04166646419740569, 0.008333310844647862,
                  0.0013933730715792083, 0.00019891080463998843);
}
// For |x| <= 700. A NaN needs no care here nor below: one that was a float has zeros in its last 29 bits, so the
// exponent it gives is 0, and adding that leaves it a NaN.
MERAPI_INLINE f64v exp_inside(f64v x) {
    WideExp e = reduce_exp(x);
    f64v p = mad(e.r * e.r, exp_tail(e.r), e.r + splat(1.0));
    return bits<f64v>(bits<u64v>(p) + bits<u64v>(e.exponent));
}
MERAPI_INLINE f64v exp_wide(f64v x) { return exp_inside(clamp_keep_nan(x, -700.0, 700.0)); }
MERAPI_INLINE f64v expm1_wide(f64v x) {
    WideExp e = reduce_exp(clamp_keep_nan(x, -700.0, 700.0));
    f64v p = mad(e.r * e.r, exp_tail(e.r), e.r);
    f64v scale = bits<f64v>(bits<u64v>(splat(1.0)) + bits<u64v>(e.exponent));
    return copysign(mad(p, scale, scale - splat(1.0)), x);
}
MERAPI_INLINE f64v exp2_wide(f64v x) {
    f64v c = clamp_keep_nan(x, -1000.0, 1000.0);
    const f64v magic = splat(6755399441055744.0);
    f64v t = c + magic;
    f64v r = (c - (t - magic)) * splat(0.6931471805599453);
    f64v p = mad(r * r, exp_tail(r), r + splat(1.0));
    return bits<f64v>(bits<u64v>(p) + (bits<u64v>(t) << 52));
}

// u = 2^n m with m in [sqrt(1/2), sqrt(2)), for u > 0.
struct WideLog {
    f64v n;
    f64v m;
};
MERAPI_INLINE WideLog split_log(f64v u) {
    // Unsigned where it may wrap: for u < 0 the result means nothing, but it is computed.
    const u64v sqrt_half = bits<u64v>(splat(int64_t{0x3fe6a09e667f3bcd}));
    i64v k = bits<i64v>(bits<u64v>(u) - sqrt_half) >> 52;
    WideLog l;
    l.m = bits<f64v>(bits<u64v>(u) - (bits<u64v>(k) << 52));
    const i64v magic = splat(int64_t{0x4338000000000000});  // 1.5 * 2^52, so that small integers need no conversion
    l.n = bits<f64v>(k + magic) - bits<f64v>(magic);
    return l;
}
// log((1 + s)/(1 - s))
MERAPI_INLINE f64v log_ratio(f64v s) {
    f64v z = s * s;
    f64v p = horner(z, 0.6666666666737665, 0.39999998795219155, 0.2857175496835035, 0.22191373380944632,
                    0.19363186932161763);
    return mad(s * z, p, s + s);
}
MERAPI_INLINE f64v log_edges(f64v x, f64v y) {  // y = log(x) for 0 < x < inf
    const f64v inf = splat(static_cast<double>(INFINITY));
    y = select(x == inf, inf, y);
    y = select(x == splat(0.0), -inf, y);
    return select((x < splat(0.0)) | (x != x), splat(static_cast<double>(NAN)), y);
}
MERAPI_INLINE f64v log_scaled(f64v x, double per_octave, double per_e) {
    WideLog l = split_log(x);
    f64v s = (l.m - splat(1.0)) / (l.m + splat(1.0));
    return log_edges(x, mad(l.n, splat(per_octave), log_ratio(s) * splat(per_e)));
}
MERAPI_INLINE f64v log_wide(f64v x) { return log_scaled(x, 0.6931471805599453, 1.0); }
MERAPI_INLINE f64v log2_wide(f64v x) { return log_scaled(x, 1.0, 1.4426950408889634); }
MERAPI_INLINE f64v log10_wide(f64v x) { return log_scaled(x, 0.3010299956639812, 0.4342944819032518); }
MERAPI_INLINE f64v log1p_wide(f64v x) {
    f64v u = x + splat(1.0);
    WideLog l = split_log(u);
    i64v near = l.n == splat(0.0);  // there 1 + x loses the digits of x, and x itself has them
    f64v s = select(near, x, l.m - splat(1.0)) / select(near, x + splat(2.0), l.m + splat(1.0));
    f64v y = log_edges(u, mad(l.n, splat(0.6931471805599453), log_ratio(s)));
    return select(x == splat(0.0), x, y);
}

MERAPI_INLINE f64v sigmoid_wide(f64v x) { return splat(1.0) / (splat(1.0) + exp_wide(-x)); }
MERAPI_INLINE f64v tanh_wide(f64v x) {
    f64v e = expm1_wide(x + x);
    return copysign(e / (e + splat(2.0)), x);
}
// x without its infinities: s(x) below is so close to its limits there that x s(x) and its derivative take theirs.
MERAPI_INLINE f64v finite(f64v x) { return clamp_keep_nan(x, -3.5e38, 3.5e38); }
// x s(x) for an s that vanishes at -inf.
MERAPI_INLINE f64v gated(f64v x, f64v s) { return at_least(-3.5e38, x) * s; }

MERAPI_INLINE f64v silu_wide(f64v x) { return gated(x, sigmoid_wide(x)); }
// sigmoid(x) and 1 - sigmoid(x), the latter without cancellation.
struct WideSigmoid {
    f64v s;
    f64v rest;
};
MERAPI_INLINE WideSigmoid sigmoid_both(f64v x) {
    f64v e = exp_wide(-x);
    WideSigmoid y;
    y.s = splat(1.0) / (splat(1.0) + e);
    y.rest = e * y.s;
    return y;
}
MERAPI_INLINE f64v silu_grad_wide(f64v x) {
    x = finite(x);
    WideSigmoid y = sigmoid_both(x);
    return y.s * mad(x, y.rest, 1.0);
}
// max(x, 0) + log(1 + e) with e = e^-|x| <= 1: log_ratio's series at s = e/(2 + e) <= 1/3, with two terms more.
MERAPI_INLINE f64v softplus_wide(f64v x) {
    f64v e = exp_inside(at_least(-700.0, -abs(x)));
    f64v s = e / (e + splat(2.0));
    f64v z = s * s;
    f64v p = horner(z, 0.6666666665002361, 0.4000001076994966, 0.2857030572188366, 0.22264711209001325,
                    0.17464702465440773, 0.20787616855746752);
    return select(x < splat(0.0), splat(0.0), x) + mad(s * z, p, s + s);
}
MERAPI_INLINE f64v logsigmoid_wide(f64v x) { return -softplus_wide(-x); }

// erfc(t) for t >= 0 is e^(-t²) Q((t - 3)/(t + 3)) / (t + 3); `decay` is e^(-t²).
MERAPI_INLINE f64v erfc_positive(f64v t, f64v decay) {
    f64v w = splat(1.0) / (t + splat(3.0));
    f64v y = (t - splat(3.0)) * w;
    f64v q = horner(y, 1.074006907076364, -0.8833944532687645, 0.5902283591929272, -0.31046724465626807,
                    0.1195277128200962, -0.026827630114947085, -0.0012121922480408337, 0.0030372207665234747,
                    -0.0005471365803103707, -0.0002869380632775626, 9.767518805449243e-05, 4.037090170102789e-05);
    return decay * q * w;
}
MERAPI_INLINE f64v erf_wide(f64v x) {
    f64v z = x * x;
    f64v small =
        x * horner(z, 1.1283791670615435, -0.3761263846802871, 0.11283782495236845, -0.026865430727670243,
                   0.005221031807858023, -0.0008484080405535107, 0.00011265959025606609, -9.667044571486996e-06);
    f64v t = at_most(26.0, abs(x));
    f64v large = copysign(splat(1.0) - erfc_positive(t, exp_inside(-(t * t))), x);
    return select(abs(x) < splat(1.0), small, large);
}
MERAPI_INLINE f64v erfc_wide(f64v x) {
    f64v t = at_most(26.0, abs(x));
    f64v c = erfc_positive(t, exp_inside(-(t * t)));
    return select(x < splat(0.0), splat(2.0) - c, c);
}

// The normal distribution at x: `cdf` (relative accuracy on both sides) and `density`.
struct WideNormal {
    f64v cdf;
    f64v density;
};
MERAPI_INLINE WideNormal normal_wide(f64v x) {
    f64v t = at_most(26.0, abs(x) * splat(0.7071067811865476));
    f64v decay = exp_inside(-(t * t));
    f64v tail = splat(0.5) * erfc_positive(t, decay);
    WideNormal n;
    n.cdf = select(x < splat(0.0), tail, splat(1.0) - tail);
    n.density = decay * splat(0.3989422804014327);
    return n;
}
MERAPI_INLINE f64v gelu_wide(f64v x) { return gated(x, normal_wide(x).cdf); }
MERAPI_INLINE f64v gelu_grad_wide(f64v x) {
    x = finite(x);
    WideNormal n = normal_wide(x);
    return mad(x, n.density, n.cdf);
}
// gelu_tanh(x) = x/2 (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x³)
MERAPI_INLINE f64v gelu_tanh_argument(f64v x) {
    return x * splat(1.5957691216057308) * mad(x * x, splat(0.044715), 1.0);
}
MERAPI_INLINE f64v gelu_tanh_wide(f64v x) { return gated(x, sigmoid_wide(gelu_tanh_argument(x))); }
MERAPI_INLINE f64v gelu_tanh_grad_wide(f64v x) {
    x = finite(x);
    WideSigmoid y = sigmoid_both(gelu_tanh_argument(x));
    f64v slope = splat(1.5957691216057308) * mad(x * x, splat(3 * 0.044715), 1.0);
    return mad(x * y.s, y.rest * slope, y.s);
}

// sin and cos for |x| <= kTrigLimit; beyond it the callers below go lane by lane through libm.
constexpr double kTrigLimit = 100000.0;
struct WideTrig {
    f64v sin;
    f64v cos;
};
MERAPI_INLINE WideTrig sincos_wide(f64v x) {
    const f64v magic = splat(6755399441055744.0);
    f64v t = mad(x, splat(0.6366197723675814), magic);
    f64v n = t - magic;
    // pi/2 in three parts of 33 bits, so that n times the first two is exact without a fused multiply-add, too.
    f64v r = x - n * splat(1.57079632673412561417e+00);
    r = r - n * splat(6.07710050630396597660e-11);
    r = r - n * splat(2.02226624879595063154e-21);
    f64v z = r * r;
    f64v s = mad(r * z,
                 horner(z, -0.16666666666663857, 0.00833333333106116, -0.00019841266899437397, 2.7555985625200863e-06,
                        -2.480514540674743e-08),
                 r);
    f64v c = mad(z * z,
                 horner(z, 0.04166666666666466, -0.0013888888887264425, 2.4801585198441217e-05, -2.755636590225902e-07,
                        2.070024946756277e-09),
                 mad(z, splat(-0.5), 1.0));
    i64v quadrant = bits<i64v>(t);
    i64v swap = -(quadrant & 1);
    i64v sin_sign = (quadrant & 2) << 62;
    i64v cos_sign = ((quadrant + 1) & 2) << 62;
    WideTrig y;
    y.sin = bits<f64v>(bits<i64v>(select(swap, c, s)) ^ sin_sign);
    y.cos = bits<f64v>(bits<i64v>(select(swap, s, c)) ^ cos_sign);
    return y;
}
MERAPI_INLINE bool any_beyond_trig(f64v x) {
    i64v beyond = ~(abs(x) <= splat(kTrigLimit));
    int64_t any = 0;
    for (int i = 0; i < kF64; i++) any |= beyond[i];
    return any != 0;
}
MERAPI_INLINE f64v sin_wide(f64v x) {
    f64v y = select(x == splat(0.0), x, sincos_wide(x).sin);
    if (__builtin_expect(any_beyond_trig(x), 0)) {
        for (int i = 0; i < kF64; i++) y[i] = std::sin(static_cast<double>(x[i]));
    }
    return y;
}
MERAPI_INLINE f64v cos_wide(f64v x) {
    f64v y = sincos_wide(x).cos;
    if (__builtin_expect(any_beyond_trig(x), 0)) {
        for (int i = 0; i < kF64; i++) y[i] = std::cos(static_cast<double>(x[i]));
    }
    return y;
}

// ---- f32v, through double -------------------------------------------------------------------------------------------

#define MERAPI_THROUGH_DOUBLE(name) \
    MERAPI_INLINE f32v name(f32v x) { return join_f32(name##_wide(low_f64(x)), name##_wide(high_f64(x))); }
MERAPI_THROUGH_DOUBLE(expm1)
MERAPI_THROUGH_DOUBLE(exp2)
MERAPI_THROUGH_DOUBLE(log)
MERAPI_THROUGH_DOUBLE(log1p)
MERAPI_THROUGH_DOUBLE(log2)
MERAPI_THROUGH_DOUBLE(log10)
MERAPI_THROUGH_DOUBLE(softplus)
MERAPI_THROUGH_DOUBLE(logsigmoid)
MERAPI_THROUGH_DOUBLE(erf)
MERAPI_THROUGH_DOUBLE(erfc)
#if !defined(__AVX512F__)
MERAPI_THROUGH_DOUBLE(gelu)
MERAPI_THROUGH_DOUBLE(gelu_grad)
#endif
MERAPI_THROUGH_DOUBLE(gelu_tanh)
MERAPI_THROUGH_DOUBLE(gelu_tanh_grad)
MERAPI_THROUGH_DOUBLE(silu_grad)
MERAPI_THROUGH_DOUBLE(sin)
MERAPI_THROUGH_DOUBLE(cos)
#undef MERAPI_THROUGH_DOUBLE

// ---- f32v, in single precision --------------------------------------------------------------------------------------

// p 2^n with one rounding, also where that is denormal or overflows; n an integer in [-252, 252].
MERAPI_INLINE f32v scale_by_power(f32v p, f32v n, i32v n_int) {
#if defined(__AVX512F__)
    (void)n_int;
    return (f32v)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    (void)n;
    i32v half = n_int >> 1;
    f32v a = bits<f32v>((half + 127) << 23);
    f32v b = bits<f32v>((n_int - half + 127) << 23);
    return p * a * b;
#endif
}

// e^x = p 2^n for x in [-126 ln2 - 17, 89]; NaN gives NaN in p.
struct NarrowExp {
    f32v p;
    f32v n;
    i32v n_int;
};
MERAPI_INLINE NarrowExp exp_parts(f32v x) {
    const f32v magic = splat(12582912.0f);
    f32v t = mad(x, splat(1.44269504f), magic);
    NarrowExp e;
    e.n = t - magic;
    e.n_int = bits<i32v>(t) - bits<i32v>(magic);
    f32v r = mad(e.n, splat(-0.693359375f), x);
    r = mad(e.n, splat(2.12194440e-4f), r);
    f32v q = splat(0.0013926251f);
    q = mad(q, r, 0.008363233f);
    q = mad(q, r, 0.041666554f);
    q = mad(q, r, 0.16666577f);
    q = mad(q, r, 0.5f);
    e.p = mad(r * r, q, r) + splat(1.0f);
    return e;
}
MERAPI_INLINE f32v exp(f32v x) {
    NarrowExp e = exp_parts(clamp_keep_nan(x, -104.0f, 89.0f));
    return select(x != x, x, scale_by_power(e.p, e.n, e.n_int));
}
#if defined(__FMA__) || defined(__aarch64__)
// x^power sigmoid(x) for power 0 or 1. The exponent is applied last: e^x alone may be denormal where the result isn't.
MERAPI_INLINE f32v sigmoid_times(f32v x, bool times_x) {
    NarrowExp e = exp_parts(clamp_keep_nan(-abs(x), -126.0f, 0.0f));
    f32v small = scale_by_power(e.p, e.n, e.n_int);
    f32v d = splat(1.0f) + small;
    f32v d_low = small - (d - splat(1.0f));
    i32v negative = x < splat(0.0f);
    f32v numerator = select(negative, e.p, splat(1.0f));
    // The quotient, corrected by what the sum and the division rounded away: without it the error passes 2 ulp.
    f32v r = splat(1.0f) / d;
    f32v q = numerator * r;
    f32v rest = (mad(-q, d, numerator) - q * d_low) * r;
    q = times_x ? mad(q, x, rest * x) : q + rest;
    f32v n = select(negative, e.n, splat(0.0f));
    return scale_by_power(q, n, select(negative, e.n_int, splat(0)));
}
MERAPI_INLINE f32v sigmoid(f32v x) { return select(x != x, x, sigmoid_times(x, false)); }
MERAPI_INLINE f32v silu(f32v x) {
    // Past the clamp on either side nothing is left of e^-|x|; and the correction is no number at +inf.
    f32v y = select(x < splat(-126.0f), splat(-0.0f), sigmoid_times(x, true));
    y = select(x > splat(126.0f), x, y);
    return select(x != x, x, y);
}
#else  // without a fused multiply-add the correction above has no digits to work with
MERAPI_INLINE f32v sigmoid(f32v x) { return join_f32(sigmoid_wide(low_f64(x)), sigmoid_wide(high_f64(x))); }
MERAPI_INLINE f32v silu(f32v x) { return join_f32(silu_wide(low_f64(x)), silu_wide(high_f64(x))); }
#endif
MERAPI_INLINE f32v tanh(f32v x) {
    f32v a = abs(x);
    f32v z = x * x;
    f32v q = splat(0.0023707656f);
    q = mad(q, z, -0.008410071f);
    q = mad(q, z, 0.021788322f);
    q = mad(q, z, -0.05396155f);
    q = mad(q, z, 0.13333313f);
    q = mad(q, z, -0.33333333f);
    f32v small = mad(a * z, q, a);
    NarrowExp e = exp_parts(clamp_keep_nan(a + a, 0.0f, 40.0f));
    f32v large = splat(1.0f) - splat(2.0f) / (scale_by_power(e.p, e.n, e.n_int) + splat(1.0f));
    f32v y = copysign(select(a < splat(0.6f), small, large), x);
    return select(x != x, x, y);
}

}  // namespace MERAPI_ISA
}  // namespace merapi

#if defined(__AVX512F__)
#include "vmath_normal.h"
#endif
