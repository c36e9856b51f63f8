// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.AliasException;
import dev.merapi.error.Message;
import dev.merapi.error.OpResultException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The layer that distrusts kernels: finds arguments written without a declaration, bit for bit; declared writes that
 * never happen; outputs that alias, that are not written or that differ from run to run. Kernels run twice for that.
 * Memory that Java does not see is copied to the host; tensors above 2 GiB are not looked at. On in tests, absent from the path in production.
 */
public final class CheckedMode implements CallLayer {
    static final CheckedMode LAYER = new CheckedMode();
    private static final byte GARBAGE = (byte) 0xa5;
    private static final byte OTHER_GARBAGE = 0x5a;
    /** What a Java array holds: larger memory is not looked at. */
    private static final long MOST_BYTES = Integer.MAX_VALUE - 8;

    private CheckedMode() {}

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        boolean strict = context.strictMutation();
        byte[] @Nullable [] before = snapshots(inputs, strict);
        R result = Dispatcher.kernel(op, args, inputs, context, true);
        byte[] @Nullable [] after = snapshots(inputs, strict);
        boolean[] mutated = op.mutatedSlots(args);
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && differ(before[i], after[i]) && !isDestination(t, inputs, mutated)) {
                throw undeclaredWrite(op, args, i, t);
            }
        }
        if (strict) {
            requireWrites(op, args, inputs, mutated, before, after);
        }
        refuseAliases(op, args, result, op.result().tensors(op.name(), result), inputs);
        return result;
    }

    /** Of each argument that is declared as written something must change: of a list, some tensor of it. */
    private static <A extends Record> void requireWrites(
            Definition<A, ?> op,
            A args,
            @Nullable Tensor[] inputs,
            boolean[] mutated,
            byte[] @Nullable [] before,
            byte[] @Nullable [] after) {
        int[] counts = op.slotCounts(args);
        int slot = 0;
        for (int a = 0; a < counts.length; a++) {
            boolean elements = false;
            boolean changed = false;
            for (int end = slot + counts[a]; slot < end; slot++) {
                Tensor t = inputs[slot];
                elements |= mutated[slot] && t != null && !t.isMeta() && t.numel() > 0;
                changed |= differ(before[slot], after[slot]);
            }
            if (elements && !changed) {
                throw new OpResultException(op.name() + ": declares that it writes "
                        + op.schema().tensorNames().get(a)
                        + ", but nothing changed there\n  fix: drop the declaration, or use samples on which it does.");
            }
        }
    }

    private static <A extends Record> AliasException undeclaredWrite(Definition<A, ?> op, A args, int i, Tensor t) {
        String name = op.slotName(args, i);
        return new AliasException(Message.of(op.name() + ": its kernel wrote to argument '" + name + "', "
                        + t.describe() + ", or beside it, which is not declared as mutated")
                .argument(name)
                .fix("declare .mutates(…), or work on a copy."));
    }

    /** Whether bytes changed between two looks; of a tensor that another thread closed meanwhile nobody can say. */
    public static boolean differ(byte @Nullable [] before, byte @Nullable [] after) {
        return before != null && after != null && !Arrays.equals(before, after);
    }

    /** The bytes of each tensor, also on a device: then by way of the host. Null where there is no memory. */
    public static byte[] @Nullable [] snapshots(@Nullable Tensor[] tensors) {
        return snapshots(tensors, false);
    }

    /** @param whole whether with what lies beside a tensor in its memory, which other threads may be writing */
    private static byte[] @Nullable [] snapshots(@Nullable Tensor[] tensors, boolean whole) {
        byte[] @Nullable [] all = new byte[tensors.length][];
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            if (t == null || t.isMeta() || t.isClosed() || TENSORS.storage(t).byteSize() > MOST_BYTES) {
                continue;
            }
            if (whole) {
                try (Tensor flat = flat(t)) {
                    all[i] = bytes(flat);
                }
            } else {
                all[i] = bytes(t);
            }
        }
        return all;
    }

    private static byte[] bytes(Tensor t) {
        ByteBuffer bytes = ByteBuffer.allocate(
                Math.toIntExact(Math.multiplyExact(t.numel(), t.dtype().byteSize())));
        t.copyTo(bytes);
        return bytes.array();
    }

    /** The whole memory of a tensor, byte by byte. */
    private static Tensor flat(Tensor t) {
        Storage memory = TENSORS.storage(t);
        memory.retain();
        return TENSORS.over(memory, Layout.contiguous(Shape.of(memory.byteSize())), DType.UINT8);
    }

    /** Whether this input is a declared destination, or shares memory with one. */
    private static boolean isDestination(Tensor t, @Nullable Tensor[] inputs, boolean[] mutated) {
        for (int i = 0; i < inputs.length; i++) {
            Tensor other = inputs[i];
            if (mutated[i] && other != null && TENSORS.storage(other).overlaps(TENSORS.storage(t))) {
                return true;
            }
        }
        return false;
    }

    /** Runs a kernel on outputs that hold one garbage, then on the same with another: the bits must be the same. */
    static <A extends Record, R> void runTwice(Definition<A, R> op, Kernel<A, R> kernel, A args, R out) {
        Tensor[] outputs = op.result().tensors(op.name(), out);
        @Nullable Tensor[] inputs = op.schema().tensors(op.name(), args);
        boolean strict = Context.current().strictMutation();
        byte[] @Nullable [] given = snapshots(inputs, strict);
        fill(outputs, GARBAGE);
        kernel.run(args, out);
        byte[] @Nullable [] left = snapshots(inputs, strict);
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t != null && differ(given[i], left[i])) {
                throw undeclaredWrite(op, args, i, t); // before it shows as a difference between two runs
            }
        }
        byte[] @Nullable [] first = snapshots(outputs);
        fill(outputs, OTHER_GARBAGE);
        kernel.run(args, out);
        byte[] @Nullable [] second = snapshots(outputs);
        for (int i = 0; i < outputs.length; i++) {
            byte[] a = first[i];
            byte[] b = second[i];
            int at = a == null || b == null ? -1 : Arrays.mismatch(a, b);
            if (a != null && b != null && at >= 0) {
                boolean unwritten = a[at] == GARBAGE && b[at] == OTHER_GARBAGE;
                throw new OpResultException(Message.of(op.name() + ": element "
                                + at / outputs[i].dtype().byteSize() + " of '" + op.outputName(out, i) + "', "
                                + outputs[i].describe()
                                + (unwritten ? ", is not written by its kernel" : ", differs between two runs"))
                        .fix(
                                unwritten
                                        ? "write every element; outputs begin with undefined contents."
                                        : "declare it .nondeterministic() if that is meant."));
            }
        }
    }

    private static void fill(Tensor[] outputs, byte pattern) {
        for (Tensor t : outputs) {
            if (t.isMeta() || t.numel() == 0 || TENSORS.storage(t).byteSize() > MOST_BYTES) {
                continue;
            }
            if (TENSORS.storage(t).isJavaVisible()) {
                Elements.fillBytes(t, pattern);
                continue;
            }
            try (Tensor flat = flat(t)) {
                byte[] garbage = new byte[Math.toIntExact(flat.numel())];
                Arrays.fill(garbage, pattern);
                try (Tensor host = Tensor.of(garbage)) {
                    BackendChoice.of(t.device().type()).copy(host, flat);
                }
            }
        }
    }

    private static <A extends Record, R> void refuseAliases(
            Definition<A, R> op, A args, R out, Tensor[] outputs, @Nullable Tensor[] inputs) {
        if (op.returnsMutated()) {
            return;
        }
        for (int i = 0; i < outputs.length; i++) {
            if (outputs[i].isMeta()) {
                continue;
            }
            for (int k = 0; k < inputs.length; k++) {
                Tensor t = inputs[k];
                if (t != null
                        && !t.isMeta()
                        && TENSORS.storage(t).overlaps(TENSORS.storage(outputs[i]))
                        && t.numel() > 0) {
                    throw new AliasException(Message.of(op.name() + ": '" + op.outputName(out, i)
                                    + "' shares memory with argument '" + op.slotName(args, k) + "'")
                            .argument(op.slotName(args, k))
                            .fix("return a copy (t.copy()), or declare the op a view."));
                }
            }
            for (int k = 0; k < i; k++) {
                if (!outputs[k].isMeta() && TENSORS.storage(outputs[k]) == TENSORS.storage(outputs[i])) {
                    throw new AliasException(op.name() + ": its outputs '" + op.outputName(out, k) + "' and '"
                            + op.outputName(out, i) + "' share memory\n  fix: return a copy of one (t.copy()).");
                }
            }
        }
    }
}
