// SPDX-License-Identifier: Apache-2.0
// Optimiser steps. T: storage of parameters and gradients, kTensors: how many of them a launch can name. What changes
// from step to step is read from device memory.
namespace steps {
using namespace merapi;
typedef decltype(rd(T())) C;

constexpr int kRoles = 6, kSteps = 5, kThreads = 256, kEach = 4;

// Tensors that one launch goes over; the numbers are those of TensorLists.
struct Lists {
    i64 count, chunks, chunk;
    i64 n[kTensors];
    i64 first[kTensors + 1];  // how many chunks come before the tensor's
    i64 at[kRoles][kTensors];  // kSteps: how many steps the parameter has had

    MERAPI_F i64 steps(int tensor) const { return *(const i64*)at[kSteps][tensor]; }
};

// A factor that C holds with all its digits; others are multiplied in double.
MERAPI_F bool holds(double factor) {
    const double size = fabs(factor);
    return sizeof(C) == sizeof(double) || size == 0 || !(size < 0x1p-100 || size > 0x1p100) || size - size != 0;
}
struct Factor {
    double exact;
    C rounded;
    bool in_double;

    MERAPI_F explicit Factor(const double* at)
        : exact(at ? *at : 1.0), rounded((C)exact), in_double(!holds(exact)) {}
    MERAPI_F C times(C x) const { return in_double ? (C)((double)x * exact) : x * rounded; }
};

struct Chunk {
    int tensor;
    i64 begin, end;
    bool aligned;  // in all roles that are loaded by packs

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
    for (int r = 0; r < kSteps; r++) addresses |= (u64)lists.at[r][low];
    return {low, begin, min(begin + lists.chunk, lists.n[low]), addresses % 16 == 0};
}
}  // namespace steps

// Each block has every gridDim-th chunk of all tensors, and each thread every 256th pack of it.
#define STEPS_CHUNKS(c)                                                    \
    for (i64 chunk = blockIdx.x; chunk < lists.chunks; chunk += gridDim.x) \
        if (const Chunk c = chunk_of(lists, chunk); true)
#define STEPS_EACH(i, c) for (i64 i = c.begin + threadIdx.x * kEach; i < c.end; i += kThreads * kEach)

