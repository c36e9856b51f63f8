// SPDX-License-Identifier: Apache-2.0
//
// Fused attention, tile by tile with a running softmax: no T x T matrix exists.
//
// Scores are computed transposed, keys down and queries across the lanes. So the softmax needs no sums across lanes,
// and every product finds its operands as it wants them: scores = K·Qᵀ, output = Pᵀᵀ·V, and in the backward
// dV = Pᵀ·dO, dK = dSᵀ·Q, dQ = dSᵀᵀ·K. Only the query tile is transposed.
#include "../structured.h"
#include "gemm.h"
#include "pack.h"
#include "philox.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

constexpr int64_t kTile = 64;  // queries and keys a tile

// As structured.def says.
struct Shape {
    int64_t b, h, tq, tk, d, kv_heads, shift;
    int64_t mask, mask_adds, mask_b, mask_h, mask_q, mask_k;
    int64_t threshold, seed, offset;
    double kept;

    int64_t group() const { return kv_heads == 0 ? 1 : h / kv_heads; }
    // Of a head of queries, the head of keys and values that it looks at, with its batch entry.
    int64_t shared(int64_t bh) const { return bh / h * kv_heads + bh % h / group(); }
};
struct Strides {
    int64_t b, h, t;
};

template <class C>
C* take(int64_t count) {
    return static_cast<C*>(scratch_take(static_cast<size_t>(count) * sizeof(C)));
}

// rows x d, `stride` apart, into contiguous rows of the compute type.
template <class S>
void load_rows(const S* from, int64_t stride, int64_t rows, int64_t d, ComputeOf<S> scale, ComputeOf<S>* out) {
    for (int64_t r = 0; r < rows; r++) {
        map_row<S>(d, [&](int64_t i, int lanes) {
            put(out + r * d + i, pick(from + r * stride + i, lanes) * splat(scale), lanes);
        });
    }
}
template <class S>
void store_rows(const ComputeOf<S>* from, int64_t stride, int64_t rows, int64_t d, ComputeOf<S> scale, S* out) {
    for (int64_t r = 0; r < rows; r++) {
        map_row<S>(d, [&](int64_t i, int lanes) {
            put(out + r * stride + i, pick(from + r * d + i, lanes) * splat(scale), lanes);
        });
    }
}

// Brings rows to come into L2: they lie too far apart for the processor to guess them.
template <class S>
void fetch_rows(const S* from, int64_t stride, int64_t rows, int64_t d) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < d; i += 64 / static_cast<int64_t>(sizeof(S))) {
            __builtin_prefetch(from + r * stride + i, 0, 2);
        }
    }
}

template <class C>
auto lane_numbers() {
    typename Lanes<C>::V v;
    for (int i = 0; i < Lanes<C>::count; i++) v[i] = static_cast<C>(i);
    return v;
}

// Queries [0, nq) against keys [0, nk) of a tile pair. Key r is seen by the queries from r + diagonal on.
struct Pair {
    int64_t nq, nk;
    int64_t diagonal;  // at most -nk where all see all
    // The first query that sees one of the keys from r on; and the same down to whole lanes.
    int64_t seen_from(int64_t r) const { return most(0, r + diagonal); }
    template <class C>
    int64_t first_query(int64_t r) const {
        return seen_from(r) / Lanes<C>::count * Lanes<C>::count;
    }
    // Keys that queries up to q (exclusive) may see.
    int64_t keys_until(int64_t q) const { return least(nk, most(0, q - diagonal)); }
    bool masked(int64_t r) const { return r + diagonal > 0; }
};

// scores[r][q] = rows of `keys` times the transposed query tile, where somebody may look at them.
template <class C>
void score_tile(const Pair& pair, int64_t d, const C* keys, const C* queries_t, C* scores) {
    for (int64_t r = 0; r < pair.nk; r += kTileRows) {
        const int64_t first = least(kTile, pair.first_query<C>(r)), rows = least(kTileRows, pair.nk - r);
        if (first < pair.nq) {
            small_product<C>(rows, ceil_div(pair.nq - first, Lanes<C>::count) * Lanes<C>::count, d, C(1),
                             MatrixA<C>{keys + r * d, d, 1}, MatrixB<C>{queries_t + first, kTile},
                             scores + r * kTile + first, kTile, Into::kStore);
        }
        if (first > 0) {
            for (int64_t i = r; i < r + rows; i++) {
                std::memset(static_cast<void*>(scores + i * kTile), 0, static_cast<size_t>(first) * sizeof(C));
            }
        }
    }
}

