// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * The layers of a thread, immutable: index 0 is the innermost, so that an index stays right while others are pushed on top.
 * Checks, autograd and autocast have places of their own, which are null where they are off. See {@link dev.merapi.layer.Layers} for the order.
 */
final class LayerStack {
    private static final int CHECKS = 0;
    private static final int MOST = 4096;

    static final LayerStack PLAIN = new LayerStack(new CallLayer[] {null, LayerOrder.AUTOGRAD, null}, 1);

    private final @Nullable CallLayer[] layers;
    private final int autograd;
    private final int top;

    private LayerStack(@Nullable CallLayer[] layers, int autograd) {
        this.layers = layers;
        this.autograd = autograd;
        int highest = layers.length - 1;
        while (layers[highest] == null) {
            highest--;
        }
        this.top = highest;
    }

    @Nullable
    CallLayer get(int index) {
        return layers[index];
    }

    /** The place of autograd. */
    int autograd() {
        return autograd;
    }

    /** The outermost layer that is on. */
    int top() {
        return top;
    }

    @Nullable
    CallLayer checks() {
        return layers[CHECKS];
    }

    LayerStack withChecks(@Nullable CallLayer checks) {
        return set(CHECKS, checks);
    }

    @Nullable
    CallLayer autocast() {
        return layers[autograd + 1];
    }

    LayerStack withAutocast(@Nullable CallLayer autocast) {
        return set(autograd + 1, autocast);
    }

    private LayerStack set(int index, @Nullable CallLayer layer) {
        if (layers[index] == layer) {
            return this;
        }
        @Nullable CallLayer[] next = layers.clone();
        next[index] = layer;
        return new LayerStack(next, autograd);
    }

    /** With one more: on top, or directly below autograd. */
    LayerStack with(String name, CallLayer layer) {
        if (layers.length >= MOST) {
            throw new IllegalStateException(name + ": " + layers.length + " layers are on this thread already"
                    + "\n  fix: close each where it was pushed, with try (…).");
        }
        boolean below = layer.isBelowAutograd();
        int index = below ? autograd : layers.length;
        @Nullable CallLayer[] next = Arrays.copyOf(layers, layers.length + 1);
        System.arraycopy(layers, index, next, index + 1, layers.length - index);
        next[index] = layer;
        return new LayerStack(next, below ? autograd + 1 : autograd);
    }

    /** Without the outermost entry that is this object. */
    LayerStack without(CallLayer layer) {
        int index = top;
        while (index > CHECKS && layers[index] != layer) {
            index--;
        }
        if (index == CHECKS) {
            return this;
        }
        @Nullable CallLayer[] next = Arrays.copyOf(layers, layers.length - 1);
        System.arraycopy(layers, index + 1, next, index, next.length - index);
        LayerStack rest = new LayerStack(next, index < autograd ? autograd - 1 : autograd);
        return rest.equals(PLAIN) ? PLAIN : rest;
    }

    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof LayerStack s && s.autograd == autograd && Arrays.equals(s.layers, layers);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(layers);
    }

    @Override
    public String toString() {
        return Arrays.toString(layers);
    }
}
