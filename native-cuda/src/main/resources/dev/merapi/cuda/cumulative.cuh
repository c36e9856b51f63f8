// SPDX-License-Identifier: Apache-2.0
// Of all elements of a lane up to and with each one: products, logarithms of sums of exponentials, extremes. T: storage,
// Y: of the results. KIND: 0 product, 1 logarithm of a sum of exponentials, 2 largest, 3 smallest.
//
// A lane belongs to a team: a row of threads of the block, which is a warp, or the whole block. It goes over the lane tile
// by tile, and carries what was so far from one to the next.
namespace cumulative {
using namespace merapi;

struct Lanes {
    i64 lanes, n, inner;
};

typedef decltype(rd(Y()) + 0) V;  // of bool an int, which threads can exchange

#if KIND < 2
struct State {
    V v;
};
MERAPI_F State nothing() { return {KIND == 0 ? V(1) : V(-INFINITY)}; }
MERAPI_F State element(const T* x, i64 at, i64) { return {(V)rd(x[at])}; }
MERAPI_F State join(const State& a, const State& b) {
#if KIND == 0
    return {a.v * b.v};
#else
    const V high = a.v > b.v || a.v != a.v ? a.v : b.v;
    if (high - high != 0) return {high};  // infinite, or not a number
    return {high + op_log1p(op_exp(-op_abs(a.v - b.v)))};
#endif
}
MERAPI_F State up(const State& s, int by) { return {__shfl_up_sync(0xffffffffu, s.v, by)}; }
MERAPI_F State from(const State& s, int lane) { return {__shfl_sync(0xffffffffu, s.v, lane)}; }
#else
struct State {
    V v;
    i64 at;  // -1: none
};
MERAPI_F State nothing() { return {V(0), -1}; }
MERAPI_F State element(const T* x, i64 at, i64 j) { return {rd(x[at]), j}; }
MERAPI_F State join(const State& a, const State& b) {
    if (a.at < 0) return b;
    if (b.at < 0) return a;
    if (b.v != b.v) return b;
    if (a.v != a.v) return a;
    return (KIND == 2 ? b.v >= a.v : b.v <= a.v) ? b : a;
}
MERAPI_F State up(const State& s, int by) {
    return {__shfl_up_sync(0xffffffffu, s.v, by), __shfl_up_sync(0xffffffffu, s.at, by)};
}
MERAPI_F State from(const State& s, int lane) {
    return {__shfl_sync(0xffffffffu, s.v, lane), __shfl_sync(0xffffffffu, s.at, lane)};
}
#endif

// What the threads of the team up to and with this one have; `all`: all of them.
MERAPI_F State so_far(State mine, State& all) {
    for (int by = 1; by < 32; by *= 2) {
        const State other = up(mine, by);
        if (threadIdx.x % 32 >= by) mine = join(other, mine);
    }
    all = from(mine, 31);
    if (blockDim.x == 32) return mine;
    __shared__ State warps[8];
    __syncthreads();  // what the tile before left may still be read
    if (threadIdx.x % 32 == 31) warps[threadIdx.x / 32] = mine;
    __syncthreads();
    all = nothing();
    State ahead = nothing();
    for (int w = 0; w < 8; w++) {
        if (w == threadIdx.x / 32) ahead = all;
        all = join(all, warps[w]);
    }
    return join(ahead, mine);
}
}  // namespace cumulative

// indices: null but for extremes.
extern "C" __global__ void __launch_bounds__(256)
    cumulate(const T* x, Y* y, long long* indices, const cumulative::Lanes s) {
    using namespace cumulative;
    for (i64 lane = (i64)blockIdx.x * blockDim.y + threadIdx.y; lane < s.lanes; lane += (i64)gridDim.x * blockDim.y) {
        const i64 base = lane / s.inner * s.n * s.inner + lane % s.inner;
        State carry = nothing();
        for (i64 tile = 0; tile < s.n; tile += blockDim.x) {
            const i64 j = tile + threadIdx.x, at = base + j * s.inner;
            State all;
            const State here = join(carry, so_far(j < s.n ? element(x, at, j) : nothing(), all));
            if (j < s.n) {
                wr(y[at], here.v);
#if KIND >= 2
                indices[at] = here.at;
#endif
            }
            carry = join(carry, all);
        }
    }
}
