// SPDX-License-Identifier: Apache-2.0
//
// Runs a program over one block of elements: the part that the pointwise loops and the reductions share.
//
// A BlockRunner belongs to one thread and one chunk. Before each block the caller says where every input lies
// (contiguous, or one element for all); `evaluate` then computes every value, straight from input memory and straight
// into output memory where that is possible, and through slots of scratch elsewhere.
#pragma once

#include <cmath>
#include <limits>

#include "loops.h"

namespace merapi {
namespace MERAPI_ISA {

inline void convert_load(Storage s, const char* from, char* to, int64_t n) {
    switch (s) {
        case Storage::f16:
            convert_f16_to_f32(reinterpret_cast<const uint16_t*>(from), reinterpret_cast<float*>(to), n);
            break;
        case Storage::bf16:
            convert_bf16_to_f32(reinterpret_cast<const uint16_t*>(from), reinterpret_cast<float*>(to), n);
            break;
        case Storage::u8:
            map1<int32_t, uint8_t>(to, from, n, [](uint8_t x) -> int32_t { return x; });
            break;
        case Storage::i8:
            map1<int32_t, int8_t>(to, from, n, [](int8_t x) -> int32_t { return x; });
            break;
        case Storage::i16:
            map1<int32_t, int16_t>(to, from, n, [](int16_t x) -> int32_t { return x; });
            break;
        default:
            std::memcpy(to, from, static_cast<size_t>(n * storage_size(s)));
    }
}

// The nearest float with an odd last bit, unless x is a float itself: rounding that once more, to a shorter type, gives what
// rounding x would have given.
inline float to_odd(double x) {
    const float f = static_cast<float>(x);
    if (static_cast<double>(f) == x || !(std::fabs(f) <= std::numeric_limits<float>::max())) return f;
    uint32_t bits;
    std::memcpy(&bits, &f, sizeof bits);
    if ((bits & 1) == 0) bits += std::fabs(static_cast<double>(f)) > std::fabs(x) ? -1 : 1;
    float odd;
    std::memcpy(&odd, &bits, sizeof odd);
    return odd;
}

inline void convert_f64_to_16_bits(Storage s, const double* from, uint16_t* to, int64_t n) {
    float odd[128];
    for (int64_t at = 0; at < n; at += 128) {
        const int64_t m = n - at < 128 ? n - at : 128;
        for (int64_t i = 0; i < m; i++) odd[i] = to_odd(from[at + i]);
        if (s == Storage::f16) {
            convert_f32_to_f16(odd, to + at, m);
        } else {
            convert_f32_to_bf16(odd, to + at, m);
        }
    }
}

// Output k of a program, from the register that holds it. A double goes to 16 bits at once.
inline void convert_store(const Program& p, int k, const char* from, char* to, int64_t n) {
    const Storage s = p.output[k];
    if (p.value[p.store[k].value].type == Reg::f64 && s != Storage::f64) {
        convert_f64_to_16_bits(s, reinterpret_cast<const double*>(from), reinterpret_cast<uint16_t*>(to), n);
        return;
    }
    switch (s) {
        case Storage::f16:
            convert_f32_to_f16(reinterpret_cast<const float*>(from), reinterpret_cast<uint16_t*>(to), n);
            break;
        case Storage::bf16:
            convert_f32_to_bf16(reinterpret_cast<const float*>(from), reinterpret_cast<uint16_t*>(to), n);
            break;
        case Storage::u8:
        case Storage::i8:
            map1<uint8_t, int32_t>(to, from, n, [](int32_t x) -> uint8_t { return static_cast<uint8_t>(x); });
            break;
        case Storage::i16:
            map1<int16_t, int32_t>(to, from, n, [](int32_t x) -> int16_t { return static_cast<int16_t>(x); });
            break;
        default:
            // memmove: a copy of a tensor onto itself is a valid program.
            std::memmove(to, from, static_cast<size_t>(n * storage_size(s)));
    }
}

template <class T>
inline void fill_typed(char* to, const void* from, int64_t n) {
    T x;
    std::memcpy(&x, from, sizeof(T));
    T* p = reinterpret_cast<T*>(to);
    for (int64_t i = 0; i < n; i++) p[i] = x;
}
inline void fill(int size, char* to, const void* from, int64_t n) {
    switch (size) {
        case 8:
            fill_typed<uint64_t>(to, from, n);
            break;
        case 4:
            fill_typed<uint32_t>(to, from, n);
            break;
        case 2:
            fill_typed<uint16_t>(to, from, n);
            break;
        default:
            std::memset(to, *static_cast<const unsigned char*>(from), static_cast<size_t>(n));
    }
}

template <class T>
inline void gather_typed(char* to, const char* from, int64_t stride, int64_t n) {
    T* p = reinterpret_cast<T*>(to);
    for (int64_t i = 0; i < n; i++) p[i] = *reinterpret_cast<const T*>(from + i * stride);
}
// n elements with a byte stride, packed.
inline void gather(int size, char* to, const char* from, int64_t stride, int64_t n) {
    if (stride == size) {
        if (n * size < 64) {  // a call of memcpy costs more than these few
            for (int64_t i = 0; i < n * size; i++) to[i] = from[i];
        } else {
            std::memcpy(to, from, static_cast<size_t>(n * size));
        }
        return;
    }
    switch (size) {
        case 8:
            gather_typed<uint64_t>(to, from, stride, n);
            break;
        case 4:
            gather_typed<uint32_t>(to, from, stride, n);
            break;
        case 2:
            gather_typed<uint16_t>(to, from, stride, n);
            break;
        default:
            gather_typed<uint8_t>(to, from, stride, n);
    }
}
template <class T>
inline void scatter_typed(char* to, int64_t stride, const char* from, int64_t n) {
    const T* p = reinterpret_cast<const T*>(from);
    for (int64_t i = 0; i < n; i++) *reinterpret_cast<T*>(to + i * stride) = p[i];
}
inline void scatter(int size, char* to, int64_t stride, const char* from, int64_t n) {
    if (stride == size) {
        std::memcpy(to, from, static_cast<size_t>(n * size));
        return;
    }
    switch (size) {
        case 8:
            scatter_typed<uint64_t>(to, stride, from, n);
            break;
        case 4:
            scatter_typed<uint32_t>(to, stride, from, n);
            break;
        case 2:
            scatter_typed<uint16_t>(to, stride, from, n);
            break;
        default:
            scatter_typed<uint8_t>(to, stride, from, n);
    }
}

class BlockRunner {
 public:
    // `longest`: no block will have more elements than this (constants are filled so far, and no further).
    MERAPI_INLINE BlockRunner(const Program& program, char* scratch, const Scalar* scalars, int64_t longest)
        : p(program), base(scratch) {
        if (longest > p.block) longest = p.block;
        for (int v = 0; v < p.fixed_values; v++) {
            const Value& value = p.value[v];
            uint64_t bits = value.bits;
            if (value.source == Source::scalar) bits = scalar_bits(value.type, scalars[value.index]);
            where[v] = base + value.slot;
            fill(reg_size(value.type), where[v], &bits, longest);
        }
        for (int v = p.fixed_values; v < p.values; v++) where[v] = base + p.value[v].slot;
        for (int k = 0; k < p.inputs; k++) filled_from[k] = nullptr;
    }

