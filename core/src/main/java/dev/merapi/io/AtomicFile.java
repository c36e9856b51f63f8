// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/** Writes a whole file or none: beside its place first, then moved there in one step. */
public final class AtomicFile {
    private AtomicFile() {}

    /** Writes the contents. */
    @FunctionalInterface
    public interface Content {
        void writeTo(FileChannel channel) throws IOException;
    }

    /**
     * Replaces {@code file}, or leaves it as it was if {@code content} throws. The data is on the disk before the name
     * points to it, so that a crash leaves the old file or the new one, never half of one.
     */
    public static void write(Path file, Content content) throws IOException {
        Path target = file.toAbsolutePath();
        Path name = target.getFileName();
        Path folder = target.getParent();
        if (name == null || folder == null) {
            throw new IOException("write: " + file + " is not the name of a file");
        }
        Files.createDirectories(folder);
        Path draft = folder.resolve("." + name + "." + ProcessHandle.current().pid() + "-" + System.nanoTime());
        try {
            try (FileChannel channel =
                    FileChannel.open(draft, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                content.writeTo(channel);
                channel.force(true);
            }
            move(draft, target);
        } finally {
            Files.deleteIfExists(draft);
        }
    }

    private static void move(Path draft, Path target) throws IOException {
        try {
            Files.move(draft, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
            Files.move(draft, target, StandardCopyOption.REPLACE_EXISTING);
        }
    }
}
