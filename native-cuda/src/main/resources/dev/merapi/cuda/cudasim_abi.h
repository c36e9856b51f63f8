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
    // Before every load and store of a kernel compiled with checks; `place` is an address in its code.
    void (*access)(const void* address, unsigned long bytes, int writes, const void* place);
};

// Memory that a launch may use: a tensor. Only these bytes of the device's memory, and writing only where it says so.
struct Region {
    unsigned long begin, bytes, writable;
};

// Exported by a kernel library: tells it the engine, and asks for the variables of the calling thread.
typedef void (*Bind)(const Engine* engine, Variables* variables);
// Exported per kernel: runs the current thread's part of it.
typedef void (*Entry)(void** arguments);

}  // namespace cudasim
