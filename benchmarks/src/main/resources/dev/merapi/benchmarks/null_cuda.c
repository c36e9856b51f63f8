// SPDX-License-Identifier: Apache-2.0
// A CUDA driver, and a compiler for its kernels, that do nothing at once: what is left is what the engine costs. Memory
// is the host's, copies are done, kernels are not; nor are large fills and large copies within the device, so that memory
// which a GPU has and the host has not is never touched. NULL_CUDA_ARCHITECTURE is the device's (90), NULL_CUDA_GIB its
// memory (1).
#include <stdlib.h>
#include <string.h>

typedef unsigned long long address;
typedef void* handle;

static int some;

static int given(const char* name, int otherwise) {
    const char* value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static int small(size_t bytes) { return bytes <= (size_t)64 << 20; }

static size_t memory(void) { return (size_t)given("NULL_CUDA_GIB", 1) << 30; }

int cuInit(unsigned flags) { return (void)flags, 0; }
int cuDriverGetVersion(int* version) { return *version = 13000, 0; }
int cuDeviceGetCount(int* count) { return *count = 1, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, 0; }
int cuDeviceGetName(char* name, int capacity, int device) { return (void)device, strncpy(name, "none", capacity), 0; }
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    (void)device;
    int architecture = given("NULL_CUDA_ARCHITECTURE", 90);
    *value = attribute == 75 ? architecture / 10 : attribute == 76 ? architecture % 10 : 132;
    return 0;
}
int cuDeviceTotalMem_v2(size_t* bytes, int device) { return (void)device, *bytes = memory(), 0; }
int cuDevicePrimaryCtxRetain(handle* context, int device) { return (void)device, *context = &some, 0; }
int cuCtxGetCurrent(handle* context) { return *context = &some, 0; }
int cuCtxSetCurrent(handle context) { return (void)context, 0; }
int cuDeviceCanAccessPeer(int* can, int device, int peer) { return (void)device, (void)peer, *can = 0, 0; }
int cuCtxEnablePeerAccess(handle peer, unsigned flags) { return (void)peer, (void)flags, 0; }
int cuMemGetInfo_v2(size_t* free_, size_t* total) { return *free_ = *total = memory(), 0; }
int cuMemAlloc_v2(address* at, size_t bytes) { return posix_memalign((void**)at, 4096, bytes) ? 2 : 0; }
int cuMemFree_v2(address at) { return free((void*)at), 0; }
int cuMemHostAlloc(void** at, size_t bytes, unsigned flags) { return (void)flags, posix_memalign(at, 4096, bytes); }
int cuMemFreeHost(void* at) { return free(at), 0; }
int cuMemcpyHtoDAsync_v2(address to, const void* from, size_t bytes, handle stream) {
    return (void)stream, memcpy((void*)to, from, bytes), 0;
}
int cuMemcpyDtoHAsync_v2(void* to, address from, size_t bytes, handle stream) {
    return (void)stream, memcpy(to, (void*)from, bytes), 0;
}
int cuMemcpyDtoDAsync_v2(address to, address from, size_t bytes, handle stream) {
    return (void)stream, small(bytes) ? memmove((void*)to, (void*)from, bytes) : 0, 0;
}
int cuMemcpyPeerAsync(address to, handle there, address from, handle here, size_t bytes, handle stream) {
    return (void)there, (void)here, (void)stream, memmove((void*)to, (void*)from, bytes), 0;
}
int cuMemsetD8Async(address at, unsigned char value, size_t bytes, handle stream) {
    return (void)stream, small(bytes) ? memset((void*)at, value, bytes) : 0, 0;
}
int cuStreamCreate(handle* made, unsigned flags) { return (void)flags, *made = &some, 0; }
int cuStreamDestroy_v2(handle stream) { return (void)stream, 0; }
int cuStreamSynchronize(handle stream) { return (void)stream, 0; }
int cuStreamWaitEvent(handle stream, handle event, unsigned flags) { return (void)stream, (void)event, (void)flags, 0; }
int cuEventCreate(handle* made, unsigned flags) { return (void)flags, *made = &some, 0; }
int cuEventDestroy_v2(handle event) { return (void)event, 0; }
int cuEventRecord(handle event, handle stream) { return (void)event, (void)stream, 0; }
int cuEventSynchronize(handle event) { return (void)event, 0; }
int cuModuleLoadData(handle* made, const void* image) { return (void)image, *made = malloc(1), 0; }
int cuModuleGetFunction(handle* made, handle module, const char* name) {
    return (void)module, (void)name, *made = malloc(1), 0;
}
int cuModuleUnload(handle module) { return free(module), 0; }
int cuFuncSetAttribute(handle function, int attribute, int value) {
    return (void)function, (void)attribute, (void)value, 0;
}
int cuLaunchKernel(handle f, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   handle stream, void** arguments, void** extra) {
    return (void)f, (void)x, (void)y, (void)z, (void)bx, (void)by, (void)bz, (void)shared, (void)stream,
           (void)arguments, (void)extra, 0;
}
int cuStreamBeginCapture_v2(handle stream, int mode) { return (void)stream, (void)mode, 0; }
int cuStreamEndCapture(handle stream, handle* graph) { return (void)stream, *graph = &some, 0; }
int cuGraphGetNodes(handle graph, handle* nodes, size_t* count) { return (void)graph, (void)nodes, *count = 0, 0; }
int cuGraphInstantiateWithFlags(handle* made, handle graph, unsigned long long flags) {
    return (void)graph, (void)flags, *made = &some, 0;
}
int cuGraphDestroy(handle graph) { return (void)graph, 0; }
int cuGraphLaunch(handle graph, handle stream) { return (void)graph, (void)stream, 0; }
int cuGraphExecDestroy(handle graph) { return (void)graph, 0; }
// NVIDIA's compiler asks the driver of its process for a table, which it can do without, but not without the function.
int cuGetExportTable(const void** table, const void* id) { return (void)id, *table = 0, 1; }
int cuGetErrorName(int error, const char** text) { return (void)error, *text = "error", 0; }
int cuGetErrorString(int error, const char** text) { return (void)error, *text = "error", 0; }

#ifdef WITH_COMPILER
int nvrtcCreateProgram(handle* made, const char* source, const char* name, int n, const char** headers,
                       const char** names) {
    return (void)source, (void)name, (void)n, (void)headers, (void)names, *made = &some, 0;
}
int nvrtcCompileProgram(handle program, int n, const char** options) { return (void)program, (void)n, (void)options, 0; }
int nvrtcGetCUBINSize(handle program, size_t* bytes) { return (void)program, *bytes = 4, 0; }
int nvrtcGetCUBIN(handle program, char* image) { return (void)program, memcpy(image, "none", 4), 0; }
int nvrtcGetPTXSize(handle program, size_t* bytes) { return (void)program, *bytes = 4, 0; }
int nvrtcGetPTX(handle program, char* image) { return (void)program, memcpy(image, "none", 4), 0; }
int nvrtcGetProgramLogSize(handle program, size_t* bytes) { return (void)program, *bytes = 0, 0; }
int nvrtcGetProgramLog(handle program, char* log) { return (void)program, (void)log, 0; }
int nvrtcDestroyProgram(handle* program) { return (void)program, 0; }
int nvrtcVersion(int* major, int* minor) { return *major = 0, *minor = 0, 0; }
int nvrtcGetNumSupportedArchs(int* n) { return *n = 1, 0; }
int nvrtcGetSupportedArchs(int* all) { return *all = 90, 0; }
#endif
