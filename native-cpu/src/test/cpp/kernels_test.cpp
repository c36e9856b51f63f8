// SPDX-License-Identifier: Apache-2.0
//
// The structured kernels against naive oracles in double, for every floating dtype. Run it once per instruction set,
// with MERAPI_CPU_ISA=base|avx2|avx512.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <initializer_list>

#if defined(__linux__)
#include <filesystem>
#include <fstream>
#endif

#include "cgroup.h"
#include "dtypes.h"
#include "harness.h"
#include "merapi_kernels.h"
#include "pool.h"

using V = std::vector<double>;

constexpr double kPi = 3.14159265358979323846;

static double half_to_double(uint16_t h, int exponent_bits) {
    int fraction_bits = 15 - exponent_bits, bias = (1 << (exponent_bits - 1)) - 1;
    int e = (h >> fraction_bits) & ((1 << exponent_bits) - 1), f = h & ((1 << fraction_bits) - 1);
    double sign = h >> 15 ? -1 : 1;
    if (e == (1 << exponent_bits) - 1) return f ? NAN : sign * INFINITY;
    if (e == 0) return sign * std::ldexp(f, 1 - bias - fraction_bits);
    return sign * std::ldexp(1.0 + std::ldexp(f, -fraction_bits), e - bias);
}
// By search over neighbours of a guess: slow, and independent of the code under test.
static uint16_t double_to_half(double x, int exponent_bits) {
    if (x != x) return exponent_bits == 5 ? 0x7e00 : 0x7fc0;
    uint16_t top = exponent_bits == 5 ? 0x7c00 : 0x7f80, low = 0, high = top;
    double a = std::fabs(x);
    while (low + 1 < high) {
        uint16_t middle = static_cast<uint16_t>((low + high) / 2);
        (half_to_double(middle, exponent_bits) <= a ? low : high) = middle;
    }
    double d0 = a - half_to_double(low, exponent_bits), d1 = half_to_double(high, exponent_bits) - a;
    uint16_t h = d0 < d1 || (d0 == d1 && low % 2 == 0) ? low : high;
    return static_cast<uint16_t>(h | (std::signbit(x) ? 0x8000 : 0));
}

using merapi::Storage;
static_assert(static_cast<int>(Storage::f32) == 0 && static_cast<int>(Storage::f64) == 1 &&
                  static_cast<int>(Storage::f16) == 2 && static_cast<int>(Storage::bf16) == 3 &&
                  static_cast<int>(Storage::i32) == 4 && static_cast<int>(Storage::i64) == 5 &&
                  static_cast<int>(Storage::u8) == 6 && static_cast<int>(Storage::boolean) == 7,
              "the numbers that this file writes for dtypes");

// An array of a dtype, with a few guard bytes behind.
struct Array {
    int dtype;
    int64_t n;
    std::vector<char> bytes;
    Array(int dtype_, int64_t n_) : dtype(dtype_), n(n_), bytes(static_cast<size_t>(n_ * size() + 64), 77) {}
    int size() const { return dtype == 1 || dtype == 5 ? 8 : dtype == 0 || dtype == 4 ? 4 : dtype <= 3 ? 2 : 1; }
    int64_t at() const { return address(bytes.data()); }
    double get(int64_t i) const {
        const char* p = bytes.data() + i * size();
        switch (dtype) {
            case 0:
                return *reinterpret_cast<const float*>(p);
            case 1:
                return *reinterpret_cast<const double*>(p);
            case 2:
                return half_to_double(*reinterpret_cast<const uint16_t*>(p), 5);
            case 3:
                return half_to_double(*reinterpret_cast<const uint16_t*>(p), 8);
            case 4:
                return *reinterpret_cast<const int32_t*>(p);
            case 5:
                return static_cast<double>(*reinterpret_cast<const int64_t*>(p));
            default:
                return *reinterpret_cast<const uint8_t*>(p);
        }
    }
    void set(int64_t i, double x) {
        char* p = bytes.data() + i * size();
        switch (dtype) {
            case 0:
                *reinterpret_cast<float*>(p) = static_cast<float>(x);
                break;
            case 1:
                *reinterpret_cast<double*>(p) = x;
                break;
            case 2:
                *reinterpret_cast<uint16_t*>(p) = double_to_half(x, 5);
                break;
            case 3:
                *reinterpret_cast<uint16_t*>(p) = double_to_half(x, 8);
                break;
            case 4:
                *reinterpret_cast<int32_t*>(p) = static_cast<int32_t>(x);
                break;
            case 5:
                *reinterpret_cast<int64_t*>(p) = static_cast<int64_t>(x);
                break;
            default:
                *reinterpret_cast<uint8_t*>(p) = static_cast<uint8_t>(x);
        }
    }
    bool guard() const {
        return std::all_of(bytes.end() - 64, bytes.end(), [](char c) { return c == 77; });
    }
    V values() const {
        V v(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; i++) v[static_cast<size_t>(i)] = get(i);
        return v;
    }
};

static Random rng;
static const char* kNames[] = {"f32", "f64", "f16", "bf16", "i32", "i64", "u8", "bool"};
static int compute(int d) { return d == 1 ? 1 : 0; }

static Array random(int dtype, int64_t n, double scale = 1) {
    Array a(dtype, n);
    for (int64_t i = 0; i < n; i++) a.set(i, rng.normal() * scale);
    return a;
}
static Array filled(int dtype, int64_t n, double x) {
    Array a(dtype, n);
    for (int64_t i = 0; i < n; i++) a.set(i, x);
    return a;
}
static double storage_eps(int d) { return d == 0 ? 0x1p-24 : d == 1 ? 0x1p-53 : d == 2 ? 0x1p-11 : 0x1p-8; }
static double compute_eps(int d) { return d == 1 ? 0x1p-53 : 0x1p-24; }

// |got - want| <= rounding of the result + factor roundings of the computation at `scale`.
static void near(const char* what, const Array& got, const V& want, double factor, double scale = 1) {
    CHECK(got.guard(), "%s %s: wrote behind the end", what, kNames[got.dtype]);
    for (size_t i = 0; i < want.size(); i++) {
        double g = got.get(static_cast<int64_t>(i)), w = want[i];
        if (g == w || (g != g && w != w)) continue;
        double tolerance =
            1.01 * storage_eps(got.dtype) * std::fabs(w) + factor * compute_eps(got.dtype) * (std::fabs(w) + scale);
        if (got.dtype == 2) tolerance += 0x1p-25;
        if (!(std::fabs(g - w) <= tolerance)) {
            CHECK(false, "%s %s: [%zu] is %.17g, should be %.17g (tolerance %.3g)", what, kNames[got.dtype], i, g, w,
                  tolerance);
            return;
        }
    }
}

