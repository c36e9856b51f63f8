// SPDX-License-Identifier: Apache-2.0
//
// Convolution as matrix multiplication over patches, a strip of output rows at a time, so that the patches of a strip
// stay in the cache whatever the size of the image.
#include "../structured.h"
#include "gemm.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

struct Conv {
    int64_t n, c, h, w, o, kh, kw, sh, sw, ph, pw, dh, dw, groups, oh, ow;

    int64_t cg() const { return c / groups; }
    int64_t og() const { return o / groups; }
    int64_t taps() const { return kh * kw; }
    int64_t out_plane() const { return oh * ow; }
    bool depthwise() const { return groups > 1 && groups == c; }
    bool pointwise() const { return taps() == 1 && sh == 1 && sw == 1 && ph == 0 && pw == 0; }
};

// How an output plane is cut, for patches of that many elements: strips of whole rows, or where one row's patches are too
// many for the cache, of a part of a row. No kernel and no image makes the patches of a strip larger than that.
struct Strips {
    int64_t rows, columns, across, count;  // of a strip at most; strips in a row of them; strips

    Strips(const Conv& q, int64_t patch) {
        const int64_t cached = most(1, (int64_t{1} << 16) / most(1, patch));
        rows = least(q.oh, most(1, cached / q.ow));
        // A row is cut only where its patches are many times what the cache holds: short products are slow ones.
        columns = least(q.ow, most(256, 16 * cached));
        columns = least(columns, most(1, (int64_t{1} << 24) / most(1, patch)));
        if (columns < q.ow) rows = 1;
        across = ceil_div(q.ow, columns);
        count = ceil_div(q.oh, rows) * across;
    }
    int64_t area() const { return rows * columns; }
};

// One of them: output rows [y0, y1) and columns [x0, x1), which lie side by side in memory.
struct Strip {
    int64_t y0, y1, x0, x1;

    Strip(const Conv& q, const Strips& s, int64_t k) {
        y0 = k / s.across * s.rows;
        y1 = least(q.oh, y0 + s.rows);
        x0 = k % s.across * s.columns;
        x1 = least(q.ow, x0 + s.columns);
    }
    int64_t columns() const { return (y1 - y0) * (x1 - x0); }
};

// Output columns [*from, *to) whose tap at offset `tap` (in input columns, padding subtracted) lies inside [0, size).
void valid_range(int64_t tap, int64_t stride, int64_t size, int64_t count, int64_t* from, int64_t* to) {
    *from = tap >= 0 ? 0 : least(count, ceil_div(-tap, stride));
    *to = tap >= size ? *from : most(*from, least(count, (size - 1 - tap) / stride + 1));
}

// patches[c * taps + tap][column of the strip] for `channels` planes.
template <class S>
void unfold(const Conv& q, const S* planes, int64_t channels, const Strip& strip, ComputeOf<S>* patches) {
    using C = ComputeOf<S>;
    const int64_t width = strip.x1 - strip.x0;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < q.kh; i++) {
            for (int64_t j = 0; j < q.kw; j++) {
                const int64_t tap = strip.x0 * q.sw + j * q.dw - q.pw;
                int64_t from, to;
                valid_range(tap, q.sw, q.w, width, &from, &to);
                for (int64_t y = strip.y0; y < strip.y1; y++, patches += width) {
                    const int64_t row = y * q.sh + i * q.dh - q.ph;
                    if (row < 0 || row >= q.h || from == to) {
                        for (int64_t x = 0; x < width; x++) patches[x] = C(0);
                        continue;
                    }
                    const S* s = planes + (c * q.h + row) * q.w + (tap + from * q.sw);
                    for (int64_t x = 0; x < from; x++) patches[x] = C(0);
                    if (q.sw == 1) {
                        map_row<S>(to - from, [&](int64_t x, int lanes) {
                            put(patches + from + x, pick(s + x, lanes), lanes);
                        });
                    } else {
                        for (int64_t x = from; x < to; x++) patches[x] = widen_one(s[(x - from) * q.sw]);
                    }
                    for (int64_t x = to; x < width; x++) patches[x] = C(0);
                }
            }
        }
    }
}

