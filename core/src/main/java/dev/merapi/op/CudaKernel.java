// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
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
 * whether an optional tensor is present. Of a list of tensors, {@code xs[k][i]} and {@code xs.count}. Plain arguments have
 * their names; floating ones have the type that the first output computes in, {@code acc_t}; of arrays, {@code dims[k]} and
 * {@code dims.count}; {@code has_eps} tells whether an optional {@code eps} is present; components of a nested record are
 * called {@code options_eps}. What else has a name depends on the launch shape:
 *
 * <ul>
 *   <li>{@link Elements}: {@code i} is the element at hand, of {@code n}; {@code return} ends the work on it.
 *   <li>{@link Rows} and {@link Warps}: {@code row} of {@code rows}, each of {@code columns} elements, this thread being
 *       {@code t} of {@code threads}; {@code row_sum(v)}, {@code row_max(v)} and {@code row_min(v)} of what all of them
 *       give.
 *   <li>{@link Tiles}: {@code row}, {@code column} of the thread and {@code plane} of the block, of {@code rows} and
 *       {@code columns}; the tile begins at {@code row0}, {@code column0}. Threads beyond the edge run, too.
 * </ul>
 *
 * <p>A {@link #source} is a whole translation unit with an {@code extern "C" __global__} function. It includes nothing.
 * Types are defined before it: {@code x_t} for each tensor {@code x} is how its elements lie in memory (of a list, of its
 * first), {@code scalar_t} that of the first output, and {@code acc_t} what that computes in.
 *
 * <p>As a kernel of a backward, the same holds with other names: {@code d_out} is the gradient that came, of a result
 * record {@code d_} and its component; {@code d_x} the gradient of argument {@code x} to be written, in the shape of the
 * saved tensor {@code x} if there is one, else of {@code d_out}. Saved values have the names of the record that was saved.
 * A body's writes to a gradient that is not wanted go nowhere; a whole kernel gets a null pointer for it. Launch shapes go
 * by the op's first output, as in the forward.
 *
 * <p>The same text runs on the simulator, {@code cuda-sim}. Immutable.
 */
public final class CudaKernel implements DeviceCode {
    /** How many threads run a kernel. */
    public sealed interface Launch permits Elements, Rows, Warps, Tiles, Explicit {}

    /**
     * One thread for each element of the first output.
     *
     * @param threads of a block
     */
    public record Elements(int threads) implements Launch {}

    /**
     * One block for each row: everything but the last dimension of the first output.
     *
     * @param threads of a block, a multiple of 32
     */
    public record Rows(int threads) implements Launch {}

    /**
     * One warp of 32 threads for each row.
     *
     * @param perBlock warps of a block
     */
    public record Warps(int perBlock) implements Launch {}

    /**
     * One block for each tile of the last two dimensions of the first output; the others are {@code blockIdx.z}.
     *
     * @param width columns of a tile, by {@code blockIdx.x}
     * @param height rows of a tile, by {@code blockIdx.y}
     * @param blockX threads across, along the columns
     * @param blockY threads down, along the rows
     */
    public record Tiles(int width, int height, int blockX, int blockY) implements Launch {}

    /**
     * A grid computed from the arguments and the outputs.
     *
     * @param grid blocks and threads
     */
    public record Explicit(BiFunction<Record, List<Tensor>, Grid> grid) implements Launch {}

    /**
     * Blocks, and the threads of each.
     *
     * @param x blocks in the first dimension
     * @param y blocks in the second
     * @param z blocks in the third
     * @param blockX threads of a block in the first dimension
     * @param blockY threads in the second
     * @param blockZ threads in the third
     */
    public record Grid(long x, long y, long z, int blockX, int blockY, int blockZ) {
        /**
         * One dimension.
         *
         * @param blocks how many, at least 1
         * @param threads of each block, at most 1024
         */
        public Grid(long blocks, int threads) {
            this(blocks, 1, 1, threads, 1, 1);
        }
    }

    private static final int DEFAULT_THREADS = 256;

    /** What the text is. */
    private enum Form {
        BODY,
        SOURCE,
        IMAGE
    }

    private final Form form;
    private final String entry;
    private final String text;
    private final byte @Nullable [] image;
    private final String origin;
    private @Nullable List<String> arguments;
    private List<String> zeroed = List.of();
    private Launch launch = new Elements(DEFAULT_THREADS);
    private int sharedBytes;
    private boolean verbose;

    private CudaKernel(Form form, String entry, String text, byte @Nullable [] image, String origin) {
        this.form = form;
        this.entry = entry;
        this.text = text;
        this.image = image;
        this.origin = origin;
    }

    private CudaKernel copy() {
        CudaKernel copy = new CudaKernel(form, entry, text, image, origin);
        copy.arguments = arguments;
        copy.zeroed = zeroed;
        copy.launch = launch;
        copy.sharedBytes = sharedBytes;
        copy.verbose = verbose;
        return copy;
    }

    /** The line of Java that made a kernel. */
    private static String caller() {
        return StackWalker.getInstance()
                .walk(frames -> frames.filter(f -> !f.getClassName().equals(CudaKernel.class.getName()))
                        .findFirst()
                        .map(f -> f.getFileName() + ":" + f.getLineNumber())
                        .orElse(""));
    }

    /**
     * Statements for one element, row or tile; signature, index and tail are made from the op's record.
     *
     * @param statements CUDA C++ over the names of the op's arguments and result
     * @return a kernel, to be registered
     */
    public static CudaKernel body(String statements) {
        return new CudaKernel(Form.BODY, "body", statements, null, caller());
    }

    /**
     * A whole kernel.
     *
     * @param entry the name of its {@code extern "C" __global__} function
     * @param text CUDA C++ of a whole compilation unit
     * @return a kernel, to be registered
     */
    public static CudaKernel source(String entry, String text) {
        Objects.requireNonNull(entry, "entry");
        return new CudaKernel(Form.SOURCE, checked("source", entry), text, null, caller());
    }

    /**
     * A kernel that was compiled before: a cubin, a fatbin or PTX. There is no source for the simulator to run, which
     * therefore refuses it.
     *
     * @param entry the name of its function, as the image has it
     * @param image its bytes, which are copied
     * @return a kernel, to be registered
     */
    public static CudaKernel image(String entry, byte[] image) {
        Objects.requireNonNull(image, "image");
        Objects.requireNonNull(entry, "entry");
        if (image.length == 0) {
            throw new IllegalArgumentException("CudaKernel.image: the image of " + entry + " is empty");
        }
        return new CudaKernel(Form.IMAGE, checked("image", entry), "", image.clone(), caller());
    }

    /**
     * {@link #image(String, byte[])} of the bytes of a file, which is read now.
     *
     * @param entry the name of its function, as the image has it
     * @param file to be read
     * @return a kernel, to be registered
     * @throws IOException if it cannot be read
     */
    public static CudaKernel image(String entry, Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(entry, "entry");
        return image(entry, Files.readAllBytes(file));
    }

    private static String checked(String method, String entry) {
        if (!entry.matches("[A-Za-z_][A-Za-z_0-9]*")) {
            throw new IllegalArgumentException("CudaKernel." + method + ": '" + entry + "' is no name of a function"
                    + "\n  fix: give the name of the extern \"C\" __global__ function in the source.");
        }
        return entry;
    }

    /**
     * What a whole kernel is called with, in order: {@code out} or a result's name (a pointer), a tensor argument (a
     * pointer), {@code xs[2]} (a tensor of a list), a plain argument (long long, int, double or bool, as in the record;
     * a dtype or an enum as int), {@code x.numel}, {@code x.size(d)} or {@code x.stride(d)}, {@code xs.count} (long long).
     * Without this call: the outputs, the record's components in order, and the number of elements of the first output.
     *
     * @param names in order
     * @return another kernel
     */
    public CudaKernel arguments(String... names) {
        if (form == Form.BODY) {
            throw new IllegalStateException("CudaKernel.body: its arguments follow from the op's record"
                    + "\n  fix: use CudaKernel.source for a signature of your own.");
        }
        CudaKernel copy = copy();
        copy.arguments = List.of(names);
        return copy;
    }

    /**
     * The launch shape; {@code new Elements(256)} without this call.
     *
     * @param shape how many blocks and threads
     * @return another kernel
     */
    public CudaKernel launch(Launch shape) {
        CudaKernel copy = copy();
        copy.launch = shape;
        return copy;
    }

    /**
     * Bytes of dynamic shared memory for each block.
     *
     * @param bytes at least 0
     * @return another kernel
     */
    public CudaKernel shared(int bytes) {
        CudaKernel copy = copy();
        copy.sharedBytes = bytes;
        return copy;
    }

    /**
     * Outputs that are filled with zeros before each launch, for a kernel that adds to them.
     *
     * @param outputs names of tensors of the result
     * @return another kernel
     */
    public CudaKernel zeroed(String... outputs) {
        Objects.requireNonNull(outputs, "outputs");
        CudaKernel copy = copy();
        copy.zeroed = List.of(outputs);
        return copy;
    }

    /**
     * Prints the source that is compiled, with all that is generated around it, whenever a variant is compiled.
     *
     * @return another kernel
     */
    public CudaKernel verbose() {
        CudaKernel copy = copy();
        copy.verbose = true;
        return copy;
    }

    /**
     * True for a whole kernel, false for a body.
     *
     * @return whether nothing is generated around it
     */
    public boolean isWhole() {
        return form != Form.BODY;
    }

    /**
     * The compiled kernel; null if there is a source.
     *
     * @return a copy
     */
    public byte @Nullable [] image() {
        return image == null ? null : image.clone();
    }

    /**
     * File and line of the Java source that made it, for messages; may be empty.
     *
     * @return such as {@code Ops.java:12}
     */
    public String origin() {
        return origin;
    }

    /** {@return the outputs that are filled with zeros before each launch} */
    public List<String> zeroed() {
        return zeroed;
    }

    /** {@return whether the source is printed when it is compiled} */
    public boolean isVerbose() {
        return verbose;
    }

    /** {@return the name of the function; of a body a name that is made up} */
    public String entry() {
        return entry;
    }

    /** {@return the source, or the statements of a body; empty for an image} */
    public String text() {
        return text;
    }

    /**
     * As given to {@link #arguments(String...)}; null for the default.
     *
     * @return names in order
     */
    public @Nullable List<String> arguments() {
        return arguments;
    }

    /** {@return the launch shape} */
    public Launch launch() {
        return launch;
    }

    /** {@return bytes of dynamic shared memory for each block} */
    public int sharedBytes() {
        return sharedBytes;
    }

    /** For messages: the first line of the text. */
    @Override
    public String toString() {
        String first = text.strip().lines().findFirst().orElse("");
        return "CudaKernel "
                + (isWhole() ? entry : "{" + (first.length() > 60 ? first.substring(0, 60) + "…" : first) + "}");
    }
}
