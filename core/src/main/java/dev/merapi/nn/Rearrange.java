// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.ops.Images;
import dev.merapi.ops.Interpolation;
import dev.merapi.ops.PadMode;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** What changes shape, size or order, as layers, which texts call as PyTorch does. */
public final class Rearrange {
    private Rearrange() {}

    /** {@return what gives its input back: {@code nn.Identity}} */
    public static Layer identity() {
        return Layer.of("Identity", x -> x);
    }

    /** {@return all dimensions but the first as one: {@code nn.Flatten}} */
    public static Layer flatten() {
        return flatten(1, -1);
    }

    /**
     * Some dimensions as one.
     *
     * @param first the first of them; negative from the end
     * @param last the last of them
     * @return a layer without parameters
     */
    public static Layer flatten(int first, int last) {
        return Layer.of("Flatten", x -> x.flatten(first, last));
    }

    /**
     * One dimension as several: {@code nn.Unflatten}.
     *
     * @param dim which one; negative from the end
     * @param sizes whose product is its size; one may be −1
     * @return a layer without parameters
     */
    public static Layer unflatten(int dim, long... sizes) {
        long[] all = Objects.requireNonNull(sizes, "sizes").clone();
        return Layer.of("Unflatten", x -> x.unflatten(dim, all));
    }

    /**
     * Channels as pixels: [N, C·r², H, W] → [N, C, r·H, r·W].
     *
     * @param factor r, at least 1
     * @return a layer without parameters
     */
    public static Layer pixelShuffle(long factor) {
        Init.atLeast(1, "PixelShuffle", "factor", factor);
        return Layer.of("PixelShuffle", x -> Images.pixelShuffle(x, factor));
    }

    /**
     * Pixels as channels: [N, C, r·H, r·W] → [N, C·r², H, W].
     *
     * @param factor r, at least 1
     * @return a layer without parameters
     */
    public static Layer pixelUnshuffle(long factor) {
        Init.atLeast(1, "PixelUnshuffle", "factor", factor);
        return Layer.of("PixelUnshuffle", x -> Images.pixelUnshuffle(x, factor));
    }

    /**
     * Channels in another order: the first of each group, then the second, ….
     *
     * @param groups how many, at least 1
     * @return a layer without parameters
     */
    public static Layer channelShuffle(long groups) {
        Init.atLeast(1, "ChannelShuffle", "groups", groups);
        return Layer.of("ChannelShuffle", x -> Images.channelShuffle(x, groups));
    }

    /**
     * Larger by a factor: {@code nn.Upsample(scale_factor=…)}; sizes are rounded down.
     *
     * @param factor for each dimension after the channels
     * @param mode how values between elements are found
     * @param alignCorners whether the middles of the corner elements stay where they are; for linear and cubic
     * @return a layer without parameters
     */
    public static Layer upsample(double factor, Interpolation mode, boolean alignCorners) {
        if (!(factor > 0 && factor < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("Upsample: the factor is " + factor + ", but must be positive");
        }
        Interpolation how = Objects.requireNonNull(mode, "mode");
        return Layer.of("Upsample", x -> {
            double[] all = new double[Math.max(1, x.rank() - 2)];
            java.util.Arrays.fill(all, factor);
            return Images.interpolate(x, all, how, alignCorners);
        });
    }

    /**
     * In another size: {@code nn.Upsample(size=…)}.
     *
     * @param size of the dimensions after the channels
     * @param mode how values between elements are found
     * @param alignCorners whether the middles of the corner elements stay where they are; for linear and cubic
     * @return a layer without parameters
     */
    public static Layer resize(long[] size, Interpolation mode, boolean alignCorners) {
        long[] all = Objects.requireNonNull(size, "size").clone();
        for (long n : all) {
            Init.atLeast(1, "resize", "size", n);
        }
        Interpolation how = Objects.requireNonNull(mode, "mode");
        return Layer.of("Upsample", x -> Images.interpolate(x, all, how, alignCorners));
    }

    /**
     * A border: {@code nn.ZeroPad2d}, {@code nn.ReflectionPad2d}, {@code nn.ReplicationPad2d}, {@code nn.CircularPad2d}.
     *
     * @param mode what it is made of; null for zeros
     * @param amounts before and behind, from the last dimension on
     * @return a layer without parameters
     */
    public static Layer pad(@Nullable PadMode mode, long... amounts) {
        long[] all = Objects.requireNonNull(amounts, "amounts").clone();
        return Layer.of("Pad", x -> mode == null ? x.pad(0, all) : x.pad(mode, all));
    }
}
