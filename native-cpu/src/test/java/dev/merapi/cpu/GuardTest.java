// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.OverrunException;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Guard mode finds overruns that the usual allocator hides; each in a process of its own, which may not survive it. */
class GuardTest {
    @TempDir
    Path folder;

    /** What the processes do. */
    public static final class Child {
        private Child() {}

        public static void main(String[] arguments) {
            Tensor t = Tensor.ones(Shape.of(16), DType.FLOAT32, Device.CPU);
            ByteBuffer raw = NativeMemory.bufferAt(t.address(), 1 << 13);
            switch (arguments[0]) {
                case "behind" -> raw.put(64, (byte) 1);
                case "freed" -> {
                    t.close();
                    System.out.println(raw.get(0));
                }
                default -> marks();
            }
            System.out.println("lived");
        }

        /** What does not end the process. */
        private static void marks() {
            Backends.register(new JavaBackend(DeviceType.register("guarded")));
            for (Device device : new Device[] {Device.CPU, Device.of(DeviceType.register("guarded"), 0)}) {
                Tensor t = TENSORS.allocate(Shape.of(3), DType.FLOAT32, device);
                assertThat(t.toFloatArray()).as("fresh").containsOnly(Float.NaN);
                t.fill_(1);
                ByteBuffer raw = TENSORS.storage(t).rawBuffer();
                int begin = TENSORS.storage(t).bufferOffset();
                raw.put(begin + 12, (byte) 1);
                assertThatThrownBy(t::close)
                        .isInstanceOf(OverrunException.class)
                        .hasMessageContaining("float32[3] was written: byte 0 behind its end");
                Tensor u = TENSORS.allocate(Shape.of(3), DType.FLOAT32, device);
                TENSORS.storage(u).rawBuffer().put(TENSORS.storage(u).bufferOffset() - 1, (byte) 1);
                assertThatThrownBy(() -> {
                            try (Scope scope = Scope.open()) {
                                TENSORS.joinScope(u, dev.merapi.dispatch.Context.current());
                            }
                        })
                        .isInstanceOf(OverrunException.class)
                        .hasMessageContaining("byte 1 before its beginning");
                Tensor w = Tensor.ones(Shape.of(5, 7), DType.FLOAT32, device).requiresGrad(true);
                for (int i = 0; i < 3; i++) {
                    try (Scope scope = Scope.open()) {
                        Autograd.backward(w.matmul(w.t()).exp().sum());
                    }
                    w.setGrad(null);
                }
                w.close();
                assertThat(Memory.stats(device).liveBlocks()).isLessThanOrEqualTo(1);
            }
        }
    }

    private record Ended(int status, String output) {}

    private Ended run(String what) throws IOException, InterruptedException {
        Path log = folder.resolve(what + ".txt");
        Process process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-Xmx256m",
                        "-XX:TieredStopAtLevel=1",
                        "-XX:-CreateCoredumpOnCrash",
                        "-XX:ErrorFile=" + folder.resolve(what + "_error.txt"),
                        "-Dmerapi.memory.guard=true",
                        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Child.class.getName(),
                        what)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        if (!process.waitFor(2, TimeUnit.MINUTES)) {
            process.destroyForcibly();
        }
        return new Ended(process.waitFor(), Files.readString(log));
    }

    @Test
    void writingBehindATensorStopsTheProcessAtOnce() throws Exception {
        Ended ended = run("behind");
        assertThat(ended.output()).contains("SIGSEGV").doesNotContain("lived");
        assertThat(ended.status()).isNotZero();
    }

    @Test
    void readingWhatIsFreedStopsTheProcessAtOnce() throws Exception {
        Ended ended = run("freed");
        assertThat(ended.output()).contains("SIGSEGV").doesNotContain("lived");
        assertThat(ended.status()).isNotZero();
    }

    @Test
    void marksAroundATensorAndPoisonInItTellOfTheRest() throws Exception {
        Ended ended = run("marks");
        assertThat(ended.output()).contains("lived");
        assertThat(ended.status()).as(ended.output()).isZero();
    }
}
