// SPDX-License-Identifier: Apache-2.0
// softmax(scale·q·kᵀ + mask)·v and its gradients, with memory linear in the number of positions: any mask, dropout and
// groups of heads. T: storage.
// One block a query (forward, dq) or a key (dk, dv); keys or queries are taken in turns of a block's threads, whose
// scores stay in shared memory. Dynamic shared memory: the row at hand, [D] (twice in the gradients of keys).
namespace attention {
using namespace merapi;
typedef decltype(rd(T())) C;

struct Strides {
    i64 b, h, t, d;
};
struct Problem {
    i64 batch, heads, queries, keys, width, causal;
    double scale;
    i64 group, shift;  // heads that share keys and values; query i sees keys up to i + shift if it is causal
    Strides q, k, v, out, grad, dq, dk, dv;
};

struct Sum {
    MERAPI_F C operator()(C a, C b) const { return a + b; }
};
struct Largest {
    MERAPI_F C operator()(C a, C b) const { return op_max(a, b); }
};
template <class F>
MERAPI_F C across(C v, F join) {
    __shared__ C parts[32];
    for (int o = 16; o > 0; o >>= 1) v = join(v, __shfl_xor_sync(0xffffffffu, v, o));
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < (int)blockDim.x / 32; i++) v = join(v, parts[i]);
    return v;
}
template <class U>
MERAPI_F U* row(U* x, const Strides& s, i64 b, i64 h, i64 t) {
    return x + b * s.b + h * s.h + t * s.t;
}
// Keys that query i sees: the first so many.
MERAPI_F i64 seen(const Problem& p, i64 i) {
    if (!p.causal) return p.keys;
    const i64 n = i + p.shift + 1;
    return n < 0 ? 0 : n < p.keys ? n : p.keys;
}
// The first query that sees key j.
MERAPI_F i64 firstQuery(const Problem& p, i64 j) { return p.causal ? max((i64)0, j - p.shift) : 0; }
MERAPI_F C dot(const C* a, const T* b, i64 step, i64 width) {
    C s = 0;
    for (i64 d = 0; d < width; d++) s = op_fma(a[d], rd(b[d * step]), s);
    return s;
}

// A mask, which is added or says by 0 what is hidden, and dropout: see Note [Dropped weights] in Attention.java.
struct Options {
    Strides strides;
    i64 adds, threshold;
    double kept;
    i64 seed, offset;
};
// Options for a query or a key of one head.
struct Choice {
    const Options& o;
    const Problem& p;
    const void* mask;
    const i64* base;
    i64 b, h;

    // What the mask adds to a score; −∞ hides the key.
    MERAPI_F C added(i64 i, i64 j) const {
        if (!mask) return 0;
        const i64 at = b * o.strides.b + h * o.strides.h + i * o.strides.t + j * o.strides.d;
        if (o.adds) return rd(((const T*)mask)[at]);
        return ((const unsigned char*)mask)[at] ? C(0) : -infinity(C());
    }
    // What a weight is multiplied by.
    MERAPI_F C factor(i64 i, i64 j) const {
        if (o.threshold == 0) return 1;
        const u64 row = (u64)((i * p.batch + b) * p.heads + h), start = (u64)o.offset + (base ? (u64)*base : 0);
        const philox::Block block = philox::block((u64)o.seed, start + row * (u64)((p.keys + 3) / 4) + (u64)(j / 4));
        const int l = (int)(j & 3);
        const u32 lane = l == 0 ? block.lane[0] : l == 1 ? block.lane[1] : l == 2 ? block.lane[2] : block.lane[3];
        return (u64)lane >= (u64)o.threshold ? (C)o.kept : C(0);
    }
};
}  // namespace attention

