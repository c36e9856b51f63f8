// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A page, whatever has failed, with all that a reader needs for the next step. */
class SessionSummaryTest {
    @TempDir
    Path folder;

    private static String failure(int i) {
        return "{\"failed\": \"FlashTest [" + i
                + "]\", \"type\": \"org.opentest4j.AssertionFailedError\", \"message\": \"kind " + i
                + " of \\\"wrong\\\"\"}";
    }

    private static SessionSummary.Outcome outcome(String result, List<String> lines, String last) {
        return SessionSummary.outcome("kernels", result, 1, 60, 12.4, lines, last);
    }

    @Test
    void countsOfAClassThatGrewCountOnce() {
        SessionSummary.Outcome o = outcome(
                "stopped",
                List.of(
                        "{\"class\": \"A\", \"passed\": 10, \"failed\": 1, \"skipped\": 0, \"seconds\": 2.0}",
                        failure(1),
                        "{\"class\": \"B\", \"passed\": 1, \"failed\": 0, \"skipped\": 2, \"seconds\": 1.0}",
                        "{\"class\": \"A\", \"passed\": 30, \"failed\": 2, \"skipped\": 0, \"seconds\": 4.0}"),
                "");
        assertEquals(
                "kernels     stopped     12 s  after the 60 s that it has; till then 31 passed, 2 failed, 2 skipped",
                o.line());
        assertEquals(List.of("FlashTest [1]: kind 1 of \"wrong\" (AssertionFailedError)"), o.details());
    }

    @Test
    void aQuestionWithoutAnAnswerIsAFailure() {
        SessionSummary.Outcome o = outcome(
                "ok",
                List.of(
                        "{\"key\": \"copy\", \"value\": 1, \"unit\": \"GB/s\"}",
                        "{\"key\": \"sum\", \"value\": null, \"unit\": \"GB/s\", \"failure\": \"no \\\"kernel\\\"\"}"),
                "");
        assertEquals("FAILED", o.result());
        assertEquals(List.of("sum: no \"kernel\""), o.details());
    }

    @Test
    void aProcessThatDiedIsQuoted() {
        SessionSummary.Outcome o = outcome("FAILED", List.of(), "a\nb\nException: why\n\tat somewhere\n\tat elsewhere");
        assertEquals(List.of("a", "b", "Exception: why"), o.details());
        assertEquals(
                "compute-sanitizer is not there",
                outcome("left out", List.of(), "x\ncompute-sanitizer is not there")
                        .more());
    }

    @Test
    void aHundredFailuresAStepAreAPage() throws IOException {
        SessionSummary summary = new SessionSummary();
        List<String> lines = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            lines.add(failure(i));
        }
        for (int i = 0; i < 13; i++) {
            summary.add(SessionSummary.outcome("step" + i, "FAILED", 1, 60, 1, lines, ""));
        }
        Path answers = Answers.fresh(folder, "answers");
        for (int i = 0; i < 60; i++) {
            Answers.append(answers, "a_question_with_a_name_" + i, new Answers.Answer(i, "TFLOP/s", null));
        }
        String text = summary.text(answers, null);
        assertTrue(text.lines().count() <= 80, text);
        assertTrue(text.lines().allMatch(line -> line.length() <= 200), text);
        for (int i = 0; i < 13; i++) {
            assertTrue(text.contains("step" + i + " "), text);
        }
        assertTrue(text.contains("kind 0 of") && text.contains("a_question_with_a_name_59 59.0 TFLOP/s"), text);
        assertFalse(summary.allWell());
    }
}
