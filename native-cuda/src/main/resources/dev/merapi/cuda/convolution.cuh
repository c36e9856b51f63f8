// SPDX-License-Identifier: Apache-2.0
// Convolution and its two gradients as products of matrices in tiles, of which one is never made: its elements are
// looked up in the image while a slice is fetched. KIND says which product, for each group; R = kh·kw.
//   0  y  [o, (n, i, j)]    = weight [o, (c, p, q)] · x [(c, p, q), (n, i, j)]
//   1  dx [c, (n, row, column)] = weight [c, (o, p, q)] · g [(o, p, q), (n, row, column)]
//   2  dw [o, (c, p, q)]    = g [o, (n, i, j)] · x [(n, i, j), (c, p, q)]
// STRIDED: KIND is 1, and a stride is not 1. WIDE: whether distances need 64 bits. LEFT_WHOLE, RIGHT_WHOLE: whether
// every piece of 16 bytes of that side lies in memory as in a slice, aligned.
namespace convolution {
using namespace tiles;

struct Sizes {
    i64 n, c, h, w, o, oh, ow, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, groups;
    // For divisions: by R and kw; by the elements and the width of a plane, y's or, where KIND is 1, dx's; by the
    // strides.
    u64 byWindow, byKernelRow, byPlane, byRow, byStrideH, byStrideW;
};

#if WIDE
typedef i64 Distance;
#else
typedef int Distance;
#endif

// What an index adds to the place of an element: distance in memory, and rows and columns in the plane that is looked
// into. Where that one was made by strides, rows and columns are whole strides, and what is left of both must be alike on
// both sides: (i + padding − p·dilation) / stride is a whole number if the remainders of i + padding and p·dilation are equal.
struct Spot {
    Distance at;
    int row, column;
    int left;
};
constexpr int kNowhere = -(1 << 30);

// ---------------------------------------------------------------- where elements lie

// The image: lines are taps of the window, elements are pixels of the plane that the windows belong to.
struct Image {
    static constexpr bool kRegular = false;
    const Sizes& s;

    MERAPI_F Spot line(int k) const {
        const int r = (int)(s.kh * s.kw), c = divide(k, s.byWindow), rest = k - c * r;
        const int p = divide(rest, s.byKernelRow), q = rest - p * (int)s.kw;
        const int row = p * (int)s.dilationH, column = q * (int)s.dilationW;
        if (KIND == 1) {
            const Spot there = strides(row, column);
            return {c * (Distance)(s.oh * s.ow) - there.at, -there.row, -there.column, there.left};
        }
        return {c * (Distance)(s.h * s.w) + row * (Distance)s.w + column, row, column, 0};
    }
    // In y's gradient, from rows and columns of x, padding included.
    MERAPI_F Spot strides(int row, int column) const {
        const int i = STRIDED ? divide(row, s.byStrideH) : row, j = STRIDED ? divide(column, s.byStrideW) : column;
        const int left = STRIDED ? (row - i * (int)s.strideH) << 16 | column - j * (int)s.strideW : 0;
        return {i * (Distance)s.ow + j, i, j, left};
    }
    // N neighbours, of which those before `stop` exist.
    template <int N>
    MERAPI_F void elements(Spot (&spots)[N], int first, int stop) const {
        const int width = (int)(KIND == 1 ? s.w : s.ow), height = (int)(KIND == 1 ? s.h : s.oh);
        int n = divide(first, s.byPlane), rest = first - n * height * width;
        int i = divide(rest, s.byRow), j = rest - i * width;
#pragma unroll
        for (int e = 0; e < N; e++) {
            spots[e] = pixel(n, i, j);
            spots[e].row = first + e < stop ? spots[e].row : kNowhere;
            j++;
            const bool row = j == width;
            j = row ? 0 : j;
            i += row;
            const bool plane = i == height;
            i = plane ? 0 : i;
            n += plane;
        }
    }
    MERAPI_F Spot pixel(int n, int i, int j) const {
        if (KIND == 1) {
            Spot there = strides(i + (int)s.padH, j + (int)s.padW);
            there.at += n * (Distance)(s.o * s.oh * s.ow);
            return there;
        }
        const int row = i * (int)s.strideH - (int)s.padH, column = j * (int)s.strideW - (int)s.padW;
        return {n * (Distance)(s.c * s.h * s.w) + row * (Distance)s.w + column, row, column, 0};
    }
    MERAPI_F bool find(const Spot& a, const Spot& b, int, Distance& at) const {
        const int row = a.row + b.row, column = a.column + b.column;
        at = a.at + b.at;
        const int height = (int)(KIND == 1 ? s.oh : s.h), width = (int)(KIND == 1 ? s.ow : s.w);
        return (u32)row < (u32)height && (u32)column < (u32)width && (!STRIDED || a.left == b.left);
    }
};

// The other operand: the weight, or y's gradient where KIND is 2. Lines run along k but where KIND is 1. Neighbours of a weight
// are equally far from each other, so of 16-bit ones the first is enough, and how many there are: `left`.
struct Other {
    static constexpr bool kRegular = KIND != 2 && sizeof(T) == 2;
    const Sizes& s;
    const int k;

