// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.autograd;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Autograd.Graph;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.backend.Backends;
import dev.merapi.device.Memory;
import dev.merapi.dispatch.Context;
import dev.merapi.error.DTypeException;
import dev.merapi.error.RegistrationException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.Op;
import dev.merapi.ops.Attention;
import dev.merapi.ops.BatchNorm;
import dev.merapi.ops.Convolution;
import dev.merapi.ops.Losses;
import dev.merapi.ops.Normalization;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Which precision each op gets, gradients through the conversions, and the life of the converted parameters. */
class AutocastTest {
    /** A device that no other test allocates on. */
    private static final Device DEVICE = Device.of(DeviceType.register("autocasts"), 0);

    public record XY(Tensor x, Tensor y) {}

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(DeviceType.register("autocasts")));
    }

    private static long live() {
        return Memory.stats(DEVICE).allocated();
    }

    private static Tensor weight(long... shape) {
        return Tensor.rand(Shape.of(shape), -1, 1, DType.FLOAT32, DEVICE).requiresGrad(true);
    }

    // ---------------------------------------------------------------- policies

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT16", "BFLOAT16"})
    void opsRunInThePrecisionOfTheirPolicy(DType low) {
        Tensor x = Tensor.rand(2, 4, 4);
        Tensor image = Tensor.rand(1, 2, 5, 5);
        Tensor half = Tensor.rand(4, 4).to(low);
        DType f32 = DType.FLOAT32;
        try (Autocast mode = Autocast.on(low)) {
            assertThat(x.matmul(x).dtype()).isEqualTo(low);
            assertThat(x.linear(Tensor.rand(3, 4), Tensor.rand(3)).dtype()).isEqualTo(low);
            assertThat(Attention.attention(image, image, image, true).dtype()).isEqualTo(low);
            assertThat(Convolution.conv2d(image, Tensor.rand(3, 2, 2, 2), null, 1, 0, 1, 1)
                            .dtype())
                    .isEqualTo(low);

            for (Tensor t : List.of(
                    half.softmax(-1),
                    half.logSoftmax(-1),
                    half.logSumExp(-1),
                    half.exp(),
                    half.log(),
                    half.pow(2),
                    half.sum(),
                    half.mean(0),
                    half.var(0),
                    half.cumsum(0),
                    Normalization.layerNorm(half, new long[] {4}, Tensor.rand(4), null, 1e-5),
                    Losses.mseLoss(half, half),
                    Losses.crossEntropy(half, Tensor.of(0L, 1L, 2L, 3L)))) {
                assertThat(t.dtype()).isEqualTo(f32);
            }

            // Untouched: they run in what they get, and promote by themselves.
            assertThat(half.relu().dtype()).isEqualTo(low);
            assertThat(half.gelu().dtype()).isEqualTo(low);
            assertThat(half.add(half).dtype()).isEqualTo(low);
            assertThat(half.add(x).dtype()).isEqualTo(f32);
            assertThat(x.add(x).dtype()).isEqualTo(f32);
            assertThat(Tensor.cat(List.of(half, Tensor.rand(4, 4)), 0).dtype()).isEqualTo(f32);
            assertThat(Tensor.where(half.gt(0), half, Tensor.rand(4, 4)).dtype())
                    .isEqualTo(f32);
            assertThat(Tensor.rand(2, 2)
                            .indexAdd(0, Tensor.of(0L), Tensor.ones(1, 2).to(low))
                            .dtype())
                    .isEqualTo(f32);
        }
        assertThat(x.matmul(x).dtype()).isEqualTo(f32);
    }

    @Test
    void doublesAndIntegersStay() {
        Tensor d = Tensor.rand(4, 4).to(DType.FLOAT64);
        Tensor i = Tensor.ones(DType.INT64, 4, 4);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            assertThat(d.matmul(d).dtype()).isEqualTo(DType.FLOAT64);
            assertThat(d.sum().dtype()).isEqualTo(DType.FLOAT64);
            assertThat(i.matmul(i).dtype()).isEqualTo(DType.INT64);
            assertThat(i.sum().dtype()).isEqualTo(DType.INT64);
            assertThatThrownBy(() -> d.matmul(Tensor.rand(4, 4)))
                    .isInstanceOf(DTypeException.class)
                    .hasMessageContaining("float64")
                    .hasMessageContaining("float32");
        }
    }

    @Test
    void batchNormNormalizesInFloat32() {
        Tensor x = Tensor.rand(4, 2, 3, 3).to(DType.BFLOAT16);
        Tensor mean = Tensor.zeros(2);
        Tensor var = Tensor.ones(2);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            Tensor y = BatchNorm.batchNorm(x, Tensor.ones(2), Tensor.zeros(2), mean, var, true, 0.1, 1e-5);
            assertThat(y.dtype()).isEqualTo(DType.FLOAT32);
        }
        assertThat(mean.toDoubleArray()[0]).isNotZero();
    }

    @Test
    void metaTensorsFollowTheSamePolicies() {
        Tensor x = Tensor.meta(Shape.of(2, 3), DType.FLOAT32, Device.CPU);
        try (Autocast mode = Autocast.on(DType.FLOAT16)) {
            Tensor y = x.matmul(x.t());
            assertThat(y.isMeta()).isTrue();
            assertThat(y.dtype()).isEqualTo(DType.FLOAT16);
            assertThat(y.softmax(0).dtype()).isEqualTo(DType.FLOAT32);
        }
    }

    @Test
    void customOpsDeclareAPolicyAsBuiltInOnesDo() {
        List<DType> seen = new ArrayList<>();
        for (CastPolicy policy : CastPolicy.values()) {
            Op<XY, Tensor> op = Op.define("test::autocast_" + policy.name().toLowerCase(), XY.class, Tensor.class)
                    .shape(a -> {
                        seen.add(a.x().dtype());
                        seen.add(a.y().dtype());
                        return Tensor.meta(a.x());
                    })
                    .kernel(DeviceType.CPU, (a, out) -> out.zero_())
                    .nonDifferentiable()
                    .autocast(policy)
                    .register();
            try (Autocast mode = Autocast.on(DType.FLOAT16)) {
                op.call(new XY(Tensor.ones(2), Tensor.ones(2).to(DType.BFLOAT16)));
            }
        }
        DType f32 = DType.FLOAT32;
        DType f16 = DType.FLOAT16;
        assertThat(seen).containsExactly(f32, DType.BFLOAT16, f16, f16, f32, f32, f32, f32);
    }

    @Test
    void opsInACompositionHaveTheirOwnPolicies() {
        Op<XY, Tensor> op = Op.define("test::autocast_composite", XY.class, Tensor.class)
                .compose(a -> a.x().matmul(a.y()).relu())
                .register();
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            Tensor x = Tensor.ones(2, 2);
            assertThat(op.call(new XY(x, x)).dtype()).isEqualTo(DType.BFLOAT16);
        }
    }

    @Test
    void anOpThatWritesItsArgumentsCannotHaveAPolicy() {
        assertThatThrownBy(() -> Op.define("test::autocast_writes_", XY.class, Tensor.class)
                        .mutates("x")
                        .autocast(CastPolicy.LOWER))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("writes its arguments");
    }

    // ---------------------------------------------------------------- modes

    @Test
    void modesNestAndEnd() {
        Tensor x = Tensor.ones(2, 2);
        assertThat(Autocast.dtype(DeviceType.CPU)).isNull();
        try (Autocast outer = Autocast.on(DType.BFLOAT16)) {
            try (Autocast inner = Autocast.on(DType.FLOAT16)) {
                assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT16);
                try (Autocast off = Autocast.off()) {
                    assertThat(Autocast.dtype(DeviceType.CPU)).isNull();
                    assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT32);
                }
                assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT16);
            }
            assertThat(Autocast.dtype(DeviceType.CPU)).isEqualTo(DType.BFLOAT16);
            try (Autocast off = Autocast.off(DeviceType.CPU)) {
                assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT32);
            }
        }
        assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT32);
        try (Autocast elsewhere = Autocast.on(DeviceType.CUDA, DType.BFLOAT16)) {
            assertThat(x.matmul(x).dtype()).isEqualTo(DType.FLOAT32);
        }
        assertThatThrownBy(() -> Autocast.on(DType.FLOAT32))
                .isInstanceOf(DTypeException.class)
                .hasMessageContaining("16-bit");
    }

    @Test
    void threadsHaveModesOfTheirOwnUnlessTheyAreHandedOver() throws Exception {
        Tensor w = Tensor.rand(2, 2).requiresGrad(true);
        List<DType> seen = new ArrayList<>();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            seen.add(w.matmul(w).dtype());
            Context.Snapshot modes = Context.current().capture();
            Thread worker = new Thread(() -> {
                try {
                    seen.add(w.matmul(w).dtype());
                    Context.current().install(modes);
                    Tensor y = w.matmul(w);
                    seen.add(y.dtype());
                    Autograd.backward(y.sum());
                    assertThatThrownBy(mode::close).isInstanceOf(IllegalStateException.class);
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
            worker.start();
            worker.join();
        }
        assertThat(failure.get()).isNull();
        assertThat(seen).containsExactly(DType.BFLOAT16, DType.FLOAT32, DType.BFLOAT16);
        assertThat(w.grad()).isNotNull();
    }

    // ---------------------------------------------------------------- gradients

    private record Parameters(Tensor in, Tensor inBias, Tensor norm, Tensor out) {
        List<Tensor> all() {
            return List.of(in, inBias, norm, out);
        }

        Parameters to(DType dtype) {
            return new Parameters(
                    in.detach().to(dtype).requiresGrad(true),
                    inBias.detach().to(dtype).requiresGrad(true),
                    norm.detach().to(dtype).requiresGrad(true),
                    out.detach().to(dtype).requiresGrad(true));
        }

        Tensor loss(Tensor x, Tensor targets) {
            Tensor h = x.linear(in, inBias).gelu();
            Tensor heads = h.view(4, 8, 2, 16).transpose(1, 2);
            Tensor mixed = Attention.attention(heads, heads, heads, true)
                    .transpose(1, 2)
                    .reshape(4, 8, 32);
            Tensor y = Normalization.layerNorm(h.add(mixed), new long[] {32}, norm, null, 1e-5);
            return Losses.crossEntropy(y.linear(out, null).view(32, 10), targets);
        }
    }

    private static double distance(Tensor a, Tensor b) {
        return a.to(DType.FLOAT64).sub(b).norm().item() / b.norm().item();
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"FLOAT16", "BFLOAT16"})
    void gradientsAgreeWithFloat64WithinTheRoundingOf16Bits(DType low) {
        Merapi.seed(1);
        Parameters single = new Parameters(
                        Tensor.randn(32, 20).mul(0.2),
                        Tensor.randn(32).mul(0.1),
                        Tensor.rand(32).add(0.5),
                        Tensor.randn(10, 32).mul(0.2))
                .to(DType.FLOAT32);
        Parameters exact = single.to(DType.FLOAT64);
        Tensor x = Tensor.randn(4, 8, 20);
        Tensor targets = Tensor.randint(0, 10, 32);
        Tensor expected = exact.loss(x.to(DType.FLOAT64), targets);
        Autograd.backward(expected);
        Tensor loss;
        try (Autocast mode = Autocast.on(low)) {
            loss = single.loss(x, targets);
        }
        assertThat(loss.dtype()).isEqualTo(DType.FLOAT32);
        Autograd.backward(loss);
        // A path through the net rounds to 16 bits about ten times, forward and backward, by half an epsilon each.
        double tolerance = 10 * low.epsilon();
        assertThat(Math.abs(loss.item() - expected.item())).isLessThan(tolerance * expected.item());
        for (int i = 0; i < 4; i++) {
            Tensor g = single.all().get(i).grad();
            assertThat(g.dtype()).isEqualTo(DType.FLOAT32);
            double error = distance(g, exact.all().get(i).grad());
            assertThat(error).as("gradient " + i).isLessThan(tolerance).isGreaterThan(low.epsilon() / 100);
        }
    }

    @Test
    void backwardRunsWithoutTheMode() {
        Tensor w = Tensor.rand(3, 3).requiresGrad(true);
        List<DType> seen = new ArrayList<>();
        Op<XY, Tensor> op = Op.define("test::autocast_backward", XY.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x()))
                .autograd((a, out) -> null, (context, saved, g) -> {
                    seen.add(g.matmul(g).dtype());
                    return dev.merapi.op.Grads.of("x", g).and("y", null);
                })
                .register();
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            Autograd.backward(op.call(new XY(w, w)).sum());
            assertThat(w.matmul(w).dtype()).isEqualTo(DType.BFLOAT16);
        }
        assertThat(seen).containsExactly(DType.FLOAT32);
    }

    @Test
    void secondDerivativesGoThroughTheConversions() {
        Tensor w = Tensor.of(new float[] {2}, 1, 1).requiresGrad(true);
        Tensor y;
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            y = w.matmul(w).matmul(w).sum();
        }
        Tensor first =
                Autograd.grad(List.of(y), List.of(w), null, Graph.CREATE, false).get(0);
        assertThat(first.item()).isEqualTo(12);
        assertThat(Autograd.grad(first.sum(), List.of(w)).get(0).item()).isEqualTo(12);
    }

    @Test
    void checkpointsRecomputeInTheModeOfTheForwardCall() {
        Tensor w = Tensor.rand(4, 4).requiresGrad(true);
        Tensor x = Tensor.rand(4, 4).requiresGrad(true);
        List<DType> seen = new ArrayList<>();
        List<double[]> gradients = new ArrayList<>();
        for (boolean checkpointed : new boolean[] {false, true}) {
            Tensor loss;
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                Tensor y = checkpointed
                        ? Checkpoint.checkpoint(
                                t -> {
                                    Tensor h = t.matmul(w).gelu().matmul(w);
                                    seen.add(h.dtype());
                                    return h.mul(h);
                                },
                                x)
                        : x.matmul(w).gelu().matmul(w).square();
                loss = y.sum();
            }
            Autograd.backward(loss);
            gradients.add(w.grad().toDoubleArray());
            w.setGrad(null);
        }
        assertThat(seen).hasSizeGreaterThanOrEqualTo(2).containsOnly(DType.BFLOAT16);
        assertThat(gradients.get(1)).containsExactly(gradients.get(0));
    }

    // ---------------------------------------------------------------- converted parameters

    @Test
    void aParameterIsConvertedOnceAndFreedWithTheOutermostMode() {
        Tensor w = weight(64, 64);
        Tensor x = Tensor.ones(Shape.of(1, 64), DType.BFLOAT16, DEVICE);
        long before = live();
        long copy = 64 * 64 * 2;
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            for (int i = 0; i < 5; i++) {
                try (Autocast inner = Autocast.on(DeviceType.CPU, DType.FLOAT16);
                        Scope step = Scope.open()) {
                    x.linear(w, null);
                }
                assertThat(live() - before).isEqualTo(copy);
            }
            try (Autocast off = Autocast.off()) {
                assertThat(live() - before).isEqualTo(copy);
            }
        }
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void whatIsNoParameterIsFreedAfterTheCall() {
        Tensor a = Tensor.ones(Shape.of(64, 64), DType.FLOAT32, DEVICE);
        long before = live();
        try (Autocast mode = Autocast.on(DType.BFLOAT16);
                Tensor y = a.matmul(a)) {
            assertThat(live() - before).isEqualTo(64 * 64 * 2);
        }
        assertThat(live()).isEqualTo(before);
    }

    @Test
    void whatBackwardWaitsForIsSixteenBitsWide() {
        Tensor w = weight(64, 64);
        Tensor x = weight(64, 64);
        long before = live();
        Tensor y;
        try (Scope step = Scope.open()) {
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                y = x.linear(w, null);
            }
            // The output, and both operands as they were multiplied.
            assertThat(live() - before).isEqualTo(3 * 64 * 64 * 2);
            Autograd.backward(y.sum());
        }
        assertThat(live() - before).isEqualTo(2 * 64 * 64 * 4); // the gradients
    }

    @Test
    void aWrittenParameterIsConvertedAgain() {
        Tensor w = Tensor.ones(1, 1).requiresGrad(true);
        Tensor x = Tensor.ones(1, 1);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            assertThat(x.linear(w, null).item()).isEqualTo(1);
            try (Autograd.Mode off = Autograd.noGrad()) {
                w.fill_(3);
                assertThat(x.linear(w, null).item()).isEqualTo(3);
            }
            Tensor y = x.linear(w, null);
            assertThat(y.item()).isEqualTo(3);
            Autograd.backward(y.sum());
            assertThat(w.grad().item()).isEqualTo(1);
        }
    }

    @Test
    void copiesMadeWithoutRecordingNeverHideAParameterFromBackward() {
        Tensor w = Tensor.ones(1, 1).requiresGrad(true);
        Tensor x = Tensor.ones(1, 1);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            try (Autograd.Mode off = Autograd.noGrad()) {
                assertThat(x.linear(w, null).requiresGrad()).isFalse();
            }
            try (Autograd.Mode off = Autograd.inference()) {
                assertThat(x.linear(w, null).isInference()).isTrue();
            }
            Tensor y = x.linear(w, null);
            Autograd.backward(y.sum());
            assertThat(w.grad().item()).isEqualTo(1);
            try (Autograd.Mode off = Autograd.inference()) {
                assertThat(x.linear(w, null).requiresGrad()).isFalse();
            }
        }
    }

    @Test
    void gradientsOfSeveralPassesInOneModeAddUp() {
        Tensor w = Tensor.ones(1, 1).requiresGrad(true);
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            for (int i = 0; i < 3; i++) {
                try (Scope step = Scope.open()) {
                    Autograd.backward(Tensor.ones(1, 1).linear(w, null).sum());
                }
            }
        }
        assertThat(w.grad().item()).isEqualTo(3);
    }

    @Test
    void trainingStepsInOneModeDoNotGrow() {
        Tensor w = weight(32, 32);
        w.setGrad(Tensor.zeros(w.shape(), DType.FLOAT32, DEVICE).leaveScope());
        Tensor x = Tensor.ones(Shape.of(4, 32), DType.FLOAT32, DEVICE);
        long before = live();
        try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
            for (int i = 0; i < 4; i++) {
                try (Scope step = Scope.open()) {
                    Autograd.backward(x.linear(w, null).sum());
                    try (Autograd.Mode off = Autograd.noGrad()) {
                        w.sub_(w.grad().mul(0.01));
                    }
                }
                assertThat(live() - before).isLessThanOrEqualTo(32 * 32 * 2);
            }
        }
        assertThat(live()).isEqualTo(before);
        assertThat(Elements.of(w.grad()).getDouble(0)).isEqualTo(16);
    }
}
