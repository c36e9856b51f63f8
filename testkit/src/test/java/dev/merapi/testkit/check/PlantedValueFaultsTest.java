// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import dev.merapi.check.OpCheck;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.function.LongPredicate;
import org.junit.jupiter.api.Test;

/** Values that are wrong only at some sizes, in some dtypes, in some layouts, on some device. */
class PlantedValueFaultsTest extends Planted {
    /** x² but for elements of which the condition says, in a tensor of n elements. */
    private static Kernel<X, Tensor> wrongWhere(LongPredicate size, LongPredicate element) {
        return (a, out) -> {
            SQUARE.run(a, out);
            long n = out.numel();
            for (long i = n > 2000 ? n - 2000 : 0; size.test(n) && i < n; i++) {
                if (element.test(i)) {
                    Elements.of(out).setDouble(i, 0);
                }
            }
        };
    }

    private static Kernel<X, Tensor> wrongIn(DType dtype) {
        return (a, out) -> {
            SQUARE.run(a, out);
            if (out.dtype() == dtype && out.numel() > 0) {
                Elements.of(out).setDouble(0, Elements.of(out).getDouble(0) * 1.5);
            }
        };
    }

    // ---------------------------------------------------------------- sizes

    @Test
    void aTailThatOnlyOtherSizesHave() {
        Kernel<X, Tensor> four = wrongWhere(n -> n % 4 != 0, i -> i % 4 == 3);
        found(square(four), new X(leaf(8)), "odd sizes", "the plain-Java kernel with inputs [17]");
        found(squareOf(four), new X(leaf(8)), "gradients at other sizes", "with inputs [17]", "finite differences");
    }

    @Test
    void whatLiesBeyondABlock() {
        found(square(wrongWhere(n -> true, i -> i >= 1024)), x(), "odd sizes", "with inputs [1031]");
    }

    @Test
    void whatLiesBeyondAMillion() {
        Kernel<X, Tensor> far = wrongWhere(n -> true, i -> i >= 1 << 20);
        found(
                OpCheck.of(square(far)).large(),
                new X(leaf(8)),
                "large sizes",
                "the plain-Java kernel with inputs [1048583]");
        found(OpCheck.of(squareOf(far)).large(), new X(leaf(8)), "large sizes", "with inputs [1048583]", "differences");
    }

