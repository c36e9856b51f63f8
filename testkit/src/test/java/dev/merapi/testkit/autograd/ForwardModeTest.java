// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.autograd.Dual;
import dev.merapi.check.OpCheck;
import dev.merapi.device.Memory;
import dev.merapi.error.DTypeException;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import dev.merapi.op.Definition;
import dev.merapi.ops.Attention;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.LinearAlgebra;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.testkit.Ops;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import org.assertj.core.data.Offset;
import org.junit.jupiter.api.Test;

/** Forward mode: what it gives, where it nests, what it refuses. Ops one by one are {@code OpCheck}'s "forward mode". */
class ForwardModeTest {
    private static Tensor random(long seed, long... shape) {
        SplittableRandom random = new SplittableRandom(seed);
        return Tensor.of(random.doubles(Shape.of(shape).numel(), -1, 1).toArray(), shape);
    }

    private static void near(Tensor found, Tensor expected) {
        assertThat(found.shape()).isEqualTo(expected.shape());
        assertThat(found.dtype()).isEqualTo(expected.dtype());
        double[] f = found.toDoubleArray();
        double[] e = expected.toDoubleArray();
        for (int i = 0; i < f.length; i++) {
            assertThat(f[i]).as("element %d", i).isCloseTo(e[i], Offset.offset(1e-12 * (1 + Math.abs(e[i]))));
        }
    }

    @Test
    void valueAndTangent() {
        Tensor x = random(1, 2, 3);
        Tensor v = random(2, 2, 3);
        Dual d = Autograd.jvp(t -> t.sin().mul(t), x, v);
        near(d.value(), x.sin().mul(x));
        near(d.tangent(), x.cos().mul(x).add(x.sin()).mul(v));
        assertThat(d.value().requiresGrad()).isFalse();
        assertThat(d.tangent().requiresGrad()).isFalse();
    }

    /** The Hessian of a function times v: backward of backward, forward over reverse, reverse over forward. */
    private static void hessianVector(UnaryOperator<Tensor> f, Tensor at, Tensor v) {
        Tensor x = at.detach().requiresGrad(true);
        Tensor g = Autograd.grad(List.of(f.apply(x)), List.of(x), null, Autograd.Graph.CREATE, false)
                .get(0);
        Tensor expected = Autograd.grad(List.of(g), List.of(x), List.of(v), Autograd.Graph.FREE, false)
                .get(0);
        Dual forwardOverReverse =
                Autograd.jvp(in -> Autograd.grad(f.apply(in), List.of(in)).get(0), x, v);
        near(forwardOverReverse.value(), g.detach());
        near(forwardOverReverse.tangent(), expected);
        Dual reverseOverForward = Autograd.jvp(f, x, v);
        near(Autograd.grad(reverseOverForward.tangent(), List.of(x)).get(0), expected);
        Dual twice = Autograd.jvp(in -> Autograd.jvp(f, in, v).tangent(), at, v);
        near(twice.tangent(), expected.mul(v).sum());
    }

    @Test
    void hessianTimesVectorOfManyOps() {
        Tensor w = random(7, 3, 4);
        hessianVector(x -> x.sin().mul(x).sum(), random(1, 5), random(2, 5));
        hessianVector(x -> x.matmul(w).tanh().square().sum(), random(3, 2, 3), random(4, 2, 3));
        hessianVector(x -> x.softmax(-1).mul(x).sum(), random(5, 2, 4), random(6, 2, 4));
        hessianVector(x -> x.logSoftmax(-1).select(1, 0).sum(), random(5, 2, 4), random(6, 2, 4));
        hessianVector(x -> x.prod().add(x.amax().mul(x.amax())), random(8, 4), random(9, 4));
        hessianVector(x -> x.var().mul(x.std()), random(8, 4), random(9, 4));
        hessianVector(x -> x.slice(0, 1, 3, 1).mul(x.slice(0, 0, 2, 1)).square().sum(), random(8, 4), random(9, 4));
        hessianVector(x -> x.topk(2, 0, true).values().exp().sum(), random(8, 4), random(9, 4));
        hessianVector(x -> x.gather(0, Tensor.of(new long[] {0, 0, 2}, 3)).exp().prod(), random(8, 4), random(9, 4));
        hessianVector(
                x -> x.indexSelect(0, Tensor.of(new long[] {0, 0, 2}, 3)).exp().prod(), random(8, 4), random(9, 4));
    }

