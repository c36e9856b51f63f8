// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdio>
#include <cstring>

#include "cuda_numbers.h"
#include "merapi_cuda.h"

// The CUDA driver through the addresses of its functions.
namespace merapi {
namespace abi {

namespace {

using Handle = void*;
using Address = unsigned long long;

// In the order of Driver.FUNCTIONS.
struct Functions {
    int (*init)(unsigned flags);
    int (*device_get)(int* device, int ordinal);
    int (*device_name)(char* name, int capacity, int device);
    int (*device_attribute)(int* value, int attribute, int device);
    int (*device_memory)(size_t* bytes, int device);
    int (*context_retain)(Handle* context, int device);
    int (*context_get)(Handle* context);
    int (*context_set)(Handle context);
    int (*can_access)(int* can, int device, int peer);
    int (*enable_access)(Handle peer, unsigned flags);
    int (*memory_info)(size_t* free, size_t* total);
    int (*memory_allocate)(Address* address, size_t bytes);
    int (*memory_free)(Address address);
    int (*host_allocate)(void** address, size_t bytes, unsigned flags);
    int (*host_free)(void* address);
    int (*upload)(Address target, const void* host, size_t bytes, Handle stream);
    int (*download)(void* host, Address source, size_t bytes, Handle stream);
    int (*copy)(Address target, Address source, size_t bytes, Handle stream);
    int (*copy_peer)(Address target, Handle target_context, Address source, Handle source_context, size_t bytes,
                     Handle stream);
    int (*fill)(Address target, unsigned char value, size_t bytes, Handle stream);
    int (*stream_create)(Handle* stream, unsigned flags);
    int (*stream_destroy)(Handle stream);
    int (*stream_synchronize)(Handle stream);
    int (*stream_wait)(Handle stream, Handle event, unsigned flags);
    int (*event_create)(Handle* event, unsigned flags);
    int (*event_destroy)(Handle event);
    int (*event_record)(Handle event, Handle stream);
    int (*event_synchronize)(Handle event);
    int (*module_load)(Handle* module, const void* image);
    int (*module_function)(Handle* function, Handle module, const char* name);
    int (*module_unload)(Handle module);
    int (*function_set)(Handle function, int attribute, int value);
    int (*launch)(Handle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                  unsigned block_y, unsigned block_z, unsigned shared, Handle stream, void** arguments, void** extra);
    int (*capture_begin)(Handle stream, int mode);
    int (*capture_end)(Handle stream, Handle* graph);
    int (*graph_nodes)(Handle graph, Handle* nodes, size_t* count);
    int (*graph_instantiate)(Handle* executable, Handle graph, unsigned long long flags);
    int (*graph_destroy)(Handle graph);
    int (*graph_launch)(Handle executable, Handle stream);
    int (*executable_destroy)(Handle executable);
    int (*error_name)(int error, const char** text);
    int (*error_text)(int error, const char** text);
};

const Functions& table(int64_t functions) { return *reinterpret_cast<const Functions*>(functions); }

Handle handle(int64_t h) { return reinterpret_cast<Handle>(h); }

// The context is the calling thread's from now on. The driver is asked which it is: other libraries of the process
// change it, and to remember it here would be to launch in theirs.
int use(const Functions& f, int64_t context) {
    Handle current = nullptr;
    int error = f.context_get(&current);
    return error != 0 || current == handle(context) ? error : f.context_set(handle(context));
}

template <class Get>
int32_t give(int64_t result, Get get) {
    Handle made = nullptr;
    int error = get(&made);
    *reinterpret_cast<int64_t*>(result) = reinterpret_cast<int64_t>(made);
    return error;
}

}  // namespace

int32_t driver_open(int64_t functions, int32_t ordinal, int64_t result, int64_t name, int32_t capacity) {
    const Functions& f = table(functions);
    int64_t* out = reinterpret_cast<int64_t*>(result);
    int device = 0, major = 0, minor = 0, count = 0;
    size_t total = 0, free = 0;
    Handle context = nullptr;
    int error = f.init(0);
    error = error ? error : f.device_get(&device, ordinal);
    error = error ? error : f.device_name(reinterpret_cast<char*>(name), capacity, device);
    error = error ? error : f.device_attribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    error = error ? error : f.device_attribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    error = error ? error : f.device_attribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device);
    error = error ? error : f.context_retain(&context, device);
    error = error ? error : use(f, reinterpret_cast<int64_t>(context));
    error = error ? error : f.memory_info(&free, &total);
    out[0] = reinterpret_cast<int64_t>(context);
    out[1] = 10 * major + minor;
    out[2] = count;
    out[3] = static_cast<int64_t>(total);
    out[4] = static_cast<int64_t>(free);
    return error;
}

void driver_error(int64_t functions, int32_t error, int64_t text, int64_t capacity) {
    const Functions& f = table(functions);
    const char* name = nullptr;
    const char* meaning = nullptr;
    f.error_name(error, &name);
    f.error_text(error, &meaning);
    std::snprintf(reinterpret_cast<char*>(text), static_cast<size_t>(capacity), "%s (%d): %s", name ? name : "unknown",
                  error, meaning ? meaning : "unknown error");
}

int32_t driver_use(int64_t functions, int64_t context) { return use(table(functions), context); }

int32_t driver_reach(int64_t functions, int64_t context, int32_t ordinal, int64_t peer_context, int32_t peer_ordinal) {
    const Functions& f = table(functions);
    int device = 0, peer = 0, can = 0;
    int error = use(f, context);
    error = error ? error : f.device_get(&device, ordinal);
    error = error ? error : f.device_get(&peer, peer_ordinal);
    error = error ? error : f.can_access(&can, device, peer);
    if (error == 0 && can == 0) {
        return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
    }
    error = error ? error : f.enable_access(handle(peer_context), 0);
    return error == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED ? 0 : error;
}

int32_t driver_allocate(int64_t functions, int64_t context, int64_t bytes, int64_t result) {
    const Functions& f = table(functions);
    Address address = 0;
    int error = use(f, context);
    error = error ? error : f.memory_allocate(&address, static_cast<size_t>(bytes));
    *reinterpret_cast<int64_t*>(result) = static_cast<int64_t>(address);
    return error;
}

int32_t driver_free(int64_t functions, int64_t context, int64_t address) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.memory_free(static_cast<Address>(address));
}

