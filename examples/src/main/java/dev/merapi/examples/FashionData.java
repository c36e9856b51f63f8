// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.data.TensorDataset;
import dev.merapi.io.Idx;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Fashion-MNIST: 28×28 grey images of clothes in ten classes. The full set (60,000 and 10,000) if it is found, else the
 * subset (1,000 and 200) that comes with the examples.
 */
record FashionData(TensorDataset training, TensorDataset test, String source) {
    private static final String FOLDER = "datasets/fashion-mnist";
    private static final String TRAINING_IMAGES = "train-images-idx3-ubyte";

    /**
     * Looks in {@code folder}; if that is null, in {@code $MERAPI_DATA} and its {@code fashion-mnist}, then under the
     * data folders of the desktop standard ({@code $XDG_DATA_DIRS}), where Debian's package dataset-fashion-mnist puts it.
     */
    static FashionData load(@Nullable Path folder) throws IOException {
        if (folder != null) {
            return full(folder);
        }
        for (Path candidate : candidates()) {
            if (Files.exists(existing(candidate, TRAINING_IMAGES))) {
                return full(candidate);
            }
        }
        return subset();
    }

    /** What comes with the examples. */
    static FashionData subset() throws IOException {
        return new FashionData(
                dataset(resource(TRAINING_IMAGES + ".gz"), resource("train-labels-idx1-ubyte.gz")),
                dataset(resource("t10k-images-idx3-ubyte.gz"), resource("t10k-labels-idx1-ubyte.gz")),
                "the subset that comes with the examples; for all of it see --data");
    }

    private static List<Path> candidates() {
        List<Path> found = new ArrayList<>();
        String own = System.getenv("MERAPI_DATA");
        if (own != null) {
            found.add(Path.of(own));
            found.add(Path.of(own, "fashion-mnist"));
        }
        String standard = System.getenv().getOrDefault("XDG_DATA_DIRS", "/usr/local/share:/usr/share");
        for (String root : standard.split(java.io.File.pathSeparator)) {
            found.add(Path.of(root, FOLDER));
        }
        return found;
    }

    private static FashionData full(Path folder) throws IOException {
        return new FashionData(
                dataset(file(folder, TRAINING_IMAGES), file(folder, "train-labels-idx1-ubyte")),
                dataset(file(folder, "t10k-images-idx3-ubyte"), file(folder, "t10k-labels-idx1-ubyte")),
                folder.toString());
    }

    private static Tensor file(Path folder, String name) throws IOException {
        Path file = existing(folder, name);
        if (!Files.exists(file)) {
            throw new FileNotFoundException("fashion: " + folder + " holds neither " + name + " nor " + name + ".gz"
                    + "\n  fix: give --data the folder with the four files of Fashion-MNIST, or leave it out.");
        }
        return Idx.read(file);
    }

    private static Path existing(Path folder, String name) {
        Path plain = folder.resolve(name);
        return Files.exists(plain) ? plain : folder.resolve(name + ".gz");
    }

    private static Tensor resource(String name) throws IOException {
        try (InputStream in = FashionData.class.getResourceAsStream("/fashion-mnist/" + name)) {
            if (in == null) {
                throw new FileNotFoundException("fashion-mnist/" + name + " is not among the examples' resources");
            }
            return Idx.read(in, name);
        }
    }

    /** Images stay bytes in memory: [N, 1, 28, 28]. */
    private static TensorDataset dataset(Tensor images, Tensor labels) {
        return new TensorDataset(images.unsqueeze(1), labels.to(DType.INT64));
    }
}
