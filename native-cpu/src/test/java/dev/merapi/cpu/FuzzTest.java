// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.testkit.fuzz.Fuzz;
import dev.merapi.types.Device;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** A slice of the fuzzer: the native kernels against plain Java. {@code scripts/test fuzz} runs as many as you like. */
class FuzzTest {
    /** {@code -Dmerapi.fuzz.seconds=}: for each of the two series. */
    private static final long SECONDS = Long.getLong("merapi.fuzz.seconds", 10);

    private static void run(long series) {
        Fuzz fuzz = new Fuzz(Device.CPU);
        fuzz.run(series, 0, Long.MAX_VALUE, TimeUnit.SECONDS.toNanos(SECONDS));
        System.out.println("fuzz, series " + series + ": " + fuzz.coverage());
        assertThat(fuzz.programs()).isGreaterThan(100);
        assertThat(fuzz.reports()).as("series " + series).isEmpty();
    }

    @Test
    void aFixedSeries() {
        run(1);
    }

    @Test
    void aFreshSeries() {
        run(System.currentTimeMillis());
    }
}
