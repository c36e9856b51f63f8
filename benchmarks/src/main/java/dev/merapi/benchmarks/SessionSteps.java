// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * What is done in the first minutes on a GPU, the most important first. Each step is one call of {@code run.sh}.
 *
 * @param seconds after which the step is stopped
 * @param command arguments of {@code run.sh}; {@code OUT} stands for the folder of results
 */
record SessionSteps(String name, int seconds, List<String> command) {
    private static final String FIRST = "^(gpt2|matmul|attention|adamw|host|epilogue)_";
    /** What compiles for a minute before its first answer is for another day. */
    private static final String QUICK = "^(?!.*_compiled)";

    private static SessionSteps of(String name, int seconds, String... command) {
        return new SessionSteps(name, seconds, List.of(command));
    }

    private static SessionSteps bench(String name, int seconds, boolean tiny, String only) {
        List<String> command = new ArrayList<>(
                List.of("bench", "--device", "cuda", "--peer", "none", "--only", only, "--into", "OUT/device.jsonl"));
        if (tiny) {
            command.add("--tiny");
        }
        return new SessionSteps(name, seconds, command);
    }

    private static SessionSteps tests(String name, int seconds, String kind, List<String> classes) {
        List<String> command = new ArrayList<>(List.of("test", kind));
        command.addAll(classes);
        return new SessionSteps(name, seconds, command);
    }

    /**
     * All steps.
     *
     * @param tiny each in a form that takes seconds, to see that all of it runs
     */
    static List<SessionSteps> all(boolean tiny) {
        return List.of(
                of("libraries", 60, "info"),
                tests("device", 60, "gpu", List.of(tiny ? "CudaDeviceTest#trainsAsTheCpuDoes" : "CudaDeviceTest")),
                bench("gpt2", 80, tiny, "^gpt2_"),
                tests("sizes", 80, "gpu", List.of("GpuSizesTest")),
                bench("products", 60, tiny, "^(matmul|attention|adamw|host)_"),
                tests(
                        "contract",
                        90,
                        "gpu",
                        List.of(tiny ? "CudaContractTest#misusesAreRefusedAsInPlainJava" : "CudaContractTest")),
                torch(tiny),
                tests(
                        "kernels",
                        75,
                        "kernels",
                        tiny
                                ? List.of("ScanTest#whatIsNotZero")
                                : List.of(
                                        "GemmTest",
                                        "FlashTest",
                                        "ScanTest",
                                        "RowsTest",
                                        "MixedPrecisionTest",
                                        "CudaGraphTest",
                                        "StreamTest",
                                        "CustomKernelTest")),
                bench("epilogues", 30, tiny, "^epilogue_"),
                of("racecheck", 45, "sanitize", "racecheck", "FlashTest", "ScanTest"),
                of("memcheck", 45, "sanitize", "memcheck", "FlashTest", "ScanTest"),
                bench(
                        "bandwidths",
                        60,
                        tiny,
                        tiny ? "^(add|layer_norm_bf16|cnn_step)$" : "^(?!" + FIRST.substring(1) + ")"),
                train(tiny));
    }

    private static SessionSteps torch(boolean tiny) {
        List<String> command = new ArrayList<>(List.of("torch", "--only", QUICK, "--out", "OUT/PYTORCH"));
        if (tiny) {
            command.add("--tiny");
        }
        return new SessionSteps("torch", 75, command);
    }

    private static SessionSteps train(boolean tiny) {
        List<String> command = new ArrayList<>(List.of(
                "train", "gpt", "--device", "cuda", "--precision", "bf16", "--graph", "--steps", tiny ? "4" : "200"));
        if (tiny) {
            Collections.addAll(
                    command,
                    "--layers",
                    "1",
                    "--width",
                    "32",
                    "--context",
                    "256",
                    "--batch",
                    "2",
                    "--tokens",
                    "4",
                    "--warmup",
                    "2");
        }
        return new SessionSteps("train", 45, command);
    }

    /** The arguments, with the folder of results and the name of PyTorch's file in it. */
    List<String> command(Path out, String pytorch) {
        return command.stream()
                .map(a -> a.startsWith("OUT/")
                        ? out.resolve(a.substring(4).replace("PYTORCH", pytorch))
                                .toString()
                        : a)
                .toList();
    }
}
