// SPDX-License-Identifier: Apache-2.0
//
// Multi-tensor optimisers: all parameters in one call, chunks of all tensors in one parallel loop.
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

struct Entry {  // one row of the list
    int64_t parameter, gradient, m, v, master, steps, n;
};

// Chunks of kGrain elements over all tensors, numbered in list order. fn(entry, begin, end, chunk).
template <class F>
void for_chunks(const Entry* list, int64_t count, const int64_t* first_chunk, F&& fn) {
    parallel_for(first_chunk[count], 1, [&](int64_t begin, int64_t end) {
        for (int64_t chunk = begin; chunk < end; chunk++) {
            int64_t low = 0, high = count - 1;  // the last tensor that starts at or before the chunk
            while (low < high) {
                int64_t middle = (low + high + 1) / 2;
                if (first_chunk[middle] <= chunk) {
                    low = middle;
                } else {
                    high = middle - 1;
                }
            }
            int64_t from = (chunk - first_chunk[low]) * kGrain;
            fn(list[low], from, least(list[low].n, from + kGrain), chunk);
        }
    });
}
int64_t* number_chunks(const Entry* list, int64_t count) {
    int64_t* first = static_cast<int64_t*>(scratch_take(static_cast<size_t>(count + 1) * sizeof(int64_t)));
    first[0] = 0;
    for (int64_t t = 0; t < count; t++) first[t + 1] = first[t] + ceil_div(most(0, list[t].n), kGrain);
    return first;
}

double scalar(int64_t address, double absent) { return address == 0 ? absent : *at<const double>(address); }
void set_scalar(int64_t address, double value) {
    if (address != 0) *at<double>(address) = value;
}
bool is_set(int64_t flag) { return flag != 0 && *at<const float>(flag) != 0; }

// One more step for each parameter of the list.
void count_steps(const Entry* list, int64_t count) {
    for (int64_t t = 0; t < count; t++) ++*at<int64_t>(list[t].steps);
}

// A factor that C holds with all its digits; others are multiplied in double.
template <class C>
bool holds(double factor) {
    const double size = std::fabs(factor);
    return sizeof(C) == sizeof(double) || size == 0 || !(size < 0x1p-100 || size > 0x1p100) || size - size != 0;
}
template <class V>
MERAPI_INLINE V times_in_double(V v, double factor) {
    for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
        v[i] = static_cast<std::decay_t<decltype(v[0])>>(static_cast<double>(v[i]) * factor);
    }
    return v;
}

template <class V>
MERAPI_INLINE V vsqrt(V v) {
    for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) v[i] = std::sqrt(v[i]);
    return v;
}

}  // namespace

void adam(int dtype, int64_t list, int64_t count, double beta1, double beta2, double eps, double weight_decay,
          int decoupled, int64_t lr, int64_t grad_scale, int64_t skip) {
    if (is_set(skip)) return;
    const double rate = scalar(lr, 0), scale = scalar(grad_scale, 1);
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    struct Correction {
        double size, inverse2;
    };
    Correction* corrections =
        static_cast<Correction*>(scratch_take(static_cast<size_t>(most(1, count)) * sizeof(Correction)));
    int64_t last = -1;
    for (int64_t t = 0; t < count; t++) {
        const int64_t step = *at<const int64_t>(entries[t].steps) + 1;
        if (t > 0 && step == last) {  // the powers take long, and most parameters have had as many steps
            corrections[t] = corrections[t - 1];
        } else {
            const double s = static_cast<double>(step);
            corrections[t] = {rate / (1 - std::pow(beta1, s)), 1 / std::sqrt(1 - std::pow(beta2, s))};
        }
        last = step;
    }
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const auto g_scale = splat(static_cast<C>(scale));
        const bool in_double = !holds<C>(scale);
        const auto b1 = splat(static_cast<C>(beta1)), one_b1 = splat(static_cast<C>(1 - beta1));
        const auto b2 = splat(static_cast<C>(beta2)), one_b2 = splat(static_cast<C>(1 - beta2));
        const auto keep = splat(static_cast<C>(decoupled != 0 ? 1 - rate * weight_decay : 1));
        const C l2 = static_cast<C>(decoupled != 0 ? 0 : weight_decay);
        const auto epsilon = splat(static_cast<C>(eps));
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            const Correction& correction = corrections[&e - entries];
            const auto size = splat(static_cast<C>(correction.size));
            const auto inverse2 = splat(static_cast<C>(correction.inverse2));
            S* p = at<S>(e.parameter) + begin;
            const S* g = at<const S>(e.gradient) + begin;
            C* m = at<C>(e.m) + begin;
            C* v = at<C>(e.v) + begin;
            C* w = e.master == 0 ? nullptr : at<C>(e.master) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                auto pv = w != nullptr ? pick(w + i, lanes) : pick(p + i, lanes), gv = pick(g + i, lanes);
                gv = in_double ? times_in_double(gv, scale) : gv * g_scale;
                if (l2 != C(0)) gv += pv * splat(l2);
                auto mv = mad(pick(m + i, lanes), b1, gv * one_b1);
                auto vv = mad(pick(v + i, lanes), b2, gv * gv * one_b2);
                put(m + i, mv, lanes);
                put(v + i, vv, lanes);
                pv = pv * keep - size * mv / mad(vsqrt(vv), inverse2, epsilon);
                if (w != nullptr) put(w + i, pv, lanes);
                put(p + i, pv, lanes);
            });
        });
    });
    count_steps(entries, count);
}

