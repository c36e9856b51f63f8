// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.memory;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.error.OutOfMemoryException;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Where System.gc() does nothing, garbage is still no reason for an error; what lives is one, and the flag is named. */
@Tag("once")
class DeafCollectorTest {
    @TempDir
    Path folder;

    /** In a process of its own, for the flag. */
    public static final class Child {
        private Child() {}

        public static void main(String[] arguments) {
            DeviceType type = DeviceType.register("deaf");
            Backends.register(new JavaBackend(type));
            Device device = Device.of(type, 0);
            Memory.setCap(device, 24 << 20);
            for (int i = 0; i < 60; i++) {
                Tensor.ones(Shape.of(300_000), DType.FLOAT64, device); // 2.4 MB, dropped
            }
            System.out.println("garbage was freed");
            List<Tensor> live = new ArrayList<>();
            try {
                while (live.size() < 20) {
                    live.add(Tensor.ones(Shape.of(300_000), DType.FLOAT64, device));
                }
            } catch (OutOfMemoryException e) {
                System.out.println(live.size() + " lived: " + e.getMessage());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"-XX:+UseSerialGC", "-XX:+UseG1GC"})
    void memoryPressureWithGarbage(String collector) throws Exception {
        Path log = folder.resolve("child.txt");
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:+DisableExplicitGC",
                        collector,
                        "-Xmx48m",
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Child.class.getName())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        if (!child.waitFor(1, TimeUnit.MINUTES)) {
            child.destroyForcibly();
        }
        String said = Files.readString(log);
        assertThat(child.waitFor()).as(said).isZero();
        assertThat(said)
                .contains("garbage was freed")
                // G1 may leave dropped tensors of before where only a cycle finds them that it does not begin.
                .containsPattern((collector.contains("G1") ? "\\d+" : "10") + " lived: .*out of memory on deaf:0")
                .contains("fix: close tensors (Scope), or run without -XX:+DisableExplicitGC");
    }
}
