// SPDX-License-Identifier: Apache-2.0
package dev.merapi.autograd.graph;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.autograd.Dual;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.ThreadMode;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Views;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Products with Jacobians in forward mode, and whole Jacobians in either mode; what {@code Autograd} shows of them. */
public final class Jacobians {
    private Jacobians() {}

    // ---------------------------------------------------------------- products

    public static List<Dual> jvp(
            String name, Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs, List<Tensor> tangents) {
        requireForward(name, inputs);
        requireTangents(name, inputs, tangents);
        Context context = Context.current();
        List<Tensor> made = new ArrayList<>(); // value, tangent, value, tangent, …
        try (Scope scope = TENSORS.openScope(context)) {
            ForwardMode.level(context, level -> {
                List<Tensor> variables = new ArrayList<>();
                for (int i = 0; i < inputs.size(); i++) {
                    Tensor variable = Views.ALIAS.call(new Views.Alias(inputs.get(i)));
                    ForwardMode.attach(level, variable, tangents.get(i));
                    variables.add(variable);
                }
                for (Tensor value : Objects.requireNonNull(f.apply(variables), "result")) {
                    made.add(Objects.requireNonNull(value, "result"));
                    made.add(tangent(level, value));
                }
                return made;
            });
            scope.keep(made.toArray(new Tensor[0]));
        }
        List<Dual> all = new ArrayList<>();
        for (int i = 0; i < made.size(); i += 2) {
            all.add(new Dual(made.get(i), made.get(i + 1)));
        }
        return all;
    }

    private static Tensor tangent(ForwardMode.Level level, Tensor value) {
        Object t = ForwardMode.tangent(value, level);
        if (t instanceof Duals.Unknown unknown) {
            throw ForwardMode.unknown(unknown);
        }
        return t instanceof Tensor known
                ? TENSORS.joinScope(TENSORS.engineHandle(known), Context.current())
                : TENSORS.zeros(value, value.isMeta());
    }

    private static void requireForward(String name, List<Tensor> inputs) {
        for (int i = 0; i < inputs.size(); i++) {
            Tensor x = inputs.get(i);
            x.requireOpen(name, "inputs[" + i + "]");
            if (!x.dtype().isFloating()) {
                throw new DTypeException(Message.of(
                                name,
                                "inputs[" + i + "] is " + x.describe() + ", and only floating tensors have tangents")
                        .fix("let the function take it from outside."));
            }
        }
        if (Context.current().isInference()) {
            throw new GradientException(Message.of(
                            name,
                            "forward mode differentiates the backward of some ops, and" + " inference mode has none")
                    .fix("call it under Autograd.noGrad() instead."));
        }
    }

    private static void requireTangents(String name, List<Tensor> inputs, List<Tensor> tangents) {
        if (inputs.size() != tangents.size()) {
            throw new ShapeException(Message.of(name, tangents.size() + " tangents for " + inputs.size() + " inputs")
                    .fix("pass one for each input; zeros for those that stay as they are."));
        }
        for (int i = 0; i < inputs.size(); i++) {
            Tensor x = inputs.get(i);
            Tensor t = tangents.get(i);
            t.requireOpen(name, "tangents[" + i + "]");
            if (!t.shape().equals(x.shape()) || t.dtype() != x.dtype() || t.device() != x.device()) {
                throw new ShapeException(Message.of(name, "a tangent has the form of its input")
                        .fact("inputs[" + i + "]", x.describe())
                        .fact("tangents[" + i + "]", t.describe())
                        .fix("pass one of the same shape, dtype and device."));
            }
        }
    }

    // ---------------------------------------------------------------- whole Jacobians

    /** One product for each element of the inputs. */
    public static List<List<Tensor>> forward(String name, Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        requireForward(name, inputs);
        try (Scope scope = TENSORS.openScope(Context.current())) {
            List<List<Tensor>> columns = new ArrayList<>(); // per input; its elements, and in them the outputs
            List<Tensor> outputs = null;
            List<List<Tensor>> found = new ArrayList<>();
            for (int i = 0; i < inputs.size(); i++) {
                Tensor x = inputs.get(i);
                columns.clear();
                for (long e = 0; e < x.numel(); e++) {
                    List<Tensor> directions = new ArrayList<>();
                    for (Tensor other : inputs) {
                        directions.add(other == x && inputs.indexOf(x) == i ? unit(x, e) : zeros(other));
                    }
                    List<Dual> duals = jvp(name, f, inputs, directions);
                    outputs = duals.stream().map(Dual::value).toList();
                    columns.add(duals.stream().map(Dual::tangent).toList());
                }
                List<Tensor> ofInput = new ArrayList<>();
                for (int k = 0; k < (columns.isEmpty() ? 0 : columns.get(0).size()); k++) {
                    int at = k;
                    Tensor all =
                            Tensor.stack(columns.stream().map(c -> c.get(at)).toList(), -1);
                    ofInput.add(all.reshape(joined(all.shape().without(-1), x.shape())));
                }
                found.add(ofInput);
            }
            if (found.stream().anyMatch(List::isEmpty)) {
                outputs = outputs == null ? f.apply(inputs) : outputs;
            }
            List<List<Tensor>> result = new ArrayList<>();
            for (int k = 0; outputs != null && k < outputs.size(); k++) {
                List<Tensor> row = new ArrayList<>();
                for (int i = 0; i < inputs.size(); i++) {
                    row.add(
                            found.get(i).isEmpty()
                                    ? zeros(outputs.get(k), inputs.get(i))
                                    : scope.keep(found.get(i).get(k)));
                }
                result.add(scope.keep(row));
            }
            return result;
        }
    }

