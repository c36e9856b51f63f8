// SPDX-License-Identifier: Apache-2.0
//
// A CUDA driver without a GPU: device memory is the host's, an image is a library of the simulator's, and each stream
// is a thread that does its work later, as a GPU does, so that a missing wait shows as a wrong result. Each device has
// a context and memory of its own; what belongs to another context than the calling thread's is refused where NVIDIA's
// refuses it, and in a few places where that finds the device by the address. A file beside this library, of its name
// and ".conf", may hold "memory=<bytes>" (of each device), "fault=<n>" (the n-th launch kills its context),
// "devices=<n>", "taken=<n>" (a device that is another process's), "peers=0" (no device reaches another one's memory)
// and "meddling=1" (after each launch, another library of the process leaves its own context to the thread).
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

constexpr int kInvalid = 1, kOutOfMemory = 2, kDeviceUnavailable = 46, kInvalidContext = 201, kNoPeerAccess = 217,
              kInvalidHandle = 400, kNotFound = 500, kIllegalAddress = 700, kPeerAccessAlready = 704;
constexpr int kLaunchFailed = 719, kCaptureUnsupported = 900, kCaptureInvalidated = 901, kCaptureUnjoined = 904,
              kCaptureIsolation = 905, kCapturedEvent = 907;

struct Context {
    std::atomic<int> broken{0};
    size_t allocated = 0;
    std::vector<Context*> peers;
};

struct Stream : std::enable_shared_from_this<Stream> {
    Context* const context;
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Work> queue;
    bool busy = false, ends = false, capturing = false, unjoined = false, invalidated = false;
    std::vector<Work> captured;
    std::thread worker;

    explicit Stream(Context* c) : context(c), worker([this] { run(); }) {}

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

    int give(Work work) {
        std::lock_guard<std::mutex> lock(mutex);
        if (capturing && invalidated) {
            return kCaptureInvalidated;
        }
        if (capturing) {
            captured.push_back(std::move(work));
        } else {
            queue.push_back(std::move(work));
            changed.notify_all();
        }
        return 0;
    }

    // What is not allowed while the stream is captured ends the capture, too.
    int refuse(int error) {
        invalidated = true;
        return error;
    }

    int synchronize() {
        std::unique_lock<std::mutex> lock(mutex);
        if (capturing) {
            return refuse(kCaptureUnsupported);
        }
        changed.wait(lock, [&] { return queue.empty() && !busy; });
        return 0;
    }

    bool captures() {
        std::lock_guard<std::mutex> lock(mutex);
        return capturing;
    }
};

struct Moment {
    std::mutex mutex;
    std::condition_variable changed;
    bool over = false, captured = false;
    std::weak_ptr<Stream> capture;  // recorded while that stream was captured
};
struct Event {
    Context* context;
    std::mutex mutex;
    std::shared_ptr<Moment> last;
};
struct Module {
    Context* context;
    void* library;
};
struct Function {
    Context* context;
    void* entry;
    void* bind;
    std::vector<int> sizes;
    int shared = 48 << 10;
};
struct Graph {
    std::vector<Work> work;
};

struct Block {
    Context* context;
    size_t bytes;
};

constexpr int kMostDevices = 8;
thread_local Context* current = nullptr;
Context contexts[kMostDevices];
std::mutex memory_mutex;
std::map<Address, Block> blocks;
size_t limit = size_t{1} << 30;
std::atomic<long> launches{0};
long fault_at = -1;
int device_count = 1, taken_device = -1;
bool peers = true, meddling = false;
std::string own_path;
std::mutex streams_mutex;
auto& streams = *new std::vector<std::shared_ptr<Stream>>;  // never destroyed: work may have no end

int ready() { return current == nullptr ? kInvalidContext : current->broken.load(); }

// Whose memory this is; null if it is nobody's.
Context* owner(Address address) {
    std::lock_guard<std::mutex> lock(memory_mutex);
    auto after = blocks.upper_bound(address);
    if (after == blocks.begin()) {
        return nullptr;
    }
    auto block = std::prev(after);
    return address < block->first + block->second.bytes ? block->second.context : nullptr;
}

bool foreign(Address address) {
    Context* c = owner(address);
    return c != nullptr && c != current;
}

void configure() {
    Dl_info info;
    if (dladdr(reinterpret_cast<void*>(&configure), &info) == 0) {
        return;
    }
    own_path = info.dli_fname;
    FILE* file = std::fopen((own_path + ".conf").c_str(), "r");
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
        if (std::strcmp(key, "peers") == 0) peers = value != 0;
        if (std::strcmp(key, "meddling") == 0) meddling = value != 0;
    }
    std::fclose(file);
}

