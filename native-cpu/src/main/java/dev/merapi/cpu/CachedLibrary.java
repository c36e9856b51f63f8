// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.util.zip.CRC32;
import org.bytedeco.javacpp.Loader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * JavaCPP unpacks a library from its jar into a cache, and takes a file there for the right one if its size and time are.
 * Our builds are reproducible, so all have one time, and one size is common: then an older build would be loaded, whose
 * kernels expect other arguments, or a file that was damaged. So its checksum is held against the jar's.
 */
public final class CachedLibrary {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    private CachedLibrary() {}

    /**
     * To be called before {@code Loader.load()}: the cache then has what the jar has. Nothing happens where the library is
     * no part of a jar, or the cache cannot be read or written: loading says what is wrong then.
     *
     * @param owner the class with the native methods
     * @param library its library, without prefix and ending
     */
    public static void refresh(Class<?> owner, String library) {
        try {
            URL url = Loader.findResource(owner, Loader.getPlatform() + "/" + System.mapLibraryName(library));
            if (url == null || !(url.openConnection() instanceof JarURLConnection jar)) {
                return;
            }
            File cached = Loader.cacheResource(url);
            if (cached == null
                    || !cached.isFile()
                    || checksum(cached) == jar.getJarEntry().getCrc()) {
                return;
            }
            LOG.info("{} is not the one of {}: it is unpacked anew", cached, jar.getJarFileURL());
            // Whoever runs with the old file keeps it: it is replaced, not written over.
            Files.delete(cached.toPath());
            Loader.cacheResource(url);
        } catch (IOException e) {
            LOG.debug("{} was not checked", library, e);
        }
    }

    private static long checksum(File file) throws IOException {
        CRC32 crc = new CRC32();
        byte[] buffer = new byte[1 << 16];
        try (InputStream in = Files.newInputStream(file.toPath())) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                crc.update(buffer, 0, n);
            }
        }
        return crc.getValue();
    }
}
