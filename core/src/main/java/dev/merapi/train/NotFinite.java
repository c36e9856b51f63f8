// SPDX-License-Identifier: Apache-2.0
package dev.merapi.train;

import dev.merapi.autograd.Autograd;
import dev.merapi.nn.Block;
import dev.merapi.nn.Parameter;
import dev.merapi.state.Stateful;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Finds the first tensor of a step that is NaN or infinite: what came in, a parameter, the loss, or the gradient of a parameter. */
final class NotFinite {
    private NotFinite() {}

    /** In words; the step has left parameters and gradients as they were. */
    static String first(List<?> batches, Map<String, Stateful> parts, boolean lossIs) {
        try (Scope scope = Scope.open();
                Autograd.Mode mode = Autograd.noGrad()) {
            for (Object batch : batches) {
                String found = inBatch(batch);
                if (found != null) {
                    return found;
                }
            }
            String found = parameter(parts);
            if (found != null) {
                return found;
            }
            if (lossIs) {
                return "the loss; the batch and all parameters are finite";
            }
            found = gradient(parts);
            return found != null ? found : "the norm of the gradients, which are finite, one by one";
        }
    }

    private static @Nullable String inBatch(Object batch) {
        if (batch instanceof Tensor t) {
            return say("the batch", t, true);
        }
        if (!(batch instanceof Record)) {
            return null;
        }
        for (RecordComponent component : batch.getClass().getRecordComponents()) {
            try {
                Object value = component.getAccessor().invoke(batch);
                String found = value instanceof Tensor t ? say("the batch's " + component.getName(), t, true) : null;
                if (found != null) {
                    return found;
                }
            } catch (ReflectiveOperationException e) {
                // a record of the caller's own that we may not look into
            }
        }
        return null;
    }

    /** The first parameter that is not finite, or null. A buffer may be infinite, as masks are. */
    static @Nullable String parameter(Map<String, Stateful> parts) {
        for (Map.Entry<String, Stateful> part : parts.entrySet()) {
            if (part.getValue() instanceof Block block) {
                for (Map.Entry<String, Parameter> p : block.named().entrySet()) {
                    boolean trained = p.getValue().isTrained();
                    String name = (trained ? "the parameter " : "the buffer ") + part.getKey() + "." + p.getKey();
                    String found = say(name, p.getValue().tensor().detach(), trained);
                    if (found != null) {
                        return found;
                    }
                }
            }
        }
        return null;
    }

    /** Backward goes from the last to the first, and what is bad there spoils what comes after. */
    private static @Nullable String gradient(Map<String, Stateful> parts) {
        List<Map.Entry<String, Parameter>> all = new ArrayList<>();
        parts.forEach((name, part) -> {
            if (part instanceof Block block) {
                block.namedParameters().forEach((own, p) -> all.add(Map.entry(name + "." + own, p)));
            }
        });
        Collections.reverse(all);
        for (Map.Entry<String, Parameter> p : all) {
            Tensor gradient = p.getValue().tensor().grad();
            String found = gradient == null ? null : say("the gradient of " + p.getKey(), gradient, true);
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    private static @Nullable String say(String what, Tensor t, boolean finite) {
        if (!t.dtype().isFloating() || t.numel() == 0) {
            return null;
        }
        Tensor good = finite ? t.isFinite() : t.isNan().logicalNot();
        if (good.all().toBooleanArray()[0]) {
            return null;
        }
        double[] values = t.contiguous().reshape(-1).toDoubleArray();
        long bad = 0;
        int first = -1;
        for (int i = 0; i < values.length; i++) {
            if (finite ? !Double.isFinite(values[i]) : Double.isNaN(values[i])) {
                bad++;
                first = first < 0 ? i : first;
            }
        }
        if (first < 0) {
            return null; // the numbers themselves are good, whatever the device says of them
        }
        return what + ": " + bad + " of " + values.length + " elements, the first is " + values[first] + ", of "
                + t.describe();
    }
}
