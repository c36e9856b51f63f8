// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstring>
#include <initializer_list>

#include "cuda_numbers.h"
#include "merapi_cuda.h"

// cuBLASLt through the addresses of its functions.
namespace merapi {
namespace abi {

namespace {

using Object = void*;

struct Algorithm {
    uint64_t data[8];
};

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    int32_t state;
    float waves;
    int32_t reserved[4];
};
// The library writes it: a test compares these numbers with what the header's compiler made of it.
static_assert(sizeof(Heuristic) == 96, "cublasLtMatmulHeuristicResult_t");
static_assert(offsetof(Heuristic, workspace) == 64, "workspaceSize");
static_assert(offsetof(Heuristic, state) == 72, "state");
static_assert(offsetof(Heuristic, waves) == 76, "wavesCount");

// In the order of CublasLt.FUNCTIONS.
struct Functions {
    int (*create)(Object* handle);
    int (*operation_create)(Object*, int compute_type, int scale_type);
    int (*operation_set)(Object, int attribute, const void*, size_t);
    int (*operation_destroy)(Object);
    int (*layout_create)(Object*, int type, uint64_t rows, uint64_t columns, int64_t leading);
    int (*layout_set)(Object, int attribute, const void*, size_t);
    int (*layout_destroy)(Object);
    int (*preference_create)(Object*);
    int (*preference_set)(Object, int attribute, const void*, size_t);
    int (*preference_destroy)(Object);
    int (*heuristic)(Object handle, Object operation, Object a, Object b, Object c, Object d, Object preference,
                     int requested, Heuristic*, int* found);
    int (*multiply)(Object handle, Object operation, const void* alpha, const void* a, Object layout_a, const void* b,
                    Object layout_b, const void* beta, const void* c, Object layout_c, void* d, Object layout_d,
                    const Algorithm*, void* workspace, size_t bytes, void* stream);
    size_t (*version)();
};

// The words of a problem, in the order of CublasLt.
struct Problem {
    int64_t type, compute, rows, columns, depth, trans_a, leading_a, trans_b, leading_b, leading_d;
    int64_t batch, stride_a, stride_b, stride_d, epilogue, workspace, alignment_a, alignment_b, alignment_d;
    int64_t bias, aux;  // any addresses that are aligned as those will be
    int64_t leading_aux;
    int64_t candidates;  // algorithms that are asked for
};

constexpr int kMostCandidates = 8;

struct Plan {
    Object operation = nullptr, a = nullptr, b = nullptr, d = nullptr;
    Heuristic candidates[kMostCandidates] = {};  // what the library thinks fastest comes first
    int count = 0, chosen = 0;
    bool wide = false;
};

int layout(const Functions& f, Object* result, const Problem& p, int64_t rows, int64_t columns, int64_t leading,
           int64_t stride) {
    int status = f.layout_create(result, static_cast<int>(p.type), static_cast<uint64_t>(rows),
                                 static_cast<uint64_t>(columns), leading);
    if (status == 0 && p.batch > 1) {
        int32_t count = static_cast<int32_t>(p.batch);
        status = f.layout_set(*result, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count);
        if (status == 0) {
            status = f.layout_set(*result, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
        }
    }
    return status;
}

int prefer(const Functions& f, Object preference, const Problem& p) {
    uint64_t bytes = static_cast<uint64_t>(p.workspace);
    int status = f.preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes);
    const struct {
        int attribute;
        int64_t bytes;
    } alignments[4] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.alignment_a},
                       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.alignment_b},
                       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.alignment_d},
                       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.alignment_d}};
    for (int i = 0; i < 4 && status == 0; i++) {
        uint32_t alignment = static_cast<uint32_t>(alignments[i].bytes);
        status = f.preference_set(preference, alignments[i].attribute, &alignment, sizeof alignment);
    }
    return status;
}

int choose(const Functions& f, Object handle, Plan& plan, const Problem& p) {
    Object preference = nullptr;
    int status = f.preference_create(&preference);
    if (status != 0) {
        return status;
    }
    int found = 0;
    status = prefer(f, preference, p);
    if (status == 0) {
        int requested = p.candidates < kMostCandidates ? static_cast<int>(p.candidates) : kMostCandidates;
        status = f.heuristic(handle, plan.operation, plan.a, plan.b, plan.d, plan.d, preference, requested,
                             plan.candidates, &found);
    }
    f.preference_destroy(preference);
    for (int i = 0; status == 0 && i < found; i++) {
        if (plan.candidates[i].state == 0) {
            plan.candidates[plan.count++] = plan.candidates[i];
        }
    }
    return status == 0 && plan.count == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : status;
}

