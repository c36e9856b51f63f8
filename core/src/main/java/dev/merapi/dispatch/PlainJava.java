// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.error.DeviceException;
import dev.merapi.error.Message;
import org.jspecify.annotations.Nullable;
import org.slf4j.LoggerFactory;

/**
 * Says that the CPU is served by plain Java, on stderr, since a program without a logger would otherwise be slow and not
 * say why. Three properties have a say: with {@code merapi.cpu.java} plain Java is what was asked for, {@code merapi.quiet}
 * silences the line, and with {@code merapi.require.native} it is an error.
 */
final class PlainJava {
    private PlainJava() {}

    /**
     * Called when the choice has fallen, which is once.
     *
     * @param why the native backend cannot be used; null if there is none
     */
    static void announce(@Nullable Throwable why) {
        Throwable cause = why != null
                ? why
                : new DeviceException(Message.of("merapi-native-cpu is not on the class path or module path")
                        .fixByArtifact("merapi"));
        if (Boolean.getBoolean("merapi.require.native")) {
            DeviceException e = new DeviceException(
                    Message.of("cpu: there are no native kernels, and" + " -Dmerapi.require.native asks for them")
                            .fact("cause", String.valueOf(cause.getMessage()).strip()));
            e.initCause(cause);
            throw e;
        }
        LoggerFactory.getLogger("dev.merapi").debug("cpu: plain Java kernels", cause);
        if (!Boolean.getBoolean("merapi.cpu.java") && !Boolean.getBoolean("merapi.quiet")) {
            System.err.println(line(cause));
        }
    }

    static String line(Throwable cause) {
        String text = cause.getMessage() == null ? cause.toString() : cause.getMessage();
        return "merapi: plain Java kernels, which are many times slower than native ones: "
                + text.strip().replaceAll("\\s*\\R\\s*", "; ");
    }
}
