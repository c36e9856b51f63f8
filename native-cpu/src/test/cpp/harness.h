// SPDX-License-Identifier: Apache-2.0
//
// What the native tests share: checks that report and count, random numbers, half precision by the book.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "merapi_cpu.h"

namespace abi = merapi::abi;

inline int failures = 0;

#define CHECK(condition, ...)                               \
    do {                                                    \
        if (!(condition)) {                                 \
            if (failures++ < 40) {                          \
                std::printf("%s:%d: ", __FILE__, __LINE__); \
                std::printf(__VA_ARGS__);                   \
                std::printf("\n");                          \
            }                                               \
        }                                                   \
    } while (0)

inline int64_t address(const void* p) { return static_cast<int64_t>(reinterpret_cast<intptr_t>(p)); }

struct Random {
    uint64_t state = 0x9e3779b97f4a7c15ull;
    uint64_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
    }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    double normal() {
        double s = 0;
        for (int i = 0; i < 12; i++) s += uniform();
        return s - 6;
    }
};

inline int64_t create(const std::string& text) {
    char error[300] = {0};
    int64_t h = abi::program_create(address(text.data()), static_cast<int64_t>(text.size()), address(error), 300);
    CHECK(h != 0, "%s", error);
    return h;
}
inline int64_t create_reduction(const std::string& text) {
    char error[300] = {0};
    int64_t h = abi::reduce_create(address(text.data()), static_cast<int64_t>(text.size()), address(error), 300);
    CHECK(h != 0, "%s", error);
    return h;
}

// Largest error against a double oracle, in units of the last place of a float.
inline double ulps(float got, double want) {
    float rounded = static_cast<float>(want);
    if (got == rounded || (got != got && rounded != rounded)) return 0;
    int e;
    double magnitude = std::fmax(std::fabs(want), 1.17549435e-38);
    std::frexp(magnitude, &e);
    return std::fabs(got - want) / std::ldexp(1.0, e - 24);
}

inline uint64_t bits_of(double d) {
    uint64_t u;
    std::memcpy(&u, &d, 8);
    return u;
}
