// SPDX-License-Identifier: Apache-2.0
// Convolution and pooling of planes, each result by its own sum: no atomics, one order. T: storage.
namespace images {
using namespace merapi;
typedef decltype(rd(T())) C;

// Sizes of x [n, c, h, w] and y [n, o, oh, ow], of the window, and how it moves.
struct Window {
    i64 n, c, h, w, o, oh, ow, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, groups;
};
}  // namespace images

#define IMAGES_EACH(i, n)   \
    using namespace images; \
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (i64)(n); i += (i64)gridDim.x * blockDim.x)

extern "C" __global__ void convolve(const T* x, const T* weight, const T* bias, T* y, const images::Window s) {
    IMAGES_EACH(e, s.n * s.o * s.oh * s.ow) {
        const i64 j = e % s.ow, i = e / s.ow % s.oh, o = e / (s.ow * s.oh) % s.o, n = e / (s.ow * s.oh * s.o);
        const i64 channels = s.c / s.groups, first = o / (s.o / s.groups) * channels;
        C sum = bias ? rd(bias[o]) : C(0);
        for (i64 c = 0; c < channels; c++) {
            const T* plane = x + ((n * s.c + first + c) * s.h) * s.w;
            const T* kernel = weight + (o * channels + c) * s.kh * s.kw;
            for (i64 p = 0; p < s.kh; p++) {
                const i64 row = i * s.strideH + p * s.dilationH - s.padH;
                if (row < 0 || row >= s.h) continue;
                for (i64 q = 0; q < s.kw; q++) {
                    const i64 column = j * s.strideW + q * s.dilationW - s.padW;
                    if (column >= 0 && column < s.w)
                        sum = op_fma(rd(plane[row * s.w + column]), rd(kernel[p * s.kw + q]), sum);
                }
            }
        }
        wr(y[e], sum);
    }
}

extern "C" __global__ void convolve_input_gradient(const T* g, const T* weight, T* dx, const images::Window s) {
    IMAGES_EACH(e, s.n * s.c * s.h * s.w) {
        const i64 column = e % s.w, row = e / s.w % s.h, c = e / (s.w * s.h) % s.c, n = e / (s.w * s.h * s.c);
        const i64 channels = s.c / s.groups, outputs = s.o / s.groups, group = c / channels;
        C sum = 0;
        for (i64 k = 0; k < outputs; k++) {
            const i64 o = group * outputs + k;
            const T* plane = g + (n * s.o + o) * s.oh * s.ow;
            const T* kernel = weight + (o * channels + c - group * channels) * s.kh * s.kw;
            for (i64 p = 0; p < s.kh; p++) {
                const i64 up = row + s.padH - p * s.dilationH, i = up / s.strideH;
                if (up < 0 || i * s.strideH != up || i >= s.oh) continue;
                for (i64 q = 0; q < s.kw; q++) {
                    const i64 left = column + s.padW - q * s.dilationW, j = left / s.strideW;
                    if (left >= 0 && j * s.strideW == left && j < s.ow) {
                        sum = op_fma(rd(plane[i * s.ow + j]), rd(kernel[p * s.kw + q]), sum);
                    }
                }
            }
        }
        wr(dx[e], sum);
    }
}

// A block of 256 threads for each element of the weight, or for several one after the other.
extern "C" __global__ void convolve_weight_gradient(const T* g, const T* x, T* dw, const images::Window s) {
    using namespace images;
    __shared__ C shared[256];
    const i64 channels = s.c / s.groups, count = s.o * channels * s.kh * s.kw;
    for (i64 e = blockIdx.x; e < count; e += gridDim.x) {
        const i64 q = e % s.kw, p = e / s.kw % s.kh, c = e / (s.kw * s.kh) % channels, o = e / (s.kw * s.kh * channels);
        const i64 channel = o / (s.o / s.groups) * channels + c;
        C sum = 0;
        for (i64 t = threadIdx.x; t < s.n * s.oh * s.ow; t += 256) {
            const i64 j = t % s.ow, i = t / s.ow % s.oh, n = t / (s.ow * s.oh);
            const i64 row = i * s.strideH + p * s.dilationH - s.padH, column = j * s.strideW + q * s.dilationW - s.padW;
            if (row >= 0 && row < s.h && column >= 0 && column < s.w) {
                sum = op_fma(rd(g[((n * s.o + o) * s.oh + i) * s.ow + j]),
                             rd(x[((n * s.c + channel) * s.h + row) * s.w + column]), sum);
            }
        }
        __syncthreads();  // thread 0 has read what the element before came to
        shared[threadIdx.x] = sum;
        for (int half = 128; half > 0; half >>= 1) {
            __syncthreads();
            if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
        }
        if (threadIdx.x == 0) wr(dw[e], shared[0]);
    }
}

