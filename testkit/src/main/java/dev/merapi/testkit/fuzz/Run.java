// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.Context;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** One run of a program on a device, step by step, in a scope of its own. What it leaves behind ends with it. */
final class Run implements AutoCloseable {
    private final Device device;
    private final boolean wide;
    private final double shift;
    private final Set<Integer> moved;
    private final Context context = Context.current();
    private final Context.Snapshot before = context.capture();
    private final Layers.@Nullable Pushed tracing;
    private final Context.Snapshot during;
    private final @Nullable Scope around = context.scope();
    private final Scope scope = Scope.open();
    private final Deque<AutoCloseable> modes = new ArrayDeque<>();
    private final List<Tensor> escaped = new ArrayList<>();
    private final List<Tensor> withGradients = new ArrayList<>();
    private @Nullable Tensor[] tensors = new Tensor[32];

    /** @param tracer sees every call of an op; null for nobody */
    Run(Device device, long seed, @Nullable DispatchLayer tracer) {
        this(device, seed, tracer, false, 0, Set.of());
    }

    /**
     * @param wide whether floating tensors are float64 throughout
     * @param shift how far some tensors are moved along the direction that {@link #direction} says
     * @param moved the numbers of these
     */
    Run(Device device, long seed, @Nullable DispatchLayer tracer, boolean wide, double shift, Set<Integer> moved) {
        this.moved = moved;
        this.device = device;
        this.wide = wide;
        this.shift = shift;
        context.setGenerator(new Generator(seed));
        this.tracing = tracer == null ? null : Layers.push(tracer);
        this.during = context.capture();
    }

    Device device() {
        return device;
    }

    boolean wide() {
        return wide;
    }

    /** Runs one step; its tensors are there afterwards. Errors come through. */
    List<Tensor> step(Step step) {
        @Nullable Object[] args = new Object[step.args().size()];
        for (int i = 0; i < args.length; i++) {
            args[i] = actual(step.args().get(i));
        }
        List<Tensor> made = step.callee().call(this, args);
        for (int i = 0; i < made.size(); i++) {
            put(step.first() + i, made.get(i));
        }
        if (moved.contains(step.first()) && made.size() == 1 && shift != 0) {
            move(step.first(), made.get(0));
        }
        return made;
    }

    private @Nullable Object actual(@Nullable Object arg) {
        if (arg instanceof Ref r) {
            return tensor(r);
        }
        if (arg instanceof List<?> list) {
            return list.isEmpty()
                            || !(list.get(0) instanceof Ref || list.stream().anyMatch(java.util.Objects::isNull))
                    ? list
                    : Arrays.asList(list.stream().map(this::actual).toArray(Tensor[]::new));
        }
        if (arg == Here.DEVICE) {
            return device;
        }
        return wide && arg instanceof DType d && d.isFloating() ? DType.FLOAT64 : arg;
    }

    Tensor tensor(Ref r) {
        return java.util.Objects.requireNonNull(tensors[r.number()]);
    }

    /** Whether another tensor of the program sees the memory of this one. */
    boolean sharesMemory(Ref r) {
        Tensor t = tensor(r);
        return !t.isClosed()
                && Arrays.stream(tensors)
                        .anyMatch(
                                o -> o != null && o != t && !o.isClosed() && TENSORS.storage(o) == TENSORS.storage(t));
    }

    /** Whether a tensor that wants a gradient is narrower than float64: sums of integers are, and what is written to them. */
    boolean hasNarrowVariables() {
        return Arrays.stream(tensors)
                .anyMatch(t -> t != null && !t.isClosed() && t.dtype() != DType.FLOAT64 && t.requiresGrad());
    }

    private void put(int number, Tensor t) {
        if (number >= tensors.length) {
            tensors = Arrays.copyOf(tensors, Math.max(number + 1, 2 * tensors.length));
        }
        tensors[number] = t;
        if (t.requiresGrad()) {
            withGradients.add(t);
        }
    }

    // ---------------------------------------------------------------- for actions

    void open(AutoCloseable mode) {
        modes.push(mode);
    }

    void end() {
        AutoCloseable mode = modes.poll();
        if (mode == null) {
            return;
        }
        try {
            mode.close();
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    int depth() {
        return modes.size();
    }

    void escaped(Tensor t) {
        escaped.add(t);
    }

    void mayHaveGradient(Tensor t) {
        withGradients.add(t);
    }

    // ---------------------------------------------------------------- directions

    /** Where a tensor is moved to, element by element, by what lies at a position of its memory. */
    static double direction(int number, long position) {
        long mixed = (number * 31L + position + 1) * 0x9e3779b97f4a7c15L;
        return ((mixed ^ mixed >>> 29) * 0xbf58476d1ce4e5b9L >> 11) * 0x1p-52;
    }

    /** Moves what a step has just made. */
    private void move(int number, Tensor t) {
        Elements e = Elements.of(t);
        double[] moved = new double[(int) t.numel()];
        for (int i = 0; i < moved.length; i++) {
            moved[i] = e.getDouble(i) + shift * direction(number, e.position(i));
        }
        for (int i = 0; i < moved.length; i++) {
            e.setDouble(i, moved[i]);
        }
    }

    // ---------------------------------------------------------------- end

    /** What the thread is in after everything was ended that the program opened; null if it is as before. */
    @Nullable
    String endModes() {
        while (!modes.isEmpty()) {
            end();
        }
        String wrong = context.scope() != scope ? "another scope is open than before" : null;
        Context.Snapshot after = context.capture();
        if (after.gradEnabled() != during.gradEnabled()
                || after.inference() != during.inference()
                || after.anomaly() != during.anomaly()
                || !after.sameLayers(during)
                || after.savedTensorHooks() != during.savedTensorHooks()
                || context.backwardPass() != null) {
            wrong = "modes are not as before: " + after;
        }
        return wrong;
    }

    @Override
    public void close() {
        if (tracing != null) {
            tracing.close();
        }
        context.install(before);
        for (Tensor t : withGradients) {
            t.setGrad(null);
        }
        for (Tensor t : escaped) {
            t.close();
        }
        scope.close();
        context.setScope(around);
        context.setBackwardPass(null);
    }
}
