// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.backend.Backends;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.bytedeco.javacpp.annotation.Platform;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What lies in the cache under the right name, with the right size and time, is not thereby the right library. */
class NativeLibraryTest {
    private static final String LIBRARY = NativeLibrary.platform() + "/" + System.mapLibraryName(Native.LIBRARY);

    @TempDir
    Path folder;

    /** Asks the library something, and says where it lies. */
    public static final class Child {
        private Child() {}

        public static void main(String[] arguments) throws IOException {
            System.out.println(
                    Tensor.ones(Shape.of(3), DType.FLOAT32, Device.CPU).sum().item() + " by "
                            + Backends.of(DeviceType.CPU).getClass().getSimpleName());
            if (!(Backends.of(DeviceType.CPU) instanceof CpuBackend)) {
                return;
            }
            System.out.println(Cpu.threads() + " threads");
            URL packed = Objects.requireNonNull(NativeLibrary.find(Native.class, Native.LIBRARY));
            System.out.println(
                    NativeLibrary.unpacked(packed, NativeLibrary.folders().get(0)));
        }
    }

    /** A build that was asked for checks and has none would find nothing, and say so with pride. */
    @Test
    void itHasTheSanitisersChecksIfTheBuildWasAskedForThem() throws Exception {
        URL packed = Objects.requireNonNull(NativeLibrary.find(Native.class, Native.LIBRARY));
        try (InputStream in = packed.openStream()) {
            String library = new String(in.readAllBytes(), StandardCharsets.ISO_8859_1);
            assertThat(library.contains("__asan_init")).isEqualTo(System.getProperty("merapi.sanitise") != null);
        }
    }

