// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.DeviceException;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Who is slow for want of natives is told so, once, without a logger; who wants it so is not. */
class PlainJavaTest {
    private final String quiet = System.getProperty("merapi.quiet", "false");

    @AfterEach
    void restore() {
        System.setProperty("merapi.quiet", quiet);
        System.clearProperty("merapi.cpu.java");
        System.clearProperty("merapi.require.native");
    }

    private static String told(Throwable why) {
        PrintStream before = System.err;
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        System.setErr(new PrintStream(bytes, true, StandardCharsets.UTF_8));
        try {
            PlainJava.announce(why);
        } finally {
            System.setErr(before);
        }
        return bytes.toString(StandardCharsets.UTF_8);
    }

    @Test
    void isOneLineWithTheCause() {
        System.setProperty("merapi.quiet", "false");
        assertThat(told(new UnsatisfiedLinkError("libx.so:\n  version `GLIBC_2.99' not found\n"))
                        .lines())
                .containsExactly(
                        "merapi: plain Java kernels, which are many times slower than native ones: libx.so:; version"
                                + " `GLIBC_2.99' not found");
        assertThat(told(null).lines())
                .singleElement()
                .asString()
                .contains("merapi-native-cpu is not on the class path", "<artifactId>merapi</artifactId>");
        assertThat(told(new IllegalStateException())).contains("java.lang.IllegalStateException");
    }

    @Test
    void isNotToldWhoKnows() {
        System.setProperty("merapi.quiet", "true");
        assertThat(told(null)).isEmpty();
        System.setProperty("merapi.quiet", "false");
        System.setProperty("merapi.cpu.java", "true");
        assertThat(told(null)).isEmpty();
    }

    @Test
    void canBeAnError() {
        System.setProperty("merapi.require.native", "true");
        LinkageError cause = new UnsatisfiedLinkError("GLIBC_2.99");
        assertThatThrownBy(() -> PlainJava.announce(cause))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("merapi.require.native")
                .hasMessageContaining("GLIBC_2.99")
                .hasCause(cause);
    }
}
