// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.nn.Parameter;
import dev.merapi.state.StateDict;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.StateReader;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Changes parameters by their gradients. Parameters without a gradient are left alone, and do not count the step: one that
 * gets its first gradient late begins as all others did. States, learning rate (float64) and counts of steps (int64) are
 * tensors on the parameters' device; they belong to the optimiser and live until {@link #close}.
 *
 * <p>It holds <em>parameters</em> ({@code model.parameters()}), not their tensors: when the model moves to another device or
 * dtype, states, masters and rate follow at the next step. Parameters may be on several devices. Plain leaf tensors are
 * accepted too; one that was closed is refused.
 *
 * <p>Beside 16-bit parameters the optimiser keeps float32 <em>masters</em>, steps those, and rounds them to the parameters:
 * most steps are smaller than what 16 bits can show of a weight, and would be lost. They are part of the state. A parameter
 * that somebody else wrote, such as by loading a model, is taken over into its master. A model that becomes 16 bits wide gets
 * masters, of its rounded parameters; between 16-bit dtypes and devices masters move; in one that becomes float32 or float64
 * the parameters hold, and the masters' finer digits are dropped.
 */
public abstract class Optimizer implements Stateful, AutoCloseable {
    private final List<String> stateNames;
    private List<Slot> slots = List.of();
    private List<Group> groups = List.of();
    /** Where and in what proportion to the optimiser's a learning rate is wanted. */
    private record Rate(Device device, double factor) {
        static Rate of(Group group) {
            return new Rate(group.device(), group.rate);
        }
    }

    /** What states begin with. */
    private final double initial;
    /** The learning rates: 0-d float64. */
    private final Map<Rate, Tensor> rates = new LinkedHashMap<>();

    private double rate;
    private boolean masters = true;
    private boolean maximizes;
    /** How often settings were loaded: captured steps have them as they were. */
    private int loads;

    Optimizer(List<? extends Trainable> params, double lr, double weightDecay, List<String> stateNames) {
        this(params, lr, weightDecay, stateNames, 0);
    }

    /** @param initial what states begin with */
    Optimizer(
            List<? extends Trainable> params, double lr, double weightDecay, List<String> stateNames, double initial) {
        Objects.requireNonNull(params, "params").forEach(p -> Objects.requireNonNull(p, "params"));
        if (params.isEmpty()) {
            throw new IllegalArgumentException("optimizer: there are no parameters");
        }
        requireNotNegative("learning rate", lr);
        this.stateNames = stateNames;
        this.rate = lr;
        this.initial = initial;
        add(params, weightDecay);
    }

    private static boolean isNotNegative(double value) {
        return value >= 0 && Double.isFinite(value);
    }

    private static void requireNotNegative(String what, double value) {
        if (!isNotNegative(value)) {
            throw new IllegalArgumentException(
                    "optimizer: " + what + " " + value + " must be finite and may not be negative");
        }
    }

    /**
     * Adds parameters with another weight decay.
     *
     * @param params that this optimiser does not have yet
     * @param weightDecay instead of that of the constructor
     */
    public final void add(List<? extends Trainable> params, double weightDecay) {
        add(params, weightDecay, 1);
    }

    /**
     * Adds parameters with another weight decay and learning rate.
     *
     * @param params that this optimiser does not have yet
     * @param weightDecay instead of that of the constructor
     * @param rateFactor what times {@link #learningRate} is their rate, whatever that is set to; at least 0
     */
    public final void add(List<? extends Trainable> params, double weightDecay, double rateFactor) {
        Objects.requireNonNull(params, "params").forEach(p -> Objects.requireNonNull(p, "params"));
        requireNotNegative("weight decay", weightDecay);
        requireNotNegative("rate factor", rateFactor);
        Gradients.of("optimizer", params); // refuses closed ones
        Set<Object> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        slots.forEach(slot -> seen.add(slot.holder().tensor()));
        for (Trainable holder : params) {
            Tensor p = holder.tensor();
            if (!seen.add(p)) {
                throw new IllegalArgumentException("optimizer: " + p.describe()
                        + " is given twice, and would be stepped twice\n  fix: pass each parameter once.");
            }
            boolean frozen = holder instanceof Parameter parameter && parameter.isTrained(); // may thaw later
            if (!p.requiresGrad() && !frozen || Autograd.gradFn(p) != null) {
                throw new IllegalArgumentException(
                        "optimizer: " + p.describe() + " is not a leaf that requires a gradient");
            }
            String why = refused(p);
            if (why != null) {
                throw new IllegalArgumentException("optimizer: " + p.describe() + ": " + why);
            }
        }
        change(() -> {
            List<Slot> all = following();
            params.forEach(p -> all.add(Slot.first(p, weightDecay, rateFactor, stateNames.size(), initial, masters)));
            return all;
        });
    }

