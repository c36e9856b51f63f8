// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Files that libraries are loaded from: they have to stay as long as the process, and no longer. */
public final class Temporary {
    private Temporary() {}

    /** An empty folder that goes with the process, if by then it holds nothing but {@link #file files of these}. */
    public static Path folder(String name) throws IOException {
        return atExit(Files.createTempDirectory(name));
    }

    /** A place in such a folder; what is written there goes with the process. */
    public static Path file(Path folder, String name) {
        return atExit(folder.resolve(name));
    }

    private static Path atExit(Path path) {
        path.toFile().deleteOnExit(); // the last one first: files before their folder
        return path;
    }
}