static void softmax_test(int d, int64_t outer, int64_t n, int64_t inner) {
    Array x = random(d, outer * n * inner, 3), y(d, x.n), ly(d, x.n), g = random(d, x.n), dx(d, x.n), ldx(d, x.n);
    Array lse(d, outer * inner);
    abi::softmax(d, x.at(), y.at(), outer, n, inner);
    abi::log_softmax(d, x.at(), ly.at(), outer, n, inner);
    abi::logsumexp(d, x.at(), lse.at(), outer, n, inner);
    abi::softmax_backward(d, y.at(), g.at(), dx.at(), outer, n, inner);
    abi::log_softmax_backward(d, ly.at(), g.at(), ldx.at(), outer, n, inner);
    V wy(x.n), wl(x.n), wlse(lse.n), wdx(x.n), wldx(x.n);
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t c = 0; c < inner; c++) {
            auto i = [&](int64_t j) { return (o * n + j) * inner + c; };
            double m = -INFINITY;
            long double s = 0, dot = 0, gs = 0;
            for (int64_t j = 0; j < n; j++) m = std::max(m, x.get(i(j)));
            for (int64_t j = 0; j < n; j++) s += std::exp(x.get(i(j)) - m);
            for (int64_t j = 0; j < n; j++) {
                wy[i(j)] = static_cast<double>(std::exp(x.get(i(j)) - m) / s);
                wl[i(j)] = static_cast<double>(x.get(i(j)) - m - std::log(s));
                dot += y.get(i(j)) * g.get(i(j));
                gs += g.get(i(j));
            }
            wlse[o * inner + c] = static_cast<double>(m + std::log(s));
            for (int64_t j = 0; j < n; j++) {
                wdx[i(j)] = y.get(i(j)) * static_cast<double>(g.get(i(j)) - dot);
                wldx[i(j)] = g.get(i(j)) - static_cast<double>(std::exp(ly.get(i(j))) * gs);
            }
        }
    }
    near("softmax", y, wy, 16, 0.1);
    near("log_softmax", ly, wl, 8, 4);
    near("logsumexp", lse, wlse, 8, 4);
    near("softmax_backward", dx, wdx, 16);
    near("log_softmax_backward", ldx, wldx, 16, std::sqrt(static_cast<double>(n)));
    Array again(d, x.n);
    again.bytes = x.bytes;
    abi::softmax(d, again.at(), again.at(), outer, n, inner);
    near("softmax in place", again, wy, 16, 0.1);
}

static void cross_entropy_test(int d, int64_t rows, int64_t classes, bool weighted, double smoothing, int reduction) {
    Array x = random(d, rows * classes, 2), w(compute(d), classes), t(5, rows);
    for (int64_t c = 0; c < classes; c++) w.set(c, 0.5 + rng.uniform());
    for (int64_t r = 0; r < rows; r++) t.set(r, r % 7 == 3 ? -100 : static_cast<double>(rng.next() % classes));
    Array result(compute(d), reduction == 0 ? rows : 1), lse(compute(d), rows), total(1, 1), dx(d, x.n);
    Array g = random(compute(d), result.n);
    int64_t bad = abi::cross_entropy(d, x.at(), t.at(), weighted ? w.at() : 0, rows, classes, -100, smoothing,
                                     reduction, result.at(), lse.at(), total.at());
    CHECK(bad == -1, "cross_entropy refused row %lld", static_cast<long long>(bad));
    abi::cross_entropy_backward(d, x.at(), t.at(), weighted ? w.at() : 0, rows, classes, -100, smoothing, reduction,
                                lse.at(), total.at(), g.at(), dx.at());
    V loss(rows), wdx(x.n);
    double sum = 0, weight = 0;
    auto wt = [&](int64_t c) { return weighted ? w.get(c) : 1.0; };
    for (int64_t r = 0; r < rows; r++) {
        if (t.get(r) != -100) weight += wt(static_cast<int64_t>(t.get(r)));
    }
    for (int64_t r = 0; r < rows; r++) {
        if (t.get(r) == -100) continue;
        auto target = static_cast<int64_t>(t.get(r));
        double m = -INFINITY, s = 0, ws = 0;
        for (int64_t c = 0; c < classes; c++) m = std::max(m, x.get(r * classes + c));
        for (int64_t c = 0; c < classes; c++) s += std::exp(x.get(r * classes + c) - m), ws += wt(c);
        double l = m + std::log(s), smooth = 0;
        for (int64_t c = 0; c < classes; c++) smooth += wt(c) * (l - x.get(r * classes + c));
        loss[r] = (1 - smoothing) * wt(target) * (l - x.get(r * classes + target)) + smoothing / classes * smooth;
        sum += loss[r];
        double gr = reduction == 0 ? g.get(r) : reduction == 1 ? g.get(0) / weight : g.get(0);
        for (int64_t c = 0; c < classes; c++) {
            double p = std::exp(x.get(r * classes + c) - l);
            wdx[r * classes + c] =
                gr * ((1 - smoothing) * wt(target) * (p - (c == target)) + smoothing / classes * (ws * p - wt(c)));
        }
    }
    near("cross_entropy", result, reduction == 0 ? loss : V{reduction == 1 ? sum / weight : sum}, 16, 4);
    near("cross_entropy_backward", dx, wdx, 32, reduction == 1 ? 2 / weight : 2);
    t.set(rows - 1, static_cast<double>(classes));
    CHECK(abi::cross_entropy(d, x.at(), t.at(), 0, rows, classes, -100, 0, 2, result.at(), 0, 0) == rows - 1,
          "bad target not found");
}

static void norm_test(int d, int64_t rows, int64_t n, bool affine) {
    Array x = random(d, rows * n, 2), w = random(d, n), b = random(d, n), dy = random(d, x.n);
    Array y(d, x.n), mean(compute(d), rows), rstd(compute(d), rows), dx(d, x.n), dw(d, n), db(d, n);
    abi::layer_norm(d, x.at(), affine ? w.at() : 0, affine ? b.at() : 0, rows, n, 1e-5, y.at(), mean.at(), rstd.at());
    abi::layer_norm_backward(d, dy.at(), x.at(), mean.at(), rstd.at(), affine ? w.at() : 0, rows, n, dx.at(), dw.at(),
                             db.at());
    V wy(x.n), wdx(x.n), wdw(n), wdb(n);
    V ry(x.n), rdx(x.n), rdw(n);
    for (int64_t r = 0; r < rows; r++) {
        double m = 0, v = 0, q = 0;
        for (int64_t i = 0; i < n; i++) m += x.get(r * n + i) / n;
        for (int64_t i = 0; i < n; i++)
            v += std::pow(x.get(r * n + i) - m, 2) / n, q += std::pow(x.get(r * n + i), 2) / n;
        double s = 1 / std::sqrt(v + 1e-5), rs = 1 / std::sqrt(q + 1e-5), c1 = 0, c2 = 0, c3 = 0;
        auto wi = [&](int64_t i) { return affine ? w.get(i) : 1.0; };
        for (int64_t i = 0; i < n; i++) {
            double xi = x.get(r * n + i), g = dy.get(r * n + i), hat = (xi - m) * s, rhat = xi * rs;
            wy[r * n + i] = hat * wi(i) + (affine ? b.get(i) : 0);
            ry[r * n + i] = rhat * wi(i);
            c1 += g * wi(i) * hat / n;
            c2 += g * wi(i) / n;
            c3 += g * wi(i) * rhat / n;
            wdw[i] += g * hat;
            wdb[i] += g;
            rdw[i] += g * rhat;
        }
        for (int64_t i = 0; i < n; i++) {
            double xi = x.get(r * n + i), g = dy.get(r * n + i) * wi(i);
            wdx[r * n + i] = (g - c2 - (xi - m) * s * c1) * s;
            rdx[r * n + i] = (g - xi * rs * c3) * rs;
        }
    }
    // A row of two elements has variances near 0 now and then, which magnify what the mean was rounded by.
    double f = n < 8 ? 4000 : 32;
    near("layer_norm", y, wy, f, 4);
    near("layer_norm_backward dx", dx, wdx, f * 4, 8);
    near("layer_norm_backward dw", dw, wdw, f, 4 * std::sqrt(static_cast<double>(rows)));
    near("layer_norm_backward db", db, wdb, f, 4 * std::sqrt(static_cast<double>(rows)));
    abi::rms_norm(d, x.at(), affine ? w.at() : 0, rows, n, 1e-5, y.at(), rstd.at());
    abi::rms_norm_backward(d, dy.at(), x.at(), rstd.at(), affine ? w.at() : 0, rows, n, dx.at(), dw.at());
    near("rms_norm", y, ry, f, 4);
    near("rms_norm_backward dx", dx, rdx, f * 4, 8);
    near("rms_norm_backward dw", dw, rdw, f, 4 * std::sqrt(static_cast<double>(rows)));
}