// out[nq, d] (+)= weightsᵀ[nk, nq]ᵀ · values[nk, d].
template <class C>
void mix_tile(const Pair& pair, int64_t d, const C* weights, const C* values, C* out, Into into) {
    for (int64_t q = 0; q < pair.nq; q += kTileRows) {
        const int64_t rows = least(kTileRows, pair.nq - q);
        small_product<C>(rows, d, pair.keys_until(q + rows), C(1), MatrixA<C>{weights + q, 1, kTile},
                         MatrixB<C>{values, d}, out + q * d, d, into);
    }
}

// out[nk, d] += weightsᵀ[nk, nq] · values[nq, d].
template <class C>
void spread_tile(const Pair& pair, int64_t d, const C* weights, const C* values, C* out) {
    for (int64_t r = 0; r < pair.nk; r += kTileRows) {
        const int64_t first = pair.seen_from(r), rows = least(kTileRows, pair.nk - r);
        if (first >= pair.nq) continue;
        small_product<C>(rows, d, pair.nq - first, C(1), MatrixA<C>{weights + r * kTile + first, kTile, 1},
                         MatrixB<C>{values + first * d, d}, out + r * d, d, Into::kAdd);
    }
}

// The scores become e^(score - maximum); maxima and sums go on from the tiles before, `rescale` is what the output so
// far must be multiplied by.
template <class C>
void softmax_tile(const Pair& pair, C* scores, C* maxima, C* sums, C* rescale) {
    using V = typename Lanes<C>::V;
    constexpr int L = Lanes<C>::count;
    const C low = -static_cast<C>(INFINITY);
    const V number = lane_numbers<C>();
    for (int64_t q = 0; q < pair.nq; q += L) {
        const int64_t keys = pair.keys_until(q + L);
        // From here on some lanes don't see the key.
        const int64_t clear = pair.diagonal <= -pair.nk ? keys : least(keys, most(0, q - pair.diagonal + 1));
        const V lane = number + splat(static_cast<C>(q - pair.diagonal));  // the last key that this lane sees
        C* column = scores + q;
        V old = vload(maxima + q), m = old;
        for (int64_t r = 0; r < clear; r++) m = vmax(vload(column + r * kTile), m);
        for (int64_t r = clear; r < keys; r++) {
            V s = select(lane < splat(static_cast<C>(r)), splat(low), vload(column + r * kTile));
            vstore(column + r * kTile, s);
            m = vmax(s, m);
        }
        const V shift = select(m == splat(low), splat(C(0)), m);
        V a = V{}, b = V{};
        int64_t r = 0;
        for (; r + 2 <= keys; r += 2) {
            V p0 = vexp(vload(column + r * kTile) - shift), p1 = vexp(vload(column + (r + 1) * kTile) - shift);
            vstore(column + r * kTile, p0);
            vstore(column + (r + 1) * kTile, p1);
            a += p0;
            b += p1;
        }
        if (r < keys) {
            V p = vexp(vload(column + r * kTile) - shift);
            vstore(column + r * kTile, p);
            a += p;
        }
        // mix_tile reads blocks of queries that reach into this group from before it.
        for (r = keys; r < pair.keys_until(q + L + kTileRows); r++) vstore(column + r * kTile, V{});
        const V factor = vexp(old - shift);
        vstore(rescale + q, factor);
        vstore(maxima + q, m);
        vstore(sums + q, vload(sums + q) * factor + (a + b));
    }
}

// What changes the scores and weights of a head besides the diagonal: a mask, and dropout.
template <class S>
struct Choice {
    using C = ComputeOf<S>;
    const Shape& n;
    const int64_t head;  // with its batch entry

