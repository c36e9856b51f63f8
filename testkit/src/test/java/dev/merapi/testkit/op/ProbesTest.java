// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.check.OpCheck;
import dev.merapi.error.ShapeException;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.ops.Arithmetic;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.Indexing;
import dev.merapi.ops.Normalization;
import dev.merapi.ops.Optimizers;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.Views;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Ten ops of ten kinds, each on the CPU and on a toy device: everything an op can be passes through here. */
class ProbesTest {
    private static final DeviceType TOY = DeviceType.register("toy");

    public record LeakyArgs(Tensor x, double slope) {}

    /** A user's op: one Java kernel, a shape rule and a formula. */
    static final Op<LeakyArgs, Tensor> LEAKY = Op.define("probe::leaky", LeakyArgs.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .reference((a, out) -> {
                Elements x = Elements.of(a.x());
                Elements y = Elements.of(out);
                for (long i = 0; i < x.numel(); i++) {
                    double v = x.getDouble(i);
                    y.setDouble(i, v > 0 ? v : a.slope() * v);
                }
            })
            .autograd((a, out) -> a, (context, a, g) -> Grads.of("x", g.where(a.x().gt(0), g.mul(a.slope()))));

    private record Probe<A extends Record, R>(String name, Op<A, R> op, A sample) {}

    @BeforeAll
    static void toyDevice() {
        Backends.register(new JavaBackend(TOY));
    }

    private static Tensor floats(Device device, double[] values, long... shape) {
        return Tensor.of(values, shape).to(device).detach().requiresGrad(true);
    }

    @SuppressWarnings("unchecked")
    private static List<Probe<?, ?>> probes(Device d) {
        Tensor m23 = floats(d, new double[] {1, -2, 3, 4, 5, -6}, 2, 3);
        Tensor v3 = floats(d, new double[] {0.5, 1, 2}, 3);
        Tensor one = Tensor.scalar(1, DType.FLOAT32).to(d);
        return List.of(
                new Probe<>(
                        "add, broadcast",
                        (Op<PointwiseArgs.XY, Tensor>) Arithmetic.ADD.op(),
                        new PointwiseArgs.XY(m23, v3, List.of())),
                new Probe<>("in place", CopyOps.COPY_INTO, new CopyOps.Into(m23, v3)),
                new Probe<>("transpose", Views.TRANSPOSE, new Views.Transpose(m23, 0, 1)),
                new Probe<>("split", Views.SPLIT, new Views.Split(m23, new long[] {1, 2}, 1)),
                new Probe<>("layerNorm", Normalization.LAYER_NORM, new Normalization.LayerNorm(m23, v3, null, 1, 1e-5)),
                new Probe<>("nonzero", Indexing.NONZERO, new Indexing.NonZero(m23.detach())),
                new Probe<>("dropout", RandomOps.DROPOUT, new RandomOps.Dropout(m23, 0.5, 7, 0, null)),
                new Probe<>(
                        "embedding",
                        Indexing.EMBEDDING,
                        new Indexing.Embedding(m23, Tensor.of(1L, 0L, 1L).to(d), -1)),
                new Probe<>(
                        "adamw",
                        Optimizers.ADAM,
                        new Optimizers.Adam(
                                List.of(m23.detach()),
                                List.of(m23.detach().mul(0.5)),
                                List.of(Tensor.zeros(Shape.of(2, 3), DType.FLOAT64, d)),
                                List.of(Tensor.zeros(Shape.of(2, 3), DType.FLOAT64, d)),
                                List.of(),
                                List.of(Tensor.zeros(Shape.SCALAR, DType.INT64, d)),
                                Tensor.scalar(0.1).to(d),
                                null,
                                null,
                                0.9,
                                0.99,
                                1e-8,
                                0.1,
                                true)),
                new Probe<>("a user's op", LEAKY, new LeakyArgs(m23, 0.1)));
    }

    private static Stream<DynamicTest> each(java.util.function.Consumer<Probe<?, ?>> test) {
        return Stream.of(Device.CPU, Device.of("toy"))
                .flatMap(d ->
                        probes(d).stream().map(p -> DynamicTest.dynamicTest(p.name() + " " + d, () -> test.accept(p))));
    }

    @TestFactory
    Stream<DynamicTest> passOpCheck() {
        return each(ProbesTest::opCheck);
    }

    private static <A extends Record, R> void opCheck(Probe<A, R> p) {
        OpCheck<A, R> check = OpCheck.of(p.op()).samples(List.of(p.sample()));
        if (p.op() == (Object) RandomOps.DROPOUT) {
            check.skip("second derivatives", "linear in x");
        }
        check.run().orThrow();
    }

    @TestFactory
    Stream<DynamicTest> areRebuiltAroundOtherTensors() {
        return each(ProbesTest::rebuilt);
    }

    /** As autocast does it: the record rebuilt around cast tensors, and the casts recorded. */
    private static <A extends Record, R> void rebuilt(Probe<A, R> p) {
        List<String> seen = new ArrayList<>();
        DispatchLayer autocast = new DispatchLayer() {
            @Override
            public <B extends Record, S> S call(Definition<B, S> op, B args, CallContext context, int below) {
                seen.add(op.name());
                Tensor[] tensors = op.schema().tensors(op.name(), args);
                boolean cast = !op.isMutating();
                for (int i = 0; i < tensors.length; i++) {
                    if (cast && tensors[i] != null && tensors[i].dtype() == DType.FLOAT64) {
                        tensors[i] = tensors[i].to(DType.FLOAT32);
                    }
                }
                B other = op.schema().rebuild(args, tensors);
                assertThat(op.schema().tensors(op.name(), other)).isEqualTo(tensors);
                return Layers.whole(op, other, context);
            }
        };
        A fresh = p.op().schema().rebuild(p.sample(), copies(p));
        R result;
        try (Layers.Pushed on = Layers.push(autocast)) {
            result = p.op().call(fresh);
        }
        assertThat(seen).containsExactly(p.op().name());
        for (Tensor t : p.op().result().tensors(p.op().name(), result)) {
            if (t.dtype().isFloating() && !p.op().definition().isMutating()) {
                assertThat(t.dtype()).isEqualTo(DType.FLOAT32);
            }
            if (t.requiresGrad() && !p.op().definition().isMutating()) {
                Autograd.backward(t, t.onesLike(), Autograd.Graph.RETAIN);
            }
        }
        for (Tensor t : p.op().schema().tensors(p.op().name(), fresh)) {
            assertThat(t == null || t.grad() == null || t.grad().dtype() == t.dtype())
                    .isTrue();
        }
    }

    private static <A extends Record, R> Tensor[] copies(Probe<A, R> p) {
        Tensor[] tensors = p.op().schema().tensors(p.op().name(), p.sample());
        for (int i = 0; i < tensors.length; i++) {
            Tensor t = tensors[i];
            boolean leaf = t != null && t.requiresGrad() && !p.op().definition().isMutating();
            tensors[i] = t == null
                    ? null
                    : leaf ? t.detach().copy().requiresGrad(true) : t.detach().copy();
        }
        return tensors;
    }

    @TestFactory
    Stream<DynamicTest> areTracedOnMetaTensors() {
        return each(ProbesTest::traced);
    }

    private static <A extends Record, R> void traced(Probe<A, R> p) {
        Tensor[] metas = p.op().schema().tensors(p.op().name(), p.sample());
        for (int i = 0; i < metas.length; i++) {
            metas[i] = metas[i] == null ? null : Tensor.meta(metas[i]);
        }
        A args = p.op().schema().rebuild(p.sample(), metas);
        if (p.op().definition().shape() == null && !p.op().definition().isView()) {
            assertThatThrownBy(() -> p.op().call(args))
                    .isInstanceOf(ShapeException.class)
                    .hasMessageContaining(p.op().name());
            return;
        }
        R real = Autograd.noGrad(() -> p.op().call(p.op().schema().rebuild(p.sample(), copies(p))));
        R traced = p.op().call(args);
        Tensor[] expected = p.op().result().tensors(p.op().name(), real);
        Tensor[] actual = p.op().result().tensors(p.op().name(), traced);
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < actual.length; i++) {
            assertThat(actual[i].isMeta()).isTrue();
            assertThat(actual[i].describe()).isEqualTo(expected[i].describe());
        }
    }

    @Test
    void aTracerSeesAWholeTrainingStepOnMetaTensors() {
        Tensor w = Tensor.meta(Shape.of(3, 4), DType.FLOAT32, Device.CPU).requiresGrad(true);
        Tensor x = Tensor.meta(Shape.of(2, 4), DType.FLOAT32, Device.CPU);
        List<String> names = new ArrayList<>();
        DispatchLayer tracer = new DispatchLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                names.add(op.name());
                return Layers.below(op, args, context, below);
            }
        };
        try (Layers.Pushed trace = Layers.push(tracer)) {
            Tensor loss = x.matmul(w.transpose(0, 1)).relu().mean();
            Autograd.backward(loss, Tensor.meta(loss), Autograd.Graph.FREE);
        }
        assertThat(names).startsWith("merapi::transpose", "merapi::matmul", "merapi::relu", "merapi::mean");
        assertThat(names.size()).as("and the backward").isGreaterThan(6);
        assertThat(w.grad().shape()).isEqualTo(Shape.of(3, 4));
    }
}
