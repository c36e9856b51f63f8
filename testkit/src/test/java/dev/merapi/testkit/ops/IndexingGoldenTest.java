// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static dev.merapi.tensor.Index.ALL;
import static dev.merapi.tensor.Index.ELLIPSIS;
import static dev.merapi.tensor.Index.NEW_AXIS;
import static dev.merapi.tensor.Index.at;
import static dev.merapi.tensor.Index.every;
import static dev.merapi.tensor.Index.from;
import static dev.merapi.tensor.Index.slice;
import static dev.merapi.testkit.ops.Samples.close;
import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.ops.Ordering;
import dev.merapi.ops.Scattering.Reduce;
import dev.merapi.ops.Uniques;
import dev.merapi.tensor.Index;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Indexing, searching and products of tensors against PyTorch: values, gradients, gradients of gradients. */
class IndexingGoldenTest {
    private static final double TOLERANCE = 1e-12;

    private static final Tensor IDS = Tensor.of(2L, 0L, -1L, 2L);
    private static final Tensor GRID = Tensor.of(new long[] {0, -1, 1, 1}, 2, 2);
    private static final Tensor EACH = Tensor.of(new long[] {0, 2, 2, 2, 1, 1, 0, 2}, 2, 4);
    private static final Tensor MASK =
            Tensor.of(new long[] {1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0}, 3, 4).ne(0);
    private static final Tensor ROWS = Tensor.of(new long[] {1, 2, 1, 0, 3, 0, 1, 2, 1, 1, 1, 1, 1, 1, 1}, 5, 3);
    private static final Tensor RUNS = ints(1, 1, 3, 3, 3, 0, 1);
    private static final Tensor STEPS = ints(0, 1, 1, 1, 4);

    private static final Map<String, Function<List<Tensor>, List<Tensor>>> CASES = new LinkedHashMap<>();

    private static Tensor ints(long... values) {
        return Tensor.of(values);
    }

    private static Index ids(long... values) {
        return at(ints(values));
    }

    private static void one(String name, UnaryOperator<Tensor> f) {
        CASES.put(name, x -> List.of(f.apply(x.get(0))));
    }

    private static void all(String name, Function<List<Tensor>, Tensor> f) {
        CASES.put(name, x -> List.of(f.apply(x)));
    }

    private static void ordered(String name, Function<Tensor, Ordering.Ordered> f) {
        CASES.put(name, x -> {
            Ordering.Ordered o = f.apply(x.get(0));
            return List.of(o.values(), o.indices());
        });
    }

    private static void unique(String name, Function<Tensor, Uniques.Unique> f) {
        CASES.put(name, x -> {
            Uniques.Unique u = f.apply(x.get(0));
            return List.of(u.values(), u.inverse(), u.counts());
        });
    }

    private static void put(String name, boolean accumulate, Index... where) {
        all(name, x -> x.get(0).indexPut(x.get(1), accumulate, where));
        all(name + "_in_place", x -> x.get(0).copy().indexPut_(x.get(1), accumulate, where));
    }

    private static void scatterReduce(String name, Reduce reduce, boolean self) {
        all("scatter_reduce_" + name, x -> x.get(0).scatterReduce(1, EACH, x.get(1), reduce, self));
    }

    private static void einsum(String name, String equation) {
        all("einsum_" + name, x -> Tensor.einsum(equation, x));
    }

