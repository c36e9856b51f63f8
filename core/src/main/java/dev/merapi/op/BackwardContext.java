// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.tensor.Tensor;
import java.util.BitSet;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/** What a backward formula may ask: which gradients this pass wants, and zeros for outputs that got none. */
public final class BackwardContext {
    private final Definition<?, ?> definition;
    private final int[] slotCounts;
    private final boolean[] needed;
    private final Tensor[] outputs;
    private final boolean createGraph;
    private final boolean meta;
    private final UnaryOperator<@Nullable Tensor> room;

    /**
     * Made by the engine for each call of a formula.
     *
     * @param definition of the op
     * @param slotCounts tensors per tensor argument
     * @param needed per tensor slot, whether this pass wants its gradient
     * @param outputs per output a tensor without memory that has its shape, dtype and device
     * @param createGraph whether the gradients will be differentiated again
     * @param meta whether this pass runs on tensors without memory
     * @param room see {@link #room}
     */
    public BackwardContext(
            Definition<?, ?> definition,
            int[] slotCounts,
            boolean[] needed,
            Tensor[] outputs,
            boolean createGraph,
            boolean meta,
            UnaryOperator<@Nullable Tensor> room) {
        this.definition = definition;
        this.slotCounts = slotCounts;
        this.needed = needed;
        this.outputs = outputs;
        this.createGraph = createGraph;
        this.meta = meta;
        this.room = room;
    }

    /**
     * The memory of a saved tensor, to be written by an op in place: where a gradient has the form of something that was
     * saved for it alone, it need not be new memory. This is another handle, with the values of {@code saved} in it until
     * they are overwritten, and no part of a graph.
     *
     * <p>Null, and then the gradient takes new memory, if anybody could still read the values: another open handle (the
     * user's, a view, what {@code detach()} gave), another node that saved it, saved-tensor hooks and checkpoints, a call
     * of another thread or work of another stream that goes on; if this pass keeps the graph or creates one; if the tensor
     * is from before the captured graph that this pass is part of; in checked mode; if it is not row-major. The node counts
     * as freed from here on, so it is the last thing that a formula asks before it writes.
     *
     * @param saved one of the tensors that the formula got
     * @return a handle to be written by an op in place
     */
    public @Nullable Tensor room(Tensor saved) {
        return room.apply(saved);
    }

    /**
     * Whether this pass wants the gradient of an argument; of a list, of any of its elements.
     *
     * @param argument its name
     * @return false where it is a constant: then its gradient may be null
     */
    public boolean needs(String argument) {
        int first = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            if (definition.schema().tensorNames().get(i).equals(argument)) {
                for (int k = first; k < first + slotCounts[i]; k++) {
                    if (needed[k]) {
                        return true;
                    }
                }
                return false;
            }
            first += slotCounts[i];
        }
        throw new IllegalArgumentException(definition.name() + ": backward asks about argument '" + argument
                + "', but the tensor arguments are " + definition.schema().tensorNames());
    }

    /**
     * Whether this pass wants the gradient of one element of a list argument.
     *
     * @param argument the list's name
     * @param element from 0
     * @return false where it is a constant
     */
    public boolean needs(String argument, int element) {
        int first = 0;
        for (int i = 0; i < slotCounts.length; i++) {
            if (definition.schema().tensorNames().get(i).equals(argument)) {
                return needed[first + element];
            }
            first += slotCounts[i];
        }
        return needs(argument);
    }

    /**
     * Whether this pass wants the gradient of tensor slot {@code i}, lists flattened.
     *
     * @param i from 0, in the order of the schema
     * @return false where it is a constant
     */
    public boolean needsSlot(int i) {
        return needed[i];
    }

    /**
     * The wanted slots, lists flattened.
     *
     * @return a new set
     */
    public BitSet neededSlots() {
        BitSet slots = new BitSet(needed.length);
        for (int i = 0; i < needed.length; i++) {
            slots.set(i, needed[i]);
        }
        return slots;
    }

    /**
     * The gradient, or zeros of the output's shape if there is none.
     *
     * @param gradient of that output, or null
     * @param output from 0
     * @return a tensor in the form of the output
     */
    public Tensor orZeros(@Nullable Tensor gradient, int output) {
        return gradient != null ? gradient : TENSORS.zeros(outputs[output], meta);
    }

    /**
     * Shape, dtype and device of an output, without data.
     *
     * @param output from 0
     * @return a meta tensor
     */
    public Tensor outputMeta(int output) {
        return outputs[output];
    }

    /**
     * True if the gradients that are computed now will be differentiated again.
     *
     * @return then the formula is made of ops that are recorded
     */
    public boolean createGraph() {
        return createGraph;
    }
}
