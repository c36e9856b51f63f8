// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Changes parameters by their gradients. Parameters without a gradient are left alone, and do not count the step: one that
 * gets its first gradient late begins as all others did. States, learning rate (float64) and counts of steps (int64) are
 * tensors on the parameters' device; they belong to the optimiser and live until {@link #close}.
 *
 * <p>The parameters are those that it was made with. A model that moves to another device or dtype gets others, so the
 * optimiser is made after that; a step with a parameter that was replaced or closed is refused.
 *
 * <p>Beside 16-bit parameters the optimiser keeps float32 <em>masters</em>, steps those, and rounds them to the parameters:
 * most steps are smaller than what 16 bits can show of a weight, and would be lost. They are part of the state. A parameter
 * that somebody else wrote, such as by loading a model, is taken over into its master.
 */
public abstract class Optimizer implements AutoCloseable {
    /** Parameters of one dtype that share settings. */
    static final class Group {
        final List<Tensor> params;
        final double weightDecay;
        final List<List<Tensor>> states = new ArrayList<>();
        /** How many steps each parameter has had: views of {@link #counts}. */
        List<Tensor> steps = List.of();

        @Nullable
        Tensor counts; // int64 [number of parameters]; null in a part of a group

        /** The parameters in float32; empty if they are what is stepped. */
        List<Tensor> master = List.of();
        /** The parameters' versions when the masters last agreed with them. */
        int[] versions = {};

        Group(List<Tensor> params, double weightDecay) {
            this.params = List.copyOf(params);
            this.weightDecay = weightDecay;
        }
    }

    private final List<Group> groups = new ArrayList<>();
    private final int statesPerParameter;
    private final Tensor lr;
    private boolean masters = true;

    Optimizer(List<Tensor> params, double lr, double weightDecay, int statesPerParameter) {
        Objects.requireNonNull(params, "params").forEach(p -> Objects.requireNonNull(p, "params"));
        if (params.isEmpty()) {
            throw new IllegalArgumentException("optimizer: there are no parameters");
        }
        requireNotNegative("learning rate", lr);
        requireNotNegative("weight decay", weightDecay);
        this.statesPerParameter = statesPerParameter;
        this.lr = Tensor.scalar(lr).to(params.get(0).device()).leaveScope();
        add(params, weightDecay);
    }

    private static void requireNotNegative(String what, double value) {
        if (!(value >= 0 && Double.isFinite(value))) {
            throw new IllegalArgumentException(
                    "optimizer: " + what + " " + value + " must be finite and may not be negative");
        }
    }

    /**
     * Adds parameters with another weight decay; those of different dtypes become groups of their own.
     *
     * @throws DeviceException if one is on another device than the first
     */
    public final void add(List<Tensor> params, double weightDecay) {
        Objects.requireNonNull(params, "params").forEach(p -> Objects.requireNonNull(p, "params"));
        requireNotNegative("weight decay", weightDecay);
        gradients("optimizer", params); // refuses closed ones
        Map<DType, List<Tensor>> ofType = new LinkedHashMap<>();
        Set<Tensor> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        groups.forEach(group -> seen.addAll(group.params));
        for (Tensor p : params) {
            if (!seen.add(p)) {
                throw new IllegalArgumentException("optimizer: " + p.describe()
                        + " is given twice, and would be stepped twice\n  fix: pass each parameter once.");
            }
            if (!p.requiresGrad() || Autograd.gradFn(p) != null) {
                throw new IllegalArgumentException(
                        "optimizer: " + p.describe() + " is not a leaf that requires a gradient");
            }
            if (p.device() != lr.device()) {
                throw new DeviceException(Message.of("optimizer: " + p.describe() + " is not on the device of the first"
                                + " parameter, " + lr.device())
                        .fix("use an optimizer for each device, or move the parameter with to(device)."));
            }
            ofType.computeIfAbsent(p.dtype(), t -> new ArrayList<>()).add(p);
        }
        ofType.values().forEach(same -> groups.add(group(same, weightDecay)));
    }

