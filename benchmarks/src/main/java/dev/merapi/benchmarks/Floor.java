// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * One thing that must not become slower.
 *
 * @param question what is measured
 * @param ours the benchmark, {@code Class.method}; empty for the start of a process
 * @param parameters its JMH parameters
 * @param peer the same in another engine, or a baseline; null if there is none
 * @param peerThreads the thread settings of the peer that are tried, the best of which counts; empty if it takes none
 * @param limit the most that ours may be, in the benchmark's unit
 * @param ratio the most that ours may be, as a share of the peer's
 * @param bytes the most garbage per call
 */
record Floor(
        String question,
        String ours,
        Map<String, String> parameters,
        @Nullable String peer,
        List<String> peerThreads,
        @Nullable Double limit,
        @Nullable Double ratio,
        @Nullable Double bytes) {

    private static final Map<String, String> SMALL = Map.of("size", "8");
    private static final Map<String, String> LARGE = Map.of("size", "1048576");
    private static final List<String> ONE_OR_TWO = List.of("1", "2");

    /** All floors, in the order of the report. */
    static List<Floor> all() {
        List<Floor> all = new ArrayList<>();
        all.add(absolute("add, 8 floats, in a scope", "DispatchOverheadBenchmark.addInScope", 300)
                .with("TorchDispatchOverheadBenchmark.addInScope")
                .atMostBytes(200));
        all.add(absolute("add, 8 floats, no scope", "DispatchOverheadBenchmark.addUnscoped", 500));
        all.add(absolute("a user's op with one Java kernel, 8 floats", "DispatchOverheadBenchmark.userOpInScope", 500));
        all.add(absolute("mul, sum, backward, 8 floats", "AutogradOverheadBenchmark.mulSumBackward", 3000)
                .with("TorchAutogradOverheadBenchmark.mulSumBackward"));
        all.add(against("add, 2^20 floats", "ElementwiseBenchmark.add", "TorchElementwiseBenchmark.add", 1));
        all.add(against(
                "mul, add, relu as one op against three, 2^20 floats",
                "ElementwiseBenchmark.mulAddReluFused",
                "TorchElementwiseBenchmark.mulAddReluSeparate",
                0.5));
        for (String shape : List.of("256x256x256", "512x512x512", "1024x1024x1024", "1024x384x128", "1024x512x128")) {
            all.add(new Floor(
                    "matmul " + shape + " against cblas_sgemm",
                    "MatmulBenchmark.matmul",
                    Map.of("shape", shape),
                    "MatmulBenchmark.cblas",
                    List.of(),
                    null,
                    1.05,
                    null));
        }
        all.add(new Floor(
                "GPT training step",
                "GptStepBenchmark.step",
                Map.of(),
                "TorchGptStepBenchmark.step",
                ONE_OR_TWO,
                null,
                1.0,
                null));
        all.add(new Floor("start of the JVM to first result", "", Map.of(), null, List.of(), 600.0, null, null));
        return all;
    }

    private static Floor absolute(String question, String ours, double limit) {
        return new Floor(question, ours, SMALL, null, List.of(), limit, null, null);
    }

    private static Floor against(String question, String ours, String peer, double ratio) {
        return new Floor(question, ours, LARGE, peer, ONE_OR_TWO, null, ratio, null);
    }

    private Floor with(String other) {
        return new Floor(question, ours, parameters, other, peerThreads, limit, ratio, bytes);
    }

    private Floor atMostBytes(double most) {
        return new Floor(question, ours, parameters, peer, peerThreads, limit, ratio, most);
    }
}
