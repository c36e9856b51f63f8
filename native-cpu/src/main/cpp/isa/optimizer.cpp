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
    int64_t parameter, gradient, m, v, master, n;
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

double scalar(int dtype, int64_t address, double absent) {
    if (address == 0) return absent;
    return dtype == 1 ? *at<const double>(address) : static_cast<double>(*at<const float>(address));
}
void set_scalar(int dtype, int64_t address, double value) {
    if (address == 0) return;
    if (dtype == 1) {
        *at<double>(address) = value;
    } else {
        *at<float>(address) = static_cast<float>(value);
    }
}

template <class V>
MERAPI_INLINE V vsqrt(V v) {
    for (unsigned i = 0; i < sizeof(v) / sizeof(v[0]); i++) v[i] = std::sqrt(v[i]);
    return v;
}

}  // namespace

void adam(int dtype, int64_t list, int64_t count, double beta1, double beta2, double eps, double weight_decay,
          int decoupled, int scalar_dtype, int64_t lr, int64_t step, int64_t grad_scale, int64_t skip) {
    if (scalar(scalar_dtype, skip, 0) != 0) return;
    const double rate = scalar(scalar_dtype, lr, 0), t = scalar(scalar_dtype, step, 1);
    const double correction1 = 1 - std::pow(beta1, t), correction2 = std::sqrt(1 - std::pow(beta2, t));
    const double scale = scalar(scalar_dtype, grad_scale, 1);
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const auto g_scale = splat(static_cast<C>(scale));
        const auto b1 = splat(static_cast<C>(beta1)), one_b1 = splat(static_cast<C>(1 - beta1));
        const auto b2 = splat(static_cast<C>(beta2)), one_b2 = splat(static_cast<C>(1 - beta2));
        const auto keep = splat(static_cast<C>(decoupled != 0 ? 1 - rate * weight_decay : 1));
        const C l2 = static_cast<C>(decoupled != 0 ? 0 : weight_decay);
        const auto size = splat(static_cast<C>(rate / correction1));
        const auto inverse2 = splat(static_cast<C>(1 / correction2)), epsilon = splat(static_cast<C>(eps));
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            S* p = at<S>(e.parameter) + begin;
            const S* g = at<const S>(e.gradient) + begin;
            C* m = at<C>(e.m) + begin;
            C* v = at<C>(e.v) + begin;
            C* w = e.master == 0 ? nullptr : at<C>(e.master) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                auto pv = w != nullptr ? pick(w + i, lanes) : pick(p + i, lanes), gv = pick(g + i, lanes) * g_scale;
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
}

void sgd(int dtype, int64_t list, int64_t count, double momentum, double dampening, int nesterov, double weight_decay,
         int scalar_dtype, int64_t lr, int64_t step, int64_t grad_scale, int64_t skip) {
    if (scalar(scalar_dtype, skip, 0) != 0) return;
    const bool first = scalar(scalar_dtype, step, 1) <= 1;
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        const auto rate = splat(static_cast<C>(scalar(scalar_dtype, lr, 0)));
        const auto g_scale = splat(static_cast<C>(scalar(scalar_dtype, grad_scale, 1)));
        const auto mu = splat(static_cast<C>(momentum)), damp = splat(static_cast<C>(1 - dampening));
        const C l2 = static_cast<C>(weight_decay);
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            S* p = at<S>(e.parameter) + begin;
            const S* g = at<const S>(e.gradient) + begin;
            C* m = momentum == 0 || e.m == 0 ? nullptr : at<C>(e.m) + begin;
            C* w = e.master == 0 ? nullptr : at<C>(e.master) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) {
                auto pv = w != nullptr ? pick(w + i, lanes) : pick(p + i, lanes), gv = pick(g + i, lanes) * g_scale;
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
}

void grad_norm(int dtype, int64_t list, int64_t count, double max_norm, int scalar_dtype, int64_t norm, int64_t scale,
               int64_t skip) {
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    double* sums = static_cast<double*>(scratch_take(static_cast<size_t>(most(1, chunks[count])) * sizeof(double)));
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
    });
    double total = 0;
    for (int64_t c = 0; c < chunks[count]; c++) total += sums[c];
    const double length = std::sqrt(total);
    set_scalar(scalar_dtype, norm, length);
    const double factor = max_norm / (length + 1e-6);
    set_scalar(scalar_dtype, scale, factor < 1 ? factor : length == length ? 1.0 : length);
    set_scalar(scalar_dtype, skip, length - length == 0 ? 0 : 1);
}

void scale_grads(int dtype, int64_t list, int64_t count, int scalar_dtype, int64_t scale) {
    const double factor = scalar(scalar_dtype, scale, 1);
    if (factor == 1) return;
    ScratchFrame frame;
    const Entry* entries = at<const Entry>(list);
    const int64_t* chunks = number_chunks(entries, count);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        const auto f = splat(static_cast<ComputeOf<S>>(factor));
        for_chunks(entries, count, chunks, [&](const Entry& e, int64_t begin, int64_t end, int64_t) {
            S* g = at<S>(e.gradient) + begin;
            map_row<S>(end - begin, [&](int64_t i, int lanes) { put(g + i, pick(g + i, lanes) * f, lanes); });
        });
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
