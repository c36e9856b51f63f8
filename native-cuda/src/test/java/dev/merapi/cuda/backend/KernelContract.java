// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.testkit.BackendContract;
import dev.merapi.testkit.OpRows;
import dev.merapi.types.DeviceType;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The rows of the test kit on the CUDA backend's kernels. Of the pointwise ops only some, for they share one printer,
 * PointwiseTest runs each of them in each dtype, and every layout of every op would be a kernel to compile;
 * {@code -Dmerapi.cuda.contract=full} runs all, as a GPU does anyway.
 */
abstract class KernelContract extends BackendContract {
    static final Set<String> POINTWISE = Set.of(
            "merapi::add",
            "merapi::div",
            "merapi::where",
            "merapi::clamp",
            "merapi::gelu",
            "merapi::floor_divide",
            "merapi::cast",
            "merapi::copy_",
            "merapi::lerp");

    /** Whoever wants all of them has a GPU, or minutes: each shape rule, variant and gradient is compiled. */
    @Override
    protected double edgeShare() {
        return notYet().isEmpty() ? 1 : 0.04;
    }

    @Override
    protected Map<String, String> notYet() {
        // A GPU's compiler is quick, and its owner wants to know.
        String rows = System.getProperty("merapi.cuda.contract", device().type() == DeviceType.CUDA ? "full" : "some");
        if (rows.equals("full")) {
            return Map.of();
        }
        return OpRows.all().stream()
                .filter(row -> row.op().definition().code() instanceof PointwiseCode)
                .map(row -> row.op().name())
                .filter(name -> !POINTWISE.contains(name))
                .distinct()
                .collect(Collectors.toMap(name -> name, name -> "runs with -Dmerapi.cuda.contract=full"));
    }

    @Override
    protected int partsOfSmallIntegers() {
        return notYet().isEmpty() ? 1 : 8;
    }

    @Override
    protected List<PointwiseOp> inPlace() {
        return super.inPlace().stream()
                .filter(op -> !notYet().containsKey(op.op().name()))
                .toList();
    }
}