std::vector<std::shared_ptr<Stream>> streams_of(Context* context) {
    std::lock_guard<std::mutex> lock(streams_mutex);
    std::vector<std::shared_ptr<Stream>> all;
    for (auto& s : streams) {
        if (s->context == context) all.push_back(s);
    }
    return all;
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
    *context = &contexts[device];
    return 0;
}
int cuCtxGetCurrent(void** context) {
    *context = current;
    return 0;
}
int cuCtxSetCurrent(void* context) {
    current = static_cast<Context*>(context);
    return 0;
}
int cuCtxSynchronize() {
    if (ready()) return ready();
    int error = 0;
    for (auto& s : streams_of(current)) {
        int answer = s->synchronize();
        error = error ? error : answer;
    }
    return error ? error : ready();
}
int cuDeviceCanAccessPeer(int* can, int device, int peer) {
    *can = peers && device != peer;
    return device < device_count && peer < device_count ? 0 : 101;
}
int cuCtxEnablePeerAccess(void* peer, unsigned flags) {
    if (ready()) return ready();
    auto* p = static_cast<Context*>(peer);
    if (flags != 0 || p == current) return kInvalid;
    if (!peers) return kNoPeerAccess;
    std::lock_guard<std::mutex> lock(memory_mutex);
    for (Context* known : current->peers) {
        if (known == p) return kPeerAccessAlready;
    }
    current->peers.push_back(p);
    return 0;
}
int cuMemGetInfo_v2(size_t* free, size_t* total) {
    if (ready()) return ready();
    std::lock_guard<std::mutex> lock(memory_mutex);
    *total = limit;
    *free = limit - current->allocated;
    return 0;
}
int cuMemAlloc_v2(Address* address, size_t bytes) {
    if (ready()) return ready();
    std::lock_guard<std::mutex> lock(memory_mutex);
    void* memory = nullptr;
    if (current->allocated + bytes > limit || posix_memalign(&memory, 256, bytes) != 0) {
        return kOutOfMemory;
    }
    std::memset(memory, 0xAB, bytes);
    *address = reinterpret_cast<Address>(memory);
    blocks[*address] = Block{current, bytes};
    current->allocated += bytes;
    return 0;
}
int cuMemFree_v2(Address address) {
    if (ready()) return ready();
    for (auto& s : streams_of(current)) {
        if (!s->captures()) s->synchronize();
    }
    std::lock_guard<std::mutex> lock(memory_mutex);
    auto found = blocks.find(address);
    if (found == blocks.end() || found->second.context != current) {
        return kInvalid;
    }
    current->allocated -= found->second.bytes;
    blocks.erase(found);
    std::free(reinterpret_cast<void*>(address));
    return ready();
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
    if (foreign(target)) return kInvalid;
    return stream(on)->give([=] { std::memcpy(reinterpret_cast<void*>(target), host, bytes); });
}
int cuMemcpyDtoHAsync_v2(void* host, Address source, size_t bytes, void* on) {
    if (ready()) return ready();
    if (foreign(source)) return kInvalid;
    return stream(on)->give([=] { std::memcpy(host, reinterpret_cast<void*>(source), bytes); });
}
int cuMemcpyDtoDAsync_v2(Address target, Address source, size_t bytes, void* on) {
    if (ready()) return ready();
    if (foreign(target) || foreign(source)) return kInvalid;
    return stream(on)->give(
        [=] { std::memmove(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes); });
}
int cuMemcpyPeerAsync(Address target, void* target_context, Address source, void* source_context, size_t bytes,
                      void* on) {
    if (ready()) return ready();
    if (owner(target) != target_context || owner(source) != source_context) return kInvalid;
    return stream(on)->give(
        [=] { std::memmove(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes); });
}
int cuMemsetD8Async(Address target, unsigned char value, size_t bytes, void* on) {
    if (ready()) return ready();
    if (foreign(target)) return kInvalid;
    if (stream(on)->context != current) return kInvalidHandle;
    return stream(on)->give([=] { std::memset(reinterpret_cast<void*>(target), value, bytes); });
}
int cuStreamCreate(void** made, unsigned) {
    if (ready()) return ready();
    auto s = std::make_shared<Stream>(current);
    std::lock_guard<std::mutex> lock(streams_mutex);
    streams.push_back(s);
    *made = s.get();
    return 0;
}
int cuStreamDestroy_v2(void* handle) {
    std::shared_ptr<Stream> last;  // does its work before it goes
    std::lock_guard<std::mutex> lock(streams_mutex);
    for (size_t i = 0; i < streams.size(); i++) {
        if (streams[i].get() == handle) {
            last = streams[i];
            streams.erase(streams.begin() + static_cast<long>(i));
            return 0;
        }
    }
    return kInvalidHandle;
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
    if (moment == nullptr) {
        return 0;
    }
    std::shared_ptr<Stream> capture = moment->capture.lock();
    if (stream(on)->capturing && capture.get() != on) {
        return stream(on)->refuse(kCaptureIsolation);
    }
    if (capture != nullptr && capture.get() != on) {
        capture->unjoined = true;  // this stream is captured, too, from here on
        return 0;
    }
    return stream(on)->give([moment] {
        std::unique_lock<std::mutex> lock(moment->mutex);
        moment->changed.wait(lock, [&] { return moment->over; });
    });
}
int cuEventCreate(void** made, unsigned) {
    if (ready()) return ready();
    auto* e = new Event();
    e->context = current;
    *made = e;
    return 0;
}
int cuEventDestroy_v2(void* event) {
    delete static_cast<Event*>(event);
    return 0;
}
int cuEventRecord(void* event, void* on) {
    if (ready()) return ready();
    auto* e = static_cast<Event*>(event);
    if (e->context != stream(on)->context) return kInvalidHandle;
    auto moment = std::make_shared<Moment>();
    moment->captured = stream(on)->capturing;
    if (moment->captured) {
        moment->capture = stream(on)->weak_from_this();
    }
    {
        std::lock_guard<std::mutex> lock(e->mutex);
        e->last = moment;
    }
    return stream(on)->give([moment] {
        std::lock_guard<std::mutex> lock(moment->mutex);
        moment->over = true;
        moment->changed.notify_all();
    });
}
int cuEventSynchronize(void* event) {
    auto* e = static_cast<Event*>(event);
    std::shared_ptr<Moment> moment;
    {
        std::lock_guard<std::mutex> lock(e->mutex);
        moment = e->last;
    }
    if (moment != nullptr && moment->captured) {
        std::shared_ptr<Stream> capture = moment->capture.lock();
        return capture != nullptr ? capture->refuse(kCapturedEvent) : kCapturedEvent;
    }
    if (moment != nullptr) {
        std::unique_lock<std::mutex> lock(moment->mutex);
        moment->changed.wait(lock, [&] { return moment->over; });
    }
    return e->context->broken.load();
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
    std::string path = own_path + ".XXXXXX";  // the folder of the test
    int file = mkstemp(path.data());
    size_t length = sections + static_cast<size_t>(size) * count;
    if (file < 0 || write(file, bytes, length) != static_cast<ssize_t>(length)) {
        return kInvalid;
    }
    close(file);
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    if (library == nullptr) {
        std::fprintf(stderr, "fake driver: %s\n", dlerror());
        return 200;
    }
    *made = new Module{current, library};
    return 0;
}
int cuModuleGetFunction(void** made, void* module, const char* name) {
    auto* m = static_cast<Module*>(module);
    void* library = m->library;
    void* entry = dlsym(library, (std::string("cudasim_entry_") + name).c_str());
    auto sizes = reinterpret_cast<int (*)(int*)>(dlsym(library, (std::string("cudasim_sizes_") + name).c_str()));
    if (entry == nullptr || sizes == nullptr) {
        return kNotFound;
    }
    int all[64];
    int count = sizes(all);
    *made = new Function{m->context, entry, dlsym(library, "cudasim_bind"), std::vector<int>(all, all + count)};
    return 0;
}
int cuModuleUnload(void* module) {
    auto* m = static_cast<Module*>(module);
    if (m->context != current) return kInvalidHandle;
    dlclose(m->library);
    delete m;
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
    Context* context = current;
    if (f->context != context || stream(on)->context != context) return kInvalidHandle;
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
    if (meddling) current = nullptr;
    return stream(on)->give([=] {
        if (faulty) {
            context->broken = kIllegalAddress;
        }
        if (context->broken != 0) {
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
            context->broken = kLaunchFailed;
        }
    });
}
int cuStreamBeginCapture_v2(void* on, int) {
    if (ready()) return ready();
    std::lock_guard<std::mutex> lock(stream(on)->mutex);
    stream(on)->capturing = true;
    stream(on)->unjoined = stream(on)->invalidated = false;
    stream(on)->captured.clear();
    return 0;
}
int cuStreamEndCapture(void* on, void** graph) {
    std::lock_guard<std::mutex> lock(stream(on)->mutex);
    if (!stream(on)->capturing) {
        return kInvalid;
    }
    stream(on)->capturing = false;
    if (stream(on)->unjoined || stream(on)->invalidated) {
        *graph = nullptr;
        return stream(on)->invalidated ? kCaptureInvalidated : kCaptureUnjoined;
    }
    *graph = new Graph{std::move(stream(on)->captured)};
    return ready();
}
int cuGraphGetNodes(void* graph, void**, size_t* count) {
    *count = static_cast<Graph*>(graph)->work.size();
    return 0;
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
        int error = stream(on)->give(work);
        if (error != 0) return error;
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
            : error == kInvalidHandle      ? "CUDA_ERROR_INVALID_HANDLE"
            : error == kCaptureUnsupported ? "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"
            : error == kCaptureInvalidated ? "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"
                                           : "CUDA_ERROR";
    return 0;
}
int cuGetErrorString(int error, const char** text) {
    *text = error == kIllegalAddress ? "an illegal memory access was encountered" : "as its name says";
    return 0;
}

}  // extern "C"
