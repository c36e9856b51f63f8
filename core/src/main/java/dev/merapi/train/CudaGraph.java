// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.CapturedGraph;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.op.tree.Tree;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.lang.ref.Cleaner;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * A step that a device records once and then repeats in one call, without the cost of its hundreds of launches.
 *
 * <pre>{@code
 * Tensor x = Tensor.zeros(Shape.of(64, 784), DType.FLOAT32, device), y = …;   // the step's inputs
 * try (var step = CudaGraph.of(device, () -> {
 *         Tensor loss = model.loss(x, y);
 *         Autograd.backward(loss);
 *         optimizer.step(Clip.norm(parameters, 1).scale());
 *         optimizer.zeroGrad();
 *         return loss;
 *     })) {
 *     for (Labelled batch : loader) {
 *         x.copy_(batch.inputs().to(device));
 *         y.copy_(batch.targets().to(device));
 *         optimizer.setLearningRate(schedule.at(i++));
 *         double loss = step.run().item();
 *     }
 * }
 * }</pre>
 *
 * <p>Each {@link #run} is one step with the same result, bit for bit, as calling the step itself: the first few run it as it
 * is, so that kernels are compiled and gradients and states exist; then it is captured, and from there on replayed. On
 * devices without graphs, such as the CPU, every run runs it as it is.
 *
 * <p>A replay repeats work of the device and no Java. So shapes, Java values and the order of ops are those of the capture;
 * what changes from step to step must stand in tensors (inputs, learning rate, random offsets; the latter two do so by
 * themselves). What reads a value back ({@code item()}, {@code nonzero}, copies from and to the host) or works on another
 * device is refused by a {@link GraphCaptureException} that names the op; nothing has happened then.
 *
 * <p>For one thread at a time.
 *
 * @param <R> what the step returns: a tensor, a list, map or record of tensors, or anything else
 */
public final class CudaGraph<R extends @Nullable Object> implements AutoCloseable {
    /** Frees graphs that nobody closed. */
    private static final Cleaner FLOOR = Cleaner.create();

    private final Device device;
    private final Supplier<R> step;
    private int warmup = 3;
    private int ran;
    private boolean closed;
    private @Nullable Replay<R> replay;

    /** What was captured, what it returns, and the tensors in that. */
    private record Replay<R extends @Nullable Object>(
            R result, List<Tensor> outputs, CapturedGraph graph, Cleaner.Cleanable floor) {}

    private CudaGraph(Device device, Supplier<R> step) {
        this.device = device;
        this.step = step;
    }

    /**
     * All work of the step is on that device. Nothing runs yet.
     *
     * @param <R> what the step returns
     * @param device a CUDA device, or the simulator
     * @param step a tensor, or a list, map or record of tensors; it runs a few times, and then never again
     * @return a graph, to be run and closed by this thread
     */
    public static <R extends @Nullable Object> CudaGraph<R> of(Device device, Supplier<R> step) {
        return new CudaGraph<>(device, step);
    }

    /**
     * How many runs come before the capture; 3 if nothing is said. They are ordinary steps.
     *
     * @param runs at least 0
     * @return this graph
     */
    public CudaGraph<R> warmup(int runs) {
        if (runs < 0) {
            throw new IllegalArgumentException("graph: cannot warm up by " + runs + " runs");
        }
        warmup = runs;
        return this;
    }

    /**
     * One step. The tensors in its result carry no graph of gradients, and are valid until the next run, which may write
     * to the same memory.
     *
     * @return what the step returned when it was captured, with the values of this run
     * @throws GraphCaptureException if the step does what a graph cannot hold, or if what the captured one stands on has
     *     changed: a seed, or a gradient that it adds to
     */
    public R run() {
        if (closed) {
            throw new GraphCaptureException("graph: it is closed");
        }
        if (Context.current().graphCapture() != null) {
            throw new GraphCaptureException("graph: run inside of a captured step; captures do not nest");
        }
        Replay<R> ready = replay;
        if (ready == null && (ran < warmup || BackendChoice.of(device.type()).graphs() == null)) {
            R result = Scope.scoped(() -> Tree.map(step.get(), null, CudaGraph::withoutHistory));
            ran++;
            return result;
        }
        if (ready == null) {
            ready = capture();
            replay = ready;
        }
        ready.graph.replay();
        for (Tensor t : ready.outputs) {
            if (!t.isMeta() && !t.isClosed()) {
                TENSORS.storage(t).bumpVersion("graph replay");
            }
        }
        return ready.result;
    }

    private Replay<R> capture() {
        GraphCapture capture = GraphCapture.begin(device);
        List<Tensor> outputs = new ArrayList<>();
        R result;
        try (Scope scope = Scope.open()) {
            result = Tree.map(step.get(), null, t -> {
                Tensor output =
                        TENSORS.engineHandle(java.util.Objects.requireNonNull(t)); // belongs to the graph, to no scope
                if (Autograd.gradFn(output) != null) {
                    TENSORS.setAutograd(output, null);
                }
                outputs.add(output);
                return output.leaveScope();
            });
        } catch (Throwable e) {
            outputs.forEach(Tensor::close);
            try {
                capture.abort();
            } catch (RuntimeException again) {
                e.addSuppressed(again);
            }
            throw e;
        }
        CapturedGraph graph = capture.end();
        return new Replay<>(result, outputs, graph, FLOOR.register(this, graph::close));
    }

    /** What a step returns can have no backward: the captured one would have to be replayed with it. */
    private static Tensor withoutHistory(@Nullable Tensor t) {
        Tensor known = java.util.Objects.requireNonNull(t);
        return Autograd.gradFn(known) == null ? known : known.detach();
    }

    /**
     * Waits for the replays so far, and throws what one of them would have thrown if it had been run as it is: replays go on
     * where an index is out of range, without that element. Whatever waits for the device tells of it, a later launch may,
     * and this does at the latest, as {@link #close} and {@link #reset} do.
     */
    public void verify() {
        if (replay != null) {
            replay.graph.verify();
        }
    }

    /**
     * Whether the next run is a replay.
     *
     * @return false during the warm-up
     */
    public boolean isCaptured() {
        return replay != null;
    }

    /**
     * Bytes of the device that are reserved for what the captured step allocates; 0 before the capture.
     *
     * @return bytes
     */
    public long reservedBytes() {
        return replay == null ? 0 : replay.graph.reservedBytes();
    }

    /**
     * How many kernels, copies and fills the captured step consists of; 0 before the capture.
     *
     * @return a count
     */
    public long nodes() {
        return replay == null ? 0 : replay.graph.nodes();
    }

    /** Forgets what was captured, if anything was; the next runs warm up and capture anew. */
    public void reset() {
        Replay<R> old = replay;
        replay = null;
        ran = 0;
        if (old != null) {
            try {
                old.graph.verify();
            } finally {
                old.outputs.forEach(Tensor::close);
                old.floor.clean();
            }
        }
    }

    /** Frees the graph, its memory and what the last run returned. Idempotent. */
    @Override
    public void close() {
        closed = true;
        reset();
    }
}
