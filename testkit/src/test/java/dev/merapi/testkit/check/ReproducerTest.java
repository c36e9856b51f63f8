// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.check.CheckFailedException;
import dev.merapi.check.OpCheck;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.File;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.spi.ToolProvider;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a failing check prints is a program that compiles, runs, and fails in the same way. */
class ReproducerTest {
    enum Mode {
        HARD,
        SOFT
    }

    record Inner(double[] weights, Mode mode) {}

    /** One argument of every kind. */
    record Args(
            Tensor x,
            List<Tensor> more,
            @Nullable Tensor none,
            long n,
            int k,
            double slope,
            boolean flag,
            String text,
            DType dtype,
            Device device,
            Mode mode,
            Inner inner,
            List<Long> sizes,
            long[] shape,
            Optional<Double> perhaps,
            Number scalar) {}

    record X(Tensor x) {}

    /** In a field; private, and not registered. */
    private static final Op<Args, Tensor> IN_A_FIELD = Op.define(
                    MethodHandles.lookup(), "reproduce::field", Args.class, Tensor.class)
            .compose(a -> a.x().mul(a.slope()))
            .shape(a -> Tensor.meta(a.x()))
            .autograd(
                    (a, out) -> null,
                    (c, s, g) -> Grads.of("x", g.mul(3))
                            .andList("more", List.of(g.mul(0)))
                            .and("none", null)
                            .and("inner", null));

    static {
        // In no field, but registered when its class is initialised.
        Op.define(MethodHandles.lookup(), "reproduce::registered", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> Elements.of(a.x()).setDouble(0, 7))
                .nonDifferentiable()
                .register();
    }

    @TempDir
    Path folder;

    @Test
    void anOpInAFieldWithArgumentsOfEveryKind() throws Exception {
        Tensor x = Tensor.of(new double[] {1, -2, 1e-300, 4}, 2, 2).requiresGrad(true);
        Args args = new Args(
                x,
                List.of(Tensor.of(new float[] {1, 2.5f, 3, 4}, 2, 2)),
                null,
                3,
                4,
                0.1,
                true,
                "a \"b\"\n\\",
                DType.BFLOAT16,
                Device.CPU,
                Mode.SOFT,
                new Inner(new double[] {1, Double.NaN, Double.NEGATIVE_INFINITY}, Mode.HARD),
                List.of(1L, 2L),
                new long[] {5, 6},
                Optional.of(2.5),
                7);
        OpCheck.Report report = OpCheck.of(IN_A_FIELD).samples(args).seed(5).run();
        assertThat(report.reproducer())
                .contains("getDeclaredField(\"IN_A_FIELD\")")
                .contains("seed(5L)");
        failsAlike(report, "gradients disagree with finite differences");
    }

    @Test
    @SuppressWarnings("unchecked")
    void aRegisteredOp() throws Exception {
        Op<X, Tensor> op = (Op<X, Tensor>) dev.merapi.op.OpRegistry.get("reproduce::registered");
        OpCheck.Report report = OpCheck.of(op)
                .samples(new X(Tensor.of(1L, 2L)), new X(Tensor.of(true, false)))
                .run();
        failsAlike(report, "which is not declared as mutated");
    }

    /** Nobody else can find it; the program says what is missing. */
    @Test
    void anOpThatNobodyHolds() {
        Op<X, Tensor> op = Op.define(MethodHandles.lookup(), "reproduce::local", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {})
                .nonDifferentiable();
        assertThat(OpCheck.of(op).samples(new X(Tensor.ones(3))).run().toString())
                .contains("The op is made at ReproducerTest.java:")
                .contains("put it here");
    }

    private void failsAlike(OpCheck.Report report, String text) throws Exception {
        assertThat(report.toString()).contains(report.reproducer());
        Path file = Files.writeString(folder.resolve("Reproduce.java"), report.reproducer());
        StringWriter problems = new StringWriter();
        String classes =
                System.getProperty("java.class.path") + File.pathSeparator + System.getProperty("jdk.module.path", "");
        int status = ToolProvider.findFirst("javac")
                .orElseThrow()
                .run(
                        new PrintWriter(problems),
                        new PrintWriter(problems),
                        "-proc:none",
                        "-d",
                        folder.toString(),
                        "-cp",
                        classes,
                        file.toString());
        assertThat(status).as("%s\n%s", problems, report.reproducer()).isZero();
        try (URLClassLoader loader =
                new URLClassLoader(new URL[] {folder.toUri().toURL()}, ReproducerTest.class.getClassLoader())) {
            var main = loader.loadClass("Reproduce").getMethod("main", String[].class);
            assertThatThrownBy(() -> main.invoke(null, (Object) new String[0]))
                    .isInstanceOf(InvocationTargetException.class)
                    .cause()
                    .isInstanceOf(CheckFailedException.class)
                    .hasMessageContaining(text);
        }
    }
}
