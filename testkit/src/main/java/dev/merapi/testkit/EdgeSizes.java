// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.error.ShapeException;
import dev.merapi.op.Schema;
import dev.merapi.op.tree.RecordType;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.function.LongUnaryOperator;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * The arguments of an op with sizes and integers at the edge of what there is: dimensions of 0 and 1, no dimensions, and
 * the integers from 0 and −1 to the largest and smallest. Worked out from the record, so that ops to come are covered.
 */
final class EdgeSizes {
    /** What each integer argument is tried as; an {@code int} gets those that fit. */
    static final long[] INTEGERS = {
        0,
        -1,
        1,
        1L << 31,
        1L << 40,
        1L << 62,
        Long.MAX_VALUE - 1,
        Long.MAX_VALUE,
        Long.MIN_VALUE + 1,
        Long.MIN_VALUE,
        Integer.MAX_VALUE,
        Integer.MIN_VALUE
    };

    /** Sizes that a dimension of a tensor without memory is tried as: products of them leave 64 bits. */
    static final long[] HUGE = {1L << 31, 1L << 40, 1L << 61, Long.MAX_VALUE};

    /** Sets of integers, of the many that there are, which are tried together. */
    private static final int TOGETHER = 24;

    /** Arguments, and what was done to them. */
    record Case<A>(String name, A args) {}

    private EdgeSizes() {}

    // ---------------------------------------------------------------- sizes of tensors

    /**
     * One dimension of one tensor as 0 and as 1; the same size as 0 and as 1 wherever it stands, in integers too; no
     * dimensions in one tensor, and in all.
     */
    static <A extends Record> List<Case<A>> ofTensors(Schema schema, String op, A args) {
        List<Case<A>> cases = new ArrayList<>();
        Tensor[] tensors = schema.tensors(op, args);
        Set<Long> sizes = new LinkedHashSet<>();
        for (int slot = 0; slot < tensors.length; slot++) {
            Tensor t = tensors[slot];
            if (t == null) {
                continue;
            }
            for (int d = 0; d < t.rank(); d++) {
                sizes.add(t.size(d));
                for (long size = 0; size < Math.min(2, t.size(d)); size++) {
                    Tensor[] one = tensors.clone();
                    one[slot] = t.slice(d, 0, size).copy();
                    cases.add(new Case<>(
                            "tensor " + slot + ", dimension " + d + " of size " + size, schema.rebuild(args, one)));
                }
            }
            if (t.rank() > 0 && t.numel() > 0) {
                Tensor[] one = tensors.clone();
                one[slot] = withoutDimensions(t);
                cases.add(new Case<>("tensor " + slot + " without dimensions", schema.rebuild(args, one)));
            }
        }
        for (long size : sizes) {
            for (long now = 0; now < Math.min(2, size); now++) {
                long to = now;
                Tensor[] all = new Tensor[tensors.length];
                for (int i = 0; i < all.length; i++) {
                    all[i] = tensors[i] == null ? null : resized(tensors[i], size, to);
                }
                String name = "sizes of " + size + " as " + to;
                A changed = schema.rebuild(args, all);
                cases.add(new Case<>(name, changed));
                A integersToo = map(changed, v -> v == size ? to : v);
                if (integersToo != null) {
                    cases.add(new Case<>(name + ", integers too", integersToo));
                }
            }
        }
        Tensor[] none = new Tensor[tensors.length];
        for (int i = 0; i < none.length; i++) {
            if (tensors[i] != null && tensors[i].numel() == 0) {
                return cases;
            }
            none[i] = tensors[i] == null ? null : withoutDimensions(tensors[i]);
        }
        cases.add(new Case<>("all tensors without dimensions", schema.rebuild(args, none)));
        return cases;
    }

    private static Tensor withoutDimensions(Tensor t) {
        return t.reshape(-1).select(0, 0).copy();
    }

    private static Tensor resized(Tensor t, long size, long to) {
        Tensor result = t;
        for (int d = 0; d < t.rank(); d++) {
            if (t.size(d) == size) {
                result = result.slice(d, 0, to);
            }
        }
        return result.copy();
    }

    /** One dimension of one tensor, and of all, as each of {@link #HUGE}: tensors without memory, for rules of shapes. */
    static <A extends Record> List<Case<A>> withoutMemory(Schema schema, String op, A args) {
        List<Case<A>> cases = new ArrayList<>();
        Tensor[] tensors = schema.tensors(op, args);
        Tensor[] metas = Arrays.stream(tensors)
                .map(t -> t == null ? null : Tensor.meta(t.shape(), t.dtype(), t.device()))
                .toArray(Tensor[]::new);
        for (long huge : HUGE) {
            for (int slot = 0; slot < metas.length; slot++) {
                for (int d = 0; metas[slot] != null && d < metas[slot].rank(); d++) {
                    Tensor[] one = metas.clone();
                    long size = metas[slot].size(d);
                    Tensor[] same = metas.clone();
                    try {
                        one[slot] = huge(metas[slot], metas[slot].size(d), d, huge);
                        cases.add(new Case<>(
                                "tensor " + slot + ", dimension " + d + " of " + huge, schema.rebuild(args, one)));
                        for (int i = 0; i < same.length; i++) {
                            same[i] = metas[i] == null ? null : huge(metas[i], size, -1, huge);
                        }
                        cases.add(new Case<>("sizes of " + size + " as " + huge, schema.rebuild(args, same)));
                    } catch (ShapeException e) {
                        continue; // there is no such tensor
                    }
                }
            }
        }
        return cases;
    }

