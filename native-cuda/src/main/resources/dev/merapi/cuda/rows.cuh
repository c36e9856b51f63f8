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

// A row that is read once: each thread keeps its elements, if they are not too many; else it reads them again.
constexpr int kKept = 16;
struct Kept {
    const T* x;
    Row row;
    i64 size;
    bool all;
    C v[kKept];

    MERAPI_F Kept(const T* from, const Row& of, i64 length)
        : x(from), row(of), size(length), all(length <= (i64)kKept * blockDim.x) {
#pragma unroll
        for (int k = 0; k < kKept; k++) {
            const i64 j = threadIdx.x + (i64)k * blockDim.x;
            if (all && j < size) v[k] = rd(x[row.at(j)]);
        }
    }

    // f(j, element j) for those of this thread, in order.
    template <class F>
    MERAPI_F void each(F f) const {
        if (!all) {
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) f(j, rd(x[row.at(j)]));
            return;
        }
#pragma unroll
        for (int k = 0; k < kKept; k++) {
            const i64 j = threadIdx.x + (i64)k * blockDim.x;
            if (j < size) f(j, v[k]);
        }
    }

    // The same of two rows of one form.
    template <class F>
    MERAPI_F void with(const Kept& other, F f) const {
        if (!all) {
            for (i64 j = threadIdx.x; j < size; j += blockDim.x) f(j, rd(x[row.at(j)]), rd(other.x[row.at(j)]));
            return;
        }
#pragma unroll
        for (int k = 0; k < kKept; k++) {
            const i64 j = threadIdx.x + (i64)k * blockDim.x;
            if (j < size) f(j, v[k], other.v[k]);
        }
    }
};

// The largest element of a row, and the sum of the exponentials of what the others are less.
struct Exponentials {
    C largest, sum;
};
MERAPI_F Exponentials exponentials(const Kept& row) {
    C m = -infinity(C()), s = 0;
    if (row.all) {
        row.each([&](i64, C e) { m = op_max(m, e); });
        m = across(m, Largest());
        row.each([&](i64, C e) { s += op_exp(e - m); });
        return {m, across(s, Sum())};
    }
    // In one pass: what was summed up before a larger one came is made smaller.
    row.each([&](i64, C e) {
        const C larger = op_max(m, e);
        if (larger != m) s = m == -infinity(C()) ? C(0) : s * op_exp(m - larger);
        m = larger;
        if (e != -infinity(C())) s += op_exp(e - m);
    });
    const C all = across(m, Largest());
    if (m != all) s = m == -infinity(C()) ? C(0) : s * op_exp(m - all);
    return {all, across(s, Sum())};
}
MERAPI_F C weight_of(const T* w, i64 c) { return w ? rd(w[c]) : C(1); }
}  // namespace rows

// ---------------------------------------------------------------- softmax
extern "C" __global__ void __launch_bounds__(256, 2)
    softmax(const T* x, T* y, long long count, long long size, long long inner, int log) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, size, inner);
        const Kept in(x, row, size);
        const Exponentials of = exponentials(in);
        const C shift = op_log(of.sum);
        in.each([&](i64 j, C e) {
            const C v = e - of.largest;
            wr(y[row.at(j)], log ? v - shift : op_exp(v) / of.sum);
        });
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    softmax_backward(const T* g, const T* y, T* dx, long long count, long long size, long long inner, int log) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, size, inner);
        const Kept gradient(g, row, size), result(y, row, size);
        C s = 0;
        gradient.with(result, [&](i64, C d, C p) { s += log ? d : d * p; });
        s = across(s, Sum());
        gradient.with(result, [&](i64 j, C d, C p) { wr(dx[row.at(j)], log ? d - op_exp(p) * s : (d - s) * p); });
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    logsumexp(const T* x, T* y, long long count, long long size, long long inner) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Exponentials of = exponentials(Kept(x, Row(r, size, inner), size));
        if (threadIdx.x == 0) wr(y[r], op_isinf(of.largest) ? of.largest : of.largest + op_log(of.sum));
    }
}

// ---------------------------------------------------------------- layer norm; RMS norm is it without centring and bias
extern "C" __global__ void __launch_bounds__(256, 2)
    normalize(const T* x, const T* weight, const T* bias, T* y, rows::C* mean, rows::C* rstd, long long count,
              long long size, double eps) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Kept in(x, Row(r, size, 1), size);
        C m = 0;
        if (mean) {
            in.each([&](i64, C e) { m += e; });
            m = across(m, Sum()) / (C)size;
        }
        C square = 0;
        in.each([&](i64, C e) { square += (e - m) * (e - m); });
        const C scale = C(1) / op_sqrt(across(square, Sum()) / (C)size + (C)eps);
        in.each([&](i64 j, C e) {
            C v = (e - m) * scale;
            if (weight) v *= rd(weight[j]);
            if (bias) v += rd(bias[j]);
            wr(y[r * size + j], v);
        });
        if (threadIdx.x == 0) {
            if (mean) mean[r] = m;
            rstd[r] = scale;
        }
    }
}

extern "C" __global__ void __launch_bounds__(256, 2)
    normalize_backward(const T* g, const T* x, const T* weight, const rows::C* mean, const rows::C* rstd, T* dx,
                       long long count, long long size) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const i64 at = r * size;
        const C m = mean ? mean[r] : C(0), scale = rstd[r];
        const Row row(r, size, 1);
        const Kept gradient(g, row, size), in(x, row, size);
        C sum = 0, along = 0;
        gradient.with(in, [&](i64 j, C e, C v) {
            const C d = e * weight_of(weight, j);
            sum += d;
            along += d * (v - m) * scale;
        });
        sum = mean ? across(sum, Sum()) / (C)size : C(0);
        along = across(along, Sum()) / (C)size;
        gradient.with(in, [&](i64 j, C e, C v) {
            const C d = e * weight_of(weight, j);
            wr(dx[at + j], scale * (d - sum - (v - m) * scale * along));
        });
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
extern "C" __global__ void __launch_bounds__(256, 2)
    cross_entropy_rows(const T* x, const long long* targets, const T* weight, rows::C* lse, rows::C* loss,
                       rows::C* weights, long long count, long long classes, long long ignore, double smoothing,
                       merapi::Fault fault) {
    using namespace rows;
    for (i64 r = blockIdx.x; r < count; r += gridDim.x) {
        const Row row(r, classes, 1);
        const Kept in(x, row, classes);
        const Exponentials of = exponentials(in);
        const C l = of.largest + op_log(of.sum);
        const i64 target = targets[r];
        const bool counts = target != ignore && target >= 0 && target < classes;
        C spread = 0;
        if (smoothing != 0) {
            in.each([&](i64 c, C e) { spread += weight_of(weight, c) * (l - e); });
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
