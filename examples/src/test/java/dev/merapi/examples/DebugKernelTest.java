// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.CudaSim;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

final class DebugKernelTest {
    @Test
    void reportsBothMistakesAndPassesWithoutThem() {
        assumeTrue(CudaSim.isAvailable(), "no C++ compiler for the simulator");
        PrintStream before = System.out;
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed, true, StandardCharsets.UTF_8));
        try {
            DebugKernel.main(new String[0]);
        } finally {
            System.setOut(before);
        }
        String text = printed.toString(StandardCharsets.UTF_8);
        assertThat(text)
                .contains("out of bounds: reads 4 bytes at byte 6000 of x (float32[5, 300] cuda-sim:0)")
                .contains("demo::one_too_far (body):3: for")
                .contains("race: ", "what another thread ", ", with no barrier between")
                .contains("shared memory sums")
                .contains("demo::no_barrier (body):10:")
                .contains("OpCheck passes on cuda-sim:0");
        assertThat(CudaSim.checks()).isFalse();
    }
}
