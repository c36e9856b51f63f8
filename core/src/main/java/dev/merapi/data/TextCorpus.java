// SPDX-License-Identifier: Apache-2.0
package dev.merapi.data;

import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Enumeration;
import java.util.List;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;

/**
 * Text as numbers, character by character: the vocabulary is the set of code points in it, numbered in their order. Of
 * every ten files, in the order of names, the first is held out, so that what a model is tested on is from files that it
 * never saw.
 */
public final class TextCorpus {
    private static final int HOLD_OUT = 10;

    private final Vocabulary vocabulary;
    private final int[] training;
    private final int[] heldOut;

    private TextCorpus(SortedMap<String, String> files) {
        if (files.size() < 2) {
            throw new IllegalArgumentException("corpus: there are too few files to read: " + files.keySet()
                    + "\n  fix: give it two or more; the first of every ten is held out.");
        }
        StringBuilder train = new StringBuilder();
        StringBuilder test = new StringBuilder();
        int i = 0;
        for (String text : files.values()) {
            (i++ % HOLD_OUT == 0 ? test : train).append(text);
        }
        vocabulary = Vocabulary.of(train, test);
        training = vocabulary.encode(train);
        heldOut = vocabulary.encode(test);
    }

    /**
     * Of texts by name.
     *
     * @param files texts by name
     * @return the corpus
     */
    public static TextCorpus of(SortedMap<String, String> files) {
        Objects.requireNonNull(files, "files");
        return new TextCorpus(files);
    }

    /**
     * Of the files with a suffix such as {@code .java} in a folder or in a zip or jar archive; UTF-8.
     *
     * @param folderOrArchive where the files are
     * @param suffix how their names end
     * @return the corpus
     * @throws java.io.IOException if the disk refuses
     */
    public static TextCorpus of(Path folderOrArchive, String suffix) throws IOException {
        Objects.requireNonNull(folderOrArchive, "folderOrArchive");
        Objects.requireNonNull(suffix, "suffix");
        return new TextCorpus(
                Files.isDirectory(folderOrArchive)
                        ? folder(folderOrArchive, suffix)
                        : archive(folderOrArchive, suffix));
    }

    /**
     * Of the archive or folder on the class path that has this resource in it: all of its files with the suffix.
     *
     * @param loader whose class path is meant
     * @param resource such as {@code java/lang/String.java}
     * @param suffix how their names end
     * @return the corpus
     * @throws java.io.IOException if the disk refuses
     * @throws IllegalArgumentException if nothing on the class path has the resource
     */
    public static TextCorpus ofClassPath(ClassLoader loader, String resource, String suffix) throws IOException {
        Objects.requireNonNull(loader, "loader");
        URL url = loader.getResource(resource);
        if (url == null) {
            throw new IllegalArgumentException("corpus: no '" + resource + "' on the class path"
                    + "\n  fix: add the archive that has it, such as a sources jar.");
        }
        try {
            if (url.openConnection() instanceof JarURLConnection jar) {
                return of(Path.of(jar.getJarFileURL().toURI()), suffix);
            }
            Path root = Path.of(url.toURI());
            for (int i = Path.of(resource).getNameCount(); i > 0; i--) {
                root = java.util.Objects.requireNonNull(root.getParent());
            }
            return of(root, suffix);
        } catch (URISyntaxException e) {
            throw new IOException("corpus: " + url + " is not a file", e);
        }
    }

    private static SortedMap<String, String> archive(Path archive, String suffix) throws IOException {
        SortedMap<String, String> files = new TreeMap<>();
        try (ZipFile zip = new ZipFile(archive.toFile())) {
            Enumeration<? extends ZipEntry> entries = zip.entries();
            while (entries.hasMoreElements()) {
                ZipEntry entry = entries.nextElement();
                if (!entry.isDirectory() && entry.getName().endsWith(suffix)) {
                    byte[] bytes = zip.getInputStream(entry).readAllBytes();
                    files.put(entry.getName(), new String(bytes, StandardCharsets.UTF_8));
                }
            }
        }
        return files;
    }

    private static SortedMap<String, String> folder(Path folder, String suffix) throws IOException {
        SortedMap<String, String> files = new TreeMap<>();
        List<Path> paths = new ArrayList<>();
        try (Stream<Path> walk = Files.walk(folder)) {
            walk.filter(p -> p.toString().endsWith(suffix) && Files.isRegularFile(p))
                    .forEach(paths::add);
        } catch (UncheckedIOException e) {
            throw new IOException("corpus: cannot read " + folder, e);
        }
        for (Path p : paths) {
            String name = folder.relativize(p).toString().replace('\\', '/');
            files.put(name, Files.readString(p));
        }
        return Collections.unmodifiableSortedMap(files);
    }

    // ---------------------------------------------------------------- characters

    /** {@return the characters of all of the text, as numbers} */
    public Vocabulary vocabulary() {
        return vocabulary;
    }

    // ---------------------------------------------------------------- samples

    /**
     * All windows of the training text.
     *
     * @param length characters in a window, at least 1
     * @return a dataset of int64 inputs [batch, length] and, one character further, targets
     */
    public Windows training(int length) {
        return new Windows(training, length, 1);
    }

    /**
     * Windows of the text held out, side by side, so that each character counts once.
     *
     * @param length characters in a window, at least 1
     * @return a dataset of int64 inputs [batch, length] and, one character further, targets
     */
    public Windows heldOut(int length) {
        return new Windows(heldOut, length, length);
    }

    /** Stretches of text: inputs int64 [B, T], and as targets [B, T] the characters that follow each. */
    public static final class Windows implements Dataset<Labelled> {
        private final int[] text;
        private final int length;
        private final int stride;

        private Windows(int[] text, int length, int stride) {
            if (length < 1 || text.length <= length) {
                throw new IllegalArgumentException("corpus: the text has " + text.length
                        + " characters, too few for windows of " + length + " and the one that follows");
            }
            this.text = text;
            this.length = length;
            this.stride = stride;
        }

        /** {@return how many characters this part of the corpus has} */
        public int characters() {
            return text.length;
        }

        @Override
        public long size() {
            return (text.length - 1 - length) / stride + 1;
        }

        @Override
        public Labelled batch(long[] samples) {
            Objects.requireNonNull(samples, "samples");
            long[] inputs = new long[samples.length * length];
            long[] targets = new long[inputs.length];
            for (int b = 0; b < samples.length; b++) {
                if (samples[b] < 0 || samples[b] >= size()) {
                    throw new IllegalArgumentException("corpus.batch: window " + samples[b] + " of " + size());
                }
                int start = (int) samples[b] * stride;
                for (int t = 0; t < length; t++) {
                    inputs[b * length + t] = text[start + t];
                    targets[b * length + t] = text[start + t + 1];
                }
            }
            return new Labelled(Tensor.of(inputs, samples.length, length), Tensor.of(targets, samples.length, length));
        }
    }
}
