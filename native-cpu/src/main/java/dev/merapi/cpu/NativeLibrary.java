// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.FileTime;
import java.util.zip.CRC32;
import org.bytedeco.javacpp.Loader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads a library of ours, or says why it cannot be.
 *
 * <p>JavaCPP unpacks a library from its jar into a cache, and takes a file there for the right one if its size and time
 * are. Our builds are reproducible, so all have one time, and one size is common: then an older build would be loaded,
 * whose kernels expect other arguments, or a file that was damaged, which may end the process. So its checksum is held
 * against that of what was packed, and a file that is another is replaced.
 */
public final class NativeLibrary {
    private static final Logger LOG = LoggerFactory.getLogger("dev.merapi");

    private NativeLibrary() {}

    /**
     * Loads the library of a class with native methods.
     *
     * @param library its name without prefix and ending, as in the class's {@code @Platform}
     * @throws UnsatisfiedLinkError with a message that says what is wrong: no library for this platform, another C library,
     *     a file that is damaged, a folder from which nothing is executed
     */
    public static void load(Class<?> owner, String library) {
        String file = Loader.getPlatform() + "/" + System.mapLibraryName(library);
        File unpacked = null;
        try {
            URL packed = Loader.findResource(owner, file);
            if (packed == null) {
                throw new UnsatisfiedLinkError("there is no " + file + " on the class or module path");
            }
            unpacked = Loader.cacheResource(packed);
            refresh(packed, unpacked.toPath());
            Loader.load(owner);
        } catch (IOException e) {
            throw failure(
                    library + " cannot be unpacked: " + e.getMessage()
                            + "; -Dorg.bytedeco.javacpp.cachedir=FOLDER names" + " a folder that can be written",
                    e);
        } catch (UnsatisfiedLinkError e) {
            throw unpacked == null ? e : failure(meaning(messages(e), library, unpacked), e);
        }
    }

    /** The unpacked file then has what was packed. */
    private static void refresh(URL packed, Path unpacked) throws IOException {
        long time = 0;
        long wanted;
        if (packed.openConnection() instanceof JarURLConnection jar) {
            wanted = jar.getJarEntry().getCrc();
            time = jar.getJarEntry().getTime();
        } else if (packed.getProtocol().equals("jrt")) {
            wanted = checksum(packed.openStream());
        } else {
            return; // a folder of classes: nothing is unpacked
        }
        if (checksum(Files.newInputStream(unpacked)) == wanted) {
            return;
        }
        LOG.info("{} is not what {} has: it is unpacked anew", unpacked, packed);
        // Whoever runs with the old file keeps it: it is replaced in one step, not written over.
        Path fresh = Files.createTempFile(unpacked.getParent(), "unpacked", null);
        try (InputStream in = packed.openStream()) {
            Files.copy(in, fresh, StandardCopyOption.REPLACE_EXISTING);
            if (checksum(Files.newInputStream(fresh)) != wanted) {
                throw new IOException(packed + " is damaged");
            }
            Files.setLastModifiedTime(
                    fresh, time == 0 ? Files.getLastModifiedTime(unpacked) : FileTime.fromMillis(time));
            Files.move(fresh, unpacked, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(fresh);
        }
    }

    private static long checksum(InputStream from) throws IOException {
        CRC32 crc = new CRC32();
        byte[] buffer = new byte[1 << 16];
        try (InputStream in = from) {
            for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
                crc.update(buffer, 0, n);
            }
        }
        return crc.getValue();
    }

    /** What the loader of the system means. */
    static String meaning(String said, String library, File file) {
        if (said.contains("Error loading shared library") || said.contains("Error relocating")) {
            return library + " is built for the GNU C library, and this system has musl: use an image with glibc";
        }
        if (said.contains("GLIBC_") && said.contains("not found")) {
            return library
                    + " needs a younger C library than this system's: glibc 2.28, of 2018, is enough for a release";
        }
        if (said.contains("failed to map segment") || said.contains("Operation not permitted")) {
            return "nothing may be executed in " + file.getParent()
                    + " (noexec); -Dorg.bytedeco.javacpp.cachedir=FOLDER names another folder";
        }
        return library + " cannot be loaded: " + said;
    }

    private static String messages(Throwable e) {
        Throwable cause = e.getCause();
        return e.getMessage() + (cause == null ? "" : "; " + messages(cause));
    }

    private static UnsatisfiedLinkError failure(String message, Throwable cause) {
        UnsatisfiedLinkError error = new UnsatisfiedLinkError(message);
        error.initCause(cause);
        return error;
    }
}
