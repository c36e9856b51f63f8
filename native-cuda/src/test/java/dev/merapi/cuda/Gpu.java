// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;

/**
 * The GPU of the tests that this extends. Where there is none they are skipped, with the reason; with {@code -Drequire.gpu}, which
 * {@code scripts/test gpu} sets, they fail.
 */
public final class Gpu implements BeforeAllCallback {
    public static final Device DEVICE = Device.of(DeviceType.CUDA, 0);

    /** Before the class's own preparations, which need the device already. */
    @Override
    public void beforeAll(ExtensionContext context) {
        require();
    }

    static void require() {
        String why = Cuda.unavailableBecause();
        String wanted = System.getProperty("require.gpu", "false");
        if (why != null && !wanted.equals("false")) {
            fail("-Drequire.gpu: a GPU is required, and there is none to be used: " + why);
        }
        assumeTrue(why == null, "no GPU: " + why);
    }
}
