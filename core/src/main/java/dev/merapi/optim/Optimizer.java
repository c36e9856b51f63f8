// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.GraphCapture;
import dev.merapi.error.GraphCaptureException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Changes parameters by their gradients. Parameters without a gradient are left alone. States, learning rate and step are
 * tensors on the parameters' device; they belong to the optimiser and live until {@link #close}.
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
    private final Tensor step;
    private boolean masters = true;

    Optimizer(List<Tensor> params, double lr, double weightDecay, int statesPerParameter) {
        if (params.isEmpty()) {
            throw new IllegalArgumentException("optimizer: there are no parameters");
        }
        if (!(lr >= 0) || !(weightDecay >= 0)) {
            throw new IllegalArgumentException(
                    "optimizer: learning rate " + lr + " and weight decay " + weightDecay + " may not be negative");
        }
        this.statesPerParameter = statesPerParameter;
        this.lr = scalar(lr, params.get(0));
        this.step = scalar(0, params.get(0));
        add(params, weightDecay);
    }

    private static Tensor scalar(double value, Tensor like) {
        return Tensor.scalar(value, DType.FLOAT32).to(like.device()).leaveScope();
    }

    /** Adds parameters with another weight decay; those of different dtypes become groups of their own. */
    public final void add(List<Tensor> params, double weightDecay) {
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

    /** One step with gradients multiplied by a 0-d float32 tensor, such as {@link Clip#norm} gives. */
    public final void step(@Nullable Tensor gradScale) {
        step(gradScale, null);
    }

    /** As above; if {@code skip}, 0-d float32, is not 0, nothing changes and the step does not count. */
    public final void step(@Nullable Tensor gradScale, @Nullable Tensor skip) {
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            if (skip == null) {
                step.add_(1);
            } else {
                step.add_(skip.eq(0).to(DType.FLOAT32));
            }
            for (Group group : groups) {
                refreshMasters(group);
                Group ready = withGradients(group);
                if (!ready.params.isEmpty()) {
                    update(ready, gradients(ready), lr, step, gradScale, skip);
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
            List<Tensor> grads = gradients(withGradients(group));
            if (!grads.isEmpty()) {
                all.add(grads);
            }
        }
        return all;
    }

    abstract void update(
            Group group, List<Tensor> grads, Tensor lr, Tensor step, @Nullable Tensor gradScale, @Nullable Tensor skip);

    private static Group withGradients(Group group) {
        if (group.params.stream().allMatch(p -> p.grad() != null)) {
            return group;
        }
        List<Tensor> params = new ArrayList<>();
        List<List<Tensor>> states = new ArrayList<>();
        group.states.forEach(s -> states.add(new ArrayList<>()));
        List<Tensor> master = new ArrayList<>();
        for (int i = 0; i < group.params.size(); i++) {
            if (group.params.get(i).grad() != null) {
                params.add(group.params.get(i));
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
        return part;
    }

    private static List<Tensor> gradients(Group group) {
        List<Tensor> grads = new ArrayList<>(group.params.size());
        for (Tensor p : group.params) {
            grads.add(java.util.Objects.requireNonNull(p.grad()));
        }
        return grads;
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

    /** Number of steps made. */
    public final long steps() {
        return Math.round(step.item());
    }

    /** Everything that the next step depends on, by name: the tensors themselves. */
    public final Map<String, Tensor> stateDict() {
        Map<String, Tensor> all = new LinkedHashMap<>();
        all.put("step", step);
        all.put("lr", lr);
        for (int g = 0; g < groups.size(); g++) {
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
        stateDict().values().forEach(Tensor::close);
    }
}