    /** Of operands that broadcast, in other dtypes, and of rank 0. */
    @Test
    void formsOfTangents() {
        Tensor wide = random(1, 2, 3);
        Tensor row = random(2, 3);
        Dual d = Autograd.jvp(wide::add, row, row);
        near(d.tangent(), row.expand(2, 3).copy());
        near(Autograd.jvp(x -> x.add(wide).sum(0), row, row).tangent(), row.mul(2));
        near(
                Autograd.jvp(x -> x.sub(wide).square().mean(), row, row).tangent(),
                row.sub(wide).mul(row).mean().mul(2));
        Tensor single = row.to(DType.FLOAT32);
        d = Autograd.jvp(x -> x.mul(wide), single, single);
        assertThat(d.tangent().dtype()).isEqualTo(DType.FLOAT64);
        d = Autograd.jvp(x -> x.mul(single), random(3), random(3)); // 0-d counts less
        assertThat(d.tangent().dtype()).isEqualTo(DType.FLOAT32);
        d = Autograd.jvp(x -> x.to(DType.FLOAT16).mul(2), row, row);
        assertThat(d.tangent().dtype()).isEqualTo(DType.FLOAT16);
        near(
                Autograd.jvp(x -> x.view(3, 2), wide, row.expand(2, 3)).tangent(),
                row.expand(2, 3).copy().view(3, 2));
        near(
                Autograd.jvp(x -> x.transpose(0, 1).reshape(6), wide, row.expand(2, 3))
                        .tangent(),
                row.expand(2, 3).transpose(0, 1).reshape(6));
    }

