// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.testkit.fuzz.Fuzz;
import dev.merapi.types.Device;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * A slice of the fuzzer: the native kernels against plain Java. {@code scripts/test fuzz} runs as many as you like;
 * {@code -Dmerapi.fuzz.seconds=N} adds a series that nobody has seen.
 */
class FuzzTest {
    private static final long PROGRAMS = 6000;

    private static void run(long series, long programs, long seconds) {
        Fuzz fuzz = new Fuzz(Device.CPU);
        fuzz.run(series, 0, programs, TimeUnit.SECONDS.toNanos(seconds));
        System.out.println("fuzz, series " + series + ": " + fuzz.coverage());
        assertThat(fuzz.programs()).isGreaterThan(100);
        assertThat(fuzz.reports()).as("series " + series).isEmpty();
    }

    @Test
    void aFixedSeries() {
        run(1, PROGRAMS, 60);
    }

    @Test
    @EnabledIfSystemProperty(
            named = "merapi.fuzz.seconds",
            matches = "[1-9]\\d*",
            disabledReason = "a series that nobody has seen runs with -Dmerapi.fuzz.seconds=N, or by scripts/test fuzz")
    void aFreshSeries() {
        run(System.currentTimeMillis(), Long.MAX_VALUE, Long.getLong("merapi.fuzz.seconds", 10));
    }
}
