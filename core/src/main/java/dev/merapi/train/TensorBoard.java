// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Map;
import java.util.Objects;
import java.util.zip.CRC32C;

/**
 * Writes what TensorBoard shows, into a folder of its own: scalars, histograms, images and texts over the steps of a run.
 *
 * <pre>{@code
 * try (TensorBoard board = TensorBoard.create(run.file("events"))) {
 *     trainer.onStep(board::scalars);        // tensorboard --logdir runs
 * }
 * }</pre>
 *
 * <p>Events are in the file a second later, when it is flushed, and when it is closed. For one thread at a time.
 */
public final class TensorBoard implements AutoCloseable {
    private static final long FLUSH_NANOS = 1_000_000_000;
    private static final int BUFFER = 1 << 16;
    /** Histograms have buckets whose bounds grow by a tenth, on both sides of 0. */
    private static final double GROWTH = 1.1;

    private static final double SMALLEST = 1e-12;
    private static final double LARGEST = 1e20;
    private static final double[] BOUNDS = bounds();

    private final FileChannel file;
    private final ByteBuffer pending = ByteBuffer.allocate(BUFFER).order(ByteOrder.LITTLE_ENDIAN);
    private long flushed = System.nanoTime();

    private TensorBoard(FileChannel file) {
        this.file = file;
    }

    /**
     * Begins a file of events.
     *
     * @param folder is made if it is not there; the files of earlier parts of the run stay
     * @return a writer, to be closed
     * @throws IOException if the file cannot be written
     */
    public static TensorBoard create(Path folder) throws IOException {
        return open(folder);
    }

    /**
     * Goes on with a run that was interrupted: of what its earlier files have, TensorBoard leaves out the given step and later ones,
     * which are computed again.
     *
     * @param folder with the files
     * @param step the next one
     * @return a writer, to be closed
     * @throws IOException if the file cannot be written
     */
    public static TensorBoard resume(Path folder, long step) throws IOException {
        TensorBoard board = open(folder);
        Protobuf started = new Protobuf().integer(1, 1); // SessionLog.status = START
        board.write(event(step).message(7, started));
        return board;
    }

    private static TensorBoard open(Path folder) throws IOException {
        Files.createDirectories(Objects.requireNonNull(folder, "folder"));
        String stem = "events.out.tfevents." + System.currentTimeMillis() / 1000 + ".merapi."
                + ProcessHandle.current().pid() + ".";
        for (int i = 0; ; i++) {
            try {
                TensorBoard board = new TensorBoard(FileChannel.open(
                        folder.resolve(stem + i), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE));
                board.write(event(0).text(3, "brain.Event:2"));
                board.flush();
                return board;
            } catch (FileAlreadyExistsException e) {
                // of the same second: the next number
            }
        }
    }

    // ---------------------------------------------------------------- what is shown

    /**
     * A number.
     *
     * @param tag its name; a slash groups names
     * @param step when
     * @param value NaN and infinities are shown as such
     * @throws UncheckedIOException if it cannot be written
     */
    public void scalar(String tag, long step, double value) {
        summary(step, value(tag).float32(2, (float) value));
    }

    /**
     * Several numbers: what {@link Trainer#onStep} takes.
     *
     * @param step when
     * @param values by tag
     * @throws UncheckedIOException if they cannot be written
     */
    public void scalars(long step, Map<String, Double> values) {
        Objects.requireNonNull(values, "values").forEach((tag, value) -> scalar(tag, step, value));
    }

    /**
     * How the elements of a tensor are distributed, such as those of a weight. Waits for the device.
     *
     * @param tag its name
     * @param step when
     * @param values of any shape; those that are NaN or infinite are left out
     * @throws UncheckedIOException if it cannot be written
     */
    public void histogram(String tag, long step, Tensor values) {
        requireValues("histogram", "values", values);
        double[] all = Arrays.stream(values.detach().toDoubleArray())
                .filter(Double::isFinite)
                .sorted()
                .toArray();
        double[] counts = new double[BOUNDS.length];
        double sum = 0;
        double squares = 0;
        for (double v : all) {
            int at = Arrays.binarySearch(BOUNDS, v); // a bucket has what lies below its bound
            counts[Math.min(at >= 0 ? at + 1 : -at - 1, BOUNDS.length - 1)]++;
            sum += v;
            squares += v * v;
        }
        int first = 0;
        int end = BOUNDS.length;
        while (first < end - 1 && counts[first] == 0) {
            first++;
        }
        while (end > first + 1 && counts[end - 1] == 0) {
            end--;
        }
        int from = Math.max(0, first - 1); // an empty one says where the first begins
        Protobuf histogram = new Protobuf()
                .float64(1, all.length == 0 ? 0 : all[0])
                .float64(2, all.length == 0 ? 0 : all[all.length - 1])
                .float64(3, all.length)
                .float64(4, sum)
                .float64(5, squares)
                .float64s(6, Arrays.copyOfRange(BOUNDS, from, end))
                .float64s(7, Arrays.copyOfRange(counts, from, end));
        summary(step, value(tag).message(5, histogram));
    }

