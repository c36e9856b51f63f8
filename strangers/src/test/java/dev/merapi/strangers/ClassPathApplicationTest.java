// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A stranger's application on the class path: with the one dependency it is fast, and without natives it says what to add. */
final class ClassPathApplicationTest {
    @TempDir
    Path folder;

    static Stream<Jdk> jdks() throws IOException {
        return Jdk.all().stream();
    }

    @ParameterizedTest
    @MethodSource("jdks")
    void trainsOnNativeKernels(Jdk jdk) throws Exception {
        Jdk.Run run = main(jdk, Stranger.built().path());
        assertThat(run.status()).as(run.out() + run.err()).isZero();
        assertThat(run.complaints()).isEmpty();
        assertThat(run.out())
                .contains("gradient 4.0", "learns true", "loads true")
                .contains("version " + Staged.VERSION)
                .contains("cpu: native CPU");
    }

    /** Maven exclusions, fat jars, another platform: the natives are easily lost, and then the program runs all the same. */
    @Test
    void saysInOneLineWhatIsMissing() throws Exception {
        String natives = "merapi-native-cpu-" + Staged.VERSION + "-" + Staged.PLATFORM + ".jar";
        Jdk.Run run = main(Jdk.all().get(0), Stranger.built().path(jar -> !jar.equals(natives)));
        assertThat(run.status()).as(run.out() + run.err()).isZero();
        assertThat(run.out()).contains("learns true", "cpu: plain Java");
        assertThat(run.complaints())
                .singleElement()
                .asString()
                .startsWith("merapi: plain Java kernels")
                .contains("classifier " + Staged.PLATFORM)
                .contains("<artifactId>merapi</artifactId><version>" + Staged.VERSION + "</version>");
    }

    @Test
    void nativesCanBeRequired() throws Exception {
        String core = Stranger.built().path(jar -> !jar.contains("native-cpu"));
        Jdk.Run run = main(Jdk.all().get(0), core, "-Dmerapi.require.native=true");
        assertThat(run.status()).isEqualTo(1);
        assertThat(run.err()).contains("DeviceException").contains("merapi-native-cpu is not on the class path");
    }

    private Jdk.Run main(Jdk jdk, String path, String... options) throws IOException, InterruptedException {
        List<String> arguments = new ArrayList<>(List.of(options));
        arguments.addAll(List.of(
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                path,
                "stranger.Main",
                folder.resolve("weights.safetensors").toString()));
        return jdk.run("java", arguments);
    }
}
