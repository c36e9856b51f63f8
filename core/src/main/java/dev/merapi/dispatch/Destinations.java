// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.error.AliasException;
import dev.merapi.error.Message;
import dev.merapi.op.Definition;
import dev.merapi.storage.Storage;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The memory that one call writes. What it writes must be apart: if not, the result would depend on the order of writing. An
 * optimiser reads and writes hundreds of tensors, so where there are many they are compared by address, sorted.
 */
final class Destinations {
    /** So many are compared each with each. */
    static final int FEW = 8;

    private final long[] starts;
    private final long[] ends;

    private Destinations(long[] starts, long[] ends) {
        this.starts = starts;
        this.ends = ends;
        Arrays.sort(starts);
        Arrays.sort(ends);
    }

    /**
     * Null where memory has no addresses.
     *
     * @param count of the tensors that are written
     */
    static @Nullable Destinations of(@Nullable Tensor[] inputs, boolean[] mutated, int count) {
        long[] starts = new long[count];
        long[] ends = new long[count];
        int n = 0;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (mutated[i] && t != null) {
                starts[n] = t.isMeta() ? 0 : TENSORS.storage(t).address();
                if (starts[n] == 0) {
                    return null;
                }
                ends[n] = starts[n] + TENSORS.storage(t).byteSize();
                n++;
            }
        }
        return new Destinations(starts, ends);
    }

    /** Whether no two share memory. */
    boolean areApart() {
        for (int i = 1; i < starts.length; i++) {
            if (ends[i - 1] > starts[i]) {
                return false;
            }
        }
        return true;
    }

    /** Whether some of it lies in this memory: more begin before its end than are over by its beginning. */
    boolean meet(Storage memory) {
        long start = memory.address();
        return start == 0 || below(starts, start + memory.byteSize()) > below(ends, start + 1);
    }

    private static int below(long[] sorted, long bound) {
        int from = 0;
        int to = sorted.length;
        while (from < to) {
            int middle = (from + to) >>> 1;
            if (sorted[middle] < bound) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        return from;
    }

    /** @throws AliasException if two of the tensors that are written share an element */
    static void refuseMeeting(Definition<?, ?> op, @Nullable Tensor[] inputs, boolean[] mutated) {
        // Only those that share memory are compared.
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
