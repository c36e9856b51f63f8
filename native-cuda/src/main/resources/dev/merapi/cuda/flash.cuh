// SPDX-License-Identifier: Apache-2.0
// softmax(scale·q·kᵀ + mask)·v and its gradients on tensor cores, for 16-bit types. T: storage; WIDTH: of a head, 32,
// 64 or 128. Lines of all tensors have stride 1 and begin at multiples of 16 bytes.
//
// A block owns 64 queries or 64 keys, a warp 16 of them, and goes over tiles of the other side. Scores never leave the
// registers: as results of one product lie in them, the next one wants its left operand. The gradient of the queries
// and those of keys and values are kernels of their own, which costs two products more than adding up dq in global
// memory would, and is deterministic.
namespace flash {
using namespace warps;

constexpr int kWidth = WIDTH, kPieces = kWidth / 8, kOwn = 64, kThreads = 128, kOther = kWidth == 128 ? 32 : 64;
constexpr int kDeep = kWidth / 16, kOwnBytes = kOwn * kWidth * 2, kOtherBytes = kOther * kWidth * 2;
constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

struct Strides {
    i64 b, h, t, d;
};
struct Problem {
    i64 batch, heads, queries, keys, width, causal;
    double scale;
    Strides q, k, v, out, grad, dq, dk, dv;

    // Whether all so many queries see all so many keys.
    MERAPI_F bool all(int i, int queriesHere, int j, int keysHere) const {
        return i + queriesHere <= queries && j + keysHere <= keysSeen(i);
    }
    // Keys that the queries before this one see: the first so many.
    MERAPI_F int keysBefore(int query) const {
        const i64 n = causal ? query + keys - queries : keys;
        return (int)max((i64)0, min(keys, n));
    }
    // Keys that a query sees: the first so many.
    MERAPI_F int keysSeen(int query) const { return query < queries ? keysBefore(query + 1) : 0; }
    // The first query that sees a key.
    MERAPI_F int firstQuery(int key) const { return causal ? (int)max((i64)0, key - (keys - queries)) : 0; }
};

// What a block works on.
struct Head {
    i64 b, h, index;
    int first;
    MERAPI_F Head(const Problem& p, i64 size, bool lastFirst) {
        const i64 heads = p.batch * p.heads, tiles = (size + kOwn - 1) / kOwn, tile = blockIdx.x / heads;
        index = blockIdx.x % heads;
        b = index / p.heads;
        h = index % p.heads;
        // Of causal problems the longest first.
        first = (int)(lastFirst ? tiles - 1 - tile : tile) * kOwn;
    }
    template <class U>
    MERAPI_F U* row(U* x, const Strides& s, int t) const {
        return x + b * s.b + h * s.h + t * s.t;
    }
};

// Tiles lie in lines of 16-byte pieces, permuted within a line so that eight lines' pieces lie in different banks.
MERAPI_F int place(int line, int piece) {
    return (line * kPieces + (piece ^ (kPieces == 4 ? line >> 1 & 3 : line & 7))) * 16;
}
MERAPI_F int lane() { return threadIdx.x % 32; }
// A register of two neighbours.
MERAPI_F u32 packed(float low, float high) {
    T x, y;
    wr(x, low);
    wr(y, high);
    return x.bits | (u32)y.bits << 16;
}

template <int LINES>
MERAPI_F void fetch(Copies& copies, unsigned char* tile, const T* from, i64 stride, int there) {
#pragma unroll
    for (int s = 0; s < LINES * kPieces / kThreads; s++) {
        const int e = threadIdx.x + s * kThreads, line = e / kPieces, piece = e % kPieces;
        const bool is = line < there;
        copies.add16(tile + place(line, piece), is ? from + line * stride + piece * 8 : from, is ? 16 : 0);
    }
}
// The left operand: 16 lines, 16 elements of the width.
MERAPI_F void left(FragmentA& r, const unsigned char* tile, int line, int deep) {
    load_matrices(r, tile + place(line + lane() % 16, deep * 2 + lane() / 16));
}
// s += own · otherᵀ for the warp's 16 lines.
template <int N>
MERAPI_F void scores(FragmentC (&s)[N / 8], const unsigned char* own, int line, const unsigned char* other) {
#pragma unroll
    for (int deep = 0; deep < kDeep; deep++) {
        FragmentA a;
        left(a, own, line, deep);
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            u32 b[4];
            load_matrices(b, other + place(n * 16 + lane() / 16 * 8 + lane() % 8, deep * 2 + lane() / 8 % 2));
            const FragmentB even = {b[0], b[1]}, odd = {b[2], b[3]};
            mma(T(), s[2 * n], a, even);
            mma(T(), s[2 * n + 1], a, odd);
        }
    }
}
// sums += p · other, p rounded to T.
template <int N>
MERAPI_F void add(FragmentC (&sums)[kWidth / 8], const FragmentC (&p)[N / 8], const unsigned char* other) {
#pragma unroll
    for (int deep = 0; deep < N / 16; deep++) {
        FragmentA a;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const FragmentC& from = p[2 * deep + e / 2];
            a[e] = packed(from[e % 2 * 2], from[e % 2 * 2 + 1]);
        }
#pragma unroll
        for (int n = 0; n < kWidth / 16; n++) {
            u32 b[4];
            const int line = deep * 16 + lane() / 8 % 2 * 8 + lane() % 8;
            load_matrices_transposed(b, other + place(line, n * 2 + lane() / 16));
            const FragmentB even = {b[0], b[1]}, odd = {b[2], b[3]};
            mma(T(), sums[2 * n], a, even);
            mma(T(), sums[2 * n + 1], a, odd);
        }
    }
}
template <int N>
MERAPI_F void clear(FragmentC (&s)[N]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = 0;
}
// The warp's 16 rows, by way of its lines of a tile; lane / 4 and eight more are the rows that a lane holds.
MERAPI_F void store(T* to, i64 stride, int there, unsigned char* tile, int line, const FragmentC (&sums)[kWidth / 8],
                    float upper, float lower) {
    const int g = lane() / 4, t = lane() % 4;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < kWidth / 8; n++) {
        *(u32*)(tile + place(line + g, n) + t * 4) = packed(sums[n][0] * upper, sums[n][1] * upper);
        *(u32*)(tile + place(line + g + 8, n) + t * 4) = packed(sums[n][2] * lower, sums[n][3] * lower);
    }
    __syncwarp();