// The transpose of unfold: adds patches back to planes of the compute type.
template <class C>
void fold(const Conv& q, const C* patches, int64_t channels, const Strip& strip, C* planes) {
    const int64_t width = strip.x1 - strip.x0;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < q.kh; i++) {
            for (int64_t j = 0; j < q.kw; j++) {
                const int64_t tap = strip.x0 * q.sw + j * q.dw - q.pw;
                int64_t from, to;
                valid_range(tap, q.sw, q.w, width, &from, &to);
                for (int64_t y = strip.y0; y < strip.y1; y++, patches += width) {
                    const int64_t row = y * q.sh + i * q.dh - q.ph;
                    if (row < 0 || row >= q.h || from == to) continue;
                    C* s = planes + (c * q.h + row) * q.w + (tap + from * q.sw);
                    if (q.sw == 1) {
                        map_row<C>(to - from, [&](int64_t x, int lanes) {
                            put(s + x, pick(s + x, lanes) + pick(patches + from + x, lanes), lanes);
                        });
                    } else {
                        for (int64_t x = from; x < to; x++) s[(x - from) * q.sw] += patches[x];
                    }
                }
            }
        }
    }
}

template <class C>
C* take(int64_t count) {
    return static_cast<C*>(scratch_take(static_cast<size_t>(most(1, count)) * sizeof(C)));
}

// The array in its compute type: itself, or a converted copy in scratch.
template <class S>
const ComputeOf<S>* widened(const S* p, int64_t count) {
    if constexpr (is_small<S>) {
        float* copy = take<float>(count);
        map_row<S>(count, [&](int64_t i, int lanes) { put(copy + i, pick(p + i, lanes), lanes); });
        return copy;
    } else {
        return p;
    }
}
// [rows, columns] out of planes of `stride`.
template <class S>
const ComputeOf<S>* widened_block(const S* p, int64_t stride, int64_t rows, int64_t columns, ComputeOf<S>* copy) {
    for (int64_t r = 0; r < rows; r++) {
        map_row<S>(columns,
                   [&](int64_t i, int lanes) { put(copy + r * columns + i, pick(p + r * stride + i, lanes), lanes); });
    }
    return copy;
}

// ---- a channel a group: each plane by itself, row by row, with no patches -------------------------------------------

// f(row of x, output column from, to, x's column of the first) for the taps of output row y that lie inside.
template <class F>
MERAPI_INLINE void each_tap(const Conv& q, int64_t y, F&& f) {
    for (int64_t i = 0; i < q.kh; i++) {
        const int64_t row = y * q.sh + i * q.dh - q.ph;
        if (row < 0 || row >= q.h) continue;
        for (int64_t j = 0; j < q.kw; j++) {
            const int64_t tap = j * q.dw - q.pw;
            int64_t from, to;
            valid_range(tap, q.sw, q.w, q.ow, &from, &to);
            if (from < to) f(i * q.kw + j, from, to, row * q.w + tap + from * q.sw);
        }
    }
}

int64_t depthwise_grain(const Conv& q) { return most(1, kGrain / most(1, cost(q.taps(), q.out_plane()))); }

template <class S>
void depthwise_forward(const Conv& q, const S* x, const S* weight, const S* bias, S* y) {
    using C = ComputeOf<S>;
    parallel_for(q.n * q.o, depthwise_grain(q), [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        C* sum = take<C>(q.ow);
        for (int64_t t = begin; t < end; t++) {
            const int64_t o = t % q.o;
            const S* plane = x + (t / q.o * q.c + o / q.og()) * q.h * q.w;
            for (int64_t r = 0; r < q.oh; r++) {
                const C start = bias == nullptr ? C(0) : widen_one(bias[o]);
                for (int64_t i = 0; i < q.ow; i++) sum[i] = start;
                each_tap(q, r, [&](int64_t tap, int64_t from, int64_t to, int64_t first) {
                    const C k = widen_one(weight[o * q.taps() + tap]);
                    const S* s = plane + first;
                    if (q.sw == 1) {
                        map_row<S>(to - from, [&](int64_t i, int lanes) {
                            put(sum + from + i, mad(splat(k), pick(s + i, lanes), pick(sum + from + i, lanes)), lanes);
                        });
                    } else {
                        for (int64_t i = from; i < to; i++) sum[i] += k * widen_one(s[(i - from) * q.sw]);
                    }
                });
                S* out = y + t * q.out_plane() + r * q.ow;
                map_row<S>(q.ow, [&](int64_t i, int lanes) { put(out + i, pick(sum + i, lanes), lanes); });
            }
        }
    });
}

