// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.error.Message;
import dev.merapi.error.MissingKernelException;
import dev.merapi.op.Definition;

/** The process-wide switch behind {@code Merapi.deterministic}. */
public final class Determinism {
    private static volatile boolean on = Boolean.getBoolean("merapi.deterministic");

    private Determinism() {}

    public static boolean isOn() {
        return on;
    }

    public static void set(boolean deterministic) {
        on = deterministic;
    }

    static void refuse(Definition<?, ?> op) {
        if (on) {
            throw new MissingKernelException(
                    Message.of(op.name() + ": is not deterministic, and Merapi.deterministic is on")
                            .fix("switch it off, or use another op."));
        }
    }
}
