// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.tensor.Tensor;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The tangents of an op's arguments, by name, for its {@link Jvp}: each in the form of its tensor, null for zero.
 *
 * @param <A> the op's arguments
 */
public final class Tangents<A extends Record> {
    private final Definition<A, ?> definition;
    private final A args;
    private final int[] slotCounts;
    private final @Nullable Tensor[] inputs;
    private final @Nullable Tensor[] tangents;

    /**
     * Made by the engine for each call of a rule.
     *
     * @param definition of the op
     * @param args of the call
     * @param inputs per tensor slot the tensor, null if it is absent
     * @param tangents per tensor slot; null for zero
     */
    public Tangents(Definition<A, ?> definition, A args, @Nullable Tensor[] inputs, @Nullable Tensor[] tangents) {
        this.definition = Objects.requireNonNull(definition, "definition");
        this.args = Objects.requireNonNull(args, "args");
        this.slotCounts = definition.slotCounts(args);
        this.inputs = Objects.requireNonNull(inputs, "inputs");
        this.tangents = Objects.requireNonNull(tangents, "tangents");
    }

    /**
     * The tangent of an argument that is one tensor; null for zero.
     *
     * @param argument its name
     * @return a tensor in the form of the argument
     */
    public @Nullable Tensor of(String argument) {
        return of(argument, 0);
    }

    /**
     * The tangent of one element of a list argument; null for zero.
     *
     * @param argument the list's name
     * @param element from 0
     * @return a tensor in the form of the element
     */
    public @Nullable Tensor of(String argument, int element) {
        return tangents[slot(argument, element)];
    }

    /**
     * The tangent of an argument, or zeros in its form.
     *
     * @param argument its name
     * @return a tensor in the form of the argument
     */
    public Tensor orZeros(String argument) {
        Tensor t = of(argument);
        Tensor like = Objects.requireNonNull(inputs[slot(argument, 0)], argument);
        return t != null ? t : TENSORS.zeros(like, like.isMeta());
    }

    /**
     * One for each tensor slot, lists flattened.
     *
     * @return a new array; null for zero
     */
    public @Nullable Tensor[] slots() {
        return tangents.clone();
    }

    /**
     * The op on these arguments, with tangents in the place of some, and zeros where those have none; absent arguments stay
     * absent, and optional ones without a tangent are left out.
     */
    A inPlaceOf(boolean[] slots, @Nullable Tensor[] given) {
        @Nullable Tensor[] all = inputs.clone();
        for (int i = 0; i < all.length; i++) {
            Tensor t = inputs[i];
            if (slots[i] && t != null) {
                all[i] = given[i] != null
                        ? given[i]
                        : definition.schema().isOptional(slotCounts, i) ? null : TENSORS.zeros(t, t.isMeta());
            }
        }
        return definition.schema().rebuild(args, all);
    }

    /** The slots that belong to some arguments. */
    boolean[] slotsOf(java.util.Set<String> arguments) {
        boolean[] slots = new boolean[inputs.length];
        int at = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            boolean here = arguments.contains(definition.schema().tensorNames().get(i));
            for (int k = 0; k < slotCounts[i]; k++) {
                slots[at++] = here;
            }
        }
        return slots;
    }

    private int slot(String argument, int element) {
        Objects.requireNonNull(argument, "argument");
        int first = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            if (definition.schema().tensorNames().get(i).equals(argument)) {
                return first + Objects.checkIndex(element, slotCounts[i]);
            }
            first += slotCounts[i];
        }
        throw new IllegalArgumentException(definition.name() + ": its jvp asks for tangents of argument '" + argument
                + "', but the tensor arguments are " + definition.schema().tensorNames());
    }
}
