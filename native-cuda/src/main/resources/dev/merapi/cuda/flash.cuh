// SPDX-License-Identifier: Apache-2.0
// softmax(scale·q·kᵀ + mask)·v and its gradients on tensor cores, for 16-bit types. T: storage; WIDTH: of a head, 32,
// 64 or 128. Lines of all tensors have stride 1 and begin at multiples of 16 bytes.
//
// A block owns 64 queries or 64 keys, a warp 16 of them, and goes over stages of the other side, 32 lines at a time; in the
// forward kernel a warp has 32 queries where registers suffice, so that what it reads of keys and values serves twice as
// many. Scores never leave the registers: as results of one product lie in them, the next one wants its left operand. The
// gradient of the queries and those of keys and values are kernels of their own, which costs two products more than adding
// up dq in global memory would, and is deterministic. The scale is positive.
namespace flash {
using namespace warps;

constexpr int kWidth = WIDTH, kPieces = kWidth / 8, kOwn = 64, kThreads = 128, kOther = kWidth == 128 ? 32 : 64;
// Groups of 16 queries of a warp in the forward kernel, whose blocks own kRows; lines of a stage that are worked on at once.
constexpr int kGroups = kWidth == 128 ? 1 : 2, kRows = kOwn * kGroups, kPart = 32;
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
        return i + queriesHere <= (int)queries && j + keysHere <= keysSeen(i);
    }
    // Keys that the queries before this one see: the first so many.
    MERAPI_F int keysBefore(int query) const {
        const int n = causal ? query + (int)keys - (int)queries : (int)keys;
        return max(0, min((int)keys, n));
    }
    // Keys that a query sees: the first so many.
    MERAPI_F int keysSeen(int query) const { return query < (int)queries ? keysBefore(query + 1) : 0; }
    // The first query that sees a key.
    MERAPI_F int firstQuery(int key) const { return causal ? max(0, key - (int)(keys - queries)) : 0; }
};

