// SPDX-License-Identifier: Apache-2.0
//
// How a reduction combines: over elements that follow each other (`fold`), over whole rows (`fold_rows`), and over
// partial results (`merge`).
//
// float32 sums run in float lanes over at most 16 elements a lane, and in double from there on; float64 sums likewise,
// with a compensated sum on top. The lanes are counted in elements, not in vectors, so that every instruction set adds
// in the same order and gives the same bits.
#pragma once

#include "loops.h"

namespace merapi {
namespace MERAPI_ISA {

// What one output knows so far. Each reduction uses the fields that it needs.
struct Acc {
    double a;   // sum, product, extreme (floats), mean
    double b;   // compensation of the sum, sum of squared deviations
    double c;   // count of elements (var)
    int64_t i;  // sum, product, extreme (integers), truth
    int64_t j;  // index of the extreme, -1 before the first element
};

template <class T>
constexpr bool is_float() {
    return T(0.5) != T(0);
}

template <class T>
MERAPI_INLINE T& extreme(Acc& acc);
template <>
MERAPI_INLINE double& extreme<double>(Acc& acc) {
    return acc.a;
}
template <>
MERAPI_INLINE int64_t& extreme<int64_t>(Acc& acc) {
    return acc.i;
}

template <class T>
struct Wide {
    using type = double;
};
template <>
struct Wide<int32_t> {
    using type = int64_t;
};
template <>
struct Wide<int64_t> {
    using type = int64_t;
};
template <>
struct Wide<uint8_t> {
    using type = int64_t;
};

// Integers wrap.
MERAPI_INLINE float plus(float x, float y) { return x + y; }
MERAPI_INLINE double plus(double x, double y) { return x + y; }
MERAPI_INLINE int64_t plus(int64_t x, int64_t y) {
    return static_cast<int64_t>(static_cast<uint64_t>(x) + static_cast<uint64_t>(y));
}
MERAPI_INLINE double times(double x, double y) { return x * y; }
MERAPI_INLINE int64_t times(int64_t x, int64_t y) {
    return static_cast<int64_t>(static_cast<uint64_t>(x) * static_cast<uint64_t>(y));
}

constexpr int64_t kSub = 1024;  // elements whose partial sums stay in lanes

// Sum of f(v[i]) over m <= kSub elements in `Lanes` interleaved partial sums of type A.
template <int Lanes, class A, class T, class F>
MERAPI_INLINE A lane_sum(const T* v, int64_t m, F f) {
    A lane[Lanes];
    for (int l = 0; l < Lanes; l++) lane[l] = A(0);
    int64_t i = 0;
    for (; i + Lanes <= m; i += Lanes) {
        for (int l = 0; l < Lanes; l++) lane[l] = plus(lane[l], f(v[i + l]));
    }
    for (int l = 0; l < Lanes; l++) {
        if (i + l < m) lane[l] = plus(lane[l], f(v[i + l]));
    }
    for (int width = Lanes / 2; width >= 1; width /= 2) {
        for (int l = 0; l < width; l++) lane[l] = plus(lane[l], lane[l + width]);
    }
    return lane[0];
}
template <class A, class T, class F>
MERAPI_INLINE A block_sum(const T* v, int64_t m, F f) {
    if (m >= 256) return lane_sum<64, A>(v, m, f);
    if (m >= 32) return lane_sum<16, A>(v, m, f);
    A sum = A(0);
    for (int64_t i = 0; i < m; i++) sum = plus(sum, f(v[i]));
    return sum;
}

// Adds x to the sum a + b without losing its low digits (Neumaier).
MERAPI_INLINE void add_compensated(Acc& acc, double x) {
    double t = acc.a + x;
    double lost = std::fabs(acc.a) >= std::fabs(x) ? (acc.a - t) + x : (x - t) + acc.a;
    acc.b += __builtin_isfinite(t) ? lost : 0.0;
    acc.a = t;
}

struct Kernel {
    void (*fold)(Acc&, const void* v, int64_t m, int64_t index);
    void (*merge)(Acc&, const Acc& later);
    // Columns: x and y are arrays of up to 8 bytes a column each. `row` counts the rows so far.
    void (*start_rows)(void* x, void* y, int64_t columns);
    void (*fold_rows)(void* x, void* y, const void* v, int64_t rows, int64_t columns, int64_t row);
    void (*take_rows)(const void* x, const void* y, int64_t rows, int64_t column, Acc&);
};

inline void start(Acc& acc, ReduceOp op) {
    acc.a = op == ReduceOp::prod ? 1.0 : 0.0;
    acc.b = acc.c = 0;
    acc.i = op == ReduceOp::prod || op == ReduceOp::all ? 1 : 0;
    acc.j = -1;
}

// ---- sums -----------------------------------------------------------------------------------------------------------

template <class T, bool kSquare>
struct Sum {
    using W = typename Wide<T>::type;
    using Part = typename std::conditional<is_float<T>(), T, int64_t>::type;

