// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;

/** The hooks of one layer, each list in the order of registration. */
final class LayerHooks {
    final List<UnaryOperator<Tensor>> before = new CopyOnWriteArrayList<>();
    final List<BinaryOperator<Tensor>> after = new CopyOnWriteArrayList<>();
    final List<UnaryOperator<Tensor>> ofInput = new CopyOnWriteArrayList<>();
    final List<UnaryOperator<Tensor>> ofOutput = new CopyOnWriteArrayList<>();

    /** What removes it, once, though the same function may have been added several times. */
    static <T> Runnable add(List<T> hooks, T hook) {
        Objects.requireNonNull(hook, "hook");
        hooks.add(hook);
        boolean[] there = {true};
        return () -> {
            if (there[0]) {
                there[0] = false;
                hooks.remove(hook);
            }
        };
    }

    Tensor run(Tensor x, UnaryOperator<Tensor> computation) {
        Tensor in = x;
        for (UnaryOperator<Tensor> hook : before) {
            in = Objects.requireNonNull(hook.apply(in), "hook");
        }
        Tensor out = computation.apply(watched(in, ofInput));
        for (BinaryOperator<Tensor> hook : after) {
            out = Objects.requireNonNull(hook.apply(in, out), "hook");
        }
        return watched(out, ofOutput);
    }

    /** A view of the tensor, whose gradient the hooks see: that of the tensor itself comes from elsewhere, too. */
    private static Tensor watched(Tensor t, List<UnaryOperator<Tensor>> hooks) {
        if (hooks.isEmpty() || !t.requiresGrad() || !Autograd.isGradEnabled()) {
            return t;
        }
        Tensor view = t.view(t.shape().toArray());
        for (UnaryOperator<Tensor> hook : hooks) {
            var unused = Autograd.hook(view, hook); // goes with the graph
        }
        return view;
    }
}
