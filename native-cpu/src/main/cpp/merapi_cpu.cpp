// SPDX-License-Identifier: Apache-2.0
//
// From addresses and words to validated calls.
#include "merapi_cpu.h"

#include <atomic>
#include <cstring>

#include "isa.h"
#include "pool.h"
#include "program.h"
#include "reduce_plan.h"

namespace merapi {
namespace abi {
namespace {

template <class T>
T* at(int64_t address) {
    return reinterpret_cast<T*>(static_cast<intptr_t>(address));
}

const Program* program_of(int64_t handle, bool reduction) {
    const Program* p = at<const Program>(handle);
    if (handle <= 0 || p->magic != Program::kMagic) return nullptr;
    return (p->reduce != ReduceOp::none) == reduction ? p : nullptr;
}

static_assert(sizeof(Scalar) == 16, "scalars cross as pairs of words");

// Product of sizes, or -1 where a size is negative or the product doesn't fit.
int64_t product(const int64_t* size, int64_t n) {
    int64_t total = 1;
    for (int64_t i = 0; i < n; i++) {
        if (size[i] < 0 || __builtin_mul_overflow(total, size[i], &total)) return -1;
    }
    return total;
}

std::atomic<int64_t> alive{0};

int64_t create(int64_t text, int64_t length, bool reduction, int64_t error, int64_t error_capacity) {
    const char* from = at<const char>(text);
    if (from == nullptr || length < 0) {
        from = "";
        length = 0;
    }
    bool beyond;
    Program* p = parse_program(from, length, reduction, &beyond, at<char>(error), error_capacity);
    if (p != nullptr) alive++;
    return beyond ? kBeyondLimits : static_cast<int64_t>(reinterpret_cast<intptr_t>(p));
}

void destroy(int64_t handle, bool reduction) {
    Program* p = const_cast<Program*>(program_of(handle, reduction));
    if (p == nullptr) return;
    p->magic = 0;
    delete p;
    alive--;
}

}  // namespace

int num_threads() { return merapi::num_threads(); }
void set_num_threads(int threads) { merapi::set_num_threads(threads); }
int isa_level() { return static_cast<int>(isa()); }
int64_t openblas_callback_address() {
    return static_cast<int64_t>(reinterpret_cast<intptr_t>(&merapi::openblas_callback));
}

int dtype_code(const char* name) {
    for (int i = 0; i < kStorageCount; i++) {
        if (std::strcmp(name, kStorages[i].name) == 0) return i;
    }
    return -1;
}
template <int N>
static int code_of(const char* name, const char* const (&names)[N]) {
    for (int code = 0; code < N; code++) {
        if (std::strcmp(name, names[code]) == 0) return code;
    }
    return -1;
}
int reduction_code(const char* name) { return code_of(name, kLossReductions); }
int scatter_reduction_code(const char* name) { return code_of(name, kScatterReductions); }

int64_t program_create(int64_t text, int64_t length, int64_t error, int64_t error_capacity) {
    return create(text, length, false, error, error_capacity);
}
void program_destroy(int64_t handle) { destroy(handle, false); }
int64_t programs_alive() { return alive; }

int64_t reduce_create(int64_t text, int64_t length, int64_t error, int64_t error_capacity) {
    return create(text, length, true, error, error_capacity);
}
void reduce_destroy(int64_t handle) { destroy(handle, true); }

int program_run_flat(int64_t handle, int64_t n, int64_t out, int64_t in0, int64_t in1, int64_t in2, int broadcast,
                     int64_t scalars) {
    const Program* p = program_of(handle, false);
    if (p == nullptr) return kBadHandle;
    if (p->outputs != 1 || p->inputs > 3 || n < 0 || (p->scalars > 0 && scalars == 0)) return kBadDescriptor;
    if (n == 0) return 0;
    char* address[4] = {at<char>(out), at<char>(in0), at<char>(in1), at<char>(in2)};
    for (int o = 0; o <= p->inputs; o++) {
        if (address[o] == nullptr) return kNullAddress;
    }
    return interp_table().run_flat(*p, n, address, static_cast<uint32_t>(broadcast), at<const Scalar>(scalars));
}

int program_run(int64_t handle, int64_t descriptor) {
    const Program* p = program_of(handle, false);
    if (p == nullptr) return kBadHandle;
    const int64_t* word = at<const int64_t>(descriptor);
    if (word == nullptr) return kNullAddress;
    int64_t ndim = word[0];
    if (ndim > kMaxDims) return kBeyondLimits;
    if (ndim < 0 || word[1] != p->outputs || word[2] != p->inputs || word[3] < p->scalars) {
        return kBadDescriptor;
    }
    word += 4;
    Call call;
    call.program = p;
    call.ndim = static_cast<int>(ndim);
    call.elements = product(word, ndim);
    if (call.elements < 0) return kBadDescriptor;
    if (call.elements == 0) return 0;
    std::memcpy(call.size, word, static_cast<size_t>(ndim) * 8);
    word += ndim;
    for (int o = 0; o < p->outputs + p->inputs; o++) {
        if (word[0] == 0) return kNullAddress;
        call.operand[o].address = at<char>(word[0]);
        std::memcpy(call.operand[o].stride, word + 1, static_cast<size_t>(ndim) * 8);
        word += 1 + ndim;
    }
    call.scalars = reinterpret_cast<const Scalar*>(word);
    return interp_table().run(call);
}

int reduce_run(int64_t handle, int64_t descriptor) {
    const Program* p = program_of(handle, true);
    if (p == nullptr) return kBadHandle;
    const int64_t* word = at<const int64_t>(descriptor);
    if (word == nullptr) return kNullAddress;
    int64_t kept = word[0], reduced = word[1];
    if (kept < 0 || reduced < 0) return kBadDescriptor;
    if (kept > kMaxDims || reduced > kMaxDims || kept + reduced > kMaxDims) return kBeyondLimits;
    if (word[2] != p->inputs || word[3] < p->scalars) {
        return kBadDescriptor;
    }
    int64_t ndim = kept + reduced;
    ReduceCall call;
    call.program = p;
    call.kept = static_cast<int>(kept);
    call.reduced = static_cast<int>(reduced);
    std::memcpy(&call.correction, word + 4, 8);
    word += 5;
    int64_t outputs = product(word, kept), length = product(word + kept, reduced), total;
    if (outputs < 0 || length < 0 || __builtin_mul_overflow(outputs, length, &total)) return kBadDescriptor;
    if (outputs == 0) return 0;
    std::memcpy(call.size, word, static_cast<size_t>(ndim) * 8);
    word += ndim;
    Operand* results[] = {&call.result, &call.mean};
    for (Operand* result : results) {
        result->address = at<char>(word[0]);
        std::memcpy(result->stride, word + 1, static_cast<size_t>(kept) * 8);
        word += 1 + kept;
    }
    if (call.result.address == nullptr) return kNullAddress;
    for (int k = 0; k < p->inputs; k++) {
        if (word[0] == 0 && length > 0) return kNullAddress;
        call.input[k].address = at<char>(word[0]);
        std::memcpy(call.input[k].stride, word + 1, static_cast<size_t>(ndim) * 8);
        word += 1 + ndim;
    }
    call.scalars = reinterpret_cast<const Scalar*>(word);
    bool needs_an_element = p->reduce == ReduceOp::min || p->reduce == ReduceOp::max || p->reduce == ReduceOp::argmin ||
                            p->reduce == ReduceOp::argmax;
    if (length == 0 && needs_an_element) return kEmptyReduction;
    return reduce_table().run(plan_reduction(call));
}

}  // namespace abi
}  // namespace merapi
