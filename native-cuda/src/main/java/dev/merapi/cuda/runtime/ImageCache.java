// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compiled kernels on disk, named by a hash of all that went into them, and with a checksum at their end, so that a file
 * that is there and whole is right. Files appear by atomic rename; several processes may share the folder. {@code
 * -Dmerapi.cuda.cache} names another one.
 */
public final class ImageCache {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    private static final long SIZE_CAP = 512L << 20;
    /** Ends a file, after the checksum of what is before both: neither drivers nor loaders mind what follows an image. */
    private static final byte[] MARK = "merapi 1".getBytes(StandardCharsets.ISO_8859_1);

    private static final int TRAILER = 32 + MARK.length;

    /** Makes an image at a path that does not exist yet. */
    public interface Producer {
        void produce(Path at) throws IOException;
    }

    private final Path folder;
    private final String suffix;
    private final ConcurrentMap<String, Object> locks = new ConcurrentHashMap<>();
    private final long sizeCap;
    private long written = Long.MAX_VALUE; // bytes since the folder was last looked through

    public ImageCache(String suffix) {
        this(place(), suffix, SIZE_CAP);
    }

    public ImageCache(Path folder, String suffix, long sizeCap) {
        this.folder = folder;
        this.suffix = suffix;
        this.sizeCap = sizeCap;
    }

    private static Path place() {
        String named = System.getProperty("merapi.cuda.cache");
        return named != null
                ? Path.of(named)
                : Path.of(System.getProperty("user.home", "."), ".cache", "merapi", "kernels");
    }

    Path folder() {
        return folder;
    }

    /** The image for these ingredients: the one on disk, else a new one. */
    public Path get(List<String> ingredients, Producer producer) {
        String name = hash(ingredients) + suffix;
        Path image = folder.resolve(name);
        synchronized (locks.computeIfAbsent(name, k -> new Object())) {
            try {
                if (isWhole(image)) {
                    touch(image);
                    return image;
                }
                Files.createDirectories(folder);
                trim();
                Path fresh = Files.createTempFile(folder, "new-", suffix);
                try {
                    producer.produce(fresh);
                    byte[] bytes = Files.readAllBytes(fresh);
                    Files.write(fresh, trailer(bytes, bytes.length), StandardOpenOption.APPEND);
                    wrote(bytes.length + TRAILER);
                    Files.move(fresh, image, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
                } finally {
                    Files.deleteIfExists(fresh);
                }
                return image;
            } catch (IOException e) {
                throw new UncheckedIOException(
                        "kernel cache " + folder + ": " + e.getMessage()
                                + "\n  fix: name a folder that can be written with -Dmerapi.cuda.cache=…",
                        e);
            }
        }
    }

    /**
     * The image in a file of the cache.
     *
     * @throws IOException if it cannot be read, or is damaged
     */
    public static byte[] read(Path image) throws IOException {
        byte[] bytes = Files.readAllBytes(image);
        if (!isWhole(bytes)) {
            throw new IOException(image + " is damaged");
        }
        return Arrays.copyOf(bytes, bytes.length - TRAILER);
    }

    /** Whether it is there and as it was written; if it is there only, it goes. */
    private static boolean isWhole(Path image) throws IOException {
        byte[] bytes;
        try {
            bytes = Files.readAllBytes(image);
        } catch (NoSuchFileException e) {
            return false;
        }
        if (isWhole(bytes)) {
            return true;
        }
        LOG.warn("kernel cache: {} is damaged, and is made again", image);
        Files.deleteIfExists(image);
        return false;
    }

    private static boolean isWhole(byte[] file) {
        int length = file.length - TRAILER;
        return length >= 0 && Arrays.equals(file, length, file.length, trailer(file, length), 0, TRAILER);
    }

    private static byte[] trailer(byte[] bytes, int length) {
        MessageDigest digest = sha256();
        digest.update(bytes, 0, length);
        byte[] trailer = Arrays.copyOf(digest.digest(), TRAILER);
        System.arraycopy(MARK, 0, trailer, TRAILER - MARK.length, MARK.length);
        return trailer;
    }

    /** When it was used last is what decides which files go. */
    private static void touch(Path image) {
        try {
            Files.setLastModifiedTime(image, FileTime.from(Instant.now()));
        } catch (IOException e) {
            LOG.trace("kernel cache: {}", e.toString());
        }
    }

    private synchronized void wrote(long bytes) {
        written += bytes;
    }

    /** At the first image of a process, and then when it has made a quarter of what is allowed: the oldest go. */
    private synchronized void trim() throws IOException {
        if (written < sizeCap / 4) {
            return;
        }
        written = 0;
        List<Entry> entries = new ArrayList<>();
        try (Stream<Path> files = Files.list(folder)) {
            files.forEach(p -> Entry.of(p).ifPresent(entries::add));
        }
        long total = entries.stream().mapToLong(Entry::size).sum();
        if (total <= sizeCap) {
            return;
        }
        entries.sort(Comparator.comparing(Entry::used));
        for (Entry e : entries) {
            if (total <= sizeCap / 2) {
                break;
            }
            Files.deleteIfExists(e.path);
            total -= e.size;
        }
    }

    /** A file of the folder. */
    public record Entry(Path path, long size, FileTime used) {
        /** Empty if it is no file, or not there any more: another process renames what it has made. */
        public static Optional<Entry> of(Path path) {
            try {
                BasicFileAttributes a = Files.readAttributes(path, BasicFileAttributes.class);
                return a.isRegularFile()
                        ? Optional.of(new Entry(path, a.size(), a.lastModifiedTime()))
                        : Optional.empty();
            } catch (IOException e) {
                LOG.trace("kernel cache: {}", e.toString());
                return Optional.empty();
            }
        }
    }

    private static String hash(List<String> ingredients) {
        MessageDigest digest = sha256();
        digest.update(MARK); // files of another layout have other names
        for (String s : ingredients) {
            digest.update(s.getBytes(StandardCharsets.UTF_8));
            digest.update((byte) 0);
        }
        return HexFormat.of().formatHex(digest.digest(), 0, 16);
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
