// SPDX-License-Identifier: Apache-2.0
#include "isa.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace merapi {
namespace {

#if defined(__x86_64__)
struct Registers {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf) {
    Registers r;
    __get_cpuid_count(leaf, 0, &r.eax, &r.ebx, &r.ecx, &r.edx);  // all 0 if the processor has no such leaf
    return r;
}

// Bits of the registers that the system saves when it switches threads: an instruction that the processor has is of no
// use before that. Only where cpuid says OSXSAVE.
uint64_t saved_registers() {
    uint32_t low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return uint64_t{high} << 32 | low;
}

constexpr bool all(uint64_t bits, uint64_t wanted) { return (bits & wanted) == wanted; }

// What x86-64-v3 and x86-64-v4, for which isa/*.cpp are compiled, ask for beyond what came before all of it.
Isa best_of_processor() {
    constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;
    const Registers basic = cpuid(1), extended = cpuid(7), amd = cpuid(0x80000001);
    if (!all(basic.ecx, bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C | bit_MOVBE) || !all(amd.ecx, bit_LZCNT) ||
        !all(extended.ebx, bit_AVX2 | bit_BMI | bit_BMI2) || !all(saved_registers(), kYmm)) {
        return Isa::base;
    }
    const bool wide =
        all(extended.ebx, uint64_t{bit_AVX512F} | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL);
    return wide && all(saved_registers(), kZmm) ? Isa::avx512 : Isa::avx2;
}
#else
Isa best_of_processor() { return Isa::base; }
#endif

Isa detect() {
    Isa best = best_of_processor();
    if (const char* wanted = std::getenv("MERAPI_CPU_ISA")) {
        Isa limit = std::strcmp(wanted, "base") == 0   ? Isa::base
                    : std::strcmp(wanted, "avx2") == 0 ? Isa::avx2
                                                       : Isa::avx512;
        if (limit < best) best = limit;
    }
    return best;
}

}  // namespace

Isa isa() {
    static const Isa chosen = detect();
    return chosen;
}

}  // namespace merapi