// What a block works on. A grid's blocks, and so heads and tiles, are fewer than 2^31.
struct Head {
    int b, h, index, first;
    MERAPI_F Head(const Problem& p, i64 size, int own, bool lastFirst) {
        const u32 heads = (u32)(p.batch * p.heads), tiles = ((u32)size + own - 1) / own, tile = blockIdx.x / heads;
        index = blockIdx.x - tile * heads;
        b = (u32)index / (u32)p.heads;
        h = index - b * (int)p.heads;
        // Of causal problems the longest first.
        first = (lastFirst ? tiles - 1 - tile : tile) * own;
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
// Where a lane finds its line of 16 lines' first 32 bytes: for what is read as it lies by rows, or transposed by columns;
// and as the right operand. 32 bytes further on is the same place but for one bit, 16 lines further a distance.
MERAPI_F int inRows() { return place(lane() % 16, lane() / 16); }
MERAPI_F int inColumns() { return place(lane() / 16 * 8 + lane() % 8, lane() / 8 % 2); }
constexpr int kGroupBytes = 16 * kWidth * 2;

template <int LINES>
MERAPI_F void fetch(Copies& copies, unsigned char* tile, const T* from, i64 stride, int there) {
    constexpr int kStep = kThreads / kPieces;  // a multiple of the lines after which permutations repeat
    const int line = threadIdx.x / kPieces, piece = threadIdx.x % kPieces;
    unsigned char* const to = tile + place(line, piece);
    const T* at = from + line * stride + piece * 8;
#pragma unroll
    for (int s = 0; s < LINES / kStep; s++) {
        const bool is = line + s * kStep < there;
        copies.add16(to + s * kStep * kPieces * 16, is ? at : from, is ? 16 : 0);
        at += kStep * stride;
    }
}
template <int N, int G>
MERAPI_F void clear(FragmentC (&s)[G][N]) {
#pragma unroll
    for (int at = 0; at < G * N * 4; at++) s[at / 4 / N][at / 4 % N][at % 4] = 0;
}
// A warp's groups of 16 lines of its own side, as left operands: in registers all the time, or read at each use.
template <int G, bool HELD>
struct Own {
    const unsigned char* const lines;
    FragmentA held[HELD ? G : 1][HELD ? kDeep : 1];

    MERAPI_F Own(const unsigned char* tile, int line) : lines(tile + line * kWidth * 2) {
        if constexpr (HELD) {
#pragma unroll
            for (int i = 0; i < G; i++)
#pragma unroll
                for (int deep = 0; deep < kDeep; deep++) read(held[i][deep], i, deep);
        }
    }
    MERAPI_F void read(FragmentA& r, int i, int deep) const {
        load_matrices(r, lines + i * kGroupBytes + (inRows() ^ deep * 32));
    }
    MERAPI_F void get(FragmentA& r, int i, int deep) const {
        if constexpr (HELD) {
#pragma unroll
            for (int e = 0; e < 4; e++) r[e] = held[i][deep][e];
        } else {
            read(r, i, deep);
        }
    }
};
// s = own · otherᵀ.
template <int G, bool HELD>
MERAPI_F void scores(FragmentC (&s)[G][kPart / 8], const Own<G, HELD>& own, const unsigned char* other) {
    clear(s);
#pragma unroll
    for (int deep = 0; deep < kDeep; deep++) {
        FragmentA a[G];
#pragma unroll
        for (int i = 0; i < G; i++) own.get(a[i], i, deep);
#pragma unroll
        for (int n = 0; n < kPart / 16; n++) {
            u32 b[4];
            load_matrices(b, other + n * kGroupBytes + (inColumns() ^ deep * 32));
            const FragmentB even = {b[0], b[1]}, odd = {b[2], b[3]};
#pragma unroll
            for (int i = 0; i < G; i++) {
                mma(T(), s[i][2 * n], a[i], even);
                mma(T(), s[i][2 * n + 1], a[i], odd);
            }
        }
    }
}
// sums += p · other, p rounded to T.
template <int G>
MERAPI_F void add(FragmentC (&sums)[G][kWidth / 8], const FragmentC (&p)[G][kPart / 8], const unsigned char* other) {
    FragmentA a[kPart / 16][G];
#pragma unroll
    for (int at = 0; at < kPart / 16 * G * 4; at++) {
        const int deep = at / 4 / G, i = at / 4 % G, e = at % 4;
        const FragmentC& from = p[i][2 * deep + e / 2];
        a[deep][i][e] = packed(T(), from[e % 2 * 2], from[e % 2 * 2 + 1]);
    }
#pragma unroll
    for (int at = 0; at < kPart / 16 * (kWidth / 16); at++) {
        const int deep = at / (kWidth / 16), n = at % (kWidth / 16);
        u32 b[4];
        load_matrices_transposed(b, other + deep * kGroupBytes + (inRows() ^ n * 32));
        const FragmentB even = {b[0], b[1]}, odd = {b[2], b[3]};
#pragma unroll
        for (int i = 0; i < G; i++) {
            mma(T(), sums[i][2 * n], a[deep][i], even);
            mma(T(), sums[i][2 * n + 1], a[deep][i], odd);
        }
    }
}
// The warp's 16 rows, by way of its lines of a tile; lane / 4 and eight more are the rows that a lane holds.
MERAPI_F void store(T* to, i64 stride, int there, unsigned char* tile, int line, const FragmentC (&sums)[kWidth / 8],
                    float upper, float lower) {
    const int g = lane() / 4, t = lane() % 4;
    __syncwarp();
#pragma unroll
    for (int n = 0; n < kWidth / 8; n++) {
        *(u32*)(tile + place(line + g, n) + t * 4) = packed(T(), sums[n][0] * upper, sums[n][1] * upper);
        *(u32*)(tile + place(line + g + 8, n) + t * 4) = packed(T(), sums[n][2] * lower, sums[n][3] * lower);
    }
    __syncwarp();
#pragma unroll
    for (int s = 0; s < kPieces / 2; s++) {
        const int e = lane() + s * 32, r = line + e / kPieces, piece = e % kPieces;
        if (r < there) *(uint4*)(to + r * stride + piece * 8) = *(const uint4*)(tile + place(r, piece));
    }
}

// Of a group's queries, from `query` on, and the tile's keys, from `key` on: scores to weights relative to the largest so
// far, which is kept times scale; what was summed before fades by as much as that grew.
MERAPI_F void weigh(FragmentC (&s)[kPart / 8], FragmentC (&sums)[kWidth / 8], float (&largest)[2], float (&total)[2],
                    const Problem& p, int query, int key) {
    const int g = lane() / 4, t = lane() % 4;
    const float scale = (float)p.scale * kLog2e;
    if (!p.all(query, 16, key, kPart)) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int seen = p.keysSeen(query + g + h * 8) - key - t * 2;
#pragma unroll
            for (int n = 0; n < kPart / 8; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    if (n * 8 + e >= seen) s[n][2 * h + e] = -infinity(0.0f);
                }
        }
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = -infinity(0.0f);
#pragma unroll
        for (int n = 0; n < kPart / 8; n++) top = fmaxf(top, fmaxf(s[n][2 * h], s[n][2 * h + 1]));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
        top = fmaxf(largest[h], top * scale);
        const float base = top == -infinity(0.0f) ? 0.0f : top, fade = quick_exp2(largest[h] - base);
        largest[h] = top;
        float sum = base - base;  // NaN for what float32 cannot hold
#pragma unroll
        for (int n = 0; n < kPart / 8; n++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) sum += s[n][e] = quick_exp2(op_fma(s[n][e], scale, -base));
        total[h] = op_fma(total[h], fade, sum);
        // Rare once a few tiles have been seen.
        if (__any_sync(0xffffffffu, fade != 1)) {
#pragma unroll
            for (int n = 0; n < kWidth / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) sums[n][e] *= fade;
        }
    }
}
}  // namespace flash

