// SPDX-License-Identifier: Apache-2.0
// What the simulator knows about the accesses of a launch, when kernels are compiled with checks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "../resources/dev/merapi/cuda/cudasim_abi.h"

namespace merapi {

struct Extent {
    uintptr_t begin = 0;
    size_t bytes = 0;

    bool holds(uintptr_t address, size_t n) const {
        return address >= begin && n <= bytes && address - begin <= bytes - n;
    }
};

struct Regions {
    const cudasim::Region* all = nullptr;
    size_t count = 0;

    const cudasim::Region* begin() const { return all; }
    const cudasim::Region* end() const { return all + count; }
};

// One launch, on one operating-system thread. Every byte of shared memory and every element of a tensor that may be
// written has a shadow: who wrote and who read it last, and when. Time is counted in barriers: of the block (epochs),
// and for each lane of a warp in the warp operations that it has taken part in, and those that it knows of others.
//
// Messages have placeholders: @r3@ for the region 3, @v3@ for the variable 3, @0x12@ for a place in the library.
class Checks {
 public:
    // `tensors` are what the kernel may use, all of the `segments` if there are none; `variables` lie in shared memory.
    Checks(Regions tensors, Regions segments, Regions variables, const void* library, cudasim::Dim block);

    void begin_block(uint32_t block, Extent dynamic);
    void barrier() { epoch_++; }
    void warp_barrier(int warp, unsigned lanes);
    void fence() { fenced_ = true; }
    // Before an access of a thread with this stack. Empty, or what is wrong with it.
    std::string access(int thread, Extent stack, uintptr_t address, size_t bytes, int kind, const void* place);
    // When another thread goes on: judges a write that could not be judged before it was done.
    std::string settle();
    // When all blocks have ended.
    std::string end() const;
    // Where a thread was.
    std::string at(const void* code, int thread) const;

 private:
    struct Access {
        const void* place;
        uint32_t epoch, block, clock;  // epoch 0: never
        uint16_t thread, kind;
    };
    struct Shadow {
        Access written, read, read_by_another;
    };
    struct Memory {
        Extent extent;
        size_t element = 1;
        Shadow* shadows = nullptr;
        std::string name;
        bool shared = false, fresh = false;
    };
    // A second write to what another thread has written: an error unless it writes the same.
    struct Pending {
        const unsigned char* memory = nullptr;
        size_t bytes = 0;
        unsigned char before[16];
        std::string why;
    };
    struct Free {
        void operator()(Shadow* s) const;
    };

    std::string touch(Memory& m, int thread, uintptr_t address, size_t bytes, int kind, const void* place);
    std::string touch(Memory& m, Shadow& s, const Access& now, bool writes);
    bool is_written(const Memory& m, const Shadow& s) const;
    static std::string position(const Memory& m, size_t i);
    bool ordered(const Access& before, const Access& now) const;
    std::string race(const Memory& m, const Access& before, const Access& now, bool writes) const;
    std::string place(const void* code) const;
    std::string outside(int thread, uintptr_t address, size_t bytes, int kind, const void* place) const;
    std::string variable(int thread, uintptr_t address, size_t bytes, int kind, const void* place);
    Shadow* shadows(size_t count);

    Regions tensors_, segments_, variables_;
    Extent library_, locals_, dynamic_;
    uintptr_t base_ = 0;
    cudasim::Dim block_;
    std::vector<Memory> memories_;  // of the tensors, in their order; then of the variables; then dynamic shared memory
    std::vector<std::unique_ptr<Shadow, Free>> owned_;
    std::vector<uint32_t> clocks_;  // [thread][lane of its warp]
    uint32_t epoch_ = 1, first_epoch_ = 1, block_index_ = 0;
    bool fenced_ = false;
    Pending pending_;
};

std::string text(const cudasim::Dim& d);
cudasim::Dim thread_index(int thread, const cudasim::Dim& block);

}  // namespace merapi
