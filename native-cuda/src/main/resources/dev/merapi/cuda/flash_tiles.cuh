// SPDX-License-Identifier: Apache-2.0
// What the kernels of flash.cuh are made of: heads and what they see, tiles in shared memory, products of a warp's rows.
// T: storage; WIDTH: of a head, 32, 64 or 128. GROUPED: whether several heads share one of keys and values.
namespace flash {
using namespace warps;

constexpr int kWidth = WIDTH, kPieces = kWidth / 8, kOwn = 64, kThreads = 128, kOther = kWidth == 128 ? 32 : 64;
// Groups of 16 queries of a warp in the forward kernel, whose blocks own kRows; lines of a stage that are worked on at
// once.
constexpr bool kChosen = MASK || DROPOUT;
constexpr int kGroups = kWidth == 128 || kChosen ? 1 : 2, kRows = kOwn * kGroups, kPart = 32;
constexpr int kDeep = kWidth / 16, kOwnBytes = kOwn * kWidth * 2, kOtherBytes = kOther * kWidth * 2;
constexpr float kLog2e = 1.4426950408889634f, kLn2 = 0.6931471805599453f;

struct Strides {
    i64 b, h, t, d;
};
struct Problem {
    i64 batch, heads, queries, keys, width, causal;
    double scale;
    i64 group, shift;  // heads that share keys and values; query i sees keys up to i + shift if it is causal
    Strides q, k, v, out, grad, dq, dk, dv;

    // Whether all so many queries see all so many keys.
    MERAPI_F bool all(int i, int queriesHere, int j, int keysHere) const {
        return i + queriesHere <= (int)queries && j + keysHere <= keysSeen(i);
    }
    // Keys that the queries before this one see: the first so many.
    MERAPI_F int keysBefore(int query) const {
        const int n = causal ? query + (int)shift : (int)keys;
        return max(0, min((int)keys, n));
    }
    // Keys that a query sees: the first so many.
    MERAPI_F int keysSeen(int query) const { return query < (int)queries ? keysBefore(query + 1) : 0; }
    // The first query that sees a key.
    MERAPI_F int firstQuery(int key) const { return causal ? max(0, key - (int)shift) : 0; }
};

// What a block works on. A grid's blocks, and so heads and tiles, are fewer than 2^31.
struct Head {
    int b, h, index, first;
    MERAPI_F Head(const Problem& p, i64 size, i64 headsHere, int own, bool lastFirst) {
        const u32 heads = (u32)(p.batch * headsHere), tiles = ((u32)size + own - 1) / own, tile = blockIdx.x / heads;
        index = blockIdx.x - tile * heads;
        b = (u32)index / (u32)headsHere;
        h = index - b * (int)headsHere;
        // Of causal problems the longest first.
        first = (lastFirst ? tiles - 1 - tile : tile) * own;
    }
    template <class U>
    MERAPI_F U* row(U* x, const Strides& s, int t) const {
        return x + b * s.b + h * s.h + t * s.t;
    }
    // Of the head of keys and values that a head of queries has.
    template <class U>
    MERAPI_F U* shared(const Problem& p, U* x, const Strides& s, int t) const {
        return x + b * s.b + (GROUPED ? (u32)h / (u32)p.group : h) * s.h + t * s.t;
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

// What the backward kernels want of a query: what is added to its scores, times log2 e, before they become powers of 2, and
// the gradient times the result, summed. A query that has seen no score above −∞ has the weights 0: −∞ is added there.
MERAPI_F float2 seen_by(float lse, float inner) {
    return make_float2(lse == -infinity(0.0f) ? lse : lse * -kLog2e, inner);
}

template <int LINES>
MERAPI_F void fetch(Copies& copies, unsigned char* tile, const T* from, i64 stride, int there) {
    constexpr int kStep = kThreads / kPieces;  // a multiple of the lines after which permutations repeat
    const int line = threadIdx.x / kPieces, piece = threadIdx.x % kPieces;
    unsigned char* const to = tile + place(line, piece);
    const T* at = from + line * stride + piece * 8;
#pragma unroll
    for (int s = 0; s < LINES / kStep; s++) {
        copies.add16(to + s * kStep * kPieces * 16, at, line + s * kStep < there ? 16 : 0);
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
};
// s = own · otherᵀ.
template <int G, bool HELD, int N>
MERAPI_F void scores(FragmentC (&s)[G][N], const Own<G, HELD>& own, const unsigned char* other) {
    clear(s);
#pragma unroll
    for (int deep = 0; deep < kDeep; deep++) {
        FragmentA read[HELD ? 1 : G];
        if constexpr (!HELD) {
#pragma unroll
            for (int i = 0; i < G; i++) own.read(read[i], i, deep);
        }
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            u32 b[4];
            load_matrices(b, other + n * kGroupBytes + (inColumns() ^ deep * 32));
            const FragmentB even = {b[0], b[1]}, odd = {b[2], b[3]};
#pragma unroll
            for (int i = 0; i < G; i++) {
                const FragmentA& a = *(HELD ? &own.held[i][HELD ? deep : 0] : &read[HELD ? 0 : i]);
                mma(T(), s[i][2 * n], a, even);
                mma(T(), s[i][2 * n + 1], a, odd);
            }
        }
    }
}
// sums += p · other, p rounded to T.
template <int G, int N>
MERAPI_F void add(FragmentC (&sums)[G][kWidth / 8], const FragmentC (&p)[G][N], const unsigned char* other) {
    FragmentA a[N / 2][G];
#pragma unroll
    for (int at = 0; at < N / 2 * G * 4; at++) {
        const int deep = at / 4 / G, i = at / 4 % G, e = at % 4;
        const FragmentC& from = p[i][2 * deep + e / 2];
        a[deep][i][e] = packed(T(), from[e % 2 * 2], from[e % 2 * 2 + 1]);
    }
#pragma unroll
    for (int at = 0; at < N / 2 * (kWidth / 16); at++) {
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
// A group's 16 rows to the warp's lines of a tile; lane / 4 and eight more are the rows that a lane holds.
MERAPI_F void put(unsigned char* tile, int line, const FragmentC (&sums)[kWidth / 8], float upper, float lower) {
    const int first = place(line + lane() / 4, 0) + lane() % 4 * 4;
#pragma unroll
    for (int n = 0; n < kWidth / 8; n++) {
        u32* const to = (u32*)(tile + (first ^ n * 16));  // place(…, n)
        to[0] = packed(T(), sums[n][0] * upper, sums[n][1] * upper);
        to[8 * kWidth / 2] = packed(T(), sums[n][2] * lower, sums[n][3] * lower);
    }
}
// So many lines from there to memory; of those with NaN, again(line). Once a block, so not unrolled.
template <class F>
MERAPI_F void hand_out(T* to, i64 stride, int there, const unsigned char* tile, int line, int lines, F again) {
#pragma unroll 1
    for (int e = 0; e < lines * kPieces; e += 32) {
        const int r = line + (e + lane()) / kPieces, piece = lane() % kPieces;
        const Pack<T, 8> v = *(const Pack<T, 8>*)(tile + place(r, piece));
        if (r < there) *(Pack<T, 8>*)(to + r * stride + piece * 8) = v;
        float sum = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) sum += rd(v.v[i]);
        u32 odd = __ballot_sync(0xffffffffu, r < there && sum != sum);
#pragma unroll 1
        while (odd != 0) {
            const int first = (__ffs((int)odd) - 1) / kPieces;
            again(line + e / kPieces + first);
            odd &= ~(((1u << kPieces) - 1) << first * kPieces);
        }
    }
}
}  // namespace flash
