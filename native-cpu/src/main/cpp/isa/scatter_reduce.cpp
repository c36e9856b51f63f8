// SPDX-License-Identifier: Apache-2.0
//
// Values that meet at an element, reduced. Every element of the output is one thread's, which takes its values in the order
// of the source: results are the same for any number of threads. 16-bit floats are computed in float and rounded once.
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "index_at.h"
#include "lanes.h"
#include "sums.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

// Floats in their compute type; integers in 64 bits, which wrap.
template <class S>
struct Value {
    using T = typename Pick<is_float<S>, ComputeOf<S>, int64_t>::type;
    static T get(const S* p) {
        if constexpr (is_float<S>) {
            return widen_one(*p);
        } else {
            return static_cast<T>(*p);
        }
    }
    static void set(S* p, T x) {
        if constexpr (is_float<S>) {
            narrow_one(p, x);
        } else {
            *p = static_cast<S>(x);
        }
    }
    static T mean(T sum, int64_t count) {
        if constexpr (is_float<S>) {
            return sum / static_cast<T>(count);
        } else {
            return sum / count - (sum % count < 0);
        }
    }
    static T plus(T a, T b) {
        if constexpr (is_float<S>) {
            return a + b;
        } else {
            return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
        }
    }
    static T times(T a, T b) {
        if constexpr (is_float<S>) {
            return a * b;
        } else {
            return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
        }
    }
    // A NaN wins.
    static T largest(T a, T b) { return a != a || a > b ? a : b; }
    static T smallest(T a, T b) { return a != a || a < b ? a : b; }
};

struct Around {
    int64_t outer, dim, inner, k;
};

template <class S, class Join>
void reduce_elements(const S* x, const S* src, int index_dtype, int64_t indices, const Around& s, bool mean, bool self,
                     S* out, Outside& outside, Join join) {
    using V = Value<S>;
    using T = typename V::T;
    constexpr int64_t W = 64;  // columns a task
    if (s.inner == 0) return;
    const int64_t groups = ceil_div(s.inner, W);
    const int64_t grain = most(1, kGrain / most(1, (s.k + s.dim) * least(W, s.inner)));
    parallel_for(s.outer * groups, grain, [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        const size_t most_elements = static_cast<size_t>(s.dim * least(W, s.inner));
        T* all = static_cast<T*>(scratch_take(most_elements * sizeof(T)));
        int64_t* count = static_cast<int64_t*>(scratch_take(most_elements * sizeof(int64_t)));
        for (int64_t t = begin; t < end; t++) {
            const int64_t o = t / groups, first = t % groups * W, width = least(W, s.inner - first);
            const int64_t start = o * s.dim * s.inner + first;
            for (int64_t e = 0; e < s.dim * width; e++) {
                all[e] = V::get(x + start + e / width * s.inner + e % width);
                count[e] = self;
            }
            for (int64_t j = 0; j < s.k; j++) {
                const int64_t row = (o * s.k + j) * s.inner + first;
                for (int64_t c = 0; c < width; c++) {
                    const int64_t i = index_at(index_dtype, indices, row + c, s.dim, outside);
                    if (i < 0) continue;
                    const int64_t e = i * width + c;
                    const T value = V::get(src + row + c);
                    all[e] = count[e]++ == 0 ? value : join(all[e], value);
                }
            }
            for (int64_t e = 0; e < s.dim * width; e++) {
                V::set(out + start + e / width * s.inner + e % width,
                       mean && count[e] > 1 ? V::mean(all[e], count[e]) : all[e]);
            }
        }
    });
}

}  // namespace

int64_t scatter_reduce(int dtype, int64_t x, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim,
                       int64_t inner, int64_t k, int reduction, int include_self, int64_t out) {
    Outside outside;
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using V = Value<S>;
        using T = typename V::T;
        const ScatterReduction how = scatter_reduction_of(reduction);
        const auto run = [&](auto join) {
            reduce_elements<S>(at<const S>(x), at<const S>(src), index_dtype, indices, {outer, dim, inner, k},
                               how == ScatterReduction::mean, include_self != 0, at<S>(out), outside, join);
        };
        switch (how) {
            case ScatterReduction::sum:
            case ScatterReduction::mean:
                run([](T a, T b) { return V::plus(a, b); });
                break;
            case ScatterReduction::prod:
                run([](T a, T b) { return V::times(a, b); });
                break;
            case ScatterReduction::amax:
                run([](T a, T b) { return V::largest(a, b); });
                break;
            case ScatterReduction::amin:
                run([](T a, T b) { return V::smallest(a, b); });
                break;
        }
    });
    return outside.position();
}

}  // namespace MERAPI_ISA
}  // namespace merapi
