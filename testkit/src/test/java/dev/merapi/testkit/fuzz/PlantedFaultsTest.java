// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.merapi.backend.Backends;
import dev.merapi.dispatch.Context;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.Activations;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.Reductions;
import dev.merapi.ops.Softmax;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Ops that are wrong in one way: the fuzzer finds each, and shows it by a program of a few lines. */
class PlantedFaultsTest {
    private static final int PROGRAMS = 30_000;
    private static final int LINES = 4;
    /** A gradient takes a leaf, what is done to it, the gradient that comes in, the call, and its result. */
    private static final int LINES_OF_GRADIENTS = 6;

    @SuppressWarnings("unchecked")
    private static final Op<PointwiseArgs.X, Tensor> RELU = (Op<PointwiseArgs.X, Tensor>) Activations.RELU.op();

    @SuppressWarnings("unchecked")
    private static final Op<PointwiseArgs.XY, Tensor> MUL = (Op<PointwiseArgs.XY, Tensor>) Arithmetic.MUL.op();

    @SuppressWarnings("unchecked")
    private static final Op<ReduceArgs.X, Tensor> SUM = (Op<ReduceArgs.X, Tensor>) Reductions.SUM.op();

    private record Fault(String name, String key, Supplier<AutoCloseable> plant) {}

    private static final List<Tensor> KEPT = new ArrayList<>();

    private static void relu(PointwiseArgs.X a, Tensor out) {
        Elements x = Elements.of(a.x());
        Elements y = Elements.of(out);
        for (long i = 0; i < x.numel(); i++) {
            y.setDouble(i, Math.max(0, x.getDouble(i)));
        }
    }

    private static List<Fault> faults() {
        DeviceType cpu = DeviceType.CPU;
        return List.of(
                new Fault(
                        "relu lets numbers below −1 through",
                        "DIFFERENT_BITS merapi::relu",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            relu(a, out);
                            Elements x = Elements.of(a.x());
                            for (long i = 0; i < x.numel(); i++) {
                                if (x.getDouble(i) < -1) {
                                    Elements.of(out).setDouble(i, x.getDouble(i));
                                }
                            }
                        })),
                new Fault(
                        "relu reads dense memory",
                        "DIFFERENT_BITS merapi::relu",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            Elements x = Elements.of(a.x());
                            Elements y = Elements.of(out);
                            boolean dense =
                                    !a.x().isContiguous() && a.x().layout().isInjective();
                            for (long i = 0; i < x.numel(); i++) {
                                double v = dense ? x.doubleAt(i) : x.getDouble(i);
                                y.setDouble(i, Double.isNaN(v) ? v : Math.max(0, v));
                            }
                        })),
                new Fault(
                        "relu cannot do 0-d",
                        "DIFFERENT_ERROR \\S*relu",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            if (out.rank() == 0) {
                                throw new dev.merapi.error.ShapeException("relu: no 0-d tensors");
                            }
                            relu(a, out);
                        })),
                new Fault(
                        "relu ends by another kind of error",
                        "DIFFERENT_ERROR \\S*relu",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            if (out.numel() > 0 && out.size(-1) == 1) {
                                throw new NullPointerException();
                            }
                            relu(a, out);
                        })),
                new Fault(
                        "sum leaves the last element out",
                        "(INACCURATE|DIFFERENT_BITS) merapi::sum",
                        () -> SUM.override()
                                .kernel(
                                        cpu,
                                        (a, out) -> {
                                            try (Tensor shorter = a.x().rank() == 1 && a.x().numel() > 3
                                                    ? a.x().slice(0, 0, a.x().numel() - 1)
                                                            .copy()
                                                    : a.x().copy()) {
                                                out.copy_(Tensor.of(
                                                                shorter.toDoubleArray(),
                                                                shorter.shape().toArray())
                                                        .sum(a.dims(), a.keepDim()));
                                            }
                                        },
                                        dev.merapi.types.DType.FLOAT32)),
                new Fault(
                        "softmax is off by a millionth",
                        "INACCURATE merapi::softmax",
                        () -> Softmax.SOFTMAX
                                .override()
                                .kernel(
                                        cpu,
                                        (a, out) -> {
                                            Tensor exact = Tensor.of(
                                                            a.x().toDoubleArray(),
                                                            a.x().shape().toArray())
                                                    .softmax(a.dim());
                                            out.copy_(exact.mul(1 + 2e-6));
                                        },
                                        dev.merapi.types.DType.FLOAT32)),
                new Fault(
                        "indices from the end count from the beginning",
                        "DIFFERENT_BITS merapi::index_select",
                        () -> Indexing.INDEX_SELECT.override().kernel(cpu, (a, out) -> {
                            Tensor index = a.index().abs().remainder(Math.max(1, a.x().size(a.dim())));
                            out.copy_(a.x().detach().gather(a.dim(), positions(index, a.x(), a.dim())));
                        })),
                new Fault(
                        "the gradient of mul is that of add",
                        "WRONG_GRADIENT merapi::mul",
                        () -> MUL.override()
                                .autograd(
                                        (a, out) -> List.of(a.x().shape(), a.y().shape()),
                                        (context, shapes, g) -> Grads.of("x", g.sumTo(shapes.get(0)))
                                                .and("y", g.sumTo(shapes.get(1))))),
                new Fault(
                        "relu keeps what it is given",
                        "LEAK program",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            relu(a, out);
                            KEPT.add(a.x().copy().leaveScope());
                        })),
                new Fault(
                        "relu switches recording off",
                        "MODES program",
                        () -> RELU.override().kernel(cpu, (a, out) -> {
                            relu(a, out);
                            Context.current().setGradEnabled(false);
                        })));
    }

    private static Tensor positions(Tensor index, Tensor x, int dim) {
        long[] sizes = x.shape().toArray();
        int d = x.shape().normalize(dim);
        long[] ones = new long[sizes.length];
        java.util.Arrays.fill(ones, 1);
        ones[d] = index.numel();
        sizes[d] = index.numel();
        return index.reshape(ones).expand(sizes);
    }

    @Test
    void eachIsFoundAndShownByAFewLines() throws Exception {
        assumeFalse(
                Backends.of(DeviceType.CPU) instanceof JavaBackend,
                "planted faults are looked for where kernels are native, once");
        List<String> missed = new ArrayList<>();
        for (Fault fault : faults()) {
            Fuzz fuzz = new Fuzz(Device.CPU);
            try (AutoCloseable planted = fault.plant.get()) {
                Fuzz.Report found = null;
                for (long i = 0; i < PROGRAMS && found == null; i++) {
                    fuzz.one(Fuzz.seed(fault.name.hashCode(), i));
                    found = fuzz.reports().stream()
                            .filter(r -> r.key().matches(fault.key))
                            .findFirst()
                            .orElse(null);
                }
                if (found == null) {
                    missed.add(fault.name + ": not found in " + PROGRAMS + " programs; seen " + fuzz.seen());
                } else if (found.lines().lines().count()
                        > (found.lines().contains("Autograd.") ? LINES_OF_GRADIENTS : LINES)) {
                    missed.add(fault.name + ": shown by a long program\n" + found);
                } else {
                    System.out.println(fault.name + ": after " + fuzz.programs() + " programs\n" + found);
                }
            } finally {
                KEPT.forEach(Tensor::close);
                KEPT.clear();
                Context.current().setGradEnabled(true);
            }
        }
        assertThat(missed).isEmpty();
    }
}