extern "C" __global__ void __launch_bounds__(128)
    attend_forward(const T* q, const T* k, const T* v, T* y, attention::C* lse, const void* mask, const long long* base,
                   const attention::Options options, const attention::Problem p) {
    using namespace attention;
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ C weights[128];
    __shared__ bool hidden[128];
    C* query = (C*)memory;
    C* sums = query + p.width;
    const int t = threadIdx.x;
    for (i64 r = blockIdx.x; r < p.batch * p.heads * p.queries; r += gridDim.x) {
        const i64 i = r % p.queries, h = r / p.queries % p.heads, b = r / p.queries / p.heads, n = seen(p, i);
        const i64 shared = h / p.group;
        const Choice choice = {options, p, mask, base, b, h};
        __syncthreads();
        for (i64 d = t; d < p.width; d += 128) {
            query[d] = rd(row(q, p.q, b, h, i)[d * p.q.d]) * (C)p.scale;
            sums[d] = 0;
        }
        C largest = -infinity(C()), total = 0;
        for (i64 j0 = 0; j0 < n; j0 += 128) {
            __syncthreads();
            const i64 j = j0 + t;
            const C more = j < n ? choice.added(i, j) : -infinity(C());
            const bool sees = more != -infinity(C());
            const C score = sees ? dot(query, row(k, p.k, b, shared, j), p.k.d, p.width) + more : more;
            const C top = op_max(largest, across(score, Largest()));
            const C origin = top == -infinity(C()) ? C(0) : top;  // scores of −∞ alone have the weights 0
            const C fade = op_exp(largest - origin), w = sees ? op_exp(score - origin) : C(0);
            weights[t] = sees ? w * choice.factor(i, j) : C(0);
            hidden[t] = !sees;
            total = total * fade + across(w, Sum());
            largest = top;
            for (i64 d = t; d < p.width; d += 128) {
                C s = sums[d] * fade;
                const i64 end = min((i64)128, n - j0);
                for (i64 e = 0; e < end; e++) {
                    if (!hidden[e]) s = op_fma(weights[e], rd(row(v, p.v, b, shared, j0 + e)[d * p.v.d]), s);
                }
                sums[d] = s;
            }
        }
        for (i64 d = t; d < p.width; d += 128) wr(row(y, p.out, b, h, i)[d * p.out.d], sums[d] / (total == 0 ? C(1) : total));
        if (t == 0) lse[r] = largest + op_log(total);
    }
}

// Of each query: what is taken from its scores before they become weights, which are all 0 where it has seen no score above
// −∞; and the gradient times the result, summed.
extern "C" __global__ void attend_backward_inner(const T* grad, const T* y, const attention::C* lse,
                                                 attention::C* numbers, const attention::Problem p) {
    using namespace attention;
    for (i64 r = (i64)blockIdx.x * blockDim.x + threadIdx.x; r < p.batch * p.heads * p.queries;
         r += (i64)gridDim.x * blockDim.x) {
        const i64 i = r % p.queries, h = r / p.queries % p.heads, b = r / p.queries / p.heads;
        C s = 0;
        for (i64 d = 0; d < p.width; d++) {
            s = op_fma(rd(row(grad, p.grad, b, h, i)[d * p.grad.d]), rd(row(y, p.out, b, h, i)[d * p.out.d]), s);
        }
        numbers[2 * r] = lse[r] == -infinity(C()) ? infinity(C()) : lse[r];
        numbers[2 * r + 1] = s;
    }
}

