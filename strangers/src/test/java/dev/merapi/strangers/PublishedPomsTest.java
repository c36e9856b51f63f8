// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Test;

/** What is published says all by itself, and the same wherever it was built. */
final class PublishedPomsTest {
    private static final List<String> PLATFORMS =
            List.of("linux-x86_64", "linux-arm64", "macosx-arm64", "windows-x86_64");

    @Test
    void nothingIsLeftToTheReadersMachine() throws IOException {
        List<Path> poms = Staged.poms();
        assertThat(poms).hasSize(Staged.MODULES.size());
        for (Path pom : poms) {
            assertThat(pom)
                    .content()
                    .doesNotContain(
                            "${", "<parent>", "<profile", "<activation>", "<properties>", "<repositor", "<build>")
                    .doesNotContain("<scope>test</scope>")
                    .contains("<licenses>", "<url>", "<scm", "<developers>", "<description>");
        }
    }

    /** The choice of a platform is made by who depends on an artifact; only these make none. */
    @Test
    void classifiersAreNamedByThoseThatMeanAll() throws IOException {
        for (Path pom : Staged.poms()) {
            String name = pom.getFileName().toString().replace("-" + Staged.VERSION + ".pom", "");
            List<String> classifiers = Files.readAllLines(pom).stream()
                    .filter(line -> line.contains("<classifier>"))
                    .map(line -> line.replaceAll("</?classifier>", "").strip())
                    .toList();
            switch (name) {
                case "merapi" -> assertThat(classifiers).containsExactlyElementsOf(PLATFORMS);
                case "merapi-openblas" ->
                    assertThat(classifiers)
                            .containsExactlyElementsOf(
                                    Stream.concat(Stream.of("linux-arm64", "macosx-arm64"), PLATFORMS.stream())
                                            .toList());
                case "merapi-bom" -> assertThat(classifiers).containsAll(PLATFORMS);
                default -> assertThat(classifiers).as(name).isEmpty();
            }
        }
    }

    /** Every dependency on an artifact of JavaCPP's family has the version that the BOM names. */
    @Test
    void theBomNamesTheSameVersions() throws IOException {
        Pattern ofOthers = Pattern.compile("<artifactId>(javacpp|openblas)</artifactId>\\s*<version>([^<]*)</version>");
        Set<String> versions = new TreeSet<>();
        for (Path pom : Staged.poms()) {
            ofOthers.matcher(Files.readString(pom)).results().forEach(m -> versions.add(m.group(1) + " " + m.group(2)));
        }
        assertThat(versions).hasSize(2);
    }

    @Test
    void everyJarSaysWhatItMayBeUsedFor() throws IOException {
        List<Path> jars;
        try (Stream<Path> files = Files.walk(Staged.repository())) {
            jars = files.filter(f -> f.toString().endsWith(".jar")).toList();
        }
        assertThat(jars).hasSizeGreaterThanOrEqualTo(Staged.MODULES.size() + PLATFORMS.size());
        for (Path jar : jars) {
            try (ZipFile zip = new ZipFile(jar.toFile())) {
                for (String name : List.of("LICENSE", "NOTICE", "THIRD-PARTY.txt")) {
                    assertThat(zip.getEntry("META-INF/" + name))
                            .as(jar + " " + name)
                            .isNotNull();
                }
                try (InputStream manifest = zip.getInputStream(zip.getEntry("META-INF/MANIFEST.MF"))) {
                    assertThat(new String(manifest.readAllBytes(), java.nio.charset.StandardCharsets.UTF_8))
                            .as(jar.toString())
                            .contains("Implementation-Version: " + Staged.VERSION)
                            .doesNotContain(System.getProperty("user.home"));
                }
            }
        }
    }
}