    static MERAPI_INLINE Part term(T x) { return kSquare ? Part(x) * Part(x) : Part(x); }

    static void fold(Acc& acc, const void* v, int64_t m, int64_t) {
        const T* p = static_cast<const T*>(v);
        for (int64_t at = 0; at < m; at += kSub) {
            int64_t n = m - at < kSub ? m - at : kSub;
            Part part = block_sum<Part>(p + at, n, term);
            if (is_float<T>()) {
                add_compensated(acc, static_cast<double>(part));
            } else {
                acc.i = plus(acc.i, static_cast<int64_t>(part));
            }
        }
    }
    static void merge(Acc& acc, const Acc& later) {
        if (is_float<T>()) {
            add_compensated(acc, later.a);
            acc.b += later.b;
        } else {
            acc.i = plus(acc.i, later.i);
        }
    }
    static void start_rows(void* x, void* y, int64_t columns) {
        std::memset(x, 0, static_cast<size_t>(columns) * 8);
        std::memset(y, 0, static_cast<size_t>(columns) * 8);
    }
    static void fold_rows(void* x, void* y, const void* v, int64_t rows, int64_t columns, int64_t row) {
        W* total = static_cast<W*>(x);
        Part* part = static_cast<Part*>(y);
        const T* p = static_cast<const T*>(v);
        for (int64_t r = 0; r < rows; r++, p += columns) {
            MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) part[c] = plus(part[c], term(p[c]));
            if ((row + r) % 16 == 15) {
                MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) {
                    total[c] = plus(total[c], static_cast<W>(part[c]));
                    part[c] = Part(0);
                }
            }
        }
    }
    static void take_rows(const void* x, const void* y, int64_t, int64_t column, Acc& acc) {
        W sum = plus(static_cast<const W*>(x)[column], static_cast<W>(static_cast<const Part*>(y)[column]));
        extreme<W>(acc) = sum;
    }
};

template <class T>
struct Prod {
    using W = typename Wide<T>::type;

    static void fold(Acc& acc, const void* v, int64_t m, int64_t) {
        const T* p = static_cast<const T*>(v);
        constexpr int kLanes = 16;
        W lane[kLanes];
        for (int l = 0; l < kLanes; l++) lane[l] = W(1);
        int64_t i = 0;
        for (; i + kLanes <= m; i += kLanes) {
            for (int l = 0; l < kLanes; l++) lane[l] = times(lane[l], W(p[i + l]));
        }
        for (int l = 0; i + l < m; l++) lane[l] = times(lane[l], W(p[i + l]));
        for (int width = kLanes / 2; width >= 1; width /= 2) {
            for (int l = 0; l < width; l++) lane[l] = times(lane[l], lane[l + width]);
        }
        extreme<W>(acc) = times(extreme<W>(acc), lane[0]);
    }
    static void merge(Acc& acc, const Acc& later) {
        extreme<W>(acc) = times(extreme<W>(acc), extreme<W>(const_cast<Acc&>(later)));
    }
    static void start_rows(void* x, void*, int64_t columns) {
        for (int64_t c = 0; c < columns; c++) static_cast<W*>(x)[c] = W(1);
    }
    static void fold_rows(void* x, void*, const void* v, int64_t rows, int64_t columns, int64_t) {
        W* total = static_cast<W*>(x);
        const T* p = static_cast<const T*>(v);
        for (int64_t r = 0; r < rows; r++, p += columns) {
            MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) total[c] = times(total[c], W(p[c]));
        }
    }
    static void take_rows(const void* x, const void*, int64_t, int64_t column, Acc& acc) {
        extreme<W>(acc) = static_cast<const W*>(x)[column];
    }
};

