// SPDX-License-Identifier: Apache-2.0
//
// Softmax and its relatives over the middle dimension of [outer, n, inner].
#include "../pool.h"
#include "../structured.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

enum class Kind { kSoftmax, kLogSoftmax };

// A row whose maximum is infinite: shifting by it would give inf - inf where the answer is known.
template <class C>
C finite_or_zero(C m) {
    return m - m == C(0) ? m : C(0);
}

template <Kind kind, class S>
void forward_row(const S* x, S* y, int64_t n) {
    using C = ComputeOf<S>;
    const C m = row_max(x, n);
    if (kind == Kind::kLogSoftmax) {
        const C lse = static_cast<C>(std::log(row_sum_exp(x, n, m)));
        map_row<S>(n, [&](int64_t i, int count) { put(y + i, pick(x + i, count) - splat(m) - splat(lse), count); });
    } else if (is_small<S> || x == y) {  // not through y: it would round twice
        const C scale = static_cast<C>(1.0 / row_sum_exp(x, n, m));
        map_row<S>(
            n, [&](int64_t i, int count) { put(y + i, vexp(pick(x + i, count) - splat(m)) * splat(scale), count); });
    } else {
        double sum = blocked_sum<C>(n, [&](int64_t i, int count) {
            auto e = vexp(pick(x + i, count, -static_cast<C>(INFINITY)) - splat(m));
            put(y + i, e, count);
            return e;
        });
        const C scale = static_cast<C>(1.0 / sum);
        map_row<S>(n, [&](int64_t i, int count) { put(y + i, pick(y + i, count) * splat(scale), count); });
    }
}

template <Kind kind, class S>
void backward_row(const S* y, const S* g, S* dx, int64_t n) {
    using C = ComputeOf<S>;
    const C sum = static_cast<C>(blocked_sum<C>(n, [&](int64_t i, int count) {
        auto gv = pick(g + i, count);
        return kind == Kind::kSoftmax ? gv * pick(y + i, count) : gv;
    }));
    map_row<S>(n, [&](int64_t i, int count) {
        auto yv = pick(y + i, count), gv = pick(g + i, count);
        put(dx + i, kind == Kind::kSoftmax ? yv * (gv - splat(sum)) : gv - vexp(yv) * splat(sum), count);
    });
}

// Columns side by side in the lanes, n steps of `inner` apart. body(offset of the first column, lanes in use).
template <class S, class F>
void for_columns(int64_t outer, int64_t n, int64_t inner, F&& body) {
    constexpr int L = lanes_of<S>;
    const int64_t groups = (inner + L - 1) / L;
    parallel_for(outer * groups, most(1, kGrain / most(1, n * L)), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            int64_t column = t % groups * L;
            body(t / groups * n * inner + column, t / groups * inner + column,
                 static_cast<int>(inner - column < L ? inner - column : L));
        }
    });
}

template <class S>
MERAPI_INLINE VecOf<S> columns_max(const S* x, int64_t n, int64_t inner, int count) {
    VecOf<S> m = splat(-static_cast<ComputeOf<S>>(INFINITY));
    for (int64_t j = 0; j < n; j++) m = vmax(pick(x + j * inner, count), m);
    return m;
}
// Sums of n vectors in blocks of 64, so that the error grows with sqrt(n) at most.
template <class V, class F>
MERAPI_INLINE V columns_sum(int64_t n, F&& term) {
    V total = V{};
    for (int64_t block = 0; block < n; block += 64) {
        V sum = V{};
        for (int64_t j = block; j < n && j < block + 64; j++) sum += term(j);
        total += sum;
    }
    return total;
}
template <class V>
MERAPI_INLINE V log_lanes(V v) {
    for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) v[i] = std::log(v[i]);
    return v;
}

