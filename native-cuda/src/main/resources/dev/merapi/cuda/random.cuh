// SPDX-License-Identifier: Apache-2.0
// What is made of the bits of philox.cuh: operation by operation what dev.merapi.random.Philox specifies, each rounding
// written out, so that every device gives the same bits. T: storage.
namespace philox {
using namespace merapi;
typedef decltype(rd(T())) C;

MERAPI_F u64 pair(const Block& b, int which) { return (u64)b.lane[2 * which] << 32 | b.lane[2 * which + 1]; }

MERAPI_F float unit(u32 lane, float) { return (float)(lane >> 8) * 5.9604644775390625e-8f; }
MERAPI_F float unit(u32 lane, f16) { return (float)(lane >> 21) * 4.8828125e-4f; }
MERAPI_F float unit(u32 lane, bf16) { return (float)(lane >> 24) * 3.90625e-3f; }
MERAPI_F double unit(u64 bits) { return (double)(bits >> 11) * 1.1102230246251565404e-16; }

MERAPI_F float normal(u32 a, u32 b, bool sineWanted) {
    const float u = __fmul_rn((float)((a >> 8) + 1), 5.9604644775390625e-8f);
    const int bits = __float_as_int(u);
    const int e = (bits - 0x3f2aaaab) >> 23;
    const float f = __int_as_float(bits - (int)((u32)e << 23)) - 1.0f;
    const float s = __fdiv_rn(f, f + 2.0f), z = __fmul_rn(s, s);
    float p = 2.0f / 11;
    p = fmaf(p, z, 2.0f / 9);
    p = fmaf(p, z, 2.0f / 7);
    p = fmaf(p, z, 2.0f / 5);
    p = fmaf(p, z, 2.0f / 3);
    const float logU = fmaf((float)e, 0.693147180559945309f, fmaf(__fmul_rn(s, z), p, s + s));
    const float r = __fsqrt_rn(__fmul_rn(-2.0f, logU));
    const int t = (int)(b >> 8), k = (t + (1 << 21)) >> 22;
    const float w = __fmul_rn(__fmul_rn((float)(t - (k << 22)), 5.9604644775390625e-8f), 6.28318530717958648f);
    const float q = __fmul_rn(w, w);
    const bool sine = sineWanted != ((k & 1) != 0);
    float value;
    if (sine) {
        float c = 1.0f / 362880;
        c = fmaf(c, q, -1.0f / 5040);
        c = fmaf(c, q, 1.0f / 120);
        c = fmaf(c, q, -1.0f / 6);
        value = fmaf(__fmul_rn(w, q), c, w);
    } else {
        float c = -1.0f / 3628800;
        c = fmaf(c, q, 1.0f / 40320);
        c = fmaf(c, q, -1.0f / 720);
        c = fmaf(c, q, 1.0f / 24);
        c = fmaf(c, q, -1.0f / 2);
        value = fmaf(c, q, 1.0f);
    }
    const bool negative = ((sineWanted ? k : k + 1) & 2) != 0;
    return __fmul_rn(r, negative ? -value : value);
}

MERAPI_F double normal(u64 a, u64 b, bool sineWanted) {
    const double u = (__longlong_as_double((i64)(a >> 12 | 0x3ff0000000000000ull)) - 1.0) + 2.220446049250313e-16;
    const i64 bits = __double_as_longlong(u);
    const i64 e = (bits - 0x3fe5555555555555ll) >> 52;
    const double f = __longlong_as_double(bits - (i64)((u64)e << 52)) - 1.0;
    const double s = f / (f + 2.0), z = __dmul_rn(s, s);
    double p = 2.0 / 23;
    p = fma(p, z, 2.0 / 21);
    p = fma(p, z, 2.0 / 19);
    p = fma(p, z, 2.0 / 17);
    p = fma(p, z, 2.0 / 15);
    p = fma(p, z, 2.0 / 13);
    p = fma(p, z, 2.0 / 11);
    p = fma(p, z, 2.0 / 9);
    p = fma(p, z, 2.0 / 7);
    p = fma(p, z, 2.0 / 5);
    p = fma(p, z, 2.0 / 3);
    const double logU = fma((double)e, 0.693147180559945309, fma(__dmul_rn(s, z), p, s + s));
    const double r = sqrt(__dmul_rn(-2.0, logU));
    const i64 t = (i64)(b >> 12), k = (t + (1ll << 49)) >> 50;
    const double w = __dmul_rn(__dmul_rn((double)(t - (k << 50)), 2.220446049250313e-16), 6.28318530717958648);
    const double q = __dmul_rn(w, w);
    const bool sine = sineWanted != ((k & 1) != 0);
    double value;
    if (sine) {
        double c = 1.0 / 355687428096000.0;
        c = fma(c, q, -1.0 / 1307674368000.0);
        c = fma(c, q, 1.0 / 6227020800.0);
        c = fma(c, q, -1.0 / 39916800);
        c = fma(c, q, 1.0 / 362880);
        c = fma(c, q, -1.0 / 5040);
        c = fma(c, q, 1.0 / 120);
        c = fma(c, q, -1.0 / 6);
        value = fma(__dmul_rn(w, q), c, w);
    } else {
        double c = -1.0 / 6402373705728000.0;
        c = fma(c, q, 1.0 / 20922789888000.0);
        c = fma(c, q, -1.0 / 87178291200.0);
        c = fma(c, q, 1.0 / 479001600);
        c = fma(c, q, -1.0 / 3628800);
        c = fma(c, q, 1.0 / 40320);
        c = fma(c, q, -1.0 / 720);
        c = fma(c, q, 1.0 / 24);
        c = fma(c, q, -1.0 / 2);
        value = fma(c, q, 1.0);
    }
    const bool negative = ((sineWanted ? k : k + 1) & 2) != 0;
    return __dmul_rn(r, negative ? -value : value);
}

MERAPI_F void put(double& at, i64 i, const Block& b, u64, double low, double span) {
    at = low + __dmul_rn(span, unit(pair(b, (int)(i & 1))));
}
template <class S>
MERAPI_F void put(S& at, i64 i, const Block& b, u64, double low, double span) {
    wr(at, (float)low + __fmul_rn((float)span, unit(b.lane[i & 3], S())));
}
MERAPI_F void put_normal(double& at, i64 i, const Block& b, double mean, double deviation) {
    at = mean + __dmul_rn(deviation, normal(pair(b, 0), pair(b, 1), (i & 1) != 0));
}
template <class S>
MERAPI_F void put_normal(S& at, i64 i, const Block& b, double mean, double deviation) {
    const int l = (int)(i & 3);
    wr(at, (float)mean + __fmul_rn((float)deviation, normal(b.lane[l & 2], b.lane[l | 1], (l & 1) != 0)));
}
template <class A, class B>
struct Same {
    static constexpr bool value = false;
};
template <class A>
struct Same<A, A> {
    static constexpr bool value = true;
};
MERAPI_F C number(i64 v) { return (C)v; }
}  // namespace philox

