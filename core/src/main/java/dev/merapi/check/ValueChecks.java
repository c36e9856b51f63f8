// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.MissingKernelException;
import dev.merapi.op.Schema;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** The values and forms of an op's outputs: by other ways, in other layouts, on other devices. */
final class ValueChecks<A extends Record, R> {
    private final OpSample<A, R> sample;

    ValueChecks(OpSample<A, R> sample) {
        this.sample = sample;
    }

    String shapeRule() {
        if (sample.definition.shape() == null && sample.definition.compose() == null && !sample.definition.isView()) {
            throw new NotChecked("there is no shape rule, so the op cannot run without data");
        }
        if (!sample.hasTensors()) {
            throw new NotChecked("there are no tensor inputs");
        }
        Tensor[] real = sample.run(sample.copies());
        Tensor[] described = sample.run(sample.with(Tensor::meta));
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
        return "";
    }

    /** The same bits on a second run, also when the op ran on something else in between. */
    String determinism() {
        Tensor[] first = sample.run(sample.copies());
        if (!sample.definition.isDeterministic()) {
            try {
                sample.agree("a second run", first, sample.run(sample.copies()), false);
            } catch (CheckFailedException e) {
                throw new CheckFailedException(e.getMessage() + "\n  both began with the same state of the generator:"
                        + " what is declared nondeterministic may differ by rounding, not by random numbers from elsewhere"
                        + "\n  fix: draw from Generator, or take a seed as an argument; Checkpoint runs ops again.");
            }
            return "up to rounding, as the op is declared nondeterministic";
        }
        sample.agree("a second run", first, sample.run(sample.copies()), true);
        try {
            sample.run(
                    sample.with(t -> t.dtype().isFloating() ? OpSample.copy(t).mul(0.5) : OpSample.copy(t)));
        } catch (RuntimeException e) {
            return ""; // other values than these are refused
        }
        sample.agree("a run after one on other values", first, sample.run(sample.copies()), true);
        return "";
    }

    /** The same values in other layouts give the same result. */
    String layout(UnaryOperator<@Nullable Tensor> form) {
        List<String> tried = new ArrayList<>();
        for (int i = 0; i < sample.inputs.length; i++) {
            Tensor t = sample.inputs[i];
            Tensor other = t == null ? null : form.apply(OpSample.copy(t));
            if (other == null || sample.mutated[i] && !other.layout().isInjective()) {
                continue;
            }
            tried.add(sample.name(i));
            Tensor dense = other.copy();
            Tensor[] expected = sample.run(sample.replacing(i, dense));
            Layout before = other.layout();
            sample.agree(
                    sample.name(i) + " with layout " + before, expected, sample.run(sample.replacing(i, other)), false);
        }
        if (tried.isEmpty()) {
            throw new NotChecked("no input can be laid out so");
        }
        return "";
    }

    /** Two inputs of one form may be one tensor. */
    String oneTensorTwice() {
        for (int i = 0; i < sample.inputs.length; i++) {
            for (int k = i + 1; k < sample.inputs.length; k++) {
                Tensor a = sample.inputs[i];
                Tensor b = sample.inputs[k];
                if (a == null
                        || b == null
                        || sample.mutated[i]
                        || sample.mutated[k]
                        || !a.describe().equals(b.describe())) {
                    continue;
                }
                Tensor one = OpSample.copy(a);
                Tensor[] expected = sample.run(twice(i, k, one, one.copy()));
                sample.agree(
                        "one tensor for " + sample.name(i) + " and " + sample.name(k),
                        expected,
                        sample.run(twice(i, k, one, one)),
                        false);
                return sample.name(i) + " and " + sample.name(k);
            }
        }
        throw new NotChecked("no two inputs that are only read have one form");
    }

