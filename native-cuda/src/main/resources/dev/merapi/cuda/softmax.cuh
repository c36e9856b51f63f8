// SPDX-License-Identifier: Apache-2.0
// Softmax and the logarithm of its denominator.
extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    softmax(const T* x, T* y, long long count, long long size, long long inner, int lanes, int log) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, size, inner, lanes), x);
        const Exponentials of = exponentials(in, !log);
        const C shift = op_log(of.sum), scale = C(1) / of.sum;
        in.map(y, [&](Index, C(&v)[1][kPack], C(&out)[kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                if (log)
                    out[e] = v[0][e] - of.largest - shift;
                else
                    out[e] = (kKept > 0 ? v[0][e] : op_exp(v[0][e] - of.largest)) * scale;
            }
        });
    });
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    softmax_backward(const T* g, const T* y, T* dx, long long count, long long size, long long inner, int lanes,
                     int log) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<2> in(Row(r, alive, size, inner, lanes), g, y);
        C s = 0;
        in.each([&](Index, C(&v)[2][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) s += log ? v[0][e] : v[0][e] * v[1][e];
        });
        s = across(lanes, s, Sum());
        in.map(dx, [&](Index, C(&v)[2][kPack], C(&out)[kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) out[e] = log ? v[0][e] - op_exp(v[1][e]) * s : (v[0][e] - s) * v[1][e];
        });
    });
}

extern "C" __global__ void __launch_bounds__(512, rows::kBlocks)
    logsumexp(const T* x, T* y, long long count, long long size, long long inner, int lanes) {
    using namespace rows;
    each_row(count, lanes, [&](i64 r, bool alive) {
        Kept<1> in(Row(r, alive, size, inner, lanes), x);
        const Exponentials of = exponentials(in, false);
        if (in.row.lane == 0 && alive) wr(y[r], op_isinf(of.largest) ? of.largest : of.largest + op_log(of.sum));
    });
}
