// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/** Checks what a backward formula returned against the op's schema, and lays it out by tensor slot. */
public final class GradValidation {
    private GradValidation() {}

    /**
     * Gradients by slot.
     *
     * @param op whose formula it was
     * @param slotCounts tensors per tensor argument
     * @param grads what it returned
     * @param present whether a slot held a tensor in the forward call
     * @return one element for each slot; null for none
     * @throws GradientException naming op, argument and registration site
     */
    public static @Nullable Tensor[] flatten(
            Definition<?, ?> op, int[] slotCounts, @Nullable Grads grads, IntPredicate present) {
        if (grads == null) {
            throw fail(op, "returned null", "return Grads.of(name, gradient); a gradient may be null.");
        }
        Schema schema = op.schema();
        int total = 0;
        for (int c : slotCounts) {
            total += c;
        }
        @Nullable Tensor[] flat = new Tensor[total];
        int slot = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            Schema.Argument argument = schema.tensorArgument(i);
            int at = grads.indexOf(argument.name());
            if (at < 0) {
                throw wrongNames(op, grads);
            }
            Object value = grads.value(at);
            if (argument.kind() == Schema.Kind.TENSOR) {
                if (value != null && !(value instanceof Tensor)) {
                    throw fail(
                            op,
                            "gave a list as the gradient of '" + argument.name() + "', which is a single tensor",
                            "give one gradient, or null.");
                }
                check(op, argument.name(), value, present.test(slot));
                flat[slot] = (Tensor) value;
            } else if (slotCounts[i] > 0 || value != null) {
                if (!(value instanceof List<?> list)) {
                    throw fail(
                            op,
                            "must give a list of gradients for '" + argument.name() + "', but gave "
                                    + (value == null ? "null" : "a single tensor"),
                            "give one gradient for each tensor, null where none flows.");
                }
                if (list.size() != slotCounts[i]) {
                    throw fail(
                            op,
                            "gave " + list.size() + " gradients for '" + argument.name() + "', which holds "
                                    + slotCounts[i] + " tensors",
                            "give one for each, null where none flows.");
                }
                for (int k = 0; k < slotCounts[i]; k++) {
                    Object element = list.get(k);
                    check(op, argument.name() + "[" + k + "]", element, present.test(slot + k));
                    flat[slot + k] = (Tensor) element;
                }
            }
            slot += slotCounts[i];
        }
        if (grads.size() != slotCounts.length) {
            throw wrongNames(op, grads);
        }
        return flat;
    }

    private static void check(Definition<?, ?> op, String what, @Nullable Object value, boolean present) {
        if (value != null && !present) {
            throw fail(
                    op,
                    "gave a gradient for '" + what + "', which was absent in the forward call",
                    "give null for it.");
        }
    }

    private static GradientException wrongNames(Definition<?, ?> op, Grads grads) {
        return fail(
                op,
                "gave gradients for " + grads.names() + ", but the tensor arguments are "
                        + op.schema().tensorNames(),
                "name each of them exactly once, with null where no gradient flows.");
    }

    private static GradientException fail(Definition<?, ?> op, String what, String fix) {
        Message m = Message.of("backward of " + op.name(), what);
        Site site = op.backwardSite();
        return new GradientException((site == null ? m : m.fact("registered at", site)).fix(fix));
    }
}