    static C low() { return -static_cast<C>(INFINITY); }
    bool masks() const { return n.mask != 0; }
    bool drops() const { return n.threshold != 0; }

    // What the mask adds to a score; -inf hides the key.
    C added(int64_t i, int64_t j) const {
        const int64_t where = head / n.h * n.mask_b + head % n.h * n.mask_h + i * n.mask_q + j * n.mask_k;
        if (n.mask_adds != 0) return widen_one(at<const S>(n.mask)[where]);
        return at<const uint8_t>(n.mask)[where] != 0 ? C(0) : low();
    }

    // Of the scores of a tile pair those that count.
    void mask_tile(const Pair& pair, int64_t q0, int64_t k0, C* scores) const {
        for (int64_t r = 0; r < pair.nk; r++) {
            C* row = scores + r * kTile;
            for (int64_t i = least(kTile, pair.first_query<C>(r / kTileRows * kTileRows)); i < pair.nq; i++) {
                const C more = added(q0 + i, k0 + r);
                row[i] = more == low() ? more : row[i] + more;
            }
        }
    }

    // The first block of random numbers of a query: Note [Dropped weights] in Attention.java.
    uint64_t blocks_of(int64_t i) const {
        const int64_t row = (i * n.b + head / n.h) * n.h + head % n.h;
        return static_cast<uint64_t>(n.offset) + static_cast<uint64_t>(row * ceil_div(n.tk, 4));
    }
    C factor(uint32_t lane) const { return int64_t{lane} >= n.threshold ? static_cast<C>(n.kept) : C(0); }
    C factor(int64_t i, int64_t j) const {
        if (!drops()) return C(1);
        uint32_t lanes[4 * kF32];
        in_order(philox(static_cast<uint64_t>(n.seed), blocks_of(i) + static_cast<uint64_t>(j / 4)).lane, lanes);
        return factor(lanes[j % 4]);
    }
    // What the weights of a tile pair are multiplied by; k0 is a multiple of 4.
    void factors(const Pair& pair, int64_t q0, int64_t k0, C* out) const {
        for (int64_t i = 0; i < pair.nq; i++) {
            const uint64_t first = blocks_of(q0 + i) + static_cast<uint64_t>(k0 / 4);
            for (int64_t r = 0; r < pair.nk; r += 4 * kF32) {
                uint32_t lanes[4 * kF32];
                in_order(philox(static_cast<uint64_t>(n.seed), first + static_cast<uint64_t>(r / 4)).lane, lanes);
                for (int64_t e = 0; e < least(4 * kF32, pair.nk - r); e++) out[(r + e) * kTile + i] = factor(lanes[e]);
            }
        }
    }
};

// What a query does not see has no part in its results, and it none in the gradients of what it does not see. In tiles
// such a pair has the weight 0, but 0·NaN is NaN. So where pairs are hidden, rows that became NaN are summed once more,
// over the pairs that are seen.
template <class C>
bool has_nan(const C* row, int64_t d) {
    bool found = false;
    for (int64_t j = 0; j < d; j++) found |= row[j] != row[j];
    return found;
}
template <class C>
C dot(const C* a, const C* b, int64_t d) {
    return static_cast<C>(
        blocked_sum<C>(d, [&](int64_t j, int lanes) { return pick(a + j, lanes) * pick(b + j, lanes); }));
}
template <class C>
void add_row(C factor, const C* row, int64_t d, C* sum) {
    for (int64_t j = 0; j < d; j++) sum[j] += factor * row[j];
}