template <class S>
void depthwise_input_gradient(const Conv& q, const S* weight, const S* dy, S* dx) {
    using C = ComputeOf<S>;
    const int64_t plane = q.h * q.w;
    parallel_for(q.n * q.c, most(1, depthwise_grain(q) / most(1, q.og())), [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        C* kept = is_small<S> ? take<C>(plane) : nullptr;
        for (int64_t t = begin; t < end; t++) {
            C* sum = kept;
            if constexpr (!is_small<S>) sum = dx + t * plane;
            for (int64_t i = 0; i < plane; i++) sum[i] = C(0);
            for (int64_t k = 0; k < q.og(); k++) {
                const int64_t o = t % q.c * q.og() + k;
                const S* grads = dy + (t / q.c * q.o + o) * q.out_plane();
                for (int64_t r = 0; r < q.oh; r++) {
                    each_tap(q, r, [&](int64_t tap, int64_t from, int64_t to, int64_t first) {
                        const C w = widen_one(weight[o * q.taps() + tap]);
                        const S* g = grads + r * q.ow + from;
                        C* s = sum + first;
                        if (q.sw == 1) {
                            map_row<S>(to - from, [&](int64_t i, int lanes) {
                                put(s + i, mad(splat(w), pick(g + i, lanes), pick(s + i, lanes)), lanes);
                            });
                        } else {
                            for (int64_t i = 0; i < to - from; i++) s[i * q.sw] += w * widen_one(g[i]);
                        }
                    });
                }
            }
            if constexpr (is_small<S>) {
                S* out = dx + t * plane;
                map_row<S>(plane, [&](int64_t i, int lanes) { put(out + i, pick(sum + i, lanes), lanes); });
            }
        }
    });
}

template <class S>
void depthwise_weight_gradient(const Conv& q, const S* x, const S* dy, S* dweight) {
    using C = ComputeOf<S>;
    parallel_for(q.o, most(1, depthwise_grain(q) / most(1, q.n)), [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        double* sums = take<double>(q.taps());
        for (int64_t o = begin; o < end; o++) {
            for (int64_t i = 0; i < q.taps(); i++) sums[i] = 0;
            for (int64_t image = 0; image < q.n; image++) {
                const S* plane = x + (image * q.c + o / q.og()) * q.h * q.w;
                const S* grads = dy + (image * q.o + o) * q.out_plane();
                for (int64_t r = 0; r < q.oh; r++) {
                    each_tap(q, r, [&](int64_t tap, int64_t from, int64_t to, int64_t first) {
                        const S* g = grads + r * q.ow + from;
                        const S* s = plane + first;
                        if (q.sw == 1) {
                            sums[tap] += blocked_sum<C>(to - from, [&](int64_t i, int lanes) {
                                return pick(g + i, lanes) * pick(s + i, lanes);
                            });
                        } else {
                            double sum = 0;
                            for (int64_t i = 0; i < to - from; i++) {
                                sum += static_cast<double>(widen_one(g[i])) * static_cast<double>(widen_one(s[i * q.sw]));
                            }
                            sums[tap] += sum;
                        }
                    });
                }
            }
            for (int64_t i = 0; i < q.taps(); i++) narrow_one(dweight + o * q.taps() + i, static_cast<C>(sums[i]));
        }
    });
}

// ---- groups of several channels -------------------------------------------------------------------------------------

