// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.train.Metrics;
import dev.merapi.train.RunDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunDirectoryTest {
    @TempDir
    Path folder;

    @Test
    void noRunWritesIntoAnother() throws IOException {
        assertThat(RunDirectory.create(folder.resolve("runs"), "gpt").path()).hasFileName("gpt");
        assertThat(RunDirectory.create(folder.resolve("runs"), "gpt").path())
                .hasFileName("gpt-2")
                .isDirectory();
        assertThatThrownBy(() -> RunDirectory.create(folder, "../x")).hasMessageContaining("../x");
    }

    @Test
    void metricsAreRowsOfACsvFileAndStayInMemory() throws IOException {
        Path csv = folder.resolve("metrics.csv");
        try (Metrics metrics = Metrics.create(csv, "loss", "accuracy")) {
            metrics.record(0, Map.of("loss", 1.5));
            metrics.record(1, Map.of("loss", Double.NaN, "accuracy", 0.25));
            assertThatThrownBy(() -> metrics.record(2, Map.of("los", 1.0))).hasMessageContaining("los");
            assertThat(metrics.series("accuracy").steps()).containsExactly(1L);
            assertThat(metrics.series("loss").values()).containsExactly(1.5, Double.NaN);
        }
        assertThat(Files.readAllLines(csv)).containsExactly("step,loss,accuracy", "0,1.5,", "1,NaN,0.25");
    }
}