    MERAPI_F Spot line(int i) const {
        if (KIND == 0) return {i * (Distance)k, 0, 0, 0};
        if (KIND == 2) return {i * (Distance)(s.oh * s.ow), 0, 0, 0};
        const int o = divide(i, s.byWindow);
        return {i + o * (Distance)(((int)s.c / (int)s.groups - 1) * s.kh * s.kw), 0, 0, 0};
    }
    template <int N>
    MERAPI_F void elements(Spot (&spots)[N], int first, int stop) const {
        if (kRegular) {
            spots[0] = element(first);
            spots[0].left = stop - first;
            return;
        }
#pragma unroll
        for (int e = 0; e < N; e++) {
            spots[e] = element(first + e);
            spots[e].row = first + e < stop ? 0 : kNowhere;
        }
    }
    MERAPI_F Spot element(int i) const {
        if (KIND == 0) return {i, 0, 0, 0};
        if (KIND == 1) return {i * (Distance)(s.kh * s.kw), 0, 0, 0};
        const int n = divide(i, s.byPlane);
        return {i + n * (Distance)((s.o - 1) * s.oh * s.ow), 0, 0, 0};
    }
    // The e-th of those neighbours.
    MERAPI_F bool find(const Spot& a, const Spot& b, int e, Distance& at) const {
        at = a.at + b.at + e * (KIND == 1 ? (int)(s.kh * s.kw) : 1);
        return kRegular ? a.row >= 0 && e < b.left : a.row + b.row >= 0;
    }
};

// A side of the product: `size` rows or columns from `first` on, and along k what lies before `end`.
template <class Map, bool ALONG_K, int EXTENT, bool WHOLE>
struct Side {
    typedef Slice<ALONG_K, EXTENT> S;
    static constexpr int kEvery = WHOLE ? 1 : kEach;  // elements of a piece that are looked for
    static constexpr int kSpots = Map::kRegular ? 1 : kEvery;
    const Map map;
    const T* from;
    int k0, end;
    Spot lines[S::kSteps], elements[kSpots];
    Piece waiting[S::kSteps];

    MERAPI_F Side(const Map& m, const T* matrix, int first, int size, int begin, int stop)
        : map(m), from(matrix), k0(begin), end(stop) {
        if (ALONG_K) {
            setLines(first, size);
        } else {
            map.elements(elements, first + piece() * kEach, size);
        }
    }
    static MERAPI_F int line() { return threadIdx.x / S::kPieces; }
    static MERAPI_F int piece() { return threadIdx.x % S::kPieces; }

    MERAPI_F void setLines(int first, int stop) {
#pragma unroll
        for (int t = 0; t < S::kSteps; t++) {
            const int i = first + line() + t * S::kLinesAtOnce;
            lines[t] = map.line(i);
            lines[t].row = i < stop ? lines[t].row : kNowhere;
        }
    }