    @Test
    void modes() {
        Tensor x = random(1, 3, 4);
        Tensor v = random(2, 3, 4);
        Tensor expected = Autograd.jvp(t -> t.softmax(-1), x, v).tangent();
        near(Autograd.noGrad(() -> Autograd.jvp(t -> t.softmax(-1), x, v)).tangent(), expected);
        near(Autograd.jvp(t -> Autograd.noGrad(() -> t.softmax(-1)), x, v).tangent(), expected);
        near(Autograd.jvp(t -> Scope.scoped(() -> t.softmax(-1)), x, v).tangent(), expected);
        try (Autograd.Mode inference = Autograd.inference()) {
            assertThatThrownBy(() -> Autograd.jvp(Tensor::sin, x, v))
                    .isInstanceOf(GradientException.class)
                    .hasMessageContaining("inference mode");
        }
        Tensor a = x.to(DType.FLOAT32);
        Tensor b = v.to(DType.FLOAT32);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            Dual d = Autograd.jvp(t -> t.matmul(b.t()).exp().softmax(-1), a, b);
            assertThat(d.tangent().dtype()).isEqualTo(d.value().dtype());
            assertThat(Autograd.jvp(t -> t.matmul(b.t()), a, b).tangent().dtype())
                    .isEqualTo(DType.BFLOAT16);
        }
        // what a checkpoint computes again keeps its tangents
        Tensor leaf = x.detach().requiresGrad(true);
        UnaryOperator<Tensor> part = t -> t.sin().mul(t).tanh();
        near(
                Autograd.jvp(
                                t -> Autograd.grad(
                                                Checkpoint.checkpoint(part, t).sum(), List.of(t))
                                        .get(0),
                                leaf,
                                v)
                        .tangent(),
                Autograd.jvp(t -> Autograd.grad(part.apply(t).sum(), List.of(t)).get(0), leaf, v)
                        .tangent());
        assertThatThrownBy(() -> Autograd.jvp(
                        t -> {
                            Autograd.backward(t.sum());
                            return t;
                        },
                        leaf,
                        v))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("Autograd.grad");
        assertThat(leaf.grad()).isNull();
    }

    @Test
    void wrongTangentsAreRefused() {
        Tensor x = random(1, 3);
        assertThatThrownBy(() -> Autograd.jvp(Tensor::sin, x, random(1, 4))).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Autograd.jvp(Tensor::sin, x, x.to(DType.FLOAT32)))
                .isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> Autograd.jvpMany(in -> in, List.of(x), List.of()))
                .isInstanceOf(ShapeException.class);
        Tensor n = Tensor.of(new long[] {1}, 1);
        assertThatThrownBy(() -> Autograd.jvp(t -> t, n, n)).isInstanceOf(DTypeException.class);
    }

    /** All that tangents took is free when the call ends, also when it ends by an exception. */
    @Test
    void memoryIsFree() {
        try (Scope scope = Scope.open()) {
            Tensor x = random(1, 64, 64);
            Runnable call = () -> {
                try (Scope inner = Scope.open()) {
                    Dual unused = Autograd.jvp(
                            t -> Autograd.jvp(u -> u.matmul(u).softmax(-1).sum(), t, t)
                                    .tangent(),
                            x,
                            x);
                    assertThatThrownBy(() -> Autograd.jvp(t -> t.sin().dropout(0.5, true), x, x))
                            .isInstanceOf(GradientException.class);
                }
            };
            call.run();
            long before = Memory.stats(Device.CPU).allocated();
            call.run();
            assertThat(Memory.stats(Device.CPU).allocated()).isEqualTo(before);
        }
    }

    @Test
    void closuresAndConfusion() {
        // d/dx (x · d/dy (x + y)) = 1, not 2
        Tensor one = Tensor.of(new double[] {1}, 1);
        Dual d = Autograd.jvp(x -> x.mul(Autograd.jvp(y -> x.add(y), one, one).tangent()), one, one);
        assertThat(d.tangent().toDoubleArray()).containsExactly(1);
        // d/dx (x · d/dy (x · y)) = d/dx x² = 2x
        d = Autograd.jvp(x -> x.mul(Autograd.jvp(y -> x.mul(y), one, one).tangent()), one.mul(3), one);
        assertThat(d.tangent().toDoubleArray()).containsExactly(6);
        // the input itself, taken from outside, is a constant
        Tensor x = one.mul(3);
        assertThat(Autograd.jvp(y -> y.mul(x), x, one).tangent().toDoubleArray())
                .containsExactly(3);
        assertThat(Autograd.jvp(y -> y.mul(y.detach()), x, one).tangent().toDoubleArray())
                .containsExactly(3);
    }

    @Test
    void whatDoesNotDependHasZeros() {
        Tensor x = random(1, 3);
        List<Dual> all =
                Autograd.jvpMany(in -> List.of(in.get(0).argmax(), Tensor.ones(2), in.get(0)), List.of(x), List.of(x));
        assertThat(all.get(0).tangent().dtype()).isEqualTo(all.get(0).value().dtype());
        assertThat(all.get(1).tangent().toDoubleArray()).containsExactly(0, 0);
        near(all.get(2).tangent(), x);
    }

    @Test
    void refusals() {
        Tensor x = random(1, 3);
        assertThatThrownBy(() -> Autograd.jvp(t -> t.copy().add_(1), x, x))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("merapi::add_scalar_")
                .hasMessageContaining("writes in place");
        assertThatThrownBy(() -> Autograd.jvp(t -> t.dropout(0.5, true), x, x))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("merapi::dropout")
                .hasMessageContaining("random");
    }

    /** Every built-in op that has a gradient has a forward mode, but for these. */
    @Test
    void whichOpsAreRefused() {
        Set<String> refused = new TreeSet<>();
        Set<String> silent = new TreeSet<>();
        for (OpSamples<?, ?> row : OpRows.all()) {
            refused(row, refused, silent);
        }
        Set<String> writing = new TreeSet<>();
        for (OpSamples<?, ?> row : OpRows.all()) {
            Definition<?, ?> d = row.op().definition();
            if (d.isMutating() && !d.isNonDifferentiable()) {
                writing.add(row.op().name());
            }
        }
        assertThat(refused).isSubsetOf(writing);
        assertThat(silent).isEmpty();
    }

    private static <A extends Record, R> void refused(OpSamples<A, R> row, Set<String> refused, Set<String> silent) {
        if (!row.dtypes().contains(DType.FLOAT64) || row.op().definition().isNonDifferentiable()) {
            return;
        }
        try (Scope scope = Scope.open()) {
            A args = row.makers().get(0).apply(new Maker(DType.FLOAT64, Device.CPU, 1, true));
            OpCheck.Line line = OpCheck.of(row.op())
                    .samples(List.of(args))
                    .only("forward mode")
                    .run()
                    .orThrow()
                    .lines()
                    .get(0);
            if (line.detail().startsWith("refused: ")) {
                assertThat(line.detail()).contains(row.op().name());
                refused.add(row.op().name());
            } else if (line.outcome() != OpCheck.Outcome.PASS && line.detail().contains("disagree")) {
                silent.add(line.toString());
            }
        }
    }

    /** At zeros, infinities and NaN, and where numbers are huge or tiny, forward mode gives what the backward gives. */
    @Test
    void singularPoints() {
        double[] special = {
            0, -0.0, 1, -1, 0.5, -0.5, 2, 1e-300, -1e-300, 1e300, -1e300, 710, -710, 1 / 0.0, -1 / 0.0, Double.NaN
        };
        int n = special.length;
        double[] first = new double[n * n];
        double[] second = new double[n * n];
        for (int i = 0; i < n * n; i++) {
            first[i] = special[i / n];
            second[i] = special[i % n];
        }
        int compared = 0;
        for (PointwiseOp op : Ops.pointwise()) {
            int arity = PointwiseCode.of(op.op()).inputs();
            if (arity > 2 || op.op().definition().isNonDifferentiable()) {
                continue;
            }
            List<Tensor> in = new ArrayList<>();
            in.add(Tensor.of(first).requiresGrad(true));
            if (arity == 2) {
                in.add(Tensor.of(second).requiresGrad(true));
            }
            for (int i = 0; i < arity; i++) {
                Tensor x = in.get(i);
                Tensor ones = Tensor.of(new double[n * n]).add(1);
                int at = i;
                List<Number> scalars = scalars(op, in);
                Tensor y = op.call(in, scalars);
                Tensor reverse = Autograd.grad(List.of(y), List.of(x), List.of(ones), Autograd.Graph.FREE, true)
                        .get(0);
                Dual forward = Autograd.jvp(
                        t -> {
                            List<Tensor> moved = new ArrayList<>(in);
                            moved.set(at, t);
                            return op.call(moved, scalars);
                        },
                        x.detach(),
                        ones);
                if (reverse != null) {
                    same(op + " by " + i, first, second, forward.tangent(), reverse);
                    compared++;
                }
            }
        }
        assertThat(compared).isGreaterThan(60);
    }

    /** As many as the op takes. */
    private static List<Number> scalars(PointwiseOp op, List<Tensor> in) {
        for (List<Number> some : List.<List<Number>>of(List.of(), List.of(0.75), List.of(0.5, 2.0, -3.0))) {
            try {
                Tensor unused = op.call(in, some);
                return some;
            } catch (ShapeException e) {
                continue;
            }
        }
        return List.of(-0.5, 2.0);
    }

    private static void same(String what, double[] x, double[] y, Tensor forward, Tensor reverse) {
        double[] f = forward.toDoubleArray();
        double[] r = reverse.toDoubleArray();
        for (int k = 0; k < f.length; k++) {
            boolean close = Double.compare(f[k], r[k]) == 0 || Math.abs(f[k] - r[k]) <= 4 * Math.ulp(r[k]);
            assertThat(close)
                    .as("%s at %s, %s: %s and %s", what, x[k], y[k], f[k], r[k])
                    .isTrue();
        }
    }

    // ---------------------------------------------------------------- against PyTorch

    /** As in forward_mode.py. */
    private static Tensor numbers(int step, int of, long... shape) {
        double[] values = new double[(int) Shape.of(shape).numel()];
        for (int i = 0; i < values.length; i++) {
            values[i] = (i * step % of - of / 2) / 8.0;
        }
        return Tensor.of(values, shape);
    }

    private static void asPyTorch(String name, Tensor... found) throws IOException {
        double[] all = Arrays.stream(found)
                .flatMapToDouble(t -> Arrays.stream(t.toDoubleArray()))
                .toArray();
        try (InputStream in = ForwardModeTest.class.getResourceAsStream("forward_mode.txt")) {
            String line = new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(l -> l.startsWith(name + " "))
                    .findFirst()
                    .orElseThrow();
            double[] expected = Arrays.stream(line.split(" "))
                    .skip(1)
                    .mapToDouble(Double::parseDouble)
                    .toArray();
            assertThat(all).as(name).hasSameSizeAs(expected);
            for (int i = 0; i < all.length; i++) {
                assertThat(all[i]).as("%s %d", name, i).isCloseTo(expected[i], Offset.offset(1e-12));
            }
        }
    }

    private static void asPyTorch(String name, Dual dual) throws IOException {
        asPyTorch(name, dual.value(), dual.tangent());
    }

    private static Tensor mlp(List<Tensor> in) {
        Tensor hidden = LinearAlgebra.linear(in.get(0), in.get(1), in.get(2)).gelu();
        return Losses.crossEntropy(
                LinearAlgebra.linear(hidden, in.get(3), in.get(4)), Tensor.of(new long[] {2, 0, 1, 3}, 4));
    }

    private static Tensor scores(List<Tensor> in) {
        return in.get(0).matmul(in.get(1).transpose(-2, -1)).div(2).softmax(-1).matmul(in.get(2));
    }

    private static final List<Tensor> MLP = List.of(
            numbers(5, 9, 4, 3), numbers(7, 11, 5, 3), numbers(3, 5, 5), numbers(5, 13, 4, 5), numbers(2, 7, 4));
    private static final List<Tensor> MLP_TANGENTS =
            List.of(numbers(3, 7, 4, 3), numbers(5, 9, 5, 3), numbers(2, 5, 5), numbers(7, 9, 4, 5), numbers(3, 7, 4));

    @Test
    void valuesOfPyTorch() throws IOException {
        asPyTorch("mlp", Autograd.jvp(ForwardModeTest::mlp, MLP, MLP_TANGENTS));
        asPyTorch(
                "layer_norm",
                Autograd.jvp(
                        in -> Normalization.layerNorm(in.get(0), new long[] {5}, in.get(1), in.get(2), 1e-5),
                        List.of(numbers(5, 11, 3, 5), numbers(3, 7, 5), numbers(2, 5, 5)),
                        List.of(numbers(7, 9, 3, 5), numbers(5, 7, 5), numbers(3, 5, 5))));
        List<Tensor> heads = List.of(numbers(5, 11, 2, 3, 4), numbers(7, 13, 2, 3, 4), numbers(3, 7, 2, 3, 4));
        List<Tensor> moved = List.of(numbers(3, 11, 2, 3, 4), numbers(5, 13, 2, 3, 4), numbers(2, 7, 2, 3, 4));
        asPyTorch("attention", Autograd.jvp(ForwardModeTest::scores, heads, moved));
        List<Tensor> four = heads.stream().map(t -> t.unsqueeze(0)).toList();
        Dual fused = Autograd.jvp(
                in -> Attention.attention(in.get(0), in.get(1), in.get(2), false, 0.5),
                four,
                moved.stream().map(t -> t.unsqueeze(0)).toList());
        asPyTorch("attention", fused);
        asPyTorch(
                "conv2d",
                Autograd.jvp(
                        in -> Convolution.conv2d(in.get(0), in.get(1), in.get(2), 2, 1, 1, 1),
                        List.of(numbers(5, 11, 2, 2, 4, 4), numbers(3, 7, 3, 2, 3, 3), numbers(2, 5, 3)),
                        List.of(numbers(7, 13, 2, 2, 4, 4), numbers(5, 9, 3, 2, 3, 3), numbers(3, 5, 3))));
        asPyTorch("jacobian", Autograd.jacobian(x -> x.square().softmax(-1), numbers(5, 11, 2, 3)));
        Tensor w = MLP.get(1).detach().requiresGrad(true);
        Dual hessian = Autograd.jvp(
                v -> Autograd.grad(mlp(List.of(MLP.get(0), v, MLP.get(2), MLP.get(3), MLP.get(4))), List.of(v))
                        .get(0),
                w,
                MLP_TANGENTS.get(1));
        asPyTorch("hessian", hessian.tangent());
    }

    // ---------------------------------------------------------------- Jacobians

    @Test
    void jacobiansOfBothModes() {
        Function<List<Tensor>, List<Tensor>> f = in -> List.of(
                in.get(0).matmul(in.get(1)), in.get(0).sum(), Tensor.ones(2).to(DType.FLOAT64));
        List<Tensor> in = List.of(random(1, 2, 3), random(2, 3));
        List<List<Tensor>> forward = Autograd.jacfwd(f, in);
        List<List<Tensor>> reverse = Autograd.jacrev(f, in);
        List<List<Tensor>> either = Autograd.jacobian(f, in);
        assertThat(forward.get(0).get(0).shape()).isEqualTo(Shape.of(2, 2, 3));
        assertThat(forward.get(1).get(1).shape()).isEqualTo(Shape.of(3));
        for (int k = 0; k < 3; k++) {
            for (int i = 0; i < 2; i++) {
                near(forward.get(k).get(i), reverse.get(k).get(i));
                near(either.get(k).get(i), reverse.get(k).get(i));
            }
        }
        near(forward.get(0).get(1), in.get(0));
        // more results than inputs, and the other way round; nothing at all
        near(
                Autograd.jacobian(x -> x.expand(4).square(), random(3, 1)),
                random(3, 1).mul(2).expand(4, 1));
        near(
                Autograd.jacobian(x -> x.square().sum(), random(3, 4)),
                random(3, 4).mul(2));
        assertThat(Autograd.jacobian(x -> x.sum(), random(3, 0)).shape()).isEqualTo(Shape.of(0));
        assertThat(Autograd.jacobian(x -> x.sum(), random(3)).shape()).isEqualTo(Shape.of());
        // a Jacobian of a Jacobian
        near(
                Autograd.jacobian(x -> Autograd.jacobian(y -> y.square().mul(y).sum(), x), random(4, 3)),
                Tensor.eye(3).to(DType.FLOAT64).mul(random(4, 3)).mul(6));
    }
}