    // Input k is m contiguous elements.
    MERAPI_INLINE void contiguous(int k, const char* from, int64_t m) {
        int v = p.load_value[k];
        if (v < 0) return;
        if (converts(p.input[k])) {
            char* slot = base + p.value[v].slot;
            convert_load(p.input[k], from, slot, m);
            where[v] = slot;
            filled_from[k] = nullptr;
        } else {
            where[v] = const_cast<char*>(from);
        }
    }

    // Input k is one element for all m.
    MERAPI_INLINE void broadcast(int k, const char* from, int64_t m) {
        int v = p.load_value[k];
        if (v < 0) return;
        if (filled_from[k] == from && filled[k] >= m) return;
        const Value& value = p.value[v];
        char* slot = base + value.slot;
        uint64_t one = 0;
        convert_load(p.input[k], from, reinterpret_cast<char*>(&one), 1);
        fill(reg_size(value.type), slot, &one, m);
        where[v] = slot;
        filled_from[k] = from;
        filled[k] = m;
    }

    // Input k is m elements with a byte stride: brought together first.
    MERAPI_INLINE void strided(int k, const char* from, int64_t stride, int64_t m) {
        if (stride == storage_size(p.input[k])) {
            contiguous(k, from, m);
        } else if (stride == 0) {
            broadcast(k, from, m);
        } else if (p.load_value[k] >= 0) {
            gather(storage_size(p.input[k]), stage(k), from, stride, m);
            contiguous(k, stage(k), m);
        }
    }

    MERAPI_INLINE char* stage(int k) { return base + p.input_stage[k]; }
    MERAPI_INLINE char* output_stage(int k) { return base + p.output_stage[k]; }

    // Let value v be computed straight into `to` (or back into its slot with null).
    MERAPI_INLINE void redirect(int v, char* to) { where[v] = to != nullptr ? to : base + p.value[v].slot; }

    MERAPI_INLINE void evaluate(int64_t m) {
        for (int i = 0; i < p.instructions; i++) {
            const Instruction& in = p.instruction[i];
            in.fn(where[in.d], where[in.a], where[in.b], where[in.c], m);
        }
    }

    MERAPI_INLINE const char* value(int v) const { return where[v]; }

 private:
    static MERAPI_INLINE uint64_t scalar_bits(Reg type, const Scalar& s) {
        uint64_t out = 0;
        switch (type) {
            case Reg::f32: {
                float f = static_cast<float>(s.real);
                std::memcpy(&out, &f, sizeof(f));
                break;
            }
            case Reg::f64:
                std::memcpy(&out, &s.real, sizeof(s.real));
                break;
            case Reg::i32: {
                int32_t i = static_cast<int32_t>(s.integer);
                std::memcpy(&out, &i, sizeof(i));
                break;
            }
            case Reg::i64:
                std::memcpy(&out, &s.integer, sizeof(s.integer));
                break;
            case Reg::boolean:
                *reinterpret_cast<unsigned char*>(&out) = s.integer != 0;
        }
        return out;
    }

    const Program& p;
    char* base;
    char* where[kMaxValues];
    const char* filled_from[kMaxInputs];
    int64_t filled[kMaxInputs];
};

}  // namespace MERAPI_ISA
}  // namespace merapi
