// SPDX-License-Identifier: Apache-2.0
// Runs kernels on the CPU: every CUDA thread is a fiber, blocks run one after the other on each operating-system
// thread. A thread that never waits runs to its end on the fiber of the one before, without any switch.
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "../resources/dev/merapi/cuda/cudasim_abi.h"
#include "checks.h"
#include "merapi_cuda.h"

namespace merapi {
namespace {

using cudasim::Dim;

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kGuardBytes = 4096;
constexpr int64_t kMaxThreads = 1024;
constexpr int64_t kMaxShared = 232448;          // what compute capability 9.0 allows a block
constexpr int64_t kEndless = int64_t{1} << 30;  // accesses of a thread that nobody waits for
constexpr int64_t kParallelFrom = 16384;  // CUDA threads below which starting operating-system threads does not pay

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Launch {
    cudasim::Entry entry;
    cudasim::Bind bind;
    Dim grid, block;
    size_t dynamic;
    void** arguments;
    int64_t order;
    bool checked;
    Regions tensors, segments, variables;
};

// One rendezvous of the lanes of a mask; disjoint masks do not meet.
struct WarpBarrier {
    unsigned mask = 0, arrived = 0;
    uint64_t generation = 0;
    int warp = 0;
    unsigned long long slots[2][32];
};

struct Warp {
    unsigned alive = 0;
    std::vector<std::unique_ptr<WarpBarrier>> barriers;

    WarpBarrier& barrier(unsigned mask, int warp) {
        for (auto& b : barriers) {
            if (b->mask == mask) {
                return *b;
            }
        }
        barriers.push_back(std::make_unique<WarpBarrier>());
        barriers.back()->mask = mask;
        barriers.back()->warp = warp;
        return *barriers.back();
    }
};

struct Fiber {
    void* sp = nullptr;
    char* stack = nullptr;
    int thread = -1;  // linear index in the block; -1: idle
    const uint64_t* awaited = nullptr;
    uint64_t since = 0;
    char kind = 0;  // what it waits for: 'b' the block, 'w' lanes of its warp
#if !defined(__x86_64__)
    ucontext_t context;
#endif

    bool ready() const { return thread >= 0 && (awaited == nullptr || *awaited != since); }
};

// The block that this operating-system thread runs.
struct Block {
    const Launch* launch = nullptr;
    cudasim::Variables variables{};
    int threads = 0, begun = 0, done = 0;
    Fiber* current = nullptr;
    Fiber main;
    std::vector<Fiber*> active, pool;
    std::vector<Warp> warps;
    std::vector<int> order;
    uint64_t generation = 0;
    int arrived = 0, votes = 0, lastVotes = 0, site = 0;
    size_t turn = 0;
    bool failed = false;
    std::string why;
    std::vector<char> dynamic;
    std::unique_ptr<Checks> checks;
    int64_t accesses = 0;  // since another thread ran

