// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.testkit.fuzz.Fuzz;
import dev.merapi.types.Device;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/**
 * Two slices of the fuzzer, the native kernels against plain Java: programs that are always the same, and some that nobody
 * has seen, for {@code -Dmerapi.fuzz.seconds=} (8). {@code scripts/test fuzz} runs as many as you like, with a seed that
 * stands here for the same programs.
 */
class FuzzTest {
    private static final long PROGRAMS = 4000;
    private static final int MOST_TIMES = 3;
    private static final long SECONDS = Long.getLong("merapi.fuzz.seconds", 8);

    private static Fuzz run(long series, long programs, long seconds) {
        System.out.println("fuzz: series " + series + "; again: scripts/test fuzz 1 " + series);
        Fuzz fuzz = new Fuzz(Device.CPU);
        fuzz.run(series, 0, programs, TimeUnit.SECONDS.toNanos(seconds));
        System.out.println("fuzz: series " + series + ": " + fuzz.coverage());
        assertThat(fuzz.programs()).isPositive();
        assertThat(fuzz.reports()).as("series " + series).isEmpty();
        return fuzz;
    }

    /** It calls all built-in ops, but for backward formulas that few programs come to. */
    @Test
    void aFixedSeries() {
        Fuzz fuzz = run(1, PROGRAMS, 0);
        assertThat(fuzz.programs()).isEqualTo(PROGRAMS);
        for (int more = 1; more < MOST_TIMES && !reachesAll(fuzz); more++) { // a new op changes what the others meet
            fuzz.run(1, more * PROGRAMS, (more + 1) * PROGRAMS, 0);
            assertThat(fuzz.reports()).as("series 1").isEmpty();
        }
        assertThat(fuzz.unreached()).matches(rest -> reachesAll(fuzz));
    }

    private static boolean reachesAll(Fuzz fuzz) {
        return fuzz.unreached().stream().allMatch(op -> op.endsWith("_backward"));
    }

    @Test
    void aFreshSeries() {
        run(System.currentTimeMillis(), Long.MAX_VALUE, SECONDS);
    }
}