static void gemm_test(int d, int ta, int tb, int64_t m, int64_t n, int64_t k, double alpha, double beta, int64_t pad) {
    int64_t lda = (ta ? m : k) + pad, ldb = (tb ? k : n) + pad, ldc = n + pad;
    Array a = random(d, std::max<int64_t>(1, (ta ? k : m) * lda)),
          b = random(d, std::max<int64_t>(1, (tb ? n : k) * ldb));
    Array c = random(d, std::max<int64_t>(1, m * ldc)), before = c;
    if (beta == 0) {
        for (int64_t i = 0; i < m; i++) {
            for (int64_t j = 0; j < n; j++) c.set(i * ldc + j, NAN);
        }
    }
    V want = before.values();
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double s = 0;
            for (int64_t p = 0; p < k; p++)
                s += a.get(ta ? p * lda + i : i * lda + p) * b.get(tb ? j * ldb + p : p * ldb + j);
            want[i * ldc + j] = alpha * s + (beta == 0 ? 0 : beta * before.get(i * ldc + j));
        }
    }
    abi::gemm(d, ta, tb, m, n, k, alpha, a.at(), lda, b.at(), ldb, beta, c.at(), ldc);
    char name[100];
    std::snprintf(name, sizeof(name), "gemm %d%d %lldx%lldx%lld", ta, tb, static_cast<long long>(m),
                  static_cast<long long>(n), static_cast<long long>(k));
    near(name, c, want, 4 + std::sqrt(static_cast<double>(k)), 4 * std::sqrt(static_cast<double>(k)) + 1);
}

static void linear_test(int d, int64_t rows, int64_t in, int64_t out, bool bias) {
    Array x = random(d, rows * in), w = random(d, in * out), b = random(d, out), y(d, rows * out);
    abi::linear(d, x.at(), w.at(), bias ? b.at() : 0, rows, in, out, y.at());
    V want(y.n);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < out; j++) {
            double s = bias ? b.get(j) : 0;
            for (int64_t p = 0; p < in; p++) s += x.get(i * in + p) * w.get(j * in + p);
            want[i * out + j] = s;
        }
    }
    near("linear", y, want, 4 + std::sqrt(static_cast<double>(in)), 4 * std::sqrt(static_cast<double>(in)));
}

static void batched_test(int d) {
    const int64_t batch = 20, m = 5, n = 7, k = 9;
    Array a = random(d, 3 * m * k), b = random(d, batch * k * n), c(d, batch * m * n);
    std::vector<int64_t> at_a(batch);
    for (int64_t i = 0; i < batch; i++) at_a[i] = i % 3 * m * k;
    abi::gemm_batched(d, 0, 0, batch, m, n, k, 1, a.at(), k, 0, address(at_a.data()), b.at(), n, k * n, 0, 0, c.at(), n,
                      m * n);
    V want(c.n);
    for (int64_t t = 0; t < batch; t++) {
        for (int64_t i = 0; i < m; i++) {
            for (int64_t j = 0; j < n; j++) {
                for (int64_t p = 0; p < k; p++)
                    want[(t * m + i) * n + j] += a.get(at_a[t] + i * k + p) * b.get((t * k + p) * n + j);
            }
        }
    }
    near("gemm_batched", c, want, 8, 6);
}

static void attention_test(int d, int64_t B, int64_t H, int64_t tq, int64_t tk, int64_t D, bool causal) {
    // q, k, v packed as [B, T, 3, H, D] where lengths agree, to use strides.
    bool packed = tq == tk;
    Array qkv = random(d, packed ? B * tq * 3 * H * D : 1), q0 = random(d, B * H * tq * D),
          k0 = random(d, B * H * tk * D), v0 = random(d, B * H * tk * D);
    Array o(d, B * tq * H * D), lse(compute(d), B * H * tq), g = random(d, o.n);
    int64_t shape[17] = {B, H, tq, tk, D, H, tk - tq};
    int64_t st[24];
    int64_t qa, ka, va;
    if (packed) {
        for (int w = 0; w < 3; w++) st[3 * w] = tq * 3 * H * D, st[3 * w + 1] = D, st[3 * w + 2] = 3 * H * D;
        qa = qkv.at(), ka = qa + H * D * qkv.size(), va = ka + H * D * qkv.size();
    } else {
        for (int w = 0; w < 3; w++)
            st[3 * w] = H * (w ? tk : tq) * D, st[3 * w + 1] = (w ? tk : tq) * D, st[3 * w + 2] = D;
        qa = q0.at(), ka = k0.at(), va = v0.at();
    }
    for (int w = 3; w < 5; w++) st[3 * w] = tq * H * D, st[3 * w + 1] = D, st[3 * w + 2] = H * D;
    for (int w = 5; w < 8; w++) std::copy(st + 3 * (w - 5), st + 3 * (w - 5) + 3, st + 3 * w);
    double scale = 1 / std::sqrt(static_cast<double>(D));
    abi::attention(d, address(shape), address(st), scale, causal, qa, ka, va, o.at(), lse.at());
    Array dqkv(d, qkv.n), dq0(d, q0.n), dk0(d, k0.n), dv0(d, v0.n);
    int64_t dqa = packed ? dqkv.at() : dq0.at(), dka = packed ? dqa + H * D * qkv.size() : dk0.at(),
            dva = packed ? dka + H * D * qkv.size() : dv0.at();
    abi::attention_backward(d, address(shape), address(st), scale, causal, qa, ka, va, o.at(), lse.at(), g.at(), dqa,
                            dka, dva);
    V wo(o.n), wl(lse.n), wd(packed ? qkv.n : 0), wq(packed ? 0 : q0.n), wk(packed ? 0 : k0.n), wv(packed ? 0 : v0.n);
    for (int64_t b = 0; b < B; b++) {
        for (int64_t h = 0; h < H; h++) {
            auto at = [&](int w, int64_t t, int64_t e) {
                return b * st[3 * w] + h * st[3 * w + 1] + t * st[3 * w + 2] + e;
            };
            const Array &Q = packed ? qkv : q0, &K = packed ? qkv : k0, &U = packed ? qkv : v0;
            int64_t ko = packed ? H * D : 0, vo = packed ? 2 * H * D : 0;
            for (int64_t i = 0; i < tq; i++) {
                int64_t visible = causal ? std::max<int64_t>(0, std::min(tk, i + tk - tq + 1)) : tk;
                V s(tk), p(tk), dp(tk);
                double m = -INFINITY, z = 0, along = 0;
                for (int64_t j = 0; j < visible; j++) {
                    for (int64_t e = 0; e < D; e++) s[j] += scale * Q.get(at(0, i, e)) * K.get(ko + at(1, j, e));
                    m = std::max(m, s[j]);
                }
                for (int64_t j = 0; j < visible; j++) z += p[j] = std::exp(s[j] - m);
                wl[(b * H + h) * tq + i] = visible ? m + std::log(z) : -INFINITY;
                for (int64_t j = 0; j < visible; j++) {
                    p[j] /= z;
                    for (int64_t e = 0; e < D; e++) {
                        wo[at(3, i, e)] += p[j] * U.get(vo + at(2, j, e));
                        dp[j] += g.get(at(4, i, e)) * U.get(vo + at(2, j, e));
                    }
                }
                for (int64_t e = 0; e < D; e++) along += g.get(at(4, i, e)) * o.get(at(3, i, e));
                for (int64_t j = 0; j < visible; j++) {
                    double ds = p[j] * (dp[j] - along) * scale;
                    for (int64_t e = 0; e < D; e++) {
                        (packed ? wd : wq)[at(0, i, e)] += ds * K.get(ko + at(1, j, e));
                        (packed ? wd : wk)[ko + at(1, j, e)] += ds * Q.get(at(0, i, e));
                        (packed ? wd : wv)[vo + at(2, j, e)] += p[j] * g.get(at(4, i, e));
                    }
                }
            }
        }
    }
    double f = 32, s = std::sqrt(static_cast<double>(D)) + std::sqrt(static_cast<double>(std::max(tq, tk)));
    near("attention", o, wo, f, 2);
    near("attention lse", lse, wl, f, 2);
    if (packed) {
        near("attention_backward", dqkv, wd, f, s);
    } else {
        near("attention_backward dq", dq0, wq, f, s);
        near("attention_backward dk", dk0, wk, f, s);
        near("attention_backward dv", dv0, wv, f, s);
    }
}

