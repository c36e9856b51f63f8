// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.dispatch.LayerOrder;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.op.Definition;
import dev.merapi.random.DrawLog;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The forward-mode layer: each call of an op on tensors that have tangents gives its results theirs.
 *
 * <p>Note [Levels]: each {@code jvp} under way is a level; a {@code jvp} within another is one more. A tensor may have a
 * tangent in each of them. A call is seen by the innermost level first. What it does for its tangents (the op itself, its
 * rule, the backward of its backward) are calls too, seen by the levels outside of it and by no other: so a tangent gets
 * tangents of its own, and one level never takes the tangents of another for its own.
 */
public final class ForwardMode implements CallLayer {
    /** One {@code jvp} under way. */
    static final class Level {
        final int depth;
        final Thread owner = Thread.currentThread();
        private final List<Duals> all = new ArrayList<>();

        private Level(int depth) {
            this.depth = depth;
        }

        void remember(Duals duals) {
            all.add(duals);
        }

        private void end() {
            all.forEach(duals -> duals.drop(this));
        }
    }

    /** How many levels there are on all threads. */
    private static final AtomicInteger UNDER_WAY = new AtomicInteger();

    private final Thread owner = Thread.currentThread();
    private final List<Level> levels = new ArrayList<>();
    /** The levels that see the calls made now: all, or those outside of the one whose rule runs. */
    private int seeing;

    private ForwardMode() {}

    /** That of the thread; null if no {@code jvp} is under way on it. */
    static @Nullable ForwardMode of(Context context) {
        ForwardMode m = context.layer(ForwardMode.class);
        return m != null && m.owner == Thread.currentThread() ? m : null;
    }

    /** Whether what is called now may have tangents. */
    public static boolean sees(Context context) {
        ForwardMode m = of(context);
        return m != null && m.seeing > 0;
    }

    /** Runs {@code body} as one more level. */
    static <T> T level(Context context, Function<Level, T> body) {
        ForwardMode there = of(context);
        ForwardMode mode = there == null ? new ForwardMode() : there;
        Level level = new Level(mode.seeing);
        List<Level> hidden = new ArrayList<>(mode.levels.subList(mode.seeing, mode.levels.size()));
        mode.levels.subList(mode.seeing, mode.levels.size()).clear();
        mode.levels.add(level);
        mode.seeing++;
        ThreadMode pushed = there == null ? LayerOrder.pushFor("jvp", mode) : null;
        int start = context.startAt(mode);
        UNDER_WAY.incrementAndGet();
        try {
            return body.apply(level);
        } finally {
            UNDER_WAY.decrementAndGet();
            context.restoreLevel(start);
            if (pushed != null) {
                pushed.close();
            }
            level.end();
            mode.levels.remove(mode.levels.size() - 1);
            mode.seeing--;
            mode.levels.addAll(hidden);
        }
    }

    /**
     * Refuses a call on this thread of tensors that a {@code jvp} of another one moves: the result would have no tangent, and
     * nobody would know.
     */
    static <A extends Record> void requireHere(Definition<A, ?> op, A args, @Nullable Tensor[] inputs) {
        if (UNDER_WAY.get() == 0 || op.isNonDifferentiable()) {
            return;
        }
        for (int i = 0; i < inputs.length; i++) {
            AutogradMeta m = inputs[i] == null ? null : AutogradMeta.of(inputs[i]);
            Duals duals = m == null ? null : m.duals;
            Thread other = duals == null ? null : duals.otherThread();
            if (other != null) {
                throw new GradientException(
                        Message.of(
                                        op.name(),
                                        "argument '" + op.slotName(args, i) + "' has a tangent of a jvp that thread "
                                                + other.getName() + " runs, and this is thread "
                                                + Thread.currentThread().getName() + ": the result would have none")
                                .fix(
                                        "within jvp call ops on the thread that called it; where no derivative is wanted, on x.detach()."));
            }
        }
    }