int32_t driver_host_allocate(int64_t functions, int64_t context, int64_t bytes, int64_t result) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : give(result, [&](Handle* made) { return f.host_allocate(made, static_cast<size_t>(bytes), 0); });
}

int32_t driver_upload(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t host, int64_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : f.upload(static_cast<Address>(target), reinterpret_cast<const void*>(host),
                            static_cast<size_t>(bytes), handle(stream));
}

int32_t driver_download(int64_t functions, int64_t context, int64_t stream, int64_t host, int64_t source,
                        int64_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : f.download(reinterpret_cast<void*>(host), static_cast<Address>(source), static_cast<size_t>(bytes),
                              handle(stream));
}

int32_t driver_copy(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t source, int64_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : f.copy(static_cast<Address>(target), static_cast<Address>(source), static_cast<size_t>(bytes),
                          handle(stream));
}

int32_t driver_copy_peer(int64_t functions, int64_t context, int64_t stream, int64_t target, int64_t target_context,
                         int64_t source, int64_t source_context, int64_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : f.copy_peer(static_cast<Address>(target), handle(target_context), static_cast<Address>(source),
                               handle(source_context), static_cast<size_t>(bytes), handle(stream));
}

int32_t driver_fill(int64_t functions, int64_t context, int64_t stream, int64_t target, int32_t value, int64_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error
                 : f.fill(static_cast<Address>(target), static_cast<unsigned char>(value), static_cast<size_t>(bytes),
                          handle(stream));
}

int32_t driver_stream_create(int64_t functions, int64_t context, int64_t result) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : give(result, [&](Handle* made) { return f.stream_create(made, CU_STREAM_NON_BLOCKING); });
}

int32_t driver_stream_destroy(int64_t functions, int64_t context, int64_t stream) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.stream_destroy(handle(stream));
}

int32_t driver_stream_synchronize(int64_t functions, int64_t context, int64_t stream) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.stream_synchronize(handle(stream));
}