    /** Its middle is another's; its end was not written when the power went; it is shorter. */
    @Test
    void aDamagedLibraryIsUnpackedAnew() throws Exception {
        Path classes = Path.of(
                Native.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        URL found = Objects.requireNonNull(NativeLibrary.find(Native.class, Native.LIBRARY));
        assumeTrue(found.getProtocol().equals("file"), () -> "the library is packed already: " + found);
        Path packed = Path.of(found.toURI());
        Path natives = packed.resolve("../../../../..").normalize(); // dev/merapi/cpu/PLATFORM/LIBRARY
        Path jar = jar(classes, natives);
        // The JVM's number of processors, which a container or an option may lower, is what the pool begins with.
        List<String> said = run(jar, "-XX:ActiveProcessorCount=1");
        assertThat(said).startsWith("3.0 by CpuBackend", "1 threads").hasSize(3);
        Path cached = Path.of(said.get(2));
        byte[] right = Files.readAllBytes(cached);
        assertThat(right).hasSameSizeAs(Files.readAllBytes(packed));
        FileTime time = Files.getLastModifiedTime(cached);
        byte[] other = right.clone();
        Arrays.fill(other, other.length / 4, other.length / 2, (byte) 0xcc);
        byte[] torn = right.clone();
        Arrays.fill(torn, torn.length / 2, torn.length, (byte) 0);
        for (byte[] wrong : new byte[][] {other, torn, Arrays.copyOf(right, right.length / 3)}) {
            Files.write(cached, wrong);
            Files.setLastModifiedTime(cached, time);
            assertThat(run(jar, "-XX:ActiveProcessorCount=3"))
                    .startsWith("3.0 by CpuBackend", "3 threads", cached.toString());
            assertThat(Arrays.equals(Files.readAllBytes(cached), right)).isTrue();
            try (Stream<Path> files = Files.list(cached.getParent())) {
                assertThat(files).containsExactly(cached);
            }
        }
        // Nothing is packed for these: plain Java serves.
        assertThat(run(jar, "-Dos.arch=riscv64"))
                .contains("3.0 by JavaBackend")
                .anyMatch(line -> line.contains("there are no natives for linux-riscv64, only for linux-x86_64"));
        assertThat(run(jar, "-Dos.name=FreeBSD"))
                .contains("3.0 by JavaBackend")
                .anyMatch(line -> line.contains("there are no natives for freebsd-"));
    }

    /** The first of several folders that will do is taken, and without one the line names the property. */
    @Test
    void whereNothingCanBeUnpackedIsSaid() throws Exception {
        Path jar = folder.resolve("packed.jar");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(jar))) {
            out.putNextEntry(new ZipEntry("libx.so"));
            out.write(new byte[1000]);
        }
        URL packed = new URL("jar:" + jar.toUri() + "!/libx.so");
        Path file = NativeLibrary.unpacked(packed, folder.resolve("a"));
        assertThat(file).hasBinaryContent(new byte[1000]).hasFileName("libx.so");
        Files.write(file, new byte[10]);
        assertThat(NativeLibrary.unpacked(packed, folder.resolve("a")))
                .isEqualTo(file)
                .hasBinaryContent(new byte[1000]);
        Path occupied = Files.writeString(folder.resolve("occupied"), "a file");
        assertThatThrownBy(() -> NativeLibrary.unpacked(packed, occupied)).isInstanceOf(IOException.class);
    }

    /** JavaCPP names a library by the simple name of its class unless it is told: "jni" and that. */
    @Test
    void noClassOfAUserHasALibraryOfThisName() {
        assertThat(Native.LIBRARY).doesNotStartWith("jni");
        assertThat(Native.class.getAnnotation(Platform.class).library()).isEqualTo(Native.LIBRARY);
    }

    /** As the loaders of glibc and musl say it. */
    @Test
    void whatTheSystemSaysIsSaidByItsMeaning() {
        Path file = Path.of("/data/cache/libx.so");
        assertThat(NativeLibrary.meaning(
                        "/data/cache/libx.so: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by /data/cache/libx.so)",
                        "x",
                        file))
                .contains("needs a younger C library", "2.28");
        assertThat(NativeLibrary.meaning(
                        "Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /data/cache/libx.so)",
                        "x",
                        file))
                .contains("musl");
        assertThat(NativeLibrary.meaning(
                        "/data/cache/libx.so: failed to map segment from shared object: Operation not permitted",
                        "x",
                        file))
                .contains("noexec", "/data/cache", "-Dorg.bytedeco.javacpp.cachedir");
        assertThat(NativeLibrary.meaning("something else", "x", file)).isEqualTo("x cannot be loaded: something else");
    }

    /** As a release has it: with one time for all, which is that of the commit. */
    private Path jar(Path classes, Path natives) throws IOException {
        Path jar = folder.resolve("natives.jar");
        Map<String, Path> files = new TreeMap<>();
        for (Path root : List.of(natives, classes)) {
            try (Stream<Path> all = Files.walk(root)) {
                all.filter(Files::isRegularFile)
                        .forEach(file ->
                                files.put(root.relativize(file).toString().replace(File.separatorChar, '/'), file));
            }
        }
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(jar))) {
            out.setLevel(1);
            for (Map.Entry<String, Path> file : files.entrySet()) {
                ZipEntry entry = new ZipEntry(file.getKey());
                entry.setTime(1_000_000_000_000L);
                out.putNextEntry(entry);
                Files.copy(file.getValue(), out);
            }
        }
        return jar;
    }

    private List<String> run(Path jar, String option) throws IOException, InterruptedException {
        Path log = folder.resolve("log.txt");
        String path = Stream.concat(
                        Stream.of(jar.toString()),
                        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                                .filter(p -> !p.contains("javacpp")) // which we can go without
                                .filter(p -> !Files.exists(Path.of(p, "dev/merapi/cpu", LIBRARY))
                                        && !Files.exists(Path.of(p, "dev/merapi/cpu/Native.class"))))
                .collect(Collectors.joining(File.pathSeparator));
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-Xmx256m",
                        option,
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
