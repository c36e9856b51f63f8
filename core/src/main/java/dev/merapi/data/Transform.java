// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Images;
import dev.merapi.ops.Interpolation;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.UnaryOperator;

/**
 * Changes images [B, C, H, W], a whole batch at a time: a few native calls, on whichever device they are.
 *
 * <pre>{@code
 * Transform augment = Transform.randomCrop(32, 32, 4).then(Transform.randomFlip(0.5)).then(Transform.normalize(mean, std));
 * DataLoader.of(images.map(augment.ofInputs()), 128).shuffle(1)
 * }</pre>
 *
 * <p>Random ones draw for each image from the generator of the thread, which a {@link DataLoader} sets for each batch: the
 * same images in each run, and after a resume.
 */
@FunctionalInterface
public interface Transform {
    /**
     * Changed images; the given ones stay as they are.
     *
     * @param images [B, C, H, W]
     * @return a tensor
     */
    Tensor apply(Tensor images);

    /**
     * This one, then another.
     *
     * @param next gets what this one gives
     * @return both
     */
    default Transform then(Transform next) {
        Objects.requireNonNull(next, "next");
        return images -> next.apply(apply(images));
    }

    /** {@return the same for the inputs of a labelled batch, for {@link Dataset#map}} */
    default UnaryOperator<Labelled> ofInputs() {
        return batch -> new Labelled(apply(batch.inputs()), batch.targets());
    }

    /**
     * Pixels of 0 … 255 to float32, (x / 255 − mean) / std for each channel, in one pass.
     *
     * @param mean one for each channel, of pixels from 0 to 1
     * @param std one for each channel, greater than 0
     * @return a transform of uint8 images
     * @throws IllegalArgumentException if there are not as many of both, or one is no such number
     */
    static Transform normalize(double[] mean, double[] std) {
        Objects.requireNonNull(mean, "mean");
        Objects.requireNonNull(std, "std");
        boolean right = mean.length == std.length && mean.length > 0;
        for (int c = 0; right && c < mean.length; c++) {
            right = Double.isFinite(mean[c]) && std[c] > 0 && Double.isFinite(std[c]);
        }
        if (!right) {
            throw new IllegalArgumentException("normalize: mean and std must have a number for each channel, and std be"
                    + " greater than 0; mean has " + mean.length + ", std " + std.length);
        }
        float[] scale = new float[mean.length];
        float[] shift = new float[mean.length];
        for (int c = 0; c < scale.length; c++) {
            scale[c] = (float) (1 / (255 * std[c]));
            shift[c] = (float) (-mean[c] / std[c]);
        }
        return images -> {
            requireImages("normalize", images);
            if (images.dtype() != DType.UINT8 || images.size(1) != scale.length) {
                String text =
                        "normalize: takes uint8 images of " + scale.length + " channels, but got " + images.describe();
                throw images.dtype() == DType.UINT8 ? new ShapeException(text) : new DTypeException(text);
            }
            Tensor times = Tensor.of(scale, scale.length, 1, 1).to(images.device());
            return Tensor.of(shift, shift.length, 1, 1).to(images.device()).addcmul(images, times, 1);
        };
    }

    /** {@return pixels of 0 … 255 as float32 from 0 to 1} */
    static Transform toFloat() {
        return images -> {
            requireImages("toFloat", images);
            return images.to(DType.FLOAT32).mul(1 / 255f);
        };
    }

    /**
     * Another size, by bilinear interpolation.
     *
     * @param height of the result, at least 1
     * @param width of the result, at least 1
     * @return a transform of floating images
     */
    static Transform resize(long height, long width) {
        requireSize("resize", height, width);
        return images -> {
            requireImages("resize", images);
            return Images.interpolate(images, new long[] {height, width}, Interpolation.LINEAR, false);
        };
    }

