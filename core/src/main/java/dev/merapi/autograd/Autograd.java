// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import dev.merapi.autograd.graph.AutogradMeta;
import dev.merapi.autograd.graph.BackwardPass;
import dev.merapi.autograd.graph.Edge;
import dev.merapi.autograd.graph.Gradients;
import dev.merapi.autograd.graph.GraphAccess;
import dev.merapi.autograd.graph.Jacobians;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.error.GradientException;
import dev.merapi.random.DrawLog;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** Gradients: running backward, the modes of recording, and hooks. */
public final class Autograd {
    private Autograd() {}

    /** How backward treats the graph. */
    public enum Graph {
        /** Saved tensors are freed as they are used. */
        FREE,
        /** They are kept, so that backward can run again. */
        RETAIN,
        /** They are kept, and the gradients get a graph of their own, to be differentiated again. */
        CREATE
    }

    // ---------------------------------------------------------------- backward

    /**
     * Accumulates d(loss)/d(leaf) into {@link Tensor#grad} of every leaf that requires it, and frees the graph.
     *
     * @param loss a floating tensor of one element, which was recorded
     * @throws GradientException if it has more elements, or is not part of a graph
     */
    public static void backward(Tensor loss) {
        Objects.requireNonNull(loss, "loss");
        backward(loss, null, Graph.FREE);
    }

    /**
     * As {@link #backward(Tensor)}, but only some leaves accumulate, and only what leads to them is computed: for a model
     * of which a part is trained at a time. A leaf that the loss does not depend on keeps the gradient that it has.
     *
     * @param loss a floating tensor of one element, which was recorded
     * @param leaves at least one; each requires a gradient, and no op made it
     * @throws GradientException if one of them is no such leaf, and as {@link #backward(Tensor)}
     */
    public static void backward(Tensor loss, List<Tensor> leaves) {
        Objects.requireNonNull(loss, "loss");
        Objects.requireNonNull(leaves, "leaves");
        if (leaves.isEmpty()) {
            throw new GradientException(
                    "backward: no leaf is named\n  fix: backward(loss) accumulates into all leaves.");
        }
        for (int i = 0; i < leaves.size(); i++) {
            Tensor leaf = Objects.requireNonNull(leaves.get(i), "leaves");
            if (!leaf.requiresGrad() || gradFn(leaf) != null) {
                throw new GradientException(
                        "backward: leaves[" + i + "], " + leaf.describe() + ", is not a leaf that requires a gradient\n"
                                + (leaf.requiresGrad()
                                        ? "  fix: an op made it: grad(loss, inputs) returns its gradient."
                                        : "  fix: requiresGrad(true) before the forward call."));
            }
        }
        Gradients.run("backward", new Tensor[] {loss}, null, array(leaves), BackwardPass.Aim.SOME_LEAVES, false, false);
    }

    /**
     * Accumulates vector-Jacobian products into the leaves.
     *
     * @param output a floating tensor that was recorded
     * @param gradient of the shape, dtype and device of {@code output}; null for ones if it has one element
     * @param graph what becomes of the graph
     * @throws GradientException if {@code output} is not part of a graph, or the gradient has another form
     */
    public static void backward(Tensor output, @Nullable Tensor gradient, Graph graph) {
        Objects.requireNonNull(output, "output");
        Objects.requireNonNull(graph, "graph");
        Tensor[] seeds = gradient == null ? null : new Tensor[] {gradient};
        Gradients.run(
                "backward",
                new Tensor[] {output},
                seeds,
                null,
                BackwardPass.Aim.ALL_LEAVES,
                graph == Graph.RETAIN,
                graph == Graph.CREATE);
    }

    /**
     * As {@link #backward(Tensor, Tensor, Graph)} for several outputs in one pass; a leaf accumulates once.
     *
     * @param outputs floating tensors that were recorded
     * @param gradients one in the form of each output, or null for ones where each has one element
     * @param graph what becomes of the graph
     */
    public static void backward(List<Tensor> outputs, @Nullable List<Tensor> gradients, Graph graph) {
        Objects.requireNonNull(outputs, "outputs");
        Objects.requireNonNull(graph, "graph");
        Tensor[] seeds = gradients == null ? null : array(gradients);
        Gradients.run(
                "backward",
                array(outputs),
                seeds,
                null,
                BackwardPass.Aim.ALL_LEAVES,
                graph == Graph.RETAIN,
                graph == Graph.CREATE);
    }

    // ---------------------------------------------------------------- gradients as results

    /**
     * d(output)/d(inputs), returned instead of accumulated; frees the graph.
     *
     * @param output a floating tensor of one element, which was recorded
     * @param inputs leaves or what ops made; each requires a gradient
     * @return a gradient in the form of each input
     * @throws GradientException if an input was not used: {@link #gradOrZeros} gives zeros for it
     */
    public static List<Tensor> grad(Tensor output, List<Tensor> inputs) {
        return grad(output, inputs, Graph.FREE);
    }