template <class S>
void forward(const Conv& q, const S* x, const S* weight, const S* bias, S* y) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    const int64_t patch = q.cg() * q.taps();
    const Strips strips(q, patch);
    const C* w = widened(weight, q.o * patch);
    const int64_t work = cost(q.og() * patch, strips.area());
    parallel_for(q.n * q.groups * strips.count, most(1, (1 << 18) / most(1, work)), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            ScratchFrame inner;
            const int64_t image = t / (q.groups * strips.count), g = t / strips.count % q.groups;
            const Strip strip(q, strips, t % strips.count);
            const int64_t columns = strip.columns(), first = strip.y0 * q.ow + strip.x0;
            const S* planes = x + (image * q.c + g * q.cg()) * q.h * q.w;
            S* out = y + (image * q.o + g * q.og()) * q.out_plane() + first;
            const C* patches;
            int64_t ld = columns;
            if constexpr (is_small<S>) {
                C* p = take<C>(patch * columns);
                unfold(q, planes, q.cg(), strip, p);
                patches = p;
            } else if (q.pointwise()) {
                patches = planes + first;
                ld = q.out_plane();
            } else {
                C* p = take<C>(patch * columns);
                unfold(q, planes, q.cg(), strip, p);
                patches = p;
            }
            C* to;
            int64_t ld_to;
            if constexpr (is_small<S>) {
                to = take<C>(q.og() * columns);
                ld_to = columns;
            } else {
                to = out;
                ld_to = q.out_plane();
            }
            product<C>(false, false, q.og(), columns, patch, C(1), w + g * q.og() * patch, patch, patches, ld, C(0), to,
                       ld_to, nullptr);
            if (bias == nullptr && !is_small<S>) continue;
            for (int64_t o = 0; o < q.og(); o++) {
                const C b = bias == nullptr ? C(0) : widen_one(bias[g * q.og() + o]);
                map_row<S>(columns, [&](int64_t i, int lanes) {
                    put(out + o * q.out_plane() + i, pick(to + o * ld_to + i, lanes) + splat(b), lanes);
                });
            }
        }
    });
}

// dx: patches' gradients Wᵀ·dy, folded back. A task owns some channels of an image, so nobody else adds to them.
template <class S>
void input_gradient(const Conv& q, const S* weight, const S* dy, S* dx) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    if (q.n * q.c * q.h * q.w == 0) return;
    if (q.o == 0) {  // a sum over nothing, and patches of any size
        std::memset(static_cast<void*>(dx), 0, static_cast<size_t>(q.n * q.c * q.h * q.w) * sizeof(S));
        return;
    }
    const int64_t patch = q.cg() * q.taps();
    const C* w = widened(weight, q.o * patch);
    const int64_t block = least(q.cg(), most(1, 128 / q.taps())), blocks = ceil_div(q.cg(), block);
    const Strips strips(q, block * q.taps());
    const int64_t work = cost(q.og() * block * q.taps(), q.out_plane());
    parallel_for(q.n * q.groups * blocks, most(1, (1 << 18) / most(1, work)), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            ScratchFrame inner;
            const int64_t image = t / (q.groups * blocks), g = t / blocks % q.groups, c0 = t % blocks * block;
            const int64_t channels = least(block, q.cg() - c0), taps = channels * q.taps(), plane = q.h * q.w;
            S* out = dx + (image * q.c + g * q.cg() + c0) * plane;
            C* sum;
            if constexpr (is_small<S>) {
                sum = take<C>(channels * plane);
            } else {
                sum = out;
            }
            std::memset(static_cast<void*>(sum), 0, static_cast<size_t>(channels * plane) * sizeof(C));
            C* patches = take<C>(taps * strips.area());
            C* rows = is_small<S> ? take<C>(q.og() * strips.area()) : nullptr;
            for (int64_t k = 0; k < strips.count; k++) {
                const Strip strip(q, strips, k);
                const int64_t columns = strip.columns(), start = strip.y0 * q.ow + strip.x0;
                const S* from = dy + (image * q.o + g * q.og()) * q.out_plane() + start;
                const C* grads;
                int64_t ld;
                if constexpr (is_small<S>) {
                    grads = widened_block(from, q.out_plane(), q.og(), columns, rows);
                    ld = columns;
                } else {
                    grads = from;
                    ld = q.out_plane();
                }
                const bool direct = q.pointwise();  // the patches are the planes
                product<C>(true, false, taps, columns, q.og(), C(1), w + g * q.og() * patch + c0 * q.taps(), patch,
                           grads, ld, C(0), direct ? sum + start : patches, direct ? plane : columns, nullptr);
                if (!direct) fold(q, patches, channels, strip, sum);
            }
            if constexpr (is_small<S>) {
                map_row<S>(channels * plane, [&](int64_t i, int lanes) { put(out + i, pick(sum + i, lanes), lanes); });
            }
        }
    });
}

