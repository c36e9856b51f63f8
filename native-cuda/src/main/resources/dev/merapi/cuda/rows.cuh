// SPDX-License-Identifier: Apache-2.0
// What kernels of rows stand on. T: storage; kPack: neighbours that are loaded and stored at once, 16 bytes of them or
// one; kKept: packs of a row that a thread keeps in registers, 0 if rows are too long, and are read again.
//
// A row belongs to `lanes` threads: a power of two up to 32, many rows a block, or the whole block. Blocks have 512
// threads at most; where nothing is kept, two such blocks fit a multiprocessor.
namespace rows {
using namespace merapi;

typedef decltype(rd(T())) C;
typedef Pack<T, kPack> Packed;
constexpr int kBlocks = kKept > 0 ? 1 : 2;

#ifdef CUDASIM
MERAPI_F float op_larger(float a, float b) { return op_max(a, b); }
#else
MERAPI_F float op_larger(float a, float b) {
    float c;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(c) : "f"(a), "f"(b));
    return c;
}
#endif
MERAPI_F double op_larger(double a, double b) { return op_max(a, b); }

struct Sum {
    MERAPI_F C operator()(C a, C b) const { return a + b; }
};
struct Largest {
    MERAPI_F C operator()(C a, C b) const { return op_larger(a, b); }
};

// Joins a value of each thread of a row; all get the result, and always in the same order.
template <class F>
MERAPI_F C across(int lanes, C v, F join) {
    __shared__ C parts[32];
    for (int o = min(lanes, 32) / 2; o > 0; o /= 2) v = join(v, __shfl_xor_sync(0xffffffffu, v, o));
    if (lanes <= 32) return v;
    __syncthreads();  // the parts of the call before may still be read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < lanes / 32; i++) v = join(v, parts[i]);
    return v;
}

// The rows of a launch, one after the other: f(r, alive). All threads of a warp call it equally often; those of rows
// beyond the last are not alive, and only keep the others company.
template <class F>
MERAPI_F void each_row(i64 count, int lanes, F f) {
    const int teams = blockDim.x / lanes, team = threadIdx.x / lanes;
    for (i64 r = (i64)blockIdx.x * teams; r < count; r += (i64)gridDim.x * teams) f(r + team, r + team < count);
}

template <bool small>
struct IndexOf {
    typedef int type;
};
template <>
struct IndexOf<false> {
    typedef i64 type;
};
typedef IndexOf<(kKept > 0)>::type Index;

// Where a row of [outer, size, inner] lies, whose neighbours are inner elements apart, and which thread of it this is.
struct Row {
    i64 base, step;
    Index packs;
    int lanes, lane;
    MERAPI_F Row(i64 r, bool alive, i64 size, i64 inner, int of)
        : base(inner == 1 ? r * size : r / inner * size * inner + r % inner),
          step(inner),
          packs(alive ? Index(size / kPack) : 0),
          lanes(of),
          lane(threadIdx.x & (of - 1)) {}
    MERAPI_F i64 at(Index pack) const { return kPack > 1 ? pack * kPack : pack * step; }
};

MERAPI_F void unpack(const Packed& in, C (&v)[kPack]) {
#pragma unroll
    for (int e = 0; e < kPack; e++) v[e] = rd(in.v[e]);
}
MERAPI_F void read(const T* from, C (&v)[kPack]) {
    const Packed in = *(const Packed*)from;  // a copy, that it is one load
    unpack(in, v);
}
// Of a vector that may be absent.
MERAPI_F void read(const T* from, i64 j, C otherwise, C (&v)[kPack]) {
    if (from) {
        read(from + j, v);
        return;
    }
#pragma unroll
    for (int e = 0; e < kPack; e++) v[e] = otherwise;
}
MERAPI_F void write(T* to, const C (&v)[kPack]) {
    Packed out;
#pragma unroll
    for (int e = 0; e < kPack; e++) wr(out.v[e], v[e]);
    *(Packed*)to = out;
}

