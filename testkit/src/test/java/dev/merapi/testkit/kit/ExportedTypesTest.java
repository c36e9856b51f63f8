// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.testkit.ExportedTypes;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What core and testkit show to everybody: lists that are reviewed, and nothing in them that only the engine could use. */
@Tag("once")
class ExportedTypesTest {
    private static final Path CORE = Path.of("../core/src/main/java");

    @Test
    void coreShowsWhatTheListSays() throws Exception {
        new ExportedTypes(CORE).check(Path.of("../core/exported-types.txt"));
    }

    @Test
    void theTestkitShowsWhatTheListSays() throws Exception {
        new ExportedTypes(Path.of("src/main/java"), CORE).check(Path.of("exported-types.txt"));
    }

    /** A module that exports something to everybody is held as these two are: none is left out. */
    @Test
    void everyModuleThatShowsSomethingIsHeld() throws Exception {
        List<String> shown = new ArrayList<>();
        List<String> held = new ArrayList<>();
        try (Stream<Path> modules = Files.list(Path.of(".."))) {
            for (Path module : modules.sorted().toList()) {
                Path info = module.resolve("src/main/java/module-info.java");
                if (Files.exists(info) && Files.readString(info).matches("(?s).*exports [\\w.]+;.*")) {
                    shown.add(module.getFileName().toString());
                }
                if (Files.exists(module.resolve("exported-types.txt"))) {
                    held.add(module.getFileName().toString());
                }
            }
        }
        assertThat(held).containsExactlyElementsOf(shown).contains("core", "native-cpu", "native-cuda", "testkit");
    }

    @Test
    void aMemberThatNamesWhatIsNotExportedIsSeen(@TempDir Path folder) throws Exception {
        Path sources = Files.createDirectories(folder.resolve("dev/merapi/dispatch"));
        Files.writeString(folder.resolve("module-info.java"), "module m { exports dev.merapi.dispatch; }");
        Files.createFile(sources.resolve("Context.java"));
        ExportedTypes alone = new ExportedTypes(folder);
        assertThat(alone.names()).contains("dev.merapi.dispatch.Context", "dev.merapi.dispatch.Context$Snapshot");
        assertThat(alone.unnameable())
                .contains("dev.merapi.dispatch.Context.scope names dev.merapi.tensor.Scope")
                .doesNotContain("dev.merapi.dispatch.Context.current names dev.merapi.dispatch.Context");
    }
}
