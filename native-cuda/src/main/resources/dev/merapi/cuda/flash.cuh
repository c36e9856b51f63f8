// SPDX-License-Identifier: Apache-2.0
// softmax(scale·q·kᵀ + mask)·v and its gradients on tensor cores, for 16-bit types. T: storage; WIDTH: of a head, 32,
// 64 or 128; GROUPED, MASK, DROPOUT: see flash_tiles.cuh and flash_choice.cuh. Lines of all tensors have stride 1 and begin at multiples of 16 bytes.
//
// A block owns 64 queries or 64 keys, a warp 16 of them, and goes over stages of the other side, 32 lines at a time; in the
// forward kernel a warp has 32 queries where registers suffice, so that what it reads of keys and values serves twice as
// many. Scores never leave the registers: as results of one product lie in them, the next one wants its left operand. The
// gradient of the queries and those of keys and values are kernels of their own, which costs two products more than adding
// up dq in global memory would, and is deterministic. The scale is positive.
namespace flash {
// Blocks of a multiprocessor at once, at least, for which registers are held back.
constexpr int kForward = kChosen ? 2 : kWidth == 128 ? 3 : kWidth == 64 ? 2 : 4;
constexpr int kQueries = kChosen ? 2 : kWidth == 32 ? 5 : 3, kKeys = kWidth == 32 && !kChosen ? 3 : 2;

// Of a group's queries, from `query` on, and the tile's keys, from `key` on: scores to weights relative to the largest so
// far, which is kept times scale. Masked scores are −∞, and dropped weights 0 once they have been added up; what was summed before fades by as much as that grew.
MERAPI_F void weigh(FragmentC (&s)[kPart / 8], FragmentC (&sums)[kWidth / 8], float (&largest)[2], float (&total)[2],
                    const Problem& p, const Choice& choice, int query, int key) {
    const int g = lane() / 4, t = lane() % 4;
    const float factor = (float)p.scale * kLog2e, scale = MASK == 2 ? 1.0f : factor;
    const u32 kept = choice.kept<false, kPart / 8>(query, key);
    if (MASK) {
#pragma unroll
        for (int at = 0; at < kPart / 2; at++) {
            const int n = at / 4, e = at % 4, row = query + g + e / 2 * 8, column = key + t * 2 + n * 8 + e % 2;
            const bool there = column < p.keysSeen(row);
            const float more = choice.added(there, row, column);
            const float score = MASK == 2 ? op_fma(s[n][e], factor, more) : s[n][e];
            s[n][e] = there && more != -infinity(0.0f) ? score : -infinity(0.0f);
        }
    } else if (!p.all(query, 16, key, kPart)) {
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
            for (int e = 2 * h; e < 2 * h + 2; e++) {
                const float weight = quick_exp2(op_fma(s[n][e], scale, -base));
                sum += weight;
                s[n][e] = choice.dropped(kept, 4 * n + e, weight);
            }
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

extern "C" __global__ void __launch_bounds__(128, flash::kForward)
    flash_forward(const T* q, const T* k, const T* v, T* y, float* lse, const void* mask,
                  const long long* base, const flash::Options options, const flash::Problem p) {
    using namespace flash;
    __shared__ __align__(128) unsigned char queries[kGroups * kOwnBytes + 4 * kOtherBytes];
    unsigned char *stage = queries + kGroups * kOwnBytes, *next = stage + 2 * kOtherBytes;
    const Head head(p, p.queries, p.heads, kRows, true);
    const Choice choice(options, p, mask, base, head.b, head.h);
    const int line = threadIdx.x / 32 * 16 * kGroups, there = (int)p.queries - head.first;
    const int end = p.keysBefore(min((int)p.queries, head.first + kRows));
    // By the warp's own queries.
    const int seen = p.keysBefore(min((int)p.queries, head.first + line + 16 * kGroups));
    Copies copies;
    const T *keysAt = head.shared(p, k, p.k, 0), *valuesAt = head.shared(p, v, p.v, 0);
    const auto fetch_stage = [&](unsigned char* to, int j) {
        fetch<kOther>(copies, to, keysAt, p.k.t, end - j);
        fetch<kOther>(copies, to + kOtherBytes, valuesAt, p.v.t, end - j);
        copies.commit();
        keysAt += kOther * p.k.t;
        valuesAt += kOther * p.v.t;
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
                weigh(s[i], sums[i], largest[i], total[i], p, choice, head.first + line + 16 * i, j + part);
            }
            add(sums, s, keys + kOtherBytes);
        }
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.wait<0>();
    __syncthreads();
    float* const logs = lse + head.index * p.queries;
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
        float shares[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float sum = total[i][h] + __shfl_xor_sync(0xffffffffu, total[i][h], 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            shares[h] = sum == 0 ? 0.0f : quick_reciprocal(sum);
            const int r = line + 16 * i + lane() / 4 + h * 8;
            if (lane() % 4 == 0 && r < there) {
                logs[head.first + r] = sum == 0 ? -infinity(0.0f) : (largest[i][h] + quick_log2(sum)) * kLn2;
            }
        }
        put(queries, line + 16 * i, sums[i], shares[0], shares[1]);
    }
    __syncwarp();
    hand_out(head.row(y, p.out, head.first), p.out.t, there, queries, line, 16 * kGroups, [&](int r) {
        const Lines own = {head.row(q, p.q, 0), p.q.t, 0};
        sum_again<false>(
            head.row(y, p.out, head.first + r), head.first + r, p, 1, [] { return false; }, own, own,
            {head.shared(p, k, p.k, 0), p.k.t, 0}, {head.shared(p, v, p.v, 0), p.v.t, 0},
            [&](int, int i) { return seen_by(logs[i], 0.0f); }, [&](int) { return choice; });
    });
}

// Of each query, for the kernels below: see seen_by. A thread takes 8 of the width.
extern "C" __global__ void __launch_bounds__(256)
    flash_backward_inner(const T* grad, const T* y, const float* lse, float2* numbers, const flash::Problem p) {
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
        if (r < rows && piece == 0) numbers[r] = seen_by(lse[r], sum);
    }
}

namespace flash {
// What the backward kernels hold of the other side, twice: one tile comes while the other is worked on.
// Whether what the block owns stays in registers.
constexpr bool kHeld = kWidth <= 64;
// Queries that are worked on at once in the gradient of keys: fewer where sums leave fewer registers, and where
// nothing is masked or dropped keys and values stay in them even so.
constexpr int kKeysPart = kWidth == 128 ? 16 : 32;
constexpr bool kKeysHeld = kHeld || !kChosen;
constexpr int kStageBytes = 2 * kOtherBytes + 2 * kOther * 4;

// Shared memory of theirs, as much as the launch says: two tiles of the block's own side, and two stages.
MERAPI_F unsigned char* stages() {
    extern __shared__ __align__(128) unsigned char memory[];
    return memory;
}
// What flash_backward_inner makes of each query of a tile.
MERAPI_F float* numbers(unsigned char* stage) { return (float*)(stage + 2 * kOtherBytes); }

MERAPI_F void fetch_numbers(Copies& copies, unsigned char* stage, const float2* from, int there) {
    const int i = threadIdx.x;
    if (i >= 2 * kOther) return;
    copies.add4(numbers(stage) + i, (const float*)from + (i < 2 * there ? i : 0), i < 2 * there ? 4 : 0);
}

// p = exp(scores − lse) and ds = p·(dp − inner) for the warp's 16 lines and kPart columns. Rows are queries
// and columns keys, or the other way round. numbers(n, e) are those of the query of an element.
template <bool KEYS, int M, class N>
MERAPI_F void slopes(FragmentC (&s)[M], FragmentC (&ds)[M], const Problem& p, const Choice& choice, N numbers, int row,
                     int column) {
    const int g = lane() / 4, t = lane() % 4;
    const float scale = (float)p.scale * kLog2e;
    const u32 kept = choice.kept<KEYS, M>(row, column);
    float added[M][4];
    if (MASK) {
#pragma unroll
        for (int at = 0; at < M * 4; at++) {
            const int n = at / 4, e = at % 4, r = row + g + e / 2 * 8, c = column + t * 2 + n * 8 + e % 2;
            const int query = KEYS ? c : r, key = KEYS ? r : c;
            const bool there = key < p.keysSeen(query);
            const float more = choice.added(there, query, key);
            added[n][e] = there ? more : -infinity(0.0f);
        }
    }
    const bool whole = KEYS ? p.all(column, 8 * M, row, 16) : p.all(row, 16, column, 8 * M);
#pragma unroll
    for (int n = 0; n < M; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 of = numbers(n, e);
            s[n][e] = quick_exp2(op_fma(s[n][e], scale, MASK == 2 ? of.x + added[n][e] : of.x));
            ds[n][e] = s[n][e] * (choice.dropped(kept, 4 * n + e, ds[n][e]) - of.y);
            s[n][e] = choice.dropped(kept, 4 * n + e, s[n][e]);
            if (MASK && added[n][e] == -infinity(0.0f)) s[n][e] = ds[n][e] = 0;
        }
    if (!MASK && !whole) {
        const int end = (int)p.queries - column - t * 2;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            // Of a row: the first query that sees it, or the end of the keys that it sees.
            const int r = row + g + h * 8;
            const int edge = (!KEYS ? p.keysSeen(r) : r < p.keys ? p.firstQuery(r) : (int)p.queries) - column - t * 2;
#pragma unroll
            for (int n = 0; n < M; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    const int c = n * 8 + e % 2;
                    if (KEYS ? c < edge || c >= end : c >= edge) s[n][e] = ds[n][e] = 0;
                }
        }
    }
}
}  // namespace flash