template <class S>
void forward_task(const Shape& n, const Strides* st, ComputeOf<S> scale, bool causal, const S* q, const S* k,
                  const S* v, S* o, ComputeOf<S>* lse, int64_t bh, int64_t q0) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    const int64_t b = bh / n.h, h = bh % n.h, d = n.d, nq = least(kTile, n.tq - q0), kv = h / n.group();
    const Choice<S> choice{n, bh};
    auto base = [&](int which) { return b * st[which].b + (which == 1 || which == 2 ? kv : h) * st[which].h; };
    if (n.tq <= kTile && n.tk <= kTile && n.h == n.kv_heads && bh + 1 < n.b * n.h) {
        const int64_t next_b = (bh + 1) / n.h, next_h = (bh + 1) % n.h;
        fetch_rows(q + next_b * st[0].b + next_h * st[0].h, st[0].t, n.tq, d);
        fetch_rows(k + next_b * st[1].b + next_h * st[1].h, st[1].t, n.tk, d);
        fetch_rows(v + next_b * st[2].b + next_h * st[2].h, st[2].t, n.tk, d);
    }
    C* rows = take<C>(kTile * d);
    C* queries_t = take<C>(kTile * d);
    C* keys = take<C>(kTile * d);
    C* values = take<C>(kTile * d);
    C* scores = take<C>(kTile * kTile);
    C* out = take<C>(kTile * d);
    C* factors = choice.drops() ? take<C>(kTile * kTile) : nullptr;
    C maxima[kTile], sums[kTile], rescale[kTile];
    load_rows(q + base(0) + q0 * st[0].t, st[0].t, nq, d, scale, rows);
    pack_transposed<C>(rows, d, d, nq, kTile, queries_t);
    for (int64_t i = 0; i < kTile; i++) {
        maxima[i] = -static_cast<C>(INFINITY);
        sums[i] = 0;
    }
    const int64_t visible = causal ? least(n.tk, most(0, q0 + nq + n.shift)) : n.tk;
    for (int64_t k0 = 0; k0 < visible; k0 += kTile) {
        Pair pair{nq, least(kTile, visible - k0), -kTile - kTile};
        if (causal) pair.diagonal = k0 - q0 - n.shift;
        load_rows(k + base(1) + k0 * st[1].t, st[1].t, pair.nk, d, C(1), keys);
        load_rows(v + base(2) + k0 * st[2].t, st[2].t, pair.nk, d, C(1), values);
        score_tile(pair, d, keys, queries_t, scores);
        if (choice.masks()) choice.mask_tile(pair, q0, k0, scores);
        softmax_tile(pair, scores, maxima, sums, rescale);
        if (choice.drops()) {
            choice.factors(pair, q0, k0, factors);
            for (int64_t r = 0; r < pair.nk; r++) {
                for (int64_t i = 0; i < pair.nq; i++) scores[r * kTile + i] *= factors[r * kTile + i];
            }
        }
        if (k0 > 0) {
            for (int64_t i = 0; i < nq; i++) {
                if (rescale[i] == C(1)) continue;
                map_row<C>(d, [&](int64_t j, int lanes) {
                    put(out + i * d + j, pick(out + i * d + j, lanes) * splat(rescale[i]), lanes);
                });
            }
        }
        mix_tile(pair, d, scores, values, out, k0 > 0 ? Into::kAdd : Into::kStore);
    }
    for (int64_t i = 0; i < nq; i++) {
        S* to = o + base(3) + (q0 + i) * st[3].t;
        if (lse != nullptr) {
            lse[bh * n.tq + q0 + i] = sums[i] == C(0) ? -static_cast<C>(INFINITY) : maxima[i] + std::log(sums[i]);
        }
        const bool blind = visible == 0 || sums[i] == C(0);
        if ((causal || choice.masks()) && !blind && has_nan(out + i * d, d)) {
            C* key = keys;
            C* value = values;
            std::memset(static_cast<void*>(out + i * d), 0, static_cast<size_t>(d) * sizeof(C));
            for (int64_t j = 0; j < (causal ? least(n.tk, q0 + i + n.shift + 1) : n.tk); j++) {
                const C more = choice.masks() ? choice.added(q0 + i, j) : C(0);
                if (more == Choice<S>::low()) continue;
                load_rows(k + base(1) + j * st[1].t, st[1].t, 1, d, C(1), key);
                load_rows(v + base(2) + j * st[2].t, st[2].t, 1, d, C(1), value);
                const C weight = std::exp(dot(rows + i * d, key, d) + more - maxima[i]);
                add_row(weight * choice.factor(q0 + i, j), value, d, out + i * d);
            }
        }
        const C inverse = blind ? C(0) : C(1) / sums[i];
        map_row<S>(d, [&](int64_t j, int lanes) {
            put(to + j, blind ? splat(C(0)) : pick(out + i * d + j, lanes) * splat(inverse), lanes);
        });
    }
}