#pragma unroll
    for (int s = 0; s < kPieces / 2; s++) {
        const int e = lane() + s * 32, r = line + e / kPieces, piece = e % kPieces;
        if (r < there) *(uint4*)(to + r * stride + piece * 8) = *(const uint4*)(tile + place(r, piece));
    }
}
}  // namespace flash

extern "C" __global__ void __launch_bounds__(128)
    flash_forward(const T* q, const T* k, const T* v, T* y, float* lse, const flash::Problem p) {
    using namespace flash;
    __shared__ __align__(128) unsigned char queries[3 * kOwnBytes];
    unsigned char *const keys = queries + kOwnBytes, *const values = keys + kOwnBytes;
    const Head head(p, p.queries, true);
    const int line = threadIdx.x / 32 * 16, g = lane() / 4, t = lane() % 4, there = (int)p.queries - head.first;
    const int end = p.keysBefore((int)min(p.queries, (i64)head.first + kOwn));
    const float scale = (float)p.scale * kLog2e;
    Copies copies;
    fetch<kOwn>(copies, queries, head.row(q, p.q, head.first), p.q.t, there);
    fetch<kOwn>(copies, keys, head.row(k, p.k, 0), p.k.t, end);
    copies.commit();
    FragmentC sums[kWidth / 8];
    clear(sums);
    float largest[2] = {-infinity(0.0f), -infinity(0.0f)}, total[2] = {0, 0};
#pragma unroll 1
    for (int j = 0; j < end; j += kOwn) {
        // Values come while scores are made, the next keys while values are added up.
        copies.wait<0>();
        __syncthreads();
        fetch<kOwn>(copies, values, head.row(v, p.v, j), p.v.t, end - j);
        copies.commit();
        FragmentC s[kOwn / 8];
        clear(s);
        scores<kOwn>(s, queries, line, keys);
        const bool whole = p.all(head.first + line, 16, j, kOwn);
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int i = head.first + line + g + h * 8;
            float top = largest[h];
#pragma unroll
            for (int n = 0; n < kOwn / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) s[n][e] *= scale;
            if (!whole) {
                const int seen = p.keysSeen(i) - j - t * 2;
#pragma unroll
                for (int n = 0; n < kOwn / 8; n++)
#pragma unroll
                    for (int e = 2 * h; e < 2 * h + 2; e++) {
                        if (n * 8 + e % 2 >= seen) s[n][e] = -infinity(0.0f);
                    }
            }
#pragma unroll
            for (int n = 0; n < kOwn / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) top = fmaxf(top, s[n][e]);
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
            top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
            const float base = top == -infinity(0.0f) ? 0.0f : top, fade = exp2f(largest[h] - base);
            largest[h] = top;
            float sum = 0;
#pragma unroll
            for (int n = 0; n < kOwn / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) sum += s[n][e] = exp2f(s[n][e] - base);
            total[h] = total[h] * fade + sum;
#pragma unroll
            for (int n = 0; n < kWidth / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) sums[n][e] *= fade;
        }
        copies.wait<0>();
        __syncthreads();
        if (j + kOwn < end) fetch<kOwn>(copies, keys, head.row(k, p.k, j + kOwn), p.k.t, end - j - kOwn);
        copies.commit();
        add<kOwn>(sums, s, values);
    }
    copies.wait<0>();
    float shares[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float sum = total[h] + __shfl_xor_sync(0xffffffffu, total[h], 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        shares[h] = sum > 0 ? 1 / sum : 0.0f;
        const int r = line + g + h * 8;
        if (t == 0 && r < there) {
            lse[head.index * p.queries + head.first + r] = sum > 0 ? (largest[h] + log2f(sum)) * kLn2 : -infinity(0.0f);
        }
    }
    __syncthreads();
    store(head.row(y, p.out, head.first), p.out.t, there, queries, line, sums, shares[0], shares[1]);
}

