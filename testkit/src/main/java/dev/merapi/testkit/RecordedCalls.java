// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.OpCheck;
import dev.merapi.dispatch.Context;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.op.Op;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/**
 * The calls of ops that a thread makes, one of each form (op, shapes, dtypes, wanted gradients, plain arguments), with
 * copies of their arguments. Threads to which the modes of this one are carried, such as those of a data loader, count too.
 */
final class RecordedCalls implements DispatchLayer, AutoCloseable {
    /** More elements than this take too long to be differenced. */
    private static final long MOST_ELEMENTS = 20_000;

    private record Call<A extends Record, R>(Op<A, R> op, A args) {
        OpCheck.Report check(Consumer<OpCheck<A, R>> settings) {
            OpCheck<A, R> check = OpCheck.of(op).samples(List.of(args));
            settings.accept(check);
            return check.run();
        }

        void close() {
            for (Tensor t : op.schema().tensors(op.name(), args)) {
                if (t != null) {
                    t.close();
                }
            }
        }
    }

    private final Predicate<String> wanted;
    private final Set<String> known;
    private final Layers.Pushed mode;
    private final Map<String, Call<?, ?>> calls = new LinkedHashMap<>();
    private final Map<String, String> left = new LinkedHashMap<>();

    /**
     * Begins to record.
     *
     * @param wanted by the name of an op, whether its calls are
     * @param known forms that are not recorded again; this adds to them
     */
    RecordedCalls(Predicate<String> wanted, Set<String> known) {
        this.wanted = wanted;
        this.known = known;
        this.mode = Layers.push(this);
    }

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext here, int below) {
        Call<A, R> call = wanted.test(op.name()) ? record(op, args, Context.current()) : null;
        R result = Layers.whole(op, args, here); // its parts are its own affair
        if (call != null) { // a call that is refused is not the op's fault
            synchronized (calls) {
                calls.put(form(op, args), call);
            }
        }
        return result;
    }

    private <A extends Record, R> @Nullable Call<A, R> record(Definition<A, R> op, A args, Context here) {
        @Nullable Tensor[] tensors = op.schema().tensors(op.name(), args);
        long elements = 0;
        for (Tensor t : tensors) {
            if (t != null && (t.isMeta() || t.isClosed())) {
                return null;
            }
            elements += t == null ? 0 : t.numel();
        }
        String form = form(op, args);
        synchronized (calls) {
            if (here.graphCapture() != null || known.contains(form)) {
                return null;
            }
            if (elements > MOST_ELEMENTS) {
                left.put(form, "it has " + elements + " elements, more than " + MOST_ELEMENTS);
                return null;
            }
            known.add(form);
        }
        return new Call<>(op.op(), Autograd.noGrad(() -> op.schema().rebuild(args, copies(tensors))));
    }

    private static @Nullable Tensor[] copies(@Nullable Tensor[] tensors) {
        @Nullable Tensor[] copies = tensors.clone();
        for (int i = 0; i < copies.length; i++) {
            Tensor t = copies[i];
            if (t != null) {
                Tensor copy = t.detach().copy().leaveScope();
                copies[i] = t.requiresGrad() ? copy.requiresGrad(true) : copy;
            }
        }
        return copies;
    }

    private static <A extends Record, R> String form(Definition<A, R> op, A args) {
        StringBuilder form = new StringBuilder(op.name());
        for (Tensor t : op.schema().tensors(op.name(), args)) {
            form.append(t == null ? " absent" : " " + t.describe() + (t.requiresGrad() ? "*" : ""));
        }
        List<Schema.Argument> arguments = op.schema().arguments();
        for (int i = 0; i < arguments.size(); i++) {
            if (arguments.get(i).kind() == Schema.Kind.PLAIN) {
                Object value = RecordType.of(op.schema().type(), null).get(args, i);
                form.append(' ')
                        .append(value instanceof long[] a ? java.util.Arrays.toString(a) : String.valueOf(value));
            }
        }
        return form.toString();
    }

    /** Ends recording. */
    void stop() {
        mode.close();
    }

    /** Checks what was recorded; reports of what failed. */
    List<OpCheck.Report> failures(Consumer<OpCheck<?, ?>> settings) {
        List<OpCheck.Report> failed = new ArrayList<>();
        for (Call<?, ?> call : calls.values()) {
            OpCheck.Report report = call.check(settings::accept);
            if (!report.ok()) {
                failed.add(report);
            }
        }
        return failed;
    }

    /** Forms of calls that were not checked, and why. */
    Map<String, String> left() {
        return left;
    }

    @Override
    public void close() {
        calls.values().forEach(Call::close);
        calls.clear();
    }
}
