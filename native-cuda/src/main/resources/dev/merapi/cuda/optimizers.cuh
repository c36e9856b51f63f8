// SPDX-License-Identifier: Apache-2.0
// Optimiser steps. T: storage of parameters and gradients, kTensors: how many of them a launch can name. What changes
// from step to step is read from device memory.
namespace steps {
using namespace merapi;
typedef decltype(rd(T())) C;

constexpr int kRoles = 5, kThreads = 256, kEach = 4;

// Tensors that one launch goes over; the numbers are those of TensorLists.
struct Lists {
    i64 count, chunks, chunk;
    i64 n[kTensors];
    i64 first[kTensors + 1];  // how many chunks come before the tensor's
    i64 at[kRoles][kTensors];
};

struct Chunk {
    int tensor;
    i64 begin, end;
    bool aligned;  // in all roles

    template <class S>
    MERAPI_F Pack<S, kEach> load(const S* from, i64 i) const {
        if (aligned && i + kEach <= end) return *(const Pack<S, kEach>*)(from + i);
        Pack<S, kEach> p = {};
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            if (i + e < end) p.v[e] = from[i + e];
        }
        return p;
    }
    template <class S>
    MERAPI_F void store(S* to, i64 i, const Pack<S, kEach>& p) const {
        if (aligned && i + kEach <= end) {
            *(Pack<S, kEach>*)(to + i) = p;
            return;
        }
#pragma unroll
        for (int e = 0; e < kEach; e++) {
            if (i + e < end) to[i + e] = p.v[e];
        }
    }
};
MERAPI_F Chunk chunk_of(const Lists& lists, i64 chunk) {
    int low = 0, high = int(lists.count) - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (lists.first[middle] <= chunk)
            low = middle;
        else
            high = middle - 1;
    }
    const i64 begin = (chunk - lists.first[low]) * lists.chunk;
    u64 addresses = 0;
    for (int r = 0; r < kRoles; r++) addresses |= (u64)lists.at[r][low];
    return {low, begin, min(begin + lists.chunk, lists.n[low]), addresses % 16 == 0};
}
}  // namespace steps

// Each block has every gridDim-th chunk of all tensors, and each thread every 256th pack of it.
#define STEPS_CHUNKS(c)                                                    \
    for (i64 chunk = blockIdx.x; chunk < lists.chunks; chunk += gridDim.x) \
        if (const Chunk c = chunk_of(lists, chunk); true)
#define STEPS_EACH(i, c) for (i64 i = c.begin + threadIdx.x * kEach; i < c.end; i += kThreads * kEach)

