// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backend;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.Context;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.random.Generator;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** An op with arguments: runs it on copies of them, in other forms, and by other ways. */
final class OpSample<A extends Record, R> {
    /** Another way to the outputs. */
    record Oracle<A>(String name, Function<A, Tensor[]> outputs) {}

    final Op<A, R> op;
    final Definition<A, R> definition;
    final A args;
    final @Nullable Tensor[] inputs;
    final boolean[] mutated;
    final long seed;
    private final double tolerance;
    private final @Nullable Function<A, R> expecting;
    private final Generator.Position random;
    private @Nullable Boolean onlyKernel;

    OpSample(Op<A, R> op, A args, long seed, double tolerance, @Nullable Function<A, R> expecting) {
        this(op, args, seed, tolerance, expecting, Context.current().generator().position());
    }

    private OpSample(
            Op<A, R> op,
            A args,
            long seed,
            double tolerance,
            @Nullable Function<A, R> expecting,
            Generator.Position random) {
        this.op = op;
        this.definition = op.definition();
        this.args = args;
        this.inputs = op.schema().tensors(op.name(), args);
        this.mutated = definition.mutatedSlots(args);
        this.seed = seed;
        this.tolerance = tolerance;
        this.expecting = expecting;
        this.random = random;
    }

    /** The same op with other arguments. */
    OpSample<A, R> of(A other) {
        OpSample<A, R> sample = new OpSample<>(op, other, seed, tolerance, expecting, random);
        sample.onlyKernel = onlyKernel;
        return sample;
    }

    // ---------------------------------------------------------------- arguments

    Device device() {
        for (Tensor t : inputs) {
            if (t != null) {
                return t.device();
            }
        }
        return Device.CPU;
    }

    boolean hasTensors() {
        for (Tensor t : inputs) {
            if (t != null) {
                return true;
            }
        }
        return false;
    }

    /** How messages call the tensor in a slot. */
    String name(int slot) {
        return definition.slotName(args, slot);
    }

    /** The arguments with each tensor replaced. */
    A with(UnaryOperator<Tensor> replacement) {
        @Nullable Tensor[] tensors = inputs.clone();
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = t == null ? null : replacement.apply(t);
        }
        return op.schema().rebuild(args, tensors);
    }

    /** Copies of the arguments, but for one slot. */
    A replacing(int slot, @Nullable Tensor replacement) {
        @Nullable Tensor[] tensors = inputs.clone();
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = i == slot ? replacement : t == null ? null : copy(t);
        }
        return op.schema().rebuild(args, tensors);
    }

    A copies() {
        return with(OpSample::copy);
    }

    static Tensor copy(Tensor t) {
        return t.detach().copy();
    }

    /** As {@link #copy}, a leaf that requires a gradient if the original does. */
    static Tensor leaf(Tensor t) {
        return t.requiresGrad() ? copy(t).requiresGrad(true) : copy(t);
    }

    /** The floating arguments in another dtype. */
    A in(DType dtype) {
        return with(t -> converted(t, dtype));
    }

    static Tensor converted(Tensor t, DType dtype) {
        Tensor other = t.dtype().isFloating() ? t.detach().to(dtype).copy() : copy(t);
        return t.requiresGrad() ? other.requiresGrad(true) : other;
    }

    // ---------------------------------------------------------------- outputs

    /** The outputs on these arguments, without recording; the written arguments where nothing is returned. */
    Tensor[] run(A given) {
        Context.current().generator().moveTo(random);
        return Autograd.noGrad(() -> outputs(given, op.call(given)));
    }

    /** With the generator as it was for the other runs. */
    R call(A given) {
        Context.current().generator().moveTo(random);
        return op.call(given);
    }

    Tensor[] outputs(A given, R result) {
        Tensor[] outputs = op.result().tensors(op.name(), result);
        List<Tensor> seen = new ArrayList<>();
        for (int i = 0; i < outputs.length; i++) {
            if (!definition.isInternal(result, i)) {
                seen.add(outputs[i]);
            }
        }
        boolean[] written = definition.mutatedSlots(given);
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), given);
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            if (written[i] && t != null && !seen.contains(t)) {
                seen.add(t);
            }
        }
        return seen.toArray(new Tensor[0]);
    }

    void agree(String what, Tensor[] expected, Tensor[] actual, boolean exactly) {
        if (expected.length != actual.length) {
            throw new CheckFailedException(what + " gives " + actual.length + " outputs, expected " + expected.length);
        }
        for (int i = 0; i < expected.length; i++) {
            Comparison.agree(what + ": output " + i, expected[i], actual[i], exactly ? 0 : tolerance, exactly);
        }
    }

    // ---------------------------------------------------------------- other ways to the same

    /** Whatever the values can be held against here. */
    List<Oracle<A>> oracles() {
        List<Oracle<A>> all = new ArrayList<>();
        if (hasJavaKernel() && !isOnlyKernel()) {
            all.add(new Oracle<>("the plain-Java kernel", this::runInJava));
        }
        if (definition.compose() != null && !definition.isComposite()) {
            all.add(new Oracle<>("the composition", this::composed));
        }
        if (expecting != null) {
            all.add(new Oracle<>("what is expected", this::expected));
        }
        return all;
    }

    boolean hasJavaKernel() {
        return BackendChoice.javaKernel(definition, null) instanceof Kernel<?, ?>
                && definition.shape() != null
                && !definition.isMutating()
                && BackendChoice.allocator(device()).isJavaVisible();
    }

    /** Whether the plain-Java kernel is what runs here anyway. */
    boolean isOnlyKernel() {
        if (onlyKernel == null) {
            Tensor[] outputs = run(copies());
            DType type = definition.kernelType(args);
            type = type == null && outputs.length > 0 ? outputs[0].dtype() : type;
            Backend backend = BackendChoice.of(device().type());
            onlyKernel = definition.kernel(device().type(), type) == null
                    && (backend == BackendChoice.fallback() || backend.kernel(definition, type) == null);
        }
        return onlyKernel;
    }

    /** The outputs of the plain-Java kernel. */
    Tensor[] runInJava(A given) {
        @SuppressWarnings("unchecked")
        Kernel<A, R> java = (Kernel<A, R>) Objects.requireNonNull(BackendChoice.javaKernel(definition, null));
        R out = Objects.requireNonNull(definition.shape()).apply(given);
        for (Tensor t : op.result().tensors(op.name(), out)) {
            if (!BackendChoice.allocator(t.device()).isJavaVisible()) { // chosen by a plain argument
                throw new NotChecked("Java does not see the memory of " + t.device());
            }
            TENSORS.allocate(t, Context.current());
        }
        Autograd.noGrad((Supplier<@Nullable Void>) () -> {
            java.run(given, out);
            return null;
        });
        return outputs(given, out);
    }

    Tensor[] composed(A given) {
        Function<A, R> compose = Objects.requireNonNull(definition.compose());
        return Autograd.noGrad(() -> outputs(given, compose.apply(given)));
    }

    Tensor[] expected(A given) {
        return Autograd.noGrad(
                () -> outputs(given, Objects.requireNonNull(expecting).apply(given)));
    }

    boolean hasExpectation() {
        return expecting != null;
    }
}
