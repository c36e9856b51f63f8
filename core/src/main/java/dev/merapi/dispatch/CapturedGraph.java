// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.backend.Graphs;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.random.Generator;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.storage.ThreadState;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.WeakHashMap;
import org.jspecify.annotations.Nullable;

/** Work that was captured, with the memory that it needs. For the engine; see Note [Captured graphs]. */
public final class CapturedGraph implements AutoCloseable {
    /** All graphs that are open, for {@link #outdate}. */
    private static final Set<CapturedGraph> OPEN =
            Collections.synchronizedSet(Collections.newSetFromMap(new WeakHashMap<>()));

    private final Device device;
    private final Graphs graphs;
    private final long graph;
    private final CachingAllocator pool;
    private final Map<Storage, Boolean> used;
    private final Set<Object> kept;
    private final List<Drawn> drawn;
    private final List<GraphCapture.Condition> conditions;
    /** The stream that it was replayed on last; at first the one that its memory comes from. */
    private WorkStream last;

    private boolean closed;
    private volatile @Nullable String outdated;

    /** So many blocks of random numbers, counted from what {@code base} holds. */
    record Drawn(Generator generator, long seed, long blocks, Tensor base) {}

    CapturedGraph(
            Device device,
            Graphs graphs,
            long graph,
            CachingAllocator pool,
            Map<Storage, Boolean> used,
            Set<Object> kept,
            List<Drawn> drawn,
            List<GraphCapture.Condition> conditions) {
        this.device = device;
        this.last = WorkStream.own(device);
        this.graphs = graphs;
        this.graph = graph;
        this.pool = pool;
        this.used = used;
        this.kept = kept;
        this.drawn = drawn;
        this.conditions = conditions;
        OPEN.add(this);
    }

    /** Memory that is no longer what it was for, such as that of a parameter that moved: graphs that use it are refused. */
    public static void outdate(Storage storage, String why) {
        synchronized (OPEN) {
            OPEN.forEach(graph -> {
                if (graph.used.containsKey(storage)) {
                    graph.outdated = why;
                }
            });
        }
    }

    /** Does the captured work; returns before it is done. */
    public synchronized void replay() {
        if (closed) {
            throw new GraphCaptureException("graph: it is closed");
        }
        String why = outdated;
        if (why != null) {
            throw new GraphCaptureException(
                    Message.of("graph: " + why).fix("call reset(), so that it is captured again."));
        }
        for (GraphCapture.Condition c : conditions) {
            if (!c.holds().getAsBoolean()) {
                throw new GraphCaptureException(
                        Message.of("graph: " + c.otherwise()).fix("call reset(), so that it is captured again."));
            }
        }
        for (Drawn d : drawn) {
            if (d.generator.seed() != d.seed) {
                throw new GraphCaptureException(Message.of("graph: captured with seed " + d.seed
                                + " of the generator, which now has seed " + d.generator.seed())
                        .fix("seed before the capture, or call reset(), so that it is captured again."));
            }
        }
        WorkStream on = WorkStream.current(device);
        if (last.handle() != on.handle() && last.isOpen()) {
            try (WorkEvent before = last.record()) {
                on.await(before);
            }
        }
        last = on;
        for (Drawn d : drawn) {
            d.base.fill_(d.generator.take(d.blocks));
        }
        graphs.launch(device.index(), graph, on.handle());
        used.forEach((storage, written) -> {
            if (written) {
                storage.bumpVersion("graph replay");
            }
        });
    }

    /**
     * Waits for the replays so far, and throws what a kernel of theirs would have thrown if it had been called by itself: an
     * index out of range, for instance. Each is reported once, at the latest here.
     */
    public synchronized void verify() {
        if (!closed) {
            (last.isOpen() ? last : WorkStream.own(device)).synchronize();
        }
    }

    /** Bytes that are reserved for what the captured work allocates. */
    public long reservedBytes() {
        return pool.stats().reserved();
    }

    /** How many pieces of work a replay does: kernels, copies, fills. */
    public synchronized long nodes() {
        return closed ? 0 : graphs.nodes(device.index(), graph);
    }

    /** Frees the graph; its memory goes back except for what tensors still hold. Idempotent. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        OPEN.remove(this);
        if (last.handle() != 0 && last.isOpen()) {
            last.synchronize();
        }
        graphs.destroy(device.index(), graph);
        kept.clear();
        ThreadState memory = Context.current().memory();
        drawn.forEach(d -> d.base.close());
        used.keySet().forEach(s -> {
            s.recordStream(last); // replays may still be running
            s.release(memory);
        });
        pool.close(memory);
    }
}