// A row of N tensors of one form: read once, if threads can keep their elements.
template <int N>
struct Kept {
    static constexpr int kTurn = kKept > 0 ? kKept : 4 / N;  // packs that are loaded before the first is used
    const T* x[N];
    Row row;
    C v[kKept > 0 ? kKept : 1][N][kPack];

    template <class... P>
    MERAPI_F Kept(const Row& of, P... from) : x{(from + of.base)...}, row(of) {
        if constexpr (kKept > 0) {
            Packed in[kTurn][N];
            load(row.lane, in);
#pragma unroll
            for (int k = 0; k < kTurn; k++) {
#pragma unroll
                for (int n = 0; n < N; n++) unpack(in[k][n], v[k][n]);
            }
        }
    }

    // The packs from this one on, each a row's threads behind the other.
    MERAPI_F void load(Index first, Packed (&in)[kTurn][N]) const {
#pragma unroll
        for (int k = 0; k < kTurn; k++) {
            const Index p = first + k * row.lanes;
#pragma unroll
            for (int n = 0; n < N; n++) {
                if (p < row.packs) in[k][n] = *(const Packed*)(x[n] + row.at(p));
            }
        }
    }

    // f(j, elements j, j + 1, … of each tensor) for the packs of this thread, in order. What f changes stays, if kept.
    template <class F>
    MERAPI_F void each(F f) {
        if constexpr (kKept > 0) {
#pragma unroll
            for (int k = 0; k < kTurn; k++) {
                const Index p = row.lane + k * row.lanes;
                if (p < row.packs) f(p * kPack, v[k]);
            }
        } else {
            for (Index first = row.lane; first < row.packs; first += kTurn * row.lanes) {
                Packed in[kTurn][N];
                load(first, in);
#pragma unroll
                for (int k = 0; k < kTurn; k++) {
                    const Index p = first + k * row.lanes;
                    if (p < row.packs) {
                        C e[N][kPack];
#pragma unroll
                        for (int n = 0; n < N; n++) unpack(in[k][n], e[n]);
                        f(p * kPack, e);
                    }
                }
            }
        }
    }

    // f(j, elements, result) for each, and the results to a tensor of the same form.
    template <class F>
    MERAPI_F void map(T* y, F f) {
        each([&](Index j, C(&e)[N][kPack]) {
            C out[kPack];
            f(j, e, out);
            write(y + row.base + row.at(j / kPack), out);
        });
    }
};

// The largest element of a row, and the sum of the exponentials of what the others are less.
struct Exponentials {
    C largest, sum;
};
// Elements that are kept become their exponentials, if that is wanted.
MERAPI_F Exponentials exponentials(Kept<1>& row, bool keep) {
    const int lanes = row.row.lanes;
    C m = -infinity(C()), s = 0;
    if constexpr (kKept > 0) {
        row.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) m = op_larger(m, v[0][e]);
        });
        m = across(lanes, m, Largest());
        row.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                const C p = op_exp(v[0][e] - m);
                s += p;
                if (keep) v[0][e] = p;
            }
        });
        return {m, across(lanes, s, Sum())};
    } else {
        // In one pass: what was summed up before a larger one came is made smaller.
        row.each([&](Index, C(&v)[1][kPack]) {
            C larger = m;
#pragma unroll
            for (int e = 0; e < kPack; e++) larger = op_larger(larger, v[0][e]);
            if (larger != m) s = m == -infinity(C()) ? C(0) : s * op_exp(m - larger);
            m = larger;
            const C base = m == -infinity(C()) ? C(0) : m;
#pragma unroll
            for (int e = 0; e < kPack; e++) s += op_exp(v[0][e] - base);
        });
        const C all = across(lanes, m, Largest());
        if (m != all) s = m == -infinity(C()) ? C(0) : s * op_exp(m - all);
        return {all, across(lanes, s, Sum())};
    }
}
}  // namespace rows
