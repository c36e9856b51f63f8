// SPDX-License-Identifier: Apache-2.0
// Softmax, normalisation and losses of classes: one block a row. T: storage. Threads of a block are a multiple of 32.
namespace rows {
using namespace merapi;

typedef decltype(rd(T())) C;

struct Sum {
    MERAPI_F C operator()(C a, C b) const { return a + b; }
};
struct Largest {
    MERAPI_F C operator()(C a, C b) const { return op_max(a, b); }
};

// Joins a value of each thread; all get the result, and always in the same order.
template <class F>
MERAPI_F C across(C v, F join) {
    __shared__ C parts[32];
    for (int o = 16; o > 0; o >>= 1) v = join(v, __shfl_xor_sync(0xffffffffu, v, o));
    if (blockDim.x <= 32) return v;
    __syncthreads();  // the parts of the call before may still be read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < (int)blockDim.x / 32; i++) v = join(v, parts[i]);
    return v;
}

// A row of [outer, size, inner]: neighbours are inner elements apart.
struct Row {
    i64 base, step;
    MERAPI_F Row(i64 r, i64 size, i64 inner) : base(r / inner * size * inner + r % inner), step(inner) {}
    MERAPI_F i64 at(i64 j) const { return base + j * step; }
};

MERAPI_F C largest(const T* x, const Row& row, i64 size) {
    C m = -infinity(C());
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) m = op_max(m, rd(x[row.at(j)]));
    return across(m, Largest());
}
MERAPI_F C exponentials(const T* x, const Row& row, i64 size, C m) {
    C s = 0;
    for (i64 j = threadIdx.x; j < size; j += blockDim.x) s += op_exp(rd(x[row.at(j)]) - m);
    return across(s, Sum());
}
MERAPI_F C weight_of(const T* w, i64 c) { return w ? rd(w[c]) : C(1); }
}  // namespace rows

// ---------------------------------------------------------------- softmax
extern "C" __global__ void softmax(const T* x, T* y, long long count, long long size, long long inner, int log) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, size, inner);
        const C m = largest(x, row, size), s = exponentials(x, row, size, m);
        const C shift = op_log(s);
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C v = rd(x[row.at(j)]) - m;
            wr(y[row.at(j)], log ? v - shift : op_exp(v) / s);
        }
    }
}

extern "C" __global__ void softmax_backward(const T* g, const T* y, T* dx, long long count, long long size,
                                            long long inner, int log) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, size, inner);
        C s = 0;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C d = rd(g[row.at(j)]);
            s += log ? d : d * rd(y[row.at(j)]);
        }
        s = across(s, Sum());
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C d = rd(g[row.at(j)]), p = rd(y[row.at(j)]);
            wr(dx[row.at(j)], log ? d - op_exp(p) * s : (d - s) * p);
        }
    }
}

extern "C" __global__ void logsumexp(const T* x, T* y, long long count, long long size, long long inner) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, size, inner);
        const C m = largest(x, row, size), s = exponentials(x, row, size, m);
        if (threadIdx.x == 0) wr(y[r], op_isinf(m) ? m : m + op_log(s));
    }
}

// ---------------------------------------------------------------- layer norm; RMS norm is it without centring and bias
extern "C" __global__ void normalize(const T* x, const T* weight, const T* bias, T* y, rows::C* mean, rows::C* rstd,
                                     long long count, long long size, double eps) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const T* in = x + r * size;
        C m = 0;
        if (mean) {
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) m += rd(in[j]);
            m = across(m, Sum()) / (C)size;
        }
        C square = 0;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C d = rd(in[j]) - m;
            square += d * d;
        }
        const C scale = C(1) / op_sqrt(across(square, Sum()) / (C)size + (C)eps);
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            C v = (rd(in[j]) - m) * scale;
            if (weight) v *= rd(weight[j]);
            if (bias) v += rd(bias[j]);
            wr(y[r * size + j], v);
        }
        if (threadIdx.x == 0) {
            if (mean) mean[r] = m;
            rstd[r] = scale;
        }
    }
}

extern "C" __global__ void normalize_backward(const T* g, const T* x, const T* weight, const rows::C* mean,
                                              const rows::C* rstd, T* dx, long long count, long long size) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const i64 at = r * size;
        const C m = mean ? mean[r] : C(0), scale = rstd[r];
        C sum = 0, along = 0;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C d = rd(g[at + j]) * weight_of(weight, j);
            sum += d;
            along += d * (rd(x[at + j]) - m) * scale;
        }
        sum = mean ? across(sum, Sum()) / (C)size : C(0);
        along = across(along, Sum()) / (C)size;
        for (i64 j = threadIdx.x; j < size; j += blockDim.x) {
            const C d = rd(g[at + j]) * weight_of(weight, j);
            wr(dx[at + j], scale * (d - sum - (rd(x[at + j]) - m) * scale * along));
        }
    }
}

