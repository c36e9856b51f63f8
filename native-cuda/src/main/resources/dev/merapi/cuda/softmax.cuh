// SPDX-License-Identifier: Apache-2.0
// Softmax and the logarithm of its denominator, of rows, or of columns in [outer, size, inner].
namespace rows {
// Or its logarithm.
template <bool LOG>
MERAPI_F void softmax_of(const T* x, T* y, i64 count, i64 size, i64 inner, int lanes, int width) {
    each_row(count, lanes, width, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, size, inner, lanes, width), x);
        const Exponentials of = exponentials(in, !LOG);
        C last[kOwn];  // what is subtracted in the end, or multiplied by
#pragma unroll
        for (int i = 0; i < kOwn; i++) last[i] = LOG ? op_log(of.sum[i]) : C(1) / of.sum[i];
        in.map(y, [&](Index, C(&v)[1][kPack], C(&out)[kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                if (LOG)
                    out[e] = v[0][e] - of.largest[own(e)] - last[own(e)];
                else
                    out[e] = (kKept > 0 ? v[0][e] : op_exp(v[0][e] - of.largest[own(e)])) * last[own(e)];
            }
        });
    });
}

template <bool LOG>
MERAPI_F void softmax_gradient(const T* g, const T* y, T* dx, i64 count, i64 size, i64 inner, int lanes, int width) {
    each_row(count, lanes, width, [&](i64 r, bool alive) {
        Kept<2> in(Row(r, alive, size, inner, lanes, width), g, y);
        C s[kOwn];
#pragma unroll
        for (int i = 0; i < kOwn; i++) s[i] = 0;
        in.each([&](Index, C(&v)[2][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) s[own(e)] += LOG ? v[0][e] : v[0][e] * v[1][e];
        });
        in.row.across(s, Sum());
        in.map(dx, [&](Index, C(&v)[2][kPack], C(&out)[kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++)
                out[e] = LOG ? v[0][e] - op_exp(v[1][e]) * s[own(e)] : (v[0][e] - s[own(e)]) * v[1][e];
        });
    });
}
}  // namespace rows

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    softmax(const T* x, T* y, long long count, long long size, long long inner, int lanes, int width) {
    rows::softmax_of<false>(x, y, count, size, inner, lanes, width);
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    log_softmax(const T* x, T* y, long long count, long long size, long long inner, int lanes, int width) {
    rows::softmax_of<true>(x, y, count, size, inner, lanes, width);
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    softmax_backward(const T* g, const T* y, T* dx, long long count, long long size, long long inner, int lanes,
                     int width) {
    rows::softmax_gradient<false>(g, y, dx, count, size, inner, lanes, width);
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    log_softmax_backward(const T* g, const T* y, T* dx, long long count, long long size, long long inner, int lanes,
                         int width) {
    rows::softmax_gradient<true>(g, y, dx, count, size, inner, lanes, width);
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    logsumexp(const T* x, T* y, long long count, long long size, long long inner, int lanes, int width) {
    using namespace rows;
    each_row(count, lanes, width, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, size, inner, lanes, width), x);
        const Exponentials of = exponentials(in, false);
        if (in.row.lane == 0 && alive) {
#pragma unroll
            for (int i = 0; i < kOwn; i++) {
                const C m = of.largest[i];
                wr(y[r * kOwn + i], op_isinf(m) ? m : m + op_log(of.sum[i]));
            }
        }
    });
}