extern "C" __global__ void __launch_bounds__(128)
    flash_forward(const T* q, const T* k, const T* v, T* y, float* lse, const flash::Problem p) {
    using namespace flash;
    __shared__ __align__(128) unsigned char queries[kGroups * kOwnBytes + 4 * kOtherBytes];
    unsigned char *stage = queries + kGroups * kOwnBytes, *next = stage + 2 * kOtherBytes;
    const Head head(p, p.queries, kRows, true);
    const int line = threadIdx.x / 32 * 16 * kGroups, there = (int)p.queries - head.first;
    const int end = p.keysBefore(min((int)p.queries, head.first + kRows));
    // By the warp's own queries.
    const int seen = p.keysBefore(min((int)p.queries, head.first + line + 16 * kGroups));
    Copies copies;
    const auto fetch_stage = [&](unsigned char* to, int j) {
        fetch<kOther>(copies, to, head.row(k, p.k, j), p.k.t, end - j);
        fetch<kOther>(copies, to + kOtherBytes, head.row(v, p.v, j), p.v.t, end - j);
        copies.commit();
    };
    fetch<kRows>(copies, queries, head.row(q, p.q, head.first), p.q.t, there);
    fetch_stage(stage, 0);
    copies.wait<0>();
    __syncthreads();
    const Own<kGroups, true> own(queries, line);
    FragmentC sums[kGroups][kWidth / 8];
    clear(sums);
    float largest[kGroups][2], total[kGroups][2];
#pragma unroll
    for (int i = 0; i < kGroups; i++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            largest[i][h] = -infinity(0.0f);
            total[i][h] = 0;
        }
#pragma unroll 1
    for (int j = 0; j < end; j += kOther) {
        copies.wait<0>();
        __syncthreads();  // it is there, and nobody works on the other one any more
        if (j + kOther < end) fetch_stage(next, j + kOther);
#pragma unroll 1
        for (int part = 0; part < kOther && j + part < seen; part += kPart) {
            const unsigned char* const keys = stage + part * kWidth * 2;
            FragmentC s[kGroups][kPart / 8];
            scores(s, own, keys);
#pragma unroll
            for (int i = 0; i < kGroups; i++) {
                weigh(s[i], sums[i], largest[i], total[i], p, head.first + line + 16 * i, j + part);
            }
            add(sums, s, keys + kOtherBytes);
        }
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.wait<0>();
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
        float shares[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = total[i][h] + __shfl_xor_sync(0xffffffffu, total[i][h], 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            shares[h] = sum == 0 ? 0.0f : 1 / sum;
            const int r = line + 16 * i + lane() / 4 + h * 8;
            if (lane() % 4 == 0 && r < there) {
                lse[head.index * p.queries + head.first + r] =
                    sum == 0 ? -infinity(0.0f) : (largest[i][h] + log2f(sum)) * kLn2;
            }
        }
        store(head.row(y, p.out, head.first), p.out.t, there, queries, line + 16 * i, sums[i], shares[0], shares[1]);
    }
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
// Whether what the block owns stays in registers.
constexpr bool kHeld = kWidth <= 64;
constexpr int kStageBytes = 2 * kOtherBytes + 2 * kOther * 4;

// Shared memory of theirs, as much as the launch says: two tiles of the block's own side, and two stages.
MERAPI_F unsigned char* stages() {
    extern __shared__ __align__(128) unsigned char memory[];
    return memory;
}
// Of each query of a tile: log-sum-exp, and what flash_backward_inner makes.
MERAPI_F float* numbers(unsigned char* stage) { return (float*)(stage + 2 * kOtherBytes); }

// A lane's, of the query of an element of its.
MERAPI_F float at(const float* numbers, int n, int e) {
    const float2 pair = *(const float2*)(numbers + n * 8);
    return e % 2 ? pair.y : pair.x;
}

MERAPI_F void fetch_numbers(Copies& copies, unsigned char* stage, const float* lse, const float* inner, int there) {
    const int which = threadIdx.x / kOther, i = threadIdx.x % kOther;
    if (which > 1) return;
    const float* from = which == 0 ? lse : inner;
    copies.add4(numbers(stage) + threadIdx.x, i < there ? from + i : from, i < there ? 4 : 0);
}

// p = exp(scores − lse) and ds = p·(dp − inner) for the warp's 16 lines and kPart columns. Rows are queries
// and columns keys, or the other way round. lse(n, e) and inner(n, e) are those of the query of an element.
template <bool KEYS, class L, class I>
MERAPI_F void slopes(FragmentC (&s)[kPart / 8], FragmentC (&ds)[kPart / 8], const Problem& p, L lse, I inner, int row,
                     int column) {
    const int g = lane() / 4, t = lane() % 4;
    const float scale = (float)p.scale * kLog2e;
    const bool whole = KEYS ? p.all(column, kPart, row, 16) : p.all(row, 16, column, kPart);
#pragma unroll
    for (int n = 0; n < kPart / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            s[n][e] = quick_exp2(op_fma(s[n][e], scale, lse(n, e) * -kLog2e));
            ds[n][e] = s[n][e] * (ds[n][e] - inner(n, e));
        }
    if (!whole) {
        const int end = (int)p.queries - column - t * 2;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            // Of a row: the first query that sees it, or the end of the keys that it sees.
            const int r = row + g + h * 8;
            const int edge = (!KEYS ? p.keysSeen(r) : r < p.keys ? p.firstQuery(r) : (int)p.queries) - column - t * 2;
#pragma unroll
            for (int n = 0; n < kPart / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    const int c = n * 8 + e % 2;
                    if (KEYS ? c < edge || c >= end : c >= edge) s[n][e] = ds[n][e] = 0;
                }
        }
    }
}
}  // namespace flash