    /**
     * As {@link #grad(Tensor, List)}; with {@link Graph#CREATE} the gradients can be differentiated again.
     *
     * @param output a floating tensor of one element, which was recorded
     * @param inputs leaves or what ops made; each requires a gradient
     * @param graph what becomes of the graph
     * @return a gradient in the form of each input
     * @throws GradientException if an input was not used: {@link #gradOrZeros} gives zeros for it
     */
    public static List<Tensor> grad(Tensor output, List<Tensor> inputs, Graph graph) {
        Objects.requireNonNull(output, "output");
        return grad(List.of(output), inputs, null, graph, false);
    }

    /**
     * As {@link #grad(Tensor, List)}, with zeros for an input that the output does not depend on.
     *
     * @param output a floating tensor of one element, which was recorded
     * @param inputs leaves or what ops made; each requires a gradient
     * @return a gradient in the form of each input
     */
    public static List<Tensor> gradOrZeros(Tensor output, List<Tensor> inputs) {
        return gradOrZeros(output, inputs, Graph.FREE);
    }

    /**
     * As {@link #gradOrZeros(Tensor, List)}; with {@link Graph#CREATE} the gradients can be differentiated again, except
     * for the zeros, which are constants.
     *
     * @param output a floating tensor of one element, which was recorded
     * @param inputs leaves or what ops made; each requires a gradient
     * @param graph what becomes of the graph
     * @return a gradient in the form of each input
     */
    public static List<Tensor> gradOrZeros(Tensor output, List<Tensor> inputs, Graph graph) {
        Objects.requireNonNull(output, "output");
        List<@Nullable Tensor> found = gradients("gradOrZeros", List.of(output), inputs, null, graph, true);
        List<Tensor> result = new ArrayList<>();
        for (int i = 0; i < inputs.size(); i++) {
            Tensor gradient = found.get(i);
            result.add(gradient == null ? inputs.get(i).zerosLike() : gradient);
        }
        return result;
    }

    /**
     * Vector-Jacobian products for some inputs; no leaf is touched, and only what leads to them is computed.
     *
     * @param outputs floating tensors that were recorded
     * @param inputs leaves or what ops made; each requires a gradient
     * @param gradients one in the form of each output, or null for ones where each has one element
     * @param graph what becomes of the graph
     * @param allowUnused whether an input that the outputs do not depend on gives null; else it is an error
     * @return a gradient in the form of each input, or null
     */
    public static List<Tensor> grad(
            List<Tensor> outputs,
            List<Tensor> inputs,
            @Nullable List<Tensor> gradients,
            Graph graph,
            boolean allowUnused) {
        return gradients("grad", outputs, inputs, gradients, graph, allowUnused);
    }

    private static List<Tensor> gradients(
            String what,
            List<Tensor> outputs,
            List<Tensor> inputs,
            @Nullable List<Tensor> gradients,
            Graph graph,
            boolean allowUnused) {
        Objects.requireNonNull(outputs, "outputs");
        Objects.requireNonNull(inputs, "inputs");
        Objects.requireNonNull(graph, "graph");
        return Gradients.of(
                what, outputs, inputs, gradients, graph == Graph.RETAIN, graph == Graph.CREATE, allowUnused);
    }

    private static Tensor[] array(List<Tensor> tensors) {
        return Gradients.array(tensors);
    }

    // ---------------------------------------------------------------- forward mode