    private static Tensor huge(Tensor t, long size, int dim, long to) {
        long[] sizes = t.shape().toArray();
        for (int d = 0; d < sizes.length; d++) {
            sizes[d] = dim < 0 && sizes[d] == size || d == dim ? to : sizes[d];
        }
        return Tensor.meta(Shape.of(sizes), t.dtype(), t.device());
    }

    // ---------------------------------------------------------------- integers

    /** Each integer of the arguments as each of {@link #INTEGERS}, and some of them together. */
    static <A extends Record> List<Case<A>> ofIntegers(A args, long seed) {
        List<Case<A>> cases = new ArrayList<>();
        long[] count = {0};
        map(args, v -> {
            count[0]++;
            return v;
        });
        int n = (int) count[0];
        for (int at = 0; at < n; at++) {
            for (long edge : INTEGERS) {
                add(cases, args, only(n, at, edge));
            }
        }
        SplittableRandom random = new SplittableRandom(seed);
        for (int k = 0; n > 1 && k < TOGETHER; k++) {
            @Nullable Long[] some = new Long[n];
            for (int i = 0; i < n; i++) {
                if (random.nextInt(3) > 0) {
                    long edge = INTEGERS[random.nextInt(INTEGERS.length)];
                    some[i] = random.nextInt(4) == 0 ? edge / 2 : edge;
                }
            }
            add(cases, args, some);
        }
        return cases;
    }

    private static @Nullable Long[] only(int n, int at, long value) {
        @Nullable Long[] some = new Long[n];
        some[at] = value;
        return some;
    }

    private static <A extends Record> void add(List<Case<A>> cases, A args, @Nullable Long[] values) {
        int[] next = {0};
        A changed = map(args, v -> {
            Long value = values[next[0]++];
            return value == null ? v : value;
        });
        if (changed != null) {
            cases.add(new Case<>("integers " + Arrays.toString(values), changed));
        }
    }

    /** The value with its integers replaced, in order; null if none changed. */
    @SuppressWarnings("unchecked")
    private static <A extends Record> @Nullable A map(A args, LongUnaryOperator f) {
        RecordType type = RecordType.of(args.getClass(), null);
        @Nullable Object[] values = new Object[type.size()];
        boolean changed = false;
        for (int i = 0; i < values.length; i++) {
            Object old = type.get(args, i);
            Object now = mapped(old, f);
            changed |= now != null && now != old;
            values[i] = now == null ? old : now;
        }
        return changed ? (A) type.make(values) : null;
    }

    /** Null if nothing changed. */
    private static @Nullable Object mapped(@Nullable Object value, LongUnaryOperator f) {
        if (value instanceof Long v) {
            long now = f.applyAsLong(v);
            return now == v ? null : (Object) now;
        }
        if (value instanceof Integer v) {
            long now = f.applyAsLong(v);
            return now == v || now != (int) now ? null : (Object) (int) now;
        }
        if (value instanceof long[] v) {
            long[] now = LongStream.of(v).map(f).toArray();
            return Arrays.equals(now, v) ? null : now;
        }
        if (value instanceof int[] v) {
            int[] now = Arrays.stream(v)
                    .map(k -> {
                        long to = f.applyAsLong(k);
                        return to == (int) to ? (int) to : k;
                    })
                    .toArray();
            return Arrays.equals(now, v) ? null : now;
        }
        return value instanceof Record r ? map(r, f) : null;
    }

    // ---------------------------------------------------------------- copies

    /** A deep copy on a device; what can be differentiated in wants gradients, but for what the op writes. */
    @SuppressWarnings("unchecked")
    static <A extends Record> A onto(Device device, Schema schema, String op, A args, boolean @Nullable [] written) {
        Tensor[] tensors = schema.tensors(op, args);
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            if (t != null) {
                Tensor moved = t.isMeta()
                        ? Tensor.meta(t.shape(), t.dtype(), device)
                        : t.device() == device ? t.detach().copy() : t.detach().to(device);
                boolean differentiated = t.requiresGrad() && (written == null || !written[i]);
                tensors[i] = differentiated ? moved.detach().requiresGrad(true) : moved.detach();
            }
        }
        A copy = schema.rebuild(args, tensors);
        RecordType type = RecordType.of(schema.type(), null);
        @Nullable Object[] values = new Object[type.size()];
        for (int i = 0; i < values.length; i++) {
            Object value = type.get(copy, i);
            values[i] = value instanceof Device ? device : value instanceof long[] v ? v.clone() : value;
        }
        return (A) type.make(values);
    }
}
