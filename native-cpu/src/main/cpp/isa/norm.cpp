// SPDX-License-Identifier: Apache-2.0
//
// Layer norm and RMS norm over the rows of [rows, n].
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

template <class S>
MERAPI_INLINE VecOf<S> pick_or(const S* p, int64_t i, int count, ComputeOf<S> otherwise) {
    return p == nullptr ? splat(otherwise) : pick(p + i, count);
}
int64_t row_grain(int64_t n) { return most(1, kGrain / 2 / most(1, n)); }

template <bool centered, class S>
void forward(const S* x, const S* weight, const S* bias, int64_t rows, int64_t n, double eps, S* y,
             ComputeOf<S>* mean_out, ComputeOf<S>* rstd_out) {
    using C = ComputeOf<S>;
    constexpr int L = lanes_of<S>;
    parallel_for(rows, row_grain(n), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) {
            const S* row = x + r * n;
            S* out = y + r * n;
            C mean = 0;
            if (centered) {
                double sum = blocked_sum<C>(n, [&](int64_t i, int count) { return pick(row + i, count); });
                mean = static_cast<C>(sum / static_cast<double>(n));
            }
            double squares = blocked_sum<C>(n, [&](int64_t i, int count) {
                auto d = (count == L ? vload(row + i) : vload_part(row + i, count, mean)) - splat(mean);
                return d * d;
            });
            const C rstd = static_cast<C>(1 / std::sqrt(squares / static_cast<double>(n) + eps));
            if (mean_out != nullptr) mean_out[r] = mean;
            if (rstd_out != nullptr) rstd_out[r] = rstd;
            map_row<S>(n, [&](int64_t i, int count) {
                auto v = (pick(row + i, count) - splat(mean)) * splat(rstd);
                if (weight != nullptr) v *= pick(weight + i, count);
                if (bias != nullptr) v += pick(bias + i, count);
                put(out + i, v, count);
            });
        }
    });
}

// Parameter gradients are summed by block of rows and then over blocks, whoever computed them. At most 64 blocks, so
// that the partial sums stay small beside x.
template <bool centered, class S>
void backward(const S* dy, const S* x, const ComputeOf<S>* mean, const ComputeOf<S>* rstd, const S* weight,
              int64_t rows, int64_t n, S* dx, S* dweight, S* dbias) {
    using C = ComputeOf<S>;
    const int64_t block = most(row_grain(n), ceil_div(rows, 64)), blocks = ceil_div(rows, block);
    const bool parameters = dweight != nullptr || dbias != nullptr;
    ScratchFrame frame;
    C* partial = nullptr;
    if (parameters) partial = static_cast<C*>(scratch_take(static_cast<size_t>(most(1, blocks) * 2 * n) * sizeof(C)));
    parallel_for(rows, block, [&](int64_t begin, int64_t end) {
        C* dw = nullptr;
        C* db = nullptr;
        if (parameters) {
            dw = partial + begin / block * 2 * n;
            db = dw + n;
            std::memset(static_cast<void*>(dw), 0, static_cast<size_t>(2 * n) * sizeof(C));
        }
        for (int64_t r = begin; r < end; r++) {
            const S* g = dy + r * n;
            const S* row = x + r * n;
            const C mu = centered ? mean[r] : C(0), scale = rstd[r];
            if (parameters) {
                map_row<S>(n, [&](int64_t i, int count) {
                    auto gv = pick(g + i, count);
                    auto hat = (pick(row + i, count) - splat(mu)) * splat(scale);
                    put(dw + i, pick(dw + i, count) + gv * hat, count);
                    if (dbias != nullptr) put(db + i, pick(db + i, count) + gv, count);
                });
            }
            if (dx == nullptr) continue;
            double along = blocked_sum<C>(n, [&](int64_t i, int count) {
                return pick(g + i, count) * pick_or(weight, i, count, 1) * (pick(row + i, count) - splat(mu));
            });
            double sum = !centered ? 0 : blocked_sum<C>(n, [&](int64_t i, int count) {
                return pick(g + i, count) * pick_or(weight, i, count, 1);
            });
            const C slope = static_cast<C>(along * static_cast<double>(scale) / static_cast<double>(n));
            const C shift = static_cast<C>(sum / static_cast<double>(n));
            map_row<S>(n, [&](int64_t i, int count) {
                auto gv = pick(g + i, count) * pick_or(weight, i, count, 1);
                auto hat = (pick(row + i, count) - splat(mu)) * splat(scale);
                put(dx + r * n + i, (gv - splat(shift) - hat * splat(slope)) * splat(scale), count);
            });
        }
    });
    if (!parameters) return;
    parallel_for(n, most(lanes_of<S>, kGrain / 4 / most(1, blocks) / 64 * 64), [&](int64_t begin, int64_t end) {
        map_row<S>(end - begin, [&](int64_t offset, int count) {
            const int64_t i = begin + offset;
            auto dw = splat(C(0)), db = dw;
            for (int64_t b = 0; b < blocks; b++) {
                dw += pick(partial + b * 2 * n + i, count);
                if (dbias != nullptr) db += pick(partial + b * 2 * n + n + i, count);
            }
            if (dweight != nullptr) put(dweight + i, dw, count);
            if (dbias != nullptr) put(dbias + i, db, count);
        });
    });
}

}  // namespace

void layer_norm(int dtype, int64_t x, int64_t weight, int64_t bias, int64_t rows, int64_t n, double eps, int64_t y,
                int64_t mean, int64_t rstd) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        forward<true>(at<const S>(x), at<const S>(weight), at<const S>(bias), rows, n, eps, at<S>(y), at<C>(mean),
                      at<C>(rstd));
    });
}

void layer_norm_backward(int dtype, int64_t dy, int64_t x, int64_t mean, int64_t rstd, int64_t weight, int64_t rows,
                         int64_t n, int64_t dx, int64_t dweight, int64_t dbias) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        backward<true>(at<const S>(dy), at<const S>(x), at<const C>(mean), at<const C>(rstd), at<const S>(weight), rows,
                       n, at<S>(dx), at<S>(dweight), at<S>(dbias));
    });
}

void rms_norm(int dtype, int64_t x, int64_t weight, int64_t rows, int64_t n, double eps, int64_t y, int64_t rstd) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        forward<false>(at<const S>(x), at<const S>(weight), at<const S>(0), rows, n, eps, at<S>(y), at<C>(0),
                       at<C>(rstd));
    });
}

void rms_norm_backward(int dtype, int64_t dy, int64_t x, int64_t rstd, int64_t weight, int64_t rows, int64_t n,
                       int64_t dx, int64_t dweight) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        backward<false>(at<const S>(dy), at<const S>(x), at<const C>(0), at<const C>(rstd), at<const S>(weight), rows,
                        n, at<S>(dx), at<S>(dweight), at<S>(0));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
