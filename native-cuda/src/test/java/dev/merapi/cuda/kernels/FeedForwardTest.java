// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.cuda.Simulator;
import dev.merapi.cuda.driver.FakeCublasLt;
import dev.merapi.cuda.driver.FakeGpu;
import dev.merapi.nn.FeedForward;
import dev.merapi.nn.Parameter;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** {@link FusedFeedForward} with a library that multiplies, against the composition of linear maps and a GELU. */
class FeedForwardTest {
    private static Device device = Device.CPU;

    @BeforeAll
    static void library() throws IOException, InterruptedException {
        Simulator.require();
        device = FakeCublasLt.device("cuda-lt");
    }

    @AfterAll
    static void forget() {
        FakeGpu.forget();
    }

    /** x, up, its bias, down, its bias. */
    private static List<Tensor> operands(DType dtype, long hidden) {
        return List.of(
                PointwiseTest.random(dtype, 1, 2, 5, 9),
                PointwiseTest.random(dtype, 2, hidden, 9),
                PointwiseTest.random(dtype, 3, hidden),
                PointwiseTest.random(dtype, 4, 7, hidden),
                PointwiseTest.random(dtype, 5, 7));
    }

    private static List<Tensor> leaves(List<Tensor> all, Device on, boolean[] needed) {
        List<Tensor> leaves = new ArrayList<>();
        for (int i = 0; i < all.size(); i++) {
            leaves.add(all.get(i).to(on).detach().requiresGrad(needed[i]));
        }
        return leaves;
    }

    private static Tensor fed(List<Tensor> t) {
        return dev.merapi.ops.FeedForwardOp.feedForward(t.get(0), t.get(1), t.get(2), t.get(3), t.get(4));
    }

    /** Sums of a handful of products, each rounded a few times on its way: against the largest, since they may cancel. */
    private static void near(String what, Tensor expected, Tensor actual) {
        double[] e = expected.to(DType.FLOAT64).toDoubleArray();
        double[] got = actual.to(DType.FLOAT64).toDoubleArray();
        assertEquals(e.length, got.length, what);
        double tolerance = 8
                * actual.dtype().epsilon()
                * Arrays.stream(e).map(Math::abs).max().orElse(0);
        assertArrayEquals(e, got, tolerance, what);
    }

    @Test
    void valuesAndGradients() {
        boolean[][] masks = {
            {true, true, true, true, true},
            {false, true, true, true, true},
            {true, false, false, false, true},
            {false, false, false, true, false}
        };
        for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT64)) {
            for (long hidden : new long[] {16, 13}) { // the second is none that the library serves
                for (boolean[] needed : masks) {
                    try (Scope scope = Scope.open()) {
                        List<Tensor> plain = operands(dtype, hidden);
                        List<Tensor> here = leaves(
                                plain.stream().map(t -> t.to(DType.FLOAT64)).toList(), Device.CPU, needed);
                        List<Tensor> there = leaves(plain, device, needed);
                        Tensor expected = fed(here);
                        Tensor actual = fed(there);
                        String what = dtype + " " + hidden;
                        near(what, expected, actual);
                        Tensor g = PointwiseTest.random(dtype, 6, 2, 5, 7);
                        Autograd.backward(expected, g.to(DType.FLOAT64), Autograd.Graph.FREE);
                        Autograd.backward(actual, g.to(device), Autograd.Graph.FREE);
                        for (int i = 0; i < 5; i++) {
                            assertEquals(needed[i], there.get(i).grad() != null, what + ", gradient " + i);
                            if (needed[i]) {
                                near(
                                        what + ", gradient " + i,
                                        java.util.Objects.requireNonNull(
                                                here.get(i).grad()),
                                        java.util.Objects.requireNonNull(
                                                there.get(i).grad()));
                            }
                        }
                    }
                }
            }
        }
    }

    @Test
    void gradientsOfTwoOrders() {
        boolean[] all = {true, true, true, true, true};
        List<Tensor> leaves = leaves(operands(DType.FLOAT64, 8), device, all);
        GradCheck.of(FeedForwardTest::fed, leaves).run().orThrow();
        GradCheck.second(FeedForwardTest::fed, leaves).run().orThrow();
        GradCheck.second(
                        in -> fed(List.of(
                                in.get(0),
                                leaves.get(1).detach(),
                                in.get(1),
                                leaves.get(3).detach(),
                                leaves.get(4).detach())),
                        List.of(leaves.get(0), leaves.get(2)))
                .run()
                .orThrow();
    }

    @Test
    void aLayerTrainsAlsoInBfloat16() {
        FeedForward layer = new FeedForward(8, 32);
        layer.to(device);
        Tensor x = PointwiseTest.random(DType.FLOAT32, 1, 6, 8).to(device).requiresGrad(true);
        List<Tensor> parameters =
                layer.parameters().stream().map(Parameter::tensor).toList();
        assertEquals(4, parameters.size());
        Autograd.backward(layer.forward(layer.forward(x)).square().sum());
        List<Tensor> expected = new ArrayList<>();
        parameters.forEach(
                p -> expected.add(java.util.Objects.requireNonNull(p.grad()).copy()));
        parameters.forEach(p -> p.setGrad(null));
        try (Autocast mode = Autocast.on(device.type(), DType.BFLOAT16)) {
            Tensor y = layer.forward(layer.forward(x)); // parameters are float32, and what the first returns is not
            assertEquals(DType.BFLOAT16, y.dtype());
            Autograd.backward(y.to(DType.FLOAT32).square().sum());
        }
        for (int i = 0; i < 4; i++) {
            Tensor grad = java.util.Objects.requireNonNull(parameters.get(i).grad());
            double error = grad.sub(expected.get(i)).abs().max().item();
            assertTrue(
                    error < 0.05 * expected.get(i).abs().max().item(),
                    parameters.get(i).describe() + ": " + error);
        }
    }

    /** Two products forward and four backward: no kernel of ours goes over the inner values. */
    @Test
    void productsDoTheRest() throws IOException, InterruptedException {
        try (Scope scope = Scope.open()) {
            List<Tensor> t = leaves(operands(DType.BFLOAT16, 16), device, new boolean[] {true, true, true, true, true});
            int before = FakeCublasLt.products();
            Tensor y = fed(t);
            assertEquals(2, FakeCublasLt.products() - before);
            Autograd.backward(y, y.onesLike(), Autograd.Graph.FREE);
            assertEquals(6, FakeCublasLt.products() - before);
        }
    }
}