static void conv_test(int d, std::initializer_list<int64_t> numbers, bool bias) {
    int64_t q[16];
    std::copy(numbers.begin(), numbers.end(), q);
    int64_t N = q[0], C = q[1], H = q[2], W = q[3], O = q[4], kh = q[5], kw = q[6], sh = q[7], sw = q[8], ph = q[9],
            pw = q[10], dh = q[11], dw = q[12], G = q[13];
    int64_t OH = q[14] = (H + 2 * ph - dh * (kh - 1) - 1) / sh + 1,
            OW = q[15] = (W + 2 * pw - dw * (kw - 1) - 1) / sw + 1;
    int64_t cg = C / G, og = O / G;
    Array x = random(d, N * C * H * W), w = random(d, O * cg * kh * kw), b = random(d, O), y(d, N * O * OH * OW),
          dy = random(d, y.n);
    Array dx(d, x.n), dwt(d, w.n), db(d, O);
    abi::conv2d(d, address(q), x.at(), w.at(), bias ? b.at() : 0, y.at());
    abi::conv2d_backward(d, address(q), x.at(), w.at(), dy.at(), dx.at(), dwt.at(), db.at());
    V wy(y.n), wdx(x.n), wdw(w.n), wdb(O);
    for (int64_t n = 0; n < N; n++) {
        for (int64_t o = 0; o < O; o++) {
            for (int64_t i = 0; i < OH; i++) {
                for (int64_t j = 0; j < OW; j++) {
                    int64_t at = ((n * O + o) * OH + i) * OW + j;
                    double g = dy.get(at), sum = bias ? b.get(o) : 0;
                    wdb[o] += g;
                    for (int64_t c = 0; c < cg; c++) {
                        for (int64_t u = 0; u < kh; u++) {
                            for (int64_t v = 0; v < kw; v++) {
                                int64_t r = i * sh - ph + u * dh, s = j * sw - pw + v * dw;
                                if (r < 0 || r >= H || s < 0 || s >= W) continue;
                                int64_t xi = ((n * C + o / og * cg + c) * H + r) * W + s,
                                        wi = ((o * cg + c) * kh + u) * kw + v;
                                sum += x.get(xi) * w.get(wi);
                                wdx[xi] += g * w.get(wi);
                                wdw[wi] += g * x.get(xi);
                            }
                        }
                    }
                    wy[at] = sum;
                }
            }
        }
    }
    double k = static_cast<double>(cg * kh * kw);
    near("conv2d", y, wy, 8, 4 * std::sqrt(k));
    near("conv2d_backward dx", dx, wdx, 8, 4 * std::sqrt(static_cast<double>(og * kh * kw)));
    near("conv2d_backward dweight", dwt, wdw, 16, 4 * std::sqrt(static_cast<double>(N * OH * OW)));
    near("conv2d_backward dbias", db, wdb, 16, 4 * std::sqrt(static_cast<double>(N * OH * OW)));
}

static void pool_test(int d) {
    int64_t q[] = {6, 9, 11, 3, 2, 2, 3, 1, 1, 1, 1, 5, 4};
    int64_t P = q[0], H = q[1], W = q[2], OH = q[11], OW = q[12];
    Array x = random(d, P * H * W), y(d, P * OH * OW), a(d, y.n), idx(5, y.n), dy = random(d, y.n), dx(d, x.n),
          da(d, x.n);
    for (int include = 0; include < 2; include++) {
        abi::max_pool2d(d, address(q), x.at(), y.at(), idx.at());
        abi::max_pool2d_backward(d, address(q), dy.at(), idx.at(), dx.at());
        abi::avg_pool2d(d, address(q), include, x.at(), a.at());
        abi::avg_pool2d_backward(d, address(q), include, dy.at(), da.at());
        V wy(y.n), wa(y.n), wdx(x.n), wda(x.n);
        for (int64_t p = 0; p < P; p++) {
            for (int64_t i = 0; i < OH; i++) {
                for (int64_t j = 0; j < OW; j++) {
                    int64_t at = (p * OH + i) * OW + j, where = -1, count = 0, padded = 0;
                    double best = -INFINITY, sum = 0;
                    for (int pass = 0; pass < 2; pass++) {
                        for (int64_t u = 0; u < q[3]; u++) {
                            for (int64_t v = 0; v < q[4]; v++) {
                                int64_t r = i * q[5] - q[7] + u, s = j * q[6] - q[8] + v;
                                if (pass == 0 && r < H + q[7] && s < W + q[8]) padded++;
                                if (r < 0 || r >= H || s < 0 || s >= W) continue;
                                int64_t xi = (p * H + r) * W + s;
                                if (pass == 1) {
                                    wda[xi] += dy.get(at) / static_cast<double>(include ? padded : count);
                                } else {
                                    count++;
                                    sum += x.get(xi);
                                    if (x.get(xi) > best) best = x.get(xi), where = xi;
                                }
                            }
                        }
                    }
                    wy[at] = best;
                    wa[at] = sum / static_cast<double>(include ? padded : count);
                    wdx[where] += dy.get(at);
                }
            }
        }
        near("max_pool2d", y, wy, 0);
        near("max_pool2d_backward", dx, wdx, 2, 2);
        near("avg_pool2d", a, wa, 2);
        near("avg_pool2d_backward", da, wda, 4);
    }
}

