// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.ops.Optimizers;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Keeps float16 gradients from vanishing: the loss is multiplied by a large number before backward, and the gradients are
 * divided by it in the optimiser step. A step whose gradients overflowed is left out and the number halved; after many
 * good steps in a row it is doubled.
 *
 * <pre>{@code
 * Autograd.backward(scaler.scale(loss));
 * scaler.unscale_(optimizer);                      // only if gradients are clipped or looked at
 * Clip.norm_(parameters, 1.0);
 * scaler.step(optimizer);
 * scaler.update();
 * optimizer.zeroGrad();
 * }</pre>
 *
 * <p>The scale stays a normal float32: it never becomes 0 or infinite, however many steps are left out or good. Gradients
 * that are float16 themselves, as those of a model that was converted as a whole, cannot be divided in place, for what is
 * below 6e-8 would be lost; {@link #step} divides them on their way, in float32.
 *
 * <p>All of it stays on the device; nothing waits for a value. A scaler that is not enabled, as bfloat16 and float32 want
 * it, passes everything on as it is.
 */
public final class GradScaler implements Stateful, AutoCloseable {
    private static final double INITIAL = 65536;
    private static final int INTERVAL = 2000;

    /** What is known of one optimiser's gradients since the last update. */
    private static final class Found {
        /** Not 0 if they are not finite; null if there are none. */
        final @Nullable Tensor nonFinite;

        boolean unscaled;
        boolean stepped;

        Found(@Nullable Tensor nonFinite) {
            this.nonFinite = nonFinite;
        }
    }

    private final boolean enabled;
    private double growth;
    private double backoff;
    private int interval;
    /** How often settings were loaded: captured steps have them as they were. */
    private int loads;

    private final Map<Optimizer, Found> found = new IdentityHashMap<>();
    private Tensor scale;
    private Tensor streak;

    /** Begins at 65536, halves, and doubles after 2000 good steps. */
    public GradScaler() {
        this(true);
    }

    /**
     * With PyTorch's numbers: 65536 at first, doubled after 2000 good steps in a row, halved after one that was left out.
     *
     * @param enabled false for a scaler that does nothing, so that a loop is the same in bfloat16 and float32
     */
    public GradScaler(boolean enabled) {
        this(INITIAL, 2, 0.5, INTERVAL, enabled);
    }

    /**
     * @param initial the first scale
     * @param growth what it is multiplied by after {@code interval} good steps in a row
     * @param backoff what it is multiplied by after a step that was left out
     * @param interval so many steps
     * @param enabled false for a scaler that does nothing
     */
    public GradScaler(double initial, double growth, double backoff, int interval, boolean enabled) {
        if (!isScale(initial) || !areSettings(growth, backoff, interval)) {
            throw new IllegalArgumentException("grad scaler: initial " + initial
                    + " must be a normal float32 greater than 0, " + settings(growth, backoff, interval));
        }
        this.enabled = enabled;
        this.growth = growth;
        this.backoff = backoff;
        this.interval = interval;
        this.scale = Tensor.scalar(initial, DType.FLOAT32).leaveScope();
        this.streak = Tensor.scalar(0, DType.INT64).leaveScope();
    }

    private static boolean areSettings(double growth, double backoff, long interval) {
        return growth >= 1 && Double.isFinite(growth) && backoff > 0 && backoff < 1 && interval > 0;
    }

    private static String settings(double growth, double backoff, long interval) {
        return "interval " + interval + " greater than 0, growth " + growth + " finite and at least 1, backoff "
                + backoff + " between 0 and 1";
    }

    private static boolean isScale(double value) {
        return value >= Float.MIN_NORMAL && value <= Float.MAX_VALUE;
    }

    /** {@return whether it scales at all} */
    public boolean isEnabled() {
        return enabled;
    }

    /**
     * The loss, scaled; float32 for a 16-bit loss.
     *
     * @param loss a floating tensor
     * @return the product, part of the graph of the loss; the loss itself if this is not enabled
     */
    public Tensor scale(Tensor loss) {
        Objects.requireNonNull(loss, "loss");
        if (!enabled) {
            return loss;
        }
        moveTo(loss.device());
        return loss.mul(scale);
    }

    private void moveTo(Device device) {
        if (scale.device() != device) {
            try (Autograd.Mode mode = Autograd.noGrad()) {
                Tensor before = scale;
                Tensor streakBefore = streak;
                scale = before.to(device).leaveScope();
                streak = streakBefore.to(device).leaveScope();
                before.close();
                streakBefore.close();
            }
        }
    }

    /**
     * Divides the gradients of an optimiser's parameters by the scale, in place; for clipping, or to look at them. At most
     * once before each {@link #update}.
     *
     * @param optimizer whose parameters have gradients of the scaled loss
     * @throws IllegalStateException if they were divided already, or the optimiser has stepped
     * @throws DTypeException if a gradient is float16, and the small ones would be lost
     */
    public void unscale_(Optimizer optimizer) {
        Objects.requireNonNull(optimizer, "optimizer");
        if (!enabled) {
            return;
        }
        for (List<Tensor> grads : optimizer.gradients()) {
            if (grads.get(0).dtype() == DType.FLOAT16) {
                throw new DTypeException(Message.of("grad scaler: unscale_ would write float16 gradients, where what is"
                                + " below 6e-8 becomes 0")
                        .fact("gradient", grads.get(0).describe())
                        .fix("leave it out: step(optimizer) divides in float32; to clip, step(optimizer,"
                                + " Clip.norm(parameters, maxNorm * scaler.scale()).scale())."));
            }
        }
        Found f = check(optimizer);
        if (f.unscaled || f.stepped) {
            throw new IllegalStateException("grad scaler: unscale_ after " + (f.stepped ? "step" : "unscale_")
                    + " of the same optimiser\n  fix: call update() once after each step.");
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor inverse = inverse();
            for (List<Tensor> grads : optimizer.gradients()) {
                Tensor there = inverse.to(grads.get(0).device());
                Optimizers.SCALE_GRADS.call(new Optimizers.ScaleGrads(grads, there));
            }
        }
        f.unscaled = true;
    }

    private Tensor inverse() {
        return scale.to(DType.FLOAT64).reciprocal();
    }

    /** One pass over all gradients, as they are now, the first time since the last update. */
    private Found check(Optimizer optimizer) {
        Found f = found.get(optimizer);
        if (f != null) {
            return f;
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor any = null;
            for (List<Tensor> grads : optimizer.gradients()) {
                if (any == null) {
                    moveTo(grads.get(0).device());
                }
                Tensor these = Optimizers.NON_FINITE.call(new Optimizers.NonFinite(grads));
                any = any == null ? these : any.maximum(these.to(any.device()));
            }
            f = new Found(any == null ? null : any.leaveScope());
        }
        found.put(optimizer, f);
        return f;
    }

    /**
     * A step with the gradients divided by the scale; none if they are not finite.
     *
     * @param optimizer whose parameters have gradients of the scaled loss
     */
    public void step(Optimizer optimizer) {
        Objects.requireNonNull(optimizer, "optimizer");
        step(optimizer, null);
    }

    /**
     * As above with gradients multiplied by a 0-d floating tensor besides, such as the factor of {@link Clip#norm} after
     * {@link #unscale_}.
     *
     * @param optimizer whose parameters have gradients of the scaled loss
     * @param gradScale the factor; null for 1
     * @throws IllegalStateException if the optimiser has stepped since the last update
     */
    public void step(Optimizer optimizer, @Nullable Tensor gradScale) {
        Objects.requireNonNull(optimizer, "optimizer");
        if (!enabled) {
            optimizer.step(gradScale);
            return;
        }
        Found f = check(optimizer);
        if (f.stepped) {
            throw new IllegalStateException(
                    "grad scaler: two steps of one optimiser\n  fix: call update() once after each step.");
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor factor = gradScale;
            if (!f.unscaled) {
                factor = factor == null ? inverse() : inverse().mul(factor);
            }
            optimizer.step(factor, f.nonFinite);
        }
        f.stepped = true;
    }

    /** Adapts the scale to what the steps since the last update have met. Once an iteration, after all steps. */
    public void update() {
        if (!enabled) {
            return;
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor any = null;
            for (Found f : found.values()) {
                if (f.nonFinite != null) {
                    Tensor here = f.nonFinite.to(scale.device());
                    any = any == null ? here : any.maximum(here);
                }
            }
            if (any != null) {
                GraphCapture capture = Context.current().graphCapture();
                if (capture != null) {
                    int then = loads;
                    capture.require(() -> then == loads, "the settings of the scaler were loaded since the capture");
                }
                Optimizers.UPDATE_SCALE.call(new Optimizers.UpdateScale(scale, streak, any, growth, backoff, interval));
            }
        }
        forget();
    }

    private void forget() {
        for (Found f : found.values()) {
            if (f.nonFinite != null) {
                f.nonFinite.close();
            }
        }
        found.clear();
    }

    /**
     * The scale now. Waits for the device.
     *
     * @return what losses are multiplied by; 1 if this is not enabled
     */
    public double scale() {
        return enabled ? scale.item() : 1;
    }

    /** {@code scale}, {@code streak} (the number of good steps in a row), {@code growth}, {@code backoff}, {@code interval}. */
    @Override
    public StateDict stateDict() {
        return new StateDict()
                .put("scale", scale)
                .put("streak", streak)
                .put("growth", growth)
                .put("backoff", backoff)
                .put("interval", interval);
    }

    /**
     * Takes all of that over; whether it is enabled stays as it is.
     *
     * @throws dev.merapi.error.StateDictException if it does not fit; nothing is changed then
     */
    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("grad scaler", state);
        in.tensor("scale", scale);
        in.tensor("streak", streak);
        Tensor stored = state.all(Tensor.class).get("scale");
        if (stored != null && stored.shape().equals(Shape.SCALAR) && !stored.isClosed() && !stored.isMeta()) {
            in.require(isScale(stored.item()), "scale", stored.item() + " is not a normal float32 greater than 0");
        }
        double newGrowth = in.number("growth");
        double newBackoff = in.number("backoff");
        long newInterval = in.integer("interval");
        in.require(
                areSettings(newGrowth, newBackoff, newInterval) && newInterval <= Integer.MAX_VALUE,
                "interval",
                settings(newGrowth, newBackoff, newInterval));
        in.copy();
        growth = newGrowth;
        backoff = newBackoff;
        interval = (int) newInterval;
        loads++;
    }

    /** Frees its tensors. */
    @Override
    public void close() {
        forget();
        scale.close();
        streak.close();
    }
}