    private Group group(List<Tensor> params, double weightDecay) {
        Group group = new Group(params, weightDecay);
        for (int k = 0; k < statesPerParameter; k++) {
            List<Tensor> states = new ArrayList<>();
            for (Tensor p : params) {
                states.add(Tensor.zeros(p.shape(), p.dtype().computeType(), p.device())
                        .leaveScope());
            }
            group.states.add(states);
        }
        DType dtype = params.get(0).dtype();
        Tensor counts = Tensor.zeros(
                        Shape.of(params.size()), DType.INT64, params.get(0).device())
                .leaveScope();
        group.counts = counts;
        group.steps = java.util.stream.IntStream.range(0, params.size())
                .mapToObj(i -> counts.at(i).leaveScope())
                .toList();
        if (masters && dtype != dtype.computeType()) {
            try (Autograd.Mode mode = Autograd.noGrad()) {
                group.master = params.stream()
                        .map(p -> p.detach().to(dtype.computeType()).leaveScope())
                        .toList();
            }
            group.versions = versions(params);
        }
        return group;
    }

    private static int[] versions(List<Tensor> params) {
        return params.stream().mapToInt(Tensor::version).toArray();
    }

    /**
     * Steps 16-bit parameters themselves from now on, and frees their masters: saves four bytes a parameter, and loses
     * what their rounding does not show.
     */
    public final void dropMasters() {
        masters = false;
        for (Group group : groups) {
            group.master.forEach(Tensor::close);
            group.master = List.of();
        }
    }

    /** Where somebody else wrote a parameter, its master follows; where it rounds to the parameter anyway, it stays. */
    private static void refreshMasters(Group group) {
        for (int i = 0; i < group.master.size(); i++) {
            Tensor p = group.params.get(i);
            if (p.version() != group.versions[i]) {
                Tensor master = group.master.get(i);
                Tensor same = master.to(p.dtype()).eq(p);
                master.copy_(Tensor.where(same, master, p.to(master.dtype())));
            }
        }
    }

    /** One step with the gradients as they are. */
    public final void step() {
        step(null);
    }

    /** One step with gradients multiplied by a 0-d floating tensor, such as {@link Clip#norm} gives. */
    public final void step(@Nullable Tensor gradScale) {
        step(gradScale, null);
    }

