// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import dev.merapi.error.DTypeException;
import dev.merapi.op.Definition;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/** Every way to write in place, and every way to view, for tests that go over all of them. */
final class Writes {
    private Writes() {}

    /**
     * One call that writes.
     *
     * @param target contents for what is written
     * @param others the other tensors of the call
     * @param call of a target and the others
     */
    record Write(String name, Tensor target, List<Tensor> others, BiFunction<Tensor, List<Tensor>, Tensor> call) {
        Tensor onto(Tensor written) {
            return call.apply(written, others);
        }

        Shape shape() {
            return target.shape();
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** All that write one floating tensor: pointwise ops, those with rows, and those that draw random numbers. */
    static List<Write> all() {
        List<Write> all = new ArrayList<>();
        Map<String, PointwiseOp> pointwise = Ops.pointwise().stream()
                .collect(Collectors.toMap(p -> p.op().name(), Function.identity(), (a, b) -> a));
        for (OpSamples<?, ?> row : OpRows.all()) {
            PointwiseOp p = pointwise.get(row.op().name());
            if (p != null) {
                addPointwise(row, p, all);
            } else if (row.op().definition().isMutating()) {
                addStructured(row, all);
            }
        }
        addRandom("normal_", t -> t.normal_(0, 1), all);
        addRandom("uniform_", t -> t.uniform_(0, 1), all);
        addRandom("bernoulli_", t -> t.bernoulli_(0.5), all);
        addRandom("fill_", t -> t.fill_(3), all);
        addRandom("zero_", Tensor::zero_, all);
        return all.stream().filter(Writes::isPossible).toList();
    }

    /** Not so for what is only for whole numbers. */
    private static boolean isPossible(Write write) {
        try (Tensor target = write.target().copy()) {
            write.onto(target);
            return true;
        } catch (DTypeException e) {
            return false;
        }
    }

    private static Maker maker() {
        return new Maker(DType.FLOAT64, Device.CPU, 1, false);
    }

    private static void addPointwise(OpSamples<?, ?> row, PointwiseOp p, List<Write> all) {
        for (Function<Maker, ? extends Record> make : row.makers()) {
            PointwiseArgs args = (PointwiseArgs) make.apply(maker());
            List<Tensor> inputs = Arrays.asList(args.tensors());
            Tensor x = inputs.get(0);
            boolean fits = x.dtype() == DType.FLOAT64 && x.rank() > 0 && x.numel() > 1 && x.numel() < 200;
            for (Tensor t : inputs) {
                fits &= Shape.broadcast("writes", x.shape(), t.shape()).equals(x.shape());
            }
            if (fits && PointwiseCode.of(p.op()).roots().size() == 1) {
                all.add(new Write(p.op().name() + "_", x, inputs.subList(1, inputs.size()), (t, others) -> {
                    List<Tensor> operands = new ArrayList<>(others);
                    operands.add(0, t);
                    return p.into(t, operands, args.scalars());
                }));
                return;
            }
        }
    }

    private static <A extends Record, R> void addStructured(OpSamples<A, R> row, List<Write> all) {
        Definition<A, R> op = row.op().definition();
        A args = row.example(DType.FLOAT64);
        Tensor[] tensors = op.schema().tensors(op.name(), args);
        boolean[] mutated = op.mutatedSlots(args);
        int slot = 0;
        while (!mutated[slot]) {
            slot++;
        }
        int target = slot;
        List<Tensor> others = new ArrayList<>(Arrays.asList(tensors));
        others.remove(target);
        all.add(new Write(op.name(), tensors[target], others, (t, rest) -> {
            List<Tensor> given = new ArrayList<>(rest);
            given.add(target, t);
            row.op().call(op.schema().rebuild(args, given.toArray(new Tensor[0])));
            return t;
        }));
    }

    private static void addRandom(String name, UnaryOperator<Tensor> write, List<Write> all) {
        all.add(new Write("merapi::" + name, maker().uniform(1, 2, 2, 3), List.of(), (t, none) -> write.apply(t)));
    }

    // ---------------------------------------------------------------- views

    /** @param before the sizes of what is viewed, for a view of these sizes; null if there is none */
    record View(String name, Function<long[], long[]> before, BiFunction<Tensor, long[], Tensor> of) {
        boolean fits(long[] sizes) {
            return sizes.length > 0
                    || !List.of("slice", "transpose", "split", "diagonal").contains(name);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    static List<View> views() {
        return List.of(
                new View("slice", s -> with(s, 0, s[0] + 1), (t, s) -> t.slice(0, 1, s[0] + 1)),
                new View("select", s -> before(2, s), (t, s) -> t.select(0, 1)),
                new View("transpose", Writes::swapped, (t, s) -> t.transpose(0, -1)),
                new View("permute", Writes::reversed, (t, s) -> t.permute(dims(s.length))),
                new View("expand", s -> s, Tensor::expand),
                new View("view", s -> new long[] {Shape.of(s).numel()}, Tensor::view),
                new View("squeeze", s -> before(1, s), (t, s) -> t.squeeze(0)),
                new View("unsqueeze", s -> s, (t, s) -> t.unsqueeze(0).select(0, 0)),
                new View(
                        "split",
                        s -> with(s, 0, s[0] + 1),
                        (t, s) -> t.split(new long[] {1, s[0]}, 0).get(1)),
                new View("unbind", s -> before(2, s), (t, s) -> t.unbind(0).get(1)),
                new View(
                        "as_strided",
                        s -> new long[] {Shape.of(s).numel()},
                        (t, s) -> t.isContiguous()
                                ? t.asStrided(s, Layout.contiguous(Shape.of(s)).strides(), 0)
                                : t.view(s)),
                new View("unfold", Writes::unfolded, (t, s) -> {
                    Tensor windows = t.unfold(0, s[s.length - 1], s[s.length - 1]);
                    return s.length == 1 ? windows.select(0, 0) : windows;
                }),
                new View("diagonal", Writes::square, (t, s) -> t.diagonal(0, 0, 1)),
                new View(
                        "alias", s -> s, (t, s) -> dev.merapi.ops.Views.ALIAS.call(new dev.merapi.ops.Views.Alias(t))));
    }

    private static long[] with(long[] sizes, int dim, long size) {
        long[] result = sizes.clone();
        result[dim] = size;
        return result;
    }

    /** What lies in windows one beside the other. */
    private static long[] unfolded(long[] sizes) {
        int last = sizes.length - 1;
        return last == 0 ? sizes : with(Arrays.copyOf(sizes, last), 0, sizes[0] * sizes[last]);
    }

    private static long[] before(long first, long[] sizes) {
        long[] result = new long[sizes.length + 1];
        result[0] = first;
        System.arraycopy(sizes, 0, result, 1, sizes.length);
        return result;
    }

    private static long[] swapped(long[] sizes) {
        return with(with(sizes, 0, sizes[sizes.length - 1]), sizes.length - 1, sizes[0]);
    }

    private static int[] dims(int rank) {
        int[] dims = new int[rank];
        for (int d = 0; d < rank; d++) {
            dims[d] = rank - 1 - d;
        }
        return dims;
    }

    private static long[] reversed(long[] sizes) {
        long[] result = sizes.clone();
        for (int d = 0; d < result.length; d++) {
            result[d] = sizes[sizes.length - 1 - d];
        }
        return result;
    }

    /** [n, n, rest] for [rest, n]. */
    private static long[] square(long[] sizes) {
        long n = sizes[sizes.length - 1];
        return before(n, before(n, Arrays.copyOf(sizes, sizes.length - 1)));
    }
}