extern "C" __global__ void __launch_bounds__(128, flash::kQueries)
    flash_backward_queries(const T* grad, const T* q, const T* k, const T* v, const float2* numbers, T* dq,
                           const void* mask, const long long* base, const flash::Options options,
                           const flash::Problem p) {
    using namespace flash;
    unsigned char *const queries = stages(), *const grads = queries + kOwnBytes, *stage = grads + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const Head head(p, p.queries, p.heads, kOwn, true);
    const Choice choice(options, p, mask, base, head.b, head.h);
    const int line = threadIdx.x / 32 * 16, there = (int)p.queries - head.first;
    const int end = p.keysBefore(min((int)p.queries, head.first + kOwn));
    // By the warp's own queries.
    const int seen = p.keysBefore(min((int)p.queries, head.first + line + 16));
    const float2* const own = numbers + head.index * p.queries;
    float2 mine[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int r = line + lane() / 4 + h * 8;
        mine[h] = r < there ? own[head.first + r] : make_float2(0, 0);
    }
    Copies copies;
    const T *keysAt = head.shared(p, k, p.k, 0), *valuesAt = head.shared(p, v, p.v, 0);
    const auto fetch_stage = [&](unsigned char* to, int j) {
        fetch<kOther>(copies, to, keysAt, p.k.t, end - j);
        fetch<kOther>(copies, to + kOtherBytes, valuesAt, p.v.t, end - j);
        copies.commit();
        keysAt += kOther * p.k.t;
        valuesAt += kOther * p.v.t;
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
            slopes<false>(s[0], ds[0], p, choice, [&](int, int e) { return mine[e / 2]; }, head.first + line, j + part);
            add(sums, ds, keys);
        }
        unsigned char* const done = stage;
        stage = next;
        next = done;
    }
    copies.wait<0>();
    __syncthreads();
    const float scale = (float)p.scale;
    put(queries, line, sums[0], scale, scale);
    __syncwarp();
    hand_out(head.row(dq, p.dq, head.first), p.dq.t, there, queries, line, 16, [&](int r) {
        sum_again<false>(
            head.row(dq, p.dq, head.first + r), head.first + r, p, 1, [] { return true; }, {head.row(q, p.q, 0), p.q.t, 0},
            {head.row(grad, p.grad, 0), p.grad.t, 0}, {head.shared(p, k, p.k, 0), p.k.t, 0},
            {head.shared(p, v, p.v, 0), p.v.t, 0}, [&](int, int i) { return own[i]; }, [&](int) { return choice; });
    });
}

