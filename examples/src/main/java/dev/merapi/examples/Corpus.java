// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.random.RandomGenerator;
import java.util.stream.Stream;

/**
 * The Java source of commons-lang3 as characters, out of the {@code sources} jar on the class path. Every tenth file in
 * name order is held out.
 */
final class Corpus {
    private static final String FOLDER = "org/apache/commons/lang3";

    private final int[] training;
    private final int[] heldOut;
    private final int[] codePoints; // of each token

    /** Inputs and the tokens that follow them, both int64 [batch, context]. */
    record Batch(Tensor inputs, Tensor targets) implements AutoCloseable {
        @Override
        public void close() {
            inputs.close();
            targets.close();
        }
    }

    private Corpus(int[] training, int[] heldOut, int[] codePoints) {
        this.training = training;
        this.heldOut = heldOut;
        this.codePoints = codePoints;
    }

    /** Reads the files. */
    static Corpus load() {
        List<String> files = readSources();
        StringBuilder train = new StringBuilder();
        StringBuilder held = new StringBuilder();
        for (int i = 0; i < files.size(); i++) {
            (i % 10 == 9 ? held : train).append(files.get(i));
        }
        TreeMap<Integer, Integer> ids = new TreeMap<>();
        (train.toString() + held).codePoints().forEach(c -> ids.putIfAbsent(c, 0));
        int[] codePoints = ids.keySet().stream().mapToInt(c -> c).toArray();
        for (int i = 0; i < codePoints.length; i++) {
            ids.put(codePoints[i], i);
        }
        return new Corpus(encode(train, ids), encode(held, ids), codePoints);
    }

    private static int[] encode(CharSequence text, Map<Integer, Integer> ids) {
        return text.codePoints().map(c -> Objects.requireNonNull(ids.get(c))).toArray();
    }

    private static List<String> readSources() {
        String marker = FOLDER + "/StringUtils.java";
        URL url = Corpus.class.getClassLoader().getResource(marker);
        if (url == null) {
            throw new IllegalStateException("no " + marker + " on the class path"
                    + "\n  fix: add the artifact org.apache.commons:commons-lang3 with the classifier sources.");
        }
        String text = url.toString();
        URI root = URI.create(text.substring(0, text.length() - marker.length()));
        try {
            if (root.getScheme().equals("jar")) {
                try (FileSystem jar = FileSystems.newFileSystem(root, Map.of())) {
                    return readFolder(jar.getPath("/" + FOLDER));
                }
            }
            return readFolder(Path.of(root).resolve(FOLDER));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<String> readFolder(Path folder) throws IOException {
        List<Path> files = new ArrayList<>();
        try (Stream<Path> all = Files.walk(folder)) {
            all.filter(p -> p.toString().endsWith(".java")).forEach(files::add);
        }
        files.sort(java.util.Comparator.comparing(Path::toString));
        List<String> texts = new ArrayList<>();
        for (Path file : files) {
            try (InputStream in = Files.newInputStream(file)) {
                texts.add(new String(in.readAllBytes(), StandardCharsets.UTF_8));
            }
        }
        return texts;
    }

    int vocabulary() {
        return codePoints.length;
    }

    int trainingLength() {
        return training.length;
    }

    int heldOutLength() {
        return heldOut.length;
    }

    /** Random windows of the training text. */
    Batch batch(int size, int context, RandomGenerator random) {
        int[] starts = new int[size];
        for (int i = 0; i < size; i++) {
            starts[i] = random.nextInt(training.length - context - 1);
        }
        return windows(training, starts, context);
    }

    /** Evenly spaced windows of the held-out text: batch {@code index} of {@code count}. */
    Batch heldOut(int size, int context, int index, int count) {
        int[] starts = new int[size];
        double step = (double) (heldOut.length - context - 1) / ((long) size * count);
        for (int i = 0; i < size; i++) {
            starts[i] = (int) ((index * (long) size + i) * step);
        }
        return windows(heldOut, starts, context);
    }

    private static Batch windows(int[] text, int[] starts, int context) {
        long[] inputs = new long[starts.length * context];
        long[] targets = new long[inputs.length];
        for (int i = 0; i < starts.length; i++) {
            for (int t = 0; t < context; t++) {
                inputs[i * context + t] = text[starts[i] + t];
                targets[i * context + t] = text[starts[i] + t + 1];
            }
        }
        return new Batch(Tensor.of(inputs, starts.length, context), Tensor.of(targets, starts.length, context));
    }

    /** The character of a token. */
    String decode(int token) {
        return Character.toString(codePoints[token]);
    }

    /** The token of a character; −1 if the text has none of it. */
    int encode(int codePoint) {
        return java.util.Arrays.binarySearch(codePoints, codePoint);
    }
}
