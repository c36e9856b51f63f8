// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import dev.merapi.types.Sizes;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/** Images in other sizes and other arrangements. All are made of other ops, and have their gradients, to any order. */
public final class Images {
    private Images() {}

    /**
     * x in another size.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param size of the dimensions after the channels
     * @param mode how values between elements are found
     * @param alignCorners whether the middles of the corner elements stay where they are, else the corners of the
     *     image; for linear and cubic only
     * @return [N, C, size]
     * @throws ShapeException if sizes do not fit
     */
    public static Tensor interpolate(Tensor x, long[] size, Interpolation mode, boolean alignCorners) {
        return Resizing.resize(x, size, null, mode, alignCorners);
    }

    /**
     * x larger by a factor: sizes are rounded down, places are found by the factor.
     *
     * @param x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floating
     * @param scale a factor for each dimension after the channels
     * @param mode how values between elements are found
     * @param alignCorners as above
     * @return [N, C, ..] with sizes ⌊size·scale⌋
     * @throws ShapeException if sizes do not fit, or one would be 0
     */
    public static Tensor interpolate(Tensor x, double[] scale, Interpolation mode, boolean alignCorners) {
        Objects.requireNonNull(x, "x");
        long[] size = new long[Objects.requireNonNull(scale, "scale").length];
        for (int i = 0; i < size.length; i++) {
            Form.requireNumber("interpolate", "scale", scale[i], Double.MIN_NORMAL, 1 << 20);
            size[i] = i + 2 < x.rank() ? (long) Math.floor(x.size(2 + i) * scale[i]) : 1;
        }
        return Resizing.resize(x, size, scale, mode, alignCorners);
    }

    /**
     * x at the places of a grid.
     *
     * @param x [N, C, H, W], floating
     * @param grid [N, OH, OW, 2] of x's dtype: column and row, from −1 to 1 across the image
     * @param mode nearest, linear or cubic
     * @param padding what lies outside of the image
     * @param alignCorners whether −1 and 1 are the middles of the outermost elements, else their outer borders
     * @return [N, C, OH, OW]
     * @throws ShapeException if shapes do not fit
     */
    public static Tensor gridSample(
            Tensor x, Tensor grid, Interpolation mode, GridPadding padding, boolean alignCorners) {
        return GridSampling.sample(x, grid, mode, padding, alignCorners);
    }

    /**
     * A grid for {@link #gridSample} of an affine map.
     *
     * @param theta [N, 2, 3]
     * @param h rows of the images to be made
     * @param w their columns
     * @param alignCorners as for {@link #gridSample}
     * @return [N, h, w, 2]
     * @throws ShapeException if theta is not [N, 2, 3]
     */
    public static Tensor affineGrid(Tensor theta, long h, long w, boolean alignCorners) {
        Objects.requireNonNull(theta, "theta");
        if (theta.rank() != 3 || theta.size(1) != 2 || theta.size(2) != 3) {
            throw new ShapeException("affineGrid: theta must be [N, 2, 3], but is " + theta.describe());
        }
        Tensor columns = GridSampling.middles(theta, w, alignCorners).view(1, w).expand(h, w);
        Tensor rows = GridSampling.middles(theta, h, alignCorners).view(h, 1).expand(h, w);
        Tensor base = Tensor.stack(List.of(columns, rows, columns.onesLike()), -1)
                .reshape(1, h * w, 3)
                .expand(theta.size(0), h * w, 3);
        return base.matmul(theta.transpose(1, 2)).view(theta.size(0), h, w, 2);
    }

    // ---------------------------------------------------------------- windows as columns

    /**
     * The windows of x [N, C, H, W] as columns: [N, C·kh·kw, windows], known as im2col.
     *
     * @param x [N, C, H, W]
     * @param kernel of height and width, as are dilation, padding with zeros, and stride
     * @param dilation of height and width: steps between the taps of a kernel
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param stride of height and width: steps between windows
     * @return [N, C·kh·kw, windows], a copy; windows in row-major order
     * @throws ShapeException if x has not four dimensions, or the kernel covers more than the padded image
     */
    public static Tensor unfold(Tensor x, long[] kernel, long[] dilation, long[] padding, long[] stride) {
        Objects.requireNonNull(x, "x");
        Form.requireRank("unfold", "x", x, 4);
        Form.requirePairs("unfold", kernel, dilation, padding, stride);
        Tensor rows = Windows.UNFOLD.call(new Windows.Unfold(x, 2, kernel[0], stride[0], padding[0], dilation[0]));
        Tensor both = Windows.UNFOLD.call(new Windows.Unfold(rows, 4, kernel[1], stride[1], padding[1], dilation[1]));
        return both.permute(0, 1, 2, 4, 3, 5)
                .reshape(
                        x.size(0),
                        Sizes.multiply(x.size(1), Sizes.multiply(kernel[0], kernel[1])),
                        Sizes.multiply(both.size(3), both.size(5)));
    }