extern "C" __global__ void __launch_bounds__(128, flash::kKeys)
    flash_backward_keys(const T* grad, const T* q, const T* k, const T* v, const float2* numbers, T* dk, T* dv,
                        const void* mask, const long long* base, const flash::Options options,
                        const flash::Problem p) {
    using namespace flash;
    unsigned char *const keys = stages(), *const values = keys + kOwnBytes, *stage = values + kOwnBytes;
    unsigned char* next = stage + kStageBytes;
    const int group = GROUPED ? (int)p.group : 1;
    const Head head(p, p.keys, GROUPED ? p.heads / group : p.heads, kOwn, false);
    Head asking = head;  // the first head of queries that has these keys
    if (GROUPED) {
        asking.h *= group;
        asking.index *= group;
    }
    const int line = threadIdx.x / 32 * 16, there = (int)p.keys - head.first, t = lane() % 4;
    const int end = (int)p.queries, first = p.firstQuery(head.first) / kOther * kOther;
    const int seeing = p.firstQuery(head.first + line);  // the first of the warp's own keys
    Copies copies;
    const T *queriesAt, *gradsAt;
    const float2* others;
    const auto fetch_stage = [&](unsigned char* to, int i) {
        fetch<kOther>(copies, to, queriesAt, p.q.t, end - i);
        fetch<kOther>(copies, to + kOtherBytes, gradsAt, p.grad.t, end - i);
        queriesAt += kOther * p.q.t;
        gradsAt += kOther * p.grad.t;
        fetch_numbers(copies, to, others + i, end - i);
        copies.commit();
    };
    fetch<kOwn>(copies, keys, head.row(k, p.k, head.first), p.k.t, there);
    fetch<kOwn>(copies, values, head.row(v, p.v, head.first), p.v.t, there);
    FragmentC sumsK[1][kWidth / 8], sumsV[1][kWidth / 8];
    clear(sumsK);
    clear(sumsV);
#pragma unroll 1
    for (int h = 0; h < group; h++) {
        const Choice choice(options, p, mask, base, asking.b, asking.h + h);
        queriesAt = asking.row(q, p.q, first) + h * p.q.h;
        gradsAt = asking.row(grad, p.grad, first) + h * p.grad.h;
        others = numbers + (asking.index + h) * p.queries;
        if (first < end) fetch_stage(stage, first);
        copies.wait<0>();
        __syncthreads();
        const Own<1, kKeysHeld> ownKeys(keys, line), ownValues(values, line);
#pragma unroll 1
        for (int i = first; i < end; i += kOther) {
            copies.wait<0>();
            __syncthreads();  // it is there, and nobody works on the other one any more
            if (i + kOther < end) fetch_stage(next, i + kOther);
#pragma unroll 1
            for (int part = max(0, (seeing - i) / kKeysPart * kKeysPart); part < kOther && i + part < end; part += kKeysPart) {
                const unsigned char* const queries = stage + part * kWidth * 2;
                const float* const pairs = flash::numbers(stage) + 2 * (part + t * 2);
                FragmentC s[1][kKeysPart / 8], ds[1][kKeysPart / 8];
                scores(s, ownKeys, queries);
                scores(ds, ownValues, queries + kOtherBytes);
                const auto of = [&](int n, int e) {
                    const float4 two = *(const float4*)(pairs + n * 16);
                    return e % 2 ? make_float2(two.z, two.w) : make_float2(two.x, two.y);
                };
                slopes<true>(s[0], ds[0], p, choice, of, head.first + line, i + part);
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
    }
    const float scale = (float)p.scale;
    put(keys, line, sumsK[0], scale, scale);
    put(values, line, sumsV[0], 1, 1);
    __syncwarp();
#pragma unroll 1
    for (int slopes = 0; slopes < 2; slopes++) {
        const Strides& strides = slopes ? p.dk : p.dv;
        T* const to = head.row(slopes ? dk : dv, strides, head.first);
        hand_out(to, strides.t, there, slopes ? keys : values, line, 16, [&](int r) {
            sum_again<true>(
                to + r * strides.t, head.first + r, p, group, [&] { return varying(slopes) != 0; },
                {head.row(k, p.k, 0), p.k.t, 0}, {head.row(v, p.v, 0), p.v.t, 0},
                {asking.row(q, p.q, 0), p.q.t, p.q.h}, {asking.row(grad, p.grad, 0), p.grad.t, p.grad.h},
                [&](int h, int i) { return numbers[(asking.index + h) * p.queries + i]; },
                [&](int h) { return Choice(options, p, mask, base, asking.b, asking.h + h); });
        });
    }
}
