// SPDX-License-Identifier: Apache-2.0
// Optimiser steps. T: storage of parameters and gradients. What changes from step to step is read from device memory.
namespace steps {
using namespace merapi;
typedef decltype(rd(T())) C;
}  // namespace steps

#define STEPS_EACH(i, n) \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(n); i += (i64)gridDim.x * blockDim.x)

extern "C" __global__ void adam(T* p, const T* g, steps::C* m, steps::C* v, steps::C* master, long long n,
                                const float* rate, const float* step, const float* gradScale, const float* skip,
                                double beta1, double beta2, double eps, double decay, int decoupled) {
    using namespace steps;
    if (skip && *skip != 0) return;
    // Powers and their complements in double: 1 − βᵗ loses its digits otherwise.
    const double lr = *rate, t = *step;
    const C c1 = (C)(1 - pow(beta1, t)), c2 = (C)(1 - pow(beta2, t)), scale = gradScale ? (C)*gradScale : C(1);
    STEPS_EACH(i, n) {
        C x = master ? master[i] : rd(p[i]);
        const C d = rd(g[i]) * scale + (decoupled ? C(0) : (C)decay * x);
        if (decoupled) x -= (C)(lr * decay) * x;
        const C first = (C)beta1 * m[i] + (C)(1 - beta1) * d, second = (C)beta2 * v[i] + (C)(1 - beta2) * d * d;
        m[i] = first;
        v[i] = second;
        x -= (C)lr * (first / c1) / (op_sqrt(second / c2) + (C)eps);
        if (master) master[i] = x;
        wr(p[i], x);
    }
}

extern "C" __global__ void sgd(T* p, const T* g, steps::C* buffer, steps::C* master, long long n, const float* rate,
                               const float* step, const float* gradScale, const float* skip, double momentum,
                               double dampening, int nesterov, double decay) {
    using namespace steps;
    if (skip && *skip != 0) return;
    const C lr = (C)*rate, scale = gradScale ? (C)*gradScale : C(1);
    const bool begins = *step == 1;
    STEPS_EACH(i, n) {
        C x = master ? master[i] : rd(p[i]);
        C d = rd(g[i]) * scale + (C)decay * x;
        if (buffer) {
            const C kept = begins ? d : (C)momentum * buffer[i] + (C)(1 - dampening) * d;
            buffer[i] = kept;
            d = nesterov ? d + (C)momentum * kept : kept;
        }
        x -= lr * d;
        if (master) master[i] = x;
        wr(p[i], x);
    }
}

// The sum of squares of one chunk of a tensor a block; then one block for all of them.
extern "C" __global__ void squares(const T* g, double* parts, long long n, long long chunk) {
    using namespace steps;
    __shared__ double shared[256];
    const i64 end = min((i64)(blockIdx.x + 1) * chunk, (i64)n);
    double s = 0;
    for (i64 i = blockIdx.x * chunk + threadIdx.x; i < end; i += 256) {
        const double v = rd(g[i]);
        s += v * v;
    }
    shared[threadIdx.x] = s;
    for (int half = 128; half > 0; half >>= 1) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) parts[blockIdx.x] = shared[0];
}
extern "C" __global__ void norm_of_parts(const double* parts, long long n, double largest, float* norm, float* scale) {
    using namespace steps;
    __shared__ double shared[256];
    double s = 0;
    for (i64 i = threadIdx.x; i < n; i += 256) s += parts[i];
    shared[threadIdx.x] = s;
    for (int half = 128; half > 0; half >>= 1) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    if (threadIdx.x == 0) {
        const double root = sqrt(shared[0]), ratio = largest / (root + 1e-6);
        *norm = (float)root;
        *scale = (float)(ratio < 1 ? ratio : 1.0);
    }
}
extern "C" __global__ void scaled(T* g, long long n, const float* scale) {
    using namespace steps;
    const C s = (C)*scale;
    STEPS_EACH(i, n) wr(g[i], rd(g[i]) * s);
}

// Whether anything is infinite or NaN: all that find such an element write the same 1.
extern "C" __global__ void cleared(float* flag) { *flag = 0; }
extern "C" __global__ void non_finite(const T* g, long long n, float* flag) {
    using namespace steps;
    bool found = false;
    STEPS_EACH(i, n) {
        const C x = rd(g[i]);
        found |= !(x - x == C(0));
    }
    if (found) atomicExch(flag, 1.0f);
}
extern "C" __global__ void update_scale(float* scale, float* streak, const float* nonFinite, double growth,
                                        double backoff, double interval) {
    if (*nonFinite != 0) {
        *scale = (float)(*scale * backoff);
        *streak = 0;
        return;
    }
    const float good = *streak + 1;
    *streak = good >= interval ? 0 : good;
    const float grown = (float)(*scale * growth);
    if (good >= interval && grown - grown == 0) *scale = grown;
}