    /**
     * Steps 16-bit parameters themselves from now on, and frees their masters: saves four bytes a parameter, and loses
     * what their rounding does not show.
     */
    public final void dropMasters() {
        requireNoCapture();
        masters = false;
        change(() -> following().stream().map(Slot::withoutMaster).toList());
    }

    /**
     * Goes up along gradients from now on, and not down: what is given as a loss is made as large as can be.
     *
     * @param maximizes whether it does
     */
    public final void maximize(boolean maximizes) {
        change();
        this.maximizes = maximizes;
    }

    /** A setting changes: captured steps have it as it was. */
    final void change() {
        requireNoCapture();
        loads++;
    }

    /** Why a parameter is not one for this optimiser; null if it is. Called by the constructor. */
    @Nullable
    String refused(Tensor parameter) {
        return null;
    }

    // ---------------------------------------------------------------- following

    /** The slots, with what belongs to the tensors that their holders have now. */
    private List<Slot> following() {
        List<Slot> all = new ArrayList<>();
        slots.forEach(slot -> all.add(slot.follow(masters)));
        return all;
    }

    /** Groups the parameters anew if one of them has another tensor than before. */
    private void follow() {
        for (Slot slot : slots) {
            if (slot.holder().tensor() != slot.tensor()) {
                change(this::following);
                return;
            }
        }
    }

    /** Other slots take the place of these: all is made before anything is changed, and what is not used any more freed. */
    private void change(Supplier<List<Slot>> next) {
        requireNoCapture();
        try (Autograd.Mode mode = Autograd.noGrad();
                Scope scope = Scope.open()) {
            List<Group> formed = Group.of(next.get());
            Map<Trainable, Slot> ofHolder = new IdentityHashMap<>();
            formed.forEach(group -> group.slots.forEach(slot -> ofHolder.put(slot.holder(), slot)));
            Map<Rate, Tensor> newRates = new LinkedHashMap<>();
            for (Group group : formed) {
                newRates.computeIfAbsent(Rate.of(group), r -> {
                    Tensor known = rates.get(r);
                    return known != null
                            ? known
                            : Tensor.scalar(rate * r.factor).to(r.device);
                });
            }
            Set<Tensor> unused = owned();
            List<Slot> ordered = new ArrayList<>();
            slots.forEach(slot -> ordered.add(Objects.requireNonNull(ofHolder.remove(slot.holder()))));
            formed.forEach(group -> group.slots.forEach(slot -> {
                if (ofHolder.containsKey(slot.holder())) {
                    ordered.add(slot);
                }
            }));
            slots = ordered;
            groups = formed;
            rates.clear();
            rates.putAll(newRates);
            for (Tensor t : owned()) {
                if (!unused.remove(t)) {
                    t.leaveScope();
                }
            }
            unused.forEach(Tensor::close);
        }
    }

    private static void requireNoCapture() {
        if (Context.current().graphCapture() != null) {
            throw new GraphCaptureException(Message.of("optimizer: parameters were added or have moved since its last"
                            + " step, or settings were changed; in a captured step each replay would do it again")
                    .fix("do it before, and warm up by one run at least after it."));
        }
    }

    /** All tensors that belong to this optimiser. */
    private Set<Tensor> owned() {
        Set<Tensor> all = Collections.newSetFromMap(new IdentityHashMap<>());
        slots.forEach(slot -> all.addAll(slot.owned()));
        all.addAll(rates.values());
        return all;
    }

