// SPDX-License-Identifier: Apache-2.0
#include "isa.h"

#include <cstdlib>
#include <cstring>

namespace merapi {
namespace {

Isa detect() {
    Isa best = Isa::base;
#if defined(__x86_64__)
    __builtin_cpu_init();
    // F16C is part of x86-64-v3, but the compilers have no name for it here; no processor has AVX2 without it.
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
        __builtin_cpu_supports("bmi2")) {
        best = Isa::avx2;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl")) {
            best = Isa::avx512;
        }
    }
    if (const char* wanted = std::getenv("MERAPI_CPU_ISA")) {
        Isa limit = std::strcmp(wanted, "base") == 0   ? Isa::base
                    : std::strcmp(wanted, "avx2") == 0 ? Isa::avx2
                                                       : Isa::avx512;
        if (limit < best) best = limit;
    }
#endif
    return best;
}

}  // namespace

Isa isa() {
    static const Isa chosen = detect();
    return chosen;
}

}  // namespace merapi
