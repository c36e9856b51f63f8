// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

/** The process-wide switch behind {@code Merapi.allowTf32}. */
public final class Precision {
    private static volatile boolean tf32 = Boolean.getBoolean("merapi.tf32");

    private Precision() {}

    public static boolean isTf32Allowed() {
        return tf32;
    }

    public static void allowTf32(boolean allowed) {
        tf32 = allowed;
    }
}
