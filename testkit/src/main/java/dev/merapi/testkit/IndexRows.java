// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.OpSamples.samples;

import dev.merapi.error.DTypeException;
import dev.merapi.error.ShapeException;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Scattering;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.ops.Searching;
import dev.merapi.ops.TensorIndexing;
import dev.merapi.ops.Views;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ObjDoubleConsumer;

/** Choosing and writing by tensors of indices, windows, and places in sorted rows; written out as loops over positions. */
final class IndexRows {
    private static final DType[] ANY = Kinds.all();
    private static final DType[] NUMBERS = Kinds.numbers();

    private IndexRows() {}

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(chosen());
        rows.addAll(written());
        rows.addAll(windows());
        return rows;
    }

    private static Tensor x(Maker m, long... shape) {
        return m.dtype() == DType.BOOL
                ? m.booleans(shape)
                : m.dtype() == DType.UINT8 ? m.uniform(0, 200, shape) : m.uniform(-9, 9, shape);
    }

    /** Numbers that add up in every dtype. */
    private static Tensor few(Maker m, long... shape) {
        return m.dtype() == DType.UINT8 ? m.uniform(0, 9, shape) : m.uniform(-9, 9, shape);
    }

    // ---------------------------------------------------------------- indices in several dimensions

    private static List<OpSamples<?, ?>> chosen() {
        return List.of(
                samples(TensorIndexing.INDEX)
                        .dtypes(ANY)
                        .sample(
                                "[3, 4, 5] at 0, 1",
                                m -> chosen(x(m, 3, 4, 5), new int[] {0, 1}, m.indices(3, 2, 1), m.indices(4, 3)))
                        .sample(
                                "[3, 4, 5] at 0 and 2: in front",
                                m -> chosen(x(m, 3, 4, 5), new int[] {0, 2}, m.indices(3, 6), m.indices(5, 6)))
                        .sample(
                                "[2, 3, 4, 2] at 1, 2",
                                m -> chosen(
                                        x(m, 2, 3, 4, 2),
                                        new int[] {1, -2},
                                        m.indices(new long[] {0, -1, 2, -3}, 2, 2),
                                        m.indices(new long[] {-1, 3}, 2)))
                        .sample("[3, 4] at 1", m -> chosen(x(m, 3, 4), new int[] {1}, m.indices(4, 2, 3)))
                        .valuesOnly("none", m -> chosen(x(m, 3, 4), new int[] {0, 1}, m.indices(3, 0), m.indices(4, 0)))
                        .references(a -> chosen(a, a.x()))
                        .error(
                                m -> chosen(
                                        x(m, 3, 4), new int[] {0, 1}, m.indices(3, 2), m.indices(new long[] {0, 4}, 2)),
                                ShapeException.class,
                                "index 4, at position 1")
                        .error(
                                m -> chosen(x(m, 3, 4), new int[] {0, 1}, m.indices(3, 2), m.indices(3, 3)),
                                ShapeException.class,
                                "index")
                        .error(
                                m -> chosen(x(m, 3, 4), new int[] {0, 1}, m.indices(3, 2), m.booleans(2)),
                                DTypeException.class,
                                "int32 or int64")
                        .error(
                                m -> chosen(x(m, 3, 4), new int[] {1, 0}, m.indices(3, 2), m.indices(3, 2)),
                                ShapeException.class,
                                "rise"),
                samples(TensorIndexing.INDEX_PUT)
                        .dtypes(NUMBERS)
                        .sample(
                                "[3, 4, 2] at 0, 1, the last wins",
                                m -> put(
                                        chosen(
                                                few(m, 3, 4, 2),
                                                new int[] {0, 1},
                                                m.indices(new long[] {0, -1, 0, 1}, 4),
                                                m.indices(new long[] {3, 2, -1, 0}, 4)),
                                        few(m, 4, 1),
                                        false))
                        .sample(
                                "[3, 2, 4] at 0 and 2, added",
                                m -> put(
                                        chosen(
                                                few(m, 3, 2, 4),
                                                new int[] {0, 2},
                                                m.indices(new long[] {0, 2, 0}, 3),
                                                m.indices(new long[] {3, 1, 3}, 3)),
                                        few(m, 3, 2),
                                        true))
                        .references(IndexRows::put)
                        .roundsEachTerm()
                        .scale(a -> List.of(Grid.filled(i -> 30, a.x().shape().toArray())))
                        .error(
                                m -> put(
                                        chosen(few(m, 3, 4), new int[] {0, 1}, m.indices(3, 2), m.indices(4, 2)),
                                        few(m, 3),
                                        false),
                                ShapeException.class,
                                "expand"));
    }

    private static TensorIndexing.Chosen chosen(Tensor x, int[] dims, Tensor... indices) {
        return new TensorIndexing.Chosen(x, dims, List.of(indices));
    }

    private static TensorIndexing.Put put(TensorIndexing.Chosen c, Tensor values, boolean accumulate) {
        return new TensorIndexing.Put(c.x(), c.dims(), c.indices(), values, accumulate);
    }

    /** Calls with the position in the result and, as it says, where in x that is. */
    private static Grid each(TensorIndexing.Chosen a, ObjDoubleConsumer<long[]> visit, Grid x) {
        int rank = x.rank();
        int k = a.dims().length;
        int[] dims = Arrays.stream(a.dims()).map(d -> d < 0 ? d + rank : d).toArray();
        Grid[] index = a.indices().stream().map(Grid::of).toArray(Grid[]::new);
        long[] all = Grid.broadcast(Arrays.stream(index).map(Grid::shape).toArray(long[][]::new));
        int at = dims[k - 1] - dims[0] + 1 == k ? dims[0] : 0;
        List<Integer> others = new ArrayList<>();
        List<Long> shape = new ArrayList<>();
        for (int d = 0; d < rank; d++) {
            int here = d;
            if (Arrays.stream(dims).noneMatch(c -> c == here)) {
                others.add(d);
                shape.add(x.size(d));
            }
        }
        for (int i = all.length - 1; i >= 0; i--) {
            shape.add(at, all[i]);
        }
        return Grid.filled(
                i -> {
                    long[] from = new long[rank];
                    long[] mine = Arrays.copyOfRange(i, at, at + all.length);
                    for (int j = 0; j < k; j++) {
                        long chosen = (long) index[j].broadcastAt(mine);
                        from[dims[j]] = chosen < 0 ? chosen + x.size(dims[j]) : chosen;
                    }
                    for (int o = 0; o < others.size(); o++) {
                        from[others.get(o)] = i[o < at ? o : o + all.length];
                    }
                    visit.accept(from, 0);
                    return x.at(from);
                },
                shape.stream().mapToLong(n -> n).toArray());
    }

    private static Grid chosen(TensorIndexing.Chosen a, Tensor x) {
        return each(a, (from, zero) -> {}, Grid.of(x));
    }

    private static Grid put(TensorIndexing.Put a) {
        TensorIndexing.Chosen c = new TensorIndexing.Chosen(a.x(), a.dims(), a.indices());
        Grid x = Grid.of(a.x());
        List<long[]> places = new ArrayList<>();
        Grid form = each(c, (from, zero) -> places.add(from.clone()), x);
        Grid values = Grid.of(a.values());
        Grid result = Grid.filled(x::at, x.shape());
        int[] next = {0};
        Grid.filled(
                i -> {
                    long[] to = places.get(next[0]++);
                    if (a.accumulate()) {
                        result.add(values.broadcastAt(i), to);
                    } else {
                        result.set(values.broadcastAt(i), to);
                    }
                    return 0;
                },
                form.shape());
        return result;
    }

    // ---------------------------------------------------------------- rows and elements written

    private static List<OpSamples<?, ?>> written() {
        return List.of(
                samples(Scattering.INDEX_COPY)
                        .dtypes(ANY)
                        .sample("[3, 4] 0, the last wins", IndexRows::copied)
                        .references(IndexRows::copied),
                samples(Scattering.INDEX_COPY_INTO)
                        .dtypes(ANY)
                        .sample("[3, 4] 0, the last wins", IndexRows::copied)
                        .valuesOnly(
                                "[2, 5, 300] 1",
                                m -> new Indexing.IndexAdd(x(m, 2, 5, 300), 1, m.indices(5, 40), x(m, 2, 40, 300)))
                        .references(IndexRows::copied)
                        .error(
                                m -> new Indexing.IndexAdd(x(m, 3, 4), 0, m.indices(new long[] {3}, 1), x(m, 1, 4)),
                                ShapeException.class,
                                "index 3"),
                samples(Scattering.SCATTER_REDUCE)
                        .dtypes(NUMBERS)
                        .sample("sum", m -> reduced(m, Reduce.SUM, true, few(m, 3, 4), few(m, 3, 6)))
                        .sample("sum of others", m -> reduced(m, Reduce.SUM, false, few(m, 3, 4), few(m, 3, 6)))
                        .sample("mean", m -> reduced(m, Reduce.MEAN, true, few(m, 3, 4), few(m, 3, 6)))
                        .sample("mean of others", m -> reduced(m, Reduce.MEAN, false, few(m, 3, 4), few(m, 3, 6)))
                        .sample(
                                "product",
                                m -> reduced(m, Reduce.PROD, true, m.uniform(1, 3, 3, 4), m.uniform(1, 3, 3, 6)))
                        .sample(
                                "product of others",
                                m -> reduced(m, Reduce.PROD, false, m.uniform(1, 3, 3, 4), m.uniform(1, 3, 3, 6)))
                        .valuesOnly(
                                "product of others, some of them 0",
                                m -> new Scattering.ScatterReduce(
                                        m.uniform(1, 3, 4),
                                        0,
                                        m.indices(new long[] {0, 0, 1, 1, 1, -1}, 6),
                                        m.of(new double[] {0, 2, 0, 3, 0, 5}, 6),
                                        Reduce.PROD,
                                        false))
                        .sample("largest", m -> reduced(m, Reduce.AMAX, true, m.distinct(3, 4), apart(m, 3, 6)))
                        .sample(
                                "smallest of others",
                                m -> reduced(m, Reduce.AMIN, false, m.distinct(3, 4), m.distinct(3, 6)))
                        .valuesOnly(
                                "[40, 3] 0",
                                m -> new Scattering.ScatterReduce(
                                        few(m, 40, 3), 0, m.indices(40, 90, 3), few(m, 90, 3), Reduce.AMAX, true))
                        .references(IndexRows::reduced)
                        .scale(a -> List.of(Grid.filled(i -> 40, a.x().shape().toArray())))
                        .error(
                                m -> new Scattering.ScatterReduce(
                                        few(m, 3), 0, m.indices(new long[] {-4}, 1), few(m, 1), Reduce.AMAX, true),
                                ShapeException.class,
                                "index -4"),
                samples(Searching.SEARCH_SORTED)
                        .dtypes(NUMBERS)
                        .sample("[6] left", m -> search(m, false, 2, 4))
                        .sample("[6] right", m -> search(m, true, 5))
                        .sample("[6] by a number", m -> search(m, true))
                        .sample(
                                "[2, 3] rows",
                                m -> new Searching.SearchSorted(
                                        m.of(new double[] {1, 2, 2, 0, 5, 6}, 2, 3),
                                        m.of(new double[] {2, 0, 3, 7, 5, 5, 0, 9}, 2, 4),
                                        false))
                        .valuesOnly(
                                "[1500] of many",
                                m -> new Searching.SearchSorted(
                                        m.uniform(0, 100, 1500).detach().sort(0).values(),
                                        m.uniform(0, 100, 700),
                                        true))
                        .references(IndexRows::searched)
                        .error(
                                m -> new Searching.SearchSorted(few(m, 2, 3), few(m, 3, 3), true),
                                ShapeException.class,
                                "search_sorted: takes"));
    }

    /** No tie with {@link Maker#distinct}. */
    private static Tensor apart(Maker m, long... shape) {
        Tensor x = m.distinct(shape);
        return x.dtype().isFloating() ? x.add(0.125) : x;
    }

    private static Indexing.IndexAdd copied(Maker m) {
        return new Indexing.IndexAdd(x(m, 3, 4), 0, m.indices(new long[] {2, 0, -1}, 3), x(m, 3, 4));
    }

    private static Grid copied(Indexing.IndexAdd a) {
        Grid result = Grid.of(a.x().copy());
        Grid index = Grid.of(a.index());
        Grid src = Grid.of(a.src());
        Grid.filled(
                i -> {
                    long chosen = (long) index.at(i[a.dim()]);
                    result.set(src.at(i), Grid.with(i, a.dim(), chosen < 0 ? chosen + result.size(a.dim()) : chosen));
                    return 0;
                },
                src.shape());
        return result;
    }

    private static Scattering.ScatterReduce reduced(Maker m, Reduce reduce, boolean self, Tensor x, Tensor src) {
        long[] index = {0, 0, 2, 1, -1, 2, 3, 3, 3, 0, -3, 1, 1, 1, 1, 1, 1, 2};
        return new Scattering.ScatterReduce(x, 1, m.indices(index, 3, 6), src, reduce, self);
    }

    private static Grid reduced(Scattering.ScatterReduce a) {
        Grid x = Grid.of(a.x());
        Grid index = Grid.of(a.index());
        Grid src = Grid.of(a.src());
        boolean whole = !a.x().dtype().isFloating();
        return Grid.filled(
                i -> {
                    List<Double> all = new ArrayList<>();
                    if (a.includeSelf()) {
                        all.add(x.at(i));
                    }
                    for (long j = 0; j < index.size(a.dim()); j++) {
                        long[] at = Grid.with(i, a.dim(), j);
                        long chosen = (long) index.at(at);
                        if ((chosen < 0 ? chosen + x.size(a.dim()) : chosen) == i[a.dim()]) {
                            all.add(src.at(at));
                        }
                    }
                    if (all.isEmpty()) {
                        return x.at(i);
                    }
                    double sum = all.stream().mapToDouble(v -> v).sum();
                    return switch (a.reduce()) {
                        case SUM -> sum;
                        case MEAN -> whole ? Math.floor(sum / all.size()) : sum / all.size();
                        case PROD -> all.stream().reduce(1.0, (p, q) -> p * q);
                        case AMAX -> all.stream().reduce(Math::max).get();
                        case AMIN -> all.stream().reduce(Math::min).get();
                    };
                },
                x.shape());
    }

    private static Searching.SearchSorted search(Maker m, boolean right, long... shape) {
        double[] values = {3, 0, 4, 9, 10, 1, 7, 2};
        int n = 1;
        for (long s : shape) {
            n *= (int) s;
        }
        return new Searching.SearchSorted(
                m.of(new double[] {0, 1, 3, 3, 7, 9}, 6), m.of(Arrays.copyOf(values, n), shape), right);
    }

    private static Grid searched(Searching.SearchSorted a) {
        Grid sorted = Grid.of(a.sorted());
        Grid values = Grid.of(a.values());
        return Grid.filled(
                i -> {
                    double count = 0;
                    for (long j = 0; j < sorted.size(-1); j++) {
                        double s = sorted.rank() == 1 ? sorted.at(j) : sorted.at(Grid.with(i, i.length - 1, j));
                        count += s < values.at(i) || a.right() && s == values.at(i) ? 1 : 0;
                    }
                    return count;
                },
                values.shape());
    }

    // ---------------------------------------------------------------- windows

    private static List<OpSamples<?, ?>> windows() {
        String inOrder = "refused: strides are of elements in order";
        return List.of(
                samples(Views.UNFOLD)
                        .dtypes(ANY)
                        .sample("[2, 7] 1 of 3 by 2", m -> new Views.Unfold(x(m, 2, 7), 1, 3, 2))
                        .sample("[5, 2] 0 of 2 by 4", m -> new Views.Unfold(x(m, 5, 2), -2, 2, 4))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return a.dim() == 1
                                    ? Grid.filled(i -> g.at(i[0], 2 * i[1] + i[2]), 2, 3, 3)
                                    : Grid.filled(i -> g.at(i[2], i[1]), 1, 2, 2);
                        })
                        .error(m -> new Views.Unfold(x(m, 2, 7), 1, 8, 1), ShapeException.class, "windows of 8")
                        .error(m -> new Views.Unfold(x(m, 2, 7), 1, 2, 0), ShapeException.class, "each 0 on"),
                samples(Views.AS_STRIDED)
                        .dtypes(ANY)
                        .sample(
                                "[12] as [3, 3] by 2, 3",
                                m -> new Views.AsStrided(x(m, 12), new long[] {3, 3}, new long[] {2, 3}, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(1 + 2 * i[0] + 3 * i[1]), 3, 3);
                        })
                        .skip("transposed inputs", inOrder)
                        .skip("strided inputs", inOrder)
                        .skip("expanded inputs", inOrder)
                        .error(
                                m -> new Views.AsStrided(x(m, 4), new long[] {3}, new long[] {2}, 0),
                                ShapeException.class,
                                "the 5th of 4"));
    }
}