static void indexing_test(int d, int index_dtype) {
    const int64_t outer = 3, dim = 11, inner = 37, k = 50;
    Array x = random(d <= 3 ? d : d, outer * dim * inner), out(d, outer * k * inner), idx(index_dtype, k);
    for (int64_t j = 0; j < k; j++) idx.set(j, static_cast<double>(static_cast<int64_t>(rng.next() % (2 * dim)) - dim));
    CHECK(abi::check_indices(index_dtype, idx.at(), k, dim) == -1, "good index refused");
    CHECK(abi::check_indices(index_dtype, idx.at(), k, 3) >= 0, "bad index accepted");
    abi::index_select(x.size(), x.at(), index_dtype, idx.at(), outer, dim, inner, k, out.at());
    auto pos = [&](const Array& a, int64_t j) {
        auto i = static_cast<int64_t>(a.get(j));
        return i < 0 ? i + dim : i;
    };
    V want(out.n);
    for (int64_t t = 0; t < out.n; t++)
        want[t] = x.get((t / inner / k * dim + pos(idx, t / inner % k)) * inner + t % inner);
    near("index_select", out, want, 0);
    Array src = random(d, out.n, d > 3 ? 50 : 1), sum = random(d, x.n, d > 3 ? 50 : 1);
    V ws = sum.values();
    for (int64_t t = 0; t < out.n; t++)
        ws[(t / inner / k * dim + pos(idx, t / inner % k)) * inner + t % inner] += src.get(t);
    abi::index_add(d, src.at(), index_dtype, idx.at(), outer, dim, inner, k, -1, sum.at());
    near("index_add", sum, ws, 8, 4);
    Array full(index_dtype, out.n), got(d, out.n), acc = random(d, x.n, d > 3 ? 50 : 1);
    for (int64_t j = 0; j < full.n; j++)
        full.set(j, static_cast<double>(static_cast<int64_t>(rng.next() % (2 * dim)) - dim));
    abi::gather(x.size(), x.at(), index_dtype, full.at(), outer, dim, inner, k, got.at());
    V wa = acc.values(), wset(x.n, 0.0);
    for (int64_t t = 0; t < out.n; t++) {
        int64_t from = (t / inner / k * dim + pos(full, t)) * inner + t % inner;
        want[t] = x.get(from);
        wa[from] += src.get(t);
        wset[from] = src.get(t);
    }
    near("gather", got, want, 0);
    abi::scatter_add(d, src.at(), index_dtype, full.at(), outer, dim, inner, k, acc.at());
    near("scatter_add", acc, wa, 8, 4);
    Array set = filled(d, x.n, 0);
    abi::scatter(x.size(), src.at(), index_dtype, full.at(), outer, dim, inner, k, set.at());
    near("scatter", set, wset, 0);
    Array rows = filled(d, x.n, 0);
    V wrows(x.n, 0.0);
    for (int64_t t = 0; t < out.n; t++) wrows[(t / inner / k * dim + pos(idx, t / inner % k)) * inner + t % inner] = src.get(t);
    abi::index_copy(x.size(), src.at(), index_dtype, idx.at(), outer, dim, inner, k, rows.at());
    near("index_copy", rows, wrows, 0);
    Array reduced(d, x.n);
    V wmost = x.values();
    for (int64_t t = 0; t < out.n; t++) {
        double& to = wmost[(t / inner / k * dim + pos(full, t)) * inner + t % inner];
        to = std::max(to, src.get(t));
    }
    abi::scatter_reduce(d, x.at(), src.at(), index_dtype, full.at(), outer, dim, inner, k,
                        abi::scatter_reduction_code("amax"), 1, reduced.at());
    near("scatter_reduce", reduced, wmost, 0);
    Array steps(d, 9), wanted(d, 4), places(5, 4);
    for (int64_t i = 0; i < 9; i++) steps.set(i, static_cast<double>(i / 2));
    for (int64_t i = 0; i < 4; i++) wanted.set(i, static_cast<double>(i * 2));
    abi::search_sorted(d, steps.at(), wanted.at(), 4, 9, 4, 0, places.at());
    near("search_sorted", places, V{0, 4, 8, 9}, 0);
    abi::search_sorted(d, steps.at(), wanted.at(), 4, 9, 4, 1, places.at());
    near("search_sorted to the right", places, V{2, 6, 9, 9}, 0);
    Array cum(d, x.n);
    abi::cumsum(d, x.at(), outer, dim, inner, cum.at());
    V wc = x.values();
    for (int64_t t = 0; t < x.n; t++) {
        if (t / inner % dim > 0) wc[t] += wc[t - inner];
    }
    near("cumsum", cum, wc, 2, 1);
}

static void order_test(int d) {
    const int64_t rows = 3, n = 200;
    Array x = random(d, rows * n, 20), v(d, x.n), i(5, x.n);
    for (int64_t t = 0; t < x.n; t++) {
        x.set(t, d >= 6 ? static_cast<double>(rng.next() % (d == 7 ? 2 : 200)) : std::floor(x.get(t)));
        if (d < 4 && t % 41 == 5) x.set(t, NAN);
    }
    for (int descending = 0; descending < 2; descending++) {
        abi::sort(d, x.at(), rows, n, descending, v.at(), i.at());
        const int64_t k = 17;
        Array kv(d, rows * k), ki(5, rows * k);
        abi::topk(d, x.at(), rows, n, k, descending, kv.at(), ki.at());
        for (int64_t r = 0; r < rows; r++) {
            std::vector<int64_t> order(n);
            for (int64_t t = 0; t < n; t++) order[t] = t;
            auto key = [&](int64_t t) {
                double y = x.get(r * n + t);
                return y != y ? INFINITY : y;
            };
            std::stable_sort(order.begin(), order.end(),
                             [&](int64_t a, int64_t b) { return descending ? key(a) > key(b) : key(a) < key(b); });
            for (int64_t t = 0; t < n; t++) {
                CHECK(i.get(r * n + t) == static_cast<double>(order[t]), "sort %s: wrong index", kNames[d]);
                double a = v.get(r * n + t), b = x.get(r * n + order[t]);
                CHECK(a == b || (a != a && b != b), "sort %s: wrong value", kNames[d]);
                if (t < k) CHECK(ki.get(r * k + t) == static_cast<double>(order[t]), "topk %s: wrong index", kNames[d]);
            }
        }
    }
    int64_t shape[] = {rows, n}, count = 0;
    for (int64_t t = 0; t < x.n; t++) count += x.get(t) != 0;
    CHECK(abi::nonzero_count(d, x.at(), x.n) == count, "nonzero_count %s", kNames[d]);
    Array at(5, 2 * count);
    abi::nonzero(d, x.at(), 2, address(shape), at.at());
    int64_t c = 0;
    for (int64_t t = 0; t < x.n; t++) {
        if (x.get(t) == 0) continue;
        CHECK(at.get(2 * c) == static_cast<double>(t / n) && at.get(2 * c + 1) == static_cast<double>(t % n),
              "nonzero %s", kNames[d]);
        c++;
    }
    CHECK(at.guard(), "nonzero wrote behind the end");
}

static void philox_reference(uint64_t seed, uint64_t block, uint32_t out[4]) {
    uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0};
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int r = 0; r < 10; r++) {
        uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
        uint32_t n[4] = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(b),
                         static_cast<uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(a)};
        std::copy(n, n + 4, c);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    std::copy(c, c + 4, out);
}

static uint64_t fnv(const void* p, size_t n) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++) h = (h ^ static_cast<const unsigned char*>(p)[i]) * 0x100000001b3ull;
    return h;
}