// What the backward needs of a query tile.
template <class C>
struct QueryTile {
    C* queries;    // scaled
    C* queries_t;  // scaled
    C* grads;
    C* grads_t;
    C lse[kTile];
    C along[kTile];  // grad·output
    C* dq;
};

template <class S>
struct Backward {
    using C = ComputeOf<S>;
    Shape n;
    const Strides* st;  // q k v o do dq dk dv
    C scale;
    bool causal;
    const S *q, *k, *v, *o;
    const C* lse;
    const S* grad;
    S *dq, *dk, *dv;

    // Where a head begins, counted with its batch entry: of queries, or of keys and values.
    int64_t base(int which, int64_t bh) const {
        const int64_t heads = which == 1 || which == 2 || which > 5 ? n.kv_heads : n.h;
        return bh / heads * st[which].b + bh % heads * st[which].h;
    }
    // The first of the heads of queries that look at one of keys and values.
    int64_t first_head(int64_t kv) const { return kv / n.kv_heads * n.h + kv % n.kv_heads * n.group(); }
    bool hides() const { return causal || n.mask != 0; }

    QueryTile<C> take_queries() const {
        QueryTile<C> t;
        t.queries = take<C>(kTile * n.d);
        t.queries_t = take<C>(kTile * n.d);
        t.grads = take<C>(kTile * n.d);
        t.grads_t = take<C>(kTile * n.d);
        t.dq = take<C>(kTile * n.d);
        return t;
    }
    void load_queries(int64_t bh, int64_t q0, QueryTile<C>* t) const {
        const int64_t nq = least(kTile, n.tq - q0), d = n.d;
        load_rows(q + base(0, bh) + q0 * st[0].t, st[0].t, nq, d, scale, t->queries);
        pack_transposed<C>(t->queries, d, d, nq, kTile, t->queries_t);
        load_rows(grad + base(4, bh) + q0 * st[4].t, st[4].t, nq, d, C(1), t->grads);
        pack_transposed<C>(t->grads, d, d, nq, kTile, t->grads_t);
        for (int64_t i = 0; i < kTile; i++) {
            t->lse[i] = static_cast<C>(INFINITY);  // a query that sees no key: e^(s - inf) = 0
            t->along[i] = 0;
        }
        for (int64_t i = 0; i < nq; i++) {
            const S* out = o + base(3, bh) + (q0 + i) * st[3].t;
            C value = lse[bh * n.tq + q0 + i];
            if (value != -static_cast<C>(INFINITY)) t->lse[i] = value;
            t->along[i] = static_cast<C>(blocked_sum<C>(
                d, [&](int64_t j, int lanes) { return pick(out + j, lanes) * pick(t->grads + i * d + j, lanes); }));
        }
        std::memset(static_cast<void*>(t->dq), 0, static_cast<size_t>(kTile * d) * sizeof(C));
    }

