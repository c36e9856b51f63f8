// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Arguments for methods of {@link Tensor}, by the names and types of their parameters: most of them fit. */
final class Arguments {
    private static final DType[] INTEGERS =
            Stream.of(DType.values()).filter(d -> !d.isFloating()).toArray(DType[]::new);

    private final Composer composer;
    private final SplittableRandom random;

    Arguments(Composer composer, SplittableRandom random) {
        this.composer = composer;
        this.random = random;
    }

    static double[] cycled(double[] values, int count) {
        double[] result = new double[count];
        for (int i = 0; i < count; i++) {
            result[i] = values[i % values.length];
        }
        return result;
    }

    static long[] cycled(long[] values, int count) {
        long[] result = new long[count];
        for (int i = 0; i < count && values.length > 0; i++) {
            result[i] = values[i % values.length];
        }
        return result;
    }

    // ---------------------------------------------------------------- a call

    void call(MethodCallee m) {
        if (m.isStatic()) {
            joined(m);
            return;
        }
        Ref receiver = receiver(m);
        if (receiver == null) {
            return;
        }
        List<@Nullable Object> args = new ArrayList<>(List.of(receiver));
        Tensor t = composer.tensor(receiver);
        int dim = t.rank() == 0 ? 0 : random.nextInt(t.rank());
        for (Parameter p : m.method().getParameters()) {
            args.add(argument(m, p, t, dim, args));
        }
        composer.emit(m, args.toArray());
    }

    private @Nullable Ref receiver(MethodCallee m) {
        String name = m.name();
        if (m.writes()) {
            boolean random01 = name.equals("uniform_") || name.equals("normal_");
            return composer.pick(
                    t -> composer.mayWrite(t) && (!random01 || t.dtype().isFloating()));
        }
        int rank = switch (name) {
            case "matmul", "linear", "gather", "scatter", "scatterAdd", "indexSelect", "indexAdd", "topk" -> 1;
            case "tril", "triu", "diagonal", "embedding" -> 2;
            case "bmm" -> 3;
            default -> 0;
        };
        boolean bits = (name.startsWith("bit") || name.startsWith("shift")) && random.nextInt(8) > 0;
        Ref r = composer.pick(t -> t.rank() >= rank
                && (!name.equals("t") || t.rank() <= 2)
                && !(bits && t.dtype().isFloating()));
        if (name.equals("oneHot")) {
            return composer.indices(4, 3);
        }
        if (r == null && bits) {
            return composer.leaf(INTEGERS[random.nextInt(INTEGERS.length)], composer.shape(), false);
        }
        if (r == null
                || name.equals("embedding") && composer.tensor(r).rank() != 2
                || name.equals("bmm") && composer.tensor(r).rank() != 3) {
            long[] shape = new long[Math.max(1, rank)];
            Arrays.fill(shape, 2 + random.nextInt(3));
            return composer.leaf(composer.dtype(), shape, true);
        }
        return r;
    }

    /** cat, stack, where. */
    private void joined(MethodCallee m) {
        Ref first = composer.any();
        Tensor t = composer.tensor(first);
        long[] shape = t.shape().toArray();
        if (m.name().equals("where")) {
            Ref condition = composer.operand(shape, DType.BOOL);
            composer.emit(m, condition, first, composer.operand(shape, composer.partner(t.dtype())));
            return;
        }
        boolean stack = m.name().equals("stack");
        int dim = dim(t.rank() + (stack ? 1 : 0));
        List<Ref> all = new ArrayList<>(List.of(first));
        for (int n = random.nextInt(3); n > 0; n--) {
            long[] sizes = shape.clone();
            if (!stack && sizes.length > 0) {
                sizes[Math.floorMod(dim, sizes.length)] = random.nextInt(4);
            }
            all.add(composer.leaf(composer.partner(t.dtype()), sizes, random.nextBoolean()));
        }
        if (m.method().getParameterCount() == 2) {
            composer.emit(m, all, dim);
        }
    }

    // ---------------------------------------------------------------- arguments

    private @Nullable Object argument(MethodCallee m, Parameter p, Tensor t, int dim, List<@Nullable Object> before) {
        Class<?> type = p.getType();
        String name = p.getName();
        if (type == Tensor.class) {
            return operand(m, name, t, before);
        }
        if (type == int.class) {
            boolean grows = m.name().equals("unsqueeze");
            return grows ? dim(t.rank() + 1) : name.equals("dim") && random.nextInt(8) > 0 ? dim : dim(t.rank());
        }
        if (type == long.class) {
            return integer(name, t, dimOf(before, dim));
        }
        if (type == double.class) {
            return real(name);
        }
        if (type == boolean.class) {
            return random.nextBoolean();
        }
        if (type == Number.class) {
            return Values.number(random, t.dtype(), composer.smooth());
        }
        if (type == DType.class) {
            return composer.smooth() ? DType.FLOAT64 : List.of(DType.values()).get(random.nextInt(DType.COUNT));
        }
        if (type == int[].class) {
            return m.name().equals("permute") ? order(t.rank()) : dims(t.rank());
        }
        if (type == Shape.class) {
            return Shape.of(smaller(t.shape().toArray()));
        }
        return type == long[].class ? sizes(m, t, dimOf(before, dim)) : null;
    }