extern "C" __global__ void __launch_bounds__(256)
    adam(const steps::Lists lists, const double* rate, const double* gradScale, const float* skip, double beta1,
         double beta2, double eps, double decay, int decoupled) {
    using namespace steps;
    if (skip && *skip != 0) return;
    const double lr = *rate;
    const Factor scale(gradScale);
    // Powers and their complements in double: 1 − βᵗ loses its digits otherwise. By two threads, and only where t is
    // another one than before: they take long.
    __shared__ C complements[2];
    i64 powers = -1;
    C c1 = 1, c2 = 1;
    STEPS_CHUNKS(c) {
        T* p = (T*)lists.at[0][c.tensor];
        const T* g = (const T*)lists.at[1][c.tensor];
        C *m = (C*)lists.at[2][c.tensor], *v = (C*)lists.at[3][c.tensor], *master = (C*)lists.at[4][c.tensor];
        const i64 t = lists.steps(c.tensor) + 1;
        if (t != powers) {
            __syncthreads();
            if (threadIdx.x < 2) complements[threadIdx.x] = (C)(1 - pow(threadIdx.x == 0 ? beta1 : beta2, (double)t));
            __syncthreads();
            c1 = complements[0];
            c2 = complements[1];
            powers = t;
        }
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
                const C d = scale.times(rd(gs.v[e])) + (decoupled ? C(0) : (C)decay * x);
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
    sgd(const steps::Lists lists, const double* rate, const double* gradScale, const float* skip, double momentum,
        double dampening, int nesterov, double decay) {
    using namespace steps;
    if (skip && *skip != 0) return;
    const C lr = (C)*rate;
    const Factor scale(gradScale);
    STEPS_CHUNKS(c) {
        T* p = (T*)lists.at[0][c.tensor];
        const T* g = (const T*)lists.at[1][c.tensor];
        C *buffer = (C*)lists.at[2][c.tensor], *master = (C*)lists.at[4][c.tensor];
        const bool begins = lists.steps(c.tensor) == 0;
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
                C d = scale.times(rd(gs.v[e])) + (C)decay * x;
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

// One more step for each tensor of the lists; after all blocks have read how many there were.
extern "C" __global__ void __launch_bounds__(256) counted(const steps::Lists lists, const float* skip) {
    using namespace steps;
    if (skip && *skip != 0) return;
    for (int i = threadIdx.x; i < lists.count; i += kThreads) ++*(i64*)lists.at[kSteps][i];
}

namespace steps {
// A sum of squares whose terms neither overflow nor vanish: large and small ones are scaled before, by powers of two
// (J. L. Blue, A portable Fortran program to find the Euclidean norm of a vector, 1978). Those of smaller floats need it not.
constexpr double kLarge = 0x1p490, kSmall = 0x1p-490, kDown = 0x1p-600, kUp = 0x1p600;
constexpr int kSums = sizeof(C) == sizeof(double) ? 3 : 1;

struct Squares {
    double sums[kSums] = {};  // middle, large, small

    MERAPI_F void add(double x) {
        const double size = fabs(x);
        if (kSums == 3 && size > kLarge)
            sums[kSums / 3] += x * kDown * (x * kDown);
        else if (kSums == 3 && size < kSmall)
            sums[kSums - 1] += x * kUp * (x * kUp);
        else
            sums[0] += x * x;  // NaN too
    }
};

// The sum of what the threads of a block have, in thread 0.
MERAPI_F double sum_of_block(double s) {
    __shared__ double shared[kThreads];
    __syncthreads();
    shared[threadIdx.x] = s;
    for (int half = kThreads / 2; half > 0; half >>= 1) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return threadIdx.x == 0 ? shared[0] : 0;
}
}  // namespace steps

// The sums of squares of each chunk; then one block for all of them.
extern "C" __global__ void __launch_bounds__(256) squares(const steps::Lists lists, double* parts) {
    using namespace steps;
    STEPS_CHUNKS(c) {
        const T* g = (const T*)lists.at[0][c.tensor];
        Squares s;
        STEPS_EACH(i, c) {
            const Pack<T, kEach> gs = c.load(g, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) s.add(rd(gs.v[e]));
        }
        for (int k = 0; k < kSums; k++) {
            const double sum = sum_of_block(s.sums[k]);
            if (threadIdx.x == 0) parts[chunk * kSums + k] = sum;
        }
    }
}
// The norm of these and of a vector with norm *before.
extern "C" __global__ void __launch_bounds__(256) norm_of_parts(const double* parts, long long n, double most,
                                                                const double* before, double* norm, double* scale) {
    using namespace steps;
    double sums[3] = {};
    for (int k = 0; k < kSums; k++) {
        double s = 0;
        for (i64 i = threadIdx.x; i < n; i += kThreads) s += parts[i * kSums + k];
        sums[k] = sum_of_block(s);
    }
    if (threadIdx.x != 0) return;
    const double middle = sums[0], large = sums[1], small = sums[2], other = before ? fabs(*before) : 0;
    double length, ratio;
    if (large > 0 || other > kLarge) {
        const double b = other * kDown, root = sqrt(large + middle * kDown * kDown + b * b);
        length = root * kUp;
        ratio = most * kDown / root;  // also where the norm itself is not a double
    } else {
        const double b = other < kSmall ? other * kUp : 0, tiny = sqrt(small + b * b) * kDown;
        length = middle == 0 && other < kSmall ? tiny : sqrt(middle + other * other + tiny * tiny);
        ratio = most / (length + 1e-6);
    }
    *norm = length;
    *scale = ratio > 1 ? 1.0 : ratio;  // NaN stays
}
extern "C" __global__ void __launch_bounds__(256) scaled(const steps::Lists lists, const double* scale) {
    using namespace steps;
    const Factor s(scale);
    STEPS_CHUNKS(c) {
        T* g = (T*)lists.at[0][c.tensor];
        STEPS_EACH(i, c) {
            Pack<T, kEach> gs = c.load(g, i);
#pragma unroll
            for (int e = 0; e < kEach; e++) wr(gs.v[e], s.times(rd(gs.v[e])));
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
extern "C" __global__ void update_scale(float* scale, long long* streak, const float* nonFinite, double growth,
                                        double backoff, long long interval) {
    if (*nonFinite != 0) {
        *scale = fmaxf((float)(*scale * backoff), 0x1p-126f);
        *streak = 0;
        return;
    }
    const long long good = *streak + 1;
    *streak = good >= interval ? 0 : good;
    const float grown = (float)(*scale * growth);
    if (good >= interval && grown - grown == 0) *scale = grown;
}