    // Adds one tile pair of a head to t.dq (scaled later), dk and dv, each where not null.
    void tile(int64_t bh, int64_t q0, int64_t k0, const Pair& pair, QueryTile<C>& t, const C* keys, const C* values, C* p,
              C* dp, bool want_dq, C* dk_out, C* dv_out) const {
        using V = VecOf<S>;
        constexpr int L = Lanes<C>::count;
        const V number = lane_numbers<C>();
        score_tile(pair, n.d, keys, t.queries_t, p);
        score_tile(pair, n.d, values, t.grads_t, dp);
        const Choice<S> choice{n, bh};
        ScratchFrame frame;
        C* factors = choice.drops() ? take<C>(kTile * kTile) : nullptr;
        if (choice.masks()) choice.mask_tile(pair, q0, k0, p);
        if (choice.drops()) choice.factors(pair, q0, k0, factors);
        for (int64_t r = 0; r < pair.nk; r++) {
            for (int64_t i = least(kTile, pair.first_query<C>(r / kTileRows * kTileRows)); i < pair.nq; i += L) {
                V w = vexp(vload(p + r * kTile + i) - vload(t.lse + i));
                if (pair.masked(r) && i < r + pair.diagonal) {
                    const V lane = number + splat(static_cast<C>(i));
                    w = select(lane < splat(static_cast<C>(r + pair.diagonal)), splat(C(0)), w);
                }
                if (factors == nullptr) {
                    vstore(p + r * kTile + i, w);
                    vstore(dp + r * kTile + i, w * (vload(dp + r * kTile + i) - vload(t.along + i)));
                } else {
                    const V factor = vload(factors + r * kTile + i);
                    vstore(p + r * kTile + i, w * factor);
                    vstore(dp + r * kTile + i, w * (vload(dp + r * kTile + i) * factor - vload(t.along + i)));
                }
            }
        }
        if (dv_out != nullptr) spread_tile(pair, n.d, p, t.grads, dv_out);
        if (dk_out != nullptr) spread_tile(pair, n.d, dp, t.queries, dk_out);
        if (want_dq) mix_tile(pair, n.d, dp, keys, t.dq, Into::kAdd);
    }

    Pair pair_of(int64_t q0, int64_t k0) const {
        Pair pair{least(kTile, n.tq - q0), least(kTile, n.tk - k0), -kTile - kTile};
        if (causal) pair.diagonal = k0 - q0 - n.shift;
        return pair;
    }
    bool apart(const Pair& pair) const { return pair.diagonal >= pair.nq; }  // nobody sees anything

    void load_keys(int64_t kv, int64_t k0, int64_t count, C* keys, C* values) const {
        load_rows(k + base(1, kv) + k0 * st[1].t, st[1].t, count, n.d, C(1), keys);
        load_rows(v + base(2, kv) + k0 * st[2].t, st[2].t, count, n.d, C(1), values);
    }
    // A key's or a query's gradients by the pairs that are seen: to `x` Σ ds·(the other's row), which is not scaled, and
    // of a key to `y` Σ p·(the query's gradient).
    template <bool KEYS>
    void again(int64_t bh, int64_t r, C* x, C* y) const {
        ScratchFrame frame;
        const Choice<S> choice{n, bh};
        const int64_t d = n.d, kv = n.shared(bh);
        C *query = take<C>(d), *g = take<C>(d), *key = take<C>(d), *value = take<C>(d), *out = take<C>(d);
        const int64_t from = KEYS && causal ? most(0, r - n.shift) : 0;
        const int64_t to = KEYS ? n.tq : causal ? least(n.tk, r + n.shift + 1) : n.tk;
        for (int64_t other = from; other < to; other++) {
            const int64_t i = KEYS ? other : r, j = KEYS ? r : other;
            const C more = choice.masks() ? choice.added(i, j) : C(0), factor = choice.factor(i, j);
            if (more == Choice<S>::low()) continue;
            load_rows(q + base(0, bh) + i * st[0].t, st[0].t, 1, d, scale, query);
            load_rows(k + base(1, kv) + j * st[1].t, st[1].t, 1, d, C(1), key);
            load_rows(v + base(2, kv) + j * st[2].t, st[2].t, 1, d, C(1), value);
            load_rows(o + base(3, bh) + i * st[3].t, st[3].t, 1, d, C(1), out);
            load_rows(grad + base(4, bh) + i * st[4].t, st[4].t, 1, d, C(1), g);
            const C log = lse[bh * n.tq + i], p = std::isinf(log) ? C(0) : std::exp(dot(query, key, d) + more - log);
            const C ds = p * (dot(g, value, d) * factor - dot(out, g, d));
            add_row(ds, KEYS ? query : key, d, x);
            if (KEYS) add_row(p * factor, g, d, y);
        }
    }
    void store_dq(int64_t bh, int64_t q0, const QueryTile<C>& t) const {
        for (int64_t i = 0; hides() && i < least(kTile, n.tq - q0); i++) {
            C* row = t.dq + i * n.d;
            if (!has_nan(row, n.d)) continue;
            std::memset(static_cast<void*>(row), 0, static_cast<size_t>(n.d) * sizeof(C));
            again<false>(bh, q0 + i, row, nullptr);
        }
        store_rows(t.dq, st[5].t, least(kTile, n.tq - q0), n.d, scale, dq + base(5, bh) + q0 * st[5].t);
    }
    void store_keys(int64_t kv, int64_t k0, int64_t count, C* dk_rows, C* dv_rows) const {
        for (int64_t i = 0; hides() && i < count; i++) {
            C *dk_row = dk_rows + i * n.d, *dv_row = dv_rows + i * n.d;
            if (!has_nan(dk_row, n.d) && !has_nan(dv_row, n.d)) continue;
            std::memset(static_cast<void*>(dk_row), 0, static_cast<size_t>(n.d) * sizeof(C));
            std::memset(static_cast<void*>(dv_row), 0, static_cast<size_t>(n.d) * sizeof(C));
            for (int64_t g = 0; g < n.group(); g++) again<true>(first_head(kv) + g, k0 + i, dk_row, dv_row);
        }
        store_rows(dk_rows, st[6].t, count, n.d, C(1), dk + base(6, kv) + k0 * st[6].t);
        store_rows(dv_rows, st[7].t, count, n.d, C(1), dv + base(7, kv) + k0 * st[7].t);
    }

