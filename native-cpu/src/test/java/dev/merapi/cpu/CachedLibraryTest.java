// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.bytedeco.javacpp.Loader;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What lies in JavaCPP's cache under the right name, with the right size and time, is not thereby the right library. */
class CachedLibraryTest {
    private static final String LIBRARY = Loader.getPlatform() + "/" + System.mapLibraryName("jniNative");

    @TempDir
    Path folder;

    /** Asks the library something, and says where it lies. */
    public static final class Child {
        private Child() {}

        public static void main(String[] arguments) throws IOException {
            System.out.println(Native.default_num_threads() > 0);
            System.out.println(Loader.cacheResource(Loader.findResource(Native.class, LIBRARY)));
        }
    }

    @Test
    void aDamagedLibraryIsUnpackedAnew() throws Exception {
        Path classes = Path.of(
                Native.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Path jar = jar(classes);
        Path cached = Path.of(run(classes, jar).get(1));
        byte[] right = Files.readAllBytes(cached);
        assertThat(right).hasSameSizeAs(Files.readAllBytes(classes.resolve("dev/merapi/cpu/" + LIBRARY)));
        FileTime time = Files.getLastModifiedTime(cached);
        byte[] wrong = right.clone();
        Arrays.fill(wrong, wrong.length / 4, wrong.length / 2, (byte) 0xcc);
        Files.write(cached, wrong);
        Files.setLastModifiedTime(cached, time);
        assertThat(run(classes, jar)).containsExactly("true", cached.toString());
        assertThat(Arrays.equals(Files.readAllBytes(cached), right)).isTrue();
    }

    /** As a release has it: with one time for all, which is that of the commit. */
    private Path jar(Path classes) throws IOException {
        Path jar = folder.resolve("natives.jar");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(jar));
                Stream<Path> all = Files.walk(classes)) {
            out.setLevel(1);
            for (Path file : all.filter(Files::isRegularFile).toList()) {
                ZipEntry entry =
                        new ZipEntry(classes.relativize(file).toString().replace(File.separatorChar, '/'));
                entry.setTime(1_000_000_000_000L);
                out.putNextEntry(entry);
                Files.copy(file, out);
            }
        }
        return jar;
    }

    private List<String> run(Path classes, Path jar) throws IOException, InterruptedException {
        Path log = folder.resolve("log.txt");
        String path = Stream.concat(
                        Stream.of(jar.toString()),
                        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                                .filter(p -> !Path.of(p).equals(classes)))
                .collect(Collectors.joining(File.pathSeparator));
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-Xmx256m",
                        "--enable-native-access=ALL-UNNAMED",
                        "-XX:TieredStopAtLevel=1",
                        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                        "-Dorg.bytedeco.javacpp.cachedir=" + folder.resolve("cache"),
                        "-cp",
                        path,
                        Child.class.getName())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        assertThat(process.waitFor(1, TimeUnit.MINUTES)).isTrue();
        String said = Files.readString(log);
        assertThat(process.exitValue()).as(said).isZero();
        return said.lines().toList();
    }
}