static void random_test() {
    // Known answer of the reference implementation: key and counter zero.
    uint32_t zero[4];
    philox_reference(0, 0, zero);
    CHECK(zero[0] == 0x6627e8d5 && zero[1] == 0xe169c58d && zero[2] == 0xbc57ac4c && zero[3] == 0x9b00dbd8,
          "the test's own philox is wrong");
    const int64_t n = 100003, seed = 0x123456789abcdef0, offset = 0xfffffffe;
    std::vector<uint32_t> lanes(n);
    abi::random_bits(seed, offset, n, address(lanes.data()));
    for (int64_t i = 0; i < n; i++) {
        uint32_t b[4];
        philox_reference(seed, offset + i / 4, b);
        CHECK(lanes[i] == b[i % 4], "lane %lld", static_cast<long long>(i));
    }
    auto pair = [&](int64_t i) {
        uint32_t b[4];
        philox_reference(seed, offset + i / 2, b);
        return uint64_t{b[i % 2 * 2]} << 32 | b[i % 2 * 2 + 1];
    };
    Array u(0, n), w(1, n), z(0, n), zd(1, n), h(2, n), l(5, n), m(7, n);
    abi::random_uniform(0, seed, offset, n, 0, 1, u.at());
    abi::random_uniform(1, seed, offset, n, 0, 1, w.at());
    abi::random_uniform(2, seed, offset, n, 0, 1, h.at());
    abi::random_normal(0, seed, offset, n, 0, 1, z.at());
    abi::random_normal(1, seed, offset, n, 0, 1, zd.at());
    abi::random_integers(5, seed, offset, n, -5, 11, l.at());
    abi::random_mask(seed, offset, n, int64_t{1} << 30, m.at());
    double s1 = 0, s2 = 0, d1 = 0, d2 = 0, kept = 0;
    for (int64_t i = 0; i < n; i++) {
        CHECK(u.get(i) == (lanes[i] >> 8) * 0x1p-24, "uniform f32");
        CHECK(h.get(i) == (lanes[i] >> 21) * 0x1p-11, "uniform f16");
        CHECK(w.get(i) == (pair(i) >> 11) * 0x1p-53, "uniform f64");
        CHECK(l.get(i) == static_cast<double>(static_cast<int64_t>(uint64_t{lanes[i]} * 11 >> 32) - 5), "integers");
        CHECK(m.get(i) == (lanes[i] >= 1u << 30), "mask");
        kept += m.get(i);
        int64_t e = i / 2 * 2;
        if (e + 1 < n) {
            double u1 = ((lanes[e] >> 8) + 1) * 0x1p-24, u2 = (lanes[e + 1] >> 8) * 0x1p-24,
                   r = std::sqrt(-2 * std::log(u1));
            double want = i % 2 ? r * std::sin(2 * kPi * u2) : r * std::cos(2 * kPi * u2);
            CHECK(std::fabs(z.get(i) - want) <= 4 * 0x1p-24 * (r + 0.1), "normal f32 %lld: %.9g %.9g",
                  static_cast<long long>(i), z.get(i), want);
        }
        double v1 = (static_cast<double>(pair(e) >> 12) + 1) * 0x1p-52, v2 = (pair(e + 1) >> 12) * 0x1p-52,
               r = std::sqrt(-2 * std::log(v1));
        double want = i % 2 ? r * std::sin(2 * kPi * v2) : r * std::cos(2 * kPi * v2);
        CHECK(std::fabs(zd.get(i) - want) <= 8 * 0x1p-53 * (r + 0.1), "normal f64 %lld: %.17g %.17g",
              static_cast<long long>(i), zd.get(i), want);
        s1 += z.get(i), s2 += z.get(i) * z.get(i), d1 += zd.get(i), d2 += zd.get(i) * zd.get(i);
    }
    CHECK(std::fabs(s1 / n) < 0.02 && std::fabs(s2 / n - 1) < 0.03, "normal f32 moments %g %g", s1 / n, s2 / n);
    CHECK(std::fabs(d1 / n) < 0.02 && std::fabs(d2 / n - 1) < 0.03, "normal f64 moments %g %g", d1 / n, d2 / n);
    CHECK(std::fabs(kept / n - 0.75) < 0.01, "mask mean %g", kept / n);
    // The bits are the same on every instruction set, thread count and in Java.
    std::printf("normal bits: f32 %016llx f64 %016llx\n", static_cast<unsigned long long>(fnv(z.bytes.data(), n * 4)),
                static_cast<unsigned long long>(fnv(zd.bytes.data(), n * 8)));
    CHECK(fnv(z.bytes.data(), n * 4) == 0x72467174b5d29f41, "normal f32: other bits");
    CHECK(fnv(zd.bytes.data(), n * 8) == 0xbc7d2191ed4db282, "normal f64: other bits");
    abi::random_integers(5, seed, offset, n, INT64_MIN, 0, l.at());
    for (int64_t i = 0; i < n; i++)
        CHECK(reinterpret_cast<const uint64_t*>(l.bytes.data())[i] == pair(i) + (uint64_t{1} << 63), "integers 64");
    for (int d = 0; d < 4; d++) {
        Array x = random(d, n), y(d, n), dx(d, n);
        abi::dropout(d, x.at(), seed, offset, n, int64_t{1} << 30, 4 / 3.0, y.at(), m.at());
        abi::dropout_backward(d, x.at(), m.at(), n, 4 / 3.0, dx.at());
        V want(n);
        for (int64_t i = 0; i < n; i++) want[i] = lanes[i] >= 1u << 30 ? x.get(i) * 4 / 3 : 0;
        near("dropout", y, want, 2, 0);
        near("dropout_backward", dx, want, 2, 0);
    }
}

static void optimizer_test(int d) {
    const int64_t n = 70001;
    const int scalar = 1;
    int64_t steps[] = {2, 2};
    Array p = random(d, n), g = random(d, n), m = random(compute(d), n, 0.1), v(compute(d), n), tiny = random(d, 3),
          tg = random(d, 3), tm = filled(compute(d), 3, 0), tv = filled(compute(d), 3, 0);
    for (int64_t i = 0; i < n; i++) v.set(i, rng.uniform() * 0.1);
    int64_t list[] = {tiny.at(), tg.at(), tm.at(), tv.at(), 0, address(steps),     3,
                      p.at(),    g.at(),  m.at(),  v.at(),  0, address(steps + 1), n};
    Array lr = filled(scalar, 1, 0.01), gs = filled(scalar, 1, 0.5), skip = filled(0, 1, 1);
    for (int decoupled = 0; decoupled < 2; decoupled++) {
        V wp(n), wm(n), wv(n);
        double rate = lr.get(0);
        for (int64_t i = 0; i < n; i++) {
            double x = p.get(i), q = g.get(i) * 0.5 + (decoupled ? 0 : 0.1 * x);
            wm[i] = 0.9 * m.get(i) + 0.1 * q;
            wv[i] = 0.99 * v.get(i) + 0.01 * q * q;
            wp[i] = x * (decoupled ? 1 - rate * 0.1 : 1) -
                    rate * (wm[i] / (1 - std::pow(0.9, 3))) / (std::sqrt(wv[i] / (1 - std::pow(0.99, 3))) + 1e-8);
        }
        Array old = p;
        abi::adam(d, address(list), 2, 0.9, 0.99, 1e-8, 0.1, decoupled, lr.at(), gs.at(), skip.at());
        CHECK(old.bytes == p.bytes && steps[1] == 2, "adam: skip was not heeded");
        abi::adam(d, address(list), 2, 0.9, 0.99, 1e-8, 0.1, decoupled, lr.at(), gs.at(), 0);
        CHECK(steps[0] == 3 && steps[1] == 3, "adam: steps were not counted");
        steps[0] = steps[1] = 2;
        near("adam", p, wp, 64, 0.1);
        near("adam m", m, wm, 8, 0.1);
        near("adam v", v, wv, 8, 0.1);
    }
    for (int first = 0; first < 2; first++) {
        V wp(n), wm(n);
        steps[0] = steps[1] = first ? 0 : 2;
        for (int64_t i = 0; i < n; i++) {
            double q = g.get(i) * 0.5 + 0.1 * p.get(i);
            wm[i] = first ? q : 0.9 * m.get(i) + q;
            wp[i] = p.get(i) - lr.get(0) * (q + 0.9 * wm[i]);
        }
        abi::sgd(d, address(list), 2, 0.9, 0, 1, 0.1, lr.at(), gs.at(), 0);
        near("sgd", p, wp, 16);
        near("sgd m", m, wm, 8);
    }
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += static_cast<long double>(g.get(i)) * g.get(i);
    for (int64_t i = 0; i < 3; i++) sum += static_cast<long double>(tg.get(i)) * tg.get(i);
    const double total = static_cast<double>(sum);
    Array norm(scalar, 1), factor(scalar, 1);
    abi::grad_norm(d, address(list), 2, 1, 0, norm.at(), factor.at(), skip.at());
    // Squares are summed in doubles, without vectors of 512 bits in few lanes, so thousands one after the other.
    const double roundings = std::sqrt(static_cast<double>(n)) / 3;
    near("grad_norm", norm, {std::sqrt(total)}, roundings, 0);
    near("grad_norm scale", factor, {1 / (std::sqrt(total) + 1e-6)}, roundings, 0);
    CHECK(skip.get(0) == 0, "grad_norm: skip");
    V wg = g.values();
    for (double& x : wg) x *= factor.get(0);
    abi::scale_grads(d, address(list), 2, factor.at());
    near("scale_grads", g, wg, 2, 0);  // the factor is rounded, then the product
    tg.set(1, INFINITY);
    abi::grad_norm(d, address(list), 2, 1, 0, norm.at(), factor.at(), skip.at());
    CHECK(skip.get(0) == 1, "grad_norm: an infinite gradient must skip");
}