extern "C" __global__ void __launch_bounds__(256)
    adam(const steps::Lists lists, const float* rate, const float* step, const float* gradScale, const float* skip,
         double beta1, double beta2, double eps, double decay, int decoupled) {
    using namespace steps;
    if (skip && *skip != 0) return;
    // Powers and their complements in double: 1 − βᵗ loses its digits otherwise. Once a block: they take long.
    __shared__ C complements[2];
    const double lr = *rate;
    if (threadIdx.x < 2) complements[threadIdx.x] = (C)(1 - pow(threadIdx.x == 0 ? beta1 : beta2, (double)*step));
    __syncthreads();
    const C c1 = complements[0], c2 = complements[1], scale = gradScale ? (C)*gradScale : C(1);
    STEPS_CHUNKS(c) {
        T* p = (T*)lists.at[0][c.tensor];
        const T* g = (const T*)lists.at[1][c.tensor];
        C *m = (C*)lists.at[2][c.tensor], *v = (C*)lists.at[3][c.tensor], *master = (C*)lists.at[4][c.tensor];
        STEPS_EACH(i, c) {
            Pack<C, kEach> xs = {}, ms = c.load(m, i), vs = c.load(v, i);
            Pack<T, kEach> ps = {}, gs = c.load(g, i);
            if (master)
                xs = c.load(master, i);
            else
                ps = c.load(p, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                C x = master ? xs.v[e] : rd(ps.v[e]);
                const C d = rd(gs.v[e]) * scale + (decoupled ? C(0) : (C)decay * x);
                if (decoupled) x -= (C)(lr * decay) * x;
                const C first = (C)beta1 * ms.v[e] + (C)(1 - beta1) * d;
                const C second = (C)beta2 * vs.v[e] + (C)(1 - beta2) * d * d;
                x -= (C)lr * (first / c1) / (op_sqrt(second / c2) + (C)eps);
                ms.v[e] = first;
                vs.v[e] = second;
                xs.v[e] = x;
                wr(ps.v[e], x);
            }
            c.store(m, i, ms);
            c.store(v, i, vs);
            if (master) c.store(master, i, xs);
            c.store(p, i, ps);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256)
    sgd(const steps::Lists lists, const float* rate, const float* step, const float* gradScale, const float* skip,
        double momentum, double dampening, int nesterov, double decay) {
    using namespace steps;
    if (skip && *skip != 0) return;
    const C lr = (C)*rate, scale = gradScale ? (C)*gradScale : C(1);
    const bool begins = *step == 1;
    STEPS_CHUNKS(c) {
        T* p = (T*)lists.at[0][c.tensor];
        const T* g = (const T*)lists.at[1][c.tensor];
        C *buffer = (C*)lists.at[2][c.tensor], *master = (C*)lists.at[3][c.tensor];
        STEPS_EACH(i, c) {
            Pack<C, kEach> xs = {}, kept = {};
            Pack<T, kEach> ps = {}, gs = c.load(g, i);
            if (master)
                xs = c.load(master, i);
            else
                ps = c.load(p, i);
            if (buffer && !begins) kept = c.load(buffer, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                C x = master ? xs.v[e] : rd(ps.v[e]);
                C d = rd(gs.v[e]) * scale + (C)decay * x;
                if (buffer) {
                    kept.v[e] = begins ? d : (C)momentum * kept.v[e] + (C)(1 - dampening) * d;
                    d = nesterov ? d + (C)momentum * kept.v[e] : kept.v[e];
                }
                x -= lr * d;
                xs.v[e] = x;
                wr(ps.v[e], x);
            }
            if (buffer) c.store(buffer, i, kept);
            if (master) c.store(master, i, xs);
            c.store(p, i, ps);
        }
    }
}

namespace steps {
// The sum of what the threads of a block have, in thread 0.
MERAPI_F double sum_of_block(double s) {
    __shared__ double shared[kThreads];
    __syncthreads();
    shared[threadIdx.x] = s;
    for (int half = kThreads / 2; half > 0; half >>= 1) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return shared[0];
}
}  // namespace steps

// The sum of squares of each chunk; then one block for all of them.
extern "C" __global__ void __launch_bounds__(256) squares(const steps::Lists lists, double* parts) {
    using namespace steps;
    STEPS_CHUNKS(c) {
        const T* g = (const T*)lists.at[0][c.tensor];
        double s = 0;
        STEPS_EACH(i, c) {
            const Pack<T, kEach> gs = c.load(g, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                const double v = rd(gs.v[e]);
                s += v * v;
            }
        }
        s = sum_of_block(s);
        if (threadIdx.x == 0) parts[chunk] = s;
    }
}
extern "C" __global__ void __launch_bounds__(256)
    norm_of_parts(const double* parts, long long n, double largest, float* norm, float* scale) {
    using namespace steps;
    double s = 0;
    for (i64 i = threadIdx.x; i < n; i += kThreads) s += parts[i];
    s = sum_of_block(s);
    if (threadIdx.x == 0) {
        const double root = sqrt(s), ratio = largest / (root + 1e-6);
        *norm = (float)root;
        *scale = (float)(ratio < 1 ? ratio : 1.0);
    }
}
extern "C" __global__ void __launch_bounds__(256) scaled(const steps::Lists lists, const float* scale) {
    using namespace steps;
    const C s = (C)*scale;
    STEPS_CHUNKS(c) {
        T* g = (T*)lists.at[0][c.tensor];
        STEPS_EACH(i, c) {
            Pack<T, kEach> gs = c.load(g, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) wr(gs.v[e], rd(gs.v[e]) * s);
            c.store(g, i, gs);
        }
    }
}

// Whether anything is infinite or NaN: all that find such an element write the same 1.
extern "C" __global__ void cleared(float* flag) { *flag = 0; }
extern "C" __global__ void __launch_bounds__(256) non_finite(const steps::Lists lists, float* flag) {
    using namespace steps;
    bool found = false;
    STEPS_CHUNKS(c) {
        const T* g = (const T*)lists.at[0][c.tensor];
        STEPS_EACH(i, c) {
            const Pack<T, kEach> gs = c.load(g, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) {
                const C x = rd(gs.v[e]);
                found |= !(x - x == C(0));
            }
        }
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
