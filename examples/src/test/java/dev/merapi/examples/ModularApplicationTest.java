// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A user's application with a module descriptor of its own, and an op whose record is private to it. */
final class ModularApplicationTest {
    private static final String DESCRIPTOR = """
            module demo.app {
                requires dev.merapi.core;
                requires dev.merapi.cpu;
            }
            """;

    private static final String MAIN = """
            package demo.app;

            import dev.merapi.autograd.Autograd;
            import dev.merapi.op.*;
            import dev.merapi.tensor.*;
            import dev.merapi.types.*;
            import java.lang.invoke.MethodHandles;

            public final class Main {
                private record Twice(Tensor x) {}

                private static final Op<Twice, Tensor> TWICE = Op.define(
                                MethodHandles.lookup(), "demo::twice", Twice.class, Tensor.class)
                        .shape(a -> Tensor.meta(a.x()))
                        .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x().mul(2)))
                        .autograd((a, out) -> null, (context, nothing, g) -> Grads.of("x", g.mul(2)))
                        .register();

                public static void main(String[] args) {
                    Tensor x = Tensor.of(new float[] {1, 2}).requiresGrad(true);
                    Tensor y = TWICE.call(new Twice(x));
                    Autograd.backward(y.sum());
                    System.out.println("modules: " + Main.class.getModule() + ", " + Tensor.class.getModule());
                    System.out.println("result " + y.sum().item() + ", gradient " + x.grad().sum().item());
                }
            }
            """;

    @TempDir
    Path folder;

    @Test
    void compilesAndRunsOnTheModulePath() throws IOException, InterruptedException {
        Path sources = Files.createDirectories(folder.resolve("src/demo/app"));
        Path descriptor = Files.writeString(folder.resolve("src/module-info.java"), DESCRIPTOR);
        Path main = Files.writeString(sources.resolve("Main.java"), MAIN);
        Path classes = folder.resolve("classes");
        String modules = modulePath();

        int compiled = ToolProvider.getSystemJavaCompiler()
                .run(null, null, null, "-p", modules, "-d", classes.toString(), descriptor.toString(), main.toString());
        assertThat(compiled).isZero();

        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=dev.merapi.cpu,org.bytedeco.javacpp",
                        "-p",
                        classes + File.pathSeparator + modules,
                        "--add-modules=ALL-MODULE-PATH",
                        "-m",
                        "demo.app/demo.app.Main")
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertThat(process.waitFor()).as(output).isZero();
        assertThat(output)
                .contains("modules: module demo.app, module dev.merapi.core")
                .contains("result 6.0, gradient 4.0");
    }

    /** What such an application would depend on, out of this test's class path. */
    private static String modulePath() {
        List<String> wanted = List.of(
                "core/target/classes",
                "native-cpu/target/classes",
                "merapi-core",
                "merapi-native-cpu",
                "javacpp",
                "openblas",
                "slf4j-api",
                "jspecify");
        return Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(entry -> wanted.stream().anyMatch(entry.replace('\\', '/')::contains))
                .collect(Collectors.joining(File.pathSeparator));
    }
}
