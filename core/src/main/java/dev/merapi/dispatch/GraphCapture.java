// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.backend.Graphs;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.random.DrawLog;
import dev.merapi.random.Generator;
import dev.merapi.storage.CachingAllocator;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A capture in progress on a thread: its device records work instead of doing it. For the engine; users have
 * {@code dev.merapi.train.CudaGraph}.
 *
 * <p>Note [Captured graphs]: a graph repeats kernels with the addresses and scalars that they had. So
 * <ul>
 *   <li>what is allocated meanwhile comes from a pool of the graph's own, where memory that is freed may serve again only
 *       within the same capture;
 *   <li>all other memory that it uses is held as long as the graph lives, whoever closes the tensors;
 *   <li>random ops take their offsets relative to a tensor on the device, which a replay sets to where the generator stands;
 *       what is drawn by others is refused;
 *   <li>what reads a value back, or works elsewhere than on the device, is refused: a replay would not do it.
 * </ul>
 */
public final class GraphCapture {
    private final Context context;
    private final Device device;
    private final Graphs graphs;
    /** Of its own, so that other threads' work on the device's stream is not captured. */
    private final WorkStream stream;

    private final ThreadMode use;
    private final DrawLog.Use noDraws;
    private final CachingAllocator pool;
    private final @Nullable CachingAllocator allocatorBefore;
    /** Memory from outside, and whether the graph writes to it. */
    private final Map<Storage, Boolean> used = new IdentityHashMap<>();

    private final Map<Generator, Draws> draws = new IdentityHashMap<>();
    private final List<Condition> conditions = new ArrayList<>();
    /** What the graph needs besides memory. */
    private final Set<Object> kept = Collections.newSetFromMap(new IdentityHashMap<>());

    private final List<Runnable> onAbort = new ArrayList<>();

    /** What a random op computes its numbers from. */
    public record Draw(long seed, long offset, @Nullable Tensor base) {
        /** Takes so many blocks of this thread's generator for an op on that device. */
        public static Draw take(long blocks, Device device) {
            Context context = Context.current();
            GraphCapture capture = context.graphCapture();
            if (capture != null) {
                return capture.draw(context.generator(), blocks, device);
            }
            Generator.Position at = context.generator().draw(blocks);
            return new Draw(at.seed(), at.offset(), null);
        }
    }

    /** Numbers drawn from one generator, which stood at {@code start}. */
    record Draws(Generator generator, long seed, long start, Tensor base) {}

    /** What must still hold when a graph is replayed, and what is wrong if it does not. */
    record Condition(BooleanSupplier holds, String otherwise) {}

    private GraphCapture(Context context, Device device, Graphs graphs) {
        this.context = context;
        this.device = device;
        this.graphs = graphs;
        this.stream = WorkStream.forCapture(device);
        this.use = stream.install(context);
        this.pool = BackendChoice.allocator(device).pool("memory of a captured graph", null);
        this.allocatorBefore = context.ownAllocator();
        this.noDraws = DrawLog.refuse(
                () -> new GraphCaptureException(Message.of("graph: numbers are drawn from a generator while a graph of "
                                + device + " is captured, and each replay would have the same")
                        .fix(
                                "draw them by methods of Tensor (rand, dropout, …), which count them anew in each replay, or before"
                                        + " the step.")));
    }

    /**
     * Work of this thread on a device is recorded from now on.
     *
     * @throws GraphCaptureException if this thread is capturing already, or the device cannot
     */
    public static GraphCapture begin(Device device) {
        Context context = Context.current();
        if (context.graphCapture() != null) {
            throw new GraphCaptureException("graph: this thread is capturing one already; captures do not nest");
        }
        Graphs graphs = BackendChoice.of(device.type()).graphs();
        if (graphs == null) {
            throw new GraphCaptureException("graph: " + device + " has no graphs");
        }
        GraphCapture capture = new GraphCapture(context, device, graphs);
        context.setGraphCapture(capture);
        context.setOwnAllocator(capture.pool);
        try {
            graphs.begin(device.index(), capture.stream.handle());
        } catch (RuntimeException e) {
            capture.leave();
            capture.stream.close();
            capture.giveUp();
            throw e;
        }
        return capture;
    }

    public Device device() {
        return device;
    }

    /** Whether this memory was made by the captured work. */
    public boolean owns(Storage storage) {
        return storage.isFrom(pool);
    }