    static {
        Index ids = at(IDS);
        Index some = ids(1, 0, 1, 1);
        one("index_ids", x -> x.index(ids));
        one("index_all_ids", x -> x.index(ALL, ids));
        one("index_two", x -> x.index(at(GRID), ids(3, 0)));
        one("index_apart", x -> x.index(ids, ALL, some));
        one("index_apart_middle", x -> x.index(ALL, ids(0, 2), ALL, ids(1, 0)));
        one("index_number_apart", x -> x.index(at(1), ALL, ids));
        one("index_new_axis_between", x -> x.index(ids, NEW_AXIS, some));
        one("index_slices", x -> x.index(slice(1, -1), every(2)));
        one("index_ellipsis", x -> x.index(ELLIPSIS, from(-3), NEW_AXIS));
        one("index_number", x -> x.index(at(-1)));
        one("index_0d", x -> x.index(at(Tensor.scalar(1L)), from(1)));
        one("index_mask", x -> x.index(at(MASK)));
        one("index_mask_rows", x -> x.index(at(MASK), from(1)));
        one("index_mask_and_ids", x -> x.index(at(MASK.select(0, 0)), at(IDS.narrow(0, 0, 3))));
        one("index_mix", x -> x.index(at(1), slice(1, 3), ids, NEW_AXIS, ELLIPSIS, from(2)));
        one("index_step_end", x -> x.index(slice(-6, 6, 3)));
        put("put_ids", false, ids(2, 0));
        put("put_two", false, ids(0, 1, -1), ids(3, 0, 2));
        put("put_slices", false, slice(1, 3), every(2));
        put("put_mask", false, at(MASK));
        put("put_apart", false, ids(0, 2), ALL, ids(1, 0));
        put("put_add", true, ids);
        put("put_add_two", true, ids, ids(1, 1, 0, 1));
        Tensor small = Tensor.of(new long[] {0, 2, 1, 0}, 2, 2);
        Tensor same = Tensor.of(new long[] {0, 2, 0, 0}, 2, 2);
        all("scatter_small", x -> x.get(0).scatter(0, small, x.get(1)));
        all("scatter_add_small", x -> x.get(0).scatterAdd(0, same, x.get(1)));
        scatterReduce("sum", Reduce.SUM, false);
        scatterReduce("prod", Reduce.PROD, true);
        scatterReduce("prod_others", Reduce.PROD, false);
        all(
                "scatter_reduce_prod_zero",
                x -> x.get(0)
                        .scatterReduce(
                                0, ints(0, 0, 1, 1, 1, 2), x.get(1).mul(ints(1, 0, 1, 1, 0, 1)), Reduce.PROD, true));
        scatterReduce("mean", Reduce.MEAN, true);
        scatterReduce("mean_others", Reduce.MEAN, false);
        scatterReduce("amax", Reduce.AMAX, true);
        scatterReduce("amin_others", Reduce.AMIN, false);
        all("index_copy", x -> x.get(0).indexCopy(1, ints(3, 0), x.get(1)));
        one("index_fill", x -> x.indexFill(1, ints(3, 0), 2.5));
        Tensor rows = IDS.remainder(3);
        all("index_reduce_prod", x -> x.get(0).indexReduce(0, rows, x.get(1), Reduce.PROD, true));
        all("index_reduce_amax", x -> x.get(0).indexReduce(0, rows, x.get(1), Reduce.AMAX, false));
        one("take", x -> x.take(Tensor.of(new long[] {0, -1, 7, 7}, 2, 2)));
        one("take_along_dim", x -> x.takeAlongDim(Tensor.of(new long[] {1, 0, 3}, 1, 3), 1));
        all("masked_scatter", x -> x.get(0).maskedScatter(MASK, x.get(1)));
        all("masked_fill_tensor", x -> x.get(0).maskedFill(MASK, x.get(1)));
        one("repeat_interleave", x -> x.repeatInterleave(2, 1));
        one("repeat_interleave_each", x -> x.repeatInterleave(ints(2, 0, 3), 0));
        ordered("kthvalue", x -> x.kthValue(2, 1, false));
        ordered("median", x -> x.median(1, false));
        ordered("median_keep", x -> x.median(0, true));
        one("median_all", Tensor::median);
        ordered(
                "nanmedian",
                x -> Tensor.cat(List.of(x, Tensor.of(Double.NaN)), 0).nanMedian(0, false));
        one("mode", x -> x.round().remainder(3).mode(1, false).values());
        one("msort", Tensor::msort);
        one("unfold", x -> x.unfold(1, 3, 2));
        one("as_strided", x -> x.asStrided(new long[] {3, 3}, new long[] {2, 3}, 1));
        one("diag", x -> x.diag(1));
        one("diag_of", x -> x.diag(-1));
        one("diag_embed", x -> x.diagEmbed(-1, 0, 2));
        all("diagonal_scatter", x -> x.get(0).diagonalScatter(x.get(1), 1, 0, 1));
        all("select_scatter", x -> x.get(0).selectScatter(x.get(1), 1, -1));
        all("slice_scatter", x -> x.get(0).sliceScatter(x.get(1), 1, 0, 4, 2));
        one("rot90", x -> x.rot90(1, 0, 1));
        one("rot90_back", x -> x.rot90(-1, 0, 2));
        one("tile", x -> x.tile(2));
        one("roll", x -> x.roll(new long[] {1, -1}, new int[] {0, 1}));
        one("movedim", x -> x.moveDim(new int[] {0, 2}, new int[] {-1, 0}));
        all("hstack", Tensor::hstack);
        all("vstack", Tensor::vstack);
        all("dstack", Tensor::dstack);
        CASES.put("meshgrid", Tensor::meshgrid);
        all("dot", x -> x.get(0).dot(x.get(1)));
        all("outer", x -> x.get(0).outer(x.get(1)));
        all("inner", x -> x.get(0).inner(x.get(1)));
        all("kron", x -> x.get(0).kron(x.get(1)));
        all("addmm", x -> x.get(0).addmm(x.get(1), x.get(2), 0.5, -2));
        all("addmv", x -> x.get(0).addmv(x.get(1), x.get(2), 2, 3));
        all("baddbmm", x -> x.get(0).baddbmm(x.get(1), x.get(2)));
        all("tensordot", x -> x.get(0).tensordot(x.get(1), 2));
        all("tensordot_dims", x -> x.get(0).tensordot(x.get(1), new int[] {0, 2}, new int[] {1, 0}));
        einsum("matmul", "bik,bkj->bij");
        einsum("implicit", "kb,ba");
        einsum("trace", "ii");
        einsum("diagonal", "iji->ij");
        einsum("sum", "ij->j");
        einsum("transpose", "b...->...b");
        einsum("ellipsis", "...ik,...kj->...ij");
        einsum("ellipsis_implicit", "...i,...i");
        einsum("scalar", "i,->i");
        einsum("outer", "i,j->ji");
        einsum("dot", "i,i->");
        einsum("three", "ij,jk,kl->il");
        einsum("four", "ij, j, ik, kA -> A");
        einsum("hadamard", "ij,ij,j->i");
        einsum("broadcast", "ij,ij->i");
        unique("unique", x -> x.round().remainder(3).uniqueWithCounts());
        unique("unique_dim", x -> ROWS.uniqueWithCounts(0));
        unique("unique_dim_1", x -> ROWS.uniqueWithCounts(1));
        unique("unique_consecutive", x -> RUNS.uniqueConsecutive());
        unique("unique_consecutive_dim", x -> ROWS.uniqueConsecutive(0));
        one("bincount", x -> RUNS.bincount(null, 6));
        one("bincount_weights", x -> RUNS.bincount(x, 0));
        one("histc", x -> x.histc(5, -4, 4));
        one("histc_range", x -> x.histc(4, 0, 0));
        all("searchsorted", x -> x.get(0).sort(0).values().searchSorted(x.get(1), false));
        all("searchsorted_rows", x -> x.get(0).sort(1).values().searchSorted(x.get(1), true));
        CASES.put(
                "searchsorted_equal", x -> List.of(STEPS.searchSorted(STEPS, false), STEPS.searchSorted(STEPS, true)));
        one("bucketize", x -> x.bucketize(ints(-2, 0, 3), false));
        one("isin", x -> ROWS.isIn(ints(1, 3)));
        one("nonzero", x -> ROWS.argwhere());
        one("tril_indices", x -> Tensor.trilIndices(3, 4, 1));
        one("triu_indices", x -> Tensor.triuIndices(4, 3, -1));
        one(
                "scatter_reduce_int_mean",
                x -> ints(-7, 5).scatterReduce(0, ints(0, 1, 0), ints(2, -6, 4), Reduce.MEAN, true));
        one(
                "scatter_reduce_zeros",
                x -> x.scatterReduce(0, ints(0, 0, 1, 1, 1, 1), Tensor.of(0.0, 2, 3, 0, 5, 0), Reduce.PROD, true));
    }

