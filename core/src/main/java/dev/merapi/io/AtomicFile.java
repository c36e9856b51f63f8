// SPDX-License-Identifier: Apache-2.0
package dev.merapi.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFileAttributeView;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Writes a whole file or none: a draft beside its place first, then moved there in one step.
 *
 * <p>Note [Drafts]: a draft is named {@code .name.draft-process-number} and locked while it is written. One whose process is
 * gone and that nobody has locked was left by a process that was killed; the next write of the same file removes it.
 */
public final class AtomicFile {
    private static final String DRAFT = ".draft-";
    private static final AtomicLong NUMBER = new AtomicLong();

    private AtomicFile() {}

    /** Writes the contents. */
    @FunctionalInterface
    public interface Content {
        /**
         * Writes the contents of the new file.
         *
         * @param channel open for writing, at its beginning
         * @throws java.io.IOException if they cannot be written
         */
        void writeTo(FileChannel channel) throws IOException;
    }

    /**
     * Replaces {@code file}, or leaves it as it was if {@code content} throws. When this returns, the contents and the name
     * are on the disk: a crash or a power cut leaves the old file or the new one, never half of one. A symbolic link
     * stays, and what it points to is replaced; permissions of a file that is replaced are kept. Missing folders are made.
     *
     * @param file what is replaced
     * @param content writes what stands there afterwards
     * @throws java.io.IOException if the disk refuses, or {@code content} throws it
     */
    public static void write(Path file, Content content) throws IOException {
        Objects.requireNonNull(file, "file");
        Objects.requireNonNull(content, "content");
        Path target = resolve(file.toAbsolutePath());
        Path name = target.getFileName();
        Path folder = target.getParent();
        if (name == null || folder == null) {
            throw new IOException("write: " + file + " is not the name of a file");
        }
        if (Files.isDirectory(target)) {
            throw new IOException("write: " + file + " is a folder\n  fix: give the name of a file in it.");
        }
        makeFolders(folder);
        removeDrafts(folder, name);
        Path draft = folder.resolve(prefix(name) + ProcessHandle.current().pid() + "-" + NUMBER.getAndIncrement());
        try {
            try (FileChannel channel =
                            FileChannel.open(draft, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
                    FileLock lock = lock(channel)) {
                copyPermissions(target, draft);
                content.writeTo(channel);
                channel.force(true);
            }
            move(draft, target);
        } finally {
            Files.deleteIfExists(draft);
        }
        force(folder);
    }

    /** Follows links, also to a file that is not there yet. */
    private static Path resolve(Path file) throws IOException {
        Path target = file;
        for (int i = 0; Files.isSymbolicLink(target); i++) {
            if (i == 40) {
                throw new IOException("write: " + file + " is a symbolic link that leads to no file");
            }
            target = target.resolveSibling(Files.readSymbolicLink(target)).normalize();
        }
        return target;
    }

    /** Names on the disk from the outermost folder that is new. */
    private static void makeFolders(Path folder) throws IOException {
        Deque<Path> missing = new ArrayDeque<>();
        for (Path p = folder; p != null && !Files.exists(p); p = p.getParent()) {
            missing.push(p);
        }
        Files.createDirectories(folder);
        for (Path made : missing) {
            Path parent = made.getParent();
            if (parent != null) {
                force(parent);
            }
        }
    }

    private static String prefix(Path name) {
        return "." + name + DRAFT;
    }

    /**
     * Removes what killed processes have left of files that they had not finished, of whatever name. Drafts of processes that
     * live stay. What cannot be looked at or removed stays, too: it harms nobody.
     *
     * @param folder where to look, not in folders inside
     */
    public static void removeDrafts(Path folder) {
        removeDrafts(Objects.requireNonNull(folder, "folder"), ".", DRAFT);
    }

    /** See Note [Drafts]. */
    private static void removeDrafts(Path folder, Path name) {
        removeDrafts(folder, prefix(name), DRAFT);
    }

    private static void removeDrafts(Path folder, String prefix, String mark) {
        try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, p -> {
            String name = String.valueOf(p.getFileName());
            return name.startsWith(prefix) && name.contains(mark);
        })) {
            for (Path draft : found) {
                String name = draft.getFileName().toString();
                String process = name.substring(name.lastIndexOf(mark) + mark.length());
                if (isGone(process) && isUnlocked(draft)) {
                    Files.deleteIfExists(draft);
                }
            }
        } catch (IOException e) {
            // No right to list or to remove: the write itself will say what matters.
        }
    }

    private static boolean isGone(String process) {
        try {
            long pid = Long.parseLong(process.substring(0, process.indexOf('-')));
            return ProcessHandle.of(pid).isEmpty();
        } catch (NumberFormatException | IndexOutOfBoundsException e) {
            return false; // not one of ours
        }
    }

    private static boolean isUnlocked(Path draft) {
        try (FileChannel channel = FileChannel.open(draft, StandardOpenOption.WRITE);
                FileLock lock = channel.tryLock()) {
            return lock != null;
        } catch (IOException | OverlappingFileLockException e) {
            return false;
        }
    }

    /** Null where the file system has no locks; then only the process tells that a draft is in use. */
    @SuppressWarnings("NullAway") // try-with-resources takes null
    private static FileLock lock(FileChannel channel) {
        try {
            return channel.tryLock();
        } catch (IOException e) {
            return null;
        }
    }

    private static void copyPermissions(Path from, Path to) throws IOException {
        PosixFileAttributeView source = Files.getFileAttributeView(from, PosixFileAttributeView.class);
        PosixFileAttributeView target = Files.getFileAttributeView(to, PosixFileAttributeView.class);
        if (source != null && target != null && Files.exists(from)) {
            target.setPermissions(source.readAttributes().permissions());
        }
    }

    private static void move(Path draft, Path target) throws IOException {
        try {
            Files.move(draft, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (AtomicMoveNotSupportedException e) {
            Files.move(draft, target, StandardCopyOption.REPLACE_EXISTING);
        }
    }

    /** A new name survives a power cut when its folder is on the disk as well. Windows cannot open folders, and needs not. */
    private static void force(Path folder) throws IOException {
        FileChannel channel;
        try {
            channel = FileChannel.open(folder, StandardOpenOption.READ);
        } catch (IOException e) {
            return;
        }
        try (channel) {
            channel.force(true);
        }
    }
}
