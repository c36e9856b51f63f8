// SPDX-License-Identifier: Apache-2.0
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "merapi_cuda.h"

namespace merapi {
namespace abi {

namespace {

template <class F>
F function(void* library, const char* name) {
    return reinterpret_cast<F>(dlsym(library, name));
}

// The driver stays loaded: unloading it again would cost more than the probe.
void* driver() {
    static void* library = dlopen("libcuda.so.1", RTLD_LAZY);
    return library;
}

int64_t number_in(const char* path) {
    FILE* file = std::fopen(path, "r");
    long long value = -1;
    if (file != nullptr) {
        if (std::fscanf(file, "%lld", &value) != 1) {
            value = -1;
        }
        std::fclose(file);
    }
    return value;
}

}  // namespace

int32_t driver_devices() {
    if (driver() == nullptr) {
        return -1;
    }
    auto init = function<int (*)(unsigned)>(driver(), "cuInit");
    auto count = function<int (*)(int*)>(driver(), "cuDeviceGetCount");
    if (init == nullptr || count == nullptr) {
        return -2;
    }
    int error = init(0);
    int n = 0;
    if (error == 0) {
        error = count(&n);
    }
    return error != 0 ? -100 - error : n;
}

int32_t driver_version() {
    auto get = driver() == nullptr ? nullptr : function<int (*)(int*)>(driver(), "cuDriverGetVersion");
    int version = 0;
    return get != nullptr && get(&version) == 0 ? version : 0;
}

int64_t library_open(int64_t path, int64_t error, int64_t capacity) {
    void* library = dlopen(reinterpret_cast<const char*>(path), RTLD_LAZY);
    if (library == nullptr && error != 0) {
        const char* why = dlerror();
        std::snprintf(reinterpret_cast<char*>(error), static_cast<size_t>(capacity), "%s", why ? why : "unknown");
    }
    return reinterpret_cast<int64_t>(library);
}

int64_t library_symbol(int64_t library, int64_t name) {
    return reinterpret_cast<int64_t>(dlsym(reinterpret_cast<void*>(library), reinterpret_cast<const char*>(name)));
}

void library_close(int64_t library) { dlclose(reinterpret_cast<void*>(library)); }

void library_place(int64_t address, int64_t text, int64_t capacity) {
    Dl_info info;
    bool found = dladdr(reinterpret_cast<void*>(address), &info) != 0 && info.dli_fname != nullptr;
    std::snprintf(reinterpret_cast<char*>(text), static_cast<size_t>(capacity), "%s",
                  found ? info.dli_fname : "an unknown file");
}

int64_t memory_allocate(int64_t bytes) {
    void* memory = nullptr;
    if (bytes <= 0 || posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) {
        return 0;
    }
    return reinterpret_cast<int64_t>(memory);
}

void memory_free(int64_t address) { std::free(reinterpret_cast<void*>(address)); }

void memory_copy(int64_t target, int64_t source, int64_t bytes) {
    std::memmove(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), static_cast<size_t>(bytes));
}

void memory_fill(int64_t target, int32_t value, int64_t bytes) {
    std::memset(reinterpret_cast<void*>(target), value, static_cast<size_t>(bytes));
}

int64_t memory_limit() {
    int64_t machine = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
    int64_t group = number_in("/sys/fs/cgroup/memory.max");
    return group > 0 && group < machine ? group : machine;
}

}  // namespace abi
}  // namespace merapi