    // All of one head of keys and values by one thread: every tile pair once.
    void head(int64_t kv) const {
        ScratchFrame frame;
        QueryTile<C> t = take_queries();
        C* keys = take<C>(n.tk * n.d);
        C* values = take<C>(n.tk * n.d);
        C* dk_rows = take<C>(n.tk * n.d);
        C* dv_rows = take<C>(n.tk * n.d);
        C* p = take<C>(kTile * kTile);
        C* dp = take<C>(kTile * kTile);
        load_keys(kv, 0, n.tk, keys, values);
        if (n.tq <= kTile && n.tk <= kTile && n.h == n.kv_heads && kv + 1 < n.b * n.h) {
            fetch_rows(q + base(0, kv + 1), st[0].t, n.tq, n.d);
            fetch_rows(k + base(1, kv + 1), st[1].t, n.tk, n.d);
            fetch_rows(v + base(2, kv + 1), st[2].t, n.tk, n.d);
            fetch_rows(o + base(3, kv + 1), st[3].t, n.tq, n.d);
            fetch_rows(grad + base(4, kv + 1), st[4].t, n.tq, n.d);
        }
        std::memset(static_cast<void*>(dk_rows), 0, static_cast<size_t>(n.tk * n.d) * sizeof(C));
        std::memset(static_cast<void*>(dv_rows), 0, static_cast<size_t>(n.tk * n.d) * sizeof(C));
        for (int64_t bh = first_head(kv); bh < first_head(kv) + n.group(); bh++) {
            for (int64_t q0 = 0; q0 < n.tq; q0 += kTile) {
                load_queries(bh, q0, &t);
                for (int64_t k0 = 0; k0 < n.tk; k0 += kTile) {
                    Pair pair = pair_of(q0, k0);
                    if (apart(pair)) break;
                    const int64_t at = k0 * n.d;
                    tile(bh, q0, k0, pair, t, keys + at, values + at, p, dp, true, dk_rows + at, dv_rows + at);
                }
                store_dq(bh, q0, t);
            }
        }
        store_keys(kv, 0, n.tk, dk_rows, dv_rows);
    }

