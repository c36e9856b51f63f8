// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "merapi_memory.h"

#if defined(_WIN32)
#include <malloc.h>
#include <windows.h>
#else
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace merapi {
namespace abi {

namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

#if !defined(_WIN32)
// The number in a file, or -1 if it cannot be read or says "max".
int64_t number_in(const char* path) {
    FILE* file = std::fopen(path, "r");
    if (file == nullptr) {
        return -1;
    }
    long long value = -1;
    if (std::fscanf(file, "%lld", &value) != 1) {
        value = -1;
    }
    std::fclose(file);
    return value;
}

// The limit of this process's control group (version 2), walking up to the root.
int64_t cgroup_limit() {
    int64_t limit = -1;
    char group[512] = "";
    FILE* file = std::fopen("/proc/self/cgroup", "r");
    if (file != nullptr) {
        char line[500];
        while (std::fgets(line, sizeof line, file) != nullptr) {
            if (std::strncmp(line, "0::", 3) == 0) {
                std::snprintf(group, sizeof group, "%s", line + 3);
                group[std::strcspn(group, "\n")] = 0;
            }
        }
        std::fclose(file);
    }
    for (;;) {
        char path[700];
        std::snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", std::strcmp(group, "/") == 0 ? "" : group);
        int64_t here = number_in(path);
        if (here > 0 && (limit < 0 || here < limit)) {
            limit = here;
        }
        char* slash = std::strrchr(group, '/');
        if (slash == nullptr || group[0] == 0) {
            break;
        }
        *slash = 0;
    }
    int64_t version1 = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    if (version1 > 0 && version1 < (int64_t{1} << 60) && (limit < 0 || version1 < limit)) {
        limit = version1;
    }
    return limit;
}
#endif

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

int64_t memory_limit() {
#if defined(_WIN32)
    MEMORYSTATUSEX status;
    status.dwLength = sizeof status;
    return GlobalMemoryStatusEx(&status) ? static_cast<int64_t>(status.ullTotalPhys) : int64_t{4} << 30;
#else
    int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    int64_t group = cgroup_limit();
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
