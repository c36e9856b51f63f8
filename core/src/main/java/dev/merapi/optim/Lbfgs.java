// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
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
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno, for losses without noise: a step calculates the loss
 * several times. As {@code torch.optim.LBFGS}.
 *
 * <pre>{@code
 * optimizer.step(() -> {
 *     optimizer.zeroGrad();
 *     Tensor loss = Losses.mseLoss(model.forward(x), y);
 *     Autograd.backward(loss);
 *     return loss;
 * });
 * }</pre>
 *
 * <p>Parameters are float32 or float64, of one dtype and on one device; when the model moves, what is kept follows. It keeps
 * two vectors as long as all parameters for each step that it remembers. Each step waits for the device.
 */
public final class Lbfgs implements Stateful, AutoCloseable {
    /** What is remembered of an earlier step: how the gradient and the parameters changed, and 1 / their product. */
    private record Memory(Tensor gradient, Tensor step, double inverse) {}

    private final List<Trainable> params;
    private final double lr;
    private final int iterations;
    private final int evaluations;
    private final double toleranceGrad;
    private final double toleranceChange;
    private final int history;
    private final boolean strongWolfe;

    private final List<Memory> memory = new ArrayList<>();
    private long steps;
    private double length;
    private double diagonal = 1;
    private double lossBefore;
    /** Of the last iteration; null before the first. */
    private @Nullable Tensor direction;

    private @Nullable Tensor gradientBefore;

    /**
     * With PyTorch's numbers, and a line search: 20 iterations a step, 100 remembered.
     *
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the length of the first try along each direction, mostly 1
     */
    public Lbfgs(List<? extends Trainable> params, double lr) {
        this(params, lr, 20, 25, 1e-7, 1e-9, 100, true);
    }

    /**
     * @param params parameters of a model, or leaves that require a gradient
     * @param lr the length of the first try along each direction; without a line search that of each step
     * @param iterations the most directions a step, at least 1
     * @param evaluations the most losses a step, at least 1; PyTorch's default is a quarter more than iterations
     * @param toleranceGrad ends where no element of the gradient is larger
     * @param toleranceChange ends where loss or parameters change less
     * @param history how many directions are remembered, at least 1
     * @param strongWolfe whether the length of a step is searched for; false is PyTorch's default
     * @throws IllegalArgumentException if a number is not as said here
     * @throws DTypeException if parameters are of several dtypes or devices, or of 16 bits
     */
    public Lbfgs(
            List<? extends Trainable> params,
            double lr,
            int iterations,
            int evaluations,
            double toleranceGrad,
            double toleranceChange,
            int history,
            boolean strongWolfe) {
        Objects.requireNonNull(params, "params").forEach(p -> Objects.requireNonNull(p, "params"));
        if (!(lr >= 0 && Double.isFinite(lr)) || iterations < 1 || evaluations < 1 || history < 1) {
            throw new IllegalArgumentException("lbfgs: lr " + lr + " must be finite and not negative, iterations "
                    + iterations + ", evaluations " + evaluations + " and history " + history + " at least 1");
        }
        if (params.isEmpty()) {
            throw new IllegalArgumentException("lbfgs: there are no parameters");
        }
        this.params = List.copyOf(params);
        this.lr = lr;
        this.iterations = iterations;
        this.evaluations = evaluations;
        this.toleranceGrad = toleranceGrad;
        this.toleranceChange = toleranceChange;
        this.history = history;
        this.strongWolfe = strongWolfe;
        tensors();
    }

    /** The parameters as they are now. */
    private List<Tensor> tensors() {
        Gradients.of("lbfgs", params); // refuses closed ones
        List<Tensor> all = params.stream().map(Trainable::tensor).toList();
        DType dtype = all.get(0).dtype();
        Device device = all.get(0).device();
        for (Tensor p : all) {
            if (p.dtype() != dtype || p.device() != device || dtype != dtype.computeType()) {
                throw new DTypeException(Message.of(
                                "lbfgs: parameters must be float32 or float64, all of one dtype and" + " on one device")
                        .fact("first", all.get(0).describe())
                        .fact("another", p.describe())
                        .fix("convert the model with to(…)."));
            }
        }
        return all;
    }

    // ---------------------------------------------------------------- flat vectors, which are owned

    private static Tensor own(Tensor t) {
        return t.leaveScope();
    }

    private static void free(@Nullable Tensor t) {
        if (t != null) {
            t.close();
        }
    }

    private static Tensor gradient(List<Tensor> params) {
        try (Scope scope = Scope.open()) {
            List<Tensor> parts = new ArrayList<>();
            for (Tensor p : params) {
                Tensor g = p.grad();
                parts.add(
                        g == null
                                ? Tensor.zeros(Shape.of(p.numel()), p.dtype(), p.device())
                                : g.detach().contiguous().view(-1));
            }
            return own(Tensor.cat(parts, 0).copy());
        }
    }

