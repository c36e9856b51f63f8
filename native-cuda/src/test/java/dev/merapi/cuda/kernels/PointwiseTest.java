// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.merapi.backend.Backends;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.print.PointwiseSources;
import dev.merapi.cuda.print.PointwiseVariant;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.error.DTypeException;
import dev.merapi.ops.Activations;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Pointwise ops on the simulator against the plain-Java kernels, which compute in float64 and round once. */
@Tag("kernels")
public class PointwiseTest {
    @BeforeAll
    static void simulator() {
        Simulator.require();
    }

    // ---------------------------------------------------------------- every built-in op

    @TestFactory
    Stream<DynamicTest> everyOpInEveryDtype() throws IllegalAccessException {
        Map<String, PointwiseOp> ops = PointwiseSources.builtIn();
        assertTrue(ops.size() > 40, "only " + ops.keySet());
        prepare(ops.values());
        return ops.entrySet().stream()
                .map(e -> DynamicTest.dynamicTest(e.getKey(), () -> {
                    int checked = 0;
                    for (DType dtype : DType.values()) {
                        checked += check(e.getKey(), e.getValue(), dtype) ? 1 : 0;
                    }
                    assertTrue(checked > 0, e.getKey() + " is defined for no dtype");
                }));
    }

    /** False if the op is not defined for the dtype. */
    private static boolean check(String name, PointwiseOp op, DType dtype) {
        List<Number> values = PointwiseSources.scalars(op, dtype);
        List<Tensor> inputs = new ArrayList<>();
        for (int i = 0; i < PointwiseCode.of(op.op()).inputs(); i++) {
            inputs.add(random(dtype, 1000 + i, 37));
        }
        Tensor expected;
        try {
            expected = op.call(inputs, values);
        } catch (DTypeException e) {
            return false;
        }
        List<Tensor> there = inputs.stream().map(t -> t.to(Simulator.DEVICE)).toList();
        close(name + " of " + dtype, expected, op.call(there, values));
        return true;
    }

    /** Compiles all kernels of that test in a few runs of the compiler. */
    private static void prepare(Collection<PointwiseOp> ops) {
        Map<String, KernelSource> sources = new LinkedHashMap<>();
        for (PointwiseOp op : ops) {
            for (DType dtype : DType.values()) {
                KernelSource s = PointwiseSources.of(op, dtype);
                if (s != null) {
                    sources.putIfAbsent(s.text(), s);
                }
            }
        }
        List<KernelSource> all = List.copyOf(sources.values());
        Kernels kernels = Kernels.of(Backends.of(Simulator.DEVICE.type()));
        for (int i = 0; i < all.size(); i += 200) {
            kernels.prepare(0, "pointwise ops", all.subList(i, Math.min(all.size(), i + 200)));
        }
    }

    // ---------------------------------------------------------------- layouts

