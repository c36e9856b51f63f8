// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.Locale;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/**
 * Loads a library of ours, or says why it cannot be.
 *
 * <p>A library travels in a jar and is unpacked to a folder that has its checksum for a name, so builds do not meet there. A
 * file that is there already is taken if it has that checksum, too: a half of it, from a disk that was full, would end the
 * process. JavaCPP's loader would do as well, but for that check, and for the time that it takes: a quarter of a start.
 */
public final class NativeLibrary {
    /** What there are natives for. */
    static final List<String> PLATFORMS = List.of("linux-x86_64", "linux-arm64", "macosx-arm64", "windows-x86_64");

    private NativeLibrary() {}

    /**
     * Loads the library of a class with native methods.
     *
     * @param owner the class, beside which the library lies
     * @param library its name without prefix and ending, as in the class's {@code @Platform}
     * @throws UnsatisfiedLinkError with a message that says what is wrong: no library for this platform, another C library,
     *     a file that is damaged, a folder from which nothing is executed
     */
    public static void load(Class<?> owner, String library) {
        URL packed = find(owner, library);
        if (packed == null) {
            throw new UnsatisfiedLinkError("there is no " + platform() + "/" + System.mapLibraryName(library)
                    + " on the class or module path");
        }
        UnsatisfiedLinkError failed = null;
        for (Path folder : folders()) {
            try {
                load(library, unpacked(packed, folder));
                return;
            } catch (IOException e) {
                failed = first(
                        failed,
                        failure(
                                library + " cannot be unpacked to " + folder + ": " + e
                                        + "; -Dorg.bytedeco.javacpp.cachedir=FOLDER names a folder that can be written",
                                e));
            } catch (UnsatisfiedLinkError e) {
                failed = first(failed, e);
            }
        }
        throw failed == null ? new UnsatisfiedLinkError("there is no folder to unpack " + library + " to") : failed;
    }

    private static void load(String library, Path file) {
        try {
            System.load(file.toString());
        } catch (UnsatisfiedLinkError e) {
            throw failure(meaning(String.valueOf(e.getMessage()), library, file), e);
        }
    }

    private static UnsatisfiedLinkError first(@Nullable UnsatisfiedLinkError earlier, UnsatisfiedLinkError later) {
        if (earlier == null) {
            return later;
        }
        earlier.addSuppressed(later);
        return earlier;
    }

    /** The library for this platform, in a jar, a folder or a run-time image; null if there is none. */
    static @Nullable URL find(Class<?> owner, String library) {
        String path =
                owner.getPackageName().replace('.', '/') + "/" + platform() + "/" + System.mapLibraryName(library);
        ClassLoader loader = owner.getClassLoader();
        return loader == null ? ClassLoader.getSystemResource(path) : loader.getResource(path);
    }

    /** This platform as JavaCPP calls it: {@code linux-x86_64}. */
    static String platform() {
        String system = System.getProperty("os.name", "").toLowerCase(Locale.ROOT);
        String machine = System.getProperty("os.arch", "").toLowerCase(Locale.ROOT);
        if (system.startsWith("mac")) {
            system = "macosx";
        } else if (system.startsWith("windows")) {
            system = "windows";
        }
        if (machine.equals("amd64") || machine.equals("x64") || machine.equals("x86-64")) {
            machine = "x86_64";
        } else if (machine.equals("aarch64")) {
            machine = "arm64";
        }
        return system + "-" + machine;
    }

    /** Where to unpack to, best first; with the property nowhere else. They are JavaCPP's, which unpacks other libraries. */
    static List<Path> folders() {
        String named = System.getProperty("org.bytedeco.javacpp.cachedir");
        return named != null
                ? List.of(Path.of(named).toAbsolutePath())
                : List.of(
                        Path.of(System.getProperty("user.home", "."), ".javacpp", "cache")
                                .toAbsolutePath(),
                        Path.of(
                                        System.getProperty("java.io.tmpdir", "."),
                                        ".javacpp-" + System.getProperty("user.name", ""),
                                        "cache")
                                .toAbsolutePath());
    }

    /** A file with just what is packed: one that is there, or a new one. */
    static Path unpacked(URL packed, Path folder) throws IOException {
        if (packed.getProtocol().equals("file")) { // a folder of classes
            try {
                return Path.of(packed.toURI());
            } catch (URISyntaxException e) {
                throw new IOException(e);
            }
        }
        long wanted = packed.openConnection() instanceof JarURLConnection jar
                ? jar.getJarEntry().getCrc()
                : checksum(packed.openStream());
        String name = packed.getPath().substring(packed.getPath().lastIndexOf('/') + 1);
        Path file = folder.resolve("merapi").resolve(Long.toHexString(wanted)).resolve(name);
        if (is(file, wanted)) {
            return file;
        }
        Files.createDirectories(file.getParent());
        // In one step: another process may load the file, or have it loaded, just now.
        Path fresh = file.resolveSibling(name + "." + Long.toHexString(System.nanoTime()));
        try (InputStream in = packed.openStream()) {
            Files.copy(in, fresh);
            if (!is(fresh, wanted)) {
                throw new IOException(packed + " is damaged");
            }
            Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            if (!is(file, wanted)) { // or else another process was faster, and Windows keeps what is loaded
                throw e;
            }
        } finally {
            Files.deleteIfExists(fresh);
        }
        return file;
    }

    private static boolean is(Path file, long wanted) throws IOException {
        // Not by Files: its channels are two dozen classes more, at each start.
        return Files.isRegularFile(file) && checksum(new FileInputStream(file.toFile())) == wanted;
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
    static String meaning(String said, String library, Path file) {
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

    private static UnsatisfiedLinkError failure(String message, Throwable cause) {
        UnsatisfiedLinkError error = new UnsatisfiedLinkError(message);
        error.initCause(cause);
        return error;
    }
}
