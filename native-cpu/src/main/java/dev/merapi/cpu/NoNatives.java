// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import org.bytedeco.javacpp.Loader;

/** Why there are no native kernels: mostly since their jar is not there, and then the loader's own words mislead. */
final class NoNatives {
    private NoNatives() {}

    /**
     * The failure as it is to be told.
     *
     * @param failure what loading the library, or the first call of it, threw
     */
    static Throwable explained(Throwable failure) {
        String platform;
        try {
            platform = Loader.getPlatform();
            String library = platform + "/" + System.mapLibraryName(Native.LIBRARY);
            if (Loader.findResource(Native.class, library) != null) {
                return failure;
            }
        } catch (LinkageError | java.io.IOException | RuntimeException e) {
            return failure; // JavaCPP itself is not there, or does not know this system
        }
        DeviceException e = new DeviceException(Message.of("the natives for " + platform
                        + " (merapi-native-cpu, classifier " + platform + ") are not on the class path or module path")
                .fixByArtifact("merapi"));
        e.initCause(failure);
        return e;
    }
}
