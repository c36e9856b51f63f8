// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.launch;

import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Lists of tensors as one argument of a kernel, {@code Lists} of {@code optimizers.cuh}: a launch goes over many of them, in
 * chunks of equal length. Arguments are limited to 4 KiB, with newer drivers to 32; what is longer takes more than one
 * launch.
 */
public final class TensorLists {
    /** As in the kernels. */
    static final int ROLES = 6;

    /** The role of the counts of steps. */
    public static final int STEPS = 5;

    /** How many tensors arguments of 4 and of 32 KiB can name: 64 bytes each, and something is left for others. */
    public static final int FEW = 61;

    public static final int MANY = 508;

    private final int capacity;
    private final long chunk;
    private final List<List<@Nullable Tensor>> tensors = new ArrayList<>(); // roles of each tensor
    private long chunks;

    private TensorLists(int capacity, long chunk) {
        this.capacity = capacity;
        this.chunk = chunk;
    }

    /**
     * Groups of tensors, in order.
     *
     * @param argumentBytes how long arguments may be
     * @param chunk elements that a block takes at a time
     * @param roles lists of equal length, or empty ones: the kernel sees a null for each
     */
    @SafeVarargs
    public static List<TensorLists> of(int argumentBytes, long chunk, List<Tensor>... roles) {
        int capacity = argumentBytes > 1 << 14 && roles[0].size() > FEW ? MANY : FEW;
        List<TensorLists> groups = new ArrayList<>();
        TensorLists open = null;
        for (int i = 0; i < roles[0].size(); i++) {
            Tensor first = roles[0].get(i);
            if (open == null || open.tensors.size() == capacity) {
                open = new TensorLists(capacity, chunk);
                groups.add(open);
            }
            List<@Nullable Tensor> one = new ArrayList<>(roles.length);
            for (List<Tensor> role : roles) {
                one.add(role.isEmpty() ? null : role.get(i));
            }
            open.tensors.add(one);
            open.chunks += open.chunksOf(first);
        }
        return groups;
    }

    /** The first tensor: all are of its dtype and on its device. */
    public Tensor first() {
        return java.util.Objects.requireNonNull(tensors.get(0).get(0));
    }

    /** How many tensors the struct has room for. */
    public int capacity() {
        return capacity;
    }

    /** How many chunks there are in all. */
    public long chunks() {
        return chunks;
    }

    private long chunksOf(Tensor t) {
        return (t.numel() + chunk - 1) / chunk;
    }

    /** The words of the struct. */
    long[] words() {
        int firsts = 3 + capacity;
        int addresses = firsts + capacity + 1;
        long[] words = new long[addresses + ROLES * capacity];
        words[0] = tensors.size();
        words[1] = chunks;
        words[2] = chunk;
        long before = 0;
        for (int i = 0; i < tensors.size(); i++) {
            List<@Nullable Tensor> one = tensors.get(i);
            Tensor first = java.util.Objects.requireNonNull(one.get(0));
            words[3 + i] = first.numel();
            words[firsts + i] = before;
            before += chunksOf(first);
            for (int r = 0; r < one.size(); r++) {
                Tensor t = one.get(r);
                words[addresses + r * capacity + i] = t == null ? 0 : t.address();
            }
        }
        words[firsts + tensors.size()] = before;
        return words;
    }

    /** Each tensor with the number of its role. */
    void forEach(java.util.function.ObjIntConsumer<Tensor> visitor) {
        for (List<@Nullable Tensor> one : tensors) {
            for (int r = 0; r < one.size(); r++) {
                Tensor t = one.get(r);
                if (t != null) {
                    visitor.accept(t, r);
                }
            }
        }
    }
}