    @Test
    void nothingAndOneAndAScalar() {
        Op<X, Tensor> sum = Op.define("planted::sum", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), Shape.of()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    double total = Elements.of(a.x()).getDouble(0);
                    for (long i = 1; i < a.x().numel(); i++) {
                        total += Elements.of(a.x()).getDouble(i);
                    }
                    Elements.of(out).setDouble(0, total);
                })
                .nonDifferentiable();
        found(sum, x(), "empty inputs", "IndexOutOfBounds");
        found(square(wrongWhere(n -> n == 1, i -> true)), x(), "size-1 inputs", "with inputs [1, 1]");
        Kernel<X, Tensor> scalar = (a, out) -> each(a.x(), out, v -> a.x().rank() == 0 ? v : v * v);
        found(square(scalar), x(), "0-d inputs", "with inputs []");
    }

    @Test
    void anInputThatIsAbsent() {
        Op<XBias, Tensor> op = Op.define("planted::biased", XBias.class, Tensor.class)
                .compose(a -> a.bias() == null ? a.x().mul(2) : a.x().mul(2).add(a.bias()))
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        double bias =
                                a.bias() == null ? 1 : Elements.of(a.bias()).getDouble(i);
                        Elements.of(out).setDouble(i, 2 * Elements.of(a.x()).getDouble(i) + bias);
                    }
                });
        found(op, new XBias(leaf(2, 3), leaf(2, 3)), "absent inputs", "without bias, beside the composition");
    }

    // ---------------------------------------------------------------- dtypes

    @Test
    void oneDtypeOnly() {
        for (DType dtype : new DType[] {DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16}) {
            found(squareOf(wrongIn(dtype)), x(), "other dtypes", "in " + dtype + ": output 0");
        }
        X single = new X(values(6).to(DType.FLOAT32).detach().requiresGrad(true));
        found(squareOf(wrongIn(DType.FLOAT32)), single, "other dtypes", "in float32: output 0");
        found(squareOf(wrongIn(DType.FLOAT64)), single, "gradients", "finite differences");
    }

    /** x² as (1000·x)²/10⁶, which float16 cannot hold on the way. */
    private static final Kernel<X, Tensor> OVERFLOWS = (a, out) -> {
        Tensor between = Tensor.zeros(out.shape(), out.dtype(), out.device());
        each(a.x(), between, v -> 1e6 * v * v);
        each(between, out, v -> v / 1e6);
    };

    @Test
    void infinityWhereTheResultIsFinite() {
        found(squareOf(OVERFLOWS), x(), "other dtypes", "in float16: output 0", "Infinity");
    }

    @Test
    void anOutputOfAnotherKindInOneDtype() {
        Op<X, Tensor> op =
                squareShaped(a -> Tensor.meta(a.x(), a.x().dtype() == DType.FLOAT16 ? DType.INT64 : a.x().dtype()));
        found(op, x(), "other dtypes", "in float16: output 0 is int64[2, 3]");
    }

    @Test
    void policiesOfAutocast() {
        Op<X, Tensor> narrow = Op.define("planted::narrow", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, SQUARE, DType.FLOAT32, DType.FLOAT64)
                .autocast(CastPolicy.LOWER)
                .nonDifferentiable();
        found(narrow, x(), "autocast", "under autocast to float16, with policy LOWER", "no cpu kernel");
        Op<X, Tensor> overflowing = Op.define("planted::overflowing", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, OVERFLOWS)
                .autocast(CastPolicy.LOWER)
                .nonDifferentiable();
        found(overflowing, x(), "autocast", "under autocast to float16, with policy LOWER: output 0", "Infinity");
    }

    // ---------------------------------------------------------------- layouts

    @Test
    void layoutsThatTheOpClaimsToTake() {
        Kernel<X, Tensor> dense = (a, out) -> {
            int base = Elements.of(a.x()).byteOffset();
            for (long i = 0; i < out.numel(); i++) {
                double v = out.dtype().byteSize() < 4 ? Elements.of(a.x()).getDouble(i) : raw(a.x(), base, i);
                Elements.of(out).setDouble(i, v * v);
            }
        };
        for (String form : new String[] {"transposed inputs", "strided inputs", "expanded inputs"}) {
            found(squareOf(dense).stridesOk(), x(), form, "x with layout [2, 3] strides");
        }
        Kernel<X, Tensor> fromTheStart = (a, out) -> {
            int base = 0; // of the storage, which is not always where the tensor begins
            for (long i = 0; i < out.numel(); i++) {
                double v = out.dtype().byteSize() < 4 ? Elements.of(a.x()).getDouble(i) : raw(a.x(), base, i);
                Elements.of(out).setDouble(i, v * v);
            }
        };
        found(squareOf(fromTheStart), x(), "offset inputs", "x with layout [2, 3]", "offset 3");
    }

    @Test
    void oneTensorForTwoInputs() {
        Op<XY, Tensor> op = Op.define("planted::difference", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        double y = a.x() == a.y() ? 0 : Elements.of(a.y()).getDouble(i);
                        Elements.of(out).setDouble(i, Elements.of(a.x()).getDouble(i) - y);
                    }
                })
                .nonDifferentiable();
        found(op, xy(), "one tensor for two inputs", "one tensor for x and y");
    }

    // ---------------------------------------------------------------- other ways, devices, forms

    @Test
    void whatDisagreesWithAnotherWay() {
        found(square(wrongIn(DType.FLOAT64)), x(), "kernel and plain Java agree", "element 0");
        Op<X, Tensor> composed = squareOf(wrongIn(DType.FLOAT64)).compose(a -> a.x().mul(a.x()));
        found(composed, x(), "kernel and composition agree", "element 0");
        OpCheck<X, Tensor> expecting =
                OpCheck.of(squareOf(wrongIn(DType.FLOAT64))).expecting(a -> a.x().mul(a.x()));
        found(expecting, x(), "expected values", "element 0");
        found(
                OpCheck.of(squareOf(wrongWhere(n -> n > 1000, i -> true))).expecting(a -> a.x().mul(a.x())),
                x(),
                "odd sizes",
                "what is expected with inputs [1031]");
    }

    @Test
    void anotherDevice() {
        Op<X, Tensor> op = squareOf(SQUARE).replaceKernel(TOY, wrongIn(DType.FLOAT64));
        found(op, x(), "agrees with toy", "on toy:0: output 0 differs");
        Op<X, Tensor> strayed = squareShaped(a -> Tensor.meta(a.x().shape(), a.x().dtype(), Device.CPU));
        found(strayed, x(), "agrees with toy", "cpu");
    }

    @Test
    void shapeRulesThatDisagreeWithTheCall() {
        Op<X, Tensor> shape = squareShaped(a -> Tensor.meta(a.x(), a.x().isMeta() ? Shape.of(7) : a.x().shape()));
        found(shape, x(), "shape rule", "but the shape rule says float64[7]");
        Op<X, Tensor> dtype =
                squareShaped(a -> a.x().isMeta() ? Tensor.meta(a.x(), DType.FLOAT32) : Tensor.meta(a.x()));
        found(dtype, x(), "shape rule", "but the shape rule says float32[2, 3]");
        Op<X, Tensor> reads = squareShaped(a -> {
            double first = Elements.of(a.x()).getDouble(0);
            return Tensor.meta(a.x(), first > 100 ? Shape.of(0) : a.x().shape());
        });
        found(reads, x(), "shape rule", "Exception");
    }
}