    /** The dimension that an argument before this one names, or will. */
    private static int dimOf(List<@Nullable Object> before, int dim) {
        for (Object a : before) {
            if (a instanceof Integer d) {
                return d;
            }
        }
        return dim;
    }

    private Object operand(MethodCallee m, String name, Tensor t, List<@Nullable Object> before) {
        long[] shape = t.shape().toArray();
        int rank = shape.length;
        switch (m.name()) {
            case "matmul", "bmm", "linear" -> {
                return factor(m.name(), name, t, before);
            }
            case "copy_" -> {
                return composer.withinShape(shape, composer.partner(t.dtype()));
            }
            case "gather", "scatter", "scatterAdd", "scatterAdd_" -> {
                int dim = Math.floorMod((Integer) java.util.Objects.requireNonNull(before.get(1)), Math.max(1, rank));
                if (name.equals("index")) {
                    long[] sizes = shape.clone();
                    if (rank > 0) {
                        sizes[dim] = random.nextInt(5);
                    }
                    return composer.indices(rank == 0 ? 1 : shape[dim], sizes);
                }
                return composer.leaf(t.dtype(), shapeOf(before.get(2)), random.nextBoolean());
            }
            case "indexSelect", "indexAdd", "indexAdd_" -> {
                int dim = Math.floorMod((Integer) java.util.Objects.requireNonNull(before.get(1)), Math.max(1, rank));
                if (name.equals("index")) {
                    return composer.indices(rank == 0 ? 1 : shape[dim], random.nextInt(4));
                }
                long[] sizes = shape.clone();
                if (rank > 0) {
                    sizes[dim] = firstSize(before.get(2));
                }
                return composer.leaf(t.dtype(), sizes, random.nextBoolean());
            }
            case "embedding" -> {
                return composer.indices(
                        rank == 0 ? 1 : shape[0], random.nextBoolean() ? new long[] {3} : new long[] {2, 2});
            }
            default -> {
                DType dtype =
                        name.equals("mask") || name.equals("condition") ? DType.BOOL : composer.partner(t.dtype());
                return m.writes() ? composer.withinShape(shape, dtype) : composer.operand(shape, dtype);
            }
        }
    }

    private long[] shapeOf(@Nullable Object ref) {
        return composer.tensor((Ref) java.util.Objects.requireNonNull(ref))
                .shape()
                .toArray();
    }

    /** Where a leaf was refused, a tensor of any shape stands in its place. */
    private long firstSize(@Nullable Object ref) {
        long[] shape = shapeOf(ref);
        return shape.length == 0 ? 1 : shape[0];
    }

    private Object factor(String method, String name, Tensor t, List<@Nullable Object> before) {
        long[] shape = t.shape().toArray();
        long inner = shape.length == 0 ? 1 : shape[shape.length - 1];
        long outer = 1 + random.nextInt(4);
        long[] sizes;
        if (method.equals("linear")) {
            sizes = name.equals("bias") ? new long[] {firstSize(before.get(1))} : new long[] {outer, inner};
        } else if (method.equals("bmm")) {
            sizes = new long[] {shape.length == 0 ? 1 : shape[0], inner, outer};
        } else {
            sizes = random.nextInt(4) == 0
                    ? new long[] {inner}
                    : random.nextInt(4) == 0 && shape.length > 2
                            ? new long[] {shape[shape.length - 3], inner, outer}
                            : new long[] {inner, outer};
        }
        return composer.leaf(t.dtype(), sizes, random.nextBoolean());
    }

    // ---------------------------------------------------------------- numbers

    private int dim(int rank) {
        return random.nextInt(60) == 0 ? rank : rank == 0 ? random.nextInt(-1, 1) : random.nextInt(-rank, rank);
    }

    /** Some dimensions, each once; none means all. */
    int[] dims(int rank) {
        int[] chosen = order(rank);
        int n = rank == 0 ? 0 : random.nextInt(rank + 1);
        int[] dims = Arrays.copyOf(chosen, n);
        for (int i = 0; i < n; i++) {
            dims[i] -= random.nextBoolean() ? rank : 0;
        }
        return dims;
    }

    private int[] order(int rank) {
        int[] order = new int[rank];
        for (int d = 0; d < rank; d++) {
            int k = random.nextInt(d + 1);
            order[d] = order[k];
            order[k] = d;
        }
        return order;
    }