extern "C" __global__ void __launch_bounds__(128)
    flash_backward_queries(const T* grad, const T* q, const T* k, const T* v, const float* lse, const float* inner,
                           T* dq, const flash::Problem p) {
    using namespace flash;
    unsigned char *const queries = stages(), *const grads = queries + kOwnBytes, *stage = grads + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const Head head(p, p.queries, kOwn, true);
    const int line = threadIdx.x / 32 * 16, there = (int)p.queries - head.first;
    const int end = p.keysBefore(min((int)p.queries, head.first + kOwn));
    // By the warp's own queries.
    const int seen = p.keysBefore(min((int)p.queries, head.first + line + 16));
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
    copies.wait<0>();
    __syncthreads();
    const Own<1, kHeld> ownQueries(queries, line), ownGrads(grads, line);
    FragmentC sums[1][kWidth / 8];
    clear(sums);
#pragma unroll 1
    for (int j = 0; j < end; j += kOther) {
        copies.wait<0>();
        __syncthreads();  // it is there, and nobody works on the other one any more
        if (j + kOther < end) fetch_stage(next, j + kOther);
#pragma unroll 1
        for (int part = 0; part < kOther && j + part < seen; part += kPart) {
            const unsigned char* const keys = stage + part * kWidth * 2;
            FragmentC s[1][kPart / 8], ds[1][kPart / 8];
            scores(s, ownQueries, keys);
            scores(ds, ownGrads, keys + kOtherBytes);
            slopes<false>(
                s[0], ds[0], p, [&](int, int e) { return lses[e / 2]; }, [&](int, int e) { return inners[e / 2]; },
                head.first + line, j + part);
            add(sums, ds, keys);
        }
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.wait<0>();
    __syncthreads();
    const float scale = (float)p.scale;
    store(head.row(dq, p.dq, head.first), p.dq.t, there, queries, line, sums[0], scale, scale);
}

extern "C" __global__ void __launch_bounds__(128)
    flash_backward_keys(const T* grad, const T* q, const T* k, const T* v, const float* lse, const float* inner, T* dk,
                        T* dv, const flash::Problem p) {
    using namespace flash;
    unsigned char *const keys = stages(), *const values = keys + kOwnBytes, *stage = values + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const Head head(p, p.keys, kOwn, false);
    const int line = threadIdx.x / 32 * 16, there = (int)p.keys - head.first, t = lane() % 4;
    const int end = (int)p.queries, first = p.firstQuery(head.first) / kOther * kOther;
    const int seeing = p.firstQuery(head.first + line);  // the first of the warp's own keys
    const i64 numbered = head.index * p.queries;
    Copies copies;
    const auto fetch_stage = [&](unsigned char* to, int i) {
        fetch<kOther>(copies, to, head.row(q, p.q, i), p.q.t, end - i);
        fetch<kOther>(copies, to + kOtherBytes, head.row(grad, p.grad, i), p.grad.t, end - i);
        fetch_numbers(copies, to, lse + numbered + i, inner + numbered + i, end - i);
        copies.commit();
    };
    fetch<kOwn>(copies, keys, head.row(k, p.k, head.first), p.k.t, there);
    fetch<kOwn>(copies, values, head.row(v, p.v, head.first), p.v.t, there);
    if (first < end) fetch_stage(stage, first);
    copies.wait<0>();
    __syncthreads();
    const Own<1, kHeld> ownKeys(keys, line), ownValues(values, line);
    FragmentC sumsK[1][kWidth / 8], sumsV[1][kWidth / 8];
    clear(sumsK);
    clear(sumsV);
#pragma unroll 1
    for (int i = first; i < end; i += kOther) {
        copies.wait<0>();
        __syncthreads();  // it is there, and nobody works on the other one any more
        if (i + kOther < end) fetch_stage(next, i + kOther);
#pragma unroll 1
        for (int part = max(0, (seeing - i) / kPart * kPart); part < kOther && i + part < end; part += kPart) {
            const unsigned char* const queries = stage + part * kWidth * 2;
            const float* const lses = numbers(stage) + part + t * 2;
            FragmentC s[1][kPart / 8], ds[1][kPart / 8];
            scores(s, ownKeys, queries);
            scores(ds, ownValues, queries + kOtherBytes);
            slopes<true>(
                s[0], ds[0], p, [&](int n, int e) { return at(lses, n, e); },
                [&](int n, int e) { return at(lses + kOther, n, e); }, head.first + line, i + part);
            add(sumsV, s, queries + kOtherBytes);
            add(sumsK, ds, queries);
        }
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.commit();
    copies.wait<0>();
    __syncthreads();
    const float scale = (float)p.scale;
    store(head.row(dk, p.dk, head.first), p.dk.t, there, keys, line, sumsK[0], scale, scale);
    store(head.row(dv, p.dv, head.first), p.dv.t, there, values, line, sumsV[0], 1, 1);
}
