// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import org.jspecify.annotations.Nullable;

/** All frames of one kind and name that were in the same layer of the model, forward or backward. Times in nanoseconds. */
final class Total {
    final Kind kind;
    final String name;
    final boolean backward;
    final @Nullable String place;
    long calls;
    /** Without what was called from it. */
    long own;
    /** With that. */
    long all;
    /** Of its own time, where kernels are a part of their op's line. */
    long inKernel;

    long bytes;

    Total(Kind kind, String name, boolean backward, @Nullable String place) {
        this.kind = kind;
        this.name = name;
        this.backward = backward;
        this.place = place;
    }

    void add(Total other) {
        calls += other.calls;
        own += other.own;
        all += other.all;
        bytes += other.bytes;
    }
}