    private record Case(String line) {
        @Override
        public String toString() {
            return line.substring(0, line.indexOf(';'));
        }
    }

    static Stream<Case> cases() throws IOException {
        try (InputStream in = IndexingGoldenTest.class.getResourceAsStream("/dev/merapi/testkit/ops/indexing.txt")) {
            String text = new String(Objects.requireNonNull(in).readAllBytes(), StandardCharsets.UTF_8);
            return text.lines().map(Case::new).toList().stream();
        }
    }

    private static Tensor numbers(int step, long... shape) {
        double[] values = new double[(int) Arrays.stream(shape).reduce(1, (m, n) -> m * n)];
        Arrays.setAll(values, i -> ((i * 37 + step * 11) % 101 - 50) / 8.0);
        return Tensor.of(values, shape);
    }

    private static long[] shape(String text) {
        return text.isEmpty()
                ? new long[0]
                : Arrays.stream(text.split("x")).mapToLong(Long::parseLong).toArray();
    }

    private static double[] values(String text) {
        return text.isEmpty()
                ? new double[0]
                : Arrays.stream(text.split(" "))
                        .mapToDouble(v -> v.equals("nan") ? Double.NaN : Double.parseDouble(v))
                        .toArray();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void isWhatPyTorchFinds(Case golden) {
        String[] fields = golden.line().split(";");
        assertThat(CASES).containsKey(fields[0]);
        check(fields, Objects.requireNonNull(CASES.get(fields[0])));
        if (CASES.containsKey(fields[0] + "_in_place")) {
            check(fields, Objects.requireNonNull(CASES.get(fields[0] + "_in_place")));
        }
    }

    private static void check(String[] fields, Function<List<Tensor>, List<Tensor>> f) {
        boolean differentiated = fields.length > 3;
        String[] shapes = fields[1].split(",", -1);
        List<Tensor> x = new java.util.ArrayList<>();
        for (int k = 0; k < shapes.length; k++) {
            x.add(numbers(k + 1, shape(shapes[k])).requiresGrad(differentiated));
        }
        List<Tensor> results = f.apply(x);
        String[] expected = fields[2].split("\\|");
        assertThat(results).hasSize(expected.length);
        Tensor loss = Tensor.scalar(0.0);
        for (int i = 0; i < expected.length; i++) {
            Tensor r = results.get(i);
            String[] parts = expected[i].split(":", -1);
            assertThat(r.shape().toArray()).containsExactly(shape(parts[0]));
            close(r, values(parts[1]), TOLERANCE);
            if (r.dtype() == DType.FLOAT64) {
                loss = loss.add(r.mul(numbers(9, r.shape().toArray())).sum());
            }
        }
        if (differentiated) {
            List<Tensor> first = Autograd.gradOrZeros(loss, x, Graph.CREATE);
            closeAll(first, fields[3]);
            Tensor squares = Tensor.scalar(0.0);
            for (Tensor g : first) {
                squares = squares.add(g.square().sum());
            }
            if (squares.requiresGrad()) {
                closeAll(Autograd.gradOrZeros(squares, x), fields[4]);
            } else {
                assertThat(values(fields[4].replace('|', ' '))).containsOnly(0);
            }
        }
    }

    private static void closeAll(List<Tensor> actual, String expected) {
        String[] each = expected.split("\\|", -1);
        for (int i = 0; i < each.length; i++) {
            close(actual.get(i), values(each[i]), TOLERANCE);
        }
    }
}
