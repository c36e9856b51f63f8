// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * An op at other sizes than the sample's. One rule makes all inputs longer or shorter, so that sizes which belong together
 * still do; an op that does not take them says so by an exception of its own.
 */
final class SizeChecks<A extends Record, R> {
    private final OpSample<A, R> sample;

    SizeChecks(OpSample<A, R> sample) {
        this.sample = sample;
    }

    /** Sizes are refused by exceptions of sizes, or of arguments. Null then. */
    static <T> @Nullable T orRefused(Supplier<T> call) {
        try {
            return call.get();
        } catch (ShapeException | DTypeException e) {
            return null;
        }
    }

    /** At each of these sizes that the op takes, the kernel agrees with all other ways, and with itself on strided inputs. */
    @SafeVarargs
    final String sizes(UnaryOperator<@Nullable Tensor>... forms) {
        if (!sample.hasTensors()) {
            throw new NotChecked("there are no tensor inputs");
        }
        List<String> tried = new ArrayList<>();
        String refusal = "the sample's tensors have no such form";
        for (UnaryOperator<@Nullable Tensor> form : forms) {
            OpSample<A, R> other = resized(sample, form);
            if (other == null) {
                continue;
            }
            try {
                agree(other);
                tried.add(sizes(other));
            } catch (ShapeException | DTypeException e) {
                refusal = "refused: " + ValueChecks.firstLine(e);
            }
        }
        if (tried.isEmpty()) {
            throw new NotChecked(refusal);
        }
        return String.join("; ", tried);
    }

    /** Null if some input has no such form. */
    static <A extends Record, R> @Nullable OpSample<A, R> resized(
            OpSample<A, R> sample, UnaryOperator<@Nullable Tensor> form) {
        for (Tensor t : sample.inputs) {
            if (t != null && form.apply(OpSample.copy(t)) == null) {
                return null;
            }
        }
        return sample.of(sample.with(t -> {
            Tensor other = Objects.requireNonNull(form.apply(OpSample.copy(t))).copy();
            return t.requiresGrad() ? other.requiresGrad(true) : other;
        }));
    }

    static String sizes(OpSample<?, ?> sample) {
        List<String> all = new ArrayList<>();
        for (Tensor t : sample.inputs) {
            if (t != null) {
                all.add(t.shape().toString());
            }
        }
        return String.join(" ", all);
    }

    private void agree(OpSample<A, R> other) {
        Tensor[] given = other.run(other.copies());
        String at = " with inputs " + sizes(other);
        for (OpSample.Oracle<A> oracle : other.oracles()) {
            other.agree(oracle.name() + at, oracle.outputs().apply(other.copies()), given, false);
        }
        other.agree(
                "the same in a strided layout" + at,
                given,
                other.run(other.with(t -> {
                    Tensor strided = Layouts.strided(OpSample.copy(t));
                    return strided == null ? OpSample.copy(t) : strided;
                })),
                false);
    }

    /** Beyond what a block, a tile, a thread's share or an int of bytes in 16 bits holds. */
    String large() {
        String sizes = sizes(Layouts::largeRow, Layouts::large);
        boolean compared = !sample.oracles().isEmpty();
        String gradients = new GradientChecks<>(sample).largeSizes();
        if (!compared && gradients.isEmpty()) {
            throw new NotChecked("there is nothing to hold the values against, and no gradient; expecting(args -> …)"
                    + " says what they must be");
        }
        return sizes + (compared ? "" : "; by gradients only") + gradients;
    }
}