// Everything that sums, once with one thread and once with three.
static void thread_test() {
    auto run = [](int threads) {
        merapi::set_num_threads(threads);
        rng = Random();
        std::vector<char> all;
        auto keep = [&](const Array& a) { all.insert(all.end(), a.bytes.begin(), a.bytes.end()); };
        for (int ta = 0; ta < 2; ta++) {
            Array a = random(0, 300 * 500), b = random(0, 500 * 200), c(0, 300 * 200);
            abi::gemm(0, ta, 1 - ta, 300, 200, 500, 1, a.at(), ta ? 300 : 500, b.at(), ta ? 200 : 500, 0, c.at(), 200);
            keep(c);
        }
        Array x = random(0, 2000 * 100), mean(0, 2000), rstd(0, 2000), y(0, x.n), dx(0, x.n), dw(0, 100), db(0, 100);
        abi::layer_norm(0, x.at(), 0, 0, 2000, 100, 1e-5, y.at(), mean.at(), rstd.at());
        abi::layer_norm_backward(0, x.at(), y.at(), mean.at(), rstd.at(), 0, 2000, 100, dx.at(), dw.at(), db.at());
        keep(dx), keep(dw), keep(db);
        for (int64_t heads : {2, 20}) {
            Array q = random(0, heads * 150 * 16), o(0, q.n), lse(0, heads * 150), g = random(0, q.n), dq(0, q.n),
                  dk(0, q.n), dv(0, q.n);
            int64_t shape[17] = {1, heads, 150, 150, 16, heads, 0}, st[24];
            for (int w = 0; w < 8; w++) st[3 * w] = 0, st[3 * w + 1] = 150 * 16, st[3 * w + 2] = 16;
            abi::attention(0, address(shape), address(st), 0.25, 1, q.at(), q.at(), q.at(), o.at(), lse.at());
            abi::attention_backward(0, address(shape), address(st), 0.25, 1, q.at(), q.at(), q.at(), o.at(), lse.at(),
                                    g.at(), dq.at(), dk.at(), dv.at());
            keep(o), keep(dq), keep(dk), keep(dv);
        }
        int64_t conv[] = {9, 3, 20, 20, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 20, 20};
        Array im = random(0, 9 * 3 * 400), w = random(0, 8 * 27), co(0, 9 * 8 * 400), dim(0, im.n), dwt(0, w.n),
              dbt(0, 8);
        abi::conv2d(0, address(conv), im.at(), w.at(), 0, co.at());
        abi::conv2d_backward(0, address(conv), im.at(), w.at(), co.at(), dim.at(), dwt.at(), dbt.at());
        keep(co), keep(dim), keep(dwt), keep(dbt);
        Array bits(0, 100000);
        abi::random_normal(0, 1, 2, bits.n, 0, 1, bits.at());
        keep(bits);
        return all;
    };
    CHECK(run(1) == run(3), "results depend on the number of threads");
    merapi::set_num_threads(2);
}

// Sizes at the edge: nothing where there is something to be summed, and windows that no image fills.
static void edge_test(int d) {
    const int64_t huge = int64_t{1} << 40, most = INT64_MAX;
    {  // no images: the weight's gradient is a sum over nothing
        int64_t q[] = {0, 2, 5, 5, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 5, 5};
        Array none(d, 1), w = random(d, 54), dwt = random(d, 54);
        abi::conv2d(d, address(q), none.at(), w.at(), 0, none.at());
        abi::conv2d_backward(d, address(q), none.at(), w.at(), none.at(), none.at(), dwt.at(), 0);
        near("conv2d_backward dweight of no images", dwt, V(54, 0.0), 0);
    }
    {  // no outputs, and a kernel that no memory holds: so is the image's
        int64_t q[] = {1, 1, 4, 4, 0, huge, 1, 1, 1, huge, 0, 1, 1, 1, huge + 5, 4};
        Array none(d, 1), dx = random(d, 16);
        abi::conv2d_backward(d, address(q), none.at(), none.at(), none.at(), dx.at(), 0, 0);
        near("conv2d_backward dx of no outputs", dx, V(16, 0.0), 0);
    }
    {  // one window with a stride near 2^63
        int64_t q[] = {1, 1, 2, 2, 1, 2, 2, most, most, 0, 0, 1, 1, 1, 1, 1};
        Array x = random(d, 4), w = filled(d, 4, 1), y(d, 1), dx(d, 4), one = filled(d, 1, 1);
        abi::conv2d(d, address(q), x.at(), w.at(), 0, y.at());
        near("conv2d of a huge stride", y, V{x.get(0) + x.get(1) + x.get(2) + x.get(3)}, 8, 4);
        abi::conv2d_backward(d, address(q), x.at(), w.at(), one.at(), dx.at(), 0, 0);
        near("conv2d_backward of a huge stride", dx, V(4, 1.0), 0);
    }
    {  // a row whose patches are cut: a long line under a wide kernel, in numbers of which every sum is exact
        const int64_t taps = 1100, outputs = 1200, width = outputs + taps - 1;
        int64_t q[] = {1, 1, 1, width, 1, 1, taps, 1, 1, 0, 0, 1, 1, 1, 1, outputs};
        Array x(d, width), w(d, taps), dy(d, outputs), y(d, outputs), dx(d, width), dwt(d, taps);
        for (int64_t i = 0; i < width; i++) x.set(i, static_cast<double>(i % 3 - 1));
        for (int64_t k = 0; k < taps; k++) w.set(k, k % 50 == 0);
        for (int64_t j = 0; j < outputs; j++) dy.set(j, j % 100 == 99);
        V wy(outputs, 0.0), wdx(width, 0.0), wdw(taps, 0.0);
        for (int64_t j = 0; j < outputs; j++) {
            for (int64_t k = 0; k < taps; k++) {
                wy[j] += x.get(j + k) * w.get(k);
                wdx[j + k] += dy.get(j) * w.get(k);
                wdw[k] += dy.get(j) * x.get(j + k);
            }
        }
        abi::conv2d(d, address(q), x.at(), w.at(), 0, y.at());
        abi::conv2d_backward(d, address(q), x.at(), w.at(), dy.at(), dx.at(), dwt.at(), 0);
        near("conv2d of a cut row", y, wy, 0);
        near("conv2d_backward dx of a cut row", dx, wdx, 0);
        near("conv2d_backward dweight of a cut row", dwt, wdw, 0);
    }
    {  // windows larger than the image, at once
        int64_t q[] = {1, 2, 2, huge, huge, huge, huge, huge / 2, huge / 2, 1, 1, 1, 1};
        Array x(d, 4), y(d, 1), idx(5, 1), dx(d, 4), one = filled(d, 1, 1);
        for (int64_t i = 0; i < 4; i++) x.set(i, i == 2 ? 3 : 1);
        abi::max_pool2d(d, address(q), x.at(), y.at(), idx.at());
        near("max_pool2d of a huge window", y, V{3}, 0);
        abi::max_pool2d_backward(d, address(q), one.at(), idx.at(), dx.at());
        near("max_pool2d_backward of a huge window", dx, V{0, 0, 1, 0}, 0);
        abi::avg_pool2d(d, address(q), 0, x.at(), y.at());
        near("avg_pool2d of a huge window", y, V{1.5}, 2);
        abi::avg_pool2d(d, address(q), 1, x.at(), y.at());
        abi::avg_pool2d_backward(d, address(q), 1, one.at(), dx.at());
        int64_t dilated[] = {1, 2, 2, 2, 2, 1, 1, 0, 0, huge, huge, 1, 1};
        abi::max_pool2d(d, address(dilated), x.at(), y.at(), idx.at());
    }
    for (int index_dtype : {4, 5}) {  // indices that were not checked, as if another thread had written them since
        Array x = random(d, 6), idx(index_dtype, 2), out(d, 4), src = random(d, 4);
        idx.set(0, 1);
        idx.set(1, 1e9);
        CHECK(abi::index_select(x.size(), x.at(), index_dtype, idx.at(), 1, 3, 2, 2, out.at()) == 1, "index_select");
        CHECK(out.get(2) == 0 && out.get(3) == 0 && out.get(0) == x.get(2), "index_select leaves out");
        CHECK(abi::index_add(d, src.at(), index_dtype, idx.at(), 1, 3, 2, 2, -1, x.at()) == 1, "index_add");
        CHECK(abi::gather(x.size(), x.at(), index_dtype, idx.at(), 1, 6, 1, 2, out.at()) == 1, "gather");
        CHECK(abi::scatter(x.size(), src.at(), index_dtype, idx.at(), 1, 6, 1, 2, x.at()) == 1, "scatter");
        CHECK(abi::scatter_add(d, src.at(), index_dtype, idx.at(), 1, 6, 1, 2, x.at()) == 1, "scatter_add");
        CHECK(abi::index_copy(x.size(), src.at(), index_dtype, idx.at(), 1, 3, 2, 2, x.at()) == 1, "index_copy");
        Array same(d, 6);
        CHECK(abi::scatter_reduce(d, x.at(), src.at(), index_dtype, idx.at(), 1, 6, 1, 2, 1, 1, same.at()) == 1,
              "scatter_reduce");
    }
    Array x = random(d, 6), t(5, 2), lse = random(d == 1 ? 1 : 0, 2), total = filled(1, 1, 1), g = random(compute(d), 2), dx(d, 6);
    Array few = random(d, 2);
    t.set(0, 2);
    t.set(1, 3);
    CHECK(abi::cross_entropy_backward(d, x.at(), t.at(), 0, 2, 3, -100, 0, 0, lse.at(), total.at(), g.at(), dx.at()) == 1,
          "cross_entropy_backward");
    CHECK(abi::nll_loss_backward(d, t.at(), 0, 2, 3, -100, 0, few.at(), dx.at()) == 1, "nll_loss_backward");
}