    /** A kernel is about to run. */
    void admit(String op, Device on, @Nullable Tensor[] inputs, boolean @Nullable [] mutated) {
        if (on != device) {
            throw new GraphCaptureException(Message.of(op + ": runs on " + on + " while a graph of " + device
                            + " is captured: it would run once, now, and not when the graph is replayed")
                    .fix("do it before the captured step, and copy_ the result into a tensor that the step reads."));
        }
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && !t.isMeta()) {
                use(TENSORS.storage(t), mutated != null && mutated[i]);
            }
        }
    }

    private void use(Storage storage, boolean written) {
        if (owns(storage)) {
            return;
        }
        Boolean known = used.get(storage);
        if (known == null) {
            storage.retain();
        }
        if (known == null || written && !known) {
            used.put(storage, written);
        }
    }

    /** The error for what a graph cannot hold. */
    public GraphCaptureException refused(String op, String why) {
        return new GraphCaptureException(Message.of(op + ": " + why + " while a graph of " + device + " is captured")
                .fix("let the step return the tensor and read it after the replay; give the step its inputs with"
                        + " x.copy_(…) before."));
    }

    /**
     * Takes numbers for an op on some device, and says where they stand in each replay. Those of a forward call before the
     * capture, which is computed again in it, stay what they are. Draws that do not come here are refused: each replay would
     * have the same numbers.
     */
    public Draw draw(Generator generator, long blocks, Device on) {
        Generator.Position at = noDraws.except(generator, blocks);
        if (on != device) {
            return new Draw(at.seed(), at.offset(), null); // of an op that is refused
        }
        Draws d = draws.get(generator);
        boolean same = d != null && d.seed == at.seed() && at.offset() >= d.start;
        if (!same && DrawLog.isReplaying()) {
            return new Draw(at.seed(), at.offset(), null);
        }
        if (d == null) {
            d = new Draws(generator, at.seed(), at.offset(), outside());
            draws.put(generator, d);
        } else if (!same) {
            throw refused("random numbers", "a generator was seeded in the step, which each replay would repeat,");
        }
        return new Draw(d.seed, at.offset() - d.start, d.base);
    }

    /** A number that lives as long as the graph. Not in its pool: earlier work of the graph may have used that memory. */
    private Tensor outside() {
        context.setOwnAllocator(allocatorBefore);
        try {
            return TENSORS.allocate(Shape.SCALAR, DType.INT64, device).leaveScope();
        } finally {
            context.setOwnAllocator(pool);
        }
    }

    /** Whether the graph uses this memory, which is not its own. */
    public boolean usesFromOutside(Storage storage) {
        return used.containsKey(storage);
    }

    /** The graph needs this, of which it knows no more, and keeps it reachable: such as the code of a kernel. */
    public void keep(Object needed) {
        kept.add(needed);
    }

    /** Each replay checks this first. */
    public void require(BooleanSupplier holds, String otherwise) {
        conditions.add(new Condition(holds, otherwise));
    }

    /** Done if the capture fails: takes back what would have become true by a replay. */
    public void onAbort(Runnable undo) {
        onAbort.add(undo);
    }

    /** Ends the capture. Nothing has been computed yet: {@link CapturedGraph#replay} does that. */
    public CapturedGraph end() {
        leave();
        long graph;
        try {
            graph = graphs.end(device.index(), stream.handle());
        } catch (RuntimeException e) {
            giveUp();
            throw e;
        } finally {
            stream.close();
        }
        List<CapturedGraph.Drawn> drawn = new ArrayList<>();
        draws.values().forEach(d -> {
            long blocks = d.generator.offset() - d.start;
            d.generator.moveTo(new Generator.Position(d.seed, d.start));
            drawn.add(new CapturedGraph.Drawn(d.generator, d.seed, blocks, d.base));
        });
        return new CapturedGraph(device, graphs, graph, pool, used, kept, drawn, conditions);
    }

    /** Ends the capture and forgets all of it; the device goes on as if it had never begun. */
    public void abort() {
        leave();
        try {
            graphs.destroy(device.index(), graphs.end(device.index(), stream.handle()));
        } finally {
            stream.close();
            giveUp();
        }
    }

    private void leave() {
        noDraws.close();
        use.close();
        context.setGraphCapture(null);
        context.setOwnAllocator(allocatorBefore);
    }

    private void giveUp() {
        onAbort.forEach(Runnable::run);
        draws.values().forEach(d -> d.generator.moveTo(new Generator.Position(d.seed, d.start)));
        draws.values().forEach(d -> d.base.close());
        used.keySet().forEach(s -> s.release(context.memory()));
        pool.close(context.memory());
    }
}
