// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import dev.merapi.train.Metrics;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Whatever a loss has come to, its plot is drawn or left out; none may keep a run from ending. */
final class PlotsTest {
    private static Metrics.Series series(Double... values) {
        List<Long> steps = new ArrayList<>();
        for (int i = 0; i < values.length; i++) {
            steps.add((long) i);
        }
        return new Metrics.Series(steps, Arrays.asList(values));
    }

    private static void check(boolean drawn, Double... losses) {
        byte[] png = assertTimeoutPreemptively(
                Duration.ofSeconds(30),
                () -> Plots.lines(
                        "test",
                        new Plots.Curve("training", series(losses), false),
                        new Plots.Curve("held out", series(losses[0], losses[losses.length - 1]), true)));
        assertEquals(drawn, png != null, Arrays.toString(losses));
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