extern "C" __global__ void __launch_bounds__(128)
    attend_backward_queries(const T* grad, const T* q, const T* k, const T* v,
                            const attention::C* numbers, T* dq, const void* mask, const long long* base,
                            const attention::Options options, const attention::Problem p) {
    using namespace attention;
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ C weights[128];
    __shared__ bool hidden[128];
    C* query = (C*)memory;
    C* g = query + p.width;
    const int t = threadIdx.x;
    for (i64 r = blockIdx.x; r < p.batch * p.heads * p.queries; r += gridDim.x) {
        const i64 i = r % p.queries, h = r / p.queries % p.heads, b = r / p.queries / p.heads, n = seen(p, i);
        const i64 shared = h / p.group;
        const Choice choice = {options, p, mask, base, b, h};
        __syncthreads();
        for (i64 d = t; d < p.width; d += 128) {
            query[d] = rd(row(q, p.q, b, h, i)[d * p.q.d]) * (C)p.scale;
            g[d] = rd(row(grad, p.grad, b, h, i)[d * p.grad.d]);
        }
        // Every thread holds some of the columns, so that sums are in registers.
        C sums[4] = {0, 0, 0, 0};
        for (i64 j0 = 0; j0 < n; j0 += 128) {
            __syncthreads();
            const i64 j = j0 + t;
            const C more = j < n ? choice.added(i, j) : -infinity(C());
            const bool sees = more != -infinity(C());
            C ds = 0;
            if (sees) {
                const C w = op_exp(dot(query, row(k, p.k, b, shared, j), p.k.d, p.width) + more - numbers[2 * r]);
                const C dw = dot(g, row(v, p.v, b, shared, j), p.v.d, p.width) * choice.factor(i, j);
                ds = w * (dw - numbers[2 * r + 1]);
            }
            weights[t] = ds * (C)p.scale;
            hidden[t] = !sees;
            __syncthreads();
            const i64 end = min((i64)128, n - j0);
#pragma unroll
            for (int c = 0; c < 4; c++) {
                const i64 d = t + c * 128;
                if (d < p.width) {
                    for (i64 e = 0; e < end; e++) {
                        if (!hidden[e])
                            sums[c] = op_fma(weights[e], rd(row(k, p.k, b, shared, j0 + e)[d * p.k.d]), sums[c]);
                    }
                }
            }
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const i64 d = t + c * 128;
            if (d < p.width) wr(row(dq, p.dq, b, h, i)[d * p.dq.d], sums[c]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(128)
    attend_backward_keys(const T* grad, const T* q, const T* k, const T* v, const attention::C* numbers, T* dk, T* dv,
                         const void* mask, const long long* base, const attention::Options options,
                         const attention::Problem p) {
    using namespace attention;
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ C weights[128], slopes[128];
    __shared__ bool hidden[128];
    C* key = (C*)memory;
    C* value = key + p.width;
    const int t = threadIdx.x;
    const i64 heads = p.heads / p.group;
    for (i64 r = blockIdx.x; r < p.batch * heads * p.keys; r += gridDim.x) {
        const i64 j = r % p.keys, shared = r / p.keys % heads, b = r / p.keys / heads;
        __syncthreads();
        for (i64 d = t; d < p.width; d += 128) {
            key[d] = rd(row(k, p.k, b, shared, j)[d * p.k.d]) * (C)p.scale;
            value[d] = rd(row(v, p.v, b, shared, j)[d * p.v.d]);
        }
        C sumK[4] = {0, 0, 0, 0}, sumV[4] = {0, 0, 0, 0};
        for (i64 h = shared * p.group; h < (shared + 1) * p.group; h++) {
            const Choice choice = {options, p, mask, base, b, h};
            const C* const others = numbers + (b * p.heads + h) * p.queries * 2;
            for (i64 i0 = firstQuery(p, j); i0 < p.queries; i0 += 128) {
                __syncthreads();
                const i64 i = i0 + t;
                const C more = i < p.queries ? choice.added(i, j) : -infinity(C());
                const bool sees = more != -infinity(C());
                C w = 0, ds = 0;
                if (sees) {
                    const C factor = choice.factor(i, j);
                    w = op_exp(dot(key, row(q, p.q, b, h, i), p.q.d, p.width) + more - others[2 * i]);
                    const C dw = dot(value, row(grad, p.grad, b, h, i), p.grad.d, p.width) * factor;
                    ds = w * (dw - others[2 * i + 1]);
                    w *= factor;
                }
                weights[t] = w;
                slopes[t] = ds * (C)p.scale;
                hidden[t] = !sees;
                __syncthreads();
                const i64 end = min((i64)128, p.queries - i0);
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    const i64 d = t + c * 128;
                    if (d < p.width) {
                        for (i64 e = 0; e < end; e++) {
                            if (hidden[e]) continue;
                            sumK[c] = op_fma(slopes[e], rd(row(q, p.q, b, h, i0 + e)[d * p.q.d]), sumK[c]);
                            sumV[c] = op_fma(weights[e], rd(row(grad, p.grad, b, h, i0 + e)[d * p.grad.d]), sumV[c]);
                        }
                    }
                }
            }
        }
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const i64 d = t + c * 128;
            if (d < p.width) {
                wr(row(dk, p.dk, b, shared, j)[d * p.dk.d], sumK[c]);
                wr(row(dv, p.dv, b, shared, j)[d * p.dv.d], sumV[c]);
            }
        }
    }
}