#define PHILOX_EACH(i, n)                                      \
    using namespace philox;                                    \
    const u64 start = (u64)offset + (base ? (u64) * base : 0); \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(n); i += (i64)gridDim.x * blockDim.x)

#ifdef FLOATING
extern "C" __global__ void uniform(T* y, long long n, double low, double span, long long seed, long long offset,
                                   const long long* base) {
    constexpr int per = philox::Same<T, double>::value ? 2 : 4;
    PHILOX_EACH(i, n) put(y[i], i, block(seed, start + i / per), 0, low, span);
}
extern "C" __global__ void gaussian(T* y, long long n, double mean, double deviation, long long seed, long long offset,
                                    const long long* base) {
    constexpr int per = philox::Same<T, double>::value ? 2 : 4;
    PHILOX_EACH(i, n) put_normal(y[i], i, block(seed, start + i / per), mean, deviation);
}
extern "C" __global__ void dropout(const T* x, T* y, merapi::b8* mask, long long n, long long threshold, double scale,
                                   long long seed, long long offset, const long long* base) {
    PHILOX_EACH(i, n) {
        const bool kept = block(seed, start + i / 4).lane[i & 3] >= (u64)threshold;
        wr(mask[i], kept);
        const C v = rd(x[i]) * (C)scale;
        wr(y[i], kept ? v : C(0));
    }
}
#else
extern "C" __global__ void integers(T* y, long long n, long long low, long long range, int wide, long long seed,
                                    long long offset, const long long* base) {
    PHILOX_EACH(i, n) {
        i64 v;
        if (wide) {
            const u64 bits = pair(block(seed, start + i / 2), (int)(i & 1));
            v = (i64)((u64)low + (range == 0 ? bits : __umul64hi(bits, (u64)range)));
        } else {
            v = low + (i64)((u64)block(seed, start + i / 4).lane[i & 3] * (u64)range >> 32);
        }
        wr(y[i], (C)v);
    }
}
#endif
extern "C" __global__ void bernoulli(T* y, long long n, long long threshold, long long seed, long long offset,
                                     const long long* base) {
    PHILOX_EACH(i, n) wr(y[i], (C)(block(seed, start + i / 4).lane[i & 3] >= (u64)threshold));
}
#undef FLOATING