void sgd(int dtype, int64_t list, int64_t count, double momentum, double dampening, int nesterov, double weight_decay,
         int64_t lr, int64_t grad_scale, int64_t skip) {
    if (is_set(skip)) return;
    const double scale = scalar(grad_scale, 1);
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const auto rate = splat(static_cast<C>(scalar(lr, 0)));
        const auto g_scale = splat(static_cast<C>(scale));
        const bool in_double = !holds<C>(scale);
        const auto mu = splat(static_cast<C>(momentum)), damp = splat(static_cast<C>(1 - dampening));
        const C l2 = static_cast<C>(weight_decay);
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            const bool first = *at<const int64_t>(e.steps) == 0;
            S* p = at<S>(e.parameter) + begin;
            const S* g = at<const S>(e.gradient) + begin;
            C* m = momentum == 0 || e.m == 0 ? nullptr : at<C>(e.m) + begin;
            C* w = e.master == 0 ? nullptr : at<C>(e.master) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                auto pv = w != nullptr ? pick(w + i, lanes) : pick(p + i, lanes), gv = pick(g + i, lanes);
                gv = in_double ? times_in_double(gv, scale) : gv * g_scale;
                if (l2 != C(0)) gv += pv * splat(l2);
                if (m != nullptr) {
                    auto mv = first ? gv : mad(pick(m + i, lanes), mu, gv * damp);
                    put(m + i, mv, lanes);
                    gv = nesterov != 0 ? mad(mv, mu, gv) : mv;
                }
                pv = pv - rate * gv;
                if (w != nullptr) put(w + i, pv, lanes);
                put(p + i, pv, lanes);
            });
        });
    });
    count_steps(entries, count);
}

namespace {

// A sum of squares whose terms neither overflow nor vanish: large and small ones are scaled before, by powers of two
// (J. L. Blue, A portable Fortran program to find the Euclidean norm of a vector, 1978).
struct Squares {
    static constexpr double kLarge = 0x1p490, kSmall = 0x1p-490, kDown = 0x1p-600, kUp = 0x1p600;
    double large = 0, middle = 0, small = 0;

    void add(double x) {
        const double size = std::fabs(x);
        if (size > kLarge) {
            large += x * kDown * (x * kDown);
        } else if (size < kSmall) {
            small += x * kUp * (x * kUp);
        } else {
            middle += x * x;  // NaN too
        }
    }
    // The norm with another one added, and most / (norm + 1e-6).
    void finish(double before, double most, double* norm, double* ratio) const {
        if (large > 0 || before > kLarge) {
            const double b = before * kDown, root = std::sqrt(large + middle * kDown * kDown + b * b);
            *norm = root * kUp;
            *ratio = most * kDown / root;  // also where the norm itself is not a double
        } else {
            const double b = before < kSmall ? before * kUp : 0, tiny = std::sqrt(small + b * b);
            const double t = tiny * kDown;
            *norm = middle == 0 && before < kSmall ? t : std::sqrt(middle + before * before + t * t);
            *ratio = most / (*norm + 1e-6);
        }
    }
};

}  // namespace

void grad_norm(int dtype, int64_t list, int64_t count, double max_norm, int64_t before, int64_t norm, int64_t scale,
               int64_t flag) {
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    double* sums = static_cast<double*>(scratch_take(static_cast<size_t>(most(1, chunks[count])) * sizeof(double)));
    Squares squares;
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t chunk) {
            const S* g = at<const S>(e.gradient) + begin;
            // In double from the start: the square of a float gradient may overflow float.
            f64v a = splat(0.0), b = a;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                auto x = pick(g + i, lanes);
                if constexpr (same_type<S, double>) {
                    a = mad(x, x, a);
                } else {
                    a = mad(low_f64(x), low_f64(x), a);
                    b = mad(high_f64(x), high_f64(x), b);
                }
            });
            sums[chunk] = hsum(a + b);
        });
        for (int64_t c = 0; c < chunks[count]; c++) squares.middle += sums[c];
        if constexpr (same_type<S, double>) {
            // Rare: squares of doubles that are not doubles themselves.
            if (!(squares.middle > 0x1p-900 && squares.middle < 0x1p1000)) {
                squares = {};
                for (int64_t t = 0; t < count; t++) {
                    for (int64_t i = 0; i < entries[t].n; i++) squares.add(at<const double>(entries[t].gradient)[i]);
                }
            }
        }
    });
    if (flag != 0) {
        const double total = squares.large + squares.middle;
        *at<float>(flag) = total - total == 0 ? 0 : 1;
    }
    double length, ratio;
    squares.finish(std::fabs(scalar(before, 0)), max_norm, &length, &ratio);
    set_scalar(norm, length);
    set_scalar(scale, ratio > 1 ? 1 : ratio);  // NaN stays
}

void scale_grads(int dtype, int64_t list, int64_t count, int64_t scale) {
    const double factor = scalar(scale, 1);
    if (factor == 1) return;
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const auto f = splat(static_cast<C>(factor));
        const bool in_double = !holds<C>(factor);
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            S* g = at<S>(e.gradient) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                const auto x = pick(g + i, lanes);
                put(g + i, in_double ? times_in_double(x, factor) : x * f, lanes);
            });
        });
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
