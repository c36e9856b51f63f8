// SPDX-License-Identifier: Apache-2.0
//
// Raw memory for the caching allocator, and what the machine or container has of it.
#pragma once

#include <cstdint>

namespace merapi {
namespace abi {

// Memory aligned to 64 bytes at least, to 2 MiB when it is that large (so that huge pages serve it); 0 if there is
// none.
int64_t memory_allocate(int64_t bytes);
void memory_free(int64_t address, int64_t bytes);

// For guard mode: memory that begins and ends at pages which stop the process when they are touched, as all of it does
// for a while after it is freed; `memory_guarded_size` is what `bytes` are rounded to, whole pages. 0 if the system has
// no such memory.
int64_t memory_guarded_size(int64_t bytes);
int64_t memory_guarded_allocate(int64_t bytes);
void memory_guarded_free(int64_t address, int64_t size);

// A part of a file in memory, privately: what is written there does not go to the file. 0 if the system cannot.
int64_t memory_map(const char* path, int64_t offset, int64_t bytes);
void memory_unmap(int64_t address, int64_t bytes);

// The most working memory that a kernel gets at once, for tests of what happens when there is no more; negative: all.
void working_memory_limit(int64_t bytes);

// Bytes that this process may use: the machine's memory or the container's limit, whichever is less.
int64_t memory_limit();

// The address of a symbol in a shared library that is loaded already (`path` names its file), or 0.
int64_t symbol_address(int64_t path, int64_t symbol);

}  // namespace abi
}  // namespace merapi
