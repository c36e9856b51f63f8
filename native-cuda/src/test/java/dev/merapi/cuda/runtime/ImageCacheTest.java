// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageCacheTest {
    private static final List<String> SOURCE = List.of("a source", "options");

    private static byte[] bytes(int seed, int length) {
        byte[] bytes = new byte[length];
        Arrays.fill(bytes, (byte) seed);
        return bytes;
    }

    private static List<Path> files(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.toList();
        }
    }

    /** Several processes share the folder: a file may be renamed between the listing and the look at it. */
    @Test
    void filesOfOtherProcessesMayVanish(@TempDir Path folder) throws IOException {
        Path there = Files.write(folder.resolve("image.so"), new byte[17]);
        assertEquals(17, ImageCache.Entry.of(there).orElseThrow().size());
        assertEquals(Optional.empty(), ImageCache.Entry.of(folder.resolve("new-1.so")));
        assertTrue(ImageCache.Entry.of(folder).isEmpty());
    }

    @Test
    void whatWasCompiledOnceIsReadByTheNextProcess(@TempDir Path folder) throws IOException {
        for (int process = 0; process < 2; process++) {
            ImageCache cache = new ImageCache(folder, ".cubin", 1 << 20);
            Path image = cache.get(SOURCE, at -> Files.write(at, bytes(7, 1000)));
            assertArrayEquals(bytes(7, 1000), ImageCache.read(image));
            Path other = cache.get(List.of("a source", "other options"), at -> Files.write(at, bytes(8, 10)));
            assertArrayEquals(bytes(8, 10), ImageCache.read(other));
            assertEquals(image, cache.get(SOURCE, at -> {
                throw new AssertionError("it is there already");
            }));
        }
    }

    /** A changed byte, a lost end, an empty file: each is told in one line, and made again. */
    @Test
    void aDamagedFileIsRefusedAndMadeAgain(@TempDir Path folder) throws IOException {
        ImageCache cache = new ImageCache(folder, ".cubin", 1 << 20);
        Path image = cache.get(SOURCE, at -> Files.write(at, bytes(7, 1000)));
        byte[] whole = Files.readAllBytes(image);
        byte[] changed = whole.clone();
        changed[500] ^= 1;
        for (byte[] damaged : new byte[][] {changed, Arrays.copyOf(whole, 999), new byte[0]}) {
            Files.write(image, damaged);
            assertThrows(IOException.class, () -> ImageCache.read(image));
            AtomicInteger made = new AtomicInteger();
            String said = log(() -> assertEquals(image, cache.get(SOURCE, at -> {
                made.incrementAndGet();
                assertFalse(Files.exists(image), "the damaged file is still there");
                Files.write(at, bytes(7, 1000));
            })));
            assertEquals(1, made.get());
            assertEquals(1, said.lines().count(), said);
            assertTrue(said.contains(image + " is damaged, and is made again"), said);
            assertArrayEquals(whole, Files.readAllBytes(image));
        }
    }

    private static String log(Runnable body) {
        PrintStream before = System.err;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        System.setErr(new PrintStream(said, true, StandardCharsets.UTF_8));
        try {
            body.run();
        } finally {
            System.setErr(before);
        }
        return said.toString(StandardCharsets.UTF_8);
    }

    /** Nobody sees a file at its name before it is whole, and one that failed leaves nothing. */
    @Test
    void filesAppearByRename(@TempDir Path folder) throws IOException {
        ImageCache cache = new ImageCache(folder, ".cubin", 1 << 20);
        assertThrows(
                UncheckedIOException.class,
                () -> cache.get(SOURCE, at -> {
                    Files.write(at, bytes(7, 500));
                    throw new IOException("the disk is full");
                }));
        assertThrows(
                KernelCompileException.class,
                () -> cache.get(SOURCE, at -> {
                    throw new KernelCompileException("a typing error");
                }));
        assertEquals(List.of(), files(folder));
        Path image = cache.get(SOURCE, at -> {
            Files.write(at, bytes(7, 500));
            assertEquals(List.of(at), files(folder));
        });
        assertEquals(List.of(image), files(folder));
    }

    /** As processes that start at the same time do: each makes the image, and each reads a whole one. */
    @Test
    void processesThatRaceAllGetAWholeImage(@TempDir Path folder) throws InterruptedException, IOException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        List<Thread> processes = new ArrayList<>();
        for (int p = 0; p < 4; p++) {
            processes.add(new Thread(() -> {
                try {
                    for (int i = 0; i < 50; i++) {
                        int seed = i;
                        Path image = new ImageCache(folder, ".cubin", 1 << 20)
                                .get(List.of("source " + i), at -> Files.write(at, bytes(seed, 10_000)));
                        assertArrayEquals(bytes(seed, 10_000), ImageCache.read(image));
                    }
                } catch (Throwable e) {
                    failure.compareAndSet(null, e);
                }
            }));
        }
        processes.forEach(Thread::start);
        for (Thread t : processes) {
            t.join();
        }
        if (failure.get() != null) {
            throw new AssertionError(failure.get());
        }
        assertEquals(50, files(folder).size());
    }

    @Test
    void theFolderStaysBelowItsCap(@TempDir Path folder) throws IOException {
        long cap = 100_000;
        ImageCache cache = new ImageCache(folder, ".cubin", cap);
        Path used = cache.get(List.of("often used"), at -> Files.write(at, bytes(1, 1000)));
        for (int i = 0; i < 60; i++) {
            int seed = i;
            Path image = cache.get(List.of("source " + i), at -> Files.write(at, bytes(seed, 5_000)));
            Files.setLastModifiedTime(image, FileTime.fromMillis(1_000_000L + i));
            cache.get(List.of("often used"), at -> {
                throw new AssertionError("what is used does not go");
            });
            long total = 0;
            for (Path p : files(folder)) {
                total += Files.size(p);
            }
            assertTrue(total <= cap + cap / 4 + 10_000, "after " + i + ": " + total);
        }
        assertTrue(Files.exists(used));
        assertTrue(files(folder).size() > 5, "not all goes");
        assertTrue(
                Files.exists(cache.get(List.of("source 59"), at -> {
                    throw new AssertionError("the newest stay");
                })),
                "the newest stay");
    }
}
