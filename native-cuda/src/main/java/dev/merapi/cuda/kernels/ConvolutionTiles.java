// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.Family;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.print.PointwiseVariant;
import dev.merapi.cuda.runtime.CudaRuntime;
import dev.merapi.dispatch.Precision;
import dev.merapi.ops.Convolution;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import org.jspecify.annotations.Nullable;

/**
 * Convolution and its gradients as implicit products of matrices, for each group one, by the tiles of {@link Gemm} and
 * with its precisions: float32 is exact unless tf32 is allowed. How work is cut depends on sizes only, and so does the
 * order of every sum.
 *
 * @param kind 0: the result, 1: the gradient of x, 2: the gradient of the weight
 * @param other the weight, or where the kind is 2 the gradient of the result
 * @param image x, or where the kind is 1 the gradient of the result
 * @param sizes n, c, h, w, o, oh, ow, kh, kw, stride, padding and dilation of height and width, groups
 * @param m rows of a group's product: channels of the result
 * @param n columns of it
 * @param k terms of each sum
 */
public record ConvolutionTiles(
        String op,
        int kind,
        Tensor other,
        Tensor image,
        @Nullable Tensor bias,
        Tensor out,
        long[] sizes,
        long m,
        long n,
        long k) {
    public static final Family FAMILY = Family.above(Gemm.TILES, "convolution.cuh", "convolve_tiles", "convolve_join");
    /** Rows of a product that are worth a tile, of which the smallest has 32. */
    private static final int FEWEST_ROWS = 8;

    private static final int LARGEST = Integer.MAX_VALUE - (1 << 16);
    private static final int JOINING = 8;

    /** How a kernel is compiled. */
    public record Variant(
            DType dtype,
            int kind,
            boolean strided,
            boolean wide,
            boolean leftWhole,
            boolean rightWhole,
            boolean mma,
            Gemm.Tile tile) {
        public String types() {
            return Family.type("T", dtype) + "#define KIND " + kind + "\n#define STRIDED " + strided + "\n#define WIDE "
                    + (wide ? 1 : 0) + "\n#define LEFT_WHOLE " + leftWhole + "\n#define RIGHT_WHOLE " + rightWhole
                    + "\n#define A_ALONG_K " + (kind != 1) + "\n#define B_ALONG_K " + (kind == 2)
                    + tile.defines(mma, false);
        }
    }

    static ConvolutionTiles of(Convolution.Conv2d a, Tensor out, long[] sizes) {
        return new ConvolutionTiles("merapi::conv2d", 0, a.weight(), a.x(), a.bias(), out, sizes);
    }

    static ConvolutionTiles of(Convolution.InputGradient a, Tensor out, long[] sizes) {
        return new ConvolutionTiles("merapi::conv2d_input_gradient", 1, a.weight(), a.grad(), null, out, sizes);
    }

    static ConvolutionTiles of(Convolution.WeightGradient a, Tensor out, long[] sizes) {
        return new ConvolutionTiles("merapi::conv2d_weight_gradient", 2, a.grad(), a.x(), null, out, sizes);
    }

    private ConvolutionTiles(
            String op, int kind, Tensor other, Tensor image, @Nullable Tensor bias, Tensor out, long[] sizes) {
        this(op, kind, other, image, bias, out, sizes, rows(kind, sizes), columns(kind, sizes), terms(kind, sizes));
    }

    private static long rows(int kind, long[] s) {
        return (kind == 1 ? s[1] : s[4]) / s[15];
    }

    private static long columns(int kind, long[] s) {
        return switch (kind) {
            case 0 -> s[0] * s[5] * s[6];
            case 1 -> s[0] * s[2] * s[3];
            default -> s[1] / s[15] * s[7] * s[8];
        };
    }

    private static long terms(int kind, long[] s) {
        return switch (kind) {
            case 0 -> s[1] / s[15] * s[7] * s[8];
            case 1 -> s[4] / s[15] * s[7] * s[8];
            default -> s[0] * s[5] * s[6];
        };
    }

    /** Whether tiles are there for the dtype and device, can count its elements, and are not nearly empty. */
    boolean serves(CudaRuntime.Properties device) {
        boolean counts = Math.max(n, k) < LARGEST;
        for (int i = 2; i < 15; i++) {
            counts &= sizes[i] < 1 << 14;
        }
        return device.mma() && out.dtype() != DType.FLOAT64 && m >= FEWEST_ROWS && counts && out.numel() > 0;
    }

    private Gemm.Tile tile() {
        Gemm.Tile tile = Gemm.Tile.of(m, n, k, sizes[15]);
        return tile == Gemm.Tile.SMALL && Gemm.Tile.FLAT.covered(m, n) < tile.covered(m, n) ? Gemm.Tile.FLAT : tile;
    }

    private Variant variant(Gemm.Tile tile) {
        int each = 16 / out.dtype().byteSize();
        long window = sizes[7] * sizes[8];
        long plane = kind == 1 ? sizes[2] * sizes[3] : sizes[5] * sizes[6];
        boolean strided = sizes[9] != 1 || sizes[10] != 1;
        boolean point = window == 1 && !strided && sizes[11] == 0 && sizes[12] == 0;
        boolean leftWhole = switch (kind) {
            case 0 -> k % each == 0;
            case 1 -> window == 1 && m % each == 0;
            default -> plane % each == 0;
        };
        // Twice, since what padding and the borders of tiles add in between lies outside of the tensors.
        long padded = (sizes[2] + 2 * sizes[11]) * Math.max(sizes[3], sizes[6]);
        boolean wide =
                PointwiseVariant.isWide(2 * (padded + Math.max(out.numel(), Math.max(other.numel(), image.numel()))));
        return new Variant(
                out.dtype(),
                kind,
                kind == 1 && strided,
                wide,
                leftWhole && other.address() % 16 == 0,
                point && plane % each == 0 && image.address() % 16 == 0,
                out.dtype() != DType.FLOAT32 || Precision.isTf32Allowed(),
                tile);
    }

    void run(Kernels kernels) {
        long groups = sizes[15];
        Gemm.Tile tile = tile();
        Variant variant = variant(tile);
        long slice = Gemm.slice(out.dtype());
        long tiles = tile.count(m, n);
        long splits = tile.splits(m, n, k, groups);
        long deep = Math.max(1, ((k + slice - 1) / slice + splits - 1) / splits) * slice;
        splits = Math.max(1, (k + deep - 1) / deep);
        CudaRuntime.Grid grid =
                new CudaRuntime.Grid(tiles, splits, Math.min(groups, 65535), tile.threads(false), 1, 1, 0);
        if (splits == 1) {
            tiles(kernels, variant, null, deep).run(grid);
            return;
        }
        try (Tensor parts = TENSORS.allocate(Shape.of(groups, splits, m, n), DType.FLOAT32, out.device())) {
            tiles(kernels, variant, parts, deep).run(grid);
            FAMILY.call(kernels, op, out, "convolve_join", variant, Variant::types)
                    .pointer(parts)
                    .pointer(bias)
                    .pointer(out)
                    .word(m)
                    .word(n)
                    .word(splits)
                    .struct(words())
                    .run(new CudaRuntime.Grid(
                            Math.min((out.numel() + 31) / 32, 65535), 1, 1, 32, (int) Math.min(JOINING, splits), 1, 0));
        }
    }

    private Family.Call tiles(Kernels kernels, Variant variant, @Nullable Tensor parts, long deep) {
        return FAMILY.call(kernels, op, out, "convolve_tiles", variant, Variant::types)
                .pointer(other)
                .pointer(image)
                .pointer(bias)
                .pointer(out)
                .pointer(parts)
                .word(m)
                .word(n)
                .word(k)
                .word(deep)
                .struct(words());
    }

    private long[] words() {
        long[] words = java.util.Arrays.copyOf(sizes, 22);
        int plane = kind == 1 ? 2 : 5;
        long[] divisors = {
            sizes[7] * sizes[8], sizes[8], sizes[plane] * sizes[plane + 1], sizes[plane + 1], sizes[9], sizes[10]
        };
        for (int i = 0; i < divisors.length; i++) {
            words[16 + i] = PointwiseKernel.magic(divisors[i]);
        }
        return words;
    }
}
