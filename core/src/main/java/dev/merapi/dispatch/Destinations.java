// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.AliasException;
import dev.merapi.error.Message;
import dev.merapi.op.Definition;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** Whether tensors that one call writes are apart: if not, the result would depend on the order of writing. */
final class Destinations {
    private Destinations() {}

    /** @throws AliasException if two of the tensors that are written share an element */
    static void refuseMeeting(Definition<?, ?> op, @Nullable Tensor[] inputs, boolean[] mutated) {
        // An optimiser writes hundreds, each with memory of its own: only those that share it are compared.
        Map<Storage, List<Tensor>> byMemory = new IdentityHashMap<>();
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (!mutated[i] || t == null || t.isMeta()) {
                continue;
            }
            List<Tensor> sharing = byMemory.computeIfAbsent(TENSORS.storage(t), s -> new ArrayList<>(1));
            for (Tensor other : sharing) {
                if (other.dtype() != t.dtype() || other.layout().meets(t.layout())) {
                    throw new AliasException(Message.of(op.name() + ": two of the tensors that it writes overlap")
                            .fact("one", other.dtype() + "" + other.layout())
                            .fact("the other", t.dtype() + "" + t.layout())
                            .fix("copy() one of them first."));
                }
            }
            sharing.add(t);
        }
    }
}
