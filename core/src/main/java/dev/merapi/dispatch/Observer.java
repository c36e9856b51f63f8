// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

/**
 * A layer that is told of work which is no call of an op: nodes of a backward pass, layers of a model, waits for data. It
 * stands above autograd; {@link Context#observer} finds it.
 */
public interface Observer extends CallLayer {
    /** What kind of work begins. */
    enum Work {
        /** The gradients of one node; the subject is the node. */
        BACKWARD,
        /** The forward call of a layer of a model; the subject is its name. */
        BLOCK,
        /** What the program itself named. */
        RANGE,
        /** The thread does nothing until data comes. */
        WAIT
    }

    /**
     * Work begins on this thread, within what began before and has not ended.
     *
     * @param subject says what it is: by {@code toString()}, asked only if it is wanted
     */
    void begin(Work work, Object subject);

    /** What began last has ended, or failed. */
    void end();
}
