// SPDX-License-Identifier: Apache-2.0
// Layer norm; RMS norm is it without centring and bias.
namespace rows {
// The mean of a row, 0 if it is not asked for, and the sum of the squared distances from it.
struct Moments {
    C mean, square;
};
MERAPI_F Moments moments(Kept<1>& in, bool centred, i64 size) {
    const int lanes = in.row.lanes;
    C n = 0, m = 0, square = 0;
    if (kKept == 0 && centred) {
        // In one pass: a pack joins those before it, and a thread the others.
        in.each([&](Index, C(&v)[1][kPack]) {
            C mean = 0;
#pragma unroll
            for (int e = 0; e < kPack; e++) mean += v[0][e];
            mean /= kPack;
            const C all = n + kPack, d = mean - m, share = kPack / all;
#pragma unroll
            for (int e = 0; e < kPack; e++) square += (v[0][e] - mean) * (v[0][e] - mean);
            square += d * d * n * share;
            m += d * share;
            n = all;
        });
        const C mean = across(lanes, n * m, Sum()) / (C)size;
        return {mean, across(lanes, square + n * (m - mean) * (m - mean), Sum())};
    }
    if (centred) {
        in.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) m += v[0][e];
        });
        m = across(lanes, m, Sum()) / (C)size;
    }
    in.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
        for (int e = 0; e < kPack; e++) square += (v[0][e] - m) * (v[0][e] - m);
    });
    return {m, across(lanes, square, Sum())};
}
}  // namespace rows

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    normalize(const T* x, const T* weight, const T* bias, T* y, rows::C* mean, rows::C* rstd, long long count,
              long long size, int lanes, double eps) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, size, lanes), x);
        const Moments of = moments(in, mean != 0, size);
        const C m = of.mean;
        const C scale = C(1) / op_sqrt(of.square / (C)size + (C)eps);
        in.map(y, [&](Index j, C(&v)[1][kPack], C(&out)[kPack]) {
            C w[kPack], b[kPack];
            read(weight, j, C(1), w);
            read(bias, j, C(0), b);
#pragma unroll
            for (int e = 0; e < kPack; e++) out[e] = (v[0][e] - m) * scale * w[e] + b[e];
        });
        if (in.row.lane == 0 && alive) {
            if (mean) mean[r] = m;
            rstd[r] = scale;
        }
    });
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    normalize_backward(const T* g, const T* x, const T* weight, const rows::C* mean, const rows::C* rstd, T* dx,
                       long long count, long long size, int lanes) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<2> in(Row(r, alive, size, lanes), g, x);
        const C m = mean && alive ? mean[r] : C(0), scale = alive ? rstd[r] : C(0);
        C sum = 0, along = 0;
        in.each([&](Index j, C(&v)[2][kPack]) {
            C w[kPack];
            read(weight, j, C(1), w);
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                const C d = v[0][e] * w[e], z = (v[1][e] - m) * scale;
                sum += d;
                along += d * z;
                if (kKept > 0) v[0][e] = d, v[1][e] = z;
            }
        });
        sum = mean ? across(lanes, sum, Sum()) / (C)size : C(0);
        along = across(lanes, along, Sum()) / (C)size;
        in.map(dx, [&](Index j, C(&v)[2][kPack], C(&out)[kPack]) {
            if constexpr (kKept == 0) {
                C w[kPack];
                read(weight, j, C(1), w);
#pragma unroll
                for (int e = 0; e < kPack; e++) v[0][e] *= w[e], v[1][e] = (v[1][e] - m) * scale;
            }
#pragma unroll
            for (int e = 0; e < kPack; e++) out[e] = scale * (v[0][e] - sum - v[1][e] * along);
        });
    });
}

// Sums over rows: each block takes 32 packs of columns of one chunk of rows, and leaves [chunks, size] of them.
extern "C" __global__ void __launch_bounds__(256)
    normalize_backward_parameters(const T* g, const T* x, const rows::C* mean, const rows::C* rstd, rows::C* weights,
                                  rows::C* biases, long long count, long long size, long long chunk) {
    using namespace rows;
    __shared__ C a[kPack][8][32], b[kPack][8][32];
    const int tx = threadIdx.x % 32, ty = threadIdx.x / 32;
    const i64 column = ((i64)blockIdx.x * 32 + tx) * kPack;
    const i64 end = min((i64)(blockIdx.y + 1) * chunk, (i64)count);
    C w[kPack], s[kPack];
#pragma unroll
    for (int e = 0; e < kPack; e++) w[e] = s[e] = 0;
    if (column < size) {
#pragma unroll 4
        for (i64 r = blockIdx.y * chunk + ty; r < end; r += 8) {
            C d[kPack], v[kPack];
            read(g + r * size + column, d);
            read(x + r * size + column, v);
            const C m = mean ? mean[r] : C(0), scale = rstd[r];
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                w[e] += d[e] * (v[e] - m) * scale;
                s[e] += d[e];
            }
        }
    }
#pragma unroll
    for (int e = 0; e < kPack; e++) {
        a[e][ty][tx] = w[e];
        b[e][ty][tx] = s[e];
    }
    __syncthreads();
    if (ty == 0 && column < size) {
#pragma unroll
        for (int e = 0; e < kPack; e++) {
            for (int i = 1; i < 8; i++) {
                w[e] += a[e][i][tx];
                s[e] += b[e][i][tx];
            }
            if (weights) weights[blockIdx.y * size + column + e] = w[e];
            if (biases) biases[blockIdx.y * size + column + e] = s[e];
        }
    }
}

// The chunks of 32 columns.
extern "C" __global__ void __launch_bounds__(256)
    sum_chunks(const rows::C* parts, T* y, long long chunks, long long size) {
    using namespace rows;
    __shared__ C a[8][32];
    const int tx = threadIdx.x % 32, ty = threadIdx.x / 32;
    const i64 column = (i64)blockIdx.x * 32 + tx;
    C s = 0;
    if (column < size) {
#pragma unroll 8
        for (i64 r = ty; r < chunks; r += 8) s += parts[r * size + column];
    }
    a[ty][tx] = s;
    __syncthreads();
    if (ty == 0 && column < size) {
        for (int i = 1; i < 8; i++) s += a[i][tx];
        wr(y[column], s);
    }
}
