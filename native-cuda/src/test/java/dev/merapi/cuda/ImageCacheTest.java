// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageCacheTest {
    /** Several processes share the folder: a file may be renamed between the listing and the look at it. */
    @Test
    void filesOfOtherProcessesMayVanish(@TempDir Path folder) throws IOException {
        Path there = Files.write(folder.resolve("image.so"), new byte[17]);
        assertEquals(17, ImageCache.Entry.of(there).orElseThrow().size());
        assertEquals(Optional.empty(), ImageCache.Entry.of(folder.resolve("new-1.so")));
        assertTrue(ImageCache.Entry.of(folder).isEmpty());
    }
}