    // Slice s. What cannot be copied asynchronously, elements of 16 bits, waits in registers while others are
    // multiplied.
    MERAPI_F void fetch(Copies& copies, unsigned char* slice, int s) {
        if (ALONG_K) {
            map.elements(elements, k0 + s * kDepth + piece() * kEach, end);
        } else {
            setLines(k0 + s * kDepth, end);
        }
#pragma unroll
        for (int t = 0; t < S::kSteps; t++) {
            unsigned char* target = slice + S::place(line() + t * S::kLinesAtOnce, piece());
#pragma unroll
            for (int e = 0; e < kEvery; e++) {
                Distance at;
                const bool there = map.find(lines[t], elements[Map::kRegular ? 0 : e], Map::kRegular ? e : 0, at);
                if (WHOLE) {
                    copies.add16(target, there ? from + at : from, there ? 16 : 0);
                } else if constexpr (sizeof(T) == 4) {
                    copies.add4(target + 4 * e, there ? from + at : from, there ? 4 : 0);
                } else {
                    waiting[t].v[e] = load_if(there, from + at);
                }
            }
        }
    }
    MERAPI_F void settle(unsigned char* slice) const {
        if (WHOLE || sizeof(T) == 4) return;
#pragma unroll
        for (int t = 0; t < S::kSteps; t++) {
            *(Piece*)(slice + S::place(line() + t * S::kLinesAtOnce, piece())) = waiting[t];
        }
    }
};
typedef Side<Other, A_ALONG_K, ROWS, LEFT_WHOLE> First;
typedef Side<Image, B_ALONG_K, COLUMNS, RIGHT_WHOLE> Second;

// ---------------------------------------------------------------- where results go

// Neighbours in a row of a group's result, from column q on: of a weight, or of planes of several images.
MERAPI_F void store(const Sizes& s, T* out, i64 r, int q, i64 n, const float* v, int count) {
    if (KIND == 2) {
        put8(out + r * n + q, v, count);
        return;
    }
    const int plane = (int)(KIND == 1 ? s.h * s.w : s.oh * s.ow);
    const i64 image = (KIND == 1 ? s.c : s.o) * plane;
    const int first = divide(q, s.byPlane);
    int at = q - first * plane;
    T* to = out + first * image + r * plane;
    if (at + count <= plane) {
        put8(to + at, v, count);
        return;
    }
#pragma unroll 1
    for (int e = 0; e < count; e++) {
        if (at == plane) {
            to += image;
            at = 0;
        }
        wr(to[at++], v[e]);
    }
}
// Elements of the result of a group, in which the groups of an image follow each other.
MERAPI_F i64 group(const Sizes& s, i64 m, i64 n) {
    return KIND == 0 ? m * s.oh * s.ow : KIND == 1 ? m * s.h * s.w : m * n;
}
}  // namespace convolution

// grid: tiles, parts of k, groups. With more parts than one, sums go to parts[group, part, m, n], for convolve_join.
extern "C" __global__ void __launch_bounds__(tiles::kThreads, tiles::kBlocks)
    convolve_tiles(const T* other, const T* image, const T* bias, T* out, float* parts, long long m, long long n,
                   long long k, long long deep, const convolution::Sizes s) {
    using namespace convolution;
    __shared__ Ring ring;
    const Origin tile(blockIdx.x, m, n);
    const int k0 = (int)(blockIdx.y * deep), end = (int)min(k0 + deep, k), slices = (end - k0 + kDepth - 1) / kDepth;
    for (i64 z = blockIdx.z; z < s.groups; z += gridDim.z) {
        const i64 others = KIND == 2 ? m * s.oh * s.ow : m * k;
        const i64 planes = (KIND == 1 ? s.oh * s.ow : s.h * s.w) * ((int)(KIND == 1 ? s.o : s.c) / (int)s.groups);
        First left(Other{s, (int)k}, other + z * others, (int)tile.row, (int)m, k0, end);
        Second right(Image{s}, image + z * planes, (int)tile.column, (int)n, k0, end);
        Core core;
        multiply(core, ring, slices, left, right);
        T* to = out + z * group(s, m, n);
        float* part = gridDim.y > 1 ? parts + (z * gridDim.y + blockIdx.y) * m * n : nullptr;
        results(core, ring, (int)min((i64)ROWS, m - tile.row), (int)min((i64)COLUMNS, n - tile.column),
                [&](int row, int column, float* v, int here) {
                    const i64 r = tile.row + row;
                    const int q = (int)tile.column + column;
                    if (part) {
                        put8(part + r * n + q, v, here);
                        return;
                    }
                    if (bias) {
                        const float add = rd(bias[z * m + r]);
                        add8(v, [&](int) { return add; });
                    }
                    store(s, to, r, q, n, v, here);
                });
    }
}

// The sums of parts, in an order that depends on their number alone. Blocks of 32 results × several threads for the
// parts of each.
extern "C" __global__ void convolve_join(const float* parts, const T* bias, T* out, long long m, long long n,
                                         long long splits, const convolution::Sizes s) {
    using namespace convolution;
    __shared__ float sums[8][32];
    const i64 size = m * n;
    for (i64 first = (i64)blockIdx.x * 32; first < s.groups * size; first += (i64)gridDim.x * 32) {
        const i64 i = first + threadIdx.x, z = i / size, e = i - z * size;
        if (i < s.groups * size) {
            const float* part = parts + z * splits * size + e;
            float sum = 0;
            for (i64 p = threadIdx.y; p < splits; p += blockDim.y) sum += part[p * size];
            sums[threadIdx.y][threadIdx.x] = sum;
        }
        __syncthreads();
        if (i < s.groups * size && threadIdx.y == 0) {
            float sum = sums[0][threadIdx.x];
            for (int y = 1; y < blockDim.y; y++) sum += sums[y][threadIdx.x];
            const i64 r = e / n;
            if (bias) sum += rd(bias[z * m + r]);
            store(s, out + z * group(s, m, n), r, (int)(e - r * n), n, &sum, 1);
        }
        __syncthreads();
    }
}
