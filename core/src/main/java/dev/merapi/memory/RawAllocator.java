// SPDX-License-Identifier: Apache-2.0
package dev.merapi.memory;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Where a device's memory comes from; slow, called for whole segments only. */
public interface RawAllocator {
    /**
     * A segment of exactly that size, aligned to 64 bytes at least; null if there is none to be had.
     *
     * @param byteSize at least 1
     * @return a segment; what is in it is undefined
     */
    @Nullable
    Segment allocate(long byteSize);

    /**
     * Gives a segment back.
     *
     * @param segment one that {@link #allocate} gave, once
     */
    void free(Segment segment);

    /**
     * A buffer of its own over a part of a segment that Java sees, in native byte order. Views of it shall keep it
     * reachable.
     *
     * @param segment one of this allocator's
     * @param offset of the first byte in the segment
     * @param size in bytes
     * @return a direct buffer, or one on the heap
     */
    default ByteBuffer view(Segment segment, int offset, int size) {
        return Objects.requireNonNull(segment.buffer()).slice(offset, size).order(ByteOrder.nativeOrder());
    }

    /**
     * For guard mode: a segment of its own for one tensor, at whose end and before whose beginning the process is stopped
     * that goes on; null if there are no such segments.
     *
     * @param byteSize at least 1
     * @return a segment
     */
    default @Nullable Segment allocateGuarded(long byteSize) {
        return null;
    }

    /**
     * Gives back what {@link #allocateGuarded} gave; whoever reads or writes it afterwards is stopped too.
     *
     * @param segment one that {@link #allocateGuarded} gave
     */
    default void freeGuarded(Segment segment) {}

    /**
     * What remains of a buffer as a segment, while the buffer is reachable; null if this device cannot use it.
     *
     * @param buffer whose position is where the segment begins
     * @return a segment that is not freed here
     */
    default @Nullable Segment wrap(ByteBuffer buffer) {
        return null;
    }

    /**
     * Memory at an address as a segment; null if this device cannot use it.
     *
     * @param address of the first byte
     * @param bytes how many there are
     * @return a segment that is not freed here
     */
    default @Nullable Segment wrap(long address, long bytes) {
        return null;
    }

    /**
     * A part of a file in memory, privately: who writes there does not write to the file.
     *
     * @param file to be mapped
     * @param offset of the first byte in the file, any number
     * @param bytes how many
     * @return null if this device or the system cannot do that with this file
     * @throws IOException if the file cannot be opened, or is shorter
     */
    default @Nullable Mapping map(Path file, long offset, long bytes) throws IOException {
        return null;
    }

    /**
     * How much is asked for at once to serve small requests.
     *
     * @return bytes
     */
    default long segmentSize() {
        return 32L << 20;
    }

    /**
     * Lets work given to one stream from now on wait for what another was given so far; for devices that have streams.
     *
     * @param before handle of the stream that is waited for; 0 for the device's own
     * @param after handle of the stream that waits
     */
    default void order(long before, long after) {}

    /**
     * The cap that holds unless the user sets another, in bytes.
     *
     * @return bytes, greater than 0
     */
    long defaultCap();

    /**
     * Whether segments have a buffer, so that Java kernels can work on them.
     *
     * @return whether {@link Segment#buffer} is there
     */
    default boolean isJavaVisible() {
        return true;
    }
}
