// SPDX-License-Identifier: Apache-2.0
package dev.merapi.strangers;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A stranger's application on the module path: it trains on native kernels, and no flag finds them. */
final class ModularApplicationTest {
    private static final String ACCESS = "--enable-native-access=dev.merapi.cpu,org.bytedeco.javacpp";

    @TempDir
    Path folder;

    static Stream<Jdk> jdks() throws IOException {
        return Jdk.all().stream();
    }

    @ParameterizedTest
    @MethodSource("jdks")
    void trainsOnNativeKernels(Jdk jdk) throws Exception {
        String path = Stranger.built().path();
        works(jdk.run("java", List.of(ACCESS, "-p", path, "-m", "stranger/stranger.Main", file())));
    }

    /** The image has a runtime of its own, and nothing is beside it. */
    @Test
    @EnabledIfSystemProperty(named = "merapi.tests.full", matches = "true", disabledReason = "links an image: --full")
    void runsFromAnImage() throws Exception {
        Jdk jdk = Jdk.all().get(0);
        Path image = folder.resolve("image");
        Jdk.Run linked = jdk.run(
                "jlink",
                List.of(
                        "-p",
                        Stranger.built().path()
                                + File.pathSeparator
                                + jdk.home().resolve("jmods"),
                        "--add-modules",
                        "stranger,dev.merapi.cpu." + Staged.PLATFORM.replace('-', '.'),
                        "--output",
                        image.toString()));
        assertThat(linked.status()).as(linked.out() + linked.err()).isZero();
        works(new Jdk(image, jdk.version()).run("java", List.of(ACCESS, "-m", "stranger/stranger.Main", file())));
    }

    private void works(Jdk.Run run) {
        assertThat(run.status()).as(run.out() + run.err()).isZero();
        assertThat(run.complaints()).isEmpty();
        assertThat(run.out())
                .contains("gradient 4.0", "learns true", "loads true")
                .contains("version " + Staged.VERSION)
                .contains("module module dev.merapi.core")
                .contains("cpu: native CPU");
    }

    private String file() {
        return folder.resolve("weights.safetensors").toString();
    }
}