    /**
     * A part of each image, at a random place.
     *
     * @param height of the part, at least 1
     * @param width of the part, at least 1
     * @param padding so many zeros are put around each image before, at least 0
     * @return a transform; images that are smaller with their padding are refused
     */
    static Transform randomCrop(long height, long width, long padding) {
        requireSize("randomCrop", height, width);
        if (padding < 0) {
            throw new IllegalArgumentException("randomCrop: padding " + padding + " must not be negative");
        }
        return images -> {
            requireImages("randomCrop", images);
            long down = images.size(2) + 2 * padding - height + 1;
            long right = images.size(3) + 2 * padding - width + 1;
            if (down < 1 || right < 1) {
                throw new ShapeException(Message.of("randomCrop: cannot take " + height + " × " + width + " of images")
                        .fact("images", images.describe())
                        .fact("padding", padding)
                        .fix("resize them before, or take a larger padding."));
            }
            long n = images.size(0);
            long[] top = Tensor.randint(0, down, n).toLongArray();
            long[] left = Tensor.randint(0, right, n).toLongArray();
            Tensor whole = padding == 0 ? images : images.pad(0, padding, padding, padding, padding);
            if (n == 0) {
                return whole.narrow(2, 0, height).narrow(3, 0, width);
            }
            List<Tensor> parts = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                parts.add(whole.at(i).narrow(1, top[i], height).narrow(2, left[i], width));
            }
            return Tensor.stack(parts, 0);
        };
    }

    /**
     * Left and right are exchanged in some images.
     *
     * @param probability of each image, from 0 to 1
     * @return a transform
     */
    static Transform randomFlip(double probability) {
        if (!(probability >= 0 && probability <= 1)) {
            throw new IllegalArgumentException("randomFlip: probability " + probability + " must lie between 0 and 1");
        }
        return images -> {
            requireImages("randomFlip", images);
            Tensor which = forEach(images, 0, 1).lt(probability);
            return Tensor.where(which, images.flip(3), images);
        };
    }

    /**
     * Brightness, then contrast, then saturation of each image are multiplied by random factors from 1 − x to 1 + x; results
     * are limited to 0 … 1.
     *
     * @param brightness x, from 0 to 1
     * @param contrast x, from 0 to 1
     * @param saturation x, from 0 to 1; more than 0 for images of three channels only
     * @return a transform of floating images from 0 to 1
     */
    static Transform colorJitter(double brightness, double contrast, double saturation) {
        for (double x : new double[] {brightness, contrast, saturation}) {
            if (!(x >= 0 && x <= 1)) {
                throw new IllegalArgumentException("colorJitter: brightness " + brightness + ", contrast " + contrast
                        + " and saturation " + saturation + " must lie between 0 and 1");
            }
        }
        return images -> {
            requireImages("colorJitter", images);
            if (!images.dtype().isFloating()) {
                throw new DTypeException(Message.of("colorJitter: takes floating images, but got " + images.describe())
                        .fix("Transform.toFloat() before it."));
            }
            Tensor x =
                    images.mul(forEach(images, 1 - brightness, 1 + brightness)).clamp(0, 1);
            if (contrast > 0) {
                Tensor mean = gray(x).mean(new int[] {1, 2, 3}, true);
                x = mix(mean, x, forEach(images, 1 - contrast, 1 + contrast));
            }
            if (saturation > 0) {
                if (images.size(1) != 3) {
                    throw new ShapeException(
                            "colorJitter: saturation is of three channels, but got " + images.describe());
                }
                x = mix(gray(x), x, forEach(images, 1 - saturation, 1 + saturation));
            }
            return x;
        };
    }

    /**
     * Each image is mixed with another of its batch, and its target with the other's: λ · x + (1 − λ) · y, with one λ a batch
     * of the distribution Beta(alpha, alpha). Targets become probabilities, for
     * {@code Losses.crossEntropyOfProbabilities}.
     *
     * @param alpha greater than 0; small values mix little
     * @param classes how many there are
     * @return for {@link Dataset#map}: floating inputs [B, …], int64 targets [B] to float32 [B, classes]
     * @see <a href="https://arxiv.org/abs/1710.09412">Zhang et al. 2017</a>
     */
    static UnaryOperator<Labelled> mixup(double alpha, long classes) {
        if (!(alpha > 0 && Double.isFinite(alpha)) || classes < 1) {
            throw new IllegalArgumentException(
                    "mixup: alpha " + alpha + " must be greater than 0, classes " + classes + " at least 1");
        }
        return batch -> {
            Tensor x = batch.inputs();
            Tensor y = batch.targets().oneHot(classes, DType.FLOAT32);
            double share = beta(alpha);
            Tensor other = Tensor.randperm(x.size(0)).to(x.device());
            return new Labelled(
                    x.mul(share).add(x.indexSelect(0, other).mul(1 - share)),
                    y.mul(share).add(y.indexSelect(0, other).mul(1 - share)));
        };
    }

    /** A number of Beta(alpha, alpha), by Jöhnk's method; its logarithms do not vanish where alpha is small. */
    private static double beta(double alpha) {
        while (true) {
            double[] u =
                    Tensor.rand(Shape.of(2), 0, 1, DType.FLOAT64, Device.CPU).toDoubleArray();
            double x = Math.log(u[0]) / alpha;
            double y = Math.log(u[1]) / alpha;
            double most = Math.max(x, y);
            double sum = most + Math.log(Math.exp(x - most) + Math.exp(y - most));
            if (sum <= 0) {
                return Math.exp(x - sum);
            }
        }
    }

    private static Tensor gray(Tensor x) {
        if (x.size(1) != 3) {
            return x.mean(new int[] {1}, true);
        }
        Tensor parts = Tensor.of(new float[] {0.299f, 0.587f, 0.114f}, 3, 1, 1)
                .to(x.dtype())
                .to(x.device());
        return x.mul(parts).sum(new int[] {1}, true);
    }

    private static Tensor mix(Tensor from, Tensor to, Tensor share) {
        return from.add(to.sub(from).mul(share)).clamp(0, 1);
    }

    /** A random number for each image, [B, 1, 1, 1]. */
    private static Tensor forEach(Tensor images, double low, double high) {
        DType dtype = images.dtype().isFloating() ? images.dtype().computeType() : DType.FLOAT32;
        Tensor drawn = Tensor.rand(Shape.of(images.size(0), 1, 1, 1), low, high, dtype, Device.CPU);
        return (images.dtype().isFloating() ? drawn.to(images.dtype()) : drawn).to(images.device());
    }

    private static void requireImages(String what, Tensor images) {
        if (Objects.requireNonNull(images, "images").rank() != 4) {
            throw new ShapeException(Message.of(what + ": takes images [B, C, H, W], but got " + images.describe())
                    .fix("unsqueeze(1) for images of one channel, unsqueeze(0) for a single one."));
        }
    }

    private static void requireSize(String what, long height, long width) {
        if (height < 1 || width < 1) {
            throw new IllegalArgumentException(
                    what + ": height " + height + " and width " + width + " must be at least 1");
        }
    }
}