namespace images {
// The taps of a window of `taps` from `start` on that lie in [0, size): a window may be far larger than the image.
struct Taps {
    i64 from, to;
    MERAPI_F Taps(i64 start, i64 dilation, i64 taps, i64 size) {
        from = start >= 0 ? 0 : min(taps, (-start - 1) / dilation + 1);
        to = start >= size ? from : max(from, min(taps, (size - 1 - start) / dilation + 1));
    }
};
}  // namespace images

// Of equals the first, and NaN wins.
extern "C" __global__ void max_pool(const T* x, T* y, long long* indices, const images::Window s) {
    IMAGES_EACH(e, s.n * s.c * s.oh * s.ow) {
        const i64 j = e % s.ow, i = e / s.ow % s.oh, base = e / (s.ow * s.oh) * s.h * s.w;
        const i64 top = i * s.strideH - s.padH, left = j * s.strideW - s.padW;
        const Taps down(top, s.dilationH, s.kh, s.h), right(left, s.dilationW, s.kw, s.w);
        C best = -(C)INFINITY;  // of a window that holds nothing but padding
        i64 at = -1;
        for (i64 p = down.from; p < down.to; p++) {
            const i64 row = top + p * s.dilationH;
            for (i64 q = right.from; q < right.to; q++) {
                const i64 column = left + q * s.dilationW;
                const C v = rd(x[base + row * s.w + column]);
                if (at < 0 || v > best || (v != v && best == best)) {
                    best = v;
                    at = row * s.w + column;
                }
            }
        }
        wr(y[e], best);
        indices[e] = at;
    }
}

namespace images {
// The first window whose taps, that reach so far from its own first, may come to `at`.
MERAPI_F i64 first_window(i64 at, i64 reach, i64 stride) {
    return at <= reach ? 0 : (at - reach - 1) / stride + 1;
}
}  // namespace images

// Each element looks among the windows that can cover it for those that chose it.
extern "C" __global__ void max_pool_backward(const T* g, const long long* indices, T* dx, const images::Window s) {
    IMAGES_EACH(e, s.n * s.c * s.h * s.w) {
        const i64 column = e % s.w, row = e / s.w % s.h, base = e / (s.w * s.h) * s.oh * s.ow;
        const i64 down = row + s.padH, right = column + s.padW, position = row * s.w + column;
        const i64 top = first_window(down, s.dilationH * (s.kh - 1), s.strideH),
                  bottom = min(s.oh - 1, down / s.strideH);
        const i64 left = first_window(right, s.dilationW * (s.kw - 1), s.strideW),
                  end = min(s.ow - 1, right / s.strideW);
        C sum = 0;
        for (i64 i = top; i <= bottom; i++) {
            for (i64 j = left; j <= end; j++) {
                const i64 w = base + i * s.ow + j;
                if (indices[w] == position) sum += rd(g[w]);
            }
        }
        wr(dx[e], sum);
    }
}

namespace images {
// Elements of x that the window at (i, j) covers.
MERAPI_F C covered(const Window& s, i64 i, i64 j, int all) {
    const i64 top = i * s.strideH - s.padH, left = j * s.strideW - s.padW;
    if (all) return (C)(min(top + s.kh, s.h + s.padH) - top) * (C)(min(left + s.kw, s.w + s.padW) - left);
    return (C)((min(top + s.kh, s.h) - max(top, (i64)0)) * (min(left + s.kw, s.w) - max(left, (i64)0)));
}
}  // namespace images

extern "C" __global__ void average_pool(const T* x, T* y, const images::Window s, int all) {
    IMAGES_EACH(e, s.n * s.c * s.oh * s.ow) {
        const i64 j = e % s.ow, i = e / s.ow % s.oh, base = e / (s.ow * s.oh) * s.h * s.w;
        const i64 top = i * s.strideH - s.padH, left = j * s.strideW - s.padW;
        const i64 bottom = min(top + s.kh, s.h), end = min(left + s.kw, s.w);
        C sum = 0;
        for (i64 row = max(top, (i64)0); row < bottom; row++) {
            for (i64 column = max(left, (i64)0); column < end; column++) sum += rd(x[base + row * s.w + column]);
        }
        wr(y[e], sum / covered(s, i, j, all));
    }
}

extern "C" __global__ void average_pool_backward(const T* g, T* dx, const images::Window s, int all) {
    IMAGES_EACH(e, s.n * s.c * s.h * s.w) {
        const i64 column = e % s.w, row = e / s.w % s.h, base = e / (s.w * s.h) * s.oh * s.ow;
        const i64 down = row + s.padH, right = column + s.padW;
        const i64 bottom = min(s.oh - 1, down / s.strideH), end = min(s.ow - 1, right / s.strideW);
        const i64 left = first_window(right, s.kw - 1, s.strideW);
        C sum = 0;
        for (i64 i = first_window(down, s.kh - 1, s.strideH); i <= bottom; i++) {
            for (i64 j = left; j <= end; j++) sum += rd(g[base + i * s.ow + j]) / covered(s, i, j, all);
        }
        wr(dx[e], sum);
    }
}
