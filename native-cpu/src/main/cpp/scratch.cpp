// SPDX-License-Identifier: Apache-2.0
#include "scratch.h"

#include <atomic>
#include <cstdint>
#include <exception>
#include <new>
#include <string>
#include <vector>

namespace merapi {
namespace {

struct Block {
    char* base;
    size_t size;
    size_t used;
};

constexpr std::align_val_t kAlignment{64};
// A mark is (block, used) in one word: blocks are few, their sizes far below 2^48.
constexpr int kBlockShift = 48;
constexpr size_t kSmallestBlock = size_t{1} << 20;
constexpr size_t kKeptBytes = size_t{64} << 20;

std::atomic<size_t> limit{SIZE_MAX};

struct NoMemory : std::exception {
    std::string message;

    explicit NoMemory(size_t bytes)
        : message("a kernel needs " + std::to_string(bytes) + " bytes of working memory and the system has none") {}

    const char* what() const noexcept override { return message.c_str(); }
};

struct Arena {
    std::vector<Block> blocks;
    size_t current = 0;

    ~Arena() {
        for (Block& b : blocks) ::operator delete(b.base, kAlignment);
    }

    void* take(size_t bytes) {
        if (bytes > limit.load(std::memory_order_relaxed)) throw NoMemory(bytes);
        bytes = (bytes + 127) & ~size_t{63};  // never zero, and rows of neighbours don't share a line
        while (current < blocks.size()) {
            Block& b = blocks[current];
            if (b.size - b.used >= bytes) {
                void* p = b.base + b.used;
                b.used += bytes;
                return p;
            }
            if (b.used == 0 && current + 1 == blocks.size()) {  // too small and nobody in it: replace it
                ::operator delete(b.base, kAlignment);
                blocks.pop_back();
                break;
            }
            if (current + 1 == blocks.size()) break;
            current++;
        }
        size_t size = kSmallestBlock;
        while (size < bytes) size *= 2;
        char* base = static_cast<char*>(::operator new(size, kAlignment, std::nothrow));
        if (base == nullptr) throw NoMemory(size);
        try {
            blocks.push_back({base, size, bytes});
        } catch (...) {
            ::operator delete(base, kAlignment);
            throw;
        }
        current = blocks.size() - 1;
        return base;
    }

    size_t mark() const { return blocks.empty() ? 0 : (current << kBlockShift) | blocks[current].used; }

    void release(size_t mark) {
        size_t block = mark >> kBlockShift;
        if (blocks.empty()) return;
        for (size_t i = block + 1; i < blocks.size(); i++) blocks[i].used = 0;
        if (block < blocks.size()) blocks[block].used = mark & ((size_t{1} << kBlockShift) - 1);
        current = block < blocks.size() ? block : 0;
        if (mark == 0) shrink();
    }

    // One large request must not stay resident for ever.
    void shrink() {
        size_t kept = 0;
        size_t live = 0;
        for (Block& b : blocks) {
            if (kept + b.size <= kKeptBytes) {
                kept += b.size;
                blocks[live++] = b;
            } else {
                ::operator delete(b.base, kAlignment);
            }
        }
        blocks.resize(live);
    }
};

thread_local Arena arena;

}  // namespace

void* scratch_take(size_t bytes) { return arena.take(bytes); }
size_t scratch_mark() { return arena.mark(); }
void scratch_release(size_t mark) { arena.release(mark); }
void scratch_limit(size_t bytes) { limit.store(bytes); }

}  // namespace merapi
