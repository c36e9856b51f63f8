// SPDX-License-Identifier: Apache-2.0
//
// Working memory of kernels: a stack per thread that keeps its blocks, because fresh pages cost more than the
// arithmetic on them. Frames nest as calls do.
#pragma once

#include <cstddef>
#include <cstdint>

namespace merapi {

// 64-byte aligned; valid until scratch_release of the mark taken before. Throws when the system has no memory left, or not
// so much is allowed: parallel_for carries that to its caller, and the JNI library to Java.
void* scratch_take(size_t bytes);
size_t scratch_mark();
void scratch_release(size_t mark);

// The most that may be taken at once, for tests of what happens when there is no more.
void scratch_limit(size_t bytes);

// Always inlined: isa/*.cpp may not share inline functions.
struct ScratchFrame {
    size_t mark;
    __attribute__((always_inline)) ScratchFrame() : mark(scratch_mark()) {}
    ScratchFrame(const ScratchFrame&) = delete;
    __attribute__((always_inline)) ~ScratchFrame() { scratch_release(mark); }
};

}  // namespace merapi