    // ---------------------------------------------------------------- tangents of tensors

    /** A tensor, {@link Duals.Unknown}, or null for zero. */
    static @Nullable Object tangent(@Nullable Tensor t, Level level) {
        AutogradMeta m = t == null ? null : AutogradMeta.of(t);
        Duals duals = m == null ? null : m.duals;
        return duals == null ? null : duals.at(level);
    }

    /** Gives a variable its tangent, which lives as long as the level; what has no elements does not move anything. */
    static void attach(Level level, Tensor t, @Nullable Object tangent) {
        if (tangent instanceof Tensor value) {
            if (value.numel() > 0) {
                duals(AutogradMeta.variable(t)).put(level, TENSORS.engineHandle(value));
            }
        } else if (tangent != null) {
            duals(AutogradMeta.variable(t)).put(level, tangent);
        }
    }

    static Duals duals(AutogradMeta meta) {
        Duals d = meta.duals;
        if (d == null) {
            d = new Duals();
            meta.duals = d;
        }
        return d;
    }

    /** What backward will see of a saved tensor has the tangents of the tensor itself. */
    static @Nullable AutogradMeta carry(Tensor from, @Nullable AutogradMeta to) {
        AutogradMeta m = AutogradMeta.of(from);
        if (m == null || m.duals == null || m == to) {
            return to;
        }
        AutogradMeta place = to == null ? new AutogradMeta() : to;
        place.duals = m.duals;
        return place;
    }

    /** A result will get its tangents when the call is over, but is saved for backward before. */
    static void expect(Tensor[] results, Context context) {
        if (of(context) != null) {
            for (Tensor t : results) {
                if (TENSORS.autograd(t) != null) {
                    Duals unused = duals(AutogradMeta.variable(t));
                }
            }
        }
    }

    /** For a value that an op computed from others in a way that only it knows. */
    static void computedFrom(@Nullable Tensor[] sources, AutogradMeta meta, String op) {
        for (Tensor s : sources) {
            AutogradMeta m = s == null ? null : AutogradMeta.of(s);
            if (m != null && m.duals != null) {
                duals(meta).computedFrom(m.duals, op);
            }
        }
    }

    /** The same value and tangents, and no history of reverse mode. */
    public static Tensor withoutHistory(Tensor t) {
        AutogradMeta m = AutogradMeta.of(t);
        Tensor plain = t.detach();
        if (m != null && m.duals != null) {
            TENSORS.setAutograd(plain, new AutogradMeta());
            AutogradMeta.variable(plain).duals = m.duals;
        }
        return plain;
    }

