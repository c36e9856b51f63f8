// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "cgroup.h"
#include "merapi_memory.h"
#include "scratch.h"

#if defined(_WIN32)
#include <malloc.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace merapi {
namespace abi {

namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

}  // namespace

int64_t memory_allocate(int64_t bytes) {
    if (bytes <= 0) {
        return 0;
    }
    size_t alignment = bytes >= kHugePage ? static_cast<size_t>(kHugePage) : 64;
    size_t size = (static_cast<size_t>(bytes) + alignment - 1) / alignment * alignment;
#if defined(_WIN32)
    void* memory = _aligned_malloc(size, alignment);
#else
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, size) != 0) {
        memory = nullptr;
    }
#if defined(MADV_HUGEPAGE)
    if (memory != nullptr && bytes >= kHugePage) {
        madvise(memory, size, MADV_HUGEPAGE);
    }
#endif
#endif
    return reinterpret_cast<int64_t>(memory);
}

void memory_free(int64_t address, int64_t) {
#if defined(_WIN32)
    _aligned_free(reinterpret_cast<void*>(address));
#else
    std::free(reinterpret_cast<void*>(address));
#endif
}

#if defined(_WIN32)
int64_t memory_guarded_size(int64_t bytes) { return bytes; }
int64_t memory_guarded_allocate(int64_t) { return 0; }
void memory_guarded_free(int64_t, int64_t) {}
#else
int64_t memory_guarded_size(int64_t bytes) {
    int64_t page = sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

int64_t memory_guarded_allocate(int64_t bytes) {
    if (bytes <= 0) {
        return 0;
    }
    int64_t page = sysconf(_SC_PAGESIZE);
    int64_t size = memory_guarded_size(bytes);
    void* region = mmap(nullptr, static_cast<size_t>(size + 2 * page), PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) {
        return 0;
    }
    char* memory = static_cast<char*>(region) + page;
    if (mprotect(memory, static_cast<size_t>(size), PROT_READ | PROT_WRITE) != 0) {  // too many mappings
        munmap(region, static_cast<size_t>(size + 2 * page));
        return 0;
    }
    return reinterpret_cast<int64_t>(memory);
}

// What is freed keeps its addresses, without memory behind them, until so many more are freed.
void memory_guarded_free(int64_t address, int64_t size) {
    struct Region {
        void* begin;
        size_t bytes;
    };
    static constexpr size_t kKept = 2048;
    static Region kept[kKept];
    static size_t next = 0;
    static std::mutex mutex;
    int64_t page = sysconf(_SC_PAGESIZE);
    Region region{reinterpret_cast<void*>(address - page), static_cast<size_t>(size + 2 * page)};
    mmap(region.begin, region.bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    std::lock_guard<std::mutex> lock(mutex);
    std::swap(region, kept[next++ % kKept]);
    if (region.begin != nullptr) {
        munmap(region.begin, region.bytes);
    }
}
#endif

#if defined(_WIN32)
int64_t memory_map(const char*, int64_t, int64_t) { return 0; }
void memory_unmap(int64_t, int64_t) {}
#else
int64_t memory_map(const char* path, int64_t offset, int64_t bytes) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    struct stat status;
    int64_t lead = offset % sysconf(_SC_PAGESIZE);
    void* begin = MAP_FAILED;
    if (bytes > 0 && offset >= 0 && fstat(file, &status) == 0 && bytes <= status.st_size &&
        offset <= status.st_size - bytes) {
        begin = mmap(nullptr, static_cast<size_t>(lead + bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file,
                     static_cast<off_t>(offset - lead));
    }
    close(file);
    return begin == MAP_FAILED ? 0 : reinterpret_cast<int64_t>(begin) + lead;
}

void memory_unmap(int64_t address, int64_t bytes) {
    int64_t lead = address % sysconf(_SC_PAGESIZE);
    munmap(reinterpret_cast<void*>(address - lead), static_cast<size_t>(lead + bytes));
}
#endif

void working_memory_limit(int64_t bytes) { scratch_limit(bytes < 0 ? SIZE_MAX : static_cast<size_t>(bytes)); }

int64_t memory_limit() {
#if defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    return GlobalMemoryStatusEx(&status) ? static_cast<int64_t>(status.ullTotalPhys) : int64_t{4} << 30;
#else
    int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    int64_t group = cgroup_memory_limit("");
    return group > 0 && group < machine ? group : machine;
#endif
}

int64_t symbol_address(int64_t path, int64_t symbol) {
#if defined(_WIN32)
    HMODULE library = GetModuleHandleA(reinterpret_cast<const char*>(path));
    return library == nullptr
               ? 0
               : reinterpret_cast<int64_t>(GetProcAddress(library, reinterpret_cast<const char*>(symbol)));
#else
    void* library = dlopen(reinterpret_cast<const char*>(path), RTLD_LAZY);
    return library == nullptr ? 0 : reinterpret_cast<int64_t>(dlsym(library, reinterpret_cast<const char*>(symbol)));
#endif
}

}  // namespace abi
}  // namespace merapi
