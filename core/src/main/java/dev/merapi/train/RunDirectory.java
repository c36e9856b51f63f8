// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Objects;

/**
 * The folder that one training run leaves its files in: {@code runs/<name>/metrics.csv}, {@code weights.safetensors}, … It is
 * locked until it is closed: no two processes write to it at once. The lock goes with its process, however that ends.
 */
public final class RunDirectory implements AutoCloseable {
    private static final String LOCK = ".lock";
    /** The byte that is locked, far beyond the text: some systems let nobody read what is locked. */
    private static final long LOCKED = 1 << 20;

    private final Path path;
    private final FileChannel lock;

    private RunDirectory(Path path) throws IOException {
        this.path = path;
        this.lock = lock(path);
    }

    private static FileChannel lock(Path path) throws IOException {
        FileChannel channel = FileChannel.open(
                path.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            FileLock lock = channel.tryLock(LOCKED, 1, false);
            if (lock == null) {
                ByteBuffer owner = ByteBuffer.allocate(256);
                channel.read(owner, 0);
                throw new IOException("run: " + path + " is being written by another process: "
                        + new String(owner.array(), 0, owner.position(), StandardCharsets.UTF_8).strip());
            }
            channel.truncate(0);
            String owner = "process " + ProcessHandle.current().pid() + ", since " + Instant.now() + "\n";
            channel.write(ByteBuffer.wrap(owner.getBytes(StandardCharsets.UTF_8)), 0);
            return channel;
        } catch (OverlappingFileLockException e) {
            channel.close();
            throw new IOException("run: " + path + " is being written by this process already", e);
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    /**
     * Opens the folder of a run that was begun before.
     *
     * @param path the folder
     * @return the run, locked
     * @throws NoSuchFileException if there is no such folder
     * @throws IOException if another process writes there, which the message names
     */
    public static RunDirectory open(Path path) throws IOException {
        if (!Files.isDirectory(Objects.requireNonNull(path, "path"))) {
            throw new NoSuchFileException(path.toString());
        }
        return new RunDirectory(path);
    }

    /**
     * Makes {@code root/name}, or {@code root/name-2}, … if that exists: no run ever writes into another's.
     *
     * @param root is made if it is not there
     * @param name of the folder
     * @return a folder that is new
     * @throws IOException if it cannot be made
     */
    public static RunDirectory create(Path root, String name) throws IOException {
        Objects.requireNonNull(root, "root");
        Objects.requireNonNull(name, "name");
        if (!name.matches("[A-Za-z0-9][A-Za-z0-9._-]*")) {
            throw new IllegalArgumentException(
                    "run: name '" + name + "' needs to be made of letters, digits, dots, - and _");
        }
        Files.createDirectories(root);
        for (int i = 1; ; i++) {
            try {
                return new RunDirectory(Files.createDirectory(root.resolve(i == 1 ? name : name + "-" + i)));
            } catch (FileAlreadyExistsException e) {
                // taken: the next number
            }
        }
    }

    /** {@return the folder} */
    public Path path() {
        return path;
    }

    /**
     * A file in it.
     *
     * @param name relative to the folder
     * @return where it is or would be
     */
    public Path file(String name) {
        try {
            return path.resolve(name);
        } catch (InvalidPathException e) {
            throw new IllegalArgumentException("run.file: '" + name + "' is no name of a file: " + e.getReason(), e);
        }
    }

    /** Others may write there now. */
    @Override
    public void close() throws IOException {
        lock.close();
    }

    @Override
    public String toString() {
        return path.toString();
    }
}
