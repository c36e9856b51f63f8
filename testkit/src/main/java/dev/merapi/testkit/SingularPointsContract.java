// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autograd;
import dev.merapi.ops.Arithmetic;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * Gradients where functions have kinks, poles or nothing: those of PyTorch 2.13, or finite ones where it has NaN. Of each:
 * the function, the gradient by each operand, and the gradient of the sum of all gradients.
 */
public abstract class SingularPointsContract {
    private static final double INF = Double.POSITIVE_INFINITY;
    private static final double NAN = Double.NaN;

    protected abstract Device device();

    /** Whether a case has its turn, where each is several kernels to compile; all of its kind share a name. */
    protected boolean chosen(String what) {
        return true;
    }

    private final List<String> wrong = new ArrayList<>();

    private static double[] of(double... values) {
        return values;
    }

    /** A case of one tensor; null for a second gradient that nobody promises. */
    private void one(String what, Function<Tensor, Tensor> f, double[] x, double[] first, double @Nullable [] second) {
        many(what, t -> f.apply(t.get(0)), List.of(x), List.of(first), second == null ? null : List.of(second));
    }

    private void many(
            String what,
            Function<List<Tensor>, Tensor> f,
            List<double[]> x,
            List<double[]> first,
            @Nullable List<double[]> second) {
        if (!chosen(what)) {
            return;
        }
        for (DType dtype : List.of(DType.FLOAT64, DType.FLOAT32)) {
            try (Scope scope = Scope.open()) {
                List<Tensor> inputs = x.stream()
                        .map(v -> Tensor.of(v).to(dtype).to(device()).detach().requiresGrad(true))
                        .toList();
                Tensor y = f.apply(inputs);
                List<Tensor> g = Autograd.grad(
                        List.of(y),
                        inputs,
                        List.of(Tensor.ones(y.shape(), y.dtype(), y.device())),
                        Autograd.Graph.CREATE,
                        true);
                for (int i = 0; i < g.size(); i++) {
                    compare(what + " " + dtype + ", gradient " + i, first.get(i), g.get(i));
                }
                if (second == null) {
                    continue;
                }
                List<Tensor> again =
                        g.stream().filter(t -> t != null && t.requiresGrad()).toList();
                if (again.isEmpty()) {
                    second.forEach(s -> assertTrue(Arrays.stream(s).allMatch(v -> v == 0), what));
                    continue;
                }
                List<Tensor> ones = again.stream()
                        .map(t -> Tensor.ones(t.shape(), t.dtype(), t.device()))
                        .toList();
                List<Tensor> gg = Autograd.grad(again, inputs, ones, Autograd.Graph.FREE, true);
                for (int i = 0; i < gg.size(); i++) {
                    compare(what + " " + dtype + ", second gradient " + i, second.get(i), gg.get(i));
                }
            }
        }
    }

    private void compare(String what, double[] want, @Nullable Tensor got) {
        double[] values = got == null ? new double[want.length] : got.toDoubleArray();
        for (int i = 0; i < want.length; i++) {
            boolean same = want[i] == values[i]
                    || Double.isNaN(want[i]) && Double.isNaN(values[i])
                    || Math.abs(want[i] - values[i]) <= 1e-5 * Math.abs(want[i]) + 1e-6;
            if (!same) {
                wrong.add(what + ": " + Arrays.toString(values) + ", expected " + Arrays.toString(want));
                return;
            }
        }
    }

    private void finish() {
        assertTrue(wrong.isEmpty(), () -> wrong.size() + " are wrong:\n" + String.join("\n", wrong));
    }

    // ---------------------------------------------------------------- norms

    @Test
    void norms() {
        for (double p : new double[] {0.5, 1, 1.5, 2, 2.5, 3, INF}) {
            Function<Tensor, Tensor> norm = x -> x.norm(p, new int[0], false);
            one("norm " + p, norm, of(0, 0), of(0, 0), of(0, 0));
            double[] second = p == 2 ? of(0, 1 / 3.0) : of(0, 0);
            one("norm " + p, norm, of(3, 0), of(1, 0), second);
            double[] sign = p == 2 ? of(0.5, 0) : of(0, 0);
            one("norm " + p, norm, of(0, -2), of(0, -1), sign);
            one("norm " + p, norm, of(NAN, 1), p == 1 ? of(NAN, 1) : p == INF ? of(NAN, 0) : of(NAN, NAN), null);
        }
        one("norm 0", x -> x.norm(0, new int[0], false).mul(x.sum()), of(3, 0, NAN), of(2, 2, 2), null);
        one(
                "norm 1.5",
                x -> x.norm(1.5, new int[0], false),
                of(3, 4),
                of(0.7329565, 0.8463452),
                of(0.0185144, -0.0138859));
        one(
                "rows, one of zeros",
                x -> x.reshape(2, 2).norm(2, new int[] {1}, false),
                of(0, 0, 3, 4),
                of(0, 0, 0.6, 0.8),
                of(0, 0, 0.032, -0.024));
        finish();
    }

