// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.backend.Backends;
import dev.merapi.check.OpCheck;
import dev.merapi.check.OpCheck.Outcome;
import dev.merapi.op.Backward;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.DoubleUnaryOperator;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Ops with one fault each, and what {@code OpCheck} must say of them. */
abstract class Planted {
    static final DeviceType TOY = DeviceType.register("toy");

    public record X(Tensor x) {}

    public record XY(Tensor x, Tensor y) {}

    public record XBias(Tensor x, @Nullable Tensor bias) {}

    static {
        Backends.register(new JavaBackend(TOY));
    }

    // ---------------------------------------------------------------- y = x², right

    static final Kernel<X, Tensor> SQUARE = (a, out) -> each(a.x(), out, x -> x * x);

    static final Backward<Tensor, Tensor> SQUARE_BACKWARD =
            (context, x, g) -> Grads.of("x", x.mul(2).mul(g));

    static void each(Tensor x, Tensor out, DoubleUnaryOperator f) {
        Elements from = Elements.of(x);
        Elements to = Elements.of(out);
        for (long i = 0, n = out.numel(); i < n; i++) {
            to.setDouble(i, f.applyAsDouble(from.getDouble(i)));
        }
    }

    /** With this kernel beside a right one in plain Java. */
    static Op<X, Tensor> square(Kernel<X, Tensor> kernel) {
        return squareAlone(kernel, SQUARE_BACKWARD).reference(SQUARE);
    }

    static Op<X, Tensor> squareAlone(Kernel<X, Tensor> kernel, Backward<Tensor, Tensor> backward) {
        return Op.define("planted::square", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, kernel)
                .kernel(TOY, SQUARE)
                .autograd((a, out) -> a.x(), backward);
    }

    static Op<X, Tensor> squareShaped(Function<X, Tensor> rule) {
        return Op.define("planted::square", X.class, Tensor.class)
                .shape(rule)
                .kernel(DeviceType.CPU, SQUARE)
                .kernel(TOY, SQUARE)
                .autograd((a, out) -> a.x(), SQUARE_BACKWARD);
    }

    static Op<X, Tensor> squareBackward(Backward<Tensor, Tensor> backward) {
        return squareAlone(SQUARE, backward);
    }

    static Op<X, Tensor> squareOf(Kernel<X, Tensor> kernel) {
        return squareAlone(kernel, SQUARE_BACKWARD);
    }

    /** out = x·y, with a backward of one's own. */
    static Op<XY, Tensor> product(Backward<XY, Tensor> backward) {
        return Op.define("planted::product", XY.class, Tensor.class)
                .compose(a -> a.x().mul(a.y()))
                .shape(a -> Tensor.meta(a.x()))
                .autograd((a, out) -> a, backward);
    }

    /** Of an element in the memory of a tensor as a careless kernel reads it: dense, and from byte {@code base} on. */
    static double raw(Tensor t, int base, long i) {
        ByteBuffer bytes = Elements.of(t).buffer();
        int at = base + (int) i * t.dtype().byteSize();
        return t.dtype() == DType.FLOAT64 ? bytes.getDouble(at) : bytes.getFloat(at);
    }

    static Tensor filled(Tensor like, Function<Long, Double> value) {
        Tensor t = Tensor.zeros(like.shape(), like.dtype(), like.device());
        Elements e = Elements.of(t);
        for (long i = 0; i < t.numel(); i++) {
            e.setDouble(i, value.apply(i));
        }
        return t;
    }

    // ---------------------------------------------------------------- samples

    static Tensor values(long... shape) {
        int n = 1;
        for (long s : shape) {
            n *= (int) s;
        }
        return Tensor.of(new SplittableRandom(n).doubles(n, 0.5, 2).toArray(), shape);
    }

    static Tensor leaf(long... shape) {
        return values(shape).requiresGrad(true);
    }

    static X x() {
        return new X(leaf(2, 3));
    }

    static XY xy() {
        return new XY(leaf(2, 3), values(2, 3).mul(0.75).detach().requiresGrad(true));
    }

    // ---------------------------------------------------------------- what is to be found

    /** Runs the checks; the named one must fail with these words. */
    static <A extends Record, R> void found(Op<A, R> op, A sample, String check, String... words) {
        found(OpCheck.of(op), sample, check, words);
    }

    static <A extends Record, R> void found(OpCheck<A, R> of, A sample, String check, String... words) {
        OpCheck.Report report = of.samples(List.of(sample)).run();
        assertThat(report.ok()).as("%s", report).isFalse();
        OpCheck.Line line = line(report, check);
        assertThat(line.outcome()).as("%s", report).isEqualTo(Outcome.FAIL);
        assertThat(line.detail()).contains(words);
    }

    static OpCheck.Line line(OpCheck.Report report, String check) {
        return report.lines().stream()
                .filter(l -> l.check().equals(check))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no line '" + check + "' in " + report));
    }

    static Op<X, Void> voidOp(String name, Kernel<X, Void> kernel) {
        return Op.define(name, X.class, Result.none()).mutates("x").kernel(DeviceType.CPU, kernel);
    }
}
