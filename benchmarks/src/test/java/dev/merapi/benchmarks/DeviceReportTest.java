// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The report of a device at sizes that take a moment: every question has an answer, and the peer's stand beside them. */
class DeviceReportTest {
    private static final List<String> KEYS = List.of(
            "copy",
            "add",
            "mul_add_relu",
            "gelu",
            "sum",
            "softmax",
            "layer_norm",
            "cross_entropy",
            "matmul_f32_32",
            "matmul_bf16_32",
            "attention_forward_bf16",
            "attention_forward_backward_bf16",
            "adamw_124m",
            "host_add_8",
            "gpt2_step_bf16",
            "gpt2_step_bf16_peak",
            "gpt2_step_f32",
            "cnn_step");

    @TempDir
    Path folder;

    @Test
    void answersEveryQuestionBesideThePeer() throws IOException {
        Path peer = folder.resolve("peer.json");
        Files.writeString(peer, """
                {
                  "torch": "2.0",
                  "rows": [
                    {"key": "copy", "value": 1e-9, "unit": "GB/s"},
                    {"key": "host_add_8", "value": 1e9, "unit": "µs"}
                  ]
                }
                """);
        Path out = folder.resolve("out");
        DeviceReport.main(
                new String[] {"--tiny", "--device", "cpu", "--out", out.toString(), "--peer", peer.toString()});
        List<Path> files;
        try (Stream<Path> all = Files.list(out)) {
            files = all.sorted().toList();
        }
        assertEquals(2, files.size());
        String json = Files.readString(files.get(0));
        assertFalse(json.contains("failure"), json);
        assertTrue(json.contains("\"peer torch\": \"2.0\""), json);
        for (String key : KEYS) {
            assertTrue(json.contains("{\"key\": \"" + key + "\", \"value\": "), key);
        }
        // Both are better here: more of a bandwidth, less of a time.
        for (String key : List.of("copy", "host_add_8")) {
            String row = json.lines()
                    .filter(line -> line.contains("\"" + key + "\""))
                    .findFirst()
                    .orElseThrow();
            double ratio = Double.parseDouble(row.replaceAll(".*\"ratio\": ([^}]+)}.*", "$1"));
            assertTrue(ratio > 1e3, row);
        }
        assertEquals(
                KEYS.size(),
                Files.readString(files.get(1))
                        .lines()
                        .filter(l -> l.matches("\\| [a-z0-9_]+ \\| [0-9].*"))
                        .count());
    }
}