    // ---------------------------------------------------------------- extremes

    @Test
    void extremes() {
        one("max of NaN", Tensor::max, of(1, NAN, 3, NAN), of(0, 0.5, 0, 0.5), of(0, 0, 0, 0));
        one("min of NaN", Tensor::min, of(1, NAN, 3), of(0, 1, 0), of(0, 0, 0));
        one("amax of NaN", x -> x.amax(0), of(1, NAN, 3, NAN), of(0, 0.5, 0, 0.5), of(0, 0, 0, 0));
        one("amin of NaN", x -> x.amin(0), of(NAN, NAN), of(0.5, 0.5), of(0, 0));
        one("amax of rows", x -> x.reshape(2, 2).amax(1), of(NAN, 1, 5, 5), of(1, 0, 0.5, 0.5), of(0, 0, 0, 0));
        one("amax, ties", x -> x.amax(0), of(3, 3, 1), of(0.5, 0.5, 0), of(0, 0, 0));
        one("amax of −∞", x -> x.amax(0), of(-INF, -INF), of(0.5, 0.5), of(0, 0));
        one("max by index, NaN", x -> x.max(0, false).values(), of(1, NAN, 3, NAN), of(0, 1, 0, 0), of(0, 0, 0, 0));
        one("max by index, ties", x -> x.max(0, false).values(), of(3, 3, 1), of(1, 0, 0), of(0, 0, 0));
        List<double[]> pair = List.of(of(1, NAN, 1), of(1, 1, NAN));
        many("maximum", t -> t.get(0).maximum(t.get(1)), pair, List.of(of(0.5, 1, 1), of(0.5, 1, 1)), null);
        many("minimum", t -> t.get(0).minimum(t.get(1)), pair, List.of(of(0.5, 1, 1), of(0.5, 1, 1)), null);
        one("clamp", x -> x.clamp(-1, 1), of(-1, 1, NAN, INF), of(1, 1, 0, 0), of(0, 0, 0, 0));
        many(
                "clamp by tensors",
                t -> Arithmetic.CLAMP_TENSOR.call(t.get(0), t.get(1), t.get(2)),
                List.of(of(1, 1, 2, NAN, 0, 3), of(1, 2, 1, 0, 2, 2), of(1, 0, 2, 1, 2, 2)),
                List.of(of(1, 0, 1, 0, 0, 0), of(0, 0, 0, 0, 1, 0), of(0, 1, 0, 0, 0, 1)),
                null);
        finish();
    }

    // ---------------------------------------------------------------- functions

    @Test
    void functions() {
        many(
                "atan2",
                t -> t.get(0).atan2(t.get(1)),
                List.of(of(0, -0.0, INF, 1, INF, 1), of(0, -0.0, 1, INF, INF, 0)),
                List.of(of(0, 0, 0, 0, 0, 0), of(0, 0, 0, 0, 0, -1)),
                List.of(of(0, 0, 0, 0, 0, 1), of(0, 0, 0, 0, 0, 1)));
        one("sqrt", Tensor::sqrt, of(0), of(INF), of(-INF));
        many(
                "pow",
                t -> t.get(0).pow(t.get(1)),
                List.of(of(0, 0, 0, 0, 0, -2, -2, 1), of(0, 0.5, 1, 2, -1, 2, 0.5, NAN)),
                List.of(of(0, INF, 1, 0, -INF, -4, NAN, NAN), of(0, 0, 0, 0, -INF, NAN, NAN, 0)),
                null);
        one("pow 2", x -> x.pow(2), of(0, -2), of(0, -4), of(2, 2));
        one("pow 0.5", x -> x.pow(0.5), of(0, -2), of(INF, NAN), of(-INF, NAN));
        one("pow 0", x -> x.pow(0), of(0, -2), of(0, 0), of(0, 0));
        one("pow 1", x -> x.pow(1), of(0, -2), of(1, 1), of(0, 0));
        one("abs", Tensor::abs, of(0, -0.0), of(0, 0), of(0, 0));
        one("relu", Tensor::relu, of(0, NAN), of(0, 1), of(0, 0));
        one("tanh", Tensor::tanh, of(INF, -INF, 0, 20, -20), of(0, 0, 1, 0, 0), of(0, 0, 0, 0, 0));
        one("sigmoid", Tensor::sigmoid, of(INF, -INF, 0), of(0, 0, 0.25), of(0, 0, 0));
        one("asin", Tensor::asin, of(1, -1), of(INF, INF), of(INF, -INF));
        one("acosh", Tensor::acosh, of(1, 0.5, -3, -1e9), of(INF, NAN, NAN, NAN), null);
        one("log", Tensor::log, of(0), of(INF), of(-INF));
        one("reciprocal", Tensor::reciprocal, of(0), of(-INF), of(INF));
        one("rsqrt", Tensor::rsqrt, of(0), of(-INF), of(INF));
        one("silu", Tensor::silu, of(-INF, INF), of(0, 1), of(0, 0));
        one("gelu", Tensor::gelu, of(-INF, INF), of(0, 1), of(0, 0));
        one("mish", Tensor::mish, of(-INF, INF), of(0, 1), of(0, 0));
        one("hardSwish", Tensor::hardSwish, of(-3, 3, 0, -INF), of(0, 1, 0.5, 0), of(0, 0, 1 / 3.0, 0));
        one("hardSigmoid", Tensor::hardSigmoid, of(-3, 3, 0), of(0, 0, 1 / 6.0), of(0, 0, 0));
        many(
                "copysign",
                t -> Arithmetic.COPYSIGN.call(t.get(0), t.get(1)),
                List.of(of(0, -0.0, 1), of(1, -1, -0.0)),
                List.of(of(0, 0, -1), of(0, 0, 0)),
                null);
        finish();
    }

