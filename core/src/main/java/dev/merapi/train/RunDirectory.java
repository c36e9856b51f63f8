// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Objects;

/** The folder that one training run leaves its files in: {@code runs/<name>/metrics.csv}, {@code weights.safetensors}, … */
public final class RunDirectory {
    private final Path path;

    private RunDirectory(Path path) {
        this.path = path;
    }

    /** Makes {@code root/name}, or {@code root/name-2}, … if that exists: no run ever writes into another's. */
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

    public Path path() {
        return path;
    }

    /** A file in it. */
    public Path file(String name) {
        try {
            return path.resolve(name);
        } catch (InvalidPathException e) {
            throw new IllegalArgumentException("run.file: '" + name + "' is no name of a file: " + e.getReason(), e);
        }
    }

    @Override
    public String toString() {
        return path.toString();
    }
}
