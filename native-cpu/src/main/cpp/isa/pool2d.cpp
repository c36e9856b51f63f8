// SPDX-License-Identifier: Apache-2.0
//
// Max and average pooling over planes.
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

struct Pooling {
    int64_t planes, h, w, kh, kw, sh, sw, ph, pw, dh, dw, oh, ow;

    int64_t grain() const {  // a window may be far larger than the image: then it costs what lies inside
        return most(1, kGrain / most(1, cost(cost(oh, ow), cost(least(kh, h), least(kw, w)))));
    }
};

// The taps of a window of `taps` from `start` on, `dilation` apart, that lie inside [0, size): [*from, *to).
MERAPI_INLINE void taps_inside(int64_t start, int64_t dilation, int64_t taps, int64_t size, int64_t* from,
                               int64_t* to) {
    *from = start >= 0 ? 0 : least(taps, ceil_div(-start, dilation));
    *to = start >= size ? *from : most(*from, least(taps, (size - 1 - start) / dilation + 1));
}

template <class S>
void max_forward(const Pooling& q, const S* x, S* y, int64_t* indices) {
    using C = ComputeOf<S>;
    parallel_for(q.planes, q.grain(), [&](int64_t begin, int64_t end) {
        for (int64_t out = begin * q.oh * q.ow; begin < end; begin++) {
            const S* plane = x + begin * q.h * q.w;
            for (int64_t oy = 0; oy < q.oh; oy++) {
                const int64_t top = oy * q.sh - q.ph;
                int64_t i0, i1;
                taps_inside(top, q.dh, q.kh, q.h, &i0, &i1);
                for (int64_t ox = 0; ox < q.ow; ox++, out++) {
                    const int64_t left = ox * q.sw - q.pw;
                    int64_t j0, j1;
                    taps_inside(left, q.dw, q.kw, q.w, &j0, &j1);
                    // The first tap is taken whatever it is; after that `not <=` lets a NaN in, and none out.
                    C best = -static_cast<C>(INFINITY);
                    int64_t where = i0 < i1 && j0 < j1 ? (top + i0 * q.dh) * q.w + left + j0 * q.dw : -1;
                    for (int64_t i = i0; i < i1; i++) {
                        const int64_t row = (top + i * q.dh) * q.w + left;
                        for (int64_t j = j0; j < j1; j++) {
                            const C value = widen_one(plane[row + j * q.dw]);
                            const bool better = !(value <= best) & (best == best);
                            best = better ? value : best;
                            where = better ? row + j * q.dw : where;
                        }
                    }
                    narrow_one(y + out, best);
                    if (indices != nullptr) indices[out] = where;
                }
            }
        }
    });
}

// add(sum): adds to a plane of the compute type, which is then rounded into out.
template <class S, class Add>
void collect_plane(S* out, int64_t size, Add&& add) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    C* sum;
    if constexpr (is_small<S>) {
        sum = static_cast<C*>(scratch_take(static_cast<size_t>(size) * sizeof(C)));
    } else {
        sum = out;
    }
    std::memset(static_cast<void*>(sum), 0, static_cast<size_t>(size) * sizeof(C));
    add(sum);
    if constexpr (is_small<S>) {
        map_row<S>(size, [&](int64_t i, int lanes) { put(out + i, pick(sum + i, lanes), lanes); });
    }
}

template <class S>
void max_backward(const Pooling& q, const S* dy, const int64_t* indices, S* dx) {
    parallel_for(q.planes, q.grain(), [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; plane++) {
            collect_plane(dx + plane * q.h * q.w, q.h * q.w, [&](ComputeOf<S>* sum) {
                for (int64_t i = plane * q.oh * q.ow; i < (plane + 1) * q.oh * q.ow; i++) {
                    if (indices[i] >= 0 && indices[i] < q.h * q.w) sum[indices[i]] += widen_one(dy[i]);
                }
            });
        }
    });
}

struct Window {
    int64_t y0, y1, x0, x1;
    double count;
};
Window window_of(const Pooling& q, bool count_include_pad, int64_t oy, int64_t ox) {
    int64_t y0 = oy * q.sh - q.ph, x0 = ox * q.sw - q.pw;
    int64_t y1 = least(y0 + q.kh, q.h + q.ph), x1 = least(x0 + q.kw, q.w + q.pw);
    const double padded = static_cast<double>(y1 - y0) * static_cast<double>(x1 - x0);
    y0 = most(y0, 0);
    x0 = most(x0, 0);
    y1 = least(y1, q.h);
    x1 = least(x1, q.w);
    const int64_t inside = most(0, y1 - y0) * most(0, x1 - x0);
    return {y0, y1, x0, x1, count_include_pad ? padded : static_cast<double>(inside)};
}

template <class S>
void average_forward(const Pooling& q, bool count_include_pad, const S* x, S* y) {
    using C = ComputeOf<S>;
    parallel_for(q.planes, q.grain(), [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; plane++) {
            for (int64_t oy = 0; oy < q.oh; oy++) {
                for (int64_t ox = 0; ox < q.ow; ox++) {
                    const Window n = window_of(q, count_include_pad, oy, ox);
                    double sum = 0;
                    for (int64_t i = n.y0; i < n.y1; i++) {
                        const S* row = x + (plane * q.h + i) * q.w;
                        for (int64_t j = n.x0; j < n.x1; j++) sum += static_cast<double>(widen_one(row[j]));
                    }
                    narrow_one(y + (plane * q.oh + oy) * q.ow + ox, static_cast<C>(sum / n.count));
                }
            }
        }
    });
}

template <class S>
void average_backward(const Pooling& q, bool count_include_pad, const S* dy, S* dx) {
    using C = ComputeOf<S>;
    parallel_for(q.planes, q.grain(), [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; plane++) {
            collect_plane(dx + plane * q.h * q.w, q.h * q.w, [&](C* sum) {
                for (int64_t oy = 0; oy < q.oh; oy++) {
                    for (int64_t ox = 0; ox < q.ow; ox++) {
                        const Window n = window_of(q, count_include_pad, oy, ox);
                        const C share = widen_one(dy[(plane * q.oh + oy) * q.ow + ox]) / static_cast<C>(n.count);
                        for (int64_t i = n.y0; i < n.y1; i++) {
                            for (int64_t j = n.x0; j < n.x1; j++) sum[i * q.w + j] += share;
                        }
                    }
                }
            });
        }
    });
}

}  // namespace

void max_pool2d(int dtype, int64_t shape, int64_t x, int64_t y, int64_t indices) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        max_forward(*at<const Pooling>(shape), at<const S>(x), at<S>(y), at<int64_t>(indices));
    });
}

void max_pool2d_backward(int dtype, int64_t shape, int64_t dy, int64_t indices, int64_t dx) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        max_backward(*at<const Pooling>(shape), at<const S>(dy), at<const int64_t>(indices), at<S>(dx));
    });
}

void avg_pool2d(int dtype, int64_t shape, int count_include_pad, int64_t x, int64_t y) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        average_forward(*at<const Pooling>(shape), count_include_pad != 0, at<const S>(x), at<S>(y));
    });
}

void avg_pool2d_backward(int dtype, int64_t shape, int count_include_pad, int64_t dy, int64_t dx) {
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        average_backward(*at<const Pooling>(shape), count_include_pad != 0, at<const S>(dy), at<S>(dx));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
