// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Attention;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * In causal attention, what stands where a query does not look has no part in its result, nor in any gradient: not even what
 * is no number. (PyTorch's kernels let it through within a tile: 0·NaN is NaN.) One position of an operand holds NaN, ∞ and
 * −∞; whatever does not depend on it is compared with the same in float64 without them, and what does with what arithmetic
 * says. A query whose scores are all −∞ sees as little as one that sees no key: its weights are 0.
 */
public abstract class UnseenPositionsContract {
    private static final double[] ODD = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};

    protected abstract Device device();

    /** Which results of a position do not depend on the odd one. */
    private interface Rows {
        boolean has(long row);
    }

    private static final Rows ALL = row -> true;
    private static final Rows NONE = row -> false;

    private static double[] random(int seed, long count) {
        Random random = new Random(seed);
        return random.doubles(count, -1, 1).toArray();
    }

    /** @param at the odd position of q, k, v or the gradient, which are numbered */
    private void check(DType dtype, long queries, long keys, int width, int which, long at) {
        List<Tensor> wide = new ArrayList<>();
        List<Tensor> there = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            long length = i == 0 || i == 3 ? queries : keys;
            double[] numbers = random(i + 1, length * width);
            Tensor finite = Tensor.of(numbers, 1, 1, length, width).to(dtype);
            wide.add(finite.to(DType.FLOAT64).detach().requiresGrad(i < 3));
            if (i == which) {
                System.arraycopy(ODD, 0, numbers, (int) at * width, ODD.length);
            }
            Tensor odd = Tensor.of(numbers, 1, 1, length, width).to(dtype);
            there.add(odd.to(device()).detach().requiresGrad(i < 3));
        }
        Tensor[] results = new Tensor[2];
        for (int i = 0; i < 2; i++) {
            List<Tensor> in = i == 0 ? wide : there;
            results[i] = Attention.attention(
                    in.get(0), in.get(1), in.get(2), Attention.options().causalFromEnd());
            Autograd.backward(results[i], in.get(3), Autograd.Graph.FREE);
        }
        long shift = keys - queries;
        boolean ofQuery = which == 0 || which == 3;
        // Key `at` is seen by the queries from at − shift on; query `at` sees the keys up to at + shift.
        Rows untouched = ofQuery ? row -> row != at : row -> row < at - shift;
        Rows unseen = ofQuery ? row -> row > at + shift : NONE;
        Rows[] clean = {which == 3 ? ALL : untouched, untouched, unseen, which == 2 ? ALL : unseen};
        String what = dtype + " " + queries + " queries, " + keys + " keys of " + width + ", odd "
                + "qkvg".charAt(which) + " at " + at;
        compare(what, results[0], results[1], clean[0], which == 2);
        for (int i = 0; i < 3; i++) {
            compare(
                    what + ", gradient of " + "qkv".charAt(i),
                    Objects.requireNonNull(wide.get(i).grad()),
                    Objects.requireNonNull(there.get(i).grad()),
                    clean[i + 1],
                    which == 3 && i == 2);
        }
    }

    /** @param columns whether a row that is not clean is as it would be, but for the columns of {@link #ODD}, which are these */
    private static void compare(String what, Tensor expected, Tensor actual, Rows clean, boolean columns) {
        double[] want = expected.toDoubleArray();
        double[] got = actual.toDoubleArray();
        assertEquals(want.length, got.length, what);
        double largest = 0;
        for (double v : want) {
            largest = Math.max(largest, Math.abs(v));
        }
        // As many roundings as kernels on tensor cores make; in float32, those of its sums.
        double bound = (actual.dtype() == DType.FLOAT32 ? 64 : 4)
                        * largest
                        * actual.dtype().epsilon()
                + 1e-6;
        int width = (int) expected.size(3);
        for (int i = 0; i < want.length; i++) {
            boolean odd = !clean.has(i / width);
            double value = odd && columns && i % width < ODD.length ? ODD[i % width] : want[i];
            boolean right = odd && !columns || Math.abs(got[i] - value) <= bound || Double.compare(got[i], value) == 0;
            if (!right) {
                fail(what + ", position " + i / width + ", element " + i % width + ": " + got[i] + " instead of "
                        + value);
            }
        }
    }

    private void all(long queries, long keys, int[] widths, long... positions) {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32)) {
            for (int width : widths) {
                for (int which = 0; which < 4; which++) {
                    for (long at : positions) {
                        try (Scope scope = Scope.open()) {
                            check(dtype, queries, keys, width, which, at);
                        }
                    }
                }
            }
        }
    }

    /** In the first tile, and in the last, which is not whole. */
    @Test
    void positionsOfATile() {
        all(70, 70, new int[] {64}, 20, 67);
        all(70, 70, new int[] {128}, 67);
    }

    /** Tiles between which the diagonal lies, and widths that no tensor core serves. */
    @Test
    void moreKeysThanQueries() {
        all(33, 100, new int[] {32, 20}, 30);
    }

    /** One query has only scores of −∞; where there are fewer keys than queries, the first see none. */
    private void blind(DType dtype, long queries, long keys, int width, boolean causal, Autograd.Graph graph) {
        int at = (int) queries - 8;
        List<Tensor> wide = new ArrayList<>();
        List<Tensor> there = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            long length = i == 0 || i == 3 ? queries : keys;
            double[] numbers = random(i + 1, length * width);
            for (int j = 0; i == 1 && j < numbers.length; j += width) {
                numbers[j] = 0.5 + Math.abs(numbers[j]);
            }
            // Its own gradient has no part in anything: here it is 0, there it is not.
            Tensor given = Tensor.of(numbers, 1, 1, length, width).to(dtype);
            if (i % 3 == 0) {
                java.util.Arrays.fill(numbers, at * width, (at + 1) * width, 0);
            }
            Tensor without = Tensor.of(numbers, 1, 1, length, width).to(dtype);
            if (i == 0) {
                numbers[at * width] = Double.NEGATIVE_INFINITY;
                given = Tensor.of(numbers, 1, 1, length, width).to(dtype);
            }
            wide.add(without.to(DType.FLOAT64).detach().requiresGrad(i < 3));
            there.add(given.to(device()).detach().requiresGrad(i < 3));
        }
        Tensor[] results = new Tensor[2];
        for (int i = 0; i < 2; i++) {
            List<Tensor> in = i == 0 ? wide : there;
            Attention.Options all = Attention.options();
            results[i] = Attention.attention(in.get(0), in.get(1), in.get(2), causal ? all.causalFromEnd() : all);
            Autograd.backward(results[i], in.get(3), graph);
        }
        String what = dtype + " " + queries + " queries, " + keys + " keys of " + width + (causal ? ", causal" : "")
                + ", " + graph;
        long none = causal ? queries - keys : 0;
        Rows seeing = row -> row != at && row >= none;
        Tensor slopes = Objects.requireNonNull(there.get(0).grad());
        for (Tensor t : new Tensor[] {results[1], slopes}) {
            double[] got = t.toDoubleArray();
            for (int e = 0; e < got.length; e++) {
                if (!seeing.has(e / width)) {
                    assertEquals(0, got[e], what + ", element " + e + (t == slopes ? " of q's gradient" : ""));
                }
            }
        }
        compare(what, results[0], results[1], seeing, false);
        compare(what + ", gradient of q", Objects.requireNonNull(wide.get(0).grad()), slopes, seeing, false);
        compare(
                what + ", gradient of v",
                Objects.requireNonNull(wide.get(2).grad()),
                Objects.requireNonNull(there.get(2).grad()),
                ALL,
                false);
        // 0·−∞ in the first column, of what the query sees, and in a composition of what it does not see either.
        Tensor expected = Objects.requireNonNull(wide.get(1).grad());
        Tensor actual = Objects.requireNonNull(there.get(1).grad());
        Rows unseen = row -> causal && graph == Autograd.Graph.FREE && row > at + keys - queries;
        compare(what + ", gradient of k", expected, actual, unseen, false);
        compare(
                what + ", gradient of k but its first column",
                expected.slice(3, 1, width),
                actual.slice(3, 1, width),
                ALL,
                false);
    }

    /** As in PyTorch 2.13, of whose CPU kernels and compositions these have been the results. */
    @Test
    void queriesWithoutAScore() {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16, DType.FLOAT32, DType.FLOAT64)) {
            for (int width : new int[] {64, 20}) {
                for (boolean causal : new boolean[] {false, true}) {
                    try (Scope scope = Scope.open()) {
                        blind(dtype, 40, 40, width, causal, Autograd.Graph.FREE);
                        blind(dtype, 33, 20, width, causal, Autograd.Graph.FREE);
                        blind(dtype, 33, 20, width, causal, Autograd.Graph.CREATE);
                    }
                }
            }
        }
    }
}
