// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.Message;
import dev.merapi.nn.Parameter;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** The gradients of parameters as they are now. */
final class Gradients {
    private record Kind(DType dtype, Device device) {}

    private Gradients() {}

    /**
     * The gradient of each parameter, or null. A closed parameter has none any more: passing it over would train nothing,
     * and say nothing.
     */
    static List<@Nullable Tensor> of(String what, List<? extends Trainable> params) {
        List<@Nullable Tensor> grads = new ArrayList<>(params.size());
        for (Trainable holder : Objects.requireNonNull(params, "params")) {
            Tensor p = Objects.requireNonNull(holder, "params").tensor();
            Tensor g = p.isClosed() ? null : p.grad();
            if (p.isClosed() || g != null && g.isClosed()) {
                String name = holder instanceof Parameter named ? " '" + named.name() + "'" : "";
                throw new ClosedTensorException(Message.of(what + ": " + (g == null ? "" : "the gradient of ")
                                + "parameter " + grads.size() + " of " + params.size() + name + ", " + p.describe()
                                + ", was closed" + (g == null ? ", or replaced when its model moved" : ""))
                        .fix("hold model.parameters(), which follow the model, not their tensors."));
            }
            grads.add(g);
        }
        return grads;
    }

    /** In lists of one dtype on one device; what is given twice counts once. */
    static List<List<Tensor>> ofKinds(String what, List<? extends Trainable> params) {
        Map<Kind, List<Tensor>> ofKind = new LinkedHashMap<>();
        Set<Tensor> seen = Collections.newSetFromMap(new IdentityHashMap<>(params.size()));
        List<Tensor> same = List.of();
        for (Tensor g : of(what, params)) {
            if (g != null && seen.add(g)) {
                boolean another = same.isEmpty()
                        || same.get(0).dtype() != g.dtype()
                        || same.get(0).device() != g.device();
                if (another) {
                    same = ofKind.computeIfAbsent(new Kind(g.dtype(), g.device()), k -> new ArrayList<>());
                }
                same.add(g);
            }
        }
        return new ArrayList<>(ofKind.values());
    }

    static List<Tensor> present(List<@Nullable Tensor> grads) {
        List<Tensor> present = new ArrayList<>(grads.size());
        for (Tensor g : grads) {
            if (g != null) {
                present.add(g);
            }
        }
        return present;
    }
}