    /**
     * The sum of windows [N, C·kh·kw, windows] where they lie in images [N, C, H, W]: the transpose of
     * {@link #unfold}.
     *
     * @param x [N, C·kh·kw, windows], as {@link #unfold} gives them
     * @param size H and W
     * @param kernel of height and width
     * @param dilation of height and width: steps between the taps of a kernel
     * @param padding of height and width: what is added before and after, at most half of the kernel
     * @param stride of height and width: steps between windows
     * @return [N, C, H, W], where windows that overlap are added up
     * @throws ShapeException if x has another number of rows or windows than these sizes give
     */
    public static Tensor fold(Tensor x, long[] size, long[] kernel, long[] dilation, long[] padding, long[] stride) {
        Objects.requireNonNull(x, "x");
        Form.requireRank("fold", "x", x, 3);
        Form.requirePairs("fold", size, kernel, dilation, padding, stride);
        long taps = Sizes.multiply(kernel[0], kernel[1]);
        Tensor image = Tensor.meta(Shape.of(1, 1, size[0], size[1]), x.dtype(), x.device());
        long down = Windows.count("fold", image, 2, kernel[0], stride[0], padding[0], dilation[0], false);
        long right = Windows.count("fold", image, 3, kernel[1], stride[1], padding[1], dilation[1], false);
        if (x.size(1) % taps != 0 || x.size(2) != Sizes.multiply(down, right)) {
            throw new ShapeException(
                    Message.of("fold: x must be [N, C·" + taps + ", " + Sizes.multiply(down, right) + "]")
                            .fact("x", x.describe())
                            .fix("pass the sizes that x was unfolded with."));
        }
        Tensor apart = x.reshape(x.size(0), x.size(1) / taps, kernel[0], kernel[1], down, right)
                .permute(0, 1, 2, 4, 3, 5);
        Tensor rows = Windows.FOLD.call(new Windows.Fold(apart, 4, size[1], stride[1], padding[1], dilation[1]));
        return Windows.FOLD.call(new Windows.Fold(rows, 2, size[0], stride[0], padding[0], dilation[0]));
    }

    // ---------------------------------------------------------------- channels as pixels

    /**
     * Channels as pixels: [.., C·r·r, H, W] → [.., C, H·r, W·r].
     *
     * @param x [.., C·r·r, H, W], not empty
     * @param r the factor of height and width, at least 1
     * @return [.., C, H·r, W·r], a copy
     * @throws ShapeException if r² does not divide the channels
     */
    public static Tensor pixelShuffle(Tensor x, long r) {
        require("pixelShuffle", x, r);
        long c = x.size(-3);
        if (c % Sizes.multiply(r, r) != 0) {
            throw new ShapeException(
                    "pixelShuffle: " + c + " channels cannot be " + r + " by " + r + " pixels\n  x: " + x.describe());
        }
        long h = x.size(-2);
        long w = x.size(-1);
        return x.reshape(leading(x), c / r / r, r, r, h, w)
                .permute(0, 1, 4, 2, 5, 3)
                .reshape(ending(x, c / r / r, h * r, w * r));
    }

    /**
     * Pixels as channels: [.., C, H·r, W·r] → [.., C·r·r, H, W].
     *
     * @param x [.., C, H·r, W·r], not empty
     * @param r the factor of height and width, at least 1
     * @return [.., C·r·r, H, W], a copy
     * @throws ShapeException if r does not divide height and width
     */
    public static Tensor pixelUnshuffle(Tensor x, long r) {
        require("pixelUnshuffle", x, r);
        long c = x.size(-3);
        long h = x.size(-2);
        long w = x.size(-1);
        if (h % r != 0 || w % r != 0) {
            throw new ShapeException(
                    "pixelUnshuffle: height and width are no multiples of " + r + "\n  x: " + x.describe());
        }
        return x.reshape(leading(x), c, h / r, r, w / r, r)
                .permute(0, 1, 3, 5, 2, 4)
                .reshape(ending(x, c * r * r, h / r, w / r));
    }

    /**
     * Channels [N, C, ..] in another order: the first of each group, then the second, ….
     *
     * @param x [N, C, ..]
     * @param groups how many groups the channels fall into, a divisor of C
     * @return of the shape of x
     * @throws ShapeException if it does not divide C
     */
    public static Tensor channelShuffle(Tensor x, long groups) {
        Objects.requireNonNull(x, "x");
        if (x.rank() < 2 || groups < 1 || x.size(1) % groups != 0) {
            throw new ShapeException("channelShuffle: the channels of x [N, C, ..] are no multiple of " + groups
                    + "\n  x: " + x.describe());
        }
        return x.unflatten(1, groups, x.size(1) / groups)
                .transpose(1, 2)
                .reshape(x.shape().toArray());
    }

    private static void require(String op, Tensor x, long r) {
        Objects.requireNonNull(x, "x");
        if (x.rank() < 3 || r < 1) {
            throw new ShapeException(
                    op + ": needs x [.., C, H, W] and a factor of at least 1, not " + r + "\n  x: " + x.describe());
        }
    }

    private static long leading(Tensor x) {
        long n = 1;
        for (int d = 0; d < x.rank() - 3; d++) {
            n *= x.size(d);
        }
        return n;
    }

    private static long[] ending(Tensor x, long... last) {
        long[] shape = Arrays.copyOf(x.shape().toArray(), x.rank());
        System.arraycopy(last, 0, shape, shape.length - 3, 3);
        return shape;
    }
}
