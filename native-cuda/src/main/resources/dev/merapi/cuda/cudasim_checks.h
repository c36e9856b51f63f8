// SPDX-License-Identifier: Apache-2.0
// Behind cudasim.h, in kernels compiled with checks. The compiler's thread sanitizer announces every load and store,
// its undefined-behaviour sanitizer what it finds; these functions stand where their run-time libraries would, and hand
// all of it to the engine.
#pragma once

#define CUDASIM_PLACE __builtin_return_address(0)
#define CUDASIM_HOOK extern "C" __attribute__((no_sanitize("thread"), no_sanitize("undefined"), noinline)) void
namespace cudasim {
CUDASIM_UNSEEN inline void announce(const void* p, size_t bytes, int kind, const void* place) {
    engine->access(p, bytes, kind, place);
}
}  // namespace cudasim

#define CUDASIM_SIZE(N)                                                                                    \
    CUDASIM_HOOK __tsan_read##N(void* p) { cudasim::announce(p, N, 0, CUDASIM_PLACE); }                    \
    CUDASIM_HOOK __tsan_write##N(void* p) { cudasim::announce(p, N, 1, CUDASIM_PLACE); }                   \
    CUDASIM_HOOK __tsan_unaligned_read##N(void* p) { cudasim::announce(p, N, 0, CUDASIM_PLACE); }          \
    CUDASIM_HOOK __tsan_unaligned_write##N(void* p) { cudasim::announce(p, N, 1, CUDASIM_PLACE); }         \
    CUDASIM_HOOK __tsan_volatile_read##N(void* p) { cudasim::announce(p, N, 0, CUDASIM_PLACE); }           \
    CUDASIM_HOOK __tsan_volatile_write##N(void* p) { cudasim::announce(p, N, 1, CUDASIM_PLACE); }          \
    CUDASIM_HOOK __tsan_unaligned_volatile_read##N(void* p) { cudasim::announce(p, N, 0, CUDASIM_PLACE); } \
    CUDASIM_HOOK __tsan_unaligned_volatile_write##N(void* p) { cudasim::announce(p, N, 1, CUDASIM_PLACE); }
CUDASIM_SIZE(1)
CUDASIM_SIZE(2)
CUDASIM_SIZE(4)
CUDASIM_SIZE(8)
CUDASIM_SIZE(16)
CUDASIM_HOOK __tsan_read_range(void* p, size_t n) { cudasim::announce(p, n, 0, CUDASIM_PLACE); }
CUDASIM_HOOK __tsan_write_range(void* p, size_t n) { cudasim::announce(p, n, 1, CUDASIM_PLACE); }
CUDASIM_HOOK __tsan_init() {}
CUDASIM_HOOK __tsan_func_entry(void*) {}
CUDASIM_HOOK __tsan_func_exit() {}
CUDASIM_HOOK __tsan_atomic_thread_fence(int) {}

#define CUDASIM_ATOMIC_SIZE(BITS, W)                                                                               \
    extern "C" __attribute__((no_sanitize("thread"), noinline)) W __tsan_atomic##BITS##_load(const W* p, int) {    \
        cudasim::announce(p, sizeof(W), cudasim::kAtomic, CUDASIM_PLACE);                                          \
        return __atomic_load_n(p, __ATOMIC_RELAXED);                                                               \
    }                                                                                                              \
    extern "C" __attribute__((no_sanitize("thread"), noinline)) int __tsan_atomic##BITS##_compare_exchange_strong( \
        W* p, W* expected, W value, int, int) {                                                                    \
        cudasim::announce(p, sizeof(W), cudasim::kAtomic | cudasim::kWrites, CUDASIM_PLACE);                       \
        return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);         \
    }
CUDASIM_ATOMIC_SIZE(16, unsigned short)
CUDASIM_ATOMIC_SIZE(32, unsigned)
CUDASIM_ATOMIC_SIZE(64, unsigned long long)

// ---------------------------------------------------------------- undefined behaviour, told by the compiler
namespace cudasim {
struct SourceLocation {
    const char* file;
    unsigned line, column;
};
struct TypeDescriptor {
    unsigned short kind, info;
    char name[1];
};
struct OutOfBounds {
    SourceLocation where;
    const TypeDescriptor *array, *index;
};
struct TypeMismatch {
    SourceLocation where;
    const TypeDescriptor* type;
    unsigned char alignment, kind;
};

// Names of types come with quotes around them.
struct Text {
    char text[256];
    int n = 0;
    CUDASIM_UNSEEN Text& add(const char* s) {
        for (; *s && n < 255; s++)
            if (*s != '\'') text[n++] = *s;
        text[n] = 0;
        return *this;
    }
    CUDASIM_UNSEEN Text& add(long long v) {
        char digits[24];
        int at = 23;
        digits[at] = 0;
        unsigned long long u = v < 0 ? 0ull - (unsigned long long)v : (unsigned long long)v;
        do digits[--at] = char('0' + u % 10);
        while ((u /= 10) != 0);
        if (v < 0) digits[--at] = '-';
        return add(digits + at);
    }
};
}  // namespace cudasim
CUDASIM_HOOK __ubsan_handle_out_of_bounds(cudasim::OutOfBounds* found, uintptr_t index) {
    int unused = 64 - (1 << (found->index->info >> 1));
    bool negative = (found->index->info & 1) != 0 && unused >= 0;
    long long value = negative ? (long long)(index << unused) >> unused : (long long)index;
    cudasim::Text t;
    t.add("index ").add(value).add(" of an array of type ").add(found->array->name);
    cudasim::engine->report(t.text, CUDASIM_PLACE);
}
CUDASIM_HOOK __ubsan_handle_type_mismatch_v1(cudasim::TypeMismatch* found, uintptr_t pointer) {
    long long bytes = 1ll << found->alignment;
    cudasim::Text t;
    t.add("misaligned access: a ").add(found->type->name).add(" needs an address that is a multiple of ").add(bytes);
    t.add(", this one is ").add((long long)(pointer & uintptr_t(bytes - 1))).add(" bytes off");
    cudasim::engine->report(t.text, CUDASIM_PLACE);
}
CUDASIM_HOOK __ubsan_handle_divrem_overflow(void*, uintptr_t, uintptr_t by) {
    cudasim::engine->report(by == 0 ? "integer division by zero" : "integer division overflows", CUDASIM_PLACE);
}
