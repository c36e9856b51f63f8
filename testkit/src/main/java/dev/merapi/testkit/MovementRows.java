// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.testkit.OpSamples.samples;

import dev.merapi.error.ShapeException;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Factories;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Joining;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Rearranging;
import dev.merapi.ops.Views;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Ops that only move elements: views, copies, joining, indexing, factories. Exact in every dtype. */
final class MovementRows {
    private static final DType[] ANY = Kinds.all();

    private MovementRows() {}

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(views());
        rows.addAll(copies());
        rows.addAll(joining());
        rows.addAll(indexing());
        rows.addAll(factories());
        return rows;
    }

    private static Tensor x(Maker m, long... shape) {
        return m.dtype() == DType.BOOL
                ? m.booleans(shape)
                : m.dtype() == DType.UINT8 ? m.uniform(0, 200, shape) : m.uniform(-9, 9, shape);
    }

    // ---------------------------------------------------------------- views

    private static List<OpSamples<?, ?>> views() {
        return List.of(
                samples(Views.TRANSPOSE)
                        .dtypes(ANY)
                        .sample("[2, 3, 4] 0 2", m -> new Views.Transpose(x(m, 2, 3, 4), 0, -1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[2], i[1], i[0]), 4, 3, 2);
                        })
                        .error(m -> new Views.Transpose(x(m, 2, 3), 0, 2), ShapeException.class, "dimension 2"),
                samples(Views.PERMUTE)
                        .dtypes(ANY)
                        .sample("[2, 3, 4]", m -> new Views.Permute(x(m, 2, 3, 4), new int[] {2, 0, 1}))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[1], i[2], i[0]), 4, 2, 3);
                        })
                        .error(m -> new Views.Permute(x(m, 2, 3), new int[] {0, 0}), ShapeException.class, "permute"),
                samples(Views.SLICE)
                        .dtypes(ANY)
                        .sample("[3, 7] 1 from 1 to 6 by 2", m -> new Views.Slice(x(m, 3, 7), 1, 1, 6, 2))
                        .sample("[5] from -3", m -> new Views.Slice(x(m, 5), 0, -3, 5, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return g.rank() == 2
                                    ? Grid.filled(i -> g.at(i[0], 1 + 2 * i[1]), 3, 3)
                                    : Grid.filled(i -> g.at(i[0] + 2), 3);
                        }),
                samples(Views.SELECT)
                        .dtypes(ANY)
                        .sample("[3, 4] 0 -1", m -> new Views.Select(x(m, 3, 4), 0, -1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(2, i[0]), 4);
                        })
                        .error(m -> new Views.Select(x(m, 3, 4), 0, 3), ShapeException.class, "3"),
                samples(Views.EXPAND)
                        .dtypes(ANY)
                        .sample("[3, 1] to [2, 3, 4]", m -> new Views.Expand(x(m, 3, 1), new long[] {2, 3, 4}))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[1], 0), 2, 3, 4);
                        })
                        .error(m -> new Views.Expand(x(m, 3), new long[] {4}), ShapeException.class, "expand"),
                samples(Views.VIEW)
                        .dtypes(ANY)
                        .sample("[2, 6] as [3, -1]", m -> new Views.View(x(m, 2, 6), new long[] {3, -1}))
                        .references(a -> Grid.of(a.x().toDoubleArray(), 3, 4))
                        .skip("transposed inputs", "refused: a view does not copy")
                        .skip("strided inputs", "refused: a view does not copy")
                        .skip("expanded inputs", "refused: a view does not copy")
                        .error(m -> new Views.View(x(m, 2, 6), new long[] {5}), ShapeException.class, "[2, 6]"),
                samples(Views.SPLIT)
                        .dtypes(ANY)
                        .sample("[2, 5] 1", m -> new Views.Split(x(m, 2, 5), new long[] {2, 0, 3}, 1))
                        .reference(a -> {
                            Grid g = Grid.of(a.x());
                            return List.of(
                                    Grid.filled(i -> g.at(i[0], i[1]), 2, 2),
                                    Grid.filled(i -> 0, 2, 0),
                                    Grid.filled(i -> g.at(i[0], i[1] + 2), 2, 3));
                        })
                        .error(m -> new Views.Split(x(m, 5), new long[] {2, 2}, 0), ShapeException.class, "split"),
                samples(Views.UNBIND)
                        .dtypes(ANY)
                        .sample("[2, 3] 1", m -> new Views.Unbind(x(m, 2, 3), 1))
                        .reference(a -> {
                            Grid g = Grid.of(a.x());
                            return List.of(
                                    Grid.filled(i -> g.at(i[0], 0), 2),
                                    Grid.filled(i -> g.at(i[0], 1), 2),
                                    Grid.filled(i -> g.at(i[0], 2), 2));
                        }),
                samples(Views.DIAGONAL)
                        .dtypes(ANY)
                        .sample("[3, 5] 1", m -> new Views.Diagonal(x(m, 3, 5), 1, 0, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[0], i[0] + 1), 3);
                        }),
                samples(Views.SQUEEZE)
                        .dtypes(ANY)
                        .sample("[2, 1, 3] 1", m -> new Views.Squeeze(x(m, 2, 1, 3), 1))
                        .references(a -> Grid.of(a.x().toDoubleArray(), 2, 3)),
                samples(Views.UNSQUEEZE)
                        .dtypes(ANY)
                        .sample("[2, 3] 1", m -> new Views.Unsqueeze(x(m, 2, 3), 1))
                        .references(a -> Grid.of(a.x().toDoubleArray(), 2, 1, 3)),
                samples(Views.ALIAS)
                        .dtypes(ANY)
                        .sample("[2, 3]", m -> new Views.Alias(x(m, 2, 3)))
                        .references(a -> Grid.of(a.x())));
    }

    // ---------------------------------------------------------------- copies

    private static List<OpSamples<?, ?>> copies() {
        return List.of(
                samples(CopyOps.CAST)
                        .dtypes(ANY)
                        .sample("[2, 3] to float64", m -> new CopyOps.Cast(x(m, 2, 3), DType.FLOAT64))
                        .valuesOnly("[1031] to float32", m -> new CopyOps.Cast(x(m, 1031), DType.FLOAT32))
                        .references(a -> Grid.of(a.x())),
                samples(CopyOps.MOVE)
                        .dtypes(ANY)
                        .sample("[2, 3]", m -> new CopyOps.Move(x(m, 2, 3), m.device()))
                        .references(a -> Grid.of(a.x()))
                        .skip("agrees with", "the target is a device")
                        .skip("gradients", "the target is a device"),
                samples(CopyOps.COPY_INTO)
                        .dtypes(ANY)
                        .sample("[2, 3] from [3]", m -> new CopyOps.Into(x(m, 2, 3), x(m, 3)))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(g::broadcastAt, 2, 3);
                        })
                        .error(m -> new CopyOps.Into(x(m, 3), x(m, 2, 3)), ShapeException.class, "does not broadcast"),
                samples(Rearranging.TRIL)
                        .dtypes(ANY)
                        .sample("[2, 3, 4] 1", m -> new Rearranging.Triangle(x(m, 2, 3, 4), 1))
                        .references(a -> keep(a.x(), (row, column) -> column <= row + 1))
                        .error(
                                m -> new Rearranging.Triangle(x(m, 3), 0),
                                ShapeException.class,
                                "at least 2 dimensions"),
                samples(Rearranging.TRIU)
                        .dtypes(ANY)
                        .sample("[2, 3, 4] -1", m -> new Rearranging.Triangle(x(m, 2, 3, 4), -1))
                        .references(a -> keep(a.x(), (row, column) -> column >= row - 1)),
                samples(Rearranging.FLIP)
                        .dtypes(ANY)
                        .sample("[2, 3, 4] 0 2", m -> new Rearranging.Flip(x(m, 2, 3, 4), new int[] {0, -1}))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(1 - i[0], i[1], 3 - i[2]), 2, 3, 4);
                        }),
                samples(Rearranging.ROLL)
                        .dtypes(ANY)
                        .sample("[2, 5] by 2", m -> new Rearranging.Roll(x(m, 2, 5), 2, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[0], (i[1] + 3) % 5), 2, 5);
                        }));
    }

    private interface Where {
        boolean test(long row, long column);
    }

    private static Grid keep(Tensor x, Where kept) {
        Grid g = Grid.of(x);
        return Grid.filled(i -> kept.test(i[1], i[2]) ? g.at(i) : 0, g.shape());
    }

    // ---------------------------------------------------------------- joining

    private static List<OpSamples<?, ?>> joining() {
        return List.of(
                samples(Joining.CAT)
                        .dtypes(ANY)
                        .sample("[2, 3] [2, 2] 1", m -> new Joining.Cat(List.of(x(m, 2, 3), x(m, 2, 2)), 1))
                        .references(a -> {
                            Grid p = Grid.of(a.tensors().get(0));
                            Grid q = Grid.of(a.tensors().get(1));
                            return Grid.filled(i -> i[1] < 3 ? p.at(i) : q.at(i[0], i[1] - 3), 2, 5);
                        })
                        .error(
                                m -> new Joining.Cat(List.of(), 0),
                                ShapeException.class,
                                "cat: the list of tensors is empty")
                        .error(
                                m -> new Joining.Cat(List.of(x(m, 2, 3), x(m, 3, 3)), 1),
                                ShapeException.class,
                                "cat: shapes"),
                samples(Joining.STACK)
                        .dtypes(ANY)
                        .sample("[2, 3] twice 1", m -> new Joining.Stack(List.of(x(m, 2, 3), x(m, 2, 3)), 1))
                        .references(a -> {
                            Grid p = Grid.of(a.tensors().get(0));
                            Grid q = Grid.of(a.tensors().get(1));
                            return Grid.filled(i -> (i[1] == 0 ? p : q).at(i[0], i[2]), 2, 2, 3);
                        })
                        .error(
                                m -> new Joining.Stack(List.of(x(m, 2), x(m, 3)), 0),
                                ShapeException.class,
                                "stack: shapes differ"),
                samples(Joining.PAD)
                        .dtypes(ANY)
                        .sample("[2, 3] by 1, 2, -1, 0", m -> new Joining.Pad(x(m, 2, 3), new long[] {1, 2, -1, 0}, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> i[1] < 1 || i[1] > 3 ? 1 : g.at(1, i[1] - 1), 1, 6);
                        })
                        .error(m -> new Joining.Pad(x(m, 2), new long[] {-2, -1}, 0), ShapeException.class, "cut more"),
                samples(Joining.REPEAT)
                        .dtypes(ANY)
                        .sample("[2, 3] by 2, 1, 2", m -> new Joining.Repeat(x(m, 2, 3), new long[] {2, 1, 2}))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            return Grid.filled(i -> g.at(i[1], i[2] % 3), 2, 2, 6);
                        }));
    }

    // ---------------------------------------------------------------- indexing

    private static List<OpSamples<?, ?>> indexing() {
        DType[] numbers = Kinds.numbers();
        return List.of(
                samples(Indexing.GATHER)
                        .dtypes(ANY)
                        .sample("[3, 4] 1", m -> new Indexing.Gather(x(m, 3, 4), 1, m.indices(4, 3, 2)))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            Grid index = Grid.of(a.index());
                            return Grid.filled(i -> g.at(i[0], (long) index.at(i)), 3, 2);
                        })
                        .error(
                                m -> new Indexing.Gather(x(m, 3, 4), 1, m.indices(new long[] {4, 0, 0}, 3, 1)),
                                ShapeException.class,
                                "out of range"),
                samples(Ordering.TOPK)
                        .dtypes(ANY)
                        .sample("[2, 7] 3", m -> new Ordering.TopK(m.distinct(2, 7), 3, true))
                        .sample("[2, 5] smallest first", m -> new Ordering.TopK(m.distinct(2, 5), 5, false))
                        .sample("[]", m -> new Ordering.TopK(x(m), 1, true))
                        .valuesOnly("[3, 300] with equals", m -> new Ordering.TopK(x(m, 3, 300), 300, true))
                        .valuesOnly("[2, 5000] with equals", m -> new Ordering.TopK(x(m, 2, 5000), 5000, false))
                        .reference(MovementRows::ordered)
                        .error(
                                m -> new Ordering.TopK(x(m, 2, 3), 4, true),
                                ShapeException.class,
                                "topk: 4 of 3 elements"),
                samples(Indexing.SCATTER)
                        .dtypes(ANY)
                        .sample(
                                "[3, 4] 1",
                                m -> new Indexing.Scatter(
                                        x(m, 3, 4), 1, m.indices(new long[] {0, 2, 3, 1, 1, 0}, 3, 2), x(m, 3, 2)))
                        .sample(
                                "[3, 4] 1, repeated",
                                m -> new Indexing.Scatter(
                                        x(m, 3, 4),
                                        1,
                                        m.indices(new long[] {2, 0, 2, 1, 1, 1, 3, 3, 0}, 3, 3),
                                        x(m, 3, 3)))
                        .references(a -> scattered(a, false))
                        .error(
                                m -> new Indexing.Scatter(
                                        x(m, 3, 4), 1, m.indices(new long[] {0, 2, 3, 4, 1, 0}, 3, 2), x(m, 3, 2)),
                                ShapeException.class,
                                "index 4"),
                samples(Indexing.SCATTER_ADD)
                        .dtypes(numbers)
                        .sample("[3, 4] 1", m -> new Indexing.Scatter(x(m, 3, 4), 1, m.indices(4, 3, 2), x(m, 3, 2)))
                        .references(a -> scattered(a, true))
                        .roundsEachTerm()
                        .scale(a -> List.of(Grid.filled(i -> 30, 3, 4))),
                samples(Indexing.SCATTER_ADD_INTO)
                        .dtypes(numbers)
                        .sample("[3, 4] 1", m -> new Indexing.Scatter(x(m, 3, 4), 1, m.indices(4, 3, 2), x(m, 3, 2)))
                        .references(a -> scattered(a, true))
                        .roundsEachTerm()
                        .scale(a -> List.of(Grid.filled(i -> 30, 3, 4)))
                        .error(
                                m -> new Indexing.Scatter(
                                        x(m, 3, 4), 1, m.indices(new long[] {0, 2, 3, 1, 1, -5}, 3, 2), x(m, 3, 2)),
                                ShapeException.class,
                                "index -5"),
                samples(Indexing.INDEX_SELECT)
                        .dtypes(ANY)
                        .sample(
                                "[3, 4] 0",
                                m -> new Indexing.IndexSelect(x(m, 3, 4), 0, m.indices(new long[] {2, 0, 2, -1}, 4)))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            Grid index = Grid.of(a.index());
                            return Grid.filled(i -> g.at(((long) index.at(i[0]) + 3) % 3, i[1]), 4, 4);
                        })
                        .error(
                                m -> new Indexing.IndexSelect(x(m, 3), 0, m.indices(new long[] {3}, 1)),
                                ShapeException.class,
                                "index 3"),
                samples(Indexing.INDEX_ADD)
                        .dtypes(numbers)
                        .sample("[3, 4] 0", m -> new Indexing.IndexAdd(x(m, 3, 4), 0, m.indices(3, 5), x(m, 5, 4)))
                        .references(MovementRows::indexAdded)
                        .roundsEachTerm()
                        .scale(a -> List.of(Grid.filled(i -> 30, 3, 4))),
                samples(Indexing.INDEX_ADD_INTO)
                        .dtypes(numbers)
                        .sample("[3, 4] 0", m -> new Indexing.IndexAdd(x(m, 3, 4), 0, m.indices(3, 5), x(m, 5, 4)))
                        .references(MovementRows::indexAdded)
                        .roundsEachTerm()
                        .scale(a -> List.of(Grid.filled(i -> 30, 3, 4)))
                        .error(
                                m -> new Indexing.IndexAdd(
                                        x(m, 3, 4), 0, m.indices(new long[] {0, 2, 3}, 3), x(m, 3, 4)),
                                ShapeException.class,
                                "index 3"),
                samples(Indexing.EMBEDDING)
                        .sample("[5, 3]", m -> new Indexing.Embedding(x(m, 5, 3), m.indices(5, 2, 2), -1))
                        .references(a -> {
                            Grid w = Grid.of(a.weight());
                            Grid index = Grid.of(a.indices());
                            return Grid.filled(i -> w.at((long) index.at(i[0], i[1]), i[2]), 2, 2, 3);
                        })
                        .error(
                                m -> new Indexing.Embedding(x(m, 5, 3), m.indices(new long[] {7}, 1), -1),
                                ShapeException.class,
                                "index 7"),
                samples(Indexing.EMBEDDING_BACKWARD)
                        .sample(
                                "[2, 2, 3] padding 1",
                                m -> new Indexing.EmbeddingBackward(
                                        x(m, 2, 2, 3), m.indices(new long[] {4, 1, 0, 4}, 2, 2), 5, 1))
                        .references(a -> {
                            Grid g = Grid.of(a.g());
                            Grid index = Grid.of(a.indices());
                            Grid sum = Grid.filled(i -> 0, 5, 3);
                            Grid.filled(
                                    i -> {
                                        long row = (long) index.at(i[0], i[1]);
                                        sum.add(row == 1 ? 0 : g.at(i), row, i[2]);
                                        return 0;
                                    },
                                    2,
                                    2,
                                    3);
                            return sum;
                        })
                        .scale(a -> List.of(Grid.filled(i -> 20, 5, 3)))
                        .skip("empty inputs", "the rows keep their number"),
                samples(Indexing.ONE_HOT)
                        .dtypes(ANY)
                        .sample("[3] of 4", m -> new Indexing.OneHot(m.indices(4, 3), 4, m.dtype()))
                        .references(a -> {
                            Grid index = Grid.of(a.indices());
                            return Grid.filled(i -> index.at(i[0]) == i[1] ? 1 : 0, 3, 4);
                        }),
                samples(Indexing.NONZERO)
                        .dtypes(ANY)
                        .sample(
                                "[2, 3]",
                                m -> new Indexing.NonZero(
                                        m.dtype() == DType.BOOL
                                                ? m.booleans(2, 3)
                                                : m.of(new double[] {0, 3, 0, 5, 0, 7}, 2, 3)))
                        .references(a -> {
                            Grid g = Grid.of(a.x());
                            List<Double> found = new ArrayList<>();
                            Grid.filled(
                                    i -> {
                                        if (g.at(i) != 0) {
                                            found.add((double) i[0]);
                                            found.add((double) i[1]);
                                        }
                                        return 0;
                                    },
                                    2,
                                    3);
                            return Grid.of(found.stream().mapToDouble(v -> v).toArray(), found.size() / 2, 2);
                        }));
    }

    private static List<Grid> ordered(Ordering.TopK a) {
        Grid x = Grid.of(a.x());
        int n = x.rank() == 0 ? 1 : (int) x.size(x.rank() - 1);
        int k = (int) a.k();
        double[] values = new double[x.values().length / n * k];
        double[] indices = new double[values.length];
        for (int row = 0; row * n < x.values().length; row++) {
            int start = row * n;
            List<Integer> order =
                    new ArrayList<>(IntStream.range(start, start + n).boxed().toList());
            order.sort((i, j) -> Double.compare(x.values()[i], x.values()[j]) * (a.largest() ? -1 : 1));
            for (int i = 0; i < k; i++) {
                values[row * k + i] = x.values()[order.get(i)];
                indices[row * k + i] = order.get(i) - start;
            }
        }
        long[] shape = x.shape().clone();
        if (shape.length > 0) {
            shape[shape.length - 1] = k;
        }
        return List.of(Grid.of(values, shape), Grid.of(indices, shape));
    }

    private static Grid scattered(Indexing.Scatter a, boolean add) {
        Grid x = Grid.of(a.x());
        Grid index = Grid.of(a.index());
        Grid src = Grid.of(a.src());
        Grid result = Grid.filled(x::at, x.shape());
        Grid.filled(
                i -> {
                    long[] at = Grid.with(i, 1, (long) index.at(i));
                    if (add) {
                        result.add(src.at(i), at);
                    } else {
                        result.set(src.at(i), at);
                    }
                    return 0;
                },
                index.shape());
        return result;
    }

    private static Grid indexAdded(Indexing.IndexAdd a) {
        Grid x = Grid.of(a.x());
        Grid index = Grid.of(a.index());
        Grid src = Grid.of(a.src());
        Grid result = Grid.filled(x::at, x.shape());
        Grid.filled(
                i -> {
                    result.add(src.at(i), (long) index.at(i[0]), i[1]);
                    return 0;
                },
                src.shape());
        return result;
    }

    // ---------------------------------------------------------------- factories

    private static List<OpSamples<?, ?>> factories() {
        return List.of(
                samples(Factories.FULL)
                        .dtypes(ANY)
                        .sample("[2, 3] 1", m -> new Factories.Full(new long[] {2, 3}, 1, m.dtype(), m.device()))
                        .references(a -> Grid.filled(i -> 1, 2, 3))
                        .error(
                                m -> new Factories.Full(new long[] {-1}, 1, m.dtype(), m.device()),
                                ShapeException.class,
                                "negative size -1"),
                samples(Factories.EYE)
                        .dtypes(ANY)
                        .sample("3 x 4", m -> new Factories.Eye(3, 4, m.dtype(), m.device()))
                        .references(a -> Grid.filled(i -> i[0] == i[1] ? 1 : 0, 3, 4)),
                samples(Factories.ARANGE)
                        .dtypes(Kinds.numbers())
                        .sample("2 to 17 by 3", m -> new Factories.Arange(2, 17, 3, m.dtype(), m.device()))
                        .references(a -> Grid.filled(i -> 2 + 3 * i[0], 5))
                        .error(
                                m -> new Factories.Arange(0, 5, 0, m.dtype(), m.device()),
                                ShapeException.class,
                                "never arrives"),
                samples(Factories.LINSPACE)
                        .sample("-1 to 1 in 9", m -> new Factories.Linspace(-1, 1, 9, m.dtype(), m.device()))
                        .references(a -> Grid.filled(i -> -1 + 0.25 * i[0], 9)));
    }
}