    private A twice(int i, int k, Tensor first, Tensor second) {
        @Nullable Tensor[] tensors = sample.inputs.clone();
        for (int s = 0; s < tensors.length; s++) {
            Tensor t = tensors[s];
            tensors[s] = s == i ? first : s == k ? second : t == null ? null : OpSample.copy(t);
        }
        return sample.op.schema().rebuild(sample.args, tensors);
    }

    /** Each optional input of the sample left out. */
    String absent() {
        List<String> tried = new ArrayList<>();
        for (int slot : optional(sample)) {
            A without = sample.replacing(slot, null);
            OpSample<A, R> other = sample.of(without);
            Tensor[] given = SizeChecks.orRefused(() -> other.run(other.copies()));
            if (given == null) {
                continue;
            }
            tried.add(sample.name(slot));
            for (OpSample.Oracle<A> oracle : other.oracles()) {
                sample.agree(
                        "without " + sample.name(slot) + ", beside " + oracle.name(),
                        oracle.outputs().apply(other.copies()),
                        given,
                        false);
            }
        }
        if (tried.isEmpty()) {
            throw new NotChecked("no input of the sample is optional");
        }
        return String.join(", ", tried);
    }

    /** The slots of the sample that may be empty, and are not. */
    static <A extends Record> List<Integer> optional(OpSample<A, ?> sample) {
        List<Integer> slots = new ArrayList<>();
        for (Schema.Argument a : sample.op.schema().arguments()) {
            for (int i = 0; i < sample.inputs.length && a.optional() && a.kind() == Schema.Kind.TENSOR; i++) {
                if (sample.inputs[i] != null && sample.name(i).equals(a.name())) {
                    slots.add(i);
                }
            }
        }
        return slots;
    }

    String reference() {
        if (!sample.hasJavaKernel()) {
            throw new NotChecked(
                    sample.definition.isMutating()
                            ? "the op writes its arguments"
                            : BackendChoice.allocator(sample.device()).isJavaVisible()
                                    ? "there is no plain-Java kernel"
                                    : "Java does not see the memory of " + sample.device());
        }
        if (sample.isOnlyKernel()) {
            throw new NotChecked("the plain-Java kernel is the only one here");
        }
        sample.agree("the plain-Java kernel", sample.run(sample.copies()), sample.runInJava(sample.copies()), false);
        return "";
    }

    String composition() {
        if (sample.definition.compose() == null || sample.definition.isComposite()) {
            throw new NotChecked(
                    sample.definition.isComposite() ? "the op is a composition" : "there is no composition");
        }
        sample.agree("the composition", sample.run(sample.copies()), sample.composed(sample.copies()), false);
        return "";
    }

    String expectation() {
        if (!sample.hasExpectation()) {
            throw new NotChecked(
                    sample.oracles().isEmpty()
                            ? "nothing says what the values must be; expecting(args -> …) would"
                            : "none were given");
        }
        sample.agree("a call", sample.expected(sample.copies()), sample.run(sample.copies()), false);
        return "";
    }

    String otherDevice(Device other) {
        Tensor[] there;
        try {
            there = sample.run(sample.with(t -> byWayOfTheHost(OpSample.copy(t), other)));
        } catch (MissingKernelException e) {
            throw new NotChecked(firstLine(e));
        }
        Tensor[] back = Arrays.stream(there)
                .map(t -> byWayOfTheHost(t, sample.device()))
                .toArray(Tensor[]::new);
        for (int i = 0; i < there.length; i++) {
            if (there[i].device() != other) {
                throw new CheckFailedException(
                        "output " + i + " is on " + there[i].device() + ", the inputs on " + other);
            }
        }
        sample.agree("on " + other, sample.run(sample.copies()), back, false);
        return "";
    }

    /** Not every device has a way to every other. */
    static Tensor byWayOfTheHost(Tensor t, Device to) {
        return t.to(Device.CPU).to(to);
    }

    static String firstLine(RuntimeException e) {
        return String.valueOf(e.getMessage()).split("\n", 2)[0];
    }
}