    private static double[] bounds() {
        int count = 0;
        for (double b = SMALLEST; b < LARGEST; b *= GROWTH) {
            count++;
        }
        double[] all = new double[2 * count + 2];
        double b = SMALLEST;
        for (int i = 0; i < count; i++, b *= GROWTH) {
            all[count + 1 + i] = b;
            all[count - 1 - i] = -b;
        }
        all[2 * count + 1] = Double.MAX_VALUE;
        return all; // and 0 in the middle
    }

    /**
     * An image. Waits for the device.
     *
     * @param tag its name
     * @param step when
     * @param image [H, W] or [C, H, W] of 1, 3 or 4 channels: uint8, or floating from 0 to 1
     * @throws dev.merapi.error.ShapeException for another shape
     * @throws UncheckedIOException if it cannot be written
     */
    public void image(String tag, long step, Tensor image) {
        requireValues("image", "image", image);
        Png png = Png.of(image);
        Protobuf written = new Protobuf()
                .integer(1, png.height())
                .integer(2, png.width())
                .integer(3, png.channels())
                .bytes(4, png.toBytes());
        summary(step, value(tag).message(4, written));
    }

    /**
     * A text, such as what a model wrote.
     *
     * @param tag its name
     * @param step when
     * @param markdown is shown as such
     * @throws UncheckedIOException if it cannot be written
     */
    public void text(String tag, long step, String markdown) {
        Objects.requireNonNull(markdown, "markdown");
        Protobuf one = new Protobuf().message(2, new Protobuf().integer(1, 1)); // a shape of one element
        Protobuf tensor = new Protobuf().integer(1, 7).message(2, one).text(8, markdown); // 7: strings
        Protobuf plugin = new Protobuf().message(1, new Protobuf().text(1, "text"));
        summary(step, value(tag).message(9, plugin).message(8, tensor));
    }

    private static void requireValues(String method, String argument, Tensor t) {
        Objects.requireNonNull(t, argument).requireOpen("TensorBoard." + method, argument);
        if (t.isMeta()) {
            throw new ShapeException("TensorBoard." + method + ": " + argument + " is " + t.describe()
                    + ", a meta tensor, which has no values\n  fix: give a tensor with values.");
        }
    }

    private static Protobuf value(String tag) {
        return new Protobuf().text(1, Objects.requireNonNull(tag, "tag"));
    }

    private void summary(long step, Protobuf value) {
        try {
            write(event(step).message(5, new Protobuf().message(1, value)));
            if (System.nanoTime() - flushed > FLUSH_NANOS) {
                flush();
            }
        } catch (IOException e) {
            throw new UncheckedIOException("events: cannot write", e);
        }
    }

    // ---------------------------------------------------------------- the file

    private static Protobuf event(long step) {
        return new Protobuf().float64(1, System.currentTimeMillis() / 1000.0).integer(2, step);
    }

    /** A record: its length and contents, each followed by a checksum. */
    private void write(Protobuf event) throws IOException {
        byte[] content = event.toBytes();
        byte[] length = ByteBuffer.allocate(8)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(content.length)
                .array();
        int size = content.length + 16;
        if (size > pending.remaining()) {
            flush();
        }
        ByteBuffer to = size > pending.capacity() ? ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN) : pending;
        to.put(length).putInt(masked(length)).put(content).putInt(masked(content));
        if (to != pending) {
            writeAll(to);
        }
    }

    /** As TFRecord has it: sums of data that hold sums would be weak. */
    private static int masked(byte[] bytes) {
        CRC32C sum = new CRC32C();
        sum.update(bytes);
        return Integer.rotateRight((int) sum.getValue(), 15) + 0xa282ead8;
    }

    private void writeAll(ByteBuffer written) throws IOException {
        long whole = file.position();
        written.flip();
        try {
            while (written.hasRemaining()) {
                file.write(written);
            }
        } catch (IOException e) {
            file.truncate(whole); // half a record would end the file for its readers
            throw e;
        } finally {
            written.clear(); // events that the disk did not take are lost, later ones are not
        }
    }

    /** Everything so far is in the file. */
    public void flush() throws IOException {
        flushed = System.nanoTime();
        writeAll(pending);
    }

    @Override
    public void close() throws IOException {
        try {
            flush();
        } finally {
            file.close();
        }
    }
}