// Of each query: the gradient times the result, summed. A thread takes 8 of the width.
extern "C" __global__ void __launch_bounds__(256)
    flash_backward_inner(const T* grad, const T* y, float* inner, const flash::Problem p) {
    using namespace flash;
    const i64 rows = p.batch * p.heads * p.queries, step = (i64)gridDim.x * (256 / kPieces);
    const int piece = threadIdx.x % kPieces;
    for (i64 first = (i64)blockIdx.x * (256 / kPieces); first < rows; first += step) {
        const i64 r = first + threadIdx.x / kPieces;
        float sum = 0;
        if (r < rows) {
            const i64 i = r % p.queries, h = r / p.queries % p.heads, b = r / p.queries / p.heads;
            const T* pg = grad + b * p.grad.b + h * p.grad.h + i * p.grad.t + piece * 8;
            const T* py = y + b * p.out.b + h * p.out.h + i * p.out.t + piece * 8;
            const Pack<T, 8> vg = *(const Pack<T, 8>*)pg, vy = *(const Pack<T, 8>*)py;
#pragma unroll
            for (int e = 0; e < 8; e++) sum = op_fma(rd(vg.v[e]), rd(vy.v[e]), sum);
        }
        for (int o = kPieces / 2; o > 0; o >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, o);
        if (r < rows && piece == 0) inner[r] = sum;
    }
}

namespace flash {
// What the backward kernels hold of the other side, twice: one tile comes while the other is worked on.
constexpr int kStageBytes = 2 * kOtherBytes + 2 * kOther * 4;

// Shared memory of theirs, as much as the launch says: two tiles of the block's own side, and two stages.
MERAPI_F unsigned char* stages() {
    extern __shared__ __align__(128) unsigned char memory[];
    return memory;
}
// Of each query of a tile: log-sum-exp, and what flash_backward_inner makes.
MERAPI_F float* numbers(unsigned char* stage) { return (float*)(stage + 2 * kOtherBytes); }

MERAPI_F void fetch_numbers(Copies& copies, unsigned char* stage, const float* lse, const float* inner, int there) {
    const int which = threadIdx.x / kOther, i = threadIdx.x % kOther;
    if (which > 1) return;
    const float* from = which == 0 ? lse : inner;
    copies.add4(numbers(stage) + threadIdx.x, i < there ? from + i : from, i < there ? 4 : 0);
}

// p = exp(scores − lse) and ds = p·(dp − inner) for the warp's 16 lines and the tile's kOther columns. Rows are queries
// and columns keys, or the other way round. lse(n, e) and inner(n, e) are those of the query of an element.
template <bool KEYS, class L, class I>
MERAPI_F void slopes(FragmentC (&s)[kOther / 8], FragmentC (&ds)[kOther / 8], const Problem& p, L lse, I inner, int row,
                     int column) {
    const int g = lane() / 4, t = lane() % 4;
    const float scale = (float)p.scale * kLog2e;
    const bool whole = KEYS ? p.all(column, kOther, row, 16) : p.all(row, 16, column, kOther);
#pragma unroll
    for (int n = 0; n < kOther / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) s[n][e] = exp2f(op_fma(s[n][e], scale, lse(n, e) * -kLog2e));
    if (!whole) {
        const int end = (int)p.queries - column - t * 2;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            // Of a row: the first query that sees it, or the end of the keys that it sees.
            const int r = row + g + h * 8;
            const int edge = (!KEYS ? p.keysSeen(r) : r < p.keys ? p.firstQuery(r) : (int)p.queries) - column - t * 2;
#pragma unroll
            for (int n = 0; n < kOther / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    const int c = n * 8 + e % 2;
                    if (KEYS ? c < edge || c >= end : c >= edge) s[n][e] = 0;
                }
        }
    }
#pragma unroll
    for (int n = 0; n < kOther / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) ds[n][e] = s[n][e] > 0 ? s[n][e] * (ds[n][e] - inner(n, e)) : 0.0f;
}
}  // namespace flash

