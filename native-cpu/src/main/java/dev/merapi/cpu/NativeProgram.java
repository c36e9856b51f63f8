// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.storage.Backstop;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * A program that native code has parsed. It lives as long as this object: who runs it says {@link #used} afterwards, so
 * that no collection takes it away under a running kernel.
 */
final class NativeProgram {
    /** In place of a handle, or of success: more than the native interpreter has room for. See {@code merapi_cpu.h}. */
    static final int BEYOND_LIMITS = -6;

    private static final int MESSAGE_BYTES = 512;

    /** What it was made of, by identity. */
    final Object source;

    /** For native calls; meaningless {@link #isBeyondLimits beyond the limits}. */
    final long handle;

    /** @param reduction whether the text is that of a reduction */
    NativeProgram(Object source, String text, boolean reduction) {
        this.source = source;
        this.handle = parse(text, reduction);
        if (!isBeyondLimits()) {
            long made = handle;
            Backstop.whenUnreachable(
                    this, reduction ? () -> Native.reduce_destroy(made) : () -> Native.program_destroy(made));
        }
    }

    /** Whether native code has no room for it, which it says when it has read the program. */
    boolean isBeyondLimits() {
        return handle == BEYOND_LIMITS;
    }

    /** After a native call that was given the handle. */
    void used() {
        Reference.reachabilityFence(this);
    }

    private static long parse(String text, boolean reduction) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long size = bytes.length + MESSAGE_BYTES;
        long address = Native.memory_allocate(size);
        try {
            ByteBuffer buffer = NativeMemory.bufferAt(address, size);
            buffer.put(0, bytes);
            long error = address + bytes.length;
            long handle = reduction
                    ? Native.reduce_create(address, bytes.length, error, MESSAGE_BYTES)
                    : Native.program_create(address, bytes.length, error, MESSAGE_BYTES);
            if (handle == 0) {
                StringBuilder message = new StringBuilder();
                for (int i = bytes.length; i < size && buffer.get(i) != 0; i++) {
                    message.append((char) buffer.get(i));
                }
                throw new IllegalStateException(
                        "native program refused: " + message + "\nplease report this; the text:\n" + text);
            }
            return handle;
        } finally {
            Native.memory_free(address, size);
        }
    }
}