// dweight = sum over images of dy·patchesᵀ. Images are summed by block and the blocks in order.
template <class S>
void weight_gradient(const Conv& q, const S* x, const S* dy, S* dweight) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    const int64_t patch = q.cg() * q.taps(), size = q.o * patch;
    if (size == 0) return;
    if (q.n == 0) {  // a sum over no images
        std::memset(static_cast<void*>(dweight), 0, static_cast<size_t>(size) * sizeof(S));
        return;
    }
    const Strips strips(q, patch);
    const int64_t affordable = most(1, (int64_t{1} << 24) / size);
    const int64_t block = ceil_div(q.n, least(least(16, affordable), q.n)), blocks = ceil_div(q.n, block);
    C* partial = take<C>(blocks * size);
    parallel_for(blocks * q.groups, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            ScratchFrame inner;
            const int64_t first = t / q.groups * block, g = t % q.groups;
            C* sum = partial + t / q.groups * size + g * q.og() * patch;
            C* patches = take<C>(patch * strips.area());
            C* rows = is_small<S> ? take<C>(q.og() * strips.area()) : nullptr;
            std::memset(static_cast<void*>(sum), 0, static_cast<size_t>(q.og() * patch) * sizeof(C));
            for (int64_t image = first; image < least(q.n, first + block); image++) {
                for (int64_t k = 0; k < strips.count; k++) {
                    const Strip strip(q, strips, k);
                    const int64_t columns = strip.columns(), start = strip.y0 * q.ow + strip.x0;
                    const S* planes = x + (image * q.c + g * q.cg()) * q.h * q.w;
                    const C* columns_of = patches;
                    int64_t ld_columns = columns;
                    if constexpr (!is_small<S>) {
                        if (q.pointwise()) {
                            columns_of = planes + start;
                            ld_columns = q.out_plane();
                        }
                    }
                    if (columns_of == patches) unfold(q, planes, q.cg(), strip, patches);
                    const S* from = dy + (image * q.o + g * q.og()) * q.out_plane() + start;
                    const C* grads;
                    int64_t ld;
                    if constexpr (is_small<S>) {
                        grads = widened_block(from, q.out_plane(), q.og(), columns, rows);
                        ld = columns;
                    } else {
                        grads = from;
                        ld = q.out_plane();
                    }
                    product<C>(false, true, q.og(), patch, columns, C(1), grads, ld, columns_of, ld_columns, C(1), sum,
                               patch, nullptr);
                }
            }
        }
    });
    parallel_for(size, kGrain / 4, [&](int64_t begin, int64_t end) {
        map_row<S>(end - begin, [&](int64_t i, int lanes) {
            auto sum = splat(C(0));
            for (int64_t b = 0; b < blocks; b++) sum += pick(partial + b * size + begin + i, lanes);
            put(dweight + begin + i, sum, lanes);
        });
    });
}

template <class S>
void bias_gradient(const Conv& q, const S* dy, S* dbias) {
    using C = ComputeOf<S>;
    parallel_for(q.o, most(1, kGrain / most(1, cost(q.n, q.out_plane()))), [&](int64_t begin, int64_t end) {
        for (int64_t o = begin; o < end; o++) {
            double sum = 0;
            for (int64_t image = 0; image < q.n; image++) {
                const S* plane = dy + (image * q.o + o) * q.out_plane();
                sum += blocked_sum<C>(q.out_plane(), [&](int64_t i, int lanes) { return pick(plane + i, lanes); });
            }
            narrow_one(dbias + o, static_cast<C>(sum));
        }
    });
}

}  // namespace

void conv2d(int dtype, int64_t shape, int64_t x, int64_t weight, int64_t bias, int64_t y) {
    const Conv q = *at<const Conv>(shape);
    if (q.n * q.o * q.out_plane() == 0) return;
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        auto kernel = q.depthwise() ? depthwise_forward<S> : forward<S>;
        kernel(q, at<const S>(x), at<const S>(weight), at<const S>(bias), at<S>(y));
    });
}

void conv2d_backward(int dtype, int64_t shape, int64_t x, int64_t weight, int64_t dy, int64_t dx, int64_t dweight,
                     int64_t dbias) {
    const Conv q = *at<const Conv>(shape);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        auto by_input = q.depthwise() ? depthwise_input_gradient<S> : input_gradient<S>;
        auto by_weight = q.depthwise() ? depthwise_weight_gradient<S> : weight_gradient<S>;
        if (dx != 0) by_input(q, at<const S>(weight), at<const S>(dy), at<S>(dx));
        if (dweight != 0) by_weight(q, at<const S>(x), at<const S>(dy), at<S>(dweight));
        if (dbias != 0) bias_gradient(q, at<const S>(dy), at<S>(dbias));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
