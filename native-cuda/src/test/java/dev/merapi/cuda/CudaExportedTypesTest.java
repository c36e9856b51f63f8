// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.testkit.ExportedTypes;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** What this module shows to everybody: a list that is reviewed, and nothing in it that only the engine could use. */
class CudaExportedTypesTest {
    private static final Path CORE = Path.of("../core/src/main/java");

    @Test
    void theModuleShowsWhatTheListSays() throws Exception {
        new ExportedTypes(Path.of("src/main/java"), CORE).check(Path.of("exported-types.txt"));
    }
}
