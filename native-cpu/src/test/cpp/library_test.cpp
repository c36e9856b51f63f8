// SPDX-License-Identifier: Apache-2.0
//
// The library itself, as Java loads it: library_test FILE. Its functions are found by name, and products of matrices on
// several threads come out as they should. The other tests are linked to the kernels; what a linker or a loader does wrong,
// such as the places of thread_local variables, is seen here.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace {

#if defined(_WIN32)
HMODULE library;
void open(const char* file) { library = LoadLibraryA(file); }
void* symbol(const char* name) { return reinterpret_cast<void*>(GetProcAddress(library, name)); }
#else
void* library;
void open(const char* file) { library = dlopen(file, RTLD_NOW); }
void* symbol(const char* name) { return dlsym(library, name); }
#endif

// What JavaCPP makes of Native's methods takes JNI's environment first, which they look at only after an exception.
template <class R, class... A>
R call(const char* name, A... arguments) {
    void* function = symbol(name);
    if (!function) {
        std::printf("no %s\n", name);
        std::exit(1);
    }
    return reinterpret_cast<R (*)(void*, void*, A...)>(function)(nullptr, nullptr, arguments...);
}

int64_t at(const std::vector<float>& v) { return reinterpret_cast<int64_t>(v.data()); }

constexpr int64_t kSize = 192;

bool product_is_right() {
    std::vector<float> a(kSize * kSize), b(kSize * kSize), c(kSize * kSize, NAN);
    for (int64_t i = 0; i < kSize * kSize; i++) {
        a[i] = static_cast<float>(i * 7 % 13 - 6);
        b[i] = static_cast<float>(i * 5 % 11 - 5);
    }
    call<void>("Java_dev_merapi_cpu_Native_gemm", int32_t{0}, int32_t{0}, int32_t{0}, kSize, kSize, kSize, 1.0, at(a), kSize,
               at(b), kSize, 0.0, at(c), kSize);
    for (int64_t i = 0; i < kSize; i++) {
        for (int64_t j = 0; j < kSize; j++) {
            float sum = 0;  // exact: small integers
            for (int64_t k = 0; k < kSize; k++) sum += a[i * kSize + k] * b[k * kSize + j];
            if (c[i * kSize + j] != sum) {
                std::printf("c[%d, %d] is %g, not %g\n", int(i), int(j), c[i * kSize + j], sum);
                return false;
            }
        }
    }
    return true;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 2) return 2;
    open(arguments[1]);
    if (!library) {
        std::printf("%s cannot be loaded\n", arguments[1]);
        return 1;
    }
    call<void>("Java_dev_merapi_cpu_Native_set_1num_1threads", int32_t{3});
    int threads = call<int32_t>("Java_dev_merapi_cpu_Native_num_1threads");
    int level = call<int32_t>("Java_dev_merapi_cpu_Native_isa_1level");
    bool right[4] = {};
    // The library's own threads, and threads of the caller: each with its own thread_local variables.
    std::vector<std::thread> callers;
    for (bool& each : right) callers.emplace_back([&each] { each = product_is_right() && product_is_right(); });
    for (std::thread& caller : callers) caller.join();
    bool all = product_is_right() && right[0] && right[1] && right[2] && right[3];
    std::printf("%d threads, level %d: %s\n", threads, level, all ? "passed" : "FAILED");
    return all && threads == 3 ? 0 : 1;
}
