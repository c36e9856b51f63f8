// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.profile;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.data.DataLoader;
import dev.merapi.data.Labelled;
import dev.merapi.data.TensorDataset;
import dev.merapi.error.ShapeException;
import dev.merapi.nn.Block;
import dev.merapi.nn.Linear;
import dev.merapi.profile.Profiler;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProfilerTest {
    private static final Pattern EVENT = Pattern.compile(
            "\\{\"name\":\"((?:[^\"\\\\]|\\\\.)*)\",\"cat\":\"(\\w+)\",\"ph\":\"X\",\"ts\":([0-9.]+),"
                    + "\"dur\":([0-9.]+),\"pid\":1,\"tid\":(\\d+),\"args\":\\{\"bytes\":(\\d+)(?:,\"layer\":\"([^\"]*)\")?}}");

    @TempDir
    Path folder;

    private record Event(String name, String kind, double start, double nanos, long thread, long bytes, String layer) {
        boolean holds(Event e) {
            return thread == e.thread && start <= e.start + 1e-3 && e.start + e.nanos <= start + nanos + 2e-3;
        }
    }

    private static final class Mlp extends Block {
        private final Linear in = child("in", new Linear(6, 5));
        private final Linear out = child("out", new Linear(5, 2));

        Tensor loss(Tensor x) {
            return out.forward(in.forward(x).relu()).square().sum();
        }
    }

    private static void step(Mlp model, Tensor x) {
        try (Scope scope = Scope.open()) {
            Autograd.backward(model.loss(x));
        }
    }

    private List<Event> trace(Profiler profiler) throws IOException {
        Path file = folder.resolve("trace.json");
        profiler.writeTrace(file);
        List<Event> all = new ArrayList<>();
        for (String line : Files.readAllLines(file)) {
            Matcher m = EVENT.matcher(line);
            if (m.find()) {
                all.add(new Event(
                        m.group(1),
                        m.group(2),
                        Double.parseDouble(m.group(3)),
                        Double.parseDouble(m.group(4)),
                        Long.parseLong(m.group(5)),
                        Long.parseLong(m.group(6)),
                        m.group(7)));
            } else {
                assertThat(line).matches("\\{\"displayTimeUnit.*|.*thread_name.*|]}");
            }
        }
        return all;
    }

    private static long calls(String table, String what) {
        return table.lines()
                .filter(l -> l.startsWith(what + " ") && !l.startsWith(what + " in backward"))
                .mapToLong(l -> Long.parseLong(l.substring(what.length()).trim().split("\\s+")[0]))
                .sum();
    }

    @Test
    void aStepIsSeenForwardAndBackward() throws IOException {
        Mlp model = new Mlp();
        Tensor x = Tensor.randn(4, 6);
        Profiler profiler = new Profiler();
        int steps = 3;
        try (Profiler.On on = profiler.start()) {
            for (int i = 0; i < steps; i++) {
                step(model, x);
            }
        }
        step(model, x); // is not seen
        String table = profiler.table();
        assertThat(calls(table, "merapi::linear")).isEqualTo(2L * steps);
        assertThat(calls(table, "merapi::square")).isEqualTo(steps);
        assertThat(calls(table, "backward of merapi::linear")).isEqualTo(2L * steps);

        List<Event> events = trace(profiler);
        List<Event> kernels =
                events.stream().filter(e -> e.kind.equals("kernel")).toList();
        assertThat(kernels).isNotEmpty();
        for (Event kernel : kernels) {
            assertThat(events)
                    .as("what the kernel %s belongs to", kernel)
                    .anyMatch(e -> !e.kind.equals("kernel") && e.holds(kernel));
        }
        assertThat(events)
                .filteredOn(e -> e.kind.equals("kernel") && e.name.equals("merapi::square"))
                .hasSize(steps)
                .allMatch(e -> e.bytes == 4 * 2 * 4);
        assertThat(events)
                .as("layers of the forward call and of its gradients")
                .filteredOn(e -> e.kind.equals("block") || e.name.equals("merapi::linear"))
                .allMatch(e -> "in".equals(e.layer) || "out".equals(e.layer))
                .extracting(Event::kind)
                .contains("block", "op", "kernel", "backward");
        assertThat(profiler.tableByLayer().lines().map(l -> l.split(" ")[0])).contains("in", "out", "(none)");
        profiler.reset();
        assertThat(trace(profiler)).isEmpty();
    }

    @Test
    void resultsAreTheSame() {
        Mlp model = new Mlp();
        Tensor x = Tensor.randn(4, 6);
        model.zeroGrad();
        step(model, x);
        float[] plain = model.namedParameters().get("in.weight").tensor().grad().toFloatArray();
        model.zeroGrad();
        try (Profiler.On on = new Profiler().waitForDevice(true).start()) {
            step(model, x);
        }
        assertThat(model.namedParameters().get("in.weight").tensor().grad().toFloatArray())
                .isEqualTo(plain);
    }

    @Test
    void whatFailsEndsToo() throws IOException {
        Profiler profiler = new Profiler();
        try (Profiler.On on = profiler.start()) {
            try (Profiler.On range = Profiler.range("outer \"part\"")) {
                assertThatThrownBy(() -> Tensor.randn(2, 3).matmul(Tensor.randn(2, 3)))
                        .isInstanceOf(ShapeException.class);
                assertThatThrownBy(profiler::start).hasMessageContaining("close it first");
                assertThatThrownBy(
                                () -> CompletableFuture.runAsync(range::close).join())
                        .hasMessageContaining("began on another thread");
            }
            Tensor.randn(2).neg();
        }
        assertThat(profiler.table()).contains("range: outer \"part\"");
        List<Event> ops = trace(profiler).stream()
                .filter(e -> e.name.equals("merapi::neg") || e.name.equals("merapi::matmul"))
                .toList();
        assertThat(ops).extracting(e -> e.kind).contains("op");
        assertThat(Files.readString(folder.resolve("trace.json"))).contains("outer \\\"part\\\"");
        try (Profiler.On none = Profiler.range("nobody looks")) {
            Tensor.randn(2).neg();
        }
        assertThat(profiler.table()).doesNotContain("nobody looks");
    }

    @Test
    void waitsForDataAndOtherThreadsAreSeen() throws IOException {
        Profiler profiler = new Profiler();
        Tensor all = Tensor.randn(12, 3);
        try (Profiler.On on = profiler.start();
                DataLoader<Labelled> loader =
                        DataLoader.of(new TensorDataset(all, all), 4).prefetch(2)) {
            for (Labelled batch : loader) {
                batch.inputs().neg();
            }
        }
        assertThat(calls(profiler.table(), "wait: data")).isEqualTo(3);
        assertThat(trace(profiler).stream().map(Event::thread).distinct()).hasSizeGreaterThanOrEqualTo(1);
    }

    @Test
    void theFlightRecorderHasThem() throws IOException {
        Path file = folder.resolve("work.jfr");
        try (Recording recording = new Recording()) {
            recording.enable("dev.merapi.Work");
            recording.start();
            try (Profiler.On on = new Profiler().start()) {
                Tensor.randn(3).neg();
            }
            recording.stop();
            recording.dump(file);
        }
        assertThat(RecordingFile.readAllEvents(file))
                .filteredOn(e -> e.getEventType().getName().equals("dev.merapi.Work"))
                .extracting(e -> e.getString("kind") + " " + e.getString("name"))
                .contains("op merapi::neg", "kernel merapi::neg");
    }
}