    ~Block() {
        for (Fiber* f : pool) {
            munmap(f->stack, kStackBytes);
            delete f;
        }
    }
};

thread_local Block* running = nullptr;

#if defined(__x86_64__)
// Saves the callee-saved registers on the old stack, and takes them from the new one.
__attribute__((naked, noinline)) void switch_stack(void** /*save*/, void* /*to*/) {
    asm volatile(
        "pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp,(%rdi)\n movq %rsi,%rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
}
#endif

void assign(Block& b, Fiber* f, int thread) {
    f->thread = thread;
    f->awaited = nullptr;
    b.accesses = 0;
    *b.variables.threadIdx = thread_index(thread, b.launch->block);
}

void go(Block& b, Fiber* to) {
    Fiber* from = b.current;
    b.accesses = 0;
    if (to->thread >= 0) {
        *b.variables.threadIdx = thread_index(to->thread, b.launch->block);
    }
    if (from == to) {
        return;
    }
    b.current = to;
#if defined(__x86_64__)
    switch_stack(&from->sp, to->sp);
#else
    swapcontext(&from->context, &to->context);
#endif
}

// Gives the launch up: never comes back to the fiber that called it.
void fail(Block& b, const std::string& why) {
    if (!b.failed) {
        b.failed = true;
        b.why = why;
    }
    go(b, &b.main);
}

// Before another thread goes on.
void settle(Block& b) {
    if (b.checks) {
        std::string why = b.checks->settle();
        if (!why.empty()) {
            fail(b, why);
        }
    }
}

void fiber_main();

// Null if there is no memory.
Fiber* fresh_fiber(Block& b) {
    Fiber* f;
    if (b.active.size() < b.pool.size()) {
        f = b.pool[b.active.size()];
    } else {
        void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED) {
            return nullptr;
        }
        mprotect(stack, kGuardBytes, PROT_NONE);
        f = new Fiber;
        f->stack = static_cast<char*>(stack);
        b.pool.push_back(f);
    }
    b.active.push_back(f);
    f->awaited = nullptr;
    f->thread = -1;
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(f->stack + kStackBytes);
    *--top = nullptr;
    *--top = reinterpret_cast<void*>(&fiber_main);
    top -= 6;
    std::fill(top, top + 6, nullptr);
    f->sp = top;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack + kGuardBytes;
    f->context.uc_stack.ss_size = kStackBytes - kGuardBytes;
    f->context.uc_link = nullptr;
    makecontext(&f->context, &fiber_main, 0);
#endif
    return f;
}

// Lets another thread run: one that has not begun, else a ready one in turn; if there is none, nobody will ever be.
void yield(Block& b) {
    if (b.begun < b.threads) {
        Fiber* f = fresh_fiber(b);
        if (f == nullptr) {
            fail(b, "no memory for the stacks of " + std::to_string(b.threads) + " threads");
        }
        assign(b, f, b.order[static_cast<size_t>(b.begun++)]);
        go(b, f);
        return;
    }
    size_t n = b.active.size();
    for (size_t k = 0; k < n; k++) {
        b.turn = b.turn + 1 < n ? b.turn + 1 : 0;
        if (b.active[b.turn]->ready()) {
            go(b, b.active[b.turn]);
            return;
        }
    }
    int atBlock = 0, atWarp = 0;
    for (Fiber* f : b.active) {
        if (f->thread >= 0) {
            (f->kind == 'b' ? atBlock : atWarp)++;
        }
    }
    fail(b, "deadlock: " + std::to_string(atBlock) + " threads wait at __syncthreads, " + std::to_string(atWarp) +
                " at a warp operation, " + std::to_string(b.done) + " of " + std::to_string(b.threads) +
                " have returned");
}

void release(Block& b) {
    b.arrived = 0;
    b.lastVotes = b.votes;
    b.votes = 0;
    b.generation++;
    if (b.checks) {
        if (b.done > 0) {  // most GPUs go on without them; nothing promises it
            fail(b, "divergent __syncthreads: " + std::to_string(b.threads - b.done) + " threads wait at line " +
                        std::to_string(b.site) + ", " + std::to_string(b.done) + " have returned without reaching it");
        }
        b.checks->barrier();
    }
}

void release(Block& b, WarpBarrier& w) {
    if (b.checks) {
        b.checks->warp_barrier(w.warp, w.arrived);
    }
    w.arrived = 0;
    w.generation++;
}

void fiber_main() {
    Block& b = *running;
    for (;;) {
        Fiber* self = b.current;
        int t = self->thread;
        b.launch->entry(b.launch->arguments);
        settle(b);
        // A thread that returned no longer counts where others wait.
        Warp& warp = b.warps[static_cast<size_t>(t / 32)];
        warp.alive &= ~(1u << (t % 32));
        b.done++;
        for (auto& w : warp.barriers) {
            if (w->arrived != 0 && w->arrived == (w->mask & warp.alive)) {
                release(b, *w);
            }
        }
        if (b.arrived != 0 && b.arrived == b.threads - b.done) {
            release(b);
        }
        if (b.done == b.threads) {
            self->thread = -1;
            go(b, &b.main);
        } else if (b.begun < b.threads) {
            assign(b, self, b.order[static_cast<size_t>(b.begun++)]);
        } else {
            self->thread = -1;
            yield(b);
        }
    }
}

void wait(Block& b, const uint64_t* generation, uint64_t since, char kind) {
    Fiber* f = b.current;
    f->awaited = generation;
    f->since = since;
    f->kind = kind;
    while (*generation == since) {
        yield(b);
    }
    f->awaited = nullptr;
}

// ---- what kernels call ----

int block_barrier(int vote, int site) {
    Block& b = *running;
    settle(b);
    if (b.arrived == 0) {
        b.site = site;
    } else if (b.site != site) {
        fail(b, "divergent __syncthreads: some threads wait at line " + std::to_string(b.site) + ", others at line " +
                    std::to_string(site));
    }
    b.votes += vote;
    uint64_t g = b.generation;
    if (++b.arrived == b.threads - b.done) {
        release(b);
    } else {
        wait(b, &b.generation, g, 'b');
    }
    return b.lastVotes;
}

const unsigned long long* warp_exchange(unsigned mask, unsigned long long value) {
    Block& b = *running;
    settle(b);
    int t = b.current->thread, lane = t % 32;
    Warp& warp = b.warps[static_cast<size_t>(t / 32)];
    if ((mask >> lane & 1) == 0) {
        char hex[16];
        std::snprintf(hex, sizeof hex, "%08x", mask);
        fail(b, "warp operation: lane " + std::to_string(lane) + " is not in its own mask 0x" + hex);
    }
    WarpBarrier& w = warp.barrier(mask, t / 32);
    uint64_t g = w.generation;
    unsigned long long* slots = w.slots[g & 1];
    slots[lane] = value;
    w.arrived |= 1u << lane;
    if (w.arrived == (mask & warp.alive)) {
        release(b, w);
    } else {
        wait(b, &w.generation, g, 'w');
    }
    return slots;
}

unsigned active_mask() { return running->warps[static_cast<size_t>(running->current->thread / 32)].alive; }

void fail_with(const char* why) {
    Block& b = *running;
    fail(b, std::string(why) + " in thread " + text(thread_index(b.current->thread, b.launch->block)));
}

void access(const void* pointer, unsigned long bytes, int kind, const void* place) {
    Block& b = *running;
    if (!b.checks) {
        return;
    }
    int thread = b.current->thread;
    Extent stack{reinterpret_cast<uintptr_t>(b.current->stack) + kGuardBytes, kStackBytes - kGuardBytes};
    std::string why = b.checks->access(thread, stack, reinterpret_cast<uintptr_t>(pointer), bytes, kind, place);
    if (why.empty() && ++b.accesses > kEndless) {
        why = "endless: " + std::to_string(kEndless) + " accesses without an end" + b.checks->at(place, thread);
    }
    if (!why.empty()) {
        fail(b, why);
    }
}

void fence() {
    if (running->checks) {
        running->checks->fence();
    }
}

void report(const char* what, const void* place) {
    Block& b = *running;
    if (b.checks) {
        fail(b, what + b.checks->at(place, b.current->thread));
    }
    fail(b, what);
}

const cudasim::Engine kEngine{block_barrier, warp_exchange, active_mask, fail_with, access, fence, report};

// ---- grids ----

void prepare(Block& b, const Launch& launch) {
    b.launch = &launch;
    launch.bind(&kEngine, &b.variables);
    *b.variables.blockDim = launch.block;
    *b.variables.gridDim = launch.grid;
    b.threads = static_cast<int>(launch.block.x * launch.block.y * launch.block.z);
    b.order.resize(static_cast<size_t>(b.threads));
    std::iota(b.order.begin(), b.order.end(), 0);
    if (launch.order < 0) {
        std::reverse(b.order.begin(), b.order.end());
    } else if (launch.order > 0) {
        uint64_t s = static_cast<uint64_t>(launch.order);
        for (size_t i = b.order.size() - 1; i > 0; i--) {
            s = s * 6364136223846793005u + 1442695040888963407u;
            std::swap(b.order[i], b.order[(s >> 33) % (i + 1)]);
        }
    }
    b.warps.resize(static_cast<size_t>((b.threads + 31) / 32));
    b.dynamic.resize(launch.dynamic + 128);
    auto at = reinterpret_cast<uintptr_t>(b.dynamic.data());
    *b.variables.dynamic = reinterpret_cast<void*>((at + 127) & ~uintptr_t{127});
    b.checks.reset();
    if (launch.checked) {
        b.checks = std::make_unique<Checks>(launch.tensors, launch.segments, launch.variables,
                                            reinterpret_cast<const void*>(launch.entry), launch.block);
    }
}

void run_block(Block& b, const Launch& launch, int64_t number) {
    Dim where{static_cast<unsigned>(number % launch.grid.x),
              static_cast<unsigned>(number / launch.grid.x % launch.grid.y),
              static_cast<unsigned>(number / launch.grid.x / launch.grid.y)};
    b.begun = b.done = b.arrived = b.votes = 0;
    b.failed = false;
    b.active.clear();
    *b.variables.blockIdx = where;
    for (size_t i = 0; i < b.warps.size(); i++) {
        int lanes = std::min(32, b.threads - static_cast<int>(i) * 32);
        b.warps[i].alive = lanes == 32 ? ~0u : (1u << lanes) - 1;
        for (auto& w : b.warps[i].barriers) {
            w->arrived = 0;
        }
    }
    // All ones are NaN and -1: what reads shared memory before it writes it, stands out.
    std::memset(*b.variables.dynamic, 0xff, launch.dynamic);
    if (b.checks) {
        b.checks->begin_block(static_cast<uint32_t>(number),
                              Extent{reinterpret_cast<uintptr_t>(*b.variables.dynamic), launch.dynamic});
    }
    b.main.thread = -1;
    b.current = &b.main;
    Fiber* first = fresh_fiber(b);
    if (first == nullptr) {
        throw Error("no memory for the stack of a thread");
    }
    assign(b, first, b.order[static_cast<size_t>(b.begun++)]);
    go(b, first);
    if (b.failed) {
        throw Error("block " + text(where) + ": " + b.why);
    }
}

// Which block is the i-th to run.
int64_t turn(int64_t i, int64_t blocks, int64_t order) {
    if (order == 0 || blocks == 1) {
        return i;
    }
    if (order < 0) {
        return blocks - 1 - i;
    }
    // A step without a common divisor reaches all.
    int64_t step = order % blocks + 1;
    while (std::gcd(step, blocks) != 1) {
        step++;
    }
    return static_cast<int64_t>(
        (static_cast<unsigned __int128>(i) * static_cast<uint64_t>(step) + static_cast<uint64_t>(order)) %
        static_cast<uint64_t>(blocks));
}

void run_grid(const Launch& launch, int64_t workers) {
    int64_t blocks = int64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
    int64_t threads = int64_t{launch.block.x} * launch.block.y * launch.block.z;
    workers = launch.checked || blocks * threads < kParallelFrom ? 1 : std::max<int64_t>(1, std::min(workers, blocks));
    std::atomic<int64_t> next{0};
    std::atomic<bool> bad{false};
    std::string why;
    auto work = [&] {
        static thread_local Block mine;
        running = &mine;
        try {
            prepare(mine, launch);
            for (int64_t i = next++; i < blocks && !bad; i = next++) {
                run_block(mine, launch, turn(i, blocks, launch.order));
            }
            if (mine.checks) {
                std::string why = mine.checks->end();
                if (!why.empty()) {
                    throw Error(why);
                }
            }
        } catch (const std::exception& e) {
            if (!bad.exchange(true)) {
                why = e.what();
            }
        }
    };
    std::vector<std::thread> others;
    for (int64_t i = 1; i < workers; i++) {
        others.emplace_back(work);
    }
    work();
    for (auto& t : others) {
        t.join();
    }
    if (bad) {
        throw Error(why);
    }
}

Dim dim(const int64_t* words) {
    return {static_cast<unsigned>(words[0]), static_cast<unsigned>(words[1]), static_cast<unsigned>(words[2])};
}

Regions regions(const int64_t* words) {
    return {reinterpret_cast<const cudasim::Region*>(words[0]), static_cast<size_t>(words[1])};
}

void check(const int64_t* w) {
    bool grid = w[2] > 0 && w[3] > 0 && w[4] > 0 && w[2] <= INT32_MAX && w[3] <= 65535 && w[4] <= 65535;
    bool block = w[5] > 0 && w[6] > 0 && w[7] > 0 && w[5] <= kMaxThreads && w[6] <= kMaxThreads && w[7] <= 64 &&
                 w[5] * w[6] * w[7] <= kMaxThreads;
    if (!grid || !block || w[8] < 0 || w[8] > kMaxShared) {
        auto three = [](const int64_t* d) {
            return "(" + std::to_string(d[0]) + ", " + std::to_string(d[1]) + ", " + std::to_string(d[2]) + ")";
        };
        throw Error("invalid launch: grid " + three(w + 2) + ", block " + three(w + 5) + ", " + std::to_string(w[8]) +
                    " bytes of dynamic shared memory; a block has at most 1024 threads and 232448 bytes");
    }
}

}  // namespace

namespace abi {

int32_t simulator_launch(int64_t address, int64_t error, int64_t capacity) {
    const int64_t* w = reinterpret_cast<const int64_t*>(address);
    try {
        check(w);
        Launch launch{reinterpret_cast<cudasim::Entry>(w[0]),
                      reinterpret_cast<cudasim::Bind>(w[1]),
                      dim(w + 2),
                      dim(w + 5),
                      static_cast<size_t>(w[8]),
                      reinterpret_cast<void**>(w[9]),
                      w[11],
                      w[12] != 0,
                      regions(w + 13),
                      regions(w + 15),
                      regions(w + 17)};
        run_grid(launch, w[10]);
        return 0;
    } catch (const std::exception& e) {
        std::snprintf(reinterpret_cast<char*>(error), static_cast<size_t>(capacity), "%s", e.what());
        return 1;
    }
}

}  // namespace abi
}  // namespace merapi
