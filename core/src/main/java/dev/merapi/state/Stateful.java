// SPDX-License-Identifier: Apache-2.0
package dev.merapi.state;

/** Something that a run must remember to go on later: a model, an optimiser, a scaler, a loader, a generator. */
public interface Stateful {
    /**
     * All that the next step depends on, by name. Tensors are the ones in use, not copies.
     *
     * @return a state, to be saved before the next step
     */
    StateDict stateDict();

    /**
     * Takes a state over. Tensors are copied in.
     *
     * @param state of an object that was made in the same way
     * @throws dev.merapi.error.StateDictException if names are missing or unknown, or a value is of another kind, shape or
     *     dtype: the message has all of them, and nothing is changed
     */
    void loadStateDict(StateDict state);
}
