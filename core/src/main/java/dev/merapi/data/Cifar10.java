// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.io.FormatException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * CIFAR-10 in its binary format: records of a label and 3 · 32 · 32 pixels, red, green, blue.
 *
 * @see <a href="https://www.cs.toronto.edu/~kriz/cifar.html">Krizhevsky 2009</a>
 */
public final class Cifar10 {
    /** The names of the classes, by number. */
    public static final List<String> CLASSES =
            List.of("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck");

    private static final int SIDE = 32;
    private static final int PIXELS = 3 * SIDE * SIDE;

    private Cifar10() {}

    /**
     * Reads the five training batches or the test batch of a folder as the archive has them: {@code data_batch_1.bin} …
     * {@code data_batch_5.bin}, {@code test_batch.bin}.
     *
     * @param folder where the files are
     * @param training whether the training set is wanted
     * @return uint8 inputs [N, 3, 32, 32] and int64 targets [N]
     * @throws IOException if a file is missing or cannot be read
     * @throws FormatException if it is no such file
     */
    public static TensorDataset read(Path folder, boolean training) throws IOException {
        Objects.requireNonNull(folder, "folder");
        List<String> names = training
                ? List.of(
                        "data_batch_1.bin",
                        "data_batch_2.bin",
                        "data_batch_3.bin",
                        "data_batch_4.bin",
                        "data_batch_5.bin")
                : List.of("test_batch.bin");
        return read(names.stream().map(folder::resolve).toList());
    }

    /**
     * Reads files one after the other.
     *
     * @param files at least one
     * @return uint8 inputs [N, 3, 32, 32] and int64 targets [N]
     * @throws IOException if a file is missing or cannot be read
     * @throws FormatException if it is no such file
     */
    public static TensorDataset read(List<Path> files) throws IOException {
        ByteArrayOutputStream pixels = new ByteArrayOutputStream();
        ByteArrayOutputStream labels = new ByteArrayOutputStream();
        for (Path file : Objects.requireNonNull(files, "files")) {
            Objects.requireNonNull(file, "files");
            byte[] all = Files.readAllBytes(file);
            if (all.length == 0 || all.length % (1 + PIXELS) != 0) {
                throw new FormatException("cifar10: " + file + " has " + all.length
                        + " bytes, which are no whole records of " + (1 + PIXELS));
            }
            for (int at = 0; at < all.length; at += 1 + PIXELS) {
                if (all[at] < 0 || all[at] >= CLASSES.size()) {
                    throw new FormatException("cifar10: " + file + ": record " + at / (1 + PIXELS) + " has label "
                            + (all[at] & 0xff) + ", but there are " + CLASSES.size() + " classes");
                }
                labels.write(all[at]);
                pixels.write(all, at + 1, PIXELS);
            }
        }
        long n = labels.size();
        return new TensorDataset(
                Tensor.of(pixels.toByteArray(), DType.UINT8, n, 3, SIDE, SIDE),
                Tensor.of(labels.toByteArray(), DType.UINT8, n).to(DType.INT64));
    }
}
