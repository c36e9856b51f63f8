// SPDX-License-Identifier: Apache-2.0
// What kernels of rows stand on. T: storage; kPack: neighbours that are loaded and stored at once, 16 bytes of them or
// one; kKept: packs of a row that a thread keeps in registers, 0 if rows are too long, and are read again; kColumns:
// whether rows go along a dimension that is not the last, so that a pack is of neighbouring rows.
//
// A row belongs to `lanes` threads: a power of two up to 32, many rows a block, or the whole block. Columns are rows of
// which `width` neighbours, or packs of neighbours, are a tile: each of its `lanes` lines is `width` threads, which
// read what lies side by side. Widths are powers of two up to 32, and up to a line of 128 bytes, unless there is one
// line. Blocks have 512 threads at most; where nothing is kept, two such blocks of rows fit a multiprocessor.
namespace rows {
using namespace merapi;

typedef decltype(rd(T())) C;
typedef Pack<T, kPack> Packed;
constexpr int kBlocks = kKept > 0 || kColumns || sizeof(T) == 8 ? 1 : 2;
// Rows that a thread works on at the same time; element e of a pack belongs to row own(e) of them.
constexpr int kOwn = kColumns ? kPack : 1;
MERAPI_F constexpr int own(int e) { return kColumns ? e : 0; }

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
// beyond the last are not alive, and only keep the others company. Of columns each r is a pack of them.
template <class F>
MERAPI_F void each_row(i64 count, int lanes, int width, F f) {
    const int teams = blockDim.x / lanes;
    const int team = threadIdx.x / (lanes * width) * width + (threadIdx.x & (width - 1));
    for (i64 r = (i64)blockIdx.x * teams; r < count; r += (i64)gridDim.x * teams) f(r + team, r + team < count);
}
template <class F>
MERAPI_F void each_row(i64 count, int lanes, F f) {
    each_row(count, lanes, 1, f);
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

// Where a row of `size` elements lies, or of columns in [outer, size, inner] a pack, and which thread of it this is.
struct Row {
    i64 base, step;
    Index packs;
    int lanes, lane, width;
    MERAPI_F Row(i64 r, bool alive, i64 size, int of)
        : base(r * size),
          step(kPack),
          packs(alive ? Index(size / kPack) : 0),
          lanes(of),
          lane(threadIdx.x & (of - 1)),
          width(1) {}
    MERAPI_F Row(i64 r, bool alive, i64 size, i64 inner, int of, int side) : Row(r, alive, size, of) {
        if constexpr (kColumns) {
            const i64 packed = inner / kPack, plane = r / packed;
            base = plane * size * inner + (r - plane * packed) * kPack;
            step = inner;
            packs = alive ? Index(size) : 0;
            lane = threadIdx.x / side & (of - 1);
            width = side;
        }
    }
    MERAPI_F i64 at(Index pack) const { return kColumns ? pack * step : (i64)pack * kPack; }

    // Joins a value of each thread for each of the rows that it works on, as the function of that name.
    template <class F>
    MERAPI_F void across(C (&v)[kOwn], F join) const {
        if constexpr (!kColumns) {
            v[0] = rows::across(lanes, v[0], join);
        } else {
            __shared__ C parts[16][128 / sizeof(T)];
            const int all = lanes * width;
            if (lanes == 1) return;
            for (int o = min(all, 32) / 2; o >= width; o /= 2) {
#pragma unroll
                for (int e = 0; e < kOwn; e++) v[e] = join(v[e], __shfl_xor_sync(0xffffffffu, v[e], o));
            }
            if (all <= 32) return;
            const int x = (threadIdx.x & (width - 1)) * kOwn, warp = threadIdx.x / 32, first = warp & ~(all / 32 - 1);
            __syncthreads();
            if (threadIdx.x % 32 < width) {
#pragma unroll
                for (int e = 0; e < kOwn; e++) parts[warp][x + e] = v[e];
            }
            __syncthreads();
#pragma unroll
            for (int e = 0; e < kOwn; e++) v[e] = parts[first][x + e];
            for (int i = 1; i < all / 32; i++) {
#pragma unroll
                for (int e = 0; e < kOwn; e++) v[e] = join(v[e], parts[first + i][x + e]);
            }
        }
    }
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
    static constexpr int kStep = kColumns ? 1 : kPack;       // of j from one pack to the next
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

    // f(j, elements j, j + 1, …, or those in place j of neighbouring rows, of each tensor) for the packs of this
    // thread, in order. What f changes stays, if kept.
    template <class F>
    MERAPI_F void each(F f) {
        if constexpr (kKept > 0) {
#pragma unroll
            for (int k = 0; k < kTurn; k++) {
                const Index p = row.lane + k * row.lanes;
                if (p < row.packs) f(p * kStep, v[k]);
            }
        } else {
            // The next ones are on their way while one is used; the loop is not unrolled, or registers would not do.
            Packed in[kTurn][N];
            load(row.lane, in);
#pragma unroll 1
            for (Index p = row.lane; p < row.packs; p += row.lanes) {
                C e[N][kPack];
#pragma unroll
                for (int n = 0; n < N; n++) unpack(in[0][n], e[n]);
#pragma unroll
                for (int k = 0; k + 1 < kTurn; k++) {
#pragma unroll
                    for (int n = 0; n < N; n++) in[k][n] = in[k + 1][n];
                }
                const Index next = p + kTurn * row.lanes;
                if (next < row.packs) {
#pragma unroll
                    for (int n = 0; n < N; n++) in[kTurn - 1][n] = *(const Packed*)(x[n] + row.at(next));
                }
                f(p * kStep, e);
            }
        }
    }

    // f(j, elements, result) for each, and the results to a tensor of the same form.
    template <class F>
    MERAPI_F void map(T* y, F f) {
        each([&](Index j, C(&e)[N][kPack]) {
            C out[kPack];
            f(j, e, out);
            write(y + row.base + row.at(j / kStep), out);
        });
    }
};

// The largest element of a row, and the sum of the exponentials of what the others are less.
struct Exponentials {
    C largest[kOwn], sum[kOwn];
};
// A sum of exponentials becomes relative to a larger number.
MERAPI_F void rescale(C& sum, C from, C to) {
    if (from != to) sum = from == -infinity(C()) ? C(0) : sum * op_exp(from - to);
}
// Elements that are kept become their exponentials, if that is wanted.
MERAPI_F Exponentials exponentials(Kept<1>& row, bool keep) {
    Exponentials all;
    C(&m)[kOwn] = all.largest;
    C(&s)[kOwn] = all.sum;
#pragma unroll
    for (int i = 0; i < kOwn; i++) m[i] = -infinity(C()), s[i] = 0;
    if constexpr (kKept > 0) {
        row.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) m[own(e)] = op_larger(m[own(e)], v[0][e]);
        });
        row.row.across(m, Largest());
        row.each([&](Index, C(&v)[1][kPack]) {
#pragma unroll
            for (int e = 0; e < kPack; e++) {
                const C p = op_exp(v[0][e] - m[own(e)]);
                s[own(e)] += p;
                if (keep) v[0][e] = p;
            }
        });
    } else {
        // In one pass: what was summed up before a larger one came is made smaller.
        C mine[kOwn];
        row.each([&](Index, C(&v)[1][kPack]) {
            C larger[kOwn];
#pragma unroll
            for (int i = 0; i < kOwn; i++) larger[i] = m[i];
#pragma unroll
            for (int e = 0; e < kPack; e++) larger[own(e)] = op_larger(larger[own(e)], v[0][e]);
#pragma unroll
            for (int i = 0; i < kOwn; i++) rescale(s[i], m[i], larger[i]);
#pragma unroll
            for (int i = 0; i < kOwn; i++) m[i] = larger[i];
#pragma unroll
            for (int e = 0; e < kPack; e++)
                s[own(e)] += op_exp(v[0][e] - (m[own(e)] == -infinity(C()) ? C(0) : m[own(e)]));
        });
#pragma unroll
        for (int i = 0; i < kOwn; i++) mine[i] = m[i];
        row.row.across(m, Largest());
#pragma unroll
        for (int i = 0; i < kOwn; i++) rescale(s[i], mine[i], m[i]);
    }
    row.row.across(s, Sum());
    return all;
}
}  // namespace rows
