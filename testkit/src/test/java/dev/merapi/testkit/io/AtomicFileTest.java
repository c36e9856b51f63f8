// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.io.AtomicFile;
import dev.merapi.io.Safetensors;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

@Tag("once")
class AtomicFileTest {
    @TempDir
    Path folder;

    private static void write(Path file, String text) throws IOException {
        AtomicFile.write(file, channel -> channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8))));
    }

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void foldersAreMadeAndFoldersAreNotReplaced() throws IOException {
        write(folder.resolve("a/b/c.txt"), "x");
        assertThat(folder.resolve("a/b/c.txt")).hasContent("x");
        assertThatThrownBy(() -> write(folder.resolve("a"), "x"))
                .isInstanceOf(IOException.class)
                .hasMessageContaining("folder");
        assertThat(names()).containsExactly("a");
    }

    @Test
    void linksStayAndTheirTargetsAreReplaced() throws IOException {
        Path target = folder.resolve("target");
        Files.createSymbolicLink(folder.resolve("link"), Path.of("middle"));
        Files.createSymbolicLink(folder.resolve("middle"), target);
        write(folder.resolve("link"), "new"); // also a target that is not there yet
        write(folder.resolve("link"), "newer");
        assertThat(folder.resolve("link")).isSymbolicLink().hasContent("newer");
        assertThat(target).isRegularFile().hasContent("newer");
        Files.createSymbolicLink(folder.resolve("round"), Path.of("round"));
        assertThatThrownBy(() -> write(folder.resolve("round"), "x")).hasMessageContaining("leads to no file");
    }

    @Test
    void permissionsOfWhatIsReplacedAreKept() throws IOException {
        Path file = folder.resolve("secret");
        write(file, "a");
        assumeTrue(Files.getFileStore(file).supportsFileAttributeView("posix"), "the file system has no permissions");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
        write(file, "b");
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
                .isEqualTo("rw-------");
    }

    @Test
    void draftsOfProcessesThatAreGoneAreRemovedAndOthersAreNot() throws IOException {
        long gone = 4_000_000_000L; // no system has so many
        long alive = ProcessHandle.current().pid();
        Files.writeString(folder.resolve(".f.draft-" + gone + "-0"), "half");
        Files.writeString(folder.resolve(".f.draft-" + alive + "-99"), "half");
        Files.writeString(folder.resolve(".g.draft-" + gone + "-0"), "half of another");
        Files.writeString(folder.resolve(".f.draft-mine"), "somebody's");
        try (FileChannel open = FileChannel.open(
                        Files.writeString(folder.resolve(".f.draft-" + gone + "-1"), "half"),
                        StandardOpenOption.WRITE);
                var lock = open.lock()) { // as a writer on another machine holds it
            write(folder.resolve("f"), "whole");
        }
        assertThat(names())
                .containsExactlyInAnyOrder(
                        ".f.draft-" + gone + "-1",
                        ".f.draft-" + alive + "-99",
                        ".f.draft-mine",
                        ".g.draft-" + gone + "-0",
                        "f");
    }

    @Test
    void writersSideBySideLeaveOneWholeFileEach() throws Exception {
        Path file = folder.resolve("f");
        List<Throwable> failures = new java.util.concurrent.CopyOnWriteArrayList<>();
        Thread[] writers = new Thread[4];
        for (int i = 0; i < writers.length; i++) {
            String text = String.valueOf((char) ('a' + i)).repeat(10_000);
            writers[i] = new Thread(() -> {
                try {
                    for (int k = 0; k < 25; k++) {
                        write(file, text);
                        assertThat(Files.readString(file)).matches("(.)\\1{9999}");
                    }
                } catch (Throwable e) {
                    failures.add(e);
                }
            });
            writers[i].start();
        }
        for (Thread writer : writers) {
            writer.join();
        }
        assertThat(failures).isEmpty();
        assertThat(names()).containsExactly("f");
    }

    /** Saves without end; for {@link #aKilledProcessLeavesAWholeFile}. */
    static final class Saver {
        private Saver() {}

        public static void main(String[] args) {
            for (int i = 1; ; i++) {
                try (Scope scope = Scope.open()) {
                    Safetensors.save(Path.of(args[0]), Map.of("t", Tensor.full(i, 300_000)), Map.of("i", "" + i));
                } catch (IOException e) {
                    throw new UncheckedIOException(e);
                }
                if (i == 1) {
                    System.out.println("saving");
                }
            }
        }
    }

    /** Killed at any moment, most of them within a save: the file is one that was saved, and the next save cleans up. */
    @Test
    void aKilledProcessLeavesAWholeFile() throws Exception {
        int rounds = Integer.getInteger("merapi.test.kills", 3);
        Path file = folder.resolve("t.safetensors");
        Random random = new Random();
        int drafts = 0;
        for (int round = 0; round < rounds; round++) {
            Process process = new ProcessBuilder(
                            Path.of(System.getProperty("java.home"), "bin", "java")
                                    .toString(),
                            "-XX:TieredStopAtLevel=1",
                            "-Xshare:auto",
                            "-cp",
                            System.getProperty("java.class.path"),
                            Saver.class.getName(),
                            file.toString())
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            try {
                assertThat(process.inputReader().readLine()).isEqualTo("saving");
                Thread.sleep(random.nextInt(60));
            } finally {
                process.destroyForcibly();
            }
            assertThat(process.waitFor(20, TimeUnit.SECONDS)).isTrue();
            try (Scope scope = Scope.open();
                    var open = Safetensors.open(file)) {
                double i = Double.parseDouble(open.metadata().get("i"));
                Tensor t = open.tensor("t");
                assertThat(t.min().item()).isEqualTo(i);
                assertThat(t.max().item()).isEqualTo(i);
            }
            drafts += names().size() - 1;
            Safetensors.save(file, Map.of("t", Tensor.of(1f)));
            assertThat(names()).containsExactly("t.safetensors");
        }
        System.out.println("killed " + rounds + " savers, of them " + drafts + " within a save");
    }
}
