// SPDX-License-Identifier: Apache-2.0
//
// Along the middle dimension of [outer, n, inner], of all elements up to and with each one: sums, products, extremes,
// logarithms of sums of exponentials. A lane belongs to one thread.
#include <cmath>

#include "../pool.h"
#include "../structured.h"
#include "lanes.h"
#include "sums.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

constexpr int64_t kLanes = 32;

// f(start, width) for groups of up to kLanes lanes that lie side by side; start: where the first begins.
template <class F>
void each_lanes(int64_t outer, int64_t n, int64_t inner, F&& f) {
    if (inner == 0) return;
    const int64_t groups = ceil_div(inner, kLanes);
    parallel_for(outer * groups, most(1, kGrain / most(1, n * least(kLanes, inner))), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            const int64_t first = t % groups * kLanes;
            f(t / groups * n * inner + first, least(kLanes, inner - first));
        }
    });
}

// y_j = join(y_(j-1), x_j), from `from` on. Floats accumulate in double: what runs on has no tree to keep its error small.
template <class S, class Join>
void run(const S* x, int64_t outer, int64_t n, int64_t inner, S* y, double from, Join&& join) {
    using T = typename Sum<S>::T;
    using A = typename Pick<is_float<S>, double, T>::type;
    each_lanes(outer, n, inner, [&](int64_t start, int64_t width) {
        A so_far[kLanes];
        for (int64_t c = 0; c < width; c++) so_far[c] = static_cast<A>(from);
        for (int64_t j = 0; j < n; j++) {
            for (int64_t c = 0; c < width; c++) {
                so_far[c] = join(so_far[c], static_cast<A>(Sum<S>::get(x + start + j * inner + c)));
                Sum<S>::set(y + start + j * inner + c, static_cast<T>(so_far[c]));
            }
        }
    });
}

template <class S>
MERAPI_INLINE S number(S x) {
    return x;
}
MERAPI_INLINE float number(f16 x) { return widen_one(x); }
MERAPI_INLINE float number(bf16 x) { return widen_one(x); }

template <class S>
void extremes(const S* x, int64_t outer, int64_t n, int64_t inner, bool largest, S* values, int64_t* indices) {
    each_lanes(outer, n, inner, [&](int64_t start, int64_t width) {
        for (int64_t c = 0; c < width; c++) {
            int64_t where = 0;
            S best = n > 0 ? x[start + c] : S{};
            for (int64_t j = 0; j < n; j++) {
                const S element = x[start + j * inner + c];
                const auto v = number(element), b = number(best);
                if (v != v || (b == b && (largest ? v >= b : v <= b))) {
                    best = element;
                    where = j;
                }
                values[start + j * inner + c] = best;
                indices[start + j * inner + c] = where;
            }
        }
    });
}

double log_of_sum(double a, double b) {
    const double high = a > b || a != a ? a : b;
    if (!std::isfinite(high)) return high;
    return high + std::log1p(std::exp(-std::fabs(a - b)));
}

}  // namespace

void cumsum(int dtype, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t y) {
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        run(at<const S>(x), outer, n, inner, at<S>(y), 0, [](auto a, auto b) { return a + b; });
    });
}

void cumprod(int dtype, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t y) {
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        run(at<const S>(x), outer, n, inner, at<S>(y), 1, [](auto a, auto b) { return a * b; });
    });
}

void logcumsumexp(int dtype, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t y) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        run(at<const S>(x), outer, n, inner, at<S>(y), -INFINITY, [](double a, double b) { return log_of_sum(a, b); });
    });
}

void cumulative_extreme(int dtype, int largest, int64_t x, int64_t outer, int64_t n, int64_t inner, int64_t values,
                        int64_t indices) {
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        extremes(at<const S>(x), outer, n, inner, largest != 0, at<S>(values), at<int64_t>(indices));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
