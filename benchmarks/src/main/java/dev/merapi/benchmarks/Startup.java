// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.io.BufferedReader;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;

/**
 * How long until the first result? Starts processes that add, multiply and sum small tensors with a gradient, and prints
 * the milliseconds from the start of each until its result is there; no JMH, for nothing may be warm.
 */
public final class Startup {
    private Startup() {}

    /** What the processes do. */
    public static final class FirstResult {
        private FirstResult() {}

        public static void main(String[] args) {
            try (Scope scope = Scope.open()) {
                Tensor x = Tensor.of(1f, 2f, 3f).requiresGrad(true);
                Tensor loss = x.mul(x).add(x).sum();
                dev.merapi.autograd.Autograd.backward(loss);
                System.out.println(loss.item());
            }
        }
    }

    /** The milliseconds of {@code launches} starts one after the other. */
    static double[] measure(int launches) throws IOException, InterruptedException {
        double[] milliseconds = new double[launches];
        for (int i = 0; i < launches; i++) {
            ProcessBuilder builder = new ProcessBuilder(List.of(
                    ProcessHandle.current().info().command().orElse("java"),
                    "--enable-native-access=ALL-UNNAMED",
                    "-cp",
                    System.getProperty("java.class.path"),
                    FirstResult.class.getName()));
            builder.redirectError(ProcessBuilder.Redirect.INHERIT);
            long start = System.nanoTime();
            Process process = builder.start();
            try (BufferedReader output = process.inputReader()) {
                String line = output.readLine();
                milliseconds[i] = (System.nanoTime() - start) / 1e6;
                if (line == null || !Double.isFinite(Double.parseDouble(line))) {
                    throw new IOException("the process gave no result: " + line);
                }
            }
            process.waitFor();
        }
        return milliseconds;
    }

    public static void main(String[] args) throws IOException, InterruptedException {
        double[] all = measure(args.length > 0 ? Integer.parseInt(args[0]) : 9);
        System.out.println("start to first result, ms: " + Arrays.toString(all));
        Arrays.sort(all);
        System.out.printf("median %.0f ms%n", all[all.length / 2]);
    }
}
