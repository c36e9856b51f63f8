// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.types.DeviceType;
import org.jspecify.annotations.Nullable;

/**
 * An op that knows what it saves, and so the type that its backward formulas receive.
 *
 * @param <S> what is saved
 * @param <A> the arguments
 * @param <R> the result
 */
public final class Saving<A extends Record, R, S extends @Nullable Object> {
    private final Op<A, R> op;

    Saving(Op<A, R> op) {
        this.op = op;
    }

    /**
     * The shared formula, written with other ops.
     *
     * @param formula gives a gradient for each tensor argument
     * @return this
     */
    @SuppressWarnings("unchecked")
    public Saving<A, R, S> backward(Backward<S, R> formula) {
        op.backward((Class<S>) Object.class, formula);
        return this;
    }

    /**
     * A backward kernel for one kind of device.
     *
     * @param device where it takes the place of the formula, unless a graph is created
     * @param kernel gives a gradient for each tensor argument
     * @return this
     */
    @SuppressWarnings("unchecked")
    public Saving<A, R, S> backward(DeviceType device, Backward<S, R> kernel) {
        op.backward(device, (Class<S>) Object.class, kernel);
        return this;
    }

    /**
     * A backward kernel that the device's backend builds.
     *
     * @param device where it takes the place of the formula, unless a graph is created
     * @param code of a class that the device's backend knows
     * @return this
     */
    public Saving<A, R, S> backward(DeviceType device, DeviceCode code) {
        op.backward(device, code);
        return this;
    }

    /**
     * Back to the op, for more pieces.
     *
     * @return the op
     */
    public Op<A, R> and() {
        return op;
    }

    /**
     * As {@link Op#register}.
     *
     * @return the op
     */
    public Op<A, R> register() {
        return op.register();
    }
}