    private Object integer(String name, Tensor t, int dim) {
        long size = t.rank() == 0 ? 1 : t.size(Math.floorMod(dim, t.rank()));
        return switch (name) {
            case "index" -> random.nextInt(50) == 0 ? size : size == 0 ? 0L : random.nextLong(-size, size);
            case "start" -> random.nextLong(0, size + 1);
            case "length" -> random.nextLong(0, size / 2 + 1);
            case "end" -> random.nextInt(3) == 0 ? Long.MAX_VALUE : random.nextLong(-1, size + 2);
            case "step", "count", "size" -> 1 + random.nextLong(0, 3);
            case "classes" -> 4L + random.nextInt(2);
            case "k" -> random.nextLong(0, size + 1);
            case "paddingIndex" -> composer.smooth() ? -1L : random.nextLong(-1, 2);
            default -> random.nextLong(-3, 4);
        };
    }

    private double real(String name) {
        double[] choices = switch (name) {
            case "p" -> new double[] {0, 0.3, 1, 2, 0.5};
            case "low" -> new double[] {-1, 0};
            case "high", "deviation" -> new double[] {1, 2};
            default -> new double[] {0, 1e-5, 0.1, 1, Double.POSITIVE_INFINITY};
        };
        return choices[random.nextInt(choices.length - (random.nextInt(6) == 0 ? 0 : choices.length > 2 ? 1 : 0))];
    }

    // ---------------------------------------------------------------- shapes

    private long[] sizes(MethodCallee m, Tensor t, int dim) {
        long[] shape = t.shape().toArray();
        return switch (m.name()) {
            case "view", "reshape" -> regrouped(shape);
            case "expand" -> expanded(shape);
            case "repeat" -> small(shape.length + random.nextInt(2), 3);
            case "pad" -> padding(shape);
            case "split" -> parts(shape.length == 0 ? 1 : shape[Math.floorMod(dim, shape.length)]);
            case "unflatten" -> factors(shape.length == 0 ? 1 : shape[Math.floorMod(dim, shape.length)]);
            case "at" -> prefix(shape);
            default -> small(random.nextInt(3), 4);
        };
    }

    private long[] small(int n, int bound) {
        long[] sizes = new long[n];
        for (int i = 0; i < n; i++) {
            sizes[i] = random.nextInt(12) == 0 ? 0 : 1 + random.nextInt(bound - 1);
        }
        return sizes;
    }

    /** Neighbours put together, ones added, one size left out. */
    private long[] regrouped(long[] shape) {
        List<Long> sizes = new ArrayList<>();
        for (long n : shape) {
            if (!sizes.isEmpty() && random.nextInt(3) == 0) {
                sizes.add(sizes.remove(sizes.size() - 1) * n);
            } else {
                for (long f : random.nextInt(4) == 0 ? factors(n) : new long[] {n}) {
                    sizes.add(f);
                }
            }
            if (random.nextInt(8) == 0) {
                sizes.add(1L);
            }
        }
        if (!sizes.isEmpty() && random.nextInt(5) == 0) {
            sizes.set(random.nextInt(sizes.size()), -1L);
        }
        return sizes.stream().mapToLong(n -> n).toArray();
    }

    private long[] factors(long n) {
        for (long f = 2; f * f <= n; f++) {
            if (n % f == 0) {
                return random.nextBoolean() ? new long[] {f, n / f} : new long[] {n / f, f};
            }
        }
        return random.nextBoolean() ? new long[] {1, n} : new long[] {n, 1};
    }

    private long[] expanded(long[] shape) {
        int extra = random.nextInt(2);
        long[] sizes = new long[shape.length + extra];
        for (int d = 0; d < sizes.length; d++) {
            long own = d < extra ? 1 : shape[d - extra];
            sizes[d] = own == 1 ? random.nextInt(4) : random.nextInt(5) == 0 ? -1 : own;
        }
        return sizes;
    }

    private long[] padding(long[] shape) {
        long[] amounts = new long[2 * random.nextInt(shape.length + 1)];
        for (int i = 0; i < amounts.length; i++) {
            amounts[i] = random.nextInt(-1, 3);
        }
        return amounts;
    }

    private long[] parts(long size) {
        long first = random.nextLong(0, size + 1);
        long second = random.nextLong(0, size - first + 1);
        return random.nextBoolean()
                ? new long[] {first, size - first}
                : new long[] {first, second, size - first - second};
    }

    private long[] prefix(long[] shape) {
        long[] indices = new long[random.nextInt(shape.length + 1)];
        for (int d = 0; d < indices.length; d++) {
            indices[d] = shape[d] == 0 ? 0 : random.nextLong(-shape[d], shape[d]);
        }
        return indices;
    }

    /** What might have been broadcast to a shape. */
    private long[] smaller(long[] shape) {
        long[] sizes = Arrays.copyOfRange(shape, random.nextInt(shape.length + 1), shape.length);
        for (int d = 0; d < sizes.length; d++) {
            sizes[d] = random.nextInt(3) == 0 ? 1 : sizes[d];
        }
        return sizes;
    }
}