// The processor as our cpuid sees it is the one that the compiler's own code sees.
static void isa_test() {
#if defined(__x86_64__) && !defined(__clang__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    int want = avx512 ? 2 : avx2 ? 1 : 0;
    if (std::getenv("MERAPI_CPU_ISA") == nullptr) CHECK(abi::isa_level() == want, "isa %d, not %d", abi::isa_level(), want);
#endif
}

#if defined(__linux__)
// Files as they stand in containers, in services and on machines without either.
static void cgroup_test() {
    namespace fs = std::filesystem;
    const fs::path all = fs::temp_directory_path() /
                         ("merapi_cgroup_" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count()));
    int machine = 0;
    fs::path root = all / "0";
    auto write = [&](const char* name, const char* text) {
        fs::create_directories((root / name).parent_path());
        std::ofstream(root / name) << text;
    };
    auto limit = [&] {
        int64_t bytes = merapi::cgroup_memory_limit(root.string().c_str());
        root = all / std::to_string(++machine);
        return bytes;
    };
    CHECK(limit() == -1, "no files");
    write("proc/self/cgroup", "0::/\n");
    write("sys/fs/cgroup/memory.max", "536870912\n");
    CHECK(limit() == 536870912, "version 2, a container");
    write("proc/self/cgroup", "0::/user.slice/a.service\n");
    write("sys/fs/cgroup/user.slice/memory.max", "1000000\n");
    write("sys/fs/cgroup/user.slice/a.service/memory.max", "max\n");
    CHECK(limit() == 1000000, "version 2, the slice above a service");
    write("proc/self/cgroup", "0::/unseen/by/the/container\n");
    write("sys/fs/cgroup/memory.max", "2000000\n");
    CHECK(limit() == 2000000, "version 2, names of the host");
    write("proc/self/cgroup", "4:cpu,memory:/docker/0123\n3:cpuset:/\n0::/\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("sys/fs/cgroup/memory/docker/0123/memory.limit_in_bytes", "3000000\n");
    CHECK(limit() == 3000000, "version 1, a group below the root");
    write("proc/self/cgroup", "4:memory:/docker/0123\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4000000\n");
    CHECK(limit() == 4000000, "version 1, a container");
    write("proc/self/cgroup", "4:memory:/\n");
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(limit() == -1, "version 1 without a limit");
    fs::remove_all(all);
}
#endif

int main() {
    isa_test();
#if defined(__linux__)
    cgroup_test();
#endif
    thread_test();
    random_test();
    for (int d = 0; d < 4; d++) {
        for (int64_t n : {1, 2, 15, 16, 17, 64, 165, 1000, 5003}) softmax_test(d, 7, n, 1);
        softmax_test(d, 3, 70, 5);
        softmax_test(d, 2, 9, 33);
        for (int reduction = 0; reduction < 3; reduction++) {
            cross_entropy_test(d, 50, 165, reduction != 1, reduction == 2 ? 0 : 0.1, reduction);
            cross_entropy_test(d, 9, 3, false, 0, reduction);
        }
        for (int64_t n : {1, 5, 31, 128, 129, 768}) norm_test(d, 40, n, n != 31);
        norm_test(d, 700, 128, true);
        int64_t sizes[][3] = {{1, 1, 1},    {1, 50, 33},    {3, 50, 70},    {4, 130, 16},   {50, 1, 33}, {13, 17, 19},
                              {64, 64, 64}, {33, 100, 300}, {130, 70, 520}, {65, 129, 256}, {2, 3, 0},   {7, 300, 600}};
        for (auto& s : sizes) {
            for (int t = 0; t < 4; t++) {
                gemm_test(d, t & 1, t >> 1, s[0], s[1], s[2], 1, 0, 0);
                gemm_test(d, t & 1, t >> 1, s[0], s[1], s[2], 0.5, 1, 3);
            }
            gemm_test(d, 0, 0, s[0], s[1], s[2], 1, 0.25, 0);
            linear_test(d, s[0], std::max<int64_t>(1, s[2]), s[1], s[0] % 2 == 1);
        }
        batched_test(d);
        attention_test(d, 2, 3, 64, 64, 32, true);
        attention_test(d, 1, 2, 150, 150, 20, true);
        attention_test(d, 1, 2, 150, 150, 20, false);
        attention_test(d, 3, 6, 70, 70, 8, true);
        attention_test(d, 1, 2, 5, 130, 16, true);
        attention_test(d, 1, 2, 130, 40, 16, true);
        attention_test(d, 1, 1, 1, 77, 16, false);
        conv_test(d, {2, 3, 9, 11, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1}, true);
        conv_test(d, {3, 4, 12, 10, 6, 3, 2, 2, 3, 1, 0, 2, 1, 2}, false);
        conv_test(d, {1, 5, 8, 8, 7, 1, 1, 1, 1, 0, 0, 1, 1, 1}, true);
        conv_test(d, {2, 6, 40, 40, 6, 5, 5, 1, 1, 2, 2, 1, 1, 6}, false);
        pool_test(d);
        edge_test(d);
        optimizer_test(d);
    }
    for (int d : {0, 1, 2, 3, 4, 5}) {
        indexing_test(d, 4);
        indexing_test(d, 5);
    }
    for (int d = 0; d < 8; d++) order_test(d);
    std::printf(failures == 0 ? "ok\n" : "%d failures\n", failures);
    return failures != 0;
}