    @Test
    void layoutsOfOperands() {
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT64, DType.UINT8)) {
            Tensor a = random(dtype, 1, 6, 8, 16);
            Tensor b = random(dtype, 2, 6, 8, 16);
            both("contiguous", a, b);
            both("row vector", a, random(dtype, 3, 16));
            both("column vector", a, random(dtype, 4, 8, 1));
            both("both broadcast", random(dtype, 5, 6, 1, 16), random(dtype, 6, 8, 1));
            both("0-d", a, random(dtype, 7));
            both("0-d both", random(dtype, 8), random(dtype, 9));
            both("transposed", a.transpose(0, 2), b.transpose(0, 2));
            both("transposed and not", a.transpose(1, 2), random(dtype, 10, 6, 16, 8));
            both("slices", a.slice(2, 3, 14), b.slice(2, 5, 16));
            both(
                    "shifted by one",
                    a.view(6 * 8 * 16).slice(0, 1, 700),
                    b.view(6 * 8 * 16).slice(0, 3, 702));
            both("expanded", a.slice(1, 0, 1).expand(6, 8, 16), b);
            both("empty", a.slice(0, 2, 2), b.slice(0, 3, 3));
            both("odd size", random(dtype, 11, 5, 7, 3), random(dtype, 12, 5, 7, 3));
            both("odd rows", random(dtype, 13, 5, 7), random(dtype, 14, 7));
            both("many dims", random(dtype, 15, 2, 1, 3, 2, 1, 2, 3), random(dtype, 16, 2, 2, 1, 2, 1, 1, 1));
        }
    }

    /** More than a grid's threads take at once, which they do in pairs of packs: pairs, halves of pairs, and a rest. */
    @Test
    void unaryOpsOfManyTurns() {
        int atOnce = 16 * 256; // packs that one multiprocessor's share of the grid takes
        for (DType[] pair : new DType[][] {
            {DType.BFLOAT16, DType.BFLOAT16},
            {DType.FLOAT32, DType.BFLOAT16},
            {DType.UINT8, DType.INT64},
            {DType.FLOAT64, DType.FLOAT64},
            {DType.BOOL, DType.FLOAT32}
        }) {
            int pack = PointwiseVariant.width(new Tensor[] {random(pair[0], 1, 1), random(pair[1], 1, 1)});
            for (int packs : new int[] {atOnce + atOnce / 2, 5 * atOnce + 7}) {
                Tensor x = random(pair[0], packs, (long) packs * pack + pack - 1);
                String what = pair[0] + " to " + pair[1] + ", " + packs + " packs";
                if (pair[0] == pair[1]) {
                    close(what, x.neg(), x.to(Simulator.DEVICE).neg());
                } else {
                    close(what, x.to(pair[1]), x.to(Simulator.DEVICE).to(pair[1]));
                }
            }
        }
    }

    private static void both(String what, Tensor a, Tensor b) {
        close(what + " " + a.dtype(), a.mul(b), there(a).mul(there(b)));
    }

    /** The same layout on the device: the whole storage goes over, then the view is taken again. */
    private static Tensor there(Tensor t) {
        if (t.isContiguous()) {
            return t.to(Simulator.DEVICE);
        }
        long span = t.layout().end() - t.layout().offset();
        Tensor flat = TENSORS.viewAs(
                t,
                dev.merapi.types.Layout.of(
                        Shape.of(span), new long[] {1}, t.layout().offset()),
                dev.merapi.dispatch.Context.current());
        return TENSORS.viewAs(
                flat.to(Simulator.DEVICE),
                dev.merapi.types.Layout.of(t.shape(), t.layout().strides(), 0),
                dev.merapi.dispatch.Context.current());
    }

    @Test
    void inPlaceIntoStridedViews() {
        Tensor x = random(DType.FLOAT32, 1, 6, 10);
        Tensor y = x.to(Simulator.DEVICE);
        for (Tensor t : List.of(x, y)) {
            Tensor ones = Tensor.ones(Shape.of(10, 3), DType.FLOAT32, t.device());
            t.transpose(0, 1).slice(1, 2, 5).add_(ones);
            t.slice(1, 3, 4).fill_(7);
            t.slice(0, 0, 1).copy_(t.slice(0, 5, 6));
        }
        close("in place", x, y);
    }

    @Test
    void wideIndicesGiveTheSame() {
        Tensor a = random(DType.FLOAT32, 1, 6, 8, 16);
        Tensor b = random(DType.FLOAT32, 2, 8, 1);
        System.setProperty("merapi.cuda.wideIndices", "true");
        try {
            both("flat", a, a);
            both("broadcast", a, b);
            both("transposed", a.transpose(0, 2), a.transpose(0, 2));
        } finally {
            System.clearProperty("merapi.cuda.wideIndices");
        }
    }

    // ---------------------------------------------------------------- dtypes

    @Test
    void conversionsBetweenAllDtypes() {
        double[] values = {
            0,
            -0.0,
            1,
            -1,
            0.3,
            -2.7,
            127.5,
            255,
            256,
            1e5,
            -1e5,
            65504,
            65520,
            3e9,
            -3e9,
            1e19,
            -1e19,
            1e-8,
            6e-8,
            Double.NaN,
            Double.POSITIVE_INFINITY,
            Double.NEGATIVE_INFINITY
        };
        for (DType from : DType.values()) {
            Tensor x = Tensor.of(values).to(from);
            for (DType to : DType.values()) {
                close(from + " to " + to, x.to(to), x.to(Simulator.DEVICE).to(to));
            }
        }
    }

    /** All 65536 bit patterns, both ways. */
    @Test
    void smallFloatsBitForBit() {
        for (DType small : List.of(DType.FLOAT16, DType.BFLOAT16)) {
            Tensor all = Tensor.empty(Shape.of(1 << 16), small, Device.CPU);
            java.nio.ByteBuffer b = dev.merapi.tensor.Elements.of(all).buffer();
            int base = dev.merapi.tensor.Elements.of(all).byteOffset();
            for (int i = 0; i < 1 << 16; i++) {
                b.putShort(base + 2 * i, (short) i);
            }
            exact(
                    small + " to float32",
                    all.to(DType.FLOAT32),
                    all.to(Simulator.DEVICE).to(DType.FLOAT32));
        }
        SplittableRandom random = new SplittableRandom(3);
        float[] bits = new float[200_000];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.intBitsToFloat(random.nextInt());
        }
        Tensor x = Tensor.of(bits);
        for (DType small : List.of(DType.FLOAT16, DType.BFLOAT16)) {
            exact("float32 to " + small, x.to(small), x.to(Simulator.DEVICE).to(small));
        }
    }

    // ---------------------------------------------------------------- autograd

    @Test
    void gradientsOnTheDevice() {
        Tensor x = random(DType.FLOAT32, 1, 5, 7).requiresGrad(true);
        Tensor w = random(DType.FLOAT32, 2, 5, 7).requiresGrad(true);
        Tensor y = Activations.GELU.call(x.mul(w)).add(x);
        dev.merapi.autograd.Autograd.backward(y, y.detach(), dev.merapi.autograd.Autograd.Graph.FREE);
        Tensor dx = x.detach().to(Simulator.DEVICE).requiresGrad(true);
        Tensor dw = w.detach().to(Simulator.DEVICE).requiresGrad(true);
        Tensor dy = Activations.GELU.call(dx.mul(dw)).add(dx);
        dev.merapi.autograd.Autograd.backward(dy, dy.detach(), dev.merapi.autograd.Autograd.Graph.FREE);
        close("x", x.grad(), dx.grad());
        close("w", w.grad(), dw.grad());
    }

    // ---------------------------------------------------------------- comparison

    public static Tensor random(DType dtype, long seed, long... shape) {
        SplittableRandom random = new SplittableRandom(seed);
        int n = (int) Shape.of(shape).numel();
        double[] values = new double[n];
        for (int i = 0; i < n; i++) {
            values[i] =
                    dtype.isFloating() ? random.nextDouble(-3, 3) : random.nextInt(dtype == DType.UINT8 ? 0 : -9, 10);
        }
        return Tensor.of(values, shape).to(dtype);
    }

    /** A few roundings of numbers of the operands' size, which is about 1. */
    static void close(String what, Tensor expected, Tensor actual) {
        assertEquals(expected.dtype(), actual.dtype(), what);
        assertEquals(expected.shape(), actual.shape(), what);
        assertEquals(Simulator.DEVICE, actual.device(), what);
        double[] a = expected.toDoubleArray();
        double[] b = actual.toDoubleArray();
        double relative = 4 * expected.dtype().epsilon();
        for (int i = 0; i < a.length; i++) {
            double bound = relative * Math.max(Math.abs(a[i]), 1);
            boolean same = a[i] == b[i] || Double.isNaN(a[i]) && Double.isNaN(b[i]) || Math.abs(a[i] - b[i]) <= bound;
            if (!same) {
                fail(what + ", element " + i + ": " + b[i] + " instead of " + a[i]);
            }
        }
    }

    public static void exact(String what, Tensor expected, Tensor actual) {
        double[] a = expected.toDoubleArray();
        double[] b = actual.toDoubleArray();
        for (int i = 0; i < a.length; i++) {
            if (Double.doubleToLongBits(a[i]) != Double.doubleToLongBits(b[i])) {
                fail(what + ", element " + i + ": " + b[i] + " instead of " + a[i]);
            }
        }
    }

    /** A hair beside the middle of two neighbours, which float32 does not see. */
    @Test
    void doublesAreRoundedOnceToSixteenBits() {
        for (DType dtype : List.of(DType.FLOAT16, DType.BFLOAT16)) {
            double[] values = new double[3000];
            SplittableRandom random = new SplittableRandom(1);
            for (int i = 0; i < values.length; i += 3) {
                double low = (i % 2 == 0 ? 1 : -1) * Math.scalb(1 + random.nextInt(128) / 128.0, -random.nextInt(24));
                double middle =
                        low + Math.copySign(Math.ulp((float) low) * (1 << (dtype == DType.FLOAT16 ? 12 : 15)), low);
                values[i] = Math.nextDown(middle);
                values[i + 1] = middle;
                values[i + 2] = Math.nextUp(middle);
            }
            Tensor x = Tensor.of(values);
            exact(dtype + "", x.to(dtype), x.to(Simulator.DEVICE).to(dtype));
        }
    }
}
