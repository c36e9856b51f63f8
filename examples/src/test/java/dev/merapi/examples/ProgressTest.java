// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

/** What is left of a line when the terminal is narrow: loss and speed last. */
final class ProgressTest {
    @Test
    void theBarGoesFirstAndTheNumbersLast() {
        try (Progress progress = new Progress("gpt", 100, "chars", 64, false)) {
            assertThat(progress.line(0, 80)).contains("gpt 0/100").hasSizeLessThanOrEqualTo(80);
            for (int i = 0; i < 47; i++) {
                progress.step(2.5);
            }
            String numbers = "loss 2\\.500  [0-9.,]+( k)? chars/s";
            assertThat(progress.line(47, 120)).matches("gpt 47/100 \\[=+> +\\] " + numbers + "  \\d+:\\d\\d left");
            assertThat(progress.line(47, Integer.MAX_VALUE)).matches("gpt 47/100  " + numbers + "  \\d+:\\d\\d left");
            for (int width = 120; width >= 30; width--) {
                assertThat(progress.line(47, width)).containsPattern(numbers).hasSizeLessThanOrEqualTo(width);
            }
            assertThat(progress.line(47, 40)).startsWith("47 %");
            assertThat(progress.line(47, 4)).hasSize(4);
            assertThat(progress.line(100, 100)).contains("[" + "=".repeat(10)).doesNotContain(">");
        }
    }
}
