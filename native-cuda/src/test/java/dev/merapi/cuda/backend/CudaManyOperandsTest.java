// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.backend;

import dev.merapi.cuda.Simulator;
import dev.merapi.testkit.ManyOperandsContract;
import dev.merapi.types.Device;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;

/** Of few operands and places: each is a kernel to compile. */
@Tag("kernels")
@ExtendWith(Simulator.class)
class CudaManyOperandsTest extends ManyOperandsContract {
    @Override
    protected Device device() {
        return Simulator.DEVICE;
    }

    @Override
    protected int[] counts() {
        return new int[] {17, 65};
    }

    @Override
    protected int[] places(int n) {
        return new int[] {n == 17 ? 0 : n - 1};
    }
}
