// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.device.Memory;
import dev.merapi.types.Device;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
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
            "add_bf16",
            "mul_add_relu_bf16",
            "gelu_bf16",
            "sum_bf16",
            "softmax_bf16",
            "layer_norm_bf16",
            "cross_entropy_bf16",
            "matmul_f32_32",
            "matmul_bf16_32",
            "attention_forward_bf16",
            "attention_forward_backward_bf16",
            "adamw_124m",
            "host_add_8",
            "gpt2_step_bf16",
            "gpt2_step_bf16_peak",
            "gpt2_step_f32",
            "gpt2_step_bf16_params",
            "gpt2_step_bf16_params_peak",
            "cnn_step",
            "cnn_step_peak");

    /** What only a device with graphs is asked, and what only NVIDIA's driver. */
    private static final List<String> CAPTURED = List.of(
            "gpt2_step_bf16_graph",
            "gpt2_step_bf16_kernels",
            "gpt2_step_bf16_idle",
            "gpt2_step_bf16_params_graph",
            "gpt2_step_bf16_params_kernels",
            "gpt2_step_bf16_params_idle",
            "cnn_step_graph",
            "cnn_step_kernels",
            "cnn_step_idle");

    private static final List<String> DRIVER = List.of("host_launch", "matmul_tf32_32");

    @TempDir
    Path folder;

    @Test
    void answersEveryQuestionBesideThePeer() throws IOException {
        Path peer = folder.resolve("peer.jsonl");
        Files.writeString(peer, """
                {"fact": "torch", "value": "2.0"}
                {"key": "copy", "value": 1e-09, "unit": "GB/s"}
                {"key": "host_add_8", "value": 1000000000.0, "unit": "µs"}
                {"key": "sum", "value": null, "unit": "GB/s", "failure": "out of memory"}
                """);
        Path out = folder.resolve("out");
        DeviceReport.main(
                new String[] {"--tiny", "--device", "cpu", "--out", out.toString(), "--peer", peer.toString()});
        List<Path> files;
        try (Stream<Path> all = Files.list(out)) {
            files = all.sorted().toList();
        }
        assertEquals(
                List.of("jsonl", "md"),
                files.stream().map(f -> f.toString().replaceFirst(".*\\.", "")).toList());
        String json = Files.readString(files.get(0));
        assertFalse(json.contains("failure"), json);
        for (String key : KEYS) {
            assertTrue(json.contains("{\"key\": \"" + key + "\", \"value\": "), key);
        }
        List<String> table = Files.readAllLines(files.get(1));
        assertTrue(table.contains("- peer torch: 2.0"), () -> table.toString());
        // Both are better here: more of a bandwidth, less of a time.
        for (String key : List.of("copy", "host_add_8")) {
            String row = table.stream()
                    .filter(line -> line.startsWith("| " + key + " |"))
                    .findFirst()
                    .orElseThrow();
            double ratio = Double.parseDouble(row.replaceAll(".*\\| ([^|]+)× \\|$", "$1"));
            assertTrue(ratio > 1e3, row);
        }
        assertEquals(
                KEYS.size(),
                table.stream()
                        .filter(l -> l.matches("\\| [a-z0-9_]+ \\| [0-9].*"))
                        .count());
    }

    /** A model that a device has no room for is an answer, and what comes after it is asked. */
    @Test
    void whatCannotBeMadeIsAnAnswer() throws IOException {
        long cap = Memory.stats(Device.CPU).cap();
        Path file = folder.resolve("answers.jsonl");
        Memory.setCap(Device.CPU, 100_000);
        try {
            DeviceReport.main(new String[] {
                "--tiny", "--device", "cpu", "--only", "gpt2|cnn|host_add_8", "--into", file.toString()
            });
        } finally {
            Memory.setCap(Device.CPU, cap);
        }
        Answers answers = Answers.read(file);
        assertTrue(answers.all().values().stream().anyMatch(a -> a.failure() != null), answers::toString);
        assertEquals("µs", answers.all().get("host_add_8").unit());
        assertEquals(null, answers.all().get("host_add_8").failure());
    }

    /** What is asked later is added; the table has all of it. */
    @Test
    void addsToEarlierAnswers() throws IOException {
        Path file = folder.resolve("answers.jsonl");
        for (String only : List.of("^add$", "^sum$")) {
            DeviceReport.main(new String[] {"--tiny", "--device", "cpu", "--only", only, "--into", file.toString()});
        }
        assertEquals(
                List.of("copy", "add", "sum"),
                List.copyOf(Answers.read(file).all().keySet()),
                "and copying is asked once");
        assertTrue(Files.readString(folder.resolve("answers.md")).matches("(?s).*\\| add .*\\| sum .*"));
    }

    /** In a process of its own, on a driver that does nothing: what is asked of GPUs alone. */
    @Test
    void answersWhatOnlyAGpuIsAsked() throws IOException, InterruptedException {
        String json = report(OnNullCuda.class, "--only", "gpt2_step_bf16|cnn|host|tf32|add_bf16");
        for (String key : DRIVER) {
            assertTrue(json.contains("{\"key\": \"" + key + "\", \"value\": "), json);
        }
        for (String key : CAPTURED) {
            assertTrue(json.contains("{\"key\": \"" + key + "\", \"value\": "), json);
        }
        assertFalse(json.contains("failure"), json);
    }

    /** {@link DeviceReport} on a driver that does nothing. */
    static final class OnNullCuda {
        public static void main(String[] args) throws IOException, InterruptedException {
            NullCuda.install();
            DeviceReport.main(args);
        }
    }

    private String report(Class<?> main, String... options) throws IOException, InterruptedException {
        Path out = folder.resolve("out");
        List<String> command = new ArrayList<>(
                List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx512m"));
        // With it, NVIDIA's own compiler would be found first.
        String classPath = Stream.of(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(p -> !p.contains("cuda-redist"))
                .collect(Collectors.joining(File.pathSeparator));
        command.addAll(
                List.of("-cp", classPath, main.getName(), "--tiny", "--device", "cuda", "--out", out.toString()));
        command.addAll(List.of(options));
        Path log = folder.resolve("log");
        int status = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start()
                .waitFor();
        assertEquals(0, status, Files.readString(log));
        try (Stream<Path> all = Files.list(out)) {
            return Files.readString(
                    all.filter(f -> f.toString().endsWith(".jsonl")).findFirst().orElseThrow());
        }
    }
}