int32_t driver_event_create(int64_t functions, int64_t context, int64_t result) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : give(result, [&](Handle* made) { return f.event_create(made, CU_EVENT_DISABLE_TIMING); });
}

int32_t driver_event_destroy(int64_t functions, int64_t context, int64_t event) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.event_destroy(handle(event));
}

int32_t driver_event_record(int64_t functions, int64_t context, int64_t event, int64_t stream) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.event_record(handle(event), handle(stream));
}

int32_t driver_event_await(int64_t functions, int64_t context, int64_t stream, int64_t event) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.stream_wait(handle(stream), handle(event), 0);
}

int32_t driver_event_synchronize(int64_t functions, int64_t context, int64_t event) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.event_synchronize(handle(event));
}

int32_t driver_module(int64_t functions, int64_t context, int64_t image, int64_t result) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error
               ? error
               : give(result, [&](Handle* made) { return f.module_load(made, reinterpret_cast<const void*>(image)); });
}

int32_t driver_function(int64_t functions, int64_t context, int64_t module, int64_t name, int64_t result) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : give(result, [&](Handle* made) {
        return f.module_function(made, handle(module), reinterpret_cast<const char*>(name));
    });
}

int32_t driver_module_unload(int64_t functions, int64_t context, int64_t module) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.module_unload(handle(module));
}

int32_t driver_shared(int64_t functions, int64_t context, int64_t function, int32_t bytes) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.function_set(handle(function), CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
}

int32_t driver_launch(int64_t functions, int64_t context, int64_t stream, int64_t function, int64_t grid_x,
                      int64_t grid_y, int64_t grid_z, int32_t block_x, int32_t block_y, int32_t block_z, int32_t shared,
                      int64_t arguments) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error
               ? error
               : f.launch(handle(function), static_cast<unsigned>(grid_x), static_cast<unsigned>(grid_y),
                          static_cast<unsigned>(grid_z), static_cast<unsigned>(block_x), static_cast<unsigned>(block_y),
                          static_cast<unsigned>(block_z), static_cast<unsigned>(shared), handle(stream),
                          reinterpret_cast<void**>(arguments), nullptr);
}

double driver_launch_cost(int64_t functions, int64_t context, int64_t stream, int64_t function, int32_t count) {
    const Functions& f = table(functions);
    int error = use(f, context);
    const auto start = std::chrono::steady_clock::now();
    for (int32_t i = 0; i < count && error == 0; i++) {
        error = f.launch(handle(function), 1, 1, 1, 1, 1, 1, 0, handle(stream), nullptr, nullptr);
    }
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    return error ? -error : spent.count() / count;
}

int32_t driver_capture_begin(int64_t functions, int64_t context, int64_t stream) {
    const Functions& f = table(functions);
    int error = use(f, context);
    // Relaxed: the pool of a graph may need memory, and a kernel its module, in the middle of a capture. What a graph
    // cannot hold is refused before it comes here.
    return error ? error : f.capture_begin(handle(stream), CU_STREAM_CAPTURE_MODE_RELAXED);
}

int32_t driver_capture_end(int64_t functions, int64_t context, int64_t stream, int64_t result) {
    const Functions& f = table(functions);
    Handle graph = nullptr;
    int error = use(f, context);
    error = error ? error : f.capture_end(handle(stream), &graph);
    size_t nodes = 0;
    error = error ? error : f.graph_nodes(graph, nullptr, &nodes);
    reinterpret_cast<int64_t*>(result)[1] = static_cast<int64_t>(nodes);
    if (error == 0) {
        error = give(result, [&](Handle* made) { return f.graph_instantiate(made, graph, 0); });
    }
    if (graph != nullptr) {
        f.graph_destroy(graph);
    }
    return error;
}

int32_t driver_graph_launch(int64_t functions, int64_t context, int64_t graph, int64_t stream) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.graph_launch(handle(graph), handle(stream));
}

int32_t driver_graph_destroy(int64_t functions, int64_t context, int64_t graph) {
    const Functions& f = table(functions);
    int error = use(f, context);
    return error ? error : f.executable_destroy(handle(graph));
}

}  // namespace abi
}  // namespace merapi
