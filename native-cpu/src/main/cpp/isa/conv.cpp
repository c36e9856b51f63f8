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
    bool pointwise() const { return taps() == 1 && sh == 1 && sw == 1 && ph == 0 && pw == 0; }
    int64_t strip_rows(int64_t patch) const {  // output rows a strip, for patches of that many elements
        return least(oh, most(1, (int64_t{1} << 16) / most(1, patch * ow)));
    }
};

// Output columns [*from, *to) whose tap at offset `tap` (in input columns, padding subtracted) lies inside [0, size).
void valid_range(int64_t tap, int64_t stride, int64_t size, int64_t count, int64_t* from, int64_t* to) {
    *from = tap >= 0 ? 0 : least(count, ceil_div(-tap, stride));
    *to = tap >= size ? *from : most(*from, least(count, (size - 1 - tap) / stride + 1));
}

// patches[c * taps + tap][(y - y0) * ow + x] for `channels` planes from x on.
template <class S>
void unfold(const Conv& q, const S* planes, int64_t channels, int64_t y0, int64_t y1, ComputeOf<S>* patches) {
    using C = ComputeOf<S>;
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < q.kh; i++) {
            for (int64_t j = 0; j < q.kw; j++) {
                const int64_t tap = j * q.dw - q.pw;
                int64_t from, to;
                valid_range(tap, q.sw, q.w, q.ow, &from, &to);
                for (int64_t y = y0; y < y1; y++, patches += q.ow) {
                    const int64_t row = y * q.sh + i * q.dh - q.ph;
                    if (row < 0 || row >= q.h) {
                        for (int64_t x = 0; x < q.ow; x++) patches[x] = C(0);
                        continue;
                    }
                    const S* s = planes + (c * q.h + row) * q.w + tap;
                    for (int64_t x = 0; x < from; x++) patches[x] = C(0);
                    if (q.sw == 1) {
                        map_row<S>(to - from, [&](int64_t x, int lanes) {
                            put(patches + from + x, pick(s + from + x, lanes), lanes);
                        });
                    } else {
                        for (int64_t x = from; x < to; x++) patches[x] = widen_one(s[x * q.sw]);
                    }
                    for (int64_t x = to; x < q.ow; x++) patches[x] = C(0);
                }
            }
        }
    }
}

