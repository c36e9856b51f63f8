// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.kit;

import dev.merapi.backend.Backends;
import dev.merapi.reference.JavaBackend;
import dev.merapi.testkit.BackendContract;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import org.junit.jupiter.api.Tag;

/** The plain-Java kernels, on a device of their own so that no native backend stands in for them. */
@Tag("once")
class JavaBackendTest extends BackendContract {
    static {
        Backends.register(new JavaBackend(DeviceType.register("toy")));
    }

    @Override
    protected Device device() {
        return Device.of("toy");
    }
}
