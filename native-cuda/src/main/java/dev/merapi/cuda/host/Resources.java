// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.host;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/** Source texts that ship with this module. */
public final class Resources {
    private Resources() {}

    public static String text(String name) {
        try (InputStream in = Resources.class.getResourceAsStream("/dev/merapi/cuda/" + name)) {
            if (in == null) {
                throw new IllegalStateException("cuda: " + name + " is missing from this module's jar");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