// ---- extremes: the first wins, and a NaN wins over all
// ----------------------------------------------------------------

template <class T, bool kMax>
struct Extreme {
    using W = typename Wide<T>::type;

    static MERAPI_INLINE bool beats(T x, T y) { return (kMax ? x > y : x < y) | (x != x); }
    // A NaN in y stays, for x > NaN is false, unless x is one as well.
    static MERAPI_INLINE T pick(T x, T y) { return beats(x, y) ? x : y; }

    // Eight lanes as a vector: as scalars, the comparisons of a short row become branches that are guessed wrong.
    typedef T Lanes __attribute__((vector_size(sizeof(T) * 8)));
    static MERAPI_INLINE Lanes pick_lanes(Lanes x, Lanes y) { return ((kMax ? x > y : x < y) | (x != x)) ? x : y; }
    static MERAPI_INLINE Lanes lanes_at(const T* p) {
        Lanes v;
        std::memcpy(&v, p, sizeof(v));
        return v;
    }
    static MERAPI_INLINE T short_block(const T* p, int64_t m) {
        Lanes best = lanes_at(p);
        int64_t i = 8;
        for (; i + 8 <= m; i += 8) best = pick_lanes(lanes_at(p + i), best);
        if (i < m) best = pick_lanes(lanes_at(p + m - 8), best);  // some elements twice: an extreme doesn't mind
        best = pick_lanes(__builtin_shufflevector(best, best, 4, 5, 6, 7, 0, 1, 2, 3), best);
        best = pick_lanes(__builtin_shufflevector(best, best, 2, 3, 0, 1, 6, 7, 4, 5), best);
        best = pick_lanes(__builtin_shufflevector(best, best, 1, 0, 3, 2, 5, 4, 7, 6), best);
        return best[0];
    }
    static MERAPI_INLINE T block(const T* p, int64_t m) {
        constexpr int kLanes = sizeof(T) == 8 ? 32 : 64;
        if (m < 2 * kLanes) {
            if (m >= 8) return short_block(p, m);
            T best = p[0];
            for (int64_t i = 1; i < m; i++) best = pick(p[i], best);
            return best;
        }
        T lane[kLanes];
        for (int l = 0; l < kLanes; l++) lane[l] = p[l];
        int64_t i = kLanes;
        for (; i + kLanes <= m; i += kLanes) {
            for (int l = 0; l < kLanes; l++) lane[l] = pick(p[i + l], lane[l]);
        }
        T best = short_block(lane, kLanes);
        for (; i < m; i++) best = pick(p[i], best);
        return best;
    }
    static bool better(const Acc& acc, T best) {
        if (acc.j < 0) return true;
        W held = extreme<W>(const_cast<Acc&>(acc));
        if (held != held) return false;
        return kMax ? !(W(best) <= held) : !(W(best) >= held);
    }
    static void fold(Acc& acc, const void* v, int64_t m, int64_t index) {
        const T* p = static_cast<const T*>(v);
        T best = block(p, m);
        if (!better(acc, best)) return;
        // Whole strips are asked at once whether it is in there.
        constexpr int kStrip = 64;
        int64_t at = 0;
        for (; at + kStrip <= m; at += kStrip) {
            int found = 0;
            for (int l = 0; l < kStrip; l++) found |= (p[at + l] == best) | (p[at + l] != p[at + l]);
            if (found != 0) break;
        }
        if (at + 8 <= m && at + kStrip > m) {  // a short row: all of it as a mask, eight at a time
            for (; at + 8 <= m; at += 8) {
                unsigned found = 0;
                for (int l = 0; l < 8; l++)
                    found |= static_cast<unsigned>((p[at + l] == best) | (p[at + l] != p[at + l])) << l;
                if (found != 0) {
                    at += __builtin_ctz(found);
                    break;
                }
            }
        }
        while (at < m - 1 && !(p[at] == best || p[at] != p[at])) at++;
        extreme<W>(acc) = W(best);
        acc.j = index + at;
    }
    static void fold_value(Acc& acc, const void* v, int64_t m, int64_t) {
        T best = block(static_cast<const T*>(v), m);
        if (!better(acc, best)) return;
        extreme<W>(acc) = W(best);
        acc.j = 0;
    }
    static void merge(Acc& acc, const Acc& later) {
        if (later.j >= 0 && better(acc, T(extreme<W>(const_cast<Acc&>(later))))) acc = later;
    }
    static void start_rows(void*, void*, int64_t) {}
    template <bool kIndex>
    static void rows(void* x, void* y, const void* v, int64_t count, int64_t columns, int64_t row) {
        T* best = static_cast<T*>(x);
        int64_t* where = static_cast<int64_t*>(y);
        const T* p = static_cast<const T*>(v);
        for (int64_t r = 0; r < count; r++, p += columns) {
            if (row + r == 0) {
                std::memcpy(best, p, static_cast<size_t>(columns) * sizeof(T));
                if (kIndex) std::memset(where, 0, static_cast<size_t>(columns) * 8);
                continue;
            }
            int64_t here = row + r;
            if (kIndex) {
                MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) {
                    bool wins = ((kMax ? p[c] > best[c] : p[c] < best[c]) | (p[c] != p[c])) & (best[c] == best[c]);
                    best[c] = wins ? p[c] : best[c];
                    where[c] = wins ? here : where[c];
                }
            } else {
                MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) best[c] = pick(p[c], best[c]);
            }
        }
    }
    static void take_value(const void* x, const void*, int64_t, int64_t column, Acc& acc) {
        extreme<W>(acc) = W(static_cast<const T*>(x)[column]);
        acc.j = 0;
    }
    static void take_index(const void* x, const void* y, int64_t, int64_t column, Acc& acc) {
        extreme<W>(acc) = W(static_cast<const T*>(x)[column]);
        acc.j = static_cast<const int64_t*>(y)[column];
    }
};