extern "C" __global__ void __launch_bounds__(128)
    flash_backward_queries(const T* grad, const T* q, const T* k, const T* v, const float* lse, const float* inner,
                           T* dq, const flash::Problem p) {
    using namespace flash;
    unsigned char *const queries = stages(), *const grads = queries + kOwnBytes, *stage = grads + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const Head head(p, p.queries, true);
    const int line = threadIdx.x / 32 * 16, there = (int)p.queries - head.first;
    const int end = p.keysBefore((int)min(p.queries, (i64)head.first + kOwn));
    float lses[2], inners[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int r = line + lane() / 4 + h * 8;
        const i64 at = head.index * p.queries + head.first + r;
        lses[h] = r < there ? lse[at] : 0.0f;
        inners[h] = r < there ? inner[at] : 0.0f;
    }
    Copies copies;
    const auto fetch_stage = [&](unsigned char* to, int j) {
        fetch<kOther>(copies, to, head.row(k, p.k, j), p.k.t, end - j);
        fetch<kOther>(copies, to + kOtherBytes, head.row(v, p.v, j), p.v.t, end - j);
        copies.commit();
    };
    fetch<kOwn>(copies, queries, head.row(q, p.q, head.first), p.q.t, there);
    fetch<kOwn>(copies, grads, head.row(grad, p.grad, head.first), p.grad.t, there);
    fetch_stage(stage, 0);
    FragmentC sums[kWidth / 8];
    clear(sums);
#pragma unroll 1
    for (int j = 0; j < end; j += kOther) {
        copies.wait<0>();
        __syncthreads();  // it is there, and nobody works on the other one any more
        if (j + kOther < end) fetch_stage(next, j + kOther);
        FragmentC s[kOther / 8], ds[kOther / 8];
        clear(s);
        clear(ds);
        scores<kOther>(s, queries, line, stage);
        scores<kOther>(ds, grads, line, stage + kOtherBytes);
        slopes<false>(
            s, ds, p, [&](int, int e) { return lses[e / 2]; }, [&](int, int e) { return inners[e / 2]; },
            head.first + line, j);
        add<kOther>(sums, ds, stage);
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.wait<0>();
    __syncthreads();
    const float scale = (float)p.scale;
    store(head.row(dq, p.dq, head.first), p.dq.t, there, queries, line, sums, scale, scale);
}

extern "C" __global__ void __launch_bounds__(128)
    flash_backward_keys(const T* grad, const T* q, const T* k, const T* v, const float* lse, const float* inner, T* dk,
                        T* dv, const flash::Problem p) {
    using namespace flash;
    unsigned char *const keys = stages(), *const values = keys + kOwnBytes, *stage = values + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const Head head(p, p.keys, false);
    const int line = threadIdx.x / 32 * 16, there = (int)p.keys - head.first, t = lane() % 4;
    const int end = (int)p.queries, first = p.firstQuery(head.first) / kOther * kOther;
    const i64 at = head.index * p.queries;
    Copies copies;
    const auto fetch_stage = [&](unsigned char* to, int i) {
        fetch<kOther>(copies, to, head.row(q, p.q, i), p.q.t, end - i);
        fetch<kOther>(copies, to + kOtherBytes, head.row(grad, p.grad, i), p.grad.t, end - i);
        fetch_numbers(copies, to, lse + at + i, inner + at + i, end - i);
        copies.commit();
    };
    fetch<kOwn>(copies, keys, head.row(k, p.k, head.first), p.k.t, there);
    fetch<kOwn>(copies, values, head.row(v, p.v, head.first), p.v.t, there);
    if (first < end) fetch_stage(stage, first);
    FragmentC sumsK[kWidth / 8], sumsV[kWidth / 8];
    clear(sumsK);
    clear(sumsV);
#pragma unroll 1
    for (int i = first; i < end; i += kOther) {
        copies.wait<0>();
        __syncthreads();  // it is there, and nobody works on the other one any more
        if (i + kOther < end) fetch_stage(next, i + kOther);
        FragmentC s[kOther / 8], ds[kOther / 8];
        clear(s);
        clear(ds);
        scores<kOther>(s, keys, line, stage);
        scores<kOther>(ds, values, line, stage + kOtherBytes);
        const float* const lses = numbers(stage) + t * 2;
        slopes<true>(
            s, ds, p, [&](int n, int e) { return lses[n * 8 + e % 2]; },
            [&](int n, int e) { return lses[kOther + n * 8 + e % 2]; }, head.first + line, i);
        add<kOther>(sumsV, s, stage + kOtherBytes);
        add<kOther>(sumsK, ds, stage);
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.commit();
    copies.wait<0>();
    __syncthreads();
    const float scale = (float)p.scale;
    store(head.row(dk, p.dk, head.first), p.dk.t, there, keys, line, sumsK, scale, scale);
    store(head.row(dv, p.dv, head.first), p.dv.t, there, values, line, sumsV, 1, 1);
}
