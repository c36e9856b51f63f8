// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.benchmarks.Answers.Answer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files of answers: named so that every file system takes them, never written over, whole up to where a process was stopped. */
class AnswersTest {
    @TempDir
    Path folder;

    @Test
    void namesFitAnyFileSystem() throws IOException {
        Path file =
                Answers.fresh(folder, "2026-11-29-device-NVIDIA H100 80GB HBM3; " + "/opt/lib/python3.12/".repeat(20));
        String name = file.getFileName().toString();
        assertTrue(name.length() <= 110, name);
        assertTrue(name.matches("2026-11-29-device-nvidia-h100-80gb-hbm3-[a-z0-9-]+\\.jsonl"), name);
    }

    @Test
    void anEarlierFileStays() throws IOException {
        Path first = Answers.fresh(folder, "a device");
        Answers.append(first, "copy", new Answer(1, "GB/s", null));
        Path second = Answers.fresh(folder, "a device");
        assertNotEquals(first, second);
        assertEquals(folder.resolve("a-device-2.jsonl"), second);
        assertEquals(1, Answers.read(first).all().size());
    }

    @Test
    void whatIsWrittenIsRead() throws IOException {
        Path file = Answers.fresh(folder, "x");
        Answers.append(file, "device", "a \"quoted\" \\name\nand a line");
        Answers.append(file, "copy", new Answer(4321.5, "GB/s", null));
        Answers.append(file, "copy", new Answer(4000, "GB/s", null));
        Answers.append(file, "sum", new Answer(Double.NaN, "GB/s", "no \"kernel\""));
        // A process that was killed within a line.
        Files.writeString(file, "{\"key\": \"gelu\", \"val", StandardOpenOption.APPEND);
        Answers read = Answers.read(file);
        assertEquals("a \"quoted\" \\name and a line", read.facts().get("device"));
        assertEquals(List.of("copy", "sum"), List.copyOf(read.all().keySet()));
        assertEquals(new Answer(4000, "GB/s", null), read.all().get("copy"), "the later one counts");
        assertEquals(new Answer(Double.NaN, "GB/s", "no \"kernel\""), read.all().get("sum"));
    }
}
