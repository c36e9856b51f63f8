// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.fuzz.Fuzz;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A slice of the fuzzer on the simulator, with calls that need few kernels. */
@ExtendWith(Simulator.class)
class FuzzSimTest {
    /** {@code -Dmerapi.fuzz.seconds=}. */
    private static final long SECONDS = Long.getLong("merapi.fuzz.seconds", 3);

    @Test
    void aFixedSeries() {
        Fuzz fuzz = new Fuzz(Simulator.DEVICE, true);
        fuzz.run(1, 0, Long.MAX_VALUE, TimeUnit.SECONDS.toNanos(SECONDS));
        System.out.println("fuzz on the simulator: " + fuzz.coverage());
        assertThat(fuzz.programs()).isPositive(); // few at first, while kernels are compiled
        assertThat(fuzz.reports()).isEmpty();
    }
}