    private static void add(List<Tensor> params, Tensor update, double times) {
        try (Scope scope = Scope.open()) {
            long at = 0;
            for (Tensor p : params) {
                Tensor part = update.slice(0, at, at + p.numel()).view(p.shape().toArray());
                p.add_(part.mul(times));
                at += p.numel();
            }
        }
    }

    private static double dot(Tensor x, Tensor y) {
        try (Scope scope = Scope.open()) {
            return x.mul(y).sum().item();
        }
    }

    private static double largest(Tensor x) {
        try (Scope scope = Scope.open()) {
            return x.numel() == 0 ? 0 : x.abs().max().item();
        }
    }

    private static double evaluate(Supplier<Tensor> closure) {
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.enableGrad()) {
            return Objects.requireNonNull(closure.get(), "the closure's loss").item();
        }
    }

    /** What is kept, beside the tensors that there are now. */
    private void follow(Tensor like) {
        if (direction == null || direction.dtype() == like.dtype() && direction.device() == like.device()) {
            return;
        }
        List<Memory> before = List.copyOf(memory);
        memory.clear();
        before.forEach(m -> memory.add(new Memory(moved(m.gradient, like), moved(m.step, like), m.inverse)));
        direction = moved(direction, like);
        gradientBefore = moved(Objects.requireNonNull(gradientBefore), like);
    }

    private static Tensor moved(Tensor t, Tensor like) {
        try (Scope scope = Scope.open()) {
            Tensor there = own(t.to(like.dtype()).to(like.device()));
            t.close();
            return there;
        }
    }

    // ---------------------------------------------------------------- a step

    /**
     * One step: up to so many iterations, each along a direction of its own.
     *
     * @param closure drops the gradients, calculates the loss, runs backward, and returns the loss
     * @return the loss before the step
     * @throws dev.merapi.error.ClosedTensorException if a parameter was closed
     */
    public double step(Supplier<Tensor> closure) {
        Objects.requireNonNull(closure, "closure");
        List<Tensor> all = tensors();
        try (Autograd.Mode mode = Autograd.noGrad()) {
            follow(all.get(0));
            double first = evaluate(closure);
            Tensor gradient = gradient(all);
            if (largest(gradient) <= toleranceGrad) {
                gradient.close();
                return first;
            }
            double loss = first;
            int evaluated = 1;
            for (int n = 1; n <= iterations; n++) {
                steps++;
                turn(gradient);
                Tensor d = Objects.requireNonNull(direction);
                free(gradientBefore);
                gradientBefore = own(gradient.copy());
                lossBefore = loss;
                length = steps == 1 ? Math.min(1, 1 / dot(gradient.sign(), gradient)) * lr : lr;
                double slope = dot(gradient, d);
                if (slope > -toleranceChange) {
                    break;
                }
                int here = 0;
                if (strongWolfe) {
                    List<Tensor> start = new ArrayList<>();
                    all.forEach(p -> start.add(own(p.detach().copy())));
                    LineSearch search =
                            new LineSearch(t -> look(t, all, start, d, closure), loss, slope, evaluations - evaluated);
                    LineSearch.Point best = search.run(length, largest(d), gradient, toleranceChange);
                    start.forEach(Tensor::close);
                    for (LineSearch.Point p : search.seen()) {
                        if (p.gradient() != best.gradient()) {
                            p.gradient().close();
                        }
                    }
                    if (best.gradient() != gradient) {
                        gradient.close();
                    }
                    here = search.seen().size();
                    loss = best.loss();
                    gradient = best.gradient();
                    length = best.t();
                    add(all, d, length);
                } else {
                    add(all, d, length);
                    if (n != iterations) {
                        loss = evaluate(closure);
                        gradient.close();
                        gradient = gradient(all);
                        here = 1;
                    }
                }
                evaluated += here;
                if (evaluated >= evaluations
                        || largest(gradient) <= toleranceGrad
                        || largest(d) * Math.abs(length) <= toleranceChange
                        || Math.abs(loss - lossBefore) < toleranceChange) {
                    break;
                }
            }
            gradient.close();
            return first;
        }
    }

    private static LineSearch.Point look(
            double t, List<Tensor> params, List<Tensor> start, Tensor direction, Supplier<Tensor> closure) {
        add(params, direction, t);
        double loss = evaluate(closure);
        Tensor gradient = gradient(params);
        for (int i = 0; i < params.size(); i++) {
            params.get(i).copy_(start.get(i));
        }
        return new LineSearch.Point(t, loss, gradient, dot(gradient, direction));
    }

    /** The next direction: the inverse Hessian, as far as it is remembered, times the gradient turned round. */
    private void turn(Tensor gradient) {
        Tensor before = direction;
        if (before == null || gradientBefore == null) {
            direction = own(gradient.neg());
            return;
        }
        Tensor changed = own(gradient.sub(gradientBefore));
        Tensor step = own(before.mul(length));
        double product = dot(changed, step);
        if (product > 1e-10) {
            if (memory.size() == history) {
                Memory oldest = memory.remove(0);
                oldest.gradient.close();
                oldest.step.close();
            }
            memory.add(new Memory(changed, step, 1 / product));
            diagonal = product / dot(changed, changed);
        } else {
            changed.close();
            step.close();
        }
        Tensor q = own(gradient.neg());
        double[] factors = new double[memory.size()];
        for (int i = memory.size() - 1; i >= 0; i--) {
            Memory m = memory.get(i);
            factors[i] = dot(m.step, q) * m.inverse;
            addScaled(q, m.gradient, -factors[i]);
        }
        q.mul_(diagonal);
        for (int i = 0; i < memory.size(); i++) {
            Memory m = memory.get(i);
            addScaled(q, m.step, factors[i] - dot(m.gradient, q) * m.inverse);
        }
        before.close();
        direction = q;
    }

    private static void addScaled(Tensor to, Tensor x, double times) {
        try (Scope scope = Scope.open()) {
            to.add_(x.mul(times));
        }
    }

    /** Drops and frees the gradients of all parameters. */
    public void zeroGrad() {
        params.forEach(p -> p.tensor().setGrad(null));
    }

    /** {@return how many iterations there were in all steps} */
    public long iterations() {
        return steps;
    }

    // ---------------------------------------------------------------- state

    /**
     * All that the next step depends on: {@code iterations}, {@code length}, {@code diagonal}, {@code loss}, after the first
     * {@code direction} and {@code gradient}, and what is remembered: {@code memory.}<em>i</em>{@code .gradient},
     * {@code .step}, {@code .inverse}.
     */
    @Override
    public StateDict stateDict() {
        StateDict all = new StateDict()
                .put("iterations", steps)
                .put("length", length)
                .put("diagonal", diagonal)
                .put("loss", lossBefore)
                .put("remembered", memory.size());
        if (direction != null && gradientBefore != null) {
            all.put("direction", direction).put("gradient", gradientBefore);
        }
        for (int i = 0; i < memory.size(); i++) {
            Memory m = memory.get(i);
            all.put("memory." + i + ".gradient", m.gradient)
                    .put("memory." + i + ".step", m.step)
                    .put("memory." + i + ".inverse", m.inverse);
        }
        return all;
    }

    /**
     * Takes all of that over; settings stay.
     *
     * @throws dev.merapi.error.StateDictException if it is the state of other parameters; nothing is changed then
     */
    @Override
    public void loadStateDict(StateDict state) {
        StateReader in = new StateReader("lbfgs", state);
        List<Tensor> all = tensors();
        Shape flat = Shape.of(all.stream().mapToLong(Tensor::numel).sum());
        long newSteps = in.integer("iterations");
        double newLength = in.number("length");
        double newDiagonal = in.number("diagonal");
        double newLoss = in.number("loss");
        long remembered = in.integer("remembered");
        in.require(remembered >= 0 && remembered <= history, "remembered", remembered + " of at most " + history);
        in.require(newSteps >= 0, "iterations", newSteps + " is negative");
        List<Memory> loaded = new ArrayList<>();
        @Nullable Tensor newDirection = null;
        @Nullable Tensor newGradient = null;
        try {
            if (newSteps > 0) {
                newDirection = read(in, "direction", flat, all.get(0));
                newGradient = read(in, "gradient", flat, all.get(0));
            }
            for (int i = 0; i < Math.min(remembered, history); i++) {
                String name = "memory." + i;
                loaded.add(new Memory(
                        read(in, name + ".gradient", flat, all.get(0)),
                        read(in, name + ".step", flat, all.get(0)),
                        in.number(name + ".inverse")));
            }
            in.copy();
        } catch (RuntimeException e) {
            free(newDirection);
            free(newGradient);
            loaded.forEach(Lbfgs::close);
            throw e;
        }
        close();
        memory.addAll(loaded);
        direction = newDirection;
        gradientBefore = newGradient;
        steps = newSteps;
        length = newLength;
        diagonal = newDiagonal;
        lossBefore = newLoss;
    }

    private static Tensor read(StateReader in, String name, Shape flat, Tensor like) {
        Tensor target = own(Tensor.zeros(flat, like.dtype(), like.device()));
        in.floating(name, target);
        return target;
    }

    private static void close(Memory m) {
        m.gradient.close();
        m.step.close();
    }

    /** Frees what is remembered; the next step begins anew. Idempotent. */
    @Override
    public void close() {
        memory.forEach(Lbfgs::close);
        memory.clear();
        free(direction);
        free(gradientBefore);
        direction = null;
        gradientBefore = null;
        steps = 0;
        diagonal = 1;
    }
}
