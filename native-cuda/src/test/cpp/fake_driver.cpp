// SPDX-License-Identifier: Apache-2.0
//
// A CUDA driver without a GPU: device memory is the host's, an image is a library of the simulator's, and each stream
// is a thread that does its work later, as a GPU does, so that a missing wait shows as a wrong result. A file beside
// this library, of its name and ".conf", may hold "memory=<bytes>", "fault=<n>" (the n-th launch
// kills the context), "devices=<n>" and "taken=<n>" (a device that is another process's).
#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../../main/cpp/merapi_cuda.h"

namespace {

using Work = std::function<void()>;
using Address = unsigned long long;

constexpr int kInvalid = 1, kOutOfMemory = 2, kDeviceUnavailable = 46, kInvalidContext = 201, kNotFound = 500,
              kIllegalAddress = 700;
constexpr int kLaunchFailed = 719, kCaptureUnsupported = 900, kCaptureUnjoined = 904, kCaptureIsolation = 905;

struct Stream {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Work> queue;
    bool busy = false, ends = false, capturing = false, unjoined = false;
    std::vector<Work> captured;
    std::thread worker;

    Stream() : worker([this] { run(); }) {}

    ~Stream() {
        {
            std::lock_guard<std::mutex> lock(mutex);
            ends = true;
        }
        changed.notify_all();
        worker.join();
    }

    void run() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            changed.wait(lock, [&] { return ends || !queue.empty(); });
            if (queue.empty()) {
                return;
            }
            Work work = std::move(queue.front());
            queue.pop_front();
            busy = true;
            lock.unlock();
            std::this_thread::sleep_for(std::chrono::microseconds(50));  // nothing is done at once
            work();
            lock.lock();
            busy = false;
            changed.notify_all();
        }
    }

    void give(Work work) {
        std::lock_guard<std::mutex> lock(mutex);
        if (capturing) {
            captured.push_back(std::move(work));
        } else {
            queue.push_back(std::move(work));
            changed.notify_all();
        }
    }

    int synchronize() {
        std::unique_lock<std::mutex> lock(mutex);
        if (capturing) {
            return kCaptureUnsupported;
        }
        changed.wait(lock, [&] { return queue.empty() && !busy; });
        return 0;
    }
};

struct Moment {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false;
    Stream* capture = nullptr;  // recorded while that stream was captured
};
struct Event {
    std::mutex mutex;
    std::shared_ptr<Moment> last;
};
struct Module {
    void* library;
};
struct Function {
    void* entry;
    void* bind;
    std::vector<int> sizes;
    int shared = 48 << 10;
};
struct Graph {
    std::vector<Work> work;
};

thread_local void* current_context = nullptr;
int the_context;
std::mutex memory_mutex;
std::map<Address, size_t> blocks;
size_t allocated = 0;
size_t limit = size_t{1} << 30;
std::atomic<long> launches{0};
long fault_at = -1;
int device_count = 1, taken_device = -1;
std::atomic<int> broken{0};
std::mutex streams_mutex;
std::vector<Stream*> streams;

int ready() { return broken != 0 ? broken.load() : current_context == &the_context ? 0 : kInvalidContext; }

void configure() {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&configure), &info) == 0) {
        return;
    }
    FILE* file = std::fopen((std::string(info.dli_fname) + ".conf").c_str(), "r");
    if (file == nullptr) {
        return;
    }
    char key[32];
    long long value;
    while (std::fscanf(file, " %31[a-z]=%lld", key, &value) == 2) {
        if (std::strcmp(key, "memory") == 0) limit = static_cast<size_t>(value);
        if (std::strcmp(key, "fault") == 0) fault_at = static_cast<long>(value);
        if (std::strcmp(key, "devices") == 0) device_count = static_cast<int>(value);
        if (std::strcmp(key, "taken") == 0) taken_device = static_cast<int>(value);
    }
    std::fclose(file);
}

int synchronize_all() {
    std::vector<Stream*> all;
    {
        std::lock_guard<std::mutex> lock(streams_mutex);
        all = streams;
    }
    for (Stream* s : all) {
        int error = s->synchronize();
        if (error != 0) {
            return error;
        }
    }
    return ready();
}

Stream* stream(void* handle) { return static_cast<Stream*>(handle); }

}  // namespace

