// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.autograd.Autograd;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.CheckedMode;
import dev.merapi.dispatch.Context;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What an op does to memory: its arguments', its results', that of gradients and saved tensors, and what it leaves behind. */
final class WriteChecks<A extends Record, R> {
    private final OpSample<A, R> sample;

    WriteChecks(OpSample<A, R> sample) {
        this.sample = sample;
    }

    /** Checked mode looks at kernels; what compositions and views do is seen from outside. */
    String writes() {
        A dense = sample.copies();
        // In a larger memory, so that what is written beside a tensor is seen as well.
        A within = sample.with(t -> Layouts.offset(OpSample.copy(t)));
        Context context = Context.current();
        boolean checked = context.setChecked(true);
        boolean strict = context.setStrictMutation(true);
        try {
            sample.run(dense);
            sample.run(within);
        } finally {
            context.setStrictMutation(strict);
            context.setChecked(checked);
        }
        A given = sample.copies();
        @Nullable Tensor[] inputs = sample.op.schema().tensors(sample.op.name(), given);
        byte[] @Nullable [] before = CheckedMode.snapshots(inputs);
        int[] versions =
                Arrays.stream(inputs).mapToInt(t -> t == null ? 0 : t.version()).toArray();
        sample.run(given);
        byte[] @Nullable [] after = CheckedMode.snapshots(inputs);
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t == null || Arrays.equals(before[i], after[i])) {
                continue;
            }
            if (!sample.mutated[i]) {
                throw new CheckFailedException("it wrote to argument '" + sample.name(i) + "', " + t.describe()
                        + ", which is not declared as mutated\n  fix: declare .mutates(…), or work on a copy.");
            }
            if (t.version() == versions[i]) {
                throw new CheckFailedException("it wrote to argument '" + sample.name(i) + "', " + t.describe()
                        + ", and its version is the same as before: a backward that saved it would not notice");
            }
        }
        return "";
    }

    /** First-order backward in checked mode: kernels that write into gradients, or leave parts unwritten. */
    String backward() {
        requireGradient(sample);
        Context context = Context.current();
        boolean checked = context.setChecked(true);
        try {
            forwardAndBackward();
        } finally {
            context.setChecked(checked);
        }
        return "";
    }

    /** @throws NotChecked where there is nothing to differentiate */
    static void requireGradient(OpSample<?, ?> sample) {
        if (sample.definition.isNonDifferentiable()) {
            throw new NotChecked("declared non-differentiable");
        }
        if (Arrays.stream(sample.inputs).noneMatch(t -> t != null && t.requiresGrad())) {
            throw new NotChecked(
                    "no input of the sample requires a gradient; " + "x.requiresGrad(true) asks for that of x");
        }
    }

    private boolean isDifferentiable() {
        return !sample.definition.isNonDifferentiable()
                && Arrays.stream(sample.inputs).anyMatch(t -> t != null && t.requiresGrad());
    }

    private void forwardAndBackward() {
        A args = sample.with(OpSample::leaf);
        @Nullable Tensor[] tensors = sample.op.schema().tensors(sample.op.name(), args);
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            tensors[i] = t != null && sample.mutated[i] && t.requiresGrad() ? t.copy() : t; // a leaf may not be written
        }
        A used = sample.op.schema().rebuild(args, tensors);
        List<Tensor> roots = CheckedFunction.differentiable(Arrays.asList(sample.outputs(used, sample.call(used))));
        List<Tensor> leaves = Arrays.stream(sample.op.schema().tensors(sample.op.name(), args))
                .filter(t -> t != null && t.requiresGrad())
                .toList();
        if (!roots.isEmpty()) {
            List<Tensor> gradients = roots.stream().map(Tensor::onesLike).toList();
            Autograd.grad(roots, leaves, gradients, Autograd.Graph.FREE, true);
        }
    }

    /** After a call and its backward in a scope, all memory is back; tried again, for other threads allocate too. */
    String leaks() {
        Device device = sample.device();
        long before = 0;
        long after = 0;
        for (int attempt = 0; attempt < 4; attempt++) {
            before = BackendChoice.allocator(device).stats().allocated();
            try (Scope scope = Scope.open()) {
                if (isDifferentiable()) {
                    forwardAndBackward();
                } else {
                    sample.run(sample.copies());
                }
            }
            after = BackendChoice.allocator(device).stats().allocated();
            if (after <= before) {
                return "";
            }
        }
        throw new CheckFailedException("a call in a scope leaves " + (after - before) + " bytes behind"
                + "\n  fix: close what the kernel makes, or leave it to the scope.");
    }
}