template <Kind kind, class S>
void forward(const S* x, S* y, int64_t outer, int64_t n, int64_t inner) {
    if (inner == 1) {
        parallel_for(outer, most(1, kGrain / 4 / most(1, n)), [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; r++) forward_row<kind>(x + r * n, y + r * n, n);
        });
        return;
    }
    for_columns<S>(outer, n, inner, [&](int64_t at, int64_t, int count) {
        const auto m = columns_max(x + at, n, inner, count);
        auto sum = columns_sum<VecOf<S>>(n, [&](int64_t j) { return vexp(pick(x + at + j * inner, count) - m); });
        if (kind == Kind::kLogSoftmax) {
            const auto lse = log_lanes(sum);
            for (int64_t j = 0; j < n; j++) {
                put(y + at + j * inner, pick(x + at + j * inner, count) - m - lse, count);
            }
        } else {
            const auto scale = splat(ComputeOf<S>(1)) / sum;
            for (int64_t j = 0; j < n; j++) {
                put(y + at + j * inner, vexp(pick(x + at + j * inner, count) - m) * scale, count);
            }
        }
    });
}

template <Kind kind, class S>
void backward(const S* y, const S* g, S* dx, int64_t outer, int64_t n, int64_t inner) {
    if (inner == 1) {
        parallel_for(outer, most(1, kGrain / 2 / most(1, n)), [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; r++) backward_row<kind>(y + r * n, g + r * n, dx + r * n, n);
        });
        return;
    }
    for_columns<S>(outer, n, inner, [&](int64_t at, int64_t, int count) {
        const auto sum = columns_sum<VecOf<S>>(n, [&](int64_t j) {
            auto gv = pick(g + at + j * inner, count);
            return kind == Kind::kSoftmax ? gv * pick(y + at + j * inner, count) : gv;
        });
        for (int64_t j = 0; j < n; j++) {
            auto yv = pick(y + at + j * inner, count), gv = pick(g + at + j * inner, count);
            put(dx + at + j * inner, kind == Kind::kSoftmax ? yv * (gv - sum) : gv - vexp(yv) * sum, count);
        }
    });
}

template <class S>
void log_sum_exp(const S* x, S* out, int64_t outer, int64_t n, int64_t inner) {
    using C = ComputeOf<S>;
    if (inner == 1) {
        parallel_for(outer, most(1, kGrain / 4 / most(1, n)), [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; r++) {
                const C m = finite_or_zero(row_max(x + r * n, n));
                narrow_one(out + r, m + static_cast<C>(std::log(row_sum_exp(x + r * n, n, m))));
            }
        });
        return;
    }
    for_columns<S>(outer, n, inner, [&](int64_t at, int64_t at_out, int count) {
        auto m = columns_max(x + at, n, inner, count);
        m = select(m - m == splat(C(0)), m, splat(C(0)));
        auto sum = columns_sum<VecOf<S>>(n, [&](int64_t j) { return vexp(pick(x + at + j * inner, count) - m); });
        put(out + at_out, m + log_lanes(sum), count);
    });
}

}  // namespace

void softmax(int dtype, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        forward<Kind::kSoftmax>(at<const S>(x), at<S>(y), outer, n, inner);
    });
}

void log_softmax(int dtype, int64_t x, int64_t y, int64_t outer, int64_t n, int64_t inner) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        forward<Kind::kLogSoftmax>(at<const S>(x), at<S>(y), outer, n, inner);
    });
}

void softmax_backward(int dtype, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        backward<Kind::kSoftmax>(at<const S>(y), at<const S>(g), at<S>(dx), outer, n, inner);
    });
}

void log_softmax_backward(int dtype, int64_t y, int64_t g, int64_t dx, int64_t outer, int64_t n, int64_t inner) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        backward<Kind::kLogSoftmax>(at<const S>(y), at<const S>(g), at<S>(dx), outer, n, inner);
    });
}

void logsumexp(int dtype, int64_t x, int64_t out, int64_t outer, int64_t n, int64_t inner) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        log_sum_exp(at<const S>(x), at<S>(out), outer, n, inner);
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
