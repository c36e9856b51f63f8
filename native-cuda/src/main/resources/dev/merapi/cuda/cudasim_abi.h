// SPDX-License-Identifier: Apache-2.0
// What the simulator's engine and the kernel libraries that it loads agree on. Plain C types: the two sides are built
// by different compilers, at different times.
#pragma once

namespace cudasim {

struct Dim {
    unsigned x, y, z;
};

// Where the built-in variables of a kernel library live for one operating-system thread.
struct Variables {
    Dim* threadIdx;
    Dim* blockIdx;
    Dim* blockDim;
    Dim* gridDim;
    void** dynamic;  // start of the block's dynamic shared memory
};

// What kernels call.
struct Engine {
    // Waits for all threads of the block that have not returned; gives the sum of the votes. `site` is the source line.
    int (*block_barrier)(int vote, int site);
    // All lanes of the mask publish 8 bytes; gives the 32 published values.
    const unsigned long long* (*warp_exchange)(unsigned mask, unsigned long long value);
    unsigned (*active_mask)();
    // Ends the launch with this text.
    void (*fail)(const char* why);
    // Of a kernel compiled with checks: before every load and store. `place` is an address in its code.
    void (*access)(const void* address, unsigned long bytes, int kind, const void* place);
    // Of the same: at every __threadfence.
    void (*fence)();
    // Of the same: ends the launch with what the compiler's own checks found.
    void (*report)(const char* what, const void* place);
};

// Kinds of access: bits.
constexpr int kWrites = 1, kAtomic = 2;

// Memory that a launch may use: a tensor, a part of the device's memory, or a variable in shared memory.
struct Region {
    unsigned long begin;  // of a variable: its offset from where the library's variables begin
    unsigned long bytes;
    unsigned long flags;
    unsigned long element;  // bytes of one
};

// Flags of a region. Fresh: holds nothing yet, and is to be written wholly. Built in: not the kernel's to use.
constexpr unsigned long kWritable = 1, kFresh = 2, kBuiltIn = 4;

// Exported by a kernel library: tells it the engine, and asks for the variables of the calling thread.
typedef void (*Bind)(const Engine* engine, Variables* variables);
// Exported per kernel: runs the current thread's part of it.
typedef void (*Entry)(void** arguments);

}  // namespace cudasim
