// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;

/** A repository with what this build would publish, laid out as every repository of Maven is. */
final class Staged {
    static final String VERSION = System.getProperty("merapi.strangers.version", "");
    static final String PLATFORM = System.getProperty("merapi.strangers.platform", "");

    /** Folders of modules by the artifact that they publish. */
    static final Map<String, String> MODULES = new TreeMap<>(Map.of(
            "merapi-bom", "bom",
            "merapi-core", "core",
            "merapi-testkit", "testkit",
            "merapi-native-cpu", "native-cpu",
            "merapi-openblas", "openblas",
            "merapi-native-cuda", "native-cuda",
            "merapi", "merapi"));

    private static final Path ROOT = Path.of("").toAbsolutePath().getParent();
    private static final Path REPOSITORY = Path.of("target", "staged").toAbsolutePath();

    private static boolean ready;

    private Staged() {}

    static Path root() {
        return ROOT;
    }

    /** Staged at the first call; the test is skipped if nothing was packed. */
    static synchronized Path repository() {
        if (!ready) {
            Assumptions.assumeTrue(
                    Files.isRegularFile(ROOT.resolve("merapi/target/merapi-" + VERSION + ".jar")),
                    "jars are made from Maven's package phase on: mvn verify");
            try {
                delete(REPOSITORY);
                for (Map.Entry<String, String> module : MODULES.entrySet()) {
                    stage(module.getKey(), ROOT.resolve(module.getValue()).resolve("target"));
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
            ready = true;
        }
        return REPOSITORY;
    }

    private static void stage(String artifact, Path target) throws IOException {
        Path folder = Files.createDirectories(
                REPOSITORY.resolve("dev/merapi").resolve(artifact).resolve(VERSION));
        Files.copy(target.resolve("published-pom.xml"), folder.resolve(artifact + "-" + VERSION + ".pom"));
        try (Stream<Path> files = Files.list(target)) {
            for (Path jar : files.filter(
                            f -> f.getFileName().toString().matches(artifact + "-\\Q" + VERSION + "\\E.*\\.jar"))
                    .toList()) {
                Files.copy(jar, folder.resolve(jar.getFileName()), StandardCopyOption.REPLACE_EXISTING);
            }
        }
    }

    static List<Path> poms() throws IOException {
        try (Stream<Path> files = Files.walk(repository())) {
            return files.filter(f -> f.toString().endsWith(".pom")).sorted().toList();
        }
    }

    static void delete(Path folder) throws IOException {
        if (Files.exists(folder)) {
            try (Stream<Path> files = Files.walk(folder)) {
                for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(file);
                }
            }
        }
    }
}