int make(const Functions& f, Object handle, Plan& plan, const Problem& p) {
    plan.wide = p.type == CUDA_R_64F;
    // Scale factors are of the type that sums are.
    int status = f.operation_create(&plan.operation, static_cast<int>(p.compute), plan.wide ? CUDA_R_64F : CUDA_R_32F);
    const int32_t trans_a = p.trans_a != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t trans_b = p.trans_b != 0 ? CUBLAS_OP_T : CUBLAS_OP_N;
    if (status == 0) {
        status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, &trans_a, sizeof trans_a);
    }
    if (status == 0) {
        status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, &trans_b, sizeof trans_b);
    }
    if (status == 0 && p.epilogue != 0) {
        const uint32_t epilogue = static_cast<uint32_t>(p.epilogue);
        status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    }
    if (status == 0 && p.bias != 0) {  // how it is aligned is a part of the choice
        status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof p.bias);
    }
    if (status == 0 && p.aux != 0) {
        status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &p.aux, sizeof p.aux);
        if (status == 0) {
            status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &p.leading_aux,
                                     sizeof p.leading_aux);
        }
    }
    if (status == 0) {
        status = layout(f, &plan.a, p, trans_a ? p.depth : p.rows, trans_a ? p.rows : p.depth, p.leading_a, p.stride_a);
    }
    if (status == 0) {
        status = layout(f, &plan.b, p, trans_b ? p.columns : p.depth, trans_b ? p.depth : p.columns, p.leading_b,
                        p.stride_b);
    }
    if (status == 0) {
        status = layout(f, &plan.d, p, p.rows, p.columns, p.leading_d, p.stride_d);
    }
    return status != 0 ? status : choose(f, handle, plan, p);
}

}  // namespace

int64_t blas_version(int64_t functions) {
    return static_cast<int64_t>(reinterpret_cast<const Functions*>(functions)->version());
}

int32_t blas_create(int64_t functions, int64_t result) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    return f.create(reinterpret_cast<Object*>(result));
}

int32_t blas_plan(int64_t functions, int64_t handle, int64_t problem, int64_t result) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    Plan* plan = new Plan;
    int status = make(f, reinterpret_cast<Object>(handle), *plan, *reinterpret_cast<const Problem*>(problem));
    if (status != 0) {
        blas_forget(functions, reinterpret_cast<int64_t>(plan));
        plan = nullptr;
    }
    int64_t* words = reinterpret_cast<int64_t*>(result);
    words[0] = reinterpret_cast<int64_t>(plan);
    words[1] = plan == nullptr ? 0 : static_cast<int64_t>(plan->candidates[0].workspace);
    words[2] = plan == nullptr ? 0 : plan->count;
    return status;
}

int64_t blas_choose(int64_t address, int32_t candidate) {
    Plan& plan = *reinterpret_cast<Plan*>(address);
    plan.chosen = candidate;
    return static_cast<int64_t>(plan.candidates[candidate].workspace);
}

void blas_forget(int64_t functions, int64_t address) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    Plan* plan = reinterpret_cast<Plan*>(address);
    for (Object l : {plan->a, plan->b, plan->d}) {
        if (l != nullptr) {
            f.layout_destroy(l);
        }
    }
    if (plan->operation != nullptr) {
        f.operation_destroy(plan->operation);
    }
    delete plan;
}

int32_t blas_run(int64_t functions, int64_t handle, int64_t address, int64_t a, int64_t b, int64_t bias, int64_t aux,
                 int64_t d, int64_t workspace, int64_t bytes, int64_t stream) {
    const Functions& f = *reinterpret_cast<const Functions*>(functions);
    Plan& plan = *reinterpret_cast<Plan*>(address);
    if (bias != 0) {
        int status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
        if (status != 0) {
            return status;
        }
    }
    if (aux != 0) {
        int status = f.operation_set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux, sizeof aux);
        if (status != 0) {
            return status;
        }
    }
    const double wide[2] = {1, 0};
    const float narrow[2] = {1, 0};
    const void* alpha = plan.wide ? static_cast<const void*>(&wide[0]) : &narrow[0];
    const void* beta = plan.wide ? static_cast<const void*>(&wide[1]) : &narrow[1];
    void* out = reinterpret_cast<void*>(d);
    return f.multiply(reinterpret_cast<Object>(handle), plan.operation, alpha, reinterpret_cast<const void*>(a), plan.a,
                      reinterpret_cast<const void*>(b), plan.b, beta, out, plan.d, out, plan.d,
                      &plan.candidates[plan.chosen].algorithm, reinterpret_cast<void*>(workspace),
                      static_cast<size_t>(bytes), reinterpret_cast<void*>(stream));
}

}  // namespace abi
}  // namespace merapi