extern "C" {

int cuInit(unsigned) {
    static std::once_flag once;
    std::call_once(once, configure);
    return 0;
}
int cuDeviceGetCount(int* count) {
    *count = device_count;
    return 0;
}
int cuDriverGetVersion(int* version) {
    *version = 13010;
    return 0;
}
int cuDeviceGet(int* device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < device_count ? 0 : kInvalid;
}
int cuDeviceGetName(char* name, int capacity, int) {
    std::snprintf(name, static_cast<size_t>(capacity), "Fake GPU");
    return 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 0 : 4;
    return 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = limit;
    return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
    if (device == taken_device) {
        return kDeviceUnavailable;
    }
    *context = &the_context;
    return 0;
}
int cuCtxSetCurrent(void* context) {
    current_context = context;
    return 0;
}
int cuCtxSynchronize() { return ready() ? ready() : synchronize_all(); }
int cuMemGetInfo_v2(size_t* free, size_t* total) {
    std::lock_guard<std::mutex> lock(memory_mutex);
    *total = limit;
    *free = limit - allocated;
    return ready();
}
int cuMemAlloc_v2(Address* address, size_t bytes) {
    if (ready()) return ready();
    std::lock_guard<std::mutex> lock(memory_mutex);
    void* memory = nullptr;
    if (allocated + bytes > limit || posix_memalign(&memory, 256, bytes) != 0) {
        return kOutOfMemory;
    }
    std::memset(memory, 0xAB, bytes);
    *address = reinterpret_cast<Address>(memory);
    blocks[*address] = bytes;
    allocated += bytes;
    return 0;
}
int cuMemFree_v2(Address address) {
    if (ready()) return ready();
    int error = synchronize_all();
    std::lock_guard<std::mutex> lock(memory_mutex);
    auto found = blocks.find(address);
    if (found == blocks.end()) {
        return kInvalid;
    }
    allocated -= found->second;
    blocks.erase(found);
    std::free(reinterpret_cast<void*>(address));
    return error;
}
int cuMemHostAlloc(void** address, size_t bytes, unsigned) {
    return ready() ? ready() : posix_memalign(address, 4096, bytes) == 0 ? 0 : kOutOfMemory;
}
int cuMemFreeHost(void* address) {
    std::free(address);
    return 0;
}
int cuMemcpyHtoDAsync_v2(Address target, const void* host, size_t bytes, void* on) {
    if (ready()) return ready();
    stream(on)->give([=] { std::memcpy(reinterpret_cast<void*>(target), host, bytes); });
    return 0;
}
int cuMemcpyDtoHAsync_v2(void* host, Address source, size_t bytes, void* on) {
    if (ready()) return ready();
    stream(on)->give([=] { std::memcpy(host, reinterpret_cast<void*>(source), bytes); });
    return 0;
}
int cuMemcpyDtoDAsync_v2(Address target, Address source, size_t bytes, void* on) {
    if (ready()) return ready();
    stream(on)->give([=] { std::memmove(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes); });
    return 0;
}
int cuMemsetD8Async(Address target, unsigned char value, size_t bytes, void* on) {
    if (ready()) return ready();
    stream(on)->give([=] { std::memset(reinterpret_cast<void*>(target), value, bytes); });
    return 0;
}
int cuStreamCreate(void** made, unsigned) {
    if (ready()) return ready();
    auto* s = new Stream();
    std::lock_guard<std::mutex> lock(streams_mutex);
    streams.push_back(s);
    *made = s;
    return 0;
}
int cuStreamDestroy_v2(void* handle) {
    {
        std::lock_guard<std::mutex> lock(streams_mutex);
        for (size_t i = 0; i < streams.size(); i++) {
            if (streams[i] == handle) streams.erase(streams.begin() + static_cast<long>(i));
        }
    }
    delete stream(handle);
    return 0;
}
int cuStreamSynchronize(void* on) {
    if (ready()) return ready();
    int error = stream(on)->synchronize();
    return error ? error : ready();
}
int cuStreamWaitEvent(void* on, void* event, unsigned) {
    if (ready()) return ready();
    auto* e = static_cast<Event*>(event);
    std::shared_ptr<Moment> moment;
    {
        std::lock_guard<std::mutex> lock(e->mutex);
        moment = e->last;
    }
    if (moment != nullptr && stream(on)->capturing && moment->capture != on) {
        return kCaptureIsolation;
    }
    if (moment != nullptr && moment->capture != nullptr && moment->capture != on) {
        moment->capture->unjoined = true;  // this stream is captured, too, from here on
        return 0;
    }
    if (moment != nullptr) {
        stream(on)->give([moment] {
            std::unique_lock<std::mutex> lock(moment->mutex);
            moment->changed.wait(lock, [&] { return moment->over; });
        });
    }
    return 0;
}
int cuEventCreate(void** made, unsigned) {
    *made = new Event();
    return ready();
}
int cuEventDestroy_v2(void* event) {
    delete static_cast<Event*>(event);
    return 0;
}
int cuEventRecord(void* event, void* on) {
    if (ready()) return ready();
    auto* e = static_cast<Event*>(event);
    auto moment = std::make_shared<Moment>();
    moment->capture = stream(on)->capturing ? stream(on) : nullptr;
    {
        std::lock_guard<std::mutex> lock(e->mutex);
        e->last = moment;
    }
    stream(on)->give([moment] {
        std::lock_guard<std::mutex> lock(moment->mutex);
        moment->over = true;
        moment->changed.notify_all();
    });
    return 0;
}
int cuEventSynchronize(void* event) {
    auto* e = static_cast<Event*>(event);
    std::shared_ptr<Moment> moment;
    {
        std::lock_guard<std::mutex> lock(e->mutex);
        moment = e->last;
    }
    if (moment != nullptr) {
        std::unique_lock<std::mutex> lock(moment->mutex);
        moment->changed.wait(lock, [&] { return moment->over; });
    }
    return ready();
}
int cuModuleLoadData(void** made, const void* image) {
    if (ready()) return ready();
    const char* bytes = static_cast<const char*>(image);
    if (std::memcmp(bytes, "\177ELF", 4) != 0) {
        return 200;  // invalid image
    }
    // The section table ends an ELF file that a linker wrote.
    uint64_t sections;
    uint16_t size, count;
    std::memcpy(&sections, bytes + 40, 8);
    std::memcpy(&size, bytes + 58, 2);
    std::memcpy(&count, bytes + 60, 2);
    char path[] = "/tmp/fake-cuda-XXXXXX";
    int file = mkstemp(path);
    size_t length = sections + static_cast<size_t>(size) * count;
    if (file < 0 || write(file, bytes, length) != static_cast<ssize_t>(length)) {
        return kInvalid;
    }
    close(file);
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unlink(path);
    if (library == nullptr) {
        std::fprintf(stderr, "fake driver: %s\n", dlerror());
        return 200;
    }
    *made = new Module{library};
    return 0;
}
int cuModuleGetFunction(void** made, void* module, const char* name) {
    void* library = static_cast<Module*>(module)->library;
    void* entry = dlsym(library, (std::string("cudasim_entry_") + name).c_str());
    auto sizes = reinterpret_cast<int (*)(int*)>(dlsym(library, (std::string("fake_sizes_") + name).c_str()));
    if (entry == nullptr || sizes == nullptr) {
        return kNotFound;
    }
    int all[64];
    int count = sizes(all);
    *made = new Function{entry, dlsym(library, "cudasim_bind"), std::vector<int>(all, all + count)};
    return 0;
}
int cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != 8 || value > 227 << 10) {
        return kInvalid;
    }
    static_cast<Function*>(function)->shared = value;
    return 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void* on, void** arguments, void**) {
    if (ready()) return ready();
    auto* f = static_cast<Function*>(function);
    if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || bx * by * bz > 1024 || bx * by * bz == 0 ||
        shared > static_cast<unsigned>(f->shared)) {
        return kInvalid;
    }
    auto values = std::make_shared<std::vector<std::vector<char>>>();
    for (size_t i = 0; i < f->sizes.size(); i++) {
        const char* value = static_cast<const char*>(arguments[i]);
        values->emplace_back(value, value + f->sizes[i]);
    }
    bool faulty = ++launches == fault_at;
    stream(on)->give([=] {
        if (faulty) {
            broken = kIllegalAddress;
        }
        if (broken != 0) {
            return;
        }
        std::vector<void*> table;
        for (auto& v : *values) table.push_back(v.data());
        int64_t words[19] = {reinterpret_cast<int64_t>(f->entry),
                             reinterpret_cast<int64_t>(f->bind),
                             gx,
                             gy,
                             gz,
                             bx,
                             by,
                             bz,
                             shared,
                             reinterpret_cast<int64_t>(table.data()),
                             1};
        char error[512];
        if (merapi::abi::simulator_launch(reinterpret_cast<int64_t>(words), reinterpret_cast<int64_t>(error), 512)) {
            std::fprintf(stderr, "fake driver: %s\n", error);
            broken = kLaunchFailed;
        }
    });
    return 0;
}
int cuStreamBeginCapture_v2(void* on, int) {
    if (ready()) return ready();
    std::lock_guard<std::mutex> lock(stream(on)->mutex);
    stream(on)->capturing = true;
    stream(on)->unjoined = false;
    stream(on)->captured.clear();
    return 0;
}
int cuStreamEndCapture(void* on, void** graph) {
    std::lock_guard<std::mutex> lock(stream(on)->mutex);
    if (!stream(on)->capturing) {
        return kInvalid;
    }
    stream(on)->capturing = false;
    if (stream(on)->unjoined) {
        *graph = nullptr;
        return kCaptureUnjoined;
    }
    *graph = new Graph{std::move(stream(on)->captured)};
    return ready();
}
int cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    *executable = new Graph(*static_cast<Graph*>(graph));
    return 0;
}
int cuGraphDestroy(void* graph) {
    delete static_cast<Graph*>(graph);
    return 0;
}
int cuGraphLaunch(void* executable, void* on) {
    if (ready()) return ready();
    for (const Work& work : static_cast<Graph*>(executable)->work) {
        stream(on)->give(work);
    }
    return 0;
}
int cuGraphExecDestroy(void* executable) {
    delete static_cast<Graph*>(executable);  // launches that are under way have copies, and nobody waits for them
    return ready();
}
int cuGetErrorName(int error, const char** text) {
    *text = error == kIllegalAddress       ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : error == kInvalid            ? "CUDA_ERROR_INVALID_VALUE"
            : error == kLaunchFailed       ? "CUDA_ERROR_LAUNCH_FAILED"
            : error == kDeviceUnavailable  ? "CUDA_ERROR_DEVICE_UNAVAILABLE"
            : error == kCaptureUnsupported ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
                                           : "CUDA_ERROR";
    return 0;
}
int cuGetErrorString(int error, const char** text) {
    *text = error == kIllegalAddress ? "an illegal memory access was encountered" : "as its name says";
    return 0;
}

}  // extern "C"
