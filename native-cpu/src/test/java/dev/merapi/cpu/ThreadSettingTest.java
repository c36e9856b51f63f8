// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DeviceException;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** How many threads a process starts with: by property, by variable, and what is said of one that is no number. */
class ThreadSettingTest {
    /** What the other process runs. */
    static final class Report {
        public static void main(String[] args) {
            Tensor.ones(2, 2);
            System.out.println("threads " + Cpu.threads());
        }
    }

    @Test
    void aPropertyGoesBeforeAVariable() {
        assertThat(Cpu.wanted(null, null)).isZero();
        assertThat(Cpu.wanted(null, "")).isZero();
        assertThat(Cpu.wanted(null, " 3 ")).isEqualTo(3);
        assertThat(Cpu.wanted("5", "3")).isEqualTo(5);
    }

    @Test
    void whatIsNoNumberIsRefusedByName() {
        assertThatThrownBy(() -> Cpu.wanted("many", "3"))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("-Dmerapi.cpu.threads=many");
        assertThatThrownBy(() -> Cpu.wanted(null, "0"))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("MERAPI_CPU_THREADS=0");
    }

    @Test
    void theProcessFollows() throws Exception {
        assertThat(run(Map.of("MERAPI_CPU_THREADS", "3"))).contains("threads 3");
        assertThat(run(Map.of("MERAPI_CPU_THREADS", "-3"))).contains("MERAPI_CPU_THREADS=-3 is no number of threads");
    }

    private static String run(Map<String, String> environment) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                Report.class.getName()));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output;
    }
}
