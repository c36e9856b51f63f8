// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * A wrong kernel is told in seconds. AssertJ compares the content of arrays all with all before it says what differs, which
 * takes nine minutes for 139 400 numbers; JUnit's {@code assertArrayEquals} stops at the first.
 */
class QuickFailuresTest {
    private static final Pattern ALL_WITH_ALL = Pattern.compile(
            "assertThat\\([^;]*(?:to(?:Double|Float|Long|Int)Array\\(\\)|values\\()[^;]*\\)\\s*\\.contains\\w+");

    @Test
    void noTestHasAllElementsComparedWithAll() throws IOException {
        Path sources = Path.of("src", "test", "java");
        assumeTrue(Files.isDirectory(sources), "skipped: the sources of the tests are not here");
        List<String> found = new ArrayList<>();
        try (Stream<Path> files = Files.walk(sources)) {
            for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
                Matcher slow = ALL_WITH_ALL.matcher(Files.readString(file));
                while (slow.find()) {
                    found.add(file.getFileName() + ": " + slow.group());
                }
            }
        }
        assertEquals(List.of(), found, "assertArrayEquals(expected, actual) stops at the first element that differs");
    }

    @Test
    void theRuleKnowsOneWhenItSeesOne() {
        assertTrue(ALL_WITH_ALL
                .matcher("assertThat" + "(values(x))\n    .containsExactly(values(y));")
                .find());
        assertTrue(ALL_WITH_ALL
                .matcher("assertThat" + "(x.toDoubleArray()).as(\"sums\").containsOnly(7);")
                .find());
    }
}