// Sums over rows: each block takes 32 columns of one chunk of rows, and leaves [chunks, size] of them.
extern "C" __global__ void normalize_backward_parameters(const T* g, const T* x, const rows::C* mean,
                                                         const rows::C* rstd, rows::C* weights, rows::C* biases,
                                                         long long count, long long size, long long chunk) {
    using namespace rows;
    __shared__ C a[8][33], b[8][33];
    const int tx = threadIdx.x % 32, ty = threadIdx.x / 32;
    const i64 column = (i64)blockIdx.x * 32 + tx;
    const i64 end = min((i64)(blockIdx.y + 1) * chunk, (i64)count);
    C w = 0, s = 0;
    if (column < size) {
        for (i64 r = blockIdx.y * chunk + ty; r < end; r += 8) {
            const C d = rd(g[r * size + column]);
            w += d * (rd(x[r * size + column]) - (mean ? mean[r] : C(0))) * rstd[r];
            s += d;
        }
    }
    a[ty][tx] = w;
    b[ty][tx] = s;
    __syncthreads();
    if (ty == 0 && column < size) {
        for (int i = 1; i < 8; i++) {
            w += a[i][tx];
            s += b[i][tx];
        }
        if (weights) weights[blockIdx.y * size + column] = w;
        if (biases) biases[blockIdx.y * size + column] = s;
    }
}

extern "C" __global__ void sum_chunks(const rows::C* parts, T* y, long long chunks, long long size) {
    using namespace rows;
    const i64 column = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= size) return;
    C s = 0;
    for (i64 r = 0; r < chunks; r++) s += parts[r * size + column];
    wr(y[column], s);
}

// ---------------------------------------------------------------- losses of classes
// Of each row: log Σ exp, its loss and its weight; rows whose target is no class count for nothing.
extern "C" __global__ void cross_entropy_rows(const T* x, const long long* targets, const T* weight, rows::C* lse,
                                              rows::C* loss, rows::C* weights, long long count, long long classes,
                                              long long ignore, double smoothing, merapi::Fault fault) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, classes, 1);
        const C m = largest(x, row, classes), l = m + op_log(exponentials(x, row, classes, m));
        const i64 target = targets[r];
        const bool counts = target != ignore && target >= 0 && target < classes;
        C spread = 0;
        if (smoothing != 0) {
            for (i64 c = threadIdx.x; c < classes; c += blockDim.x)
                spread += weight_of(weight, c) * (l - rd(x[row.at(c)]));
            spread = across(spread, Sum());
        }
        if (threadIdx.x == 0) {
            lse[r] = l;
            const C own = counts ? weight_of(weight, target) : C(0);
            C v = 0;
            if (counts) v = (C)(1 - smoothing) * own * (l - rd(x[row.at(target)])) + (C)(smoothing / classes) * spread;
            const bool wrong = !counts && target != ignore;
            if (wrong) outside(fault, target, r, classes, ignore);
            loss[r] = wrong ? (C)not_a_number() : v;
            weights[r] = own;
        }
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

// One block. Reduction: 0 none, 1 mean, 2 sum.
extern "C" __global__ void losses_reduced(const rows::C* loss, const rows::C* weights, T* y, double* total,
                                          long long count, int reduction) {
    using namespace rows;
    __shared__ double a[256], b[256];
    double sum = 0, weight = 0;
    for (i64 r = threadIdx.x; r < count; r += 256) {
        sum += loss[r];
        weight += weights[r];
        if (reduction == 0) wr(y[r], loss[r]);
    }
    a[threadIdx.x] = sum;
    b[threadIdx.x] = weight;
    for (int half = 128; half > 0; half >>= 1) {
        __syncthreads();
        if (threadIdx.x < half) {
            a[threadIdx.x] += a[threadIdx.x + half];
            b[threadIdx.x] += b[threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) {
        if (total) *total = b[0];
        if (reduction != 0) wr(*y, (C)(reduction == 1 ? a[0] / b[0] : a[0]));
    }
}

extern "C" __global__ void cross_entropy_backward(const T* g, const T* x, const long long* targets, const T* weight,
                                                  const rows::C* lse, const double* total, T* dx, long long count,
                                                  long long classes, long long ignore, double smoothing,
                                                  int reduction) {
    using namespace rows;
    C all = (C)classes;
    if (weight && smoothing != 0) {
        all = 0;
        for (i64 c = threadIdx.x; c < classes; c += blockDim.x) all += rd(weight[c]);
        all = across(all, Sum());
    }
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const i64 target = targets[r], at = r * classes;
        const bool counts = target != ignore && target >= 0 && target < classes;
        const C scale = (C)(reduction == 1 ? (double)rd(g[0]) / *total : (double)rd(g[reduction == 0 ? r : 0]));
        const C own = counts ? (C)(1 - smoothing) * weight_of(weight, target) : C(0), part = (C)(smoothing / classes);
        for (i64 c = threadIdx.x; c < classes; c += blockDim.x) {
            const C p = op_exp(rd(x[at + c]) - lse[r]);
            const C v = own * (c == target ? p - C(1) : p) + part * (p * all - weight_of(weight, c));
            wr(dx[at + c], counts ? v * scale : C(0));
        }
    }
}

extern "C" __global__ void nll_backward(const T* g, const long long* targets, const T* weight, const double* total,
                                        T* dx, long long count, long long classes, long long ignore, int reduction) {
    using namespace rows;
    const i64 n = count * classes;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (i64)gridDim.x * blockDim.x) {
        const i64 r = i / classes, c = i - r * classes;
        const bool own = c == targets[r] && c != ignore;
        const C scale = (C)(reduction == 1 ? (double)rd(g[0]) / *total : (double)rd(g[reduction == 0 ? r : 0]));
        wr(dx[i], own ? -scale * weight_of(weight, c) : C(0));
    }
}
