// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import static dev.merapi.expr.Exprs.sin;
import static dev.merapi.expr.Exprs.tanh;

import dev.merapi.autograd.Autograd;
import dev.merapi.expr.Expr;
import dev.merapi.ops.Pointwise;
import dev.merapi.ops.PointwiseOp;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assertions;

/** What is larger than a backend's own limits works on it all the same: many dimensions, operands, registers, levels. */
final class Limits {
    private static final int RANK = 17;
    private static final int OPERANDS = 30;
    private static final int DEEP = 3000;
    private static final int LIVE = 80;

    /** Σ of all operands, each times its number. */
    private static final PointwiseOp MANY = Pointwise.define("test::many_operands", OPERANDS, 0, x -> {
        Expr sum = x.get(0);
        for (int k = 1; k < OPERANDS; k++) {
            sum = sum.add(x.get(k).mul(k + 1.0));
        }
        return sum;
    });

    /** So deep that a walk over it leaves any thread's stack: the limit of x → x − 0.001·x, and its gradient. */
    private static final PointwiseOp LEVELS = Pointwise.define("test::many_levels", x -> {
        Expr y = x;
        for (int k = 0; k < DEEP; k++) {
            y = y.mul(0.999);
        }
        return y;
    });

    /** All of these are needed until the end: Σ sin(k·x)·tanh(Σ of the same), the other way round. */
    private static final PointwiseOp REGISTERS = Pointwise.define("test::many_registers", x -> {
        List<Expr> parts = new ArrayList<>();
        for (int k = 1; k <= LIVE; k++) {
            parts.add(sin(x.mul(k * 0.01)));
        }
        Expr forth = parts.get(0);
        for (int k = 1; k < LIVE; k++) {
            forth = tanh(forth.add(parts.get(k)));
        }
        Expr back = forth;
        for (int k = 0; k < LIVE; k++) {
            back = back.mul(0.5).add(parts.get(k));
        }
        return back;
    });

    private Limits() {}

    static void check(Device device) {
        operands(device);
        levels(device);
        registers(device);
    }

    private static void operands(Device device) {
        Tensor whole = Tensor.arange(2 * 3 * OPERANDS)
                .to(DType.FLOAT64)
                .view(OPERANDS, 3, 2)
                .to(device);
        List<Tensor> operands = IntStream.range(0, OPERANDS)
                .mapToObj(k -> whole.select(0, k).t()) // strides, so that nothing is flat
                .toList();
        Tensor first = operands.get(0).copy().requiresGrad(true);
        operands = Stream.concat(Stream.of(first), operands.stream().skip(1)).toList();
        Tensor y = MANY.call(operands, List.of());
        double[] expected = new double[6];
        for (int i = 0; i < 6; i++) {
            for (int k = 0; k < OPERANDS; k++) {
                expected[i] += (k + 1.0) * (k * 6 + i % 3 * 2 + i / 3);
            }
        }
        Assertions.assertArrayEquals(expected, y.toDoubleArray(), 1e-9, OPERANDS + " operands on " + device);
        Tensor g = Autograd.grad(List.of(y.sum()), List.of(first), null, Autograd.Graph.FREE, false)
                .get(0);
        Assertions.assertArrayEquals(
                new double[] {1, 1, 1, 1, 1, 1}, g.toDoubleArray(), "gradient of " + OPERANDS + " operands");
    }

    private static void levels(Device device) {
        Tensor x = Tensor.of(1.0, -2.0).to(device).detach().requiresGrad(true);
        Tensor y = LEVELS.call(x);
        double factor = Math.pow(0.999, DEEP);
        Assertions.assertArrayEquals(new double[] {factor, -2 * factor}, y.toDoubleArray(), 1e-12, DEEP + " levels");
        Tensor g = Autograd.grad(List.of(y.sum()), List.of(x), null, Autograd.Graph.FREE, false)
                .get(0);
        Assertions.assertArrayEquals(
                new double[] {factor, factor}, g.toDoubleArray(), 1e-12, "gradient of " + DEEP + " levels");
    }

    private static void registers(Device device) {
        double at = 0.7;
        double[] parts = IntStream.rangeClosed(1, LIVE)
                .mapToDouble(k -> Math.sin(at * (k * 0.01)))
                .toArray();
        double y = parts[0];
        for (int k = 1; k < LIVE; k++) {
            y = Math.tanh(y + parts[k]);
        }
        for (double part : parts) {
            y = y * 0.5 + part;
        }
        Tensor x = Tensor.of(at).to(device);
        Assertions.assertEquals(y, REGISTERS.call(x).toDoubleArray()[0], 1e-9, LIVE + " live values on " + device);
    }

    /** Ops on a tensor of so many dimensions, of which no two can be seen as one, against the same on {@code oracle}. */
    static void ranks(Device device, Device oracle) {
        long[] sizes = new long[RANK];
        Arrays.fill(sizes, 1);
        for (int d = 0; d < RANK; d += 2) {
            sizes[d] = 2;
        }
        int[] reversed = IntStream.range(0, RANK).map(d -> RANK - 1 - d).toArray();
        int[] some = IntStream.range(0, RANK).filter(d -> d % 4 == 0).toArray();
        List<Function<Tensor, Tensor>> ops = List.of(
                x -> x.add(x.permute(reversed)),
                x -> x.permute(reversed).copy(),
                x -> x.permute(reversed).sum(some, false),
                x -> x.permute(reversed).argmax(new int[] {2}, true),
                x -> x.flip(some),
                x -> x.permute(reversed).flip(some),
                x -> x.permute(reversed).softmax(4),
                x -> Tensor.cat(List.of(x.permute(reversed), x.permute(reversed).mul(2)), 8),
                x -> x.permute(reversed).indexSelect(2, Tensor.of(1L, 0L, 1L).to(x.device())),
                x -> x.permute(reversed).gt(100).nonzero(),
                x -> x.permute(reversed).maskedFill(x.gt(100), 0),
                x -> x.transpose(0, RANK - 1).to(DType.INT64));
        // Every second dimension, stretched so that strides do not merge.
        Tensor base = Tensor.arange(1L << (RANK + 1) / 2).to(DType.FLOAT64).view(sizes);
        for (int k = 0; k < ops.size(); k++) {
            Tensor x = spread(base.to(device));
            Tensor same = spread(base.to(oracle));
            String name = "op " + k + " on " + RANK + " dimensions of " + device;
            Tensor actual = ops.get(k).apply(x);
            Tensor expected = ops.get(k).apply(same);
            Assertions.assertEquals(expected.shape(), actual.shape(), name);
            Assertions.assertArrayEquals(expected.toDoubleArray(), actual.toDoubleArray(), 1e-9, name);
        }
    }

    /** The ones of the shape as twos: 17 dimensions of 2, of which every second has a stride of 0. */
    private static Tensor spread(Tensor x) {
        long[] wide = new long[RANK];
        Arrays.fill(wide, 1);
        for (int d = 0; d < RANK; d++) {
            wide[d] = d < 12 ? 2 : x.size(d);
        }
        return x.expand(wide);
    }
}
