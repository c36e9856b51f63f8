// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.op.Definition;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** Which ops run plain Java on the native CPU: the list is short, and every entry has a reason. */
class NativeCoverageTest {
    private static final Map<String, String> PLAIN_JAVA = Map.of(
            "merapi::cat", "copies into parts of the result, by copy_, which is native",
            "merapi::pad", "as cat",
            "merapi::unfold_windows", "as cat",
            "merapi::fold_windows", "adds parts of the result, by add_, which is native",
            "merapi::linear_cross_entropy", "chunks of products and cross entropies, which are native",
            "merapi::move", "copies memory in one piece",
            "merapi::randperm", "every swap depends on those before it",
            "merapi::update_scale_", "three numbers a step");

    @Test
    void everyOpHasANativeKernelOrAReason() {
        CpuBackend backend = new CpuBackend();
        Map<String, TreeSet<DType>> missing = new TreeMap<>();
        for (OpSamples<?, ?> row : OpRows.all()) {
            for (DType dtype : row.dtypes()) {
                look(backend, row.op().definition(), dtype, missing);
            }
        }
        for (Op<?, ?> op : OpRegistry.all()) {
            if (op.name().startsWith("merapi::")) {
                look(backend, op.definition(), DType.FLOAT32, missing);
            }
        }
        missing.forEach((name, dtypes) -> System.out.println("plain Java on the CPU: " + name + " " + dtypes + ": "
                + PLAIN_JAVA.getOrDefault(name, "no reason given")));
        assertThat(missing.keySet()).isEqualTo(new TreeSet<>(PLAIN_JAVA.keySet()));
    }

    private static void look(
            CpuBackend backend, Definition<?, ?> op, DType dtype, Map<String, TreeSet<DType>> missing) {
        boolean needsOne =
                BackendChoice.javaKernel(op, dtype) != null && !op.isView(); // the others are made of other ops
        if (needsOne && op.kernel(DeviceType.CPU, dtype) == null && backend.kernel(op, dtype) == null) {
            missing.computeIfAbsent(op.name(), name -> new TreeSet<>()).add(dtype);
        }
    }
}