// ---- truth
// ------------------------------------------------------------------------------------------------------------

template <bool kAll>
struct Truth {
    static void fold(Acc& acc, const void* v, int64_t m, int64_t) {
        if ((acc.i != 0) != kAll) return;
        bool found = std::memchr(v, kAll ? 0 : 1, static_cast<size_t>(m)) != nullptr;
        if (found) acc.i = kAll ? 0 : 1;
    }
    static void merge(Acc& acc, const Acc& later) { acc.i = kAll ? (acc.i & later.i) : (acc.i | later.i); }
    static void start_rows(void* x, void*, int64_t columns) {
        std::memset(x, kAll ? 1 : 0, static_cast<size_t>(columns));
    }
    static void fold_rows(void* x, void*, const void* v, int64_t rows, int64_t columns, int64_t) {
        uint8_t* total = static_cast<uint8_t*>(x);
        const uint8_t* p = static_cast<const uint8_t*>(v);
        for (int64_t r = 0; r < rows; r++, p += columns) {
            MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) {
                total[c] = static_cast<uint8_t>(kAll ? (total[c] & p[c]) : (total[c] | p[c]));
            }
        }
    }
    static void take_rows(const void* x, const void*, int64_t, int64_t column, Acc& acc) {
        acc.i = static_cast<const uint8_t*>(x)[column];
    }
};

// ---- variance: the mean and the sum of squared deviations, merged as Chan, Golub and LeVeque do
// ----------------------

MERAPI_INLINE void merge_moments(Acc& acc, double mean, double deviations, double count) {
    double n = acc.c + count;
    double d = mean - acc.a;
    acc.b += deviations + (acc.c == 0 ? 0.0 : d * d * (acc.c * count / n));
    acc.a = acc.c == 0 ? mean : acc.a + d * (count / n);
    acc.c = n;
}

