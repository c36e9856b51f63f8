// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.error.AliasException;
import dev.merapi.error.Message;
import dev.merapi.error.OpResultException;
import dev.merapi.op.Definition;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The layer that distrusts kernels: finds arguments written without a declaration, bit for bit; declared writes that
 * never happen; outputs that alias. On in tests, absent from the path in production.
 */
final class CheckedMode {
    private CheckedMode() {}

    static <A extends Record, R> R call(
            Definition<A, R> op, A args, @Nullable Tensor[] inputs, Context context) {
        int mask = context.addMask(Key.CHECKED);
        try {
            byte[] @Nullable [] before = snapshots(inputs);
            R result = Dispatcher.kernel(op, args, inputs, context);
            boolean[] mutated = op.mutatedSlots(args);
            boolean anyChange = false;
            boolean anyDeclared = false;
            for (int i = 0; i < inputs.length; i++) {
                Tensor t = inputs[i];
                byte[] old = before[i];
                if (t == null || old == null) {
                    continue;
                }
                boolean changed = !Arrays.equals(old, Elements.bytes(t));
                if (changed && !mutated[i]) {
                    throw new AliasException(Message.of(op.name() + ": its kernel wrote to input " + i + ", "
                                    + t.describe() + ", which is not declared as mutated")
                            .fix("declare .mutates(…), or work on a copy."));
                }
                anyChange |= changed;
                anyDeclared |= mutated[i] && t.numel() > 0;
            }
            if (anyDeclared && !anyChange && context.strictMutation()) {
                throw new OpResultException(op.name() + ": declares that it writes " + op.mutates()
                        + ", but nothing changed\n  fix: drop the declaration, or use samples on which it does.");
            }
            refuseAliases(op, op.result().tensors(op.name(), result), inputs);
            return result;
        } finally {
            context.restoreMask(mask);
        }
    }

    private static byte[] @Nullable [] snapshots(@Nullable Tensor[] inputs) {
        byte[][] all = new byte[inputs.length][];
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && !t.isMeta() && t.storage().buffer() != null) {
                all[i] = Elements.bytes(t);
            }
        }
        return all;
    }

    private static void refuseAliases(Definition<?, ?> op, Tensor[] outputs, @Nullable Tensor[] inputs) {
        if (op.returnsMutated()) {
            return;
        }
        for (int i = 0; i < outputs.length; i++) {
            if (outputs[i].isMeta()) {
                continue;
            }
            for (Tensor t : inputs) {
                if (t != null && !t.isMeta() && t.storage().overlaps(outputs[i].storage()) && t.numel() > 0) {
                    throw new AliasException(op.name() + ": output " + i + " shares memory with an input");
                }
            }
            for (int k = 0; k < i; k++) {
                if (!outputs[k].isMeta() && outputs[k].storage() == outputs[i].storage()) {
                    throw new AliasException(op.name() + ": outputs " + k + " and " + i + " share memory");
                }
            }
        }
    }
}