    /**
     * A function at {@code x}, and its Jacobian times {@code tangent}, in one forward pass: as {@code torch.func.jvp}.
     *
     * <p>Every op moves tangents along as it computes: by its own rule ({@code Op.jvp}, {@code Op.linear}), through its
     * parts, or by the backward of its backward. It nests, and works within and around {@link #grad}:
     * {@code jvp(in -> grad(f(in), …), x, v)} is the product of the Hessian with v. Gradients flow through value and tangent
     * if {@code x} or {@code tangent} requires one. {@code detach()} drops the tangent; {@link #noGrad} does not.
     *
     * @param f runs once; writes nothing in place that depends on {@code x}
     * @param x where the function is taken: floating
     * @param tangent of the shape, dtype and device of {@code x}, which is floating
     * @return value and tangent, both in the shape and dtype of what {@code f} returns
     * @throws dev.merapi.error.ShapeException if the tangent has another form
     * @throws GradientException if {@code f} calls an op that forward mode refuses (one that writes in place, draws random
     *     numbers, or is differentiable only once), naming it; if another thread calls an op on what has a tangent; or in
     *     inference mode
     */
    public static Dual jvp(UnaryOperator<Tensor> f, Tensor x, Tensor tangent) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(x, "x");
        Objects.requireNonNull(tangent, "tangent");
        return Jacobians.jvp("jvp", in -> List.of(f.apply(in.get(0))), List.of(x), List.of(tangent))
                .get(0);
    }

    /**
     * As {@link #jvp(UnaryOperator, Tensor, Tensor)}, of several inputs, each with its tangent.
     *
     * @param f runs once; writes nothing in place that depends on the inputs
     * @param inputs floating tensors
     * @param tangents one in the form of each input; zeros for inputs that stay as they are
     * @return value and tangent, both in the shape and dtype of what {@code f} returns
     */
    public static Dual jvp(Function<List<Tensor>, Tensor> f, List<Tensor> inputs, List<Tensor> tangents) {
        Objects.requireNonNull(f, "f");
        return Jacobians.jvp("jvp", in -> List.of(f.apply(in)), checked(inputs), checked(tangents))
                .get(0);
    }

    /**
     * As {@link #jvp(UnaryOperator, Tensor, Tensor)}, of several inputs and outputs: one value and tangent an output.
     *
     * @param f runs once; writes nothing in place that depends on the inputs
     * @param inputs floating tensors
     * @param tangents one in the form of each input; zeros for inputs that stay as they are
     * @return one for each output, in the order of what {@code f} returns
     */
    public static List<Dual> jvpMany(
            Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs, List<Tensor> tangents) {
        Objects.requireNonNull(f, "f");
        return Jacobians.jvp("jvpMany", f, checked(inputs), checked(tangents));
    }

    /**
     * The Jacobian of {@code f} at {@code x}, of the shape of the result followed by that of {@code x}: in forward mode if
     * {@code x} has fewer elements than the result, else in reverse, which takes {@code f} to run twice.
     *
     * @param f a function of one tensor
     * @param x where it is taken: floating
     * @return a tensor of as many dimensions as result and {@code x} have together, in the dtype of the result
     * @throws GradientException if {@code f} calls an op that has no derivative in the mode that is taken
     */
    public static Tensor jacobian(UnaryOperator<Tensor> f, Tensor x) {
        Objects.requireNonNull(f, "f");
        Objects.requireNonNull(x, "x");
        return Jacobians.either("jacobian", in -> List.of(f.apply(in.get(0))), List.of(x))
                .get(0)
                .get(0);
    }

    /**
     * As {@link #jacobian(UnaryOperator, Tensor)}, of several inputs and outputs.
     *
     * @param f a function of all inputs
     * @param inputs floating tensors
     * @return per output, per input: a tensor of the output's shape followed by the input's
     */
    public static List<List<Tensor>> jacobian(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        return Jacobians.either("jacobian", f, checked(inputs));
    }

    /**
     * {@link #jacobian(Function, List)} in forward mode: one pass for each element of the inputs.
     *
     * @param f runs once for each element of the inputs
     * @param inputs floating tensors
     * @return per output, per input: a tensor of the output's shape followed by the input's
     */
    public static List<List<Tensor>> jacfwd(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        return Jacobians.forward("jacfwd", f, checked(inputs));
    }

    /**
     * {@link #jacobian(Function, List)} in reverse mode: one backward for each element of the outputs.
     *
     * @param f runs once, and its graph is gone through for each element of the outputs
     * @param inputs floating tensors
     * @return per output, per input: a tensor of the output's shape followed by the input's
     */
    public static List<List<Tensor>> jacrev(Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        Objects.requireNonNull(f, "f");
        return Jacobians.reverse("jacrev", f, checked(inputs));
    }

    private static List<Tensor> checked(List<Tensor> tensors) {
        return List.of(array(Objects.requireNonNull(tensors, "tensors")));
    }

    // ---------------------------------------------------------------- modes

    /** A mode that ends when it is closed, with those that were opened inside it and are still open. */
    public interface Mode extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * Nothing is recorded on this thread until the mode is closed.
     *
     * @return the mode, to be closed by this thread
     */
    public static Mode noGrad() {
        return gradMode(false);
    }

    /**
     * Recording is on again, inside {@link #noGrad}. Not so in {@link #inference inference mode}, which records nothing.
     *
     * @return the mode, to be closed by this thread
     */
    public static Mode enableGrad() {
        return gradMode(true);
    }

    private static Mode gradMode(boolean enabled) {
        Context context = Context.current();
        boolean before = context.setGradEnabled(enabled);
        return mode(context, enabled ? "enableGrad" : "noGrad", () -> context.setGradEnabled(before));
    }

    /**
     * Runs {@code body} without recording.
     *
     * @param <T> what it returns
     * @param body the work
     * @return what {@code body} returned, which requires no gradient
     */
    public static <T extends @Nullable Object> T noGrad(Supplier<T> body) {
        Objects.requireNonNull(body, "body");
        try (Mode mode = noGrad()) {
            return body.get();
        }
    }

    /**
     * As {@link #noGrad}, and what is made inside can never become part of a graph: the cheapest mode.
     *
     * @return the mode, to be closed by this thread
     */
    public static Mode inference() {
        Context context = Context.current();
        boolean grad = context.setGradEnabled(false);
        boolean before = context.setInference(true);
        return mode(context, "inference", () -> {
            context.setInference(before);
            context.setGradEnabled(grad);
        });
    }

    /**
     * Nodes remember where they were made, errors in backward show it, and NaN in a gradient is an error. Slow.
     *
     * @return the mode, to be closed by this thread
     */
    public static Mode anomaly() {
        Context context = Context.current();
        boolean before = context.setAnomaly(true);
        return mode(context, "anomaly", () -> context.setAnomaly(before));
    }

    private static Mode mode(Context context, String name, Runnable undo) {
        return ThreadMode.begin(context, name, undo)::close;
    }

    /** {@return whether this thread records what it does to tensors that require a gradient} */
    public static boolean isGradEnabled() {
        return Context.current().isGradEnabled();
    }

    /**
     * {@return whether this thread computes a part of the forward call again, for backward: in a {@link Checkpoint}, or
     * in the composition of an op}. Its random numbers are those of the first time; state that a forward call moves on
     * must not move again.
     */
    public static boolean isRecomputing() {
        return DrawLog.isReplaying();
    }

    // ---------------------------------------------------------------- hooks

    /**
     * Called with the gradient of a tensor when it is complete, before it travels on; may return another in its place
     * (same shape, dtype, device). Returns what removes it.
     *
     * @param tensor one that requires a gradient, leaf or not
     * @param hook takes the gradient, in the form of the tensor, and returns it or another
     * @return what removes the hook
     */
    public static Runnable hook(Tensor tensor, UnaryOperator<Tensor> hook) {
        Objects.requireNonNull(tensor, "tensor");
        Objects.requireNonNull(hook, "hook");
        AutogradMeta m = AutogradMeta.of(tensor);
        if (m == null || !tensor.requiresGrad()) {
            throw Gradients.notPartOfGraph("hook", tensor);
        }
        Edge history = m.history();
        return history == null ? m.addHook(hook) : history.node().addOutputHook(history.output(), hook);
    }

    /**
     * Called with a leaf after its gradient was accumulated, once per backward pass. Moves along with a parameter whose
     * model moves, and is called with its new tensor then.
     *
     * @param leaf one that requires a gradient
     * @param hook takes the leaf, whose {@link Tensor#grad} is there
     * @return what removes the hook
     */
    public static Runnable hookAfterAccumulate(Tensor leaf, Consumer<Tensor> hook) {
        Objects.requireNonNull(leaf, "leaf");
        Objects.requireNonNull(hook, "hook");
        AutogradMeta m = AutogradMeta.of(leaf);
        if (m == null || m.gradFn() != null || !leaf.requiresGrad()) {
            throw new GradientException(
                    "hookAfterAccumulate: only leaves that require a gradient accumulate; this is " + leaf.describe());
        }
        return m.addAccumulateHook(gradient -> hook.accept(GraphAccess.latest(leaf)));
    }

    /**
     * Keeps the gradient of a tensor that is not a leaf: after backward, {@code tensor.grad()} has it.
     *
     * @param tensor one that requires a gradient
     */
    public static void retainGrad(Tensor tensor) {
        Objects.requireNonNull(tensor, "tensor");
        AutogradMeta m = AutogradMeta.of(tensor);
        if (m == null || !tensor.requiresGrad()) {
            throw Gradients.notPartOfGraph("retainGrad", tensor);
        }
        m.retainGrad();
    }

    /**
     * Runs when the backward pass in progress on this thread has finished; at once if there is none.
     *
     * @param action what is run, on this thread
     */
    public static void atEndOfBackward(Runnable action) {
        Objects.requireNonNull(action, "action");
        BackwardPass.atEnd(action);
    }

    /**
     * The node that made a tensor, or null for a leaf: the way into its graph.
     *
     * @param tensor any tensor that is open
     * @return the node, or null
     */
    public static @Nullable Node gradFn(Tensor tensor) {
        Objects.requireNonNull(tensor, "tensor");
        AutogradMeta m = AutogradMeta.of(tensor);
        return m == null ? null : m.gradFn();
    }

    /**
     * Says in words why a tensor does not require a gradient.
     *
     * @param tensor any tensor that is open
     * @return a sentence for messages
     */
    public static String whyNoGrad(Tensor tensor) {
        return Gradients.whyNone(Objects.requireNonNull(tensor, "tensor"));
    }
}