    /** One backward for each element of the outputs. */
    public static List<List<Tensor>> reverse(String name, Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        requireReverse(name);
        Context context = Context.current();
        try (Scope scope = TENSORS.openScope(context);
                ThreadMode mode = recording(context)) {
            List<Tensor> variables = variables(name, inputs);
            return scope.keep(rows(f.apply(variables), variables));
        }
    }

    /** The mode that takes fewer passes. */
    public static List<List<Tensor>> either(String name, Function<List<Tensor>, List<Tensor>> f, List<Tensor> inputs) {
        requireReverse(name);
        requireForward(name, inputs);
        long in = inputs.stream().mapToLong(Tensor::numel).sum();
        Context context = Context.current();
        try (Scope scope = TENSORS.openScope(context);
                ThreadMode mode = recording(context)) {
            List<Tensor> variables = variables(name, inputs);
            List<Tensor> outputs = f.apply(variables);
            if (in >= outputs.stream().mapToLong(Tensor::numel).sum()) {
                return scope.keep(rows(outputs, variables));
            }
        }
        return forward(name, f, inputs);
    }

    private static ThreadMode recording(Context context) {
        boolean before = context.setGradEnabled(true);
        return ThreadMode.begin(context, "enableGrad", () -> context.setGradEnabled(before));
    }

    private static void requireReverse(String name) {
        if (Context.current().isInference()) {
            throw new GradientException(
                    Message.of(name, "inference mode records nothing").fix("call it outside of inference mode."));
        }
    }

    /** Parts of the graph that the inputs are in, or leaves. */
    private static List<Tensor> variables(String name, List<Tensor> inputs) {
        for (int i = 0; i < inputs.size(); i++) {
            if (!inputs.get(i).dtype().isFloating()) {
                throw new DTypeException(
                        Message.of(name, "inputs[" + i + "], " + inputs.get(i).describe() + ", can have no gradient")
                                .fix("convert it to a floating dtype, or let the function hold it."));
            }
        }
        return inputs.stream()
                .map(x -> Views.ALIAS.call(new Views.Alias(x)))
                .map(x -> x.requiresGrad() ? x : x.requiresGrad(true))
                .toList();
    }

    private static List<List<Tensor>> rows(List<Tensor> outputs, List<Tensor> variables) {
        boolean outer = outputs.stream().anyMatch(Tensor::requiresGrad)
                && variables.stream().anyMatch(v -> AutogradMeta.isMade(v));
        List<List<Tensor>> result = new ArrayList<>();
        for (Tensor y : outputs) {
            List<List<@Nullable Tensor>> all = new ArrayList<>();
            for (long e = 0; e < y.numel() && y.requiresGrad(); e++) {
                all.add(Gradients.of("grad", List.of(y), variables, List.of(unit(y, e)), true, outer, true));
            }
            List<Tensor> row = new ArrayList<>();
            for (int i = 0; i < variables.size(); i++) {
                Tensor x = variables.get(i);
                int at = i;
                row.add(
                        all.isEmpty()
                                ? zeros(y, x)
                                : Tensor.stack(
                                                all.stream()
                                                        .map(r -> orZeros(r.get(at), x))
                                                        .toList(),
                                                0)
                                        .reshape(joined(y.shape(), x.shape())));
            }
            result.add(row);
        }
        return result;
    }

    private static Tensor orZeros(@Nullable Tensor t, Tensor like) {
        return t == null ? zeros(like) : t;
    }

    private static Tensor zeros(Tensor like) {
        return Tensor.zeros(like.shape(), like.dtype(), like.device());
    }

    private static Tensor zeros(Tensor output, Tensor input) {
        return Tensor.zeros(Shape.of(joined(output.shape(), input.shape())), output.dtype(), output.device());
    }

    /** 1 at one element, in row-major order, and 0 elsewhere. */
    private static Tensor unit(Tensor like, long element) {
        Tensor t = zeros(like);
        t.view(t.numel()).slice(0, element, element + 1, 1).fill_(1);
        return t;
    }

    private static long[] joined(Shape first, Shape second) {
        long[] all = Arrays.copyOf(first.toArray(), first.rank() + second.rank());
        for (int d = 0; d < second.rank(); d++) {
            all[first.rank() + d] = second.size(d);
        }
        return all;
    }
}