template <class T>
struct Variance {
    static void fold(Acc& acc, const void* v, int64_t m, int64_t) {
        const T* p = static_cast<const T*>(v);
        for (int64_t at = 0; at < m; at += kSub) {
            int64_t n = m - at < kSub ? m - at : kSub;
            double count = static_cast<double>(n);
            T near = static_cast<T>(static_cast<double>(block_sum<T>(p + at, n, [](T x) { return x; })) / count);
            double s1 = static_cast<double>(block_sum<T>(p + at, n, [near](T x) { return x - near; }));
            double s2 = static_cast<double>(block_sum<T>(p + at, n, [near](T x) { return (x - near) * (x - near); }));
            merge_moments(acc, static_cast<double>(near) + s1 / count, s2 - s1 * s1 / count, count);
        }
    }
    static void merge(Acc& acc, const Acc& later) {
        if (later.c > 0) merge_moments(acc, later.a, later.b, later.c);
    }
    static void start_rows(void* x, void* y, int64_t columns) {
        std::memset(x, 0, static_cast<size_t>(columns) * 8);
        std::memset(y, 0, static_cast<size_t>(columns) * 8);
    }
    static void fold_rows(void* x, void* y, const void* v, int64_t rows, int64_t columns, int64_t row) {
        double* mean = static_cast<double*>(x);
        double* deviations = static_cast<double*>(y);
        const T* p = static_cast<const T*>(v);
        for (int64_t r = 0; r < rows; r++, p += columns) {
            double share = 1.0 / static_cast<double>(row + r + 1);
            MERAPI_IVDEP for (int64_t c = 0; c < columns; c++) {
                double value = static_cast<double>(p[c]);
                double d = value - mean[c];
                double next = mean[c] + d * share;
                deviations[c] += d * (value - next);
                mean[c] = next;
            }
        }
    }
    static void take_rows(const void* x, const void* y, int64_t rows, int64_t column, Acc& acc) {
        acc.a = static_cast<const double*>(x)[column];
        acc.b = static_cast<const double*>(y)[column];
        acc.c = static_cast<double>(rows);
    }
};

// ---- the table
// ----------------------------------------------------------------------------------------------------------

template <class S>
Kernel kernel_of() {
    return Kernel{S::fold, S::merge, S::start_rows, S::fold_rows, S::take_rows};
}
template <class T, bool kMax>
Kernel extreme_kernel(bool index) {
    using E = Extreme<T, kMax>;
    if (index) return Kernel{E::fold, E::merge, E::start_rows, E::template rows<true>, E::take_index};
    return Kernel{E::fold_value, E::merge, E::start_rows, E::template rows<false>, E::take_value};
}
template <class T>
Kernel number_kernel(ReduceOp op) {
    switch (op) {
        case ReduceOp::prod:
            return kernel_of<Prod<T>>();
        case ReduceOp::min:
            return extreme_kernel<T, false>(false);
        case ReduceOp::max:
            return extreme_kernel<T, true>(false);
        case ReduceOp::argmin:
            return extreme_kernel<T, false>(true);
        case ReduceOp::argmax:
            return extreme_kernel<T, true>(true);
        default:
            return kernel_of<Sum<T, false>>();
    }
}
template <class T>
Kernel float_kernel(ReduceOp op) {
    if (op == ReduceOp::sumsq) return kernel_of<Sum<T, true>>();
    if (op == ReduceOp::var) return kernel_of<Variance<T>>();
    return number_kernel<T>(op);
}

inline Kernel find_kernel(ReduceOp op, Reg type) {
    switch (type) {
        case Reg::f32:
            return float_kernel<float>(op);
        case Reg::f64:
            return float_kernel<double>(op);
        case Reg::i32:
            return number_kernel<int32_t>(op);
        case Reg::i64:
            return number_kernel<int64_t>(op);
        default:
            return op == ReduceOp::all ? kernel_of<Truth<true>>() : kernel_of<Truth<false>>();
    }
}

}  // namespace MERAPI_ISA
}  // namespace merapi
