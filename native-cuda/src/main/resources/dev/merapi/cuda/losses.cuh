// SPDX-License-Identifier: Apache-2.0
// Losses of classes.
namespace rows {
MERAPI_F C weight_of(const T* w, i64 c) { return w ? rd(w[c]) : C(1); }
// Those of cross entropy are of the compute type, whatever the logits are.
MERAPI_F C own_weight(const C* w, i64 c) { return w ? w[c] : C(1); }
// e^x; beside 16-bit types the hardware's power of 2 will do.
MERAPI_F C probability(C x) {
    if constexpr (sizeof(T) == 2) return quick_exp2(x * 1.44269504f);
    return op_exp(x);
}
}  // namespace rows

// Of each row: log Σ exp, its loss and its weight; rows whose target is no class count for nothing.
extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    cross_entropy_rows(const T* x, const long long* targets, const rows::C* weight, rows::C* lse, rows::C* loss,
                       rows::C* weights, long long count, long long classes, long long ignore, int lanes,
                       double smoothing, merapi::Fault fault) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, classes, lanes), x);
        const Exponentials of = exponentials(in, false);
        const C l = of.largest[0] + op_log(of.sum[0]);
        C spread = 0;
        if (smoothing != 0) {
            in.each([&](Index c, C(&v)[1][kPack]) {
#pragma unroll
                for (int e = 0; e < kPack; e++) spread += own_weight(weight, c + e) * (l - v[0][e]);
            });
            spread = across(lanes, spread, Sum());
        }
        if (in.row.lane == 0 && alive) {
            const i64 target = targets[r];
            const bool counts = target != ignore && target >= 0 && target < classes;
            lse[r] = l;
            const C own = counts ? own_weight(weight, target) : C(0);
            C v = 0;
            if (counts)
                v = (C)(1 - smoothing) * own * (l - rd(x[r * classes + target])) + (C)(smoothing / classes) * spread;
            const bool wrong = !counts && target != ignore;
            if (wrong) outside(fault, target, r, classes, ignore);
            loss[r] = wrong ? (C)not_a_number() : v;
            weights[r] = own;
        }
    });
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    cross_entropy_backward(const rows::C* g, const T* x, const long long* targets, const rows::C* weight,
                           const rows::C* lse, const double* total, T* dx, long long count, long long classes, long long ignore, int lanes,
                           double smoothing, int each, int mean) {
    using namespace rows;
    C all = (C)classes;
    if (weight && smoothing != 0) {
        all = 0;
        for (i64 c = threadIdx.x & (lanes - 1); c < classes; c += lanes) all += weight[c];
        all = across(lanes, all, Sum());
    }
    const C part = (C)(smoothing / classes);
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, classes, lanes), x);
        const i64 target = alive ? targets[r] : ignore;
        const bool counts = target != ignore && target >= 0 && target < classes;
        const C scale =
            (C)(mean ? (double)g[0] / *total : (double)g[each && alive ? r : 0]);
        const C own = counts ? (C)(1 - smoothing) * own_weight(weight, target) : C(0), l = alive ? lse[r] : C(0);
        in.map(dx, [&](Index c, C(&v)[1][kPack], C(&out)[kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                const C p = probability(v[0][e] - l);
                C d = own * (c + e == target ? p - C(1) : p);
                if (smoothing != 0) d += part * (p * all - own_weight(weight, c + e));
                out[e] = counts ? d * scale : C(0);
            }
        });
    });
}

// Says which target is no class, before anything is computed.
extern "C" __global__ void check_targets(const long long* targets, long long count, long long classes, long long ignore,
                                         merapi::Fault fault) {
    using namespace rows;
    for (i64 r = (i64)blockIdx.x * blockDim.x + threadIdx.x; r < count; r += (i64)gridDim.x * blockDim.x) {
        const i64 target = targets[r];
        if (target != ignore && (target < 0 || target >= classes)) outside(fault, target, r, classes, ignore);
    }
}

extern "C" __global__ void nll_rows(const T* x, const long long* targets, const T* weight, rows::C* loss,
                                    rows::C* weights, long long count, long long classes, long long ignore,
                                    merapi::Fault fault) {
    using namespace rows;
    for (i64 r = (i64)blockIdx.x * blockDim.x + threadIdx.x; r < count; r += (i64)gridDim.x * blockDim.x) {
        const i64 target = targets[r];
        const bool counts = target != ignore && target >= 0 && target < classes;
        const C own = counts ? weight_of(weight, target) : C(0);
        const bool wrong = !counts && target != ignore;
        if (wrong) outside(fault, target, r, classes, ignore);
        weights[r] = own;
        loss[r] = counts ? -own * rd(x[r * classes + target]) : wrong ? (C)not_a_number() : C(0);
    }
}

// One block. The result is each loss, or their mean, or else their sum.
extern "C" __global__ void __launch_bounds__(1024)
    losses_reduced(const rows::C* loss, const rows::C* weights, T* y, double* total, long long count, int each, int mean) {
    using namespace rows;
    __shared__ double a[1024], b[1024];
    const int t = threadIdx.x;
    double sum = 0, weight = 0;
#pragma unroll 4
    for (i64 r = t; r < count; r += 1024) {
        sum += loss[r];
        weight += weights[r];
    }
    if (each) {
        for (i64 r = t; r < count; r += 1024) wr(y[r], loss[r]);
    }
    a[t] = sum;
    b[t] = weight;
    for (int half = 512; half > 0; half /= 2) {
        __syncthreads();
        if (t < half) {
            a[t] += a[t + half];
            b[t] += b[t + half];
        }
    }
    if (t == 0) {
        if (total) *total = b[0];
        if (!each) wr(*y, (C)(mean ? a[0] / b[0] : a[0]));
    }
}

extern "C" __global__ void nll_backward(const T* g, const long long* targets, const T* weight, const double* total,
                                        T* dx, long long count, long long classes, long long ignore, int each, int mean) {
    using namespace rows;
    const i64 n = count * classes;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        const i64 r = i / classes, c = i - r * classes;
        const bool own = c == targets[r] && c != ignore;
        const C scale = (C)(mean ? (double)rd(g[0]) / *total : (double)rd(g[each ? r : 0]));
        wr(dx[i], own ? -scale * weight_of(weight, c) : C(0));
    }
}
