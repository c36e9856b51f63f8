// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.testkit.BackendContract;
import dev.merapi.testkit.OpRows;
import dev.merapi.types.Device;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.extension.AfterAllCallback;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The contract on a driver that is late: results are right although nothing is done when a call returns, and mistakes in
 * the data are found all the same. One op of each kind that a training step is made of,
 * a part of them a day.
 */
@ExtendWith(FakeGpuContractTest.Forget.class)
class FakeGpuContractTest extends BackendContract {
    private static final Set<String> OPS = Set.of(
            "merapi::add",
            "merapi::sum",
            "merapi::matmul",
            "merapi::linear",
            "merapi::softmax",
            "merapi::layer_norm",
            "merapi::cross_entropy",
            "merapi::nll_loss",
            "merapi::embedding",
            "merapi::gather",
            "merapi::scatter",
            "merapi::index_select",
            "merapi::index_add_",
            "merapi::one_hot",
            "merapi::self_attention",
            "merapi::self_attention_backward",
            "merapi::conv2d",
            "merapi::max_pool2d");

    private static Device fake = Device.CPU;

    @BeforeAll
    static void driver() {
        Simulator.require();
        fake = FakeGpu.device("cuda-contract", "");
    }

    /** After what the contract checks at its end. */
    static final class Forget implements AfterAllCallback {
        @Override
        public void afterAll(ExtensionContext context) {
            FakeGpu.forget();
        }
    }

    @Override
    protected double edgeShare() {
        return 0.2;
    }

    @Override
    protected List<PointwiseOp> inPlace() {
        return super.inPlace().stream()
                .filter(op -> KernelContract.POINTWISE.contains(op.op().name()))
                .toList();
    }

    @Override
    protected int parts() {
        return 3;
    }

    @Override
    protected Device device() {
        return fake;
    }

    @Override
    protected Map<String, String> notYet() {
        return OpRows.all().stream()
                .map(row -> row.op().name())
                .filter(name -> !OPS.contains(name))
                .distinct()
                .collect(Collectors.toMap(name -> name, name -> "one op of each kind; the simulator runs all"));
    }
}