    // For few heads and long sequences: tiles of queries, then tiles of keys; scores are computed twice.
    void query_tile(int64_t bh, int64_t q0) const {
        ScratchFrame frame;
        QueryTile<C> t = take_queries();
        C* keys = take<C>(kTile * n.d);
        C* values = take<C>(kTile * n.d);
        C* p = take<C>(kTile * kTile);
        C* dp = take<C>(kTile * kTile);
        load_queries(bh, q0, &t);
        for (int64_t k0 = 0; k0 < n.tk; k0 += kTile) {
            Pair pair = pair_of(q0, k0);
            if (apart(pair)) break;
            load_keys(n.shared(bh), k0, pair.nk, keys, values);
            tile(bh, q0, k0, pair, t, keys, values, p, dp, true, nullptr, nullptr);
        }
        store_dq(bh, q0, t);
    }
    void key_tile(int64_t kv, int64_t k0) const {
        ScratchFrame frame;
        QueryTile<C> t = take_queries();
        const int64_t count = least(kTile, n.tk - k0);
        C* keys = take<C>(kTile * n.d);
        C* values = take<C>(kTile * n.d);
        C* dk_rows = take<C>(kTile * n.d);
        C* dv_rows = take<C>(kTile * n.d);
        C* p = take<C>(kTile * kTile);
        C* dp = take<C>(kTile * kTile);
        load_keys(kv, k0, count, keys, values);
        std::memset(static_cast<void*>(dk_rows), 0, static_cast<size_t>(kTile * n.d) * sizeof(C));
        std::memset(static_cast<void*>(dv_rows), 0, static_cast<size_t>(kTile * n.d) * sizeof(C));
        for (int64_t bh = first_head(kv); bh < first_head(kv) + n.group(); bh++) {
            for (int64_t q0 = 0; q0 < n.tq; q0 += kTile) {
                Pair pair = pair_of(q0, k0);
                if (apart(pair)) continue;
                load_queries(bh, q0, &t);
                tile(bh, q0, k0, pair, t, keys, values, p, dp, false, dk_rows, dv_rows);
            }
        }
        store_keys(kv, k0, count, dk_rows, dv_rows);
    }
};

}  // namespace

void attention(int dtype, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k, int64_t v,
               int64_t o, int64_t lse) {
    const Shape n = *at<const Shape>(shape);
    const Strides* st = at<const Strides>(strides);
    const int64_t tiles = ceil_div(n.tq, kTile);
    const int64_t grain = most(1, kGrain * 4 / most(1, least(kTile, n.tq) * n.tk * n.d / 16));
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        parallel_for(n.b * n.h * tiles, grain, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) {
                forward_task(n, st, static_cast<C>(scale), causal != 0, at<const S>(q), at<const S>(k), at<const S>(v),
                             at<S>(o), at<C>(lse), t / tiles, t % tiles * kTile);
            }
        });
    });
}

void attention_backward(int dtype, int64_t shape, int64_t strides, double scale, int causal, int64_t q, int64_t k,
                        int64_t v, int64_t o, int64_t lse, int64_t grad, int64_t dq, int64_t dk, int64_t dv) {
    const Shape n = *at<const Shape>(shape);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const Backward<S> task{n,
                               at<const Strides>(strides),
                               static_cast<C>(scale),
                               causal != 0,
                               at<const S>(q),
                               at<const S>(k),
                               at<const S>(v),
                               at<const S>(o),
                               at<const C>(lse),
                               at<const S>(grad),
                               at<S>(dq),
                               at<S>(dk),
                               at<S>(dv)};
        const int64_t kv_heads = n.b * n.kv_heads;
        const int64_t query_tiles = ceil_div(n.tq, kTile), key_tiles = ceil_div(n.tk, kTile);
        if (kv_heads >= 16 || query_tiles * key_tiles * n.group() <= 2) {
            const int64_t grain = most(1, kGrain * 2 / most(1, n.tq * n.tk * n.d * n.group() / 16));
            parallel_for(kv_heads, grain, [&](int64_t begin, int64_t end) {
                for (int64_t kv = begin; kv < end; kv++) task.head(kv);
            });
            return;
        }
        parallel_for(n.b * n.h * query_tiles, 1, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) task.query_tile(t / query_tiles, t % query_tiles * kTile);
        });
        parallel_for(kv_heads * key_tiles, 1, [&](int64_t begin, int64_t end) {
            for (int64_t t = begin; t < end; t++) task.key_tile(t / key_tiles, t % key_tiles * kTile);
        });
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
