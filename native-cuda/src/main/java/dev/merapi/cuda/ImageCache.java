// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.util.ArrayList;
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
 * Compiled kernels on disk, named by a hash of all that went into them, so that a file that is there is right. Files
 * appear by atomic rename; several processes may share the folder. {@code -Dmerapi.cuda.cache} names another one.
 */
final class ImageCache {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");
    private static final long SIZE_CAP = 512L << 20;

    /** Makes an image at a path that does not exist yet. */
    interface Producer {
        void produce(Path at) throws IOException;
    }

    private final Path folder;
    private final String suffix;
    private final ConcurrentMap<String, Object> locks = new ConcurrentHashMap<>();
    private boolean trimmed;

    ImageCache(String suffix) {
        String named = System.getProperty("merapi.cuda.cache");
        this.folder = named != null
                ? Path.of(named)
                : Path.of(System.getProperty("user.home", "."), ".cache", "merapi", "kernels");
        this.suffix = suffix;
    }

    Path folder() {
        return folder;
    }

    /** The image for these ingredients: the one on disk, else a new one. */
    Path get(List<String> ingredients, Producer producer) {
        String name = hash(ingredients) + suffix;
        Path image = folder.resolve(name);
        synchronized (locks.computeIfAbsent(name, k -> new Object())) {
            try {
                if (Files.exists(image)) {
                    touch(image);
                    return image;
                }
                Files.createDirectories(folder);
                trim();
                Path fresh = Files.createTempFile(folder, "new-", suffix);
                try {
                    producer.produce(fresh);
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

    /** When it was used last is what decides which files go. */
    private static void touch(Path image) {
        try {
            Files.setLastModifiedTime(image, FileTime.from(Instant.now()));
        } catch (IOException e) {
            LOG.trace("kernel cache: {}", e.toString());
        }
    }

    /** Once a process: if there is too much, the oldest half goes. */
    private synchronized void trim() throws IOException {
        if (trimmed) {
            return;
        }
        trimmed = true;
        List<Entry> entries = new ArrayList<>();
        try (Stream<Path> files = Files.list(folder)) {
            files.forEach(p -> Entry.of(p).ifPresent(entries::add));
        }
        long total = entries.stream().mapToLong(Entry::size).sum();
        if (total <= SIZE_CAP) {
            return;
        }
        entries.sort(Comparator.comparing(Entry::used));
        for (Entry e : entries) {
            if (total <= SIZE_CAP / 2) {
                break;
            }
            Files.deleteIfExists(e.path);
            total -= e.size;
        }
    }

    /** A file of the folder. */
    record Entry(Path path, long size, FileTime used) {
        /** Empty if it is no file, or not there any more: another process renames what it has made. */
        static Optional<Entry> of(Path path) {
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
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (String s : ingredients) {
                digest.update(s.getBytes(StandardCharsets.UTF_8));
                digest.update((byte) 0);
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
