// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.autograd.Autocast;
import dev.merapi.error.DTypeException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.op.CastPolicy;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** The op in the floating dtypes that the sample is not of, each held against the widest that the op takes. */
final class DTypeChecks<A extends Record, R> {
    static final List<DType> WIDEST_FIRST = List.of(DType.FLOAT64, DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16);

    private final OpSample<A, R> sample;

    DTypeChecks(OpSample<A, R> sample) {
        this.sample = sample;
    }

    String values() {
        if (!requireOneType(sample)) {
            throw new NotChecked("the floating inputs have several dtypes");
        }
        DType wide = null;
        List<String> tried = new ArrayList<>();
        List<String> refused = new ArrayList<>();
        for (DType dtype : WIDEST_FIRST) {
            OpSample<A, R> narrow = sample.of(sample.in(dtype));
            Tensor[] found;
            try {
                found = narrow.run(narrow.copies());
            } catch (DTypeException | MissingKernelException e) {
                refused.add(dtype.toString());
                continue;
            }
            if (wide == null) {
                wide = dtype;
            } else {
                agree(narrow, wide, found, dtype, "in " + dtype);
                tried.add(dtype.toString());
            }
        }
        String rest = refused.isEmpty()
                ? ""
                : String.join(", ", refused) + (refused.size() > 1 ? " are" : " is") + " refused";
        if (tried.isEmpty()) {
            throw new NotChecked(
                    "there is only one floating dtype that the op takes" + (rest.isEmpty() ? "" : ": " + rest));
        }
        return String.join(", ", tried) + " beside " + wide + (rest.isEmpty() ? "" : "; " + rest);
    }

    /** Whether all floating inputs have one dtype. */
    static boolean requireOneType(OpSample<?, ?> sample) {
        List<DType> types = Arrays.stream(sample.inputs)
                .filter(t -> t != null && t.dtype().isFloating())
                .map(t -> t == null ? DType.BOOL : t.dtype())
                .distinct()
                .toList();
        if (types.isEmpty()) {
            throw new NotChecked("there is no floating input");
        }
        return types.size() == 1;
    }

    private static <A extends Record, R> void agree(
            OpSample<A, R> narrow, DType wide, Tensor[] found, DType dtype, String what) {
        OpSample<A, R> reference = narrow.of(narrow.in(wide));
        Tensor[] expected = reference.run(reference.copies());
        List<Tensor[]> moved = new ArrayList<>();
        for (int k = 0; k < Rounding.TRIES; k++) {
            int which = k;
            moved.add(reference.run(reference.with(t -> Rounding.moved(t, dtype, which, narrow.seed))));
        }
        if (expected.length != found.length) {
            throw new CheckFailedException(what + ": " + found.length + " outputs, in " + wide + " " + expected.length);
        }
        for (int i = 0; i < found.length; i++) {
            String output = what + ": output " + i;
            if (!found[i].shape().equals(expected[i].shape())) {
                throw new CheckFailedException(
                        output + " is " + found[i].describe() + ", in " + wide + " " + expected[i].describe());
            }
            if (expected[i].dtype().isFloating() != found[i].dtype().isFloating()) {
                throw new CheckFailedException(
                        output + " is " + found[i].describe() + ", in " + wide + " " + expected[i].describe());
            }
            int at = i;
            List<double[]> others = moved.stream()
                    .filter(m -> m[at].shape().equals(expected[at].shape()))
                    .map(m -> m[at].toDoubleArray())
                    .toList();
            if (others.size() < moved.size()) {
                continue; // its very size hangs on the last place
            }
            Rounding.agree(output, expected[i].toDoubleArray(), others, found[i].toDoubleArray(), dtype);
        }
    }

    /** What automatic mixed precision makes of the op: it works, and gives what the dtype of the policy can. */
    String autocast() {
        CastPolicy policy = sample.definition.castPolicy();
        if (policy == CastPolicy.NONE) {
            throw new NotChecked("the op declares no cast policy");
        }
        requireOneType(sample);
        OpSample<A, R> single = sample.of(sample.in(DType.FLOAT32));
        Tensor[] plain;
        try {
            plain = single.run(single.copies());
        } catch (DTypeException | MissingKernelException e) {
            throw new NotChecked("not in float32: " + ValueChecks.firstLine(e));
        }
        for (DType lower : new DType[] {DType.FLOAT16, DType.BFLOAT16}) {
            String what = "under autocast to " + lower + ", with policy " + policy;
            Tensor[] found = under(lower, single, what);
            if (policy == CastPolicy.LOWER) {
                OpSample<A, R> rounded = single.of(single.in(lower));
                agree(rounded, DType.FLOAT32, found, lower, what);
            } else {
                single.agree(what, plain, found, false);
            }
        }
        return policy.toString();
    }

    private Tensor[] under(DType lower, OpSample<A, R> single, String what) {
        try (Autocast mode = Autocast.on(lower)) {
            return single.run(single.copies());
        } catch (DTypeException | MissingKernelException e) {
            throw new CheckFailedException(what + ": " + e.getMessage());
        }
    }

    /** The widest dtype that a call with these arguments takes, null if none of these. */
    static <A extends Record, R> @Nullable DType widest(OpSample<A, R> sample, List<DType> candidates) {
        for (DType dtype : candidates) {
            try {
                sample.run(sample.of(sample.in(dtype)).copies());
                return dtype;
            } catch (DTypeException | MissingKernelException e) {
                continue; // a narrower one
            }
        }
        return null;
    }
}
