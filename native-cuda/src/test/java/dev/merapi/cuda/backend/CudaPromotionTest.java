// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.PromotionContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** A line of the table: the programs are those of the other backends, and each is a kernel to compile. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaPromotionTest extends PromotionContract {
    @Override
    protected int every() {
        return Integer.getInteger("merapi.cuda.promotion.every", 619);
    }

    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }
}
