// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.error.ClosedTensorException;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * The bytes behind a tensor and all its views: counted (open handles and saved slots), with a version that every write
 * raises. When the count reaches 0 the memory goes back at once, as soon as no call uses it.
 */
public final class Storage {
    private static final VarHandle COUNT;
    private static final VarHandle VERSION;

    static {
        try {
            MethodHandles.Lookup lookup = MethodHandles.lookup();
            COUNT = lookup.findVarHandle(Storage.class, "count", int.class);
            VERSION = lookup.findVarHandle(Storage.class, "version", int.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Block block;
    private final long offset;
    private final long byteSize;
    /** The chunk that this is a tenant of, the storage that this is a slice of, or null. */
    private final @Nullable Object landlord;

    private Backstop.@Nullable Ref ref;
    private volatile int count = 1;

    @SuppressWarnings("unused") // through VERSION
    private volatile int version;

    private @Nullable String lastMutator;
    private @Nullable Throwable mutatedAt;

    private Storage(Block block, long offset, long byteSize, @Nullable Object landlord) {
        this.block = block;
        this.offset = offset;
        this.byteSize = byteSize;
        this.landlord = landlord;
    }

    /** Memory that a scope will release; {@link #escape} puts it under the backstop if it outlives the scope. */
    public static Storage scoped(CachingAllocator allocator, long bytes, ThreadState state, Shape shape, DType dtype) {
        return new Storage(allocator.allocate(bytes, state, shape, dtype), 0, bytes, null);
    }

    /** Memory that goes back when it is closed or becomes unreachable. */
    public static Storage unscoped(
            CachingAllocator allocator, long bytes, ThreadState state, Shape shape, DType dtype) {
        Backstop.grow(bytes, allocator.cap());
        if (bytes <= Chunk.LARGEST_TENANT) {
            Chunk chunk = state.chunk;
            long at = chunk == null || chunk.block.owner != allocator ? -1 : chunk.carve(bytes);
            if (chunk == null || at < 0) {
                if (chunk != null) {
                    state.chunk = null;
                    chunk.release(state);
                }
                chunk = new Chunk(allocator.allocate(Chunk.SIZE, state, "small tensors", null));
                state.chunk = chunk;
                at = chunk.carve(bytes);
            }
            return new Storage(chunk.block, at, bytes, chunk);
        }
        Storage storage = scoped(allocator, bytes, state, shape, dtype);
        storage.escape();
        return storage;
    }

    /**
     * A part of this storage with a version counter of its own, so that tensors may share memory without being views of
     * each other (parameters in one flat buffer). It keeps the whole alive.
     */
    public Storage slice(long byteOffset, long bytes) {
        if (byteOffset < 0 || bytes < 0 || byteOffset + bytes > byteSize) {
            throw new IllegalArgumentException(
                    "slice of storage: bytes " + byteOffset + " to " + (byteOffset + bytes) + " of " + byteSize);
        }
        retain();
        return new Storage(block, offset + byteOffset, bytes, this);
    }

    /** From now on the garbage collector frees this memory, should nobody close it. Idempotent. */
    public void escape() {
        if (landlord == null && ref == null) {
            synchronized (this) {
                if (ref == null) {
                    ref = Backstop.watch(this, block);
                }
            }
        } else if (landlord instanceof Storage s) {
            s.escape();
        }
    }

    /**
     * One more owner.
     *
     * @throws ClosedTensorException if the last one is gone
     */
    public void retain() {
        int before = (int) COUNT.getAndAdd(this, 1);
        if (before <= 0) {
            COUNT.getAndAdd(this, -1);
            throw new ClosedTensorException("this tensor's memory was freed: its last handle was closed");
        }
    }

    /** One owner less; the last one frees the memory. */
    public void release(ThreadState state) {
        Block freed = releaseLater(state);
        if (freed != null) {
            Protection.retire(state, freed);
        }
    }

    /** As {@link #release}, but returns the block to be retired, so that a scope can retire many at once. */
    public @Nullable Block releaseLater(ThreadState state) {
        if ((int) COUNT.getAndAdd(this, -1) != 1) {
            return null;
        }
        if (landlord instanceof Chunk chunk) {
            chunk.release(state);
            return null;
        }
        if (landlord instanceof Storage s) {
            return s.releaseLater(state);
        }
        return ref == null || Backstop.unwatch(ref) ? block : null;
    }

    /** Retires what {@link #releaseLater} returned. */
    public static void retire(ThreadState state, Block[] blocks, int count) {
        Protection.retire(state, blocks, count);
    }

    /** True while there is an owner. */
    public boolean isOpen() {
        return count > 0;
    }

    /** True if there is exactly one owner: whoever that is may write in place. */
    public boolean isExclusive() {
        return count == 1 && (!(landlord instanceof Storage));
    }

    public int count() {
        return count;
    }

    /** How often this memory was written by an op since it was made. */
    public int version() {
        return version;
    }

    /** Records a write by {@code op}. */
    public void bumpVersion(String op) {
        bumpVersion(op, false);
    }

    /** As above; remembers in any case, or as {@link LeakDetection} says, where it was called from. */
    public void bumpVersion(String op, boolean remember) {
        lastMutator = op;
        mutatedAt = remember ? new Throwable("origin") : LeakDetection.origin();
        VERSION.getAndAdd(this, 1);
    }

    /** The write that was recorded last was a part of this op. */
    public void nameMutator(String op) {
        lastMutator = op;
    }

    /** The op that wrote last, if any did. */
    public @Nullable String lastMutator() {
        return lastMutator;
    }

    /**
     * Where that write was called from; null unless that was recorded: in checked mode, in anomaly mode,
     * or by {@link LeakDetection}.
     */
    public @Nullable String lastMutatedAt() {
        Throwable at = mutatedAt;
        return at == null ? null : LeakDetection.describe(at);
    }

    public Device device() {
        return block.owner.device();
    }

    public long byteSize() {
        return byteSize;
    }

    /** Work of a stream uses this memory: when it is freed, it is not handed out anew before that work is done. */
    public void recordStream(StreamOrder stream) {
        block.usedBy(stream);
    }

    /** Whether this memory was taken from that allocator itself, not from a pool of it. */
    public boolean isFrom(CachingAllocator allocator) {
        return block.owner == allocator;
    }

    /** The memory as Java sees it, or null; this storage begins at {@link #bufferOffset}. */
    public @Nullable ByteBuffer buffer() {
        return block.segment.buffer();
    }

    /** Where this storage begins in {@link #buffer}, in bytes. */
    public int bufferOffset() {
        return (int) (block.offset + offset);
    }

    /** Address of the first byte for native code of this device, or 0 if there is none. */
    public long address() {
        long base = block.segment.address();
        return base == 0 ? 0 : base + block.offset + offset;
    }

    /** True if both are parts of the same block and their bytes meet. */
    public boolean overlaps(Storage other) {
        return this == other
                || block == other.block && offset < other.offset + other.byteSize && other.offset < offset + byteSize;
    }
}
