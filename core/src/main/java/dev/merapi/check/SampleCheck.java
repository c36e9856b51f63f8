// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.Backends;
import dev.merapi.dispatch.Context;
import dev.merapi.error.DTypeException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.SavedTensorException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The checks of one sample; see {@link OpCheck}. */
final class SampleCheck<A extends Record, R> {
    /** Throws what is wrong, or {@link Skip}. */
    interface Check {
        void run();
    }

    static final class Skip extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Skip(String reason) {
            super(reason, null, false, false);
        }
    }

    private final Op<A, R> op;
    private final Definition<A, R> definition;
    private final A sample;
    private final @Nullable Tensor[] inputs;
    private final long seed;
    private final double tolerance;
    private final Generator.State random = Context.current().generator().state();

    SampleCheck(Op<A, R> op, A sample, long seed, double tolerance) {
        this.op = op;
        this.definition = op.definition();
        this.sample = sample;
        this.inputs = op.schema().tensors(op.name(), sample);
        this.seed = seed;
        this.tolerance = tolerance;
    }

    Map<String, Check> all() {
        Map<String, Check> checks = new LinkedHashMap<>();
        checks.put("writes and aliases", () -> scoped(this::writes));
        checks.put("shape rule", () -> scoped(this::shapeRule));
        checks.put("determinism", () -> scoped(this::determinism));
        checks.put("transposed inputs", () -> scoped(() -> layout(Layouts::transposed)));
        checks.put("offset inputs", () -> scoped(() -> layout(Layouts::offset)));
        checks.put("strided inputs", () -> scoped(() -> layout(Layouts::strided)));
        checks.put("expanded inputs", () -> scoped(() -> layout(Layouts::expanded)));
        checks.put("empty inputs", () -> scoped(() -> resized(Layouts::empty)));
        checks.put("0-d inputs", () -> scoped(() -> resized(Layouts::scalar)));
        checks.put("odd sizes", () -> scoped(this::oddSizes));
        checks.put("kernel and plain Java agree", () -> scoped(this::reference));
        checks.put("kernel and composition agree", () -> scoped(this::composition));
        checks.put("gradients", () -> gradients(sample, false));
        checks.put("second derivatives", () -> gradients(sample, true));
        checks.put("backward under suspicion", () -> scoped(this::backwardChecked));
        boolean anyTensor = Arrays.stream(inputs).anyMatch(t -> t != null);
        for (DeviceType type : DeviceType.all()) {
            if (anyTensor && type != device().type() && Backends.isAvailable(type)) {
                Device other = Device.of(type, 0);
                checks.put("agrees with " + type, () -> scoped(() -> otherDevice(other)));
                checks.put("gradients on " + type, () -> scoped(() -> gradients(with(t -> moved(t, other)), false)));
            }
        }
        checks.put("no leak", this::leaks);
        return checks;
    }

    private static void scoped(Runnable body) {
        try (Scope scope = Scope.open()) {
            body.run();
        }
    }

    private Device device() {
        for (Tensor t : inputs) {
            if (t != null) {
                return t.device();
            }
        }
        return Device.CPU;
    }

    // ---------------------------------------------------------------- running the op

    /** The sample with each tensor replaced. */
    private A with(UnaryOperator<Tensor> replacement) {
        @Nullable Tensor[] tensors = inputs.clone();
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = t == null ? null : replacement.apply(t);
        }
        return op.schema().rebuild(sample, tensors);
    }

    private static Tensor copy(Tensor t) {
        return t.detach().copy();
    }

    /** The outputs on these arguments, without recording; the written arguments where nothing is returned. */
    private Tensor[] run(A args) {
        Context.current().generator().restore(random);
        return Autograd.noGrad(() -> outputs(args, op.call(args)));
    }

    private Tensor[] outputs(A args, R result) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        List<Tensor> seen = new ArrayList<>();
        for (int i = 0; i < outputs.length; i++) {
            if (!definition.isInternal(result, i)) {
                seen.add(outputs[i]);
            }
        }
        boolean[] mutated = definition.mutatedSlots(args);
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), args);
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            if (mutated[i] && t != null && !seen.contains(t)) {
                seen.add(t);
            }
        }
        return seen.toArray(new Tensor[0]);
    }

    private void agree(String what, Tensor[] expected, Tensor[] actual, boolean exactly) {
        if (expected.length != actual.length) {
            throw new CheckFailedException(what + " gives " + actual.length + " outputs, expected " + expected.length);
        }
        for (int i = 0; i < expected.length; i++) {
            Comparison.agree(what + ": output " + i, expected[i], actual[i], exactly ? 0 : tolerance, exactly);
        }
    }

    // ---------------------------------------------------------------- checks

    private void writes() {
        Context context = Context.current();
        boolean checked = context.setChecked(true);
        boolean strict = context.setStrictMutation(true);
        try {
            run(with(SampleCheck::copy));
        } finally {
            context.setStrictMutation(strict);
            context.setChecked(checked);
        }
    }

    private void shapeRule() {
        if (definition.shape() == null && definition.compose() == null && !definition.isView()) {
            throw new Skip("the result depends on data, there is no shape rule");
        }
        if (inputs.length == 0) {
            throw new Skip("there are no tensor inputs");
        }
        Tensor[] real = run(with(SampleCheck::copy));
        Tensor[] described = run(with(Tensor::meta));
        if (real.length != described.length) {
            throw new CheckFailedException(
                    "the shape rule gives " + described.length + " outputs, a call " + real.length);
        }
        for (int i = 0; i < real.length; i++) {
            if (!real[i].describe().equals(described[i].describe())) {
                throw new CheckFailedException("output " + i + " is " + real[i].describe()
                        + ", but the shape rule says " + described[i].describe());
            }
        }
    }

    private void determinism() {
        if (!definition.isDeterministic()) {
            throw new Skip("declared nondeterministic");
        }
        agree("a second run", run(with(SampleCheck::copy)), run(with(SampleCheck::copy)), true);
    }

    /** The same values in other layouts give the same result. */
    private void layout(UnaryOperator<@Nullable Tensor> form) {
        boolean[] mutated = definition.mutatedSlots(sample);
        boolean any = false;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            Tensor other = t == null ? null : form.apply(copy(t));
            if (other == null || mutated[i] && !other.layout().isInjective()) {
                continue;
            }
            any = true;
            int slot = i;
            Tensor dense = other.copy();
            Tensor[] expected = run(replacing(slot, dense));
            Layout before = other.layout();
            agree("argument " + slot + " with layout " + before, expected, run(replacing(slot, other)), false);
        }
        if (!any) {
            throw new Skip("no input can be laid out so");
        }
    }

    private A replacing(int slot, Tensor replacement) {
        @Nullable Tensor[] tensors = inputs.clone();
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = t == null ? null : i == slot ? replacement : copy(t);
        }
        return op.schema().rebuild(sample, tensors);
    }

    /** All dimensions longer by one rule, so that sizes which belong together still do; and all inputs in one long row. */
    private void oddSizes() {
        Skip grown = null;
        try {
            resized(Layouts::grown);
        } catch (Skip e) {
            grown = e;
        }
        try {
            resized(Layouts::odd);
        } catch (Skip e) {
            if (grown != null) {
                throw grown;
            }
        }
    }

    /** All inputs in another size: the kernel agrees with plain Java, or the op refuses with a shape error. */
    private void resized(UnaryOperator<@Nullable Tensor> form) {
        for (Tensor t : inputs) {
            if (t != null && form.apply(copy(t)) == null) {
                throw new Skip("the sample's tensors have no such form");
            }
        }
        if (inputs.length == 0) {
            throw new Skip("there are no tensor inputs");
        }
        UnaryOperator<Tensor> made = t -> Objects.requireNonNull(form.apply(copy(t)));
        Tensor[] expected;
        try {
            expected = run(with(t -> made.apply(t).copy()));
        } catch (ShapeException e) {
            throw new Skip("refused: " + e.getMessage());
        }
        if (hasJavaKernel()) {
            agree(
                    "the plain-Java kernel",
                    expected,
                    runInJava(with(t -> made.apply(t).copy())),
                    false);
        }
        agree(
                "the same in a strided layout",
                expected,
                run(with(t -> {
                    Tensor strided = Layouts.strided(made.apply(t));
                    return strided == null ? made.apply(t).copy() : strided;
                })),
                false);
    }

    private void reference() {
        if (!hasJavaKernel()) {
            throw new Skip(
                    definition.isMutating()
                            ? "the op writes its arguments"
                            : Backends.allocator(device()).isJavaVisible()
                                    ? "there is no plain-Java kernel"
                                    : "Java does not see the memory of " + device());
        }
        agree("the plain-Java kernel", run(with(SampleCheck::copy)), runInJava(with(SampleCheck::copy)), false);
    }

    private boolean hasJavaKernel() {
        return definition.reference() instanceof Kernel<?, ?>
                && definition.shape() != null
                && !definition.isMutating()
                && Backends.allocator(device()).isJavaVisible();
    }

    /** The outputs of the plain-Java kernel. */
    private Tensor[] runInJava(A args) {
        @SuppressWarnings("unchecked")
        Kernel<A, R> java = (Kernel<A, R>) Objects.requireNonNull(definition.reference());
        R out = Objects.requireNonNull(definition.shape()).apply(args);
        for (Tensor t : op.result().tensors(op.name(), out)) {
            if (!Backends.allocator(t.device()).isJavaVisible()) { // chosen by a plain argument
                throw new Skip("Java does not see the memory of " + t.device());
            }
            t.allocate(Context.current());
        }
        Autograd.noGrad((Supplier<@Nullable Void>) () -> {
            java.run(args, out);
            return null;
        });
        return outputs(args, out);
    }

    private void composition() {
        Function<A, R> compose = definition.compose();
        if (compose == null || definition.isComposite()) {
            throw new Skip(compose == null ? "there is no composition" : "the op is a composition");
        }
        A args = with(SampleCheck::copy);
        R composed = Autograd.noGrad(() -> compose.apply(args));
        agree("the composition", run(with(SampleCheck::copy)), outputs(args, composed), false);
    }

    private void otherDevice(Device other) {
        Tensor[] there;
        try {
            there = run(with(t -> byWayOfTheHost(copy(t), other)));
        } catch (MissingKernelException e) {
            throw new Skip(firstLine(e));
        }
        Tensor[] back =
                Arrays.stream(there).map(t -> byWayOfTheHost(t, device())).toArray(Tensor[]::new);
        agree("on " + other, run(with(SampleCheck::copy)), back, false);
    }

    /** Not every device has a way to every other. */
    private static Tensor byWayOfTheHost(Tensor t, Device to) {
        return t.to(Device.CPU).to(to);
    }

    private static Tensor moved(Tensor t, Device other) {
        Tensor there = byWayOfTheHost(copy(t), other);
        return t.requiresGrad() ? there.requiresGrad(true) : there;
    }

    private boolean differentiable() {
        return !definition.isNonDifferentiable() && Arrays.stream(inputs).anyMatch(t -> t != null && t.requiresGrad());
    }

    private void gradients(A args, boolean second) {
        if (definition.isNonDifferentiable()) {
            throw new Skip("declared non-differentiable");
        }
        if (!differentiable()) {
            throw new Skip("no input of the sample requires a gradient");
        }
        try (Scope scope = Scope.open()) {
            @Nullable Tensor[] slots = op.schema().tensors(op.name(), args);
            List<Tensor> present = new ArrayList<>();
            int[] place = new int[slots.length];
            for (int i = 0; i < slots.length; i++) {
                Tensor t = slots[i];
                place[i] = t == null ? -1 : present.size();
                if (t != null) {
                    present.add(t.requiresGrad() ? copy(t).to(DType.FLOAT64).requiresGrad(true) : copy(t));
                }
            }
            boolean[] mutated = definition.mutatedSlots(args);
            java.util.function.Function<List<Tensor>, List<Tensor>> f = in -> {
                @Nullable Tensor[] tensors = new Tensor[place.length];
                for (int i = 0; i < place.length; i++) {
                    Tensor t = place[i] < 0 ? null : in.get(place[i]);
                    tensors[i] = t != null && mutated[i] ? t.copy() : t; // a leaf may not be written
                }
                A rebuilt = op.schema().rebuild(args, tensors);
                return Arrays.asList(outputs(rebuilt, op.call(rebuilt)));
            };
            GradCheck check = second ? GradCheck.secondOfMany(f, present) : GradCheck.ofMany(f, present);
            GradCheck.Report report = check.seed(seed).run();
            if (!report.ok()) {
                throw new CheckFailedException(report.toString());
            }
        } catch (MissingKernelException | DTypeException e) {
            throw new Skip("not in float64: " + firstLine(e));
        } catch (SavedTensorException e) {
            if (second && e.getMessage() != null && e.getMessage().contains("second derivative")) {
                throw new Skip("refused: " + firstLine(e));
            }
            throw e;
        }
    }

    /** First-order backward in checked mode: kernels that write into gradients, or leave parts unwritten. */
    private void backwardChecked() {
        if (!differentiable()) {
            throw new Skip("no gradient is wanted");
        }
        Context context = Context.current();
        boolean checked = context.setChecked(true);
        try {
            forwardAndBackward();
        } finally {
            context.setChecked(checked);
        }
    }

    private void forwardAndBackward() {
        Context.current().generator().restore(random);
        A args = with(t -> t.requiresGrad() ? copy(t).requiresGrad(true) : copy(t));
        boolean[] mutated = definition.mutatedSlots(args);
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), args);
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = t != null && mutated[i] && t.requiresGrad() ? t.copy() : t;
        }
        A used = op.schema().rebuild(args, tensors);
        List<Tensor> roots = CheckedFunction.differentiable(Arrays.asList(outputs(used, op.call(used))));
        List<Tensor> leaves = Arrays.stream(op.schema().tensors(op.name(), args))
                .filter(t -> t != null && t.requiresGrad())
                .toList();
        if (!roots.isEmpty()) {
            List<Tensor> gradients = roots.stream().map(Tensor::onesLike).toList();
            Autograd.grad(roots, leaves, gradients, Autograd.Graph.FREE, true);
        }
    }

    /** After a call and its backward in a scope, all memory is back; tried again, for other threads allocate too. */
    private void leaks() {
        long before = 0;
        long after = 0;
        for (int attempt = 0; attempt < 4; attempt++) {
            before = Backends.allocator(device()).stats().allocated();
            scoped(() -> {
                if (differentiable()) {
                    forwardAndBackward();
                } else {
                    run(with(SampleCheck::copy));
                }
            });
            after = Backends.allocator(device()).stats().allocated();
            if (after <= before) {
                return;
            }
        }
        throw new CheckFailedException("a call in a scope leaves " + (after - before) + " bytes behind"
                + "\n  fix: close what the kernel makes, or leave it to the scope.");
    }

    private static String firstLine(RuntimeException e) {
        return String.valueOf(e.getMessage()).split("\n", 2)[0];
    }
}
