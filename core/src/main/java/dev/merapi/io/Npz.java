// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import dev.merapi.tensor.Tensor;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.Channels;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.zip.CRC32;
import java.util.zip.CheckedInputStream;
import java.util.zip.Deflater;
import java.util.zip.ZipEntry;
import java.util.zip.ZipException;
import java.util.zip.ZipFile;
import java.util.zip.ZipOutputStream;

/**
 * Named tensors in one archive, as {@code numpy.savez} and {@code savez_compressed} write them: a zip file of npy files.
 * Entries that are no npy file are passed over. An open archive reads its tensors when asked for, in any thread.
 *
 * @see Npy
 */
public final class Npz implements AutoCloseable {
    private static final String SUFFIX = ".npy";
    /** Deflate cannot do more. */
    private static final long LARGEST_EXPANSION = 1100;

    private final Path path;
    private final ZipFile zip;
    private final Map<String, ZipEntry> entries = new LinkedHashMap<>();

    private Npz(Path path, ZipFile zip) {
        this.path = path;
        this.zip = zip;
    }

    /**
     * Opens an archive to read some of its tensors.
     *
     * @param path such as NumPy's {@code savez} writes
     * @return the archive, to be closed
     * @throws java.io.IOException if the file cannot be read
     * @throws FormatException if it is no zip file, is damaged, or names an array twice
     */
    public static Npz open(Path path) throws IOException {
        Objects.requireNonNull(path, "path");
        ZipFile zip;
        try {
            zip = new ZipFile(path.toFile());
        } catch (ZipException | EOFException | IllegalArgumentException e) { // the last two from broken tables
            throw new FormatException("npz: " + path + ": no zip file, or a damaged one: " + e.getMessage(), e);
        }
        Npz npz = new Npz(path, zip);
        try {
            for (ZipEntry entry : Collections.list(zip.entries())) {
                String name = entry.getName();
                if (name.endsWith(SUFFIX)
                        && npz.entries.put(name.substring(0, name.length() - SUFFIX.length()), entry) != null) {
                    throw new FormatException("npz: " + path + ": '" + name + "' is there twice");
                }
            }
            return npz;
        } catch (IOException | RuntimeException e) {
            zip.close();
            throw e;
        }
    }

    /** {@return the names of the tensors, in the order of the archive} */
    public Set<String> names() {
        return Collections.unmodifiableSet(entries.keySet());
    }

    /**
     * Reads one tensor into fresh CPU memory; it belongs to the open scope, if there is one.
     *
     * @param name one of {@link #names}
     * @return a new tensor, row-major
     * @throws java.io.IOException if the file cannot be read
     * @throws FormatException as {@link Npy#load}, and for what grows without measure when it is decompressed
     * @throws IllegalArgumentException if there is no such name
     */
    public Tensor tensor(String name) throws IOException {
        ZipEntry entry = entries.get(name);
        if (entry == null) {
            throw new IllegalArgumentException("npz: no array '" + name + "' in " + path + "\n  arrays: " + names());
        }
        try (InputStream in = zip.getInputStream(entry)) {
            long compressed = entry.getCompressedSize();
            if (entry.getSize() / LARGEST_EXPANSION > compressed) {
                throw new FormatException("it claims to grow from " + compressed + " bytes to " + entry.getSize());
            }
            CheckedInputStream checked = new CheckedInputStream(new Expansion(in, () -> compressed), new CRC32());
            Tensor t = Npy.read(ByteSource.of(checked), entry.getSize());
            if (checked.getChecksum().getValue() != entry.getCrc()) {
                t.close();
                throw new FormatException("its checksum is not the one that was written: it is damaged");
            }
            return t;
        } catch (FormatException | ZipException | EOFException e) {
            throw new FormatException("npz: " + path + ": array '" + name + "': " + e.getMessage(), e);
        }
    }

    @Override
    public void close() throws IOException {
        zip.close();
    }

    /**
     * Reads all tensors into fresh CPU memory; they belong to the open scope, if there is one.
     *
     * @param path such as NumPy's {@code savez} writes
     * @return new tensors by name, in the order of the archive
     * @throws java.io.IOException if the file cannot be read
     * @throws FormatException as {@link #open} and {@link #tensor}
     */
    public static Map<String, Tensor> load(Path path) throws IOException {
        Objects.requireNonNull(path, "path");
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        try (Npz open = open(path)) {
            for (String name : open.names()) {
                tensors.put(name, open.tensor(name));
            }
            return tensors;
        } catch (IOException | RuntimeException e) {
            tensors.values().forEach(Tensor::close);
            throw e;
        }
    }

    /**
     * Writes tensors of any device and layout, sorted by name and not compressed; the same contents give the same bytes.
     *
     * @param path what is written
     * @param tensors by name
     * @throws java.io.IOException if it cannot be written
     */
    public static void save(Path path, Map<String, Tensor> tensors) throws IOException {
        Objects.requireNonNull(path, "path");
        Objects.requireNonNull(tensors, "tensors");
        save(path, tensors, Deflater.NO_COMPRESSION);
    }

    /**
     * As {@link #save}, but compressed: smaller, and many times slower.
     *
     * @param path what is written
     * @param tensors by name
     * @throws java.io.IOException if it cannot be written
     */
    public static void saveCompressed(Path path, Map<String, Tensor> tensors) throws IOException {
        Objects.requireNonNull(path, "path");
        Objects.requireNonNull(tensors, "tensors");
        save(path, tensors, Deflater.DEFAULT_COMPRESSION);
    }

    private static void save(Path path, Map<String, Tensor> tensors, int level) throws IOException {
        Map<String, byte[]> headers = new TreeMap<>();
        tensors.forEach((name, t) -> {
            SafetensorsHeader.requireText("npz: the name of an array", name);
            headers.put(name, NpyHeader.of(t));
        });
        AtomicFile.write(path, channel -> {
            ZipOutputStream zip = new ZipOutputStream(Channels.newOutputStream(channel));
            zip.setLevel(level);
            WritableByteChannel out = Channels.newChannel(zip);
            for (Map.Entry<String, byte[]> e : headers.entrySet()) {
                ZipEntry entry = new ZipEntry(e.getKey() + SUFFIX);
                entry.setTimeLocal(LocalDateTime.of(1980, 1, 1, 0, 0)); // as NumPy has it: no file depends on the clock
                zip.putNextEntry(entry);
                Npy.write(e.getValue(), java.util.Objects.requireNonNull(tensors.get(e.getKey())), out);
                zip.closeEntry();
            }
            zip.finish();
            zip.flush();
        });
    }
}
