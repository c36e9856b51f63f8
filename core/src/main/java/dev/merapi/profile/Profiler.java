// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.dispatch.LayerOrder;
import dev.merapi.dispatch.Observer;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Says where the time of a program goes: to which ops and kernels, forward and backward, to which layers of a model, to
 * waiting for data. It is a layer of dispatch; while it is off, nothing is measured and nothing costs.
 *
 * <pre>{@code
 * Profiler profiler = new Profiler();
 * try (Profiler.On on = profiler.start()) {
 *     for (int step = 0; step < 20; step++) {
 *         trainingStep();
 *     }
 * }
 * System.out.println(profiler.table());
 * profiler.writeTrace(Path.of("trace.json")); // for chrome://tracing or ui.perfetto.dev
 * }</pre>
 *
 * <p>It sees the thread that starts it, and those that its modes are carried to (loaders, recomputation). Times are the
 * host's, in nanoseconds of {@link System#nanoTime}: on a GPU kernels run later, unless {@link #waitForDevice} is on. A
 * replay of a captured graph is no call of ops, and so is not seen. While a recording of the JDK's Flight Recorder runs, each
 * op, kernel and wait is an event {@code dev.merapi.Work} in it, too.
 *
 * <p>A profiler may be started again: it goes on to add. Its reports may be asked for at any time, from any thread.
 */
public final class Profiler {
    private static final int MOST_EVENTS = 1_000_000;

    private final List<Lane> lanes = new ArrayList<>(); // guarded by itself
    private final ThreadLocal<Lane> lane = ThreadLocal.withInitial(this::newLane);
    private final long origin = System.nanoTime();
    private boolean waits;

    /** A profiler that has seen nothing yet. */
    public Profiler() {}

    /** A thread that is watched, until this is closed. */
    public interface On extends AutoCloseable {
        /**
         * Ends the watching. Idempotent.
         *
         * @throws IllegalStateException on another thread than the one that started it
         */
        @Override
        void close();
    }

    /**
     * Whether to wait for the device after each kernel, so that the times are those of the kernels. The program as a whole is
     * slower then.
     *
     * @param on true to wait
     * @return this profiler
     */
    public Profiler waitForDevice(boolean on) {
        waits = on;
        return this;
    }

    /**
     * Begins to watch this thread.
     *
     * @return what ends it, to be closed by this thread
     * @throws IllegalStateException while a call is in progress that a layer sees, or if a profiler watches it already
     */
    public On start() {
        if (Context.current().observer() != null) {
            throw new IllegalStateException("profiler: one watches this thread already\n  fix: close it first.");
        }
        Watching watching = new Watching();
        ThreadMode kernels = LayerOrder.push("profiler", new Kernels(watching));
        ThreadMode ops = LayerOrder.push("profiler", new Ops(watching));
        return () -> {
            ops.close();
            kernels.close();
            watching.ended = true;
        };
    }

    /**
     * A part of the program, under a name of its own in tables and traces. Costs next to nothing on a thread that no profiler
     * watches.
     *
     * <pre>{@code
     * try (Profiler.On range = Profiler.range("evaluation")) {
     *     evaluate();
     * }
     * }</pre>
     *
     * @param name of the part
     * @return what ends it, to be closed by this thread: another is refused
     */
    public static On range(String name) {
        Objects.requireNonNull(name, "name");
        Observer observer = Context.current().observer();
        if (observer == null) {
            return () -> {};
        }
        observer.begin(Observer.Work.RANGE, name);
        boolean[] ended = new boolean[1];
        Thread owner = Thread.currentThread();
        return () -> {
            if (Thread.currentThread() != owner) {
                throw new IllegalStateException(
                        "profiler: range '" + name + "' began on another thread\n  fix: close it there.");
            }
            if (!ended[0]) {
                ended[0] = true;
                observer.end();
            }
        };
    }

    // ---------------------------------------------------------------- reports

    /**
     * What took time, the most first: a line for each op, forward and backward apart, and for waits and ranges.
     *
     * @return a table: calls, time of its own (without what it called), share of all, time in its kernels, memory that its
     *     kernels made
     */
    public String table() {
        return ProfileTable.byWork(totals());
    }

    /**
     * The same by layers of the model: time of each layer's ops and kernels in forward, and in the backward of what it made.
     *
     * @return a table, the most time first
     */
    public String tableByLayer() {
        return ProfileTable.byPlace(totals());
    }

    /**
     * Writes what happened when, in the format of {@code chrome://tracing} and Perfetto: the first million of events.
     *
     * @param file is replaced
     * @throws IOException if it cannot be written
     */
    public void writeTrace(Path file) throws IOException {
        Objects.requireNonNull(file, "file");
        ChromeTrace.write(file, all(), origin);
    }

    /** Forgets all that was seen. */
    public void reset() {
        all().forEach(Lane::reset);
    }

    private List<Total> totals() {
        List<Total> totals = new ArrayList<>();
        all().forEach(l -> l.addTo(totals));
        return totals;
    }

    private List<Lane> all() {
        synchronized (lanes) {
            return List.copyOf(lanes);
        }
    }

    private Lane newLane() {
        synchronized (lanes) {
            Lane made = new Lane(Thread.currentThread(), MOST_EVENTS);
            lanes.add(made);
            return made;
        }
    }

    // ---------------------------------------------------------------- what is seen

    /** From a start to its end: threads that the layers were carried to may go on after it. */
    private static final class Watching {
        volatile boolean ended;
    }

    /** Ops as they are called; told of all else that takes time. */
    private final class Ops implements Observer {
        private final Watching watching;

        Ops(Watching watching) {
            this.watching = watching;
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
            if (watching.ended) {
                return Dispatcher.below(op, args, context, below);
            }
            Lane here = lane.get();
            here.begin(Kind.OP, op.name());
            try {
                R result = Dispatcher.below(op, args, context, below);
                String place = here.place();
                if (place != null && context.isGradEnabled()) {
                    for (Tensor t : op.result().tensors(op.name(), result)) {
                        if (t != null && t.requiresGrad()) {
                            here.made(Autograd.gradFn(t), place);
                        }
                    }
                }
                return result;
            } finally {
                here.end(0);
            }
        }

        @Override
        public void begin(Work work, Object subject) {
            lane.get().begin(work, subject);
        }

        @Override
        public void end() {
            lane.get().end(0);
        }
    }

    /** Kernels, below autograd. */
    private final class Kernels implements CallLayer {
        private final Watching watching;

        Kernels(Watching watching) {
            this.watching = watching;
        }

        @Override
        public boolean isBelowAutograd() {
            return true;
        }

        @Override
        public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
            if (watching.ended) {
                return Dispatcher.below(op, args, context, below);
            }
            Lane here = lane.get();
            here.begin(Kind.KERNEL, op.name());
            long bytes = 0;
            try {
                R result = Dispatcher.below(op, args, context, below);
                Tensor[] outputs = op.result().tensors(op.name(), result);
                bytes = op.returnsMutated() ? 0 : bytes(outputs);
                if (waits && outputs.length > 0) {
                    dev.merapi.device.DeviceStream.current(outputs[0].device()).synchronize();
                }
                return result;
            } finally {
                here.end(bytes);
            }
        }
    }

    private static long bytes(@Nullable Tensor[] tensors) {
        long bytes = 0;
        for (Tensor t : tensors) {
            if (t != null && !t.isMeta() && !t.isClosed()) {
                bytes += TENSORS.storage(t).byteSize();
            }
        }
        return bytes;
    }
}
