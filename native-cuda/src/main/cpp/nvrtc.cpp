// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>
#include <vector>

#include "merapi_cuda.h"

namespace merapi {
namespace abi {

namespace {

using Program = void*;

// NVRTC's functions, by address: the library is found at run time, or not at all.
struct Functions {
    int (*create)(Program*, const char* source, const char* name, int headers, const char* const*, const char* const*);
    int (*compile)(Program, int count, const char* const* options);
    int (*cubin_size)(Program, size_t*);
    int (*cubin)(Program, char*);
    int (*ptx_size)(Program, size_t*);
    int (*ptx)(Program, char*);
    int (*log_size)(Program, size_t*);
    int (*log)(Program, char*);
    int (*destroy)(Program*);
    int (*version)(int* major, int* minor);
    int (*count_architectures)(int*);
    int (*architectures)(int*);
};

void fetch(Program program, int (*size)(Program, size_t*), int (*get)(Program, char*), int64_t* result) {
    size_t bytes = 0;
    if (size(program, &bytes) != 0 || bytes == 0) {
        return;
    }
    char* data = static_cast<char*>(std::malloc(bytes));
    if (data == nullptr || get(program, data) != 0) {
        std::free(data);
        return;
    }
    result[0] = reinterpret_cast<int64_t>(data);
    result[1] = static_cast<int64_t>(bytes);
}

}  // namespace

int32_t nvrtc_describe(int64_t functions, int64_t result, int32_t most) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    int64_t* out = reinterpret_cast<int64_t*>(result);
    int major = 0, minor = 0, count = 0;
    f.version(&major, &minor);
    out[0] = 1000 * major + minor;
    if (f.count_architectures(&count) != 0 || count <= 0 || count > most) {
        return 0;
    }
    std::vector<int> all(static_cast<size_t>(count));
    if (f.architectures(all.data()) != 0) {
        return 0;
    }
    for (int i = 0; i < count; i++) {
        out[1 + i] = all[static_cast<size_t>(i)];
    }
    return count;
}

int32_t nvrtc_compile(int64_t functions, int64_t source, int64_t name, int64_t options, int32_t count, int32_t ptx,
                      int64_t result) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    int64_t* out = reinterpret_cast<int64_t*>(result);
    std::memset(out, 0, 4 * sizeof(int64_t));
    Program program = nullptr;
    int status = f.create(&program, reinterpret_cast<const char*>(source), reinterpret_cast<const char*>(name), 0,
                          nullptr, nullptr);
    if (status != 0) {
        return status;
    }
    status = f.compile(program, count, reinterpret_cast<const char* const*>(options));
    fetch(program, f.log_size, f.log, out + 2);
    if (status == 0) {
        fetch(program, ptx ? f.ptx_size : f.cubin_size, ptx ? f.ptx : f.cubin, out);
    }
    f.destroy(&program);
    return status;
}

}  // namespace abi
}  // namespace merapi
