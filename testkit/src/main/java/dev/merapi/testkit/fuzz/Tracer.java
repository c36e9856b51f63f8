// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.dispatch.Context;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Sees every call of an op in a run, those of backward formulas too, and holds each against the same call on plain Java:
 * where the contents of its inputs are those of the other run by comparing the results, else by calling it there again.
 */
final class Tracer implements DispatchLayer {
    /** One call: hashes of what went in and came out. */
    private record Call(String op, long in, long out) {}

    private final Replay replay;
    private final @Nullable Tracer twin;
    private final boolean inFloat64;
    private final Coverage coverage;
    private final List<Finding> findings;
    private final List<Call> calls = new ArrayList<>();
    private final List<Integer> beginnings = new ArrayList<>();
    private int expected; // the twin's call that comes next

    /**
     * @param twin the run on plain Java; null for that one itself
     * @param inFloat64 whether calls are also held against float64
     */
    Tracer(Replay replay, @Nullable Tracer twin, boolean inFloat64, Coverage coverage, List<Finding> findings) {
        this.replay = replay;
        this.twin = twin;
        this.inFloat64 = inFloat64;
        this.coverage = coverage;
        this.findings = findings;
    }

    void beginStep() {
        int step = beginnings.size();
        beginnings.add(calls.size());
        if (twin != null && step < twin.beginnings.size()) {
            expected = twin.beginnings.get(step);
        }
    }

    private int step() {
        return beginnings.size() - 1;
    }

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
        if (op.isView() || op.name().equals("merapi::move")) {
            coverage.op(op.name());
            if (op.isView()) {
                coverage.features().count(Features.Feature.VIEWS);
            }
            return Layers.whole(op, args, context);
        }
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        for (Tensor t : inputs) {
            if (t != null && !Bits.readable(t)) {
                return Layers.whole(op, args, context);
            }
        }
        long in = Bits.of(inputs);
        Call other = twin(op.name());
        boolean sameInputs = other != null && other.in == in;
        boolean autocast = Context.current().autocast() != null;
        boolean draws = op.schema().indexOf("seed") >= 0; // other numbers in other dtypes
        boolean again = !autocast
                && !draws
                && inputs.length > 0
                && op.isDeterministic()
                && (twin == null ? inFloat64 : !sameInputs);
        @Nullable Tensor[] copies = again ? replay.copies(inputs) : null;
        R result;
        try {
            result = Layers.whole(op, args, context);
        } catch (RuntimeException e) {
            if (copies != null) {
                replay.close(copies);
            }
            calls.add(new Call(op.name(), in, 0));
            boolean open = Arrays.stream(inputs).allMatch(t -> t == null || Bits.readable(t));
            if (open && Bits.of(inputs) != in) {
                report(Finding.Kind.CHANGED_BY_ERROR, op, "inputs are not as before after " + e);
            }
            throw e;
        }
        List<Tensor> made = Replay.results(op, args, inputs, result);
        long out = op.isComposite() && inputs.length == 0 ? 0 : Bits.withoutSigns(made.toArray(new Tensor[0]));
        calls.add(new Call(op.name(), in, out));
        if (twin == null) {
            coverage.call(op.name(), inputs);
        }
        if (copies != null) {
            boolean differs = twin != null && sameInputs;
            judge(op, args, copies, made, differs);
        } else if (sameInputs && !autocast && out != java.util.Objects.requireNonNull(other).out) {
            differing(op, args, inputs, made);
        }
        return result;
    }

    /** The same call of the twin, if it comes next there. */
    private @Nullable Call twin(String op) {
        // Where a device has memory that Java sees, some backward passes begin without an op.
        if (twin == null || op.equals("merapi::fill_")) {
            return null;
        }
        while (expected < twin.calls.size() && twin.calls.get(expected).op.equals("merapi::fill_")) {
            expected++;
        }
        if (expected >= twin.calls.size() || !twin.calls.get(expected).op.equals(op)) {
            return null;
        }
        return twin.calls.get(expected++);
    }

    /** The same went in, and something else came out than on plain Java. */
    private <A extends Record, R> void differing(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, List<Tensor> made) {
        if (op.isMutating() || !op.isDeterministic()) {
            // What went in is gone; the calls that come see whether what was written differs too much.
            boolean integers = java.util.stream.Stream.concat(Arrays.stream(inputs), made.stream())
                    .noneMatch(t -> t != null && t.dtype().isFloating());
            if (!op.isMutating() || integers || replay.isExact(op, inputs, made)) {
                report(Finding.Kind.DIFFERENT_BITS, op, "written otherwise than on plain Java");
            }
            return;
        }
        judge(op, args, replay.copies(inputs), made, true);
    }

    private <A extends Record, R> void judge(
            Definition<A, R> op, A args, @Nullable Tensor[] copies, List<Tensor> made, boolean differs) {
        try {
            String bits = twin == null ? null : replay.differsInBits(op, args, copies, made);
            if (bits != null) {
                report(Finding.Kind.DIFFERENT_BITS, op, bits);
            } else if (twin == null || !replay.isExact(op, copies, made)) {
                String inaccurate = replay.inaccurate(op, args, copies, made);
                if (inaccurate != null) {
                    report(Finding.Kind.INACCURATE, op, inaccurate);
                }
            }
        } finally {
            replay.close(copies);
        }
    }

    private void report(Finding.Kind kind, Definition<?, ?> op, String detail) {
        findings.add(new Finding(kind, op.name(), step(), detail));
    }
}
