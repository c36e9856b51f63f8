// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.data.Labelled;
import dev.merapi.data.TextCorpus;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TextCorpusTest {
    @TempDir
    Path folder;

    /** Twenty files, named 00 to 19, each with its letter four times. */
    private static TreeMap<String, String> files() {
        TreeMap<String, String> files = new TreeMap<>();
        for (int i = 0; i < 20; i++) {
            files.put(String.format("%02d.txt", i), Character.toString('a' + i).repeat(4));
        }
        return files;
    }

    @Test
    void everyTenthFileIsHeldOut() {
        TextCorpus corpus = TextCorpus.of(files());
        assertThat(corpus.vocabulary().size()).isEqualTo(20);
        assertThat(corpus.training(1).characters()).isEqualTo(18 * 4);
        assertThat(corpus.heldOut(1).characters()).isEqualTo(2 * 4);
        long[] tokens = corpus.heldOut(7).batch(new long[] {0}).inputs().toLongArray();
        assertThat(tokens).containsExactly(0, 0, 0, 0, 10, 10, 10);
    }

    @Test
    void theVocabularyIsInTheOrderOfCodePoints() {
        SortedMap<String, String> files = new TreeMap<>();
        files.put("w", "za\n");
        files.put("x", "aé\uD83D\uDE00A");
        TextCorpus corpus = TextCorpus.of(files);
        assertThat(corpus.vocabulary().decode(0, 1, 2, 3, 4, 5)).isEqualTo("\nAazé\uD83D\uDE00");
        assertThat(corpus.vocabulary().encode("a\uD83D\uDE00")).containsExactly(2, 5);
        assertThatThrownBy(() -> corpus.vocabulary().encode("?")).hasMessageContaining("'?'");
    }

    @Test
    void targetsAreWhatFollows() {
        SortedMap<String, String> files = new TreeMap<>();
        files.put("w", "a");
        files.put("x", "abcdefg");
        TextCorpus.Windows windows = TextCorpus.of(files).training(3);
        assertThat(windows.size()).isEqualTo(4);
        Labelled batch = windows.batch(new long[] {0, 3});
        assertThat(batch.inputs().toLongArray()).containsExactly(0, 1, 2, 3, 4, 5);
        assertThat(batch.targets().toLongArray()).containsExactly(1, 2, 3, 4, 5, 6);
        assertThatThrownBy(() -> TextCorpus.of(files).training(7)).hasMessageContaining("too few");
    }

    @Test
    void archivesAndFoldersGiveTheSame() throws IOException {
        Path zip = folder.resolve("files.zip");
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(zip))) {
            for (var e : files().descendingMap().entrySet()) {
                out.putNextEntry(new ZipEntry("in/" + e.getKey()));
                out.write(e.getValue().getBytes(java.nio.charset.StandardCharsets.UTF_8));
            }
            out.putNextEntry(new ZipEntry("in/readme.md"));
            out.write('?');
        }
        Path plain = Files.createDirectories(folder.resolve("plain/in"));
        for (var e : files().entrySet()) {
            Files.writeString(plain.resolve(e.getKey()), e.getValue());
        }
        for (Path source : new Path[] {zip, folder.resolve("plain")}) {
            TextCorpus corpus = TextCorpus.of(source, ".txt");
            assertThat(corpus.vocabulary().size()).isEqualTo(20);
            assertThat(corpus.heldOut(7).batch(new long[] {0}).inputs().toLongArray())
                    .containsExactly(0, 0, 0, 0, 10, 10, 10);
        }
        assertThatThrownBy(() -> TextCorpus.of(zip, ".nothing")).hasMessageContaining("too few files");
        assertThatThrownBy(() -> TextCorpus.ofClassPath(getClass().getClassLoader(), "no/such/thing", ".java"))
                .hasMessageContaining("no/such/thing");
    }
}
