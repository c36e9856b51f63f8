// SPDX-License-Identifier: Apache-2.0
package dev.merapi.storage;

import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.Message;
import dev.merapi.memory.Segment;
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
    private static final VarHandle LET_GO_AT;

    static {
        try {
            MethodHandles.Lookup lookup = MethodHandles.lookup();
            COUNT = lookup.findVarHandle(Storage.class, "count", int.class);
            VERSION = lookup.findVarHandle(Storage.class, "version", int.class);
            LET_GO_AT = lookup.findVarHandle(Storage.class, "letGoAt", long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final MemoryBlock block;
    private final long offset;
    private final long byteSize;
    /** The chunk that this is a tenant of, the storage that this is a slice of, or null. */
    private final @Nullable Object landlord;

    private Backstop.@Nullable Ref ref;
    private volatile int count = 1;

    @SuppressWarnings("unused") // through VERSION
    private volatile int version;

    /** The latest epoch in which an owner went while others stayed: see {@link #isForgotten}. */
    private volatile long letGoAt;

    private @Nullable String lastMutator;
    private @Nullable Throwable mutatedAt;

    private Storage(MemoryBlock block, long offset, long byteSize, @Nullable Object landlord) {
        this.block = block;
        this.offset = offset;
        this.byteSize = byteSize;
        this.landlord = landlord;
    }

    /** Memory that a scope will release; {@link #escape} puts it under the backstop if it outlives the scope. */
    public static Storage scoped(CachingAllocator allocator, long bytes, ThreadState state, Shape shape, DType dtype) {
        boolean held = state.hold();
        try {
            return new Storage(allocator.allocate(bytes, state, shape, dtype), 0, bytes, null);
        } finally {
            if (held) {
                state.letGo();
            }
        }
    }

    /** Memory that goes back when it is closed or becomes unreachable. */
    public static Storage unscoped(
            CachingAllocator allocator, long bytes, ThreadState state, Shape shape, DType dtype) {
        if (bytes > Chunk.LARGEST_TENANT || Guard.ON) {
            Backstop.relieve(allocator);
            Storage storage = scoped(allocator, bytes, state, shape, dtype);
            storage.ref = Backstop.watch(storage, storage.block);
            return storage;
        }
        boolean held = state.hold();
        try {
            Slot slot = state.held();
            Chunk chunk = slot.chunk;
            long at = chunk == null || chunk.block.owner != allocator ? -1 : chunk.carve(bytes);
            if (chunk == null || at < 0) {
                slot.chunk = null;
                if (chunk != null) {
                    chunk.release(state);
                }
                Backstop.relieve(allocator);
                chunk = new Chunk(allocator.allocate(Chunk.SIZE, state, "small tensors", null));
                slot.chunk = chunk;
                at = chunk.carve(bytes);
            }
            return new Storage(chunk.block, at, bytes, chunk);
        } finally {
            if (held) {
                state.letGo();
            }
        }
    }

    /**
     * Memory that somebody else owns, on the device of {@code allocator}, which does not count it. When the last share is
     * closed and no call uses it any more, or when the collector finds it unreachable, {@code release} runs: once, on any
     * thread. It shall be short; what it throws is logged.
     *
     * @param segment where it is
     * @param owner kept reachable until then; it must not hold what is made of this storage
     * @param release tells the owner
     */
    public static Storage foreign(
            CachingAllocator allocator, Segment segment, @Nullable Object owner, Runnable release) {
        Foreign block = new Foreign(allocator, segment, owner, release);
        Storage storage = new Storage(block, 0, segment.byteSize(), null);
        storage.ref = Backstop.watch(storage, block);
        return storage;
    }

    /** Whether somebody outside owns this memory, and may see what is written there. */
    public boolean isForeign() {
        return block instanceof Foreign;
    }

    /**
     * A part of this storage with a version counter of its own, so that tensors may share memory without being views of
     * each other (parameters in one flat buffer). It keeps the whole alive.
     */
    public Storage slice(long byteOffset, long bytes) {
        if (byteOffset < 0 || bytes < 0 || byteOffset > byteSize || bytes > byteSize - byteOffset) {
            throw new IllegalArgumentException(
                    "slice of storage: " + bytes + " bytes from " + byteOffset + " on, of " + byteSize);
        }
        retain();
        return new Storage(block, offset + byteOffset, bytes, this);
    }

    /** From now on the garbage collector frees this memory, should nobody close it. Idempotent. */
    public void escape() {
        if (landlord instanceof Storage s) {
            s.escape();
            return;
        }
        if (landlord != null || ref != null || !share()) {
            return; // a tenant's chunk is watched, and what is closed needs nobody to watch it
        }
        // The share keeps the last owner from freeing the memory between the look at it and the watch over it.
        synchronized (this) {
            if (ref == null) {
                ref = Backstop.watch(this, block);
            }
        }
        release(null);
        Backstop.relieve(block.owner);
    }

    /**
     * One more owner.
     *
     * @throws ClosedTensorException if the last one is gone
     */
    public void retain() {
        if (!share()) {
            throw gone();
        }
    }

    /** One more owner, unless the last one is gone: the count never leaves 0 again. */
    private boolean share() {
        for (int n = count; n > 0; n = count) {
            if (COUNT.compareAndSet(this, n, n + 1)) {
                return true;
            }
        }
        return false;
    }

    private static ClosedTensorException gone() {
        return new ClosedTensorException(Message.of("this tensor's memory was freed: its last handle was closed")
                .fix("keep it beyond its scope with scope.keep(t), or close it later."));
    }

    /** @throws ClosedTensorException if the last owner is gone */
    public void requireOpen() {
        if (count <= 0) {
            throw gone();
        }
    }

    /** One owner less; the last one frees the memory. */
    public void release(@Nullable ThreadState state) {
        MemoryBlock freed = releaseLater(state);
        if (freed != null) {
            Protection.retire(state, freed);
        }
    }

    /** As {@link #release}, but returns the block to be retired, so that a scope can retire many at once. */
    public @Nullable MemoryBlock releaseLater(@Nullable ThreadState state) {
        if (count > 1) {
            long now = Protection.currentEpoch();
            for (long n = letGoAt; n < now && !LET_GO_AT.compareAndSet(this, n, now); n = letGoAt) {}
        }
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
    public static void retire(ThreadState state, MemoryBlock[] blocks, int count) {
        Protection.retire(state, blocks, count);
    }

    /** True while there is an owner. */
    public boolean isOpen() {
        return count > 0;
    }

    /** True if there is exactly one owner, and none outside: whoever that is may write in place. */
    public boolean isExclusive() {
        return count == 1
                && !isForeign()
                && (!(landlord instanceof Storage whole) || whole.byteSize == byteSize && whole.isExclusive());
    }

    /**
     * True if there is exactly one owner, and of what it held before nobody still uses it: no call of another thread that
     * saw a handle open (Note [Epochs] in {@link Protection}), no other stream. What the owner writes in the order of
     * {@code here}, the memory of its own stream or captured graph, nobody sees then but who gets it from the owner.
     */
    public boolean isForgotten(CachingAllocator here) {
        return isExclusive() && block.owner == here && block.users == null && Protection.isOver(letGoAt);
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

    /** Whether Java can read and write this memory: not that of other devices, nor segments above 2 GiB. */
    public boolean isJavaVisible() {
        return block.segment.buffer() != null;
    }

    /**
     * A buffer over this memory, and no other, in native byte order. Holds a share of it until the buffer and all views
     * of it are unreachable: what was read here stays readable, but comes back only after a collection. (On the Java
     * heap, where {@code slice()} and {@code duplicate()} forget where they come from, these do not count.)
     *
     * @return null if Java cannot see the memory
     * @throws ClosedTensorException if the last owner is gone
     */
    public @Nullable ByteBuffer buffer() {
        if (!isJavaVisible()) {
            return null;
        }
        retain();
        ByteBuffer window = block.owner.view(block.segment, bufferOffset(), (int) byteSize);
        Backstop.pin(window, this);
        return window;
    }

    /**
     * The whole segment as Java sees it, or null; this storage begins at {@link #bufferOffset}. <b>Unsafe</b>, as
     * {@link #address} is, and for backends: valid while the storage is open, or during a call that has seen it open.
     */
    public @Nullable ByteBuffer rawBuffer() {
        return block.segment.buffer();
    }

    /** Where this storage begins in {@link #rawBuffer}, in bytes. */
    public int bufferOffset() {
        return (int) (block.offset + offset);
    }

    /**
     * Address of the first byte for native code of this device, or 0 if there is none. <b>Unsafe</b>: nothing keeps the
     * memory, or says that it is gone. Valid while the storage is open, or during a call that has seen it open.
     */
    public long address() {
        long base = block.segment.address();
        return base == 0 ? 0 : base + block.offset + offset;
    }

    CachingAllocator allocator() {
        return block.owner;
    }

    /** True if both are parts of the same block and their bytes meet. */
    public boolean overlaps(Storage other) {
        if (isForeign() && other.isForeign() && address() != 0) { // the same memory may have been given twice
            return address() < other.address() + other.byteSize && other.address() < address() + byteSize;
        }
        return this == other
                || block == other.block && offset < other.offset + other.byteSize && other.offset < offset + byteSize;
    }
}
