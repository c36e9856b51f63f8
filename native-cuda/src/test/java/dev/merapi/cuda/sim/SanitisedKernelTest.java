// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.cuda.Simulator;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code -Dmerapi.sanitise} rests on: the simulator's kernels end the process at what C++ leaves undefined. */
class SanitisedKernelTest {
    record Doubled(Tensor x) {}

    /** Prints twice 5, and then twice a number that is too large for it. */
    public static void main(String[] args) {
        Op<Doubled, Tensor> op = Op.define(MethodHandles.lookup(), "demo::doubled", Doubled.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CUDA, CudaKernel.body("out[i] = x[i] + x[i];"))
                .nonDifferentiable();
        for (long value : new long[] {5, 2_000_000_000}) {
            Tensor x = Tensor.of(new double[] {value}).to(DType.INT32);
            System.out.println(Arrays.toString(
                    op.call(new Doubled(x.to(Device.of("cuda-sim")))).toLongArray()));
        }
        System.out.println("went on");
    }

    @Test
    void undefinedBehaviourEndsTheProcess(@TempDir Path folder) throws IOException, InterruptedException {
        Simulator.require();
        String plain = run(folder, 0, "false");
        assertTrue(plain.contains("[10]") && plain.contains("went on"), plain);
        String said = run(folder, 1, "true");
        assumeTrue(!said.contains("-lubsan"), "skipped: the host's compiler has no library for it: " + said);
        assertTrue(said.contains("[10]"), said);
        assertTrue(said.contains("signed integer overflow: 2000000000 + 2000000000"), said);
        assertTrue(!said.contains("went on"), said);
    }

    private static String run(Path folder, int status, String sanitised) throws IOException, InterruptedException {
        Path output = folder.resolve("output");
        Process p = new ProcessBuilder(List.of(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx256m",
                        "-cp",
                        System.getProperty("java.class.path"),
                        "-Dmerapi.cpu.java=true",
                        "-Dmerapi.cuda.cache=" + folder.resolve("kernels"),
                        "-Dmerapi.cuda.sim.sanitise=" + sanitised,
                        SanitisedKernelTest.class.getName()))
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        int ended = p.waitFor();
        String said = Files.readString(output);
        if (status == 0) {
            assertEquals(0, ended, said);
        } else {
            assertNotEquals(0, ended, said);
        }
        return said;
    }
}
