// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.PadMode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Sizes;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * What convolutions have in common: a weight and perhaps a bias, drawn from U(−1/√fanIn, 1/√fanIn) as PyTorch does, and
 * options.
 *
 * <pre>{@code new Conv2d(64, 128, new long[] {3, 5}, Conv2d.options().stride(2).padding(1, 2).groups(4).noBias())}</pre>
 */
public abstract sealed class ConvNd extends Layer
        permits Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d {
    private final int dims;
    private final boolean transposed;
    private final Options options;
    private final Parameter weight;
    private final @Nullable Parameter bias;

    /** How a kernel is moved. Immutable: each method gives another one. Numbers are one for all dimensions, or one for each. */
    public static final class Options {
        private long[] stride = {1};
        private long[] padding = {0};
        private long[] outputPadding = {0};
        private long[] dilation = {1};
        private boolean same;
        private long groups = 1;
        private boolean bias = true;
        private @Nullable PadMode mode;

        private Options() {}

        private Options copy() {
            Options o = new Options();
            o.stride = stride;
            o.padding = padding;
            o.outputPadding = outputPadding;
            o.dilation = dilation;
            o.same = same;
            o.groups = groups;
            o.bias = bias;
            o.mode = mode;
            return o;
        }

        /**
         * How far the kernel moves each time; of a transposed convolution, its result.
         *
         * @param each at least 1
         * @return the same options but for that
         */
        public Options stride(long... each) {
            Options o = copy();
            o.stride = Objects.requireNonNull(each, "each").clone();
            return o;
        }

        /**
         * What is added on both sides; of a transposed convolution, what is cut off from its result.
         *
         * @param each at least 0
         * @return the same options but for that
         */
        public Options padding(long... each) {
            Options o = copy();
            o.padding = Objects.requireNonNull(each, "each").clone();
            o.same = false;
            return o;
        }

        /**
         * As much padding as makes the result as large as the input; for a stride of 1.
         *
         * @return the same options but for that
         */
        public Options same() {
            Options o = copy();
            o.same = true;
            return o;
        }

        /**
         * How far apart the elements are that a kernel reads.
         *
         * @param each at least 1
         * @return the same options but for that
         */
        public Options dilation(long... each) {
            Options o = copy();
            o.dilation = Objects.requireNonNull(each, "each").clone();
            return o;
        }

        /**
         * How much more the result of a transposed convolution has than it must.
         *
         * @param each at least 0, less than stride or dilation
         * @return the same options but for that
         */
        public Options outputPadding(long... each) {
            Options o = copy();
            o.outputPadding = Objects.requireNonNull(each, "each").clone();
            return o;
        }

        /**
         * Groups of channels that do not see each other.
         *
         * @param count divides the channels of input and result
         * @return the same options but for that
         */
        public Options groups(long count) {
            Options o = copy();
            o.groups = count;
            return o;
        }

        /**
         * Without a bias.
         *
         * @return the same options but for that
         */
        public Options noBias() {
            Options o = copy();
            o.bias = false;
            return o;
        }

        /**
         * What padding is made of, instead of zeros; not of a transposed convolution.
         *
         * @param kind mirrored, repeated, or from the other side
         * @return the same options but for that
         */
        public Options padMode(PadMode kind) {
            Options o = copy();
            o.mode = Objects.requireNonNull(kind, "kind");
            return o;
        }
    }

    /** {@return stride 1, no padding, no dilation, one group, and a bias} */
    public static Options options() {
        return new Options();
    }

    ConvNd(boolean transposed, int dims, long in, long out, long[] kernel, Options given) {
        String name = kind();
        Options o = Objects.requireNonNull(given, "options").copy();
        this.dims = dims;
        this.transposed = transposed;
        this.options = o;
        Init.atLeast(0, name, "in", in);
        Init.atLeast(0, name, "out", out);
        long[] size = Dims.each(name, "kernel", dims, 1, kernel);
        o.stride = Dims.each(name, "stride", dims, 1, o.stride);
        o.padding = Dims.each(name, "padding", dims, 0, o.padding);
        o.outputPadding = Dims.each(name, "outputPadding", dims, 0, o.outputPadding);
        o.dilation = Dims.each(name, "dilation", dims, 1, o.dilation);
        Init.atLeast(1, name, "groups", o.groups);
        require(
                in % o.groups == 0 && out % o.groups == 0,
                o.groups + " groups do not divide " + in + " and " + out + " channels");
        require(!o.same || Arrays.stream(o.stride).allMatch(s -> s == 1), "same padding needs a stride of 1");
        require(!transposed || !o.same && o.mode == null, "a transposed convolution has no padding but zeros");
        require(
                transposed || Arrays.stream(o.outputPadding).allMatch(p -> p == 0),
                "outputPadding is for transposed convolutions");
        long[] shape = new long[dims + 2];
        shape[0] = transposed ? in : out;
        shape[1] = (transposed ? out : in) / o.groups;
        System.arraycopy(size, 0, shape, 2, dims);
        long fanIn = shape[1];
        for (long k : size) {
            fanIn = Sizes.multiply(fanIn, k);
        }
        weight = parameter("weight", Init.kaimingUniform(fanIn, shape));
        bias = o.bias ? parameter("bias", Init.kaimingUniform(fanIn, out)) : null;
    }

    private void require(boolean holds, String otherwise) {
        if (!holds) {
            throw new ShapeException(Message.of(kind(), otherwise));
        }
    }

    @Override
    protected Tensor compute(Tensor x) {
        Objects.requireNonNull(x, "x");
        Options o = options;
        Tensor w = weight.tensor();
        Tensor b = Parameter.of(bias);
        if (x.rank() != dims + 2) {
            throw new ShapeException(
                    Message.of(kind(), "x must have " + (dims + 2) + " dimensions, but is " + x.describe())
                            .argument("x")
                            .fix("x.unsqueeze(0) makes a batch of one."));
        }
        if (transposed) {
            return switch (dims) {
                case 1 ->
                    Convolution.convTranspose1d(
                            x, w, b, o.stride[0], o.padding[0], o.outputPadding[0], o.groups, o.dilation[0]);
                case 2 ->
                    Convolution.convTranspose2d(x, w, b, o.stride, o.padding, o.outputPadding, o.groups, o.dilation);
                default -> {
                    Tensor y = Convolution.convTranspose3d(
                            x, w, null, o.stride, o.padding, o.outputPadding, o.groups, o.dilation);
                    yield b == null ? y : y.add(b.to(y.dtype()).view(-1, 1, 1, 1));
                }
            };
        }
        if (o.mode != null) {
            return convolved(x.pad(o.mode, amounts(w)), w, b, new long[dims]);
        }
        return o.same ? Convolution.convSame(x, w, b, o.dilation, o.groups) : convolved(x, w, b, o.padding);
    }

    private Tensor convolved(Tensor x, Tensor w, @Nullable Tensor b, long[] padding) {
        Options o = options;
        return switch (dims) {
            case 1 -> Convolution.conv1d(x, w, b, o.stride[0], padding[0], o.dilation[0], o.groups);
            case 2 -> Convolution.conv2d(x, w, b, o.stride, padding, o.dilation, o.groups);
            default -> Convolution.conv3d(x, w, b, o.stride, padding, o.dilation, o.groups);
        };
    }

    /** Before and behind, from the last dimension on; "same" has one more behind where it cannot be even. */
    private long[] amounts(Tensor w) {
        long[] amounts = new long[2 * dims];
        for (int d = 0; d < dims; d++) {
            long total = options.same ? options.dilation[d] * (w.size(2 + d) - 1) : 2 * options.padding[d];
            int at = 2 * (dims - 1 - d);
            amounts[at] = total / 2;
            amounts[at + 1] = total - total / 2;
        }
        return amounts;
    }

    /**
     * [out, in / groups, kernel], or of a transposed convolution [in, out / groups, kernel].
     *
     * @return the parameter, as it is now
     */
    public final Tensor weight() {
        return weight.tensor();
    }

    /**
     * [out], or null.
     *
     * @return the parameter, as it is now
     */
    public final @Nullable Tensor bias() {
        return Parameter.of(bias);
    }
}