    // ---------------------------------------------------------------- steps

    /** One step with the gradients as they are. */
    public final void step() {
        step(null);
    }

    /**
     * One step with gradients multiplied by a 0-d floating tensor, such as {@link Clip#norm} gives.
     *
     * @param gradScale the factor; null for 1
     */
    public final void step(@Nullable Tensor gradScale) {
        step(gradScale, null);
    }

    /**
     * As above; if {@code skip}, 0-d float32, is not 0, nothing changes and the step does not count.
     *
     * @param gradScale the factor; null for 1
     * @param skip on the device of the parameters, so that nobody waits; null for never
     * @throws ClosedTensorException if a parameter was closed, or is a plain tensor that its model has replaced; nothing is
     *     changed then
     * @throws GraphCaptureException if parameters have moved since the last step, and this one is captured
     */
    public final void step(@Nullable Tensor gradScale, @Nullable Tensor skip) {
        if (gradScale != null) {
            gradScale.requireOpen("optimizer.step", "gradScale");
        }
        if (skip != null) {
            skip.requireOpen("optimizer.step", "skip");
        }
        Gradients.of("optimizer.step", holders());
        follow();
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null) {
            int then = loads;
            capture.require(
                    () -> then == loads, "the settings of the optimiser were changed or loaded since the capture");
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor factor = gradScale == null ? null : gradScale.to(DType.FLOAT64);
            if (maximizes) {
                Device first = groups.get(0).device();
                factor = factor == null ? Tensor.full(Shape.SCALAR, -1, DType.FLOAT64, first) : factor.neg();
            }
            for (Group group : groups) {
                group.refreshMasters();
                List<@Nullable Tensor> all = Gradients.of("optimizer.step", group.params);
                List<Tensor> grads = Gradients.present(all);
                if (!grads.isEmpty()) {
                    Device on = group.device();
                    update(
                            group.with(all),
                            grads,
                            Objects.requireNonNull(rates.get(Rate.of(group))),
                            factor == null ? null : factor.to(on),
                            skip == null ? null : skip.to(on));
                }
                if (!group.master.isEmpty()) {
                    group.agree();
                }
            }
        }
    }

    abstract void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip);

    private List<Trainable> holders() {
        return slots.stream().map(Slot::holder).toList();
    }

    /** The gradients that there are, in lists of one dtype and device; for {@link GradScaler}. */
    final List<List<Tensor>> gradients() {
        return Gradients.ofKinds("optimizer", holders());
    }

    /** Drops and frees the gradients of all parameters. */
    public final void zeroGrad() {
        slots.forEach(slot -> slot.holder().tensor().setGrad(null));
    }

    /**
     * The learning rate from the next step on. In a captured graph too, for steps read it from the device; so set it
     * before {@code graph.run()}, not inside.
     *
     * @param value at least 0
     */
    public final void setLearningRate(double value) {
        requireNotNegative("learning rate", value);
        GraphCapture capture = Context.current().graphCapture();
        if (capture != null) {
            throw new GraphCaptureException(
                    Message.of("setLearningRate: " + value + " would be captured, and every replay would set it again")
                            .fix("call it before graph.run(), outside of the captured step."));
        }
        try (Autograd.Mode mode = Autograd.noGrad()) {
            rates.forEach((r, lr) -> lr.fill_(value * r.factor));
        }
        rate = value;
    }

    /**
     * The learning rate of the next step.
     *
     * @return the rate
     */
    public final double learningRate() {
        return rate;
    }

    /**
     * How many steps were made: the most that any parameter has had. Waits for the device.
     *
     * @return a number, at least 0
     */
    public final long steps() {
        long most = 0;
        for (Group group : groups) {
            try (Scope scope = Scope.open()) {
                for (long count : Tensor.stack(group.steps, 0).toLongArray()) {
                    most = Math.max(most, count);
                }
            }
        }
        return most;
    }

    // ---------------------------------------------------------------- state

    /** What kind of optimiser it is: states of another kind are refused. */
    abstract String kind();

    /** Numbers that steps depend on, beside rate and weight decay. */
    abstract void putSettings(StateDict into);

    /** Expects them; what is returned takes them over. */
    abstract Runnable readSettings(StateReader in);

    /**
     * All that the next step depends on: {@code kind}, {@code lr}, the settings ({@code beta1}, {@code momentum}, …), and
     * under {@code parameters.}<em>name</em> each parameter's {@code weight_decay}, {@code step}, states ({@code exp_avg},
     * {@code momentum_buffer}, …) and {@code master}. Names are those of {@link Parameter#name}; plain tensors are numbered.
     */
    @Override
    public final StateDict stateDict() {
        Gradients.of("optimizer.stateDict", holders()); // refuses closed ones
        follow();
        StateDict all = new StateDict().put("kind", kind()).put("lr", rate).put("maximize", maximizes);
        putSettings(all);
        byName().forEach((name, slot) -> {
            all.put(name + ".weight_decay", slot.weightDecay())
                    .put(name + ".rate_factor", slot.rate())
                    .put(name + ".step", slot.step());
            for (int k = 0; k < stateNames.size(); k++) {
                all.put(name + "." + stateNames.get(k), slot.states().get(k));
            }
            if (slot.master() != null) {
                all.put(name + ".master", slot.master());
            }
        });
        return all;
    }

    /**
     * Takes rate, settings, weight decays, counts, states and masters over. Masters that do not round to the parameters are
     * another model's: the parameters hold.
     *
     * @throws dev.merapi.error.StateDictException if it is the state of another kind of optimiser, of other parameters, or of
     *     parameters of another shape or dtype; nothing is changed then
     */
    @Override
    public final void loadStateDict(StateDict state) {
        Gradients.of("optimizer.loadStateDict", holders());
        follow();
        StateReader in = new StateReader("optimizer " + kind(), state);
        in.same("kind", kind());
        double newRate = in.number("lr");
        in.require(isNotNegative(newRate), "lr", newRate + " must be finite and may not be negative");
        Runnable settings = readSettings(in);
        boolean newMaximizes = in.flag("maximize");
        Map<Trainable, Slot> changed = new IdentityHashMap<>();
        byName().forEach((name, slot) -> {
            double decay = in.number(name + ".weight_decay");
            double factor = in.number(name + ".rate_factor");
            in.require(isNotNegative(decay), name + ".weight_decay", decay + " must be finite and may not be negative");
            in.require(
                    isNotNegative(factor), name + ".rate_factor", factor + " must be finite and may not be negative");
            if (decay != slot.weightDecay() || factor != slot.rate()) {
                changed.put(slot.holder(), slot.with(decay, factor));
            }
            in.tensor(name + ".step", slot.step());
            for (int k = 0; k < stateNames.size(); k++) {
                in.tensor(name + "." + stateNames.get(k), slot.states().get(k));
            }
            if (slot.master() != null) {
                in.tensor(name + ".master", slot.master());
            }
        });
        in.copy();
        settings.run();
        maximizes = newMaximizes;
        setLearningRate(newRate);
        if (changed.isEmpty()) {
            groups.forEach(group -> Arrays.fill(group.versions, -1));
        } else {
            change(() -> slots.stream()
                    .map(slot -> changed.getOrDefault(slot.holder(), slot))
                    .toList());
        }
        loads++;
    }

    private Map<String, Slot> byName() {
        Map<String, Slot> all = new LinkedHashMap<>();
        for (int i = 0; i < slots.size(); i++) {
            Slot slot = slots.get(i);
            String name = "parameters." + (slot.holder() instanceof Parameter p ? p.name() : String.valueOf(i));
            String unique = name;
            for (int n = 2; all.containsKey(unique); n++) { // two models
                unique = name + "#" + n;
            }
            all.put(unique, slot);
        }
        return all;
    }

    /** Frees the states. Idempotent. */
    @Override
    public final void close() {
        owned().forEach(Tensor::close);
    }
}
