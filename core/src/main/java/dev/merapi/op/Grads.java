// SPDX-License-Identifier: Apache-2.0
package dev.merapi.op;

import dev.merapi.tensor.Tensor;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Gradients by argument name, as a backward formula returns them. A list argument takes a list of gradients. */
public final class Grads {
    private static final Grads NONE = new Grads(new String[0], new Object[0]);

    private final String[] names;
    private final @Nullable Object[] values;

    private Grads(String[] names, @Nullable Object[] values) {
        this.names = names;
        this.values = values;
    }

    /** {@return no gradients: for ops whose arguments hold no tensors} */
    public static Grads none() {
        return NONE;
    }

    /**
     * The gradient of one argument.
     *
     * @param name of an argument that is one tensor
     * @param gradient of its shape, dtype and device; null if none flows there
     * @return gradients that {@link #and} adds to
     */
    public static Grads of(String name, @Nullable Tensor gradient) {
        return new Grads(new String[] {name}, new Object[] {gradient});
    }

    /**
     * The gradients of an argument that is a list.
     *
     * @param name of an argument that is a list of tensors
     * @param gradients one for each element, null where none flows
     * @return gradients that {@link #and} adds to
     */
    public static Grads ofList(String name, List<? extends @Nullable Tensor> gradients) {
        return new Grads(new String[] {name}, new Object[] {gradients});
    }

    /**
     * These and the gradient of one more argument.
     *
     * @param name of an argument that is one tensor
     * @param gradient of its shape, dtype and device; null if none flows there
     * @return all of them; this stays as it is
     */
    public Grads and(String name, @Nullable Tensor gradient) {
        return with(name, gradient);
    }

    /**
     * These and the gradients of one more argument, which is a list.
     *
     * @param name of an argument that is a list of tensors
     * @param gradients one for each element, null where none flows
     * @return all of them; this stays as it is
     */
    public Grads andList(String name, List<? extends @Nullable Tensor> gradients) {
        return with(name, gradients);
    }

    private Grads with(String name, @Nullable Object value) {
        int n = names.length;
        String[] moreNames = Arrays.copyOf(names, n + 1);
        @Nullable Object[] moreValues = Arrays.copyOf(values, n + 1);
        moreNames[n] = name;
        moreValues[n] = value;
        return new Grads(moreNames, moreValues);
    }

    int size() {
        return names.length;
    }

    List<String> names() {
        return Arrays.asList(names);
    }

    /** Position of a name, or −1. */
    int indexOf(String name) {
        for (int i = 0; i < names.length; i++) {
            if (names[i].equals(name)) {
                return i;
            }
        }
        return -1;
    }

    @Nullable
    Object value(int i) {
        return values[i];
    }
}
