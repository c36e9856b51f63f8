// SPDX-License-Identifier: Apache-2.0
//
// Every vectorised float32 function against libm in double, over a dense sample of all float bit patterns.
// Compiled once per instruction set, like the kernels. `vmath_test [step]`: every step-th bit pattern, 997 by default.
#include "vmath.h"

#include <cstdio>
#include <cstdlib>

namespace merapi {
namespace MERAPI_ISA {

using Fn = void (*)(const float*, float*);
using Oracle = double (*)(double);

double sigmoid_oracle(double x) { return 1 / (1 + std::exp(-x)); }
double cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752440); }
double density(double x) { return 0.39894228040143267794 * std::exp(-0.5 * x * x); }
double gated(double x, double s) { return x == -INFINITY ? -0.0 : x * s; }
double slope(double x, double s) { return std::isinf(x) ? x > 0 : s; }
double tanh_arg(double x) { return 1.5957691216057307118 * (x + 0.044715 * x * x * x); }

struct Case {
    const char* name;
    Fn fn;
    Oracle oracle;
    double absolute;  // allowed besides 2 ulp: derivatives have a root, where ulps mean nothing
};

#define CASE(f, oracle, absolute)                                                          \
    Case {                                                                                 \
        #f, [](const float* in, float* out) { store(out, f(load(in))); }, oracle, absolute \
    }

const Case kCases[] = {
    CASE(
        exp, [](double x) { return std::exp(x); }, 0),
    CASE(
        expm1, [](double x) { return std::expm1(x); }, 0),
    CASE(
        exp2, [](double x) { return std::exp2(x); }, 0),
    CASE(
        log, [](double x) { return std::log(x); }, 0),
    CASE(
        log1p, [](double x) { return std::log1p(x); }, 0),
    CASE(
        log2, [](double x) { return std::log2(x); }, 0),
    CASE(
        log10, [](double x) { return std::log10(x); }, 0),
    CASE(
        tanh, [](double x) { return std::tanh(x); }, 0),
    CASE(sigmoid, sigmoid_oracle, 0),
    CASE(
        silu, [](double x) { return gated(x, sigmoid_oracle(x)); }, 0),
    CASE(
        silu_grad,
        [](double x) {
            double s = sigmoid_oracle(x);
            return slope(x, s * (1 + x * sigmoid_oracle(-x)));
        },
        1e-9),
    CASE(
        softplus, [](double x) { return (x > 0 ? x : 0) + std::log1p(std::exp(-std::fabs(x))); }, 0),
    CASE(
        logsigmoid, [](double x) { return (x < 0 ? x : 0) - std::log1p(std::exp(-std::fabs(x))); }, 0),
    CASE(
        erf, [](double x) { return std::erf(x); }, 0),
    CASE(
        erfc, [](double x) { return std::erfc(x); }, 0),
    CASE(
        gelu, [](double x) { return gated(x, cdf(x)); }, 0),
    CASE(
        gelu_grad, [](double x) { return slope(x, cdf(x) + x * density(x)); }, 4e-9),
    CASE(
        gelu_tanh, [](double x) { return gated(x, sigmoid_oracle(tanh_arg(x))); }, 0),
    CASE(
        gelu_tanh_grad,
        [](double x) {
            double s = sigmoid_oracle(tanh_arg(x));
            double t = sigmoid_oracle(-tanh_arg(x));
            return slope(x, s + x * s * t * 1.5957691216057307118 * (1 + 3 * 0.044715 * x * x));
        },
        1e-9),
    CASE(
        sin, [](double x) { return std::sin(x); }, 0),
    CASE(
        cos, [](double x) { return std::cos(x); }, 0),
};

double ulp_of(double want) {
    float f = std::fabs(static_cast<float>(want));
    if (f < 1.17549435e-38f) return 1.401298464324817e-45;
    int e;
    std::frexp(static_cast<double>(f), &e);
    return std::ldexp(1.0, e - 24);
}

int run(uint32_t step) {
    int failures = 0;
    for (const Case& c : kCases) {
        double worst = 0;
        float worst_at = 0;
        long wrong = 0;
        float in[kF32], out[kF32];
        uint64_t u = 0;
        while (u <= 0xffffffffull) {
            for (int i = 0; i < kF32; i++, u += step) in[i] = bits<float>(static_cast<uint32_t>(u));
            if (u < step * 64ull) {  // the special values go first
                const float special[16] = {0.0f,    -0.0f, INFINITY, -INFINITY, NAN,  1,     -1,      1e-45f,
                                           -1e-45f, 3e38f, -3e38f,   2,         1000, 88.7f, -103.9f, -88};
                static int at = 0;
                for (int i = 0; i < kF32; i++) in[i] = special[at++ % 16];
            }
            c.fn(in, out);
            for (int i = 0; i < kF32; i++) {
                double want = c.oracle(in[i]);
                float rounded = static_cast<float>(want);
                if (rounded == out[i] &&
                    (rounded != 0 || std::signbit(rounded) == std::signbit(out[i]) || c.absolute > 0))
                    continue;
                if (rounded != rounded && out[i] != out[i]) continue;
                // An oracle that is 0·inf for a huge finite argument has no opinion.
                if (rounded != rounded && std::isfinite(in[i])) continue;
                double e = std::fabs(out[i] - want);
                if (std::isinf(rounded) && std::fabs(want) < 3.40282357e38 * 1.0000001 &&
                    std::fabs(out[i]) > 3.4028233e38f)
                    continue;
                double ulps = e / ulp_of(want);
                if (e <= c.absolute) continue;
                if (!(ulps <= worst)) {
                    worst = ulps;
                    worst_at = in[i];
                }
                if (!(ulps <= 2)) {
                    if (wrong++ < 3) std::printf("  %s(%.9g) = %.9g, want %.9g\n", c.name, in[i], out[i], want);
                }
            }
        }
        std::printf("%-16s worst %.3f ulp at %.9g%s\n", c.name, worst, worst_at, wrong ? "  FAILED" : "");
        failures += wrong != 0;
    }
    return failures;
}

}  // namespace MERAPI_ISA
}  // namespace merapi

int main(int argc, char** argv) {
    uint32_t step = argc > 1 ? static_cast<uint32_t>(std::atoi(argv[1])) : 997;
    return merapi::MERAPI_ISA::run(step) == 0 ? 0 : 1;
}
