// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.merapi.backend.Backends;
import dev.merapi.reference.JavaBackend;
import dev.merapi.testkit.BackendContract;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import org.junit.jupiter.api.BeforeAll;

/** Every row of the test kit on native kernels: against float64 references, and against plain Java on a toy device. */
class CpuBackendContractTest extends BackendContract {
    @BeforeAll
    static void nativeAndPlainJava() {
        assertInstanceOf(CpuBackend.class, Backends.of(DeviceType.CPU));
        Backends.register(new JavaBackend(DeviceType.register("toy")));
    }

    @Override
    protected Device device() {
        return Device.CPU;
    }
}
