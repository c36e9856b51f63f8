// SPDX-License-Identifier: Apache-2.0
//
// The pointwise interpreter against scalar C++, over layouts, types, sizes around block and chunk borders, in place,
// and with text that is no program. MERAPI_CPU_ISA chooses the instruction set.
#include <functional>
#include <thread>

#include "harness.h"

namespace {

Random rng;

std::string binary(const char* type, const char* op, const char* out = nullptr) {
    std::string t = type;
    return "in 0 " + t + "\nin 1 " + t + "\nout 0 " + (out != nullptr ? out : t) +
           "\nr0 = load 0\nr1 = load 1\nr2 = " + op + "." + t + " r0 r1\nstore 0 r2\n";
}
std::string unary(const char* type, const char* op, const char* out = nullptr) {
    std::string t = type;
    return "in 0 " + t + "\nout 0 " + (out != nullptr ? out : t) + "\nr0 = load 0\nr1 = " + op + "." + t +
           " r0\nstore 0 r1\n";
}

template <class T, class D>
void check_binary(const char* type, const char* op, const char* out, std::function<D(T, T)> oracle,
                  std::vector<T> specials) {
    int64_t h = create(binary(type, op, out));
    const int64_t n = 3000;
    std::vector<T> a, b;
    for (T x : specials) {
        for (T y : specials) {
            a.push_back(x);
            b.push_back(y);
        }
    }
    while (static_cast<int64_t>(a.size()) < n) {
        a.push_back(static_cast<T>(rng.normal() * 20));
        b.push_back(static_cast<T>(rng.normal() * 5));
    }
    std::vector<D> d(a.size());
    int status = abi::program_run_flat(h, static_cast<int64_t>(a.size()), address(d.data()), address(a.data()),
                                       address(b.data()), 0, 0, 0);
    CHECK(status == 0, "status %d", status);
    for (size_t i = 0; i < a.size(); i++) {
        D want = oracle(a[i], b[i]);
        bool same = d[i] == want || (d[i] != d[i] && want != want);
        // pow is rounded once from 1e-9: now and then to the other neighbour of a near tie.
        if (!same && std::strcmp(op, "pow") == 0)
            same = std::fabs(double(d[i]) - double(want)) <= std::fabs(double(want)) * 1.2e-7;
        CHECK(same, "%s.%s(%g, %g) = %g, want %g", op, type, double(a[i]), double(b[i]), double(d[i]), double(want));
    }
    abi::program_destroy(h);
}

template <class T, class D>
void check_unary(const char* type, const char* op, const char* out, std::function<double(double)> oracle,
                 double tolerance) {
    int64_t h = create(unary(type, op, out));
    std::vector<T> a = {T(0), T(1), T(-1), T(2), T(0.5), T(-0.5), T(1.5), T(2.5), T(-2.5), T(100), T(-100)};
    if (std::numeric_limits<T>::has_infinity) {
        a.push_back(std::numeric_limits<T>::infinity());
        a.push_back(-std::numeric_limits<T>::infinity());
        a.push_back(std::numeric_limits<T>::quiet_NaN());
        a.push_back(T(-0.0));
        a.push_back(std::numeric_limits<T>::denorm_min());
    }
    while (a.size() < 2111) a.push_back(static_cast<T>(rng.normal() * 3));
    std::vector<D> d(a.size());
    abi::program_run_flat(h, static_cast<int64_t>(a.size()), address(d.data()), address(a.data()), 0, 0, 0, 0);
    for (size_t i = 0; i < a.size(); i++) {
        double want = oracle(double(a[i]));
        double error = sizeof(T) == 4 && sizeof(D) == 4 && std::numeric_limits<D>::has_infinity
                           ? ulps(static_cast<float>(d[i]), want)
                           : (double(d[i]) == want || (want != want && d[i] != d[i])
                                  ? 0
                                  : std::fabs(double(d[i]) - want) / std::fmax(std::fabs(want) * 2.3e-16, 1e-300));
        CHECK(error <= tolerance, "%s.%s(%.9g) = %.17g, want %.17g: %g", op, type, double(a[i]), double(d[i]), want,
              error);
    }
    abi::program_destroy(h);
}

double gated(double x, double s) { return x == -INFINITY ? -0.0 : x * s; }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

template <class T>
void check_float_ops(const char* t, double tolerance) {
    const T inf = std::numeric_limits<T>::infinity(), nan = std::numeric_limits<T>::quiet_NaN();
    std::vector<T> sp = {T(0), T(-0.0), T(1), T(-1), T(2), T(-2), T(0.5), T(3), T(-3), inf, -inf, nan, T(7.5), T(-7.5)};
    using B = std::function<T(T, T)>;
    check_binary<T, T>(t, "add", nullptr, B([](T x, T y) { return x + y; }), sp);
    check_binary<T, T>(t, "sub", nullptr, B([](T x, T y) { return x - y; }), sp);
    check_binary<T, T>(t, "mul", nullptr, B([](T x, T y) { return x * y; }), sp);
    check_binary<T, T>(t, "div", nullptr, B([](T x, T y) { return x / y; }), sp);
    check_binary<T, T>(t, "min", nullptr, B([](T x, T y) { return x != x || y != y ? x + y : (x < y ? x : y); }), sp);
    check_binary<T, T>(t, "max", nullptr, B([](T x, T y) { return x != x || y != y ? x + y : (x > y ? x : y); }), sp);
    check_binary<T, T>(t, "fmod", nullptr, B([](T x, T y) { return std::fmod(x, y); }), sp);
    check_binary<T, T>(t, "rem", nullptr, B([](T x, T y) {
                           double m = std::fmod(double(x), double(y));
                           return T(m != 0 && ((m < 0) != (y < 0)) ? m + y : m);
                       }),
                       sp);
    check_binary<T, T>(t, "copysign", nullptr, B([](T x, T y) { return std::copysign(x, y); }), sp);
    check_binary<T, T>(t, "atan2", nullptr, B([](T x, T y) { return T(std::atan2(double(x), double(y))); }), sp);
    check_binary<T, T>(t, "pow", nullptr, B([](T x, T y) { return T(std::pow(double(x), double(y))); }), sp);
    using C = std::function<uint8_t(T, T)>;
    check_binary<T, uint8_t>(t, "eq", "bool", C([](T x, T y) { return x == y; }), sp);
    check_binary<T, uint8_t>(t, "ne", "bool", C([](T x, T y) { return x != y; }), sp);
    check_binary<T, uint8_t>(t, "lt", "bool", C([](T x, T y) { return x < y; }), sp);
    check_binary<T, uint8_t>(t, "le", "bool", C([](T x, T y) { return x <= y; }), sp);
    check_binary<T, uint8_t>(t, "gt", "bool", C([](T x, T y) { return x > y; }), sp);
    check_binary<T, uint8_t>(t, "ge", "bool", C([](T x, T y) { return x >= y; }), sp);

    auto u = [&](const char* op, std::function<double(double)> f, double tol) {
        check_unary<T, T>(t, op, nullptr, f, tol);
    };
    u("neg", [](double x) { return -x; }, 0);
    u("abs", [](double x) { return std::fabs(x); }, 0);
    u("sign", [](double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }, 0);
    u("floor", [](double x) { return std::floor(x); }, 0);
    u("ceil", [](double x) { return std::ceil(x); }, 0);
    u("trunc", [](double x) { return std::trunc(x); }, 0);
    u("round", [](double x) { return std::rint(x); }, 0);
    u("sqrt", [](double x) { return std::sqrt(x); }, 0.5001);
    u("rsqrt", [](double x) { return 1 / std::sqrt(x); }, 2);
    u("reciprocal", [](double x) { return 1 / x; }, 0.5001);
    u("square", [](double x) { return x * x; }, 0.5001);
    u("relu", [](double x) { return x < 0 ? 0 : x; }, 0);
    const struct {
        const char* name;
        double (*f)(double);
    } libm[] = {
        {"exp", std::exp},
        {"expm1", std::expm1},
        {"exp2", std::exp2},
        {"log", std::log},
        {"log1p", std::log1p},
        {"log2", std::log2},
        {"log10", std::log10},
        {"sin", std::sin},
        {"cos", std::cos},
        {"tan", std::tan},
        {"asin", std::asin},
        {"acos", std::acos},
        {"atan", std::atan},
        {"sinh", std::sinh},
        {"cosh", std::cosh},
        {"tanh", std::tanh},
        {"asinh", std::asinh},
        {"acosh", std::acosh},
        {"atanh", std::atanh},
        {"erf", std::erf},
        {"erfc", std::erfc},
        {"sigmoid", sigmoid},
        {"softplus", [](double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }},
        {"logsigmoid", [](double x) { return std::fmin(x, 0) - std::log1p(std::exp(-std::fabs(x))); }},
        {"silu", [](double x) { return gated(x, sigmoid(x)); }},
        {"gelu", [](double x) { return gated(x, 0.5 * std::erfc(-x * 0.7071067811865475244)); }},
        {"gelu_tanh", [](double x) { return gated(x, sigmoid(1.5957691216057307118 * (x + 0.044715 * x * x * x))); }},
    };
    for (const auto& f : libm) u(f.name, f.f, tolerance);
    check_unary<T, uint8_t>(t, "isnan", "bool", [](double x) { return x != x; }, 0);
    check_unary<T, uint8_t>(t, "isinf", "bool", [](double x) { return std::isinf(x); }, 0);
    check_unary<T, uint8_t>(t, "isfinite", "bool", [](double x) { return std::isfinite(x); }, 0);
}

template <class T>
void check_int_ops(const char* t) {
    const T min = std::numeric_limits<T>::min(), max = std::numeric_limits<T>::max();
    std::vector<T> sp = {0, 1, -1, 2, -2, 3, -3, 7, -7, 31, 32, 33, 63, 64, min, max, min + 1};
    using B = std::function<T(T, T)>;
    using W = __int128;
    check_binary<T, T>(t, "add", nullptr, B([](T x, T y) { return T(W(x) + y); }), sp);
    check_binary<T, T>(t, "sub", nullptr, B([](T x, T y) { return T(W(x) - y); }), sp);
    check_binary<T, T>(
        t, "mul", nullptr,
        B([](T x, T y) { return T(static_cast<unsigned __int128>(W(x)) * static_cast<unsigned __int128>(W(y))); }), sp);
    check_binary<T, T>(t, "truncdiv", nullptr, B([](T x, T y) { return y == 0 ? 0 : T(W(x) / y); }), sp);
    check_binary<T, T>(t, "floordiv", nullptr, B([](T x, T y) {
                           if (y == 0) return T(0);
                           W q = W(x) / y;
                           if (W(x) % y != 0 && ((x < 0) != (y < 0))) q--;
                           return T(q);
                       }),
                       sp);
    check_binary<T, T>(t, "fmod", nullptr, B([](T x, T y) { return y == 0 ? 0 : T(W(x) % y); }), sp);
    check_binary<T, T>(t, "rem", nullptr, B([](T x, T y) {
                           if (y == 0) return T(0);
                           W m = W(x) % y;
                           return T(m != 0 && ((m < 0) != (y < 0)) ? m + y : m);
                       }),
                       sp);
    check_binary<T, T>(t, "min", nullptr, B([](T x, T y) { return x < y ? x : y; }), sp);
    check_binary<T, T>(t, "max", nullptr, B([](T x, T y) { return x > y ? x : y; }), sp);
    check_binary<T, T>(t, "and", nullptr, B([](T x, T y) { return x & y; }), sp);
    check_binary<T, T>(t, "or", nullptr, B([](T x, T y) { return x | y; }), sp);
    check_binary<T, T>(t, "xor", nullptr, B([](T x, T y) { return x ^ y; }), sp);
    const T width = sizeof(T) * 8;
    using U = typename std::make_unsigned<T>::type;
    check_binary<T, T>(t, "shl", nullptr, B([=](T x, T y) { return y < 0 || y >= width ? 0 : T(U(x) << y); }), sp);
    check_binary<T, T>(t, "shr", nullptr,
                       B([=](T x, T y) { return y < 0 || y >= width ? (x < 0 ? -1 : 0) : T(x >> y); }), sp);
    check_binary<T, T>(t, "pow", nullptr, B([](T x, T y) {
                           if (y < 0) return T(x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0);
                           uint64_t base = static_cast<uint64_t>(x), r = 1;
                           for (uint64_t e = static_cast<uint64_t>(y); e != 0; e >>= 1, base *= base) {
                               if (e & 1) r *= base;
                           }
                           return T(r);
                       }),
                       sp);
    using C = std::function<uint8_t(T, T)>;
    check_binary<T, uint8_t>(t, "lt", "bool", C([](T x, T y) { return x < y; }), sp);
    check_binary<T, uint8_t>(t, "ge", "bool", C([](T x, T y) { return x >= y; }), sp);
    check_unary<T, T>(t, "neg", nullptr, [](double x) { return -x; }, 0);
    check_unary<T, T>(t, "abs", nullptr, [](double x) { return std::fabs(x); }, 0);
    check_unary<T, T>(t, "sign", nullptr, [](double x) { return (x > 0) - (x < 0); }, 0);
    check_unary<T, T>(t, "bitnot", nullptr, [](double x) { return -x - 1; }, 0);
    check_unary<T, T>(t, "square", nullptr, [](double x) { return x * x; }, 0);
    check_unary<T, T>(t, "relu", nullptr, [](double x) { return x > 0 ? x : 0; }, 0);
}

void check_casts() {
    int64_t h = create(
        "in 0 f32\nout 0 i32\nout 1 i64\nout 2 bool\nout 3 f64\nr0 = load 0\nr1 = cast.f32.i32 r0\n"
        "r2 = cast.f32.i64 r0\nr3 = cast.f32.bool r0\nr4 = cast.f32.f64 r0\n"
        "store 0 r1\nstore 1 r2\nstore 2 r3\nstore 3 r4");
    std::vector<float> a = {0,      -0.0f, 1.9f,     -1.9f,     3e9f,          -3e9f,         1e19f,
                            -1e19f, NAN,   INFINITY, -INFINITY, 2147483520.0f, -2147483648.0f};
    while (a.size() < 100) a.push_back(static_cast<float>(rng.normal() * 1000));
    std::vector<int32_t> i(a.size());
    std::vector<int64_t> l(a.size());
    std::vector<uint8_t> b(a.size());
    std::vector<double> d(a.size());
    int64_t n = static_cast<int64_t>(a.size());
    int64_t desc[] = {1, 4,
                      1, 0,
                      n, address(i.data()),
                      4, address(l.data()),
                      8, address(b.data()),
                      1, address(d.data()),
                      8, address(a.data()),
                      4};
    CHECK(abi::program_run(h, address(desc)) == 0, "run");
    for (size_t k = 0; k < a.size(); k++) {
        double x = a[k];
        int32_t wi = x != x ? 0 : x >= 2147483648.0 ? INT32_MAX : x < -2147483648.0 ? INT32_MIN : int32_t(x);
        int64_t wl = x != x                       ? 0
                     : x >= 9223372036854775808.0 ? INT64_MAX
                     : x < -9223372036854775808.0 ? INT64_MIN
                                                  : int64_t(x);
        CHECK(i[k] == wi && l[k] == wl && b[k] == (x != 0) && (d[k] == x || x != x), "cast of %g: %d %lld %d", x, i[k],
              static_cast<long long>(l[k]), b[k]);
    }
    abi::program_destroy(h);
}

void check_half() {
    // All 65,536 halves: to float and back is the identity, and a float converts to the nearest half.
    for (const char* type : {"f16", "bf16"}) {
        bool f16 = std::strcmp(type, "f16") == 0;
        int64_t up = create(std::string("in 0 ") + type + "\nout 0 f32\nr0 = load 0\nstore 0 r0");
        int64_t down = create(std::string("in 0 f32\nout 0 ") + type + "\nr0 = load 0\nstore 0 r0");
        std::vector<uint16_t> h(65536), back(65536);
        std::vector<float> f(65536);
        for (int i = 0; i < 65536; i++) h[static_cast<size_t>(i)] = static_cast<uint16_t>(i);
        abi::program_run_flat(up, 65536, address(f.data()), address(h.data()), 0, 0, 0, 0);
        abi::program_run_flat(down, 65536, address(back.data()), address(f.data()), 0, 0, 0, 0);
        int mantissa = f16 ? 10 : 7, bias = f16 ? 15 : 127;
        for (int i = 0; i < 65536; i++) {
            size_t k = static_cast<size_t>(i);
            int e = (i & 0x7fff) >> mantissa, m = i & ((1 << mantissa) - 1);
            int top = f16 ? 31 : 255;
            double want = e == top ? (m != 0 ? NAN : INFINITY)
                          : e == 0 ? std::ldexp(m, 1 - bias - mantissa)
                                   : std::ldexp((1 << mantissa) + m, e - bias - mantissa);
            if (i & 0x8000) want = -want;
            CHECK(f[k] == want || (want != want && f[k] != f[k]), "%s %04x up: %g want %g", type, i, f[k], want);
            bool nan = want != want;
            CHECK(nan ? (back[k] & 0x7fff) > (top << mantissa) : back[k] == h[k], "%s %04x back: %04x", type, i,
                  back[k]);
        }
        // Between neighbours: nearest, ties to even.
        std::vector<float> between;
        std::vector<uint16_t> expected;
        for (int i = 0; i < (f16 ? 0x7bff : 0x7f7f); i++) {
            double a = f[static_cast<size_t>(i)], b = f[static_cast<size_t>(i) + 1];
            float middle = static_cast<float>((a + b) / 2);
            between.push_back(middle);
            expected.push_back(static_cast<uint16_t>((i & 1) ? i + 1 : i));
            between.push_back(std::nextafter(middle, 0.0f));
            expected.push_back(static_cast<uint16_t>(i));
            between.push_back(std::nextafter(middle, INFINITY));
            expected.push_back(static_cast<uint16_t>(i + 1));
        }
        std::vector<uint16_t> got(between.size());
        abi::program_run_flat(down, static_cast<int64_t>(got.size()), address(got.data()), address(between.data()), 0,
                              0, 0, 0);
        for (size_t i = 0; i < got.size(); i++) {
            // The middle between two denormal bf16 is a float denormal and exact; nextafter of the smallest may be 0.
            CHECK(got[i] == expected[i], "%s of %.9g: %04x, want %04x", type, between[i], got[i], expected[i]);
        }
        // An odd length goes through the scalar tail.
        for (int64_t n : {1, 7, 15}) {
            std::vector<uint16_t> few(16, 0xaaaa);
            abi::program_run_flat(down, n, address(few.data()), address(between.data()), 0, 0, 0, 0);
            for (int64_t i = 0; i < 16; i++) {
                uint16_t want = i < n ? expected[static_cast<size_t>(i)] : 0xaaaa;
                CHECK(few[static_cast<size_t>(i)] == want, "%s tail", type);
            }
        }
        abi::program_destroy(up);
        abi::program_destroy(down);
    }
}

// A random N-d view: sizes, element strides into a buffer, possibly permuted, sliced, broadcast.
struct View {
    std::vector<int64_t> stride;  // elements
    int64_t offset = 0, span = 0;
};
View random_view(const std::vector<int64_t>& size, bool output) {
    size_t nd = size.size();
    std::vector<size_t> order(nd);
    for (size_t i = 0; i < nd; i++) order[i] = i;
    if (rng.next() % 2) {
        for (size_t i = nd; i > 1; i--) std::swap(order[i - 1], order[rng.next() % i]);
    }
    View v;
    v.stride.assign(nd, 0);
    int64_t at = 1;
    int64_t low = 0, high = 0;
    for (size_t i = nd; i-- > 0;) {
        size_t d = order[i];
        if (!output && rng.next() % 4 == 0) continue;  // broadcast
        int64_t gap = rng.next() % 3 == 0 ? 2 : 1;
        int64_t s = at * gap;
        at = s * size[d];
        if (rng.next() % 8 == 0) s = -s;  // flipped
        v.stride[d] = s;
        (s < 0 ? low : high) += s * (size[d] - 1);
    }
    v.offset = -low;
    v.span = high - low + 1;
    return v;
}

void check_layouts() {
    // out0 = a*b + s, out1 = (a > b), with every mix of layouts, types that convert, and sizes around the limits.
    for (int trial = 0; trial < 400; trial++) {
        size_t nd = rng.next() % 5;
        std::vector<int64_t> size(nd);
        int64_t n = 1;
        for (auto& s : size) {
            s = static_cast<int64_t>(1 + rng.next() % (nd <= 2 ? 300 : 19));
            if (rng.next() % 6 == 0) s = 1;
            n *= s;
        }
        bool half = trial % 3 == 0;
        int64_t h =
            create(std::string("in 0 f32\nin 1 ") + (half ? "bf16" : "f32") + "\nout 0 " + (half ? "bf16" : "f32") +
                   "\nout 1 bool\nr0 = load 0\nr1 = load 1\nr2 = mul.f32 r0 r1\nr3 = scalar.f32 0\n"
                   "r2 = add.f32 r2 r3\nr4 = gt.f32 r0 r1\nstore 0 r2\nstore 1 r4\n");
        View va = random_view(size, false), vb = random_view(size, false), v0 = random_view(size, true),
             v1 = random_view(size, true);
        std::vector<float> a(static_cast<size_t>(va.span)), b(static_cast<size_t>(vb.span));
        std::vector<uint16_t> bh(b.size());
        for (auto& x : a) x = static_cast<float>(static_cast<int>(rng.next() % 17) - 8);
        for (size_t i = 0; i < b.size(); i++) {
            b[i] = static_cast<float>(static_cast<int>(rng.next() % 17) - 8);
            uint32_t u;
            std::memcpy(&u, &b[i], 4);
            bh[i] = static_cast<uint16_t>(u >> 16);
        }
        std::vector<float> o0(static_cast<size_t>(v0.span), 77.0f);
        std::vector<uint16_t> o0h(o0.size(), 0x7777);
        std::vector<uint8_t> o1(static_cast<size_t>(v1.span), 9);
        std::vector<int64_t> desc = {static_cast<int64_t>(nd), 2, 2, 1};
        for (int64_t s : size) desc.push_back(s);
        auto operand = [&](const void* p, const View& v, int64_t bytes) {
            desc.push_back(address(p) + v.offset * bytes);
            for (int64_t s : v.stride) desc.push_back(s * bytes);
        };
        if (half)
            operand(o0h.data(), v0, 2);
        else
            operand(o0.data(), v0, 4);
        operand(o1.data(), v1, 1);
        operand(a.data(), va, 4);
        if (half)
            operand(bh.data(), vb, 2);
        else
            operand(b.data(), vb, 4);
        desc.push_back(static_cast<int64_t>(bits_of(0.5)));
        desc.push_back(0);
        int status = abi::program_run(h, address(desc.data()));
        CHECK(status == 0, "status %d", status);
        size_t written = 0;
        std::vector<int64_t> index(nd, 0);
        for (int64_t i = 0; i < n; i++) {
            int64_t oa = va.offset, ob = vb.offset, p0 = v0.offset, p1 = v1.offset;
            for (size_t d = 0; d < nd; d++) {
                oa += index[d] * va.stride[d];
                ob += index[d] * vb.stride[d];
                p0 += index[d] * v0.stride[d];
                p1 += index[d] * v1.stride[d];
            }
            float want = a[static_cast<size_t>(oa)] * b[static_cast<size_t>(ob)] + 0.5f;
            float got = o0[static_cast<size_t>(p0)];
            if (half) {
                uint32_t u = static_cast<uint32_t>(o0h[static_cast<size_t>(p0)]) << 16;
                std::memcpy(&got, &u, 4);
            }
            CHECK(got == want, "trial %d element %lld: %g want %g", trial, static_cast<long long>(i), got, want);
            CHECK(o1[static_cast<size_t>(p1)] == (a[static_cast<size_t>(oa)] > b[static_cast<size_t>(ob)]),
                  "trial %d bool", trial);
            for (size_t d = nd; d-- > 0;) {
                if (++index[d] < size[d]) break;
                index[d] = 0;
            }
        }
        for (uint8_t x : o1) written += x != 9;
        CHECK(written == static_cast<size_t>(n), "trial %d wrote %zu of %lld", trial, written,
              static_cast<long long>(n));
        abi::program_destroy(h);
    }
}

void check_in_place() {
    // A result that is read late while the first output overwrites the input: out0 = a+b, out1 = a*(a+b), out0 is a.
    int64_t h = create(
        "in 0 f32\nin 1 f32\nout 0 f32\nout 1 f32\nr0 = load 0\nr1 = load 1\nr2 = add.f32 r0 r1\n"
        "r3 = mul.f32 r0 r2\nstore 0 r2\nstore 1 r3");
    for (int64_t n : {1, 8, 1000, 5000, 40000, 100001}) {
        std::vector<float> a(static_cast<size_t>(n)), b(a.size()), o(a.size()), before;
        for (auto& x : a) x = static_cast<float>(rng.normal());
        for (auto& x : b) x = static_cast<float>(rng.normal());
        before = a;
        int64_t desc[] = {
            1, 2, 2, 0, n, address(a.data()), 4, address(o.data()), 4, address(a.data()), 4, address(b.data()), 4};
        abi::program_run(h, address(desc));
        for (size_t i = 0; i < a.size(); i++) {
            float s = before[i] + b[i];
            CHECK(a[i] == s && o[i] == before[i] * s, "in place, n %lld at %zu", static_cast<long long>(n), i);
        }
    }
    abi::program_destroy(h);
    // Flat, with a chain and a broadcast input, in place on the first input.
    h = create(
        "in 0 f32\nin 1 f32\nout 0 f32\nr0 = load 0\nr1 = load 1\nr2 = mul.f32 r0 r1\nr3 = add.f32 r2 r0\nr4 = "
        "relu.f32 r3\nstore 0 r4");
    for (int64_t n : {3, 1024, 70000}) {
        std::vector<float> a(static_cast<size_t>(n)), before;
        for (auto& x : a) x = static_cast<float>(rng.normal());
        before = a;
        float b = 2;
        abi::program_run_flat(h, n, address(a.data()), address(a.data()), address(&b), 0, 2, 0);
        for (size_t i = 0; i < a.size(); i++)
            CHECK(a[i] == std::fmax(before[i] * 2 + before[i], 0.0f), "flat in place");
    }
    abi::program_destroy(h);
}

void check_many_registers() {
    // A long chain that keeps many values alive, of mixed widths: slots must not be shared too early.
    std::string text = "in 0 f32\nin 1 i64\nout 0 f64\nr0 = load 0\nr1 = load 1\n";
    for (int i = 0; i < 20; i++) {
        std::string k = std::to_string(2 + i), prev = i == 0 ? "r0" : "r" + std::to_string(1 + i);
        text +=
            "r" + k + " = square.f32 " + prev + "\nr63 = const.f32 0x3f000000\nr" + k + " = mul.f32 r" + k + " r63\n";
        text += "r" + k + " = add.f32 r" + k + " r0\n";
    }
    text += "r62 = const.f64 0x0\n";
    for (int i = 0; i < 20; i++) {
        text += "r61 = cast.f32.f64 r" + std::to_string(2 + i) + "\nr62 = add.f64 r62 r61\n";
    }
    text +=
        "r60 = cast.i64.f64 r1\nr59 = gt.f64 r62 r60\nr58 = select.f64 r59 r62 r60\nr57 = cast.bool.f64 r59\n"
        "r58 = add.f64 r58 r57\nstore 0 r58\n";
    int64_t h = create(text);
    const int64_t n = 5000;
    std::vector<float> a(n);
    std::vector<int64_t> b(n);
    std::vector<double> o(n);
    for (auto& x : a) x = static_cast<float>(rng.uniform() * 0.5);
    for (auto& x : b) x = static_cast<int64_t>(rng.next() % 12);
    abi::program_run_flat(h, n, address(o.data()), address(a.data()), address(b.data()), 0, 0, 0);
    for (size_t i = 0; i < static_cast<size_t>(n); i++) {
        double sum = 0;
        float x = a[i];
        for (int k = 0; k < 20; k++) {
            x = x * x * 0.5f + a[i];
            sum += x;
        }
        double want = sum > double(b[i]) ? sum + 1 : double(b[i]);
        CHECK(o[i] == want, "chain: %.17g want %.17g", o[i], want);
    }
    abi::program_destroy(h);
}

void check_text() {
    const char* bad[] = {
        "",
        "nonsense",
        "in",
        "in 0",
        "in 0 f99",
        "in 1 f32",
        "out 0 f32",
        "in 0 f32\nout 0 f32\nr0 = load 1\nstore 0 r0",
        "out 0 f32\nr0 = const.f32 12\nstore 0 r0",
        "out 0 f32\nr0 = const.f32 0xzz\nstore 0 r0",
        "out 0 f32\nr64 = const.f32 0x0\nstore 0 r64",
        "out 0 f32\nstore 0 r1",
        "out 0 f32\nr0 = const.f64 0x0\nstore 0 r0",
        "out 0 f32\nr0 = const.f32 0x0\nstore 1 r0",
        "out 0 f32\nr0 = const.f32 0x0\nstore 0 r0\nstore 0 r0",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = frobnicate.f32 r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = add.f32 r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = add.i32 r0 r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = neg.bool r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = cast.f32 r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x00000000000000000000\nstore 0 r0",
        "out 0 f32\nr0 = scalar.f32 99\nstore 0 r0",
        "out 0 f32\nr0 = \nstore 0 r0",
        "out 99999999999 f32",
        "r0 = r1",
        "out 0 f32\nr0 = const.f32 0x0\nr1 = select.f32 r0 r0 r0\nstore 0 r1",
        "out 0 f32\nr0 = const.f32 0x0\nstore 0 r0\nreduce sum f32",
    };
    for (const char* text : bad) {
        char error[200];
        std::memset(error, 'x', sizeof(error));
        int64_t h = abi::program_create(address(text), static_cast<int64_t>(std::strlen(text)), address(error), 200);
        CHECK(h == 0 || h == abi::kBeyondLimits, "accepted: %s", text);
        CHECK(std::strncmp(error, "program: ", 9) == 0 && std::memchr(error, 0, 200) != nullptr, "message of: %s",
              text);
    }
    // Random edits of a good program: accepted or refused, never a crash.
    std::string good = binary("f32", "add") + "# a comment\n";
    for (int i = 0; i < 20000; i++) {
        std::string text = good;
        for (uint64_t k = rng.next() % 4 + 1; k > 0; k--)
            text[rng.next() % text.size()] = static_cast<char>(rng.next() % 96 + 32);
        char error[100];
        int64_t h = abi::program_create(address(text.data()), static_cast<int64_t>(text.size()), address(error), 100);
        if (h > 0) abi::program_destroy(h);
    }
    int64_t h = create(good);
    float x[4] = {1, 2, 3, 4};
    CHECK(abi::program_run_flat(0, 4, address(x), address(x), address(x), 0, 0, 0) == abi::kBadHandle, "handle");
    CHECK(abi::program_run_flat(h, 4, address(x), address(x), 0, 0, 0, 0) == abi::kNullAddress, "null");
    CHECK(abi::program_run_flat(h, -1, address(x), address(x), address(x), 0, 0, 0) == abi::kBadDescriptor, "n");
    CHECK(abi::program_run_flat(h, 0, 0, 0, 0, 0, 0, 0) == 0, "empty");
    int64_t desc[] = {17, 1, 2, 0};
    CHECK(abi::program_run(h, address(desc)) == abi::kBeyondLimits, "ndim");
    int64_t desc2[] = {1, 1, 1, 0};
    CHECK(abi::program_run(h, address(desc2)) == abi::kBadDescriptor, "operands");
    int64_t desc3[] = {2, 1, 2, 0, int64_t{1} << 40, int64_t{1} << 40};
    CHECK(abi::program_run(h, address(desc3)) == abi::kBadDescriptor, "overflow");
    abi::program_destroy(h);
}

void check_threads() {
    // Several callers at a time, thread counts that change: always the same numbers.
    int64_t h = create("in 0 f32\nout 0 f32\nr0 = load 0\nr1 = exp.f32 r0\nr2 = sin.f32 r1\nstore 0 r2");
    const int64_t n = 300000;
    const int before = abi::num_threads();
    std::vector<float> a(n), want(n);
    for (auto& x : a) x = static_cast<float>(rng.normal());
    abi::set_num_threads(1);
    abi::program_run_flat(h, n, address(want.data()), address(a.data()), 0, 0, 0, 0);
    std::vector<std::thread> callers;
    for (int t = 0; t < 4; t++) {
        callers.emplace_back([&, t] {
            std::vector<float> o(n);
            for (int i = 0; i < 30; i++) {
                if (t == 0) abi::set_num_threads(1 + i % 5);
                std::fill(o.begin(), o.end(), 0.0f);
                abi::program_run_flat(h, n, address(o.data()), address(a.data()), 0, 0, 0, 0);
                CHECK(o == want, "threads");
            }
        });
    }
    for (auto& t : callers) t.join();
    abi::set_num_threads(before);
    // OpenBLAS's jobs wait for each other: all of them must run at once, from several callers and from inside a chunk.
    auto callback = reinterpret_cast<void (*)(int, void (*)(int, void*, int), int, size_t, void*, int)>(
        static_cast<intptr_t>(abi::openblas_callback_address()));
    struct Jobs {
        int arrived[4];
    };
    auto meet = [](int index, void* job, int jobs) {
        int* mine = static_cast<int*>(job);
        int* all = mine - index;
        __atomic_store_n(mine, 1, __ATOMIC_RELEASE);
        for (int i = 0; i < jobs; i++) {
            while (__atomic_load_n(all + i, __ATOMIC_ACQUIRE) == 0) std::this_thread::yield();
        }
    };
    std::vector<std::thread> gangs;
    for (int t = 0; t < 3; t++) {
        gangs.emplace_back([&] {
            for (int i = 0; i < 20; i++) {
                Jobs jobs = {};
                callback(1, meet, 4, sizeof(int), jobs.arrived, 4);
            }
        });
    }
    for (auto& t : gangs) t.join();
    abi::program_destroy(h);
}

}  // namespace

int main() {
    check_text();
    check_half();
    check_casts();
    check_float_ops<float>("f32", 2);
    check_float_ops<double>("f64", 8);
    check_int_ops<int32_t>("i32");
    check_int_ops<int64_t>("i64");
    check_many_registers();
    check_in_place();
    check_layouts();
    check_threads();
    std::printf("interp_test: isa %d, %d failures\n", abi::isa_level(), failures);
    return failures == 0 ? 0 : 1;
}
