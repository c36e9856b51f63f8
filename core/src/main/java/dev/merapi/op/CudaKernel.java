// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.function.BiFunction;
import org.jspecify.annotations.Nullable;

/**
 * A CUDA kernel as a value: CUDA C++ text, what it is called with, and how it is launched. Nothing of CUDA is loaded or
 * compiled before the op first runs on such a device, so classes with kernels load everywhere.
 *
 * <pre>{@code
 * .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = x[i] > 0 ? x[i] * weight[i] : slope * x[i];"))
 * }</pre>
 *
 * <p>In a {@link #body} every tensor argument and output has its name of the argument record ({@code out} if the result is
 * one tensor, {@code out0, out1, …} if it is a list), and is indexed in row-major order: {@code x[i]}; float16 and bfloat16
 * read and write as float. {@code x.numel}, {@code x.rank}, {@code x.size(d)} are there too, and {@code if (x)} tells
 * whether an optional tensor is present. Plain arguments have their names; floating ones have the type that the first
 * output computes in. {@code n} is the number of elements of the first output, {@code i} the one at hand, and
 * {@code return} ends the work on it.
 *
 * <p>A {@link #source} is a whole translation unit with an {@code extern "C" __global__} function. It includes nothing;
 * {@code scalar_t} is the storage type of the first output.
 *
 * <p>The same text runs on the simulator, {@code cuda-sim}. Immutable.
 */
public final class CudaKernel implements DeviceCode {
    /** How many threads run a kernel. */
    public sealed interface Launch permits Elements, Rows, Tiles, Explicit {}

    /**
     * One thread for each element of the first output.
     *
     * @param threads of a block
     */
    public record Elements(int threads) implements Launch {}

    /**
     * One block for each row: everything but the last dimension of the first output.
     *
     * @param threads of a block
     */
    public record Rows(int threads) implements Launch {}

    /**
     * One block for each tile of the last two dimensions of the first output; the others are {@code blockIdx.z}.
     *
     * @param width columns of a tile, by {@code blockIdx.x}
     * @param height rows of a tile, by {@code blockIdx.y}
     */
    public record Tiles(int width, int height, int blockX, int blockY) implements Launch {}

    /** A grid computed from the arguments and the outputs. */
    public record Explicit(BiFunction<Record, List<Tensor>, Grid> grid) implements Launch {}

    /** Blocks, and the threads of each. */
    public record Grid(long x, long y, long z, int blockX, int blockY, int blockZ) {
        /** One dimension. */
        public Grid(long blocks, int threads) {
            this(blocks, 1, 1, threads, 1, 1);
        }
    }

    private static final int DEFAULT_THREADS = 256;

    private final boolean whole;
    private final String entry;
    private final String text;
    private final @Nullable List<String> arguments;
    private final Launch launch;
    private final int sharedBytes;

    private CudaKernel(
            boolean whole,
            String entry,
            String text,
            @Nullable List<String> arguments,
            Launch launch,
            int sharedBytes) {
        this.whole = whole;
        this.entry = entry;
        this.text = text;
        this.arguments = arguments;
        this.launch = launch;
        this.sharedBytes = sharedBytes;
    }

    /** Statements for one element; signature, index and tail are made from the op's record. */
    public static CudaKernel body(String statements) {
        return new CudaKernel(false, "body", statements, null, new Elements(DEFAULT_THREADS), 0);
    }

    /**
     * A whole kernel.
     *
     * @param entry the name of its {@code extern "C" __global__} function
     */
    public static CudaKernel source(String entry, String text) {
        if (!entry.matches("[A-Za-z_][A-Za-z_0-9]*")) {
            throw new IllegalArgumentException("CudaKernel.source: '" + entry + "' is no name of a function"
                    + "\n  fix: give the name of the extern \"C\" __global__ function in the source.");
        }
        return new CudaKernel(true, entry, text, null, new Elements(DEFAULT_THREADS), 0);
    }

    /**
     * What a whole kernel is called with, in order: {@code out} or a result's name (a pointer), a tensor argument (a
     * pointer), a plain argument (long long, int, double or bool, as in the record), {@code x.numel}, {@code x.size(d)} or
     * {@code x.stride(d)} (long long). Without this call: the outputs, the record's components in order, and the number of
     * elements of the first output.
     */
    public CudaKernel arguments(String... names) {
        if (!whole) {
            throw new IllegalStateException("CudaKernel.body: its arguments follow from the op's record"
                    + "\n  fix: use CudaKernel.source for a signature of your own.");
        }
        return new CudaKernel(true, entry, text, List.of(names), launch, sharedBytes);
    }

    /** The launch shape; {@code new Elements(256)} without this call, and always for a body. */
    public CudaKernel launch(Launch shape) {
        return new CudaKernel(whole, entry, text, arguments, shape, sharedBytes);
    }

    /** Bytes of dynamic shared memory for each block. */
    public CudaKernel shared(int bytes) {
        return new CudaKernel(whole, entry, text, arguments, launch, bytes);
    }

    /** True for a whole kernel, false for a body. */
    public boolean isWhole() {
        return whole;
    }

    public String entry() {
        return entry;
    }

    public String text() {
        return text;
    }

    /** As given to {@link #arguments(String...)}; null for the default. */
    public @Nullable List<String> arguments() {
        return arguments;
    }

    public Launch launch() {
        return launch;
    }

    public int sharedBytes() {
        return sharedBytes;
    }

    /** For messages: the first line of the text. */
    @Override
    public String toString() {
        String first = text.strip().lines().findFirst().orElse("");
        return "CudaKernel "
                + (whole ? entry : "{" + (first.length() > 60 ? first.substring(0, 60) + "…" : first) + "}");
    }
}
