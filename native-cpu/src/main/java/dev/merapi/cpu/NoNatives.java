// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;

/** Why there are no native kernels: mostly since their jar is not there, and then the loader's own words mislead. */
final class NoNatives {
    private NoNatives() {}

    /**
     * The failure as it is to be told.
     *
     * @param failure what loading the library, or the first call of it, threw
     */
    static Throwable explained(Throwable failure) {
        if (NativeLibrary.find(Native.class, Native.LIBRARY) != null) {
            return failure;
        }
        String platform = NativeLibrary.platform();
        DeviceException e = new DeviceException(
                NativeLibrary.PLATFORMS.contains(platform)
                        ? Message.of("the natives for " + platform + " (merapi-native-cpu, classifier " + platform
                                        + ") are not on the class path or module path")
                                .fixByArtifact("merapi")
                        : Message.of("there are no natives for " + platform + ", only for "
                                + String.join(", ", NativeLibrary.PLATFORMS)));
        e.initCause(failure);
        return e;
    }
}