// The transpose of unfold: adds patches back to planes of the compute type.
template <class C>
void fold(const Conv& q, const C* patches, int64_t channels, int64_t y0, int64_t y1, C* planes) {
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t i = 0; i < q.kh; i++) {
            for (int64_t j = 0; j < q.kw; j++) {
                const int64_t tap = j * q.dw - q.pw;
                int64_t from, to;
                valid_range(tap, q.sw, q.w, q.ow, &from, &to);
                for (int64_t y = y0; y < y1; y++, patches += q.ow) {
                    const int64_t row = y * q.sh + i * q.dh - q.ph;
                    if (row < 0 || row >= q.h) continue;
                    C* s = planes + (c * q.h + row) * q.w + tap;
                    if (q.sw == 1) {
                        map_row<C>(to - from, [&](int64_t x, int lanes) {
                            put(s + from + x, pick(s + from + x, lanes) + pick(patches + from + x, lanes), lanes);
                        });
                    } else {
                        for (int64_t x = from; x < to; x++) s[x * q.sw] += patches[x];
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

template <class S>
void forward(const Conv& q, const S* x, const S* weight, const S* bias, S* y) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    const int64_t patch = q.cg() * q.taps(), step = q.strip_rows(patch), strips = ceil_div(q.oh, step);
    const C* w = widened(weight, q.o * patch);
    const int64_t work = q.og() * patch * step * q.ow;
    parallel_for(q.n * q.groups * strips, most(1, (1 << 18) / most(1, work)), [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            ScratchFrame inner;
            const int64_t image = t / (q.groups * strips), g = t / strips % q.groups, y0 = t % strips * step;
            const int64_t y1 = least(q.oh, y0 + step), columns = (y1 - y0) * q.ow;
            const S* planes = x + (image * q.c + g * q.cg()) * q.h * q.w;
            S* out = y + (image * q.o + g * q.og()) * q.out_plane() + y0 * q.ow;
            const C* patches;
            int64_t ld = columns;
            if constexpr (is_small<S>) {
                C* p = take<C>(patch * columns);
                unfold(q, planes, q.cg(), y0, y1, p);
                patches = p;
            } else if (q.pointwise()) {
                patches = planes + y0 * q.ow;
                ld = q.out_plane();
            } else {
                C* p = take<C>(patch * columns);
                unfold(q, planes, q.cg(), y0, y1, p);
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
    const int64_t patch = q.cg() * q.taps();
    const C* w = widened(weight, q.o * patch);
    const int64_t block = least(q.cg(), most(1, 128 / q.taps())), blocks = ceil_div(q.cg(), block);
    const int64_t step = q.strip_rows(block * q.taps());
    const int64_t work = q.og() * block * q.taps() * q.out_plane();
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
            C* patches = take<C>(taps * step * q.ow);
            C* rows = is_small<S> ? take<C>(q.og() * step * q.ow) : nullptr;
            for (int64_t y0 = 0; y0 < q.oh; y0 += step) {
                const int64_t y1 = least(q.oh, y0 + step), columns = (y1 - y0) * q.ow;
                const S* from = dy + (image * q.o + g * q.og()) * q.out_plane() + y0 * q.ow;
                const C* grads;
                int64_t ld;
                if constexpr (is_small<S>) {
                    grads = widened_block(from, q.out_plane(), q.og(), columns, rows);
                    ld = columns;
                } else {
                    grads = from;
                    ld = q.out_plane();
                }
                product<C>(true, false, taps, columns, q.og(), C(1), w + g * q.og() * patch + c0 * q.taps(), patch,
                           grads, ld, C(0), patches, columns, nullptr);
                fold(q, patches, channels, y0, y1, sum);
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
    const int64_t patch = q.cg() * q.taps(), size = q.o * patch, step = q.strip_rows(patch);
    const int64_t affordable = most(1, (int64_t{1} << 24) / most(1, size));
    const int64_t block = ceil_div(q.n, least(least(16, affordable), most(1, q.n))), blocks = ceil_div(q.n, block);
    C* partial = take<C>(blocks * size);
    parallel_for(blocks * q.groups, 1, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; t++) {
            ScratchFrame inner;
            const int64_t first = t / q.groups * block, g = t % q.groups;
            C* sum = partial + t / q.groups * size + g * q.og() * patch;
            C* patches = take<C>(patch * step * q.ow);
            C* rows = is_small<S> ? take<C>(q.og() * step * q.ow) : nullptr;
            std::memset(static_cast<void*>(sum), 0, static_cast<size_t>(q.og() * patch) * sizeof(C));
            for (int64_t image = first; image < least(q.n, first + block); image++) {
                for (int64_t y0 = 0; y0 < q.oh; y0 += step) {
                    const int64_t y1 = least(q.oh, y0 + step), columns = (y1 - y0) * q.ow;
                    unfold(q, x + (image * q.c + g * q.cg()) * q.h * q.w, q.cg(), y0, y1, patches);
                    const S* from = dy + (image * q.o + g * q.og()) * q.out_plane() + y0 * q.ow;
                    const C* grads;
                    int64_t ld;
                    if constexpr (is_small<S>) {
                        grads = widened_block(from, q.out_plane(), q.og(), columns, rows);
                        ld = columns;
                    } else {
                        grads = from;
                        ld = q.out_plane();
                    }
                    product<C>(false, true, q.og(), patch, columns, C(1), grads, ld, patches, columns, C(1), sum, patch,
                               nullptr);
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
    parallel_for(q.o, most(1, kGrain / most(1, q.n * q.out_plane())), [&](int64_t begin, int64_t end) {
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
        forward(q, at<const S>(x), at<const S>(weight), at<const S>(bias), at<S>(y));
    });
}

void conv2d_backward(int dtype, int64_t shape, int64_t x, int64_t weight, int64_t dy, int64_t dx, int64_t dweight,
                     int64_t dbias) {
    const Conv q = *at<const Conv>(shape);
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        if (dx != 0) input_gradient(q, at<const S>(weight), at<const S>(dy), at<S>(dx));
        if (dweight != 0) weight_gradient(q, at<const S>(x), at<const S>(dy), at<S>(dweight));
        if (dbias != 0) bias_gradient(q, at<const S>(dy), at<S>(dbias));
    });
}

}  // namespace MERAPI_ISA
}  // namespace merapi