    // ---------------------------------------------------------------- calls

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
        if (owner != Thread.currentThread()) {
            return Dispatcher.call(op, args, context); // modes came along to a thread that has no tangents
        }
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        for (int k = seeing - 1; k >= 0; k--) {
            Level level = levels.get(k);
            @Nullable Object[] tangents = null;
            for (int i = 0; i < inputs.length; i++) {
                Object t = tangent(inputs[i], level);
                if (t != null) {
                    tangents = tangents == null ? new Object[inputs.length] : tangents;
                    tangents[i] = t;
                }
            }
            if (tangents != null && Pushforward.isSeen(op, args, tangents)) {
                return at(level, op, args, inputs, tangents, context, below);
            }
        }
        return op.isComposite() ? Dispatcher.below(op, args, context, below) : Dispatcher.call(op, args, context);
    }

    private <A extends Record, R> R at(
            Level level,
            Definition<A, R> op,
            A args,
            @Nullable Tensor[] inputs,
            @Nullable Object[] tangents,
            Context context,
            int below) {
        if (Pushforward.isOfParts(op)) {
            R result;
            try (DrawLog.Use none = DrawLog.refuse(() -> Pushforward.random(op))) {
                result = Dispatcher.expand(op, args, context, below); // each part is seen again
            }
            if (op.restrictsGradients()) {
                forget(op, result, inputs);
            }
            return result;
        }
        Duals.Unknown unknown = Arrays.stream(tangents)
                .filter(Duals.Unknown.class::isInstance)
                .map(Duals.Unknown.class::cast)
                .findFirst()
                .orElse(null);
        int before = seeing;
        int start = context.startAt(this);
        seeing = level.depth;
        try (Scope scope = TENSORS.openScope(context);
                DrawLog.Use none = DrawLog.refuse(() -> Pushforward.random(op))) {
            Pushforward.Pushed<R> pushed;
            if (unknown != null) {
                pushed = new Pushforward.Pushed<>(Dispatcher.call(op, args, context), null);
            } else {
                pushed = Pushforward.run(
                        op, args, inputs, Arrays.copyOf(tangents, tangents.length, Tensor[].class), level, context);
            }
            R result = pushed.result();
            Tensor[] outputs = op.result().tensors(op.name(), result);
            for (int i = 0; i < outputs.length; i++) {
                if (Arrays.asList(inputs).indexOf(outputs[i]) < 0) {
                    @Nullable Tensor[] found = pushed.tangents();
                    boolean floating = outputs[i].dtype().isFloating() && op.isDifferentiable(result, i);
                    attach(level, outputs[i], !floating ? null : found == null ? unknown : found[i]);
                }
            }
            scope.keep(outputs);
            return result;
        } finally {
            seeing = before;
            context.restoreLevel(start);
        }
    }

    /** Outputs that are declared to depend on nothing. */
    private static <R> void forget(Definition<?, R> op, R result, @Nullable Tensor[] inputs) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        for (int i = 0; i < outputs.length; i++) {
            AutogradMeta m = AutogradMeta.of(outputs[i]);
            if (m != null
                    && !op.isDifferentiable(result, i)
                    && Arrays.asList(inputs).indexOf(outputs[i]) < 0) {
                m.duals = null;
            }
        }
    }

    // ---------------------------------------------------------------- what is no op

    /** Applies a linear function that is not an op: to the values, and to the tangents. */
    static @Nullable Tensor[] linear(
            @Nullable Tensor[] in, Function<@Nullable Tensor[], @Nullable Tensor[]> f, Context context) {
        ForwardMode mode = of(context);
        return mode == null || mode.seeing == 0 ? f.apply(in) : mode.linearAt(mode.seeing, in, f);
    }

    private @Nullable Tensor[] linearAt(
            int within, @Nullable Tensor[] in, Function<@Nullable Tensor[], @Nullable Tensor[]> f) {
        int before = seeing;
        for (int k = within - 1; k >= 0; k--) {
            Level level = levels.get(k);
            @Nullable Tensor[] tangents = new Tensor[in.length];
            Object unknown = null;
            boolean any = false;
            for (int i = 0; i < in.length; i++) {
                Object t = tangent(in[i], level);
                any |= t != null;
                tangents[i] = t instanceof Tensor value ? value : null;
                unknown = t instanceof Duals.Unknown ? t : unknown;
            }
            if (any) {
                @Nullable Tensor[] out = linearAt(k, in, f);
                @Nullable Tensor[] moved = linearAt(k, tangents, f);
                for (int i = 0; i < out.length; i++) {
                    Tensor o = out[i];
                    if (o != null) {
                        attach(level, o, unknown != null ? unknown : moved[i]);
                    }
                }
                return out;
            }
        }
        try {
            seeing = 0;
            return f.apply(in);
        } finally {
            seeing = before;
        }
    }

    static GradientException unknown(Duals.Unknown tangent) {
        return new GradientException(Message.of("jvp: a value that " + tangent.op()
                        + " computed for its backward has no tangent, so that the derivative would be wrong")
                .fix("register a formula of arguments and results alone, or a composition, on " + tangent.op() + "."));
    }
}
