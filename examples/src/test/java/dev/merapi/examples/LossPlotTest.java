// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import dev.merapi.train.Metrics;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whatever a loss has come to, its plot is drawn or left out; none may keep a run from ending. */
final class LossPlotTest {
    @TempDir
    Path folder;

    private static Metrics.Series series(Double... values) {
        List<Long> steps = new ArrayList<>();
        for (int i = 0; i < values.length; i++) {
            steps.add((long) i);
        }
        return new Metrics.Series(steps, Arrays.asList(values));
    }

    private void check(boolean drawn, Double... losses) {
        Path png = folder.resolve("loss.png");
        assertTimeoutPreemptively(Duration.ofSeconds(30), () -> {
            Files.deleteIfExists(png);
            LossPlot.save(png, "test", series(losses), series(losses[0], losses[losses.length - 1]));
        });
        assertEquals(drawn, Files.exists(png), Arrays.toString(losses));
    }

    @Test
    void anyNumbers() {
        check(true, 3.0, 2.0, 1.0);
        check(true, 3.0, Double.NaN, 1.0);
        check(true, 3.0, 1e300, Double.POSITIVE_INFINITY);
        check(true, 2.0, 2.0, 2.0);
        check(true, 0.0, Double.MIN_VALUE, 1e-300);
        check(true, 1e9, Math.nextDown(1e9), Math.nextDown(Math.nextDown(1e9)));
        check(true, -1e9, 1e9, 1e-9);
        check(false, Double.NaN, Double.NaN);
        check(false, -1e300, 1e308, Double.MAX_VALUE);
        check(false, Double.NEGATIVE_INFINITY);
    }
}