    /**
     * As above; if {@code skip}, 0-d float32, is not 0, nothing changes and the step does not count.
     *
     * @throws ClosedTensorException if a parameter was closed, or replaced because its model moved; nothing is changed then
     */
    public final void step(@Nullable Tensor gradScale, @Nullable Tensor skip) {
        List<List<@Nullable Tensor>> all = new ArrayList<>(groups.size());
        for (Group group : groups) {
            all.add(gradients("optimizer.step", group.params));
        }
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            Tensor factor = gradScale == null ? null : gradScale.to(DType.FLOAT64);
            for (int g = 0; g < groups.size(); g++) {
                Group group = groups.get(g);
                refreshMasters(group);
                List<Tensor> grads = present(all.get(g));
                if (!grads.isEmpty()) {
                    update(withGradients(group, all.get(g), grads.size()), grads, lr, factor, skip);
                }
                if (!group.master.isEmpty()) {
                    group.versions = versions(group.params);
                }
            }
        }
    }

    /** The gradients that there are, in lists of one dtype; for {@link GradScaler}. */
    final List<List<Tensor>> gradients() {
        List<List<Tensor>> all = new ArrayList<>();
        for (Group group : groups) {
            List<Tensor> grads = present(gradients("optimizer", group.params));
            if (!grads.isEmpty()) {
                all.add(grads);
            }
        }
        return all;
    }

    abstract void update(Group group, List<Tensor> grads, Tensor lr, @Nullable Tensor gradScale, @Nullable Tensor skip);

    /**
     * The gradient of each parameter, or null. A closed parameter has none any more: passing it over would train nothing,
     * and say nothing.
     */
    static List<@Nullable Tensor> gradients(String what, List<Tensor> params) {
        List<@Nullable Tensor> grads = new ArrayList<>(params.size());
        for (Tensor p : Objects.requireNonNull(params, "params")) {
            Tensor g = Objects.requireNonNull(p, "params").isClosed() ? null : p.grad();
            if (p.isClosed() || g != null && g.isClosed()) {
                throw new ClosedTensorException(Message.of(what + ": " + (g == null ? "" : "the gradient of ")
                                + "parameter " + grads.size() + " of " + params.size() + ", " + p.describe()
                                + ", was closed" + (g == null ? ", or replaced when its model moved" : ""))
                        .fix("move or convert the model first, with to(…), and make the optimizer of"
                                + " model.parameters() then; loadStateDict carries a state over."));
            }
            grads.add(g);
        }
        return grads;
    }

    private static List<Tensor> present(List<@Nullable Tensor> grads) {
        List<Tensor> present = new ArrayList<>(grads.size());
        for (Tensor g : grads) {
            if (g != null) {
                present.add(g);
            }
        }
        return present;
    }

    /** The part of a group that has gradients, so many. */
    private static Group withGradients(Group group, List<@Nullable Tensor> grads, int count) {
        if (count == group.params.size()) {
            return group;
        }
        List<Tensor> params = new ArrayList<>();
        List<List<Tensor>> states = new ArrayList<>();
        group.states.forEach(s -> states.add(new ArrayList<>()));
        List<Tensor> master = new ArrayList<>();
        List<Tensor> steps = new ArrayList<>();
        for (int i = 0; i < group.params.size(); i++) {
            if (grads.get(i) != null) {
                params.add(group.params.get(i));
                steps.add(group.steps.get(i));
                for (int k = 0; k < states.size(); k++) {
                    states.get(k).add(group.states.get(k).get(i));
                }
                if (!group.master.isEmpty()) {
                    master.add(group.master.get(i));
                }
            }
        }
        Group part = new Group(params, group.weightDecay);
        part.states.addAll(states);
        part.master = master;
        part.steps = steps;
        return part;
    }

    /** Drops and frees the gradients of all parameters. */
    public final void zeroGrad() {
        groups.forEach(g -> g.params.forEach(p -> p.setGrad(null)));
    }

    /**
     * The learning rate from the next step on. In a captured graph too, for steps read it from the device; so set it
     * before {@code graph.run()}, not inside.
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
            lr.fill_(value);
        }
    }

    /** The learning rate of the next step. */
    public final double learningRate() {
        return lr.item();
    }

    /** How many steps were made: the most that any parameter has had. Waits for the device. */
    public final long steps() {
        long most = 0;
        for (Group group : groups) {
            for (long count : java.util.Objects.requireNonNull(group.counts).toLongArray()) {
                most = Math.max(most, count);
            }
        }
        return most;
    }

    /** Everything that the next step depends on, by name: the tensors themselves. */
    public final Map<String, Tensor> stateDict() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("lr", lr);
        for (int g = 0; g < groups.size(); g++) {
            all.put("group" + g + ".steps", java.util.Objects.requireNonNull(groups.get(g).counts));
            List<List<Tensor>> states = groups.get(g).states;
            for (int k = 0; k < states.size(); k++) {
                for (int i = 0; i < states.get(k).size(); i++) {
                    all.put("group" + g + ".state" + k + "." + i, states.get(k).get(i));
                }
            }
            List<Tensor> master = groups.get(g).master;
            for (int i = 0; i < master.size(); i++) {
                all.put("group" + g + ".master." + i, master.get(i));
            }
        }
        return all;
    }

    /** Copies a state in; nothing is changed if it does not fit. */
    public final void loadStateDict(Map<String, Tensor> state) {
        Objects.requireNonNull(state, "state");
        Map<String, Tensor> mine = stateDict();
        if (!mine.keySet().equals(state.keySet())) {
            throw new ShapeException(Message.of("optimizer.loadStateDict: the names differ")
                    .fact("expected", mine.keySet())
                    .fact("got", state.keySet()));
        }
        mine.forEach((name, t) -> {
            if (!t.shape()
                    .equals(java.util.Objects.requireNonNull(state.get(name)).shape())) {
                throw new ShapeException("optimizer.loadStateDict: " + name + " is "
                        + java.util.Objects.requireNonNull(state.get(name)).describe() + ", expected " + t.describe());
            }
        });
        requireNotNegative(
                "learning rate of the state",
                java.util.Objects.requireNonNull(state.get("lr")).item());
        try (Autograd.Mode mode = Autograd.noGrad()) {
            mine.forEach((name, t) ->
                    t.copy_(java.util.Objects.requireNonNull(state.get(name)).to(t.device())));
        }
        // Masters that do not round to their parameters are another model's: the parameters hold.
        groups.forEach(g -> java.util.Arrays.fill(g.versions, -1));
    }

    /** Frees the states. */
    @Override
    public final void close() {
        groups.forEach(group -> group.steps.forEach(Tensor::close));
        stateDict().values().forEach(Tensor::close);
    }
}
