// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.graph.ForwardMode;
import dev.merapi.autograd.graph.HookStack;
import dev.merapi.autograd.graph.SavedTensor;
import dev.merapi.dispatch.Context;
import dev.merapi.error.Message;
import dev.merapi.error.SavedTensorException;
import dev.merapi.random.DrawLog;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Trades time for memory: what a part of a model would save for backward is computed again when backward comes to it.
 *
 * <pre>{@code Tensor y = Checkpoint.checkpoint(block::forward, x);}</pre>
 *
 * <p>Only the inputs are kept. The first saved tensor that backward asks for runs the part once more, with the modes and
 * the random numbers of the first time, and stops as soon as all are there. It nests, and works with {@code grad} and
 * with graphs that are kept or created. The part must do the same both times, on the thread that calls it: the saved
 * tensors are compared by their number, the ops that save them, shapes, dtypes and devices, those from outside by their
 * versions, and in checked mode all by their bits. State that a forward call moves on, such as the running statistics of
 * batch norm, must stay as it is the second time: {@link Autograd#isRecomputing} tells.
 */
public final class Checkpoint {
    private Checkpoint() {}

    /**
     * One tensor through a part of a model that is computed again for backward, as in {@link #checkpoint(Function,
     * List)}.
     *
     * @param part what is computed, twice
     * @param input its input
     * @return what {@code part} returns
     */
    public static Tensor checkpoint(UnaryOperator<Tensor> part, Tensor input) {
        Objects.requireNonNull(part, "part");
        Objects.requireNonNull(input, "input");
        return checkpoint(in -> part.apply(in.get(0)), List.of(input));
    }

    /**
     * {@code part} of its inputs. Tensors that it takes from elsewhere (parameters) are not looked after: they must stay
     * open, and unchanged until backward, which refuses them otherwise.
     *
     * @param <R> what the part returns
     * @param part what is computed, twice
     * @param inputs its inputs
     * @return what {@code part} returns: a tensor, or a list, map or public record of tensors
     */
    public static <R extends @Nullable Object> R checkpoint(Function<List<Tensor>, R> part, List<Tensor> inputs) {
        Objects.requireNonNull(part, "part");
        Objects.requireNonNull(inputs, "inputs");
        Context context = Context.current();
        if (!context.isGradEnabled() || ForwardMode.sees(context)) { // tangents keep the values all the same
            return part.apply(inputs);
        }
        Frame frame = new Frame(part, inputs, context);
        try (Scope scope = TENSORS.openScope(context);
                SavedTensorHooks hooks = SavedTensorHooks.install(frame);
                DrawLog.Use draws = frame.draws.record()) {
            return scope.keep(part.apply(inputs));
        } catch (RuntimeException | Error e) {
            frame.release();
            throw e;
        } finally {
            frame.forwardDone();
        }
    }

    /** Thrown through the part when all that backward needs is there. */
    private static final class Stop extends Error {
        private static final long serialVersionUID = 1L;

        Stop() {
            super("checkpoint: recomputed enough", null, false, false);
        }
    }

    /** Stands for one tensor that would have been saved. */
    private static final class Holder implements SavedTensorHooks.Packed {
        final Frame frame;
        final Tensor form;
        final String op;
        final int bits; // a hash of the contents, in checked mode
        /** Of a tensor from outside of the part the same memory comes again, which must not have been written since. */
        final @Nullable WeakReference<Storage> memory;

        final int version;

        @Nullable
        Tensor value;

        Holder(Frame frame, Tensor saved, String op) {
            this.frame = frame;
            this.form = Tensor.meta(saved);
            this.op = op;
            this.bits = Frame.bits(saved);
            this.memory = saved.isMeta() ? null : new WeakReference<>(TENSORS.storage(saved));
            this.version = saved.version();
        }

        boolean wasWritten(Tensor now) {
            return memory != null && !now.isMeta() && memory.get() == TENSORS.storage(now) && version != now.version();
        }

        @Override
        public void close() {
            frame.letGo(this);
        }
    }

    /** One checkpointed call. */
    private static final class Frame implements SavedTensorHooks.Pair {
        private final Function<List<Tensor>, ?> part;
        private final List<SavedTensor> inputs = new ArrayList<>();
        private final boolean[] differentiated;
        private final Context.Snapshot modes;
        private final DrawLog draws = new DrawLog();
        private final List<Holder> holders = new ArrayList<>();
        private int open = 1; // holders in use, and the forward call while it runs

        Frame(Function<List<Tensor>, ?> part, List<Tensor> given, Context context) {
            this.part = part;
            this.modes = context.capture();
            this.differentiated = new boolean[given.size()];
            for (int i = 0; i < differentiated.length; i++) {
                Tensor t = Objects.requireNonNull(given.get(i), "inputs");
                if (t.isClosed()) {
                    t.requireOpen("checkpoint", "inputs[" + i + "]");
                }
                differentiated[i] = t.requiresGrad();
                // An outer checkpoint's hooks see the inputs of this one: they are recomputed with it.
                SavedTensor saved =
                        SavedTensor.save(t, SavedTensor.COMPUTED, null, HookStack.current(context), "checkpoint");
                saved.escape();
                inputs.add(saved);
            }
        }

        @Override
        public Object pack(Tensor tensor) {
            return pack(tensor, "an op");
        }

        @Override
        public synchronized Object pack(Tensor tensor, String op) {
            Holder holder = new Holder(this, tensor, op);
            holders.add(holder);
            open++;
            return holder;
        }

        @Override
        public synchronized Tensor unpack(Object packed) {
            Holder holder = (Holder) packed;
            if (holder.value == null) {
                recompute();
            }
            Tensor value = java.util.Objects.requireNonNull(holder.value);
            holder.value = null;
            return TENSORS.joinScope(value, Context.current());
        }

        private static int bits(Tensor t) {
            boolean visible = !t.isMeta() && TENSORS.storage(t).isJavaVisible();
            return visible && Context.current().isChecked() ? Arrays.hashCode(Elements.bytes(t)) : 0;
        }

        private void recompute() {
            Context context = Context.current();
            Context.Snapshot now = context.install(modes);
            Recomputation again = new Recomputation(holders);
            context.setSavedTensorHooks(null);
            try (Scope scope = TENSORS.openScope(context);
                    SavedTensorHooks hooks = SavedTensorHooks.install(again);
                    DrawLog.Use same = draws.replay()) {
                List<Tensor> leaves = new ArrayList<>();
                for (int i = 0; i < inputs.size(); i++) {
                    Tensor leaf = inputs.get(i).unpack("checkpoint", i, null).detach();
                    leaves.add(differentiated[i] ? leaf.requiresGrad(true) : leaf);
                }
                var unused = part.apply(leaves); // only what it saves on the way is wanted
            } catch (Stop enough) {
                // All values are there.
            } finally {
                context.install(now);
            }
            if (again.count != holders.size()) {
                throw new SavedTensorException("checkpoint: a different number of tensors was saved the second time: "
                        + holders.size() + " in the forward call, " + again.count + " when it was run again"
                        + "\n  fix: the part must do the same each time; no state may change in it.");
            }
        }

        synchronized void letGo(Holder holder) {
            close(holder);
            leave();
        }

        synchronized void forwardDone() {
            leave();
        }

        private void leave() {
            if (--open == 0) {
                release();
            }
        }

        /** No backward can come any more. */
        synchronized void release() {
            inputs.forEach(input -> input.release(Context.current().memory()));
            holders.forEach(Frame::close);
        }

        private static void close(Holder holder) {
            if (holder.value != null) {
                holder.value.close();
                holder.value = null;
            }
        }
    }

    /** Collects what the second run saves. */
    private static final class Recomputation implements SavedTensorHooks.Pair {
        private static final Object NOTHING = new Object();

        private final List<Holder> wanted;
        private int count;

        Recomputation(List<Holder> wanted) {
            this.wanted = wanted;
        }

        @Override
        public Object pack(Tensor tensor) {
            return pack(tensor, "an op");
        }

        @Override
        public Object pack(Tensor tensor, String op) {
            if (count < wanted.size()) {
                Holder holder = wanted.get(count);
                check(holder, tensor, op);
                Frame.close(holder);
                holder.value = tensor.detach().leaveScope();
            }
            if (++count == wanted.size()) {
                throw new Stop();
            }
            return NOTHING;
        }

        private void check(Holder holder, Tensor t, String op) {
            boolean same = holder.form.shape().equals(t.shape())
                    && holder.form.dtype() == t.dtype()
                    && holder.form.device() == t.device();
            boolean sameOp = holder.op.equals(op);
            boolean written = holder.wasWritten(t);
            if (!same || !sameOp || written || holder.bits != 0 && holder.bits != Frame.bits(t)) {
                String what = !same
                        ? "has another form"
                        : !sameOp
                                ? "is another op's"
                                : written ? "was modified in place since, so it has other values" : "has other values";
                throw new SavedTensorException(
                        Message.of("checkpoint: saved tensor " + count + " " + what + " the second time")
                                .fact("forward call", holder.form.describe() + " of " + holder.op)
                                .fact("run again", t.describe() + " of " + op)
                                .fix("the part must do the same each time; no state may change in it."));
            }
        }

        @Override
        public Tensor unpack(Object packed) {
            throw new SavedTensorException("checkpoint: backward was run inside of a part that is being recomputed"
                    + "\n  fix: call backward or grad outside of checkpoint(…).");
        }
    }
}