    // ---------------------------------------------------------------- reductions

    @Test
    void reductions() {
        one("prod", x -> x.prod(0), of(0, 2, 3), of(6, 0, 0), of(5, 3, 2));
        one("prod", x -> x.prod(0), of(0, 0, 3), of(0, 0, 0), of(3, 3, 0));
        one("prod", x -> x.prod(0), of(0, 0, 0), of(0, 0, 0), of(0, 0, 0));
        one("prod", x -> x.prod(0), of(2, 3, 4), of(12, 8, 6), of(7, 6, 5));
        one("var of one", x -> x.var(0), of(2), of(NAN), null);
        one("std of one", x -> x.std(0), of(2), of(NAN), null);
        one("biased var of one", x -> x.var(new int[] {0}, false, false), of(2), of(0), of(0));
        one("biased std of one", x -> x.std(new int[] {0}, false, false), of(2), of(0), of(0));
        one("std of equals", x -> x.std(0), of(2, 2, 2), of(0, 0, 0), of(0, 0, 0));
        one("cumsum", x -> x.cumsum(0), of(NAN, 1, INF), of(3, 2, 1), of(0, 0, 0));
        one("logSumExp of −∞", x -> x.logSumExp(0), of(-INF, -INF), of(NAN, NAN), null);
        one("logSumExp with −∞", x -> x.logSumExp(0), of(-INF, 1), of(0, 1), of(0, 0));
        one(
                "softmax with −∞",
                x -> x.softmax(0).narrow(0, 1, 1),
                of(-INF, 1, 2),
                of(0, 0.1966119, -0.1966119),
                of(0, 0, 0));
        one("logSoftmax with −∞", x -> x.logSoftmax(0).narrow(0, 0, 1), of(-INF, 1), of(1, -1), of(0, 0));
        finish();
    }

    @Test
    void countsOfWhatIsNotZero() {
        try (Scope scope = Scope.open()) {
            Tensor t = Tensor.of(3.0, 0.0, NAN).to(device()).norm(0, new int[0], false);
            assertEquals(DType.FLOAT64, t.dtype());
            assertEquals(2, t.toDoubleArray()[0]);
        }
    }

    /** The distance of integers may be larger than they can be; beyond every dtype it is still a distance. */
    @Test
    void distancesDoNotOverflow() {
        try (Scope scope = Scope.open()) {
            long[] far = {Long.MIN_VALUE, Long.MAX_VALUE, 5, (1L << 62) + 1};
            long[] other = {Long.MAX_VALUE, Long.MIN_VALUE, 6, 1L << 62};
            Tensor close = Tensor.of(far).to(device()).isClose(Tensor.of(other).to(device()), 0, 1);
            assertEquals("[false, false, true, true]", Arrays.toString(close.toBooleanArray()));
            Tensor strict = Tensor.of(far).to(device()).isClose(Tensor.of(other).to(device()), 0, 0.5);
            assertEquals("[false, false, false, false]", Arrays.toString(strict.toBooleanArray()));
            Tensor ints = Tensor.of(Integer.MIN_VALUE, 7).to(device());
            Tensor others = Tensor.of(Integer.MAX_VALUE, 7).to(device());
            assertEquals(
                    "[false, true]", Arrays.toString(ints.isClose(others, 0, 1).toBooleanArray()));
            Tensor large = Tensor.of(3e38f, -INF_F, INF_F).to(device());
            Tensor small = Tensor.of(-3e38f, -INF_F, 1f).to(device());
            assertEquals(
                    "[true, true, false]",
                    Arrays.toString(large.isClose(small, 2.5, 0).toBooleanArray()));
        }
    }

    private static final float INF_F = Float.POSITIVE_INFINITY;
}
