// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.backend.Backends;
import dev.merapi.dispatch.BackendChoice;
import dev.merapi.dispatch.CallLayer;
import dev.merapi.dispatch.Context;
import dev.merapi.dispatch.Dispatcher;
import dev.merapi.error.AliasException;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DeviceException;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.OpResultException;
import dev.merapi.error.ShapeException;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.reference.JavaBackend;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** What a call does below autograd: shapes, layouts, mutation, aliasing, devices; and checked mode. */
class CallTest {
    private static final DeviceType TOY = DeviceType.register("toy");

    public record X(Tensor x) {}

    public record XY(Tensor x, Tensor y) {}

    @BeforeAll
    static void toyDevice() {
        Backends.register(new JavaBackend(TOY));
    }

    @AfterEach
    void uncheck() {
        Merapi.checked(Boolean.getBoolean("merapi.checked"));
        Context.current().setStrictMutation(false);
    }

    private static Op<X, Tensor> doubling() {
        return Op.define("test::doubling", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        Elements.of(out).setDouble(i, 2 * Elements.of(a.x()).getDouble(i));
                    }
                });
    }

    // ---------------------------------------------------------------- layouts and meta

    @Test
    void inputsArriveContiguousUnlessStridesAreDeclared() {
        boolean[] contiguous = new boolean[1];
        Tensor t = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2).transpose(0, 1);
        Op<X, Tensor> op = Op.define("test::layout", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> contiguous[0] = a.x().isContiguous());
        op.call(new X(t));
        assertThat(contiguous[0]).isTrue();
        op.stridesOk().call(new X(t));
        assertThat(contiguous[0]).isFalse();
    }

    @Test
    void copiesThatWereMadeContiguousAreGivenBack() {
        Tensor t = Tensor.of(new float[5000], 50, 100).transpose(0, 1);
        Op<X, Tensor> op = doubling();
        try (Tensor warm = op.call(new X(t))) {
            long before = BackendChoice.allocator(Device.CPU).stats().allocated();
            try (Tensor y = op.call(new X(t))) {
                assertThat(BackendChoice.allocator(Device.CPU).stats().allocated() - before)
                        .isLessThan(2 * warm.numel() * 4);
            }
        }
    }

    @Test
    void theShapeRuleAloneRunsOnMetaTensors() {
        Tensor y = doubling().call(new X(Tensor.meta(Shape.of(3, 4), DType.FLOAT16, Device.CPU)));
        assertThat(y.isMeta()).isTrue();
        assertThat(y.describe()).isEqualTo("float16[3, 4] cpu");
        assertThatThrownBy(() -> y.toDoubleArray())
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("meta");
    }

    @Test
    void metaAndRealInputsDoNotMix() {
        Tensor real = Tensor.of(1f);
        assertThatThrownBy(() -> real.add(Tensor.meta(real)))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("merapi::add: some inputs have memory and some are meta");
    }

    @Test
    void dataDependentResultsHaveNoMetaForm() {
        Op<X, Tensor> nonzero = Op.define("test::nonzero", X.class, Tensor.class)
                .returningReference(a -> {
                    List<Long> found = new ArrayList<>();
                    for (long i = 0; i < a.x().numel(); i++) {
                        if (Elements.of(a.x()).getDouble(i) != 0) {
                            found.add(i);
                        }
                    }
                    return Tensor.of(found.stream().mapToLong(i -> i).toArray());
                })
                .nonDifferentiable();
        assertThat(nonzero.call(new X(Tensor.of(0f, 3f, 0f, 4f))).toLongArray()).containsExactly(1, 3);
        assertThatThrownBy(() -> nonzero.call(new X(Tensor.meta(Tensor.of(1f)))))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("has no shape rule");
    }

    @Test
    void emptyResultsNeedNoKernel() {
        Op<X, Tensor> op = Op.define("test::empty", X.class, Tensor.class).shape(a -> Tensor.meta(a.x()));
        assertThat(op.call(new X(Tensor.zeros(0, 3))).shape()).isEqualTo(Shape.of(0, 3));
        assertThatThrownBy(() -> op.call(new X(Tensor.zeros(1)))).isInstanceOf(MissingKernelException.class);
    }

    @Test
    void aShapeRuleMayNotReturnATensorWithMemory() {
        Op<X, Tensor> op =
                Op.define("test::same", X.class, Tensor.class).shape(X::x).reference((a, out) -> {});
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1f))))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("has memory already");
    }

    // ---------------------------------------------------------------- devices

    @Test
    void tensorsOnTwoDevicesAreRefusedNamingBoth() {
        Tensor here = Tensor.of(1f);
        Tensor there = here.to(Device.of("toy"));
        assertThatThrownBy(() -> here.add(there))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("x: float32[1] cpu")
                .hasMessageContaining("y: float32[1] toy:0")
                .hasMessageContaining("to(device)");
        assertThat(there.add(there).to(Device.CPU).item()).isEqualTo(2);
    }

    @Test
    void eachDeviceHasItsOwnKernel() {
        Op<X, Tensor> op = Op.define("test::where", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> Elements.of(out).setDouble(0, 1))
                .kernel(TOY, (a, out) -> Elements.of(out).setDouble(0, 2));
        Tensor x = Tensor.of(0f);
        assertThat(op.call(new X(x)).item()).isEqualTo(1);
        assertThat(op.call(new X(x.to(Device.of("toy")))).item()).isEqualTo(2);
    }

    @Test
    void anUnknownDeviceSaysWhatWasTried() {
        assertThatThrownBy(
                        () -> Tensor.zeros(Shape.of(1), DType.FLOAT32, Device.of(DeviceType.register("nodevice"), 0)))
                .isInstanceOf(DeviceException.class)
                .hasMessageContaining("nodevice: no backend");
        assertThatThrownBy(() -> Tensor.of(1f).to(Device.of("toy:3"))).isInstanceOf(DeviceException.class);
    }

    @Test
    void closedInputsAreRefused() {
        Tensor x = Tensor.of(1f);
        x.close();
        assertThatThrownBy(() -> x.add(Tensor.of(1f)))
                .isInstanceOf(ClosedTensorException.class)
                .hasMessageContaining("merapi::add: argument 'x'")
                .hasMessageContaining("closed");
        assertThatThrownBy(() -> x.transpose(0, 0)).isInstanceOf(ClosedTensorException.class);
        assertThatThrownBy(x::item).isInstanceOf(ClosedTensorException.class);
    }

    // ---------------------------------------------------------------- mutation and aliasing

    private static Op<XY, Tensor> addInto() {
        return Op.define("test::add_into", XY.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(XY::x)
                .reference((a, out) -> {
                    for (long i = 0; i < out.numel(); i++) {
                        double sum = Elements.of(a.x()).getDouble(i)
                                + Elements.of(a.y()).getDouble(i);
                        Elements.of(out).setDouble(i, sum);
                    }
                })
                .nonDifferentiable();
    }

    @Test
    void aDeclaredWriteRaisesTheVersionByOneAndTheOthersStay() {
        Tensor x = Tensor.of(1f, 2f);
        Tensor y = Tensor.of(10f, 20f);
        Tensor view = x.slice(0, 0, 1);
        int before = x.version();
        assertThat(addInto().call(new XY(x, y))).isSameAs(x);
        assertThat(x.toDoubleArray()).containsExactly(11, 22);
        assertThat(x.version()).isEqualTo(before + 1);
        assertThat(view.version()).as("shared by views").isEqualTo(x.version());
        assertThat(y.version()).isZero();
    }

    @Test
    void aKernelWithoutStridesWritesToAStridedDestinationThroughACopy() {
        Tensor base = Tensor.of(new float[] {1, 2, 3, 4}, 2, 2);
        Tensor x = base.transpose(0, 1);
        boolean[] contiguous = new boolean[1];
        Op<XY, Tensor> op = Op.define("test::rowmajor", XY.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(XY::x)
                .reference((a, out) -> {
                    contiguous[0] = out.isContiguous() && a.x() == out;
                    Elements.of(out).setDouble(1, 50);
                })
                .nonDifferentiable();
        assertThat(op.call(new XY(x, Tensor.of(0f)))).isSameAs(x);
        assertThat(contiguous[0]).isTrue();
        assertThat(base.toDoubleArray()).containsExactly(1, 2, 50, 4);
    }

    @Test
    void aDestinationThatOverlapsItselfIsRefused() {
        Tensor x = Tensor.of(1f).expand(3);
        assertThatThrownBy(() -> addInto().call(new XY(x, Tensor.of(1f, 2f, 3f))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("elements overlap")
                .hasMessageContaining("copy()");
    }

    @Test
    void anInputThatPartlyOverlapsTheDestinationIsCopiedFirst() {
        Tensor base = Tensor.of(1f, 2f, 3f, 4f);
        addInto().call(new XY(base.slice(0, 1, 4), base.slice(0, 0, 3)));
        assertThat(base.toDoubleArray()).containsExactly(1, 3, 5, 7);
        Tensor same = Tensor.of(1f, 2f);
        addInto().call(new XY(same, same));
        assertThat(same.toDoubleArray()).containsExactly(2, 4);
    }

    @Test
    void aReturningKernelMayNotReturnItsInput() {
        Op<X, Tensor> op = Op.define("test::identity", X.class, Tensor.class).returningReference(X::x);
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1f))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("shares memory with an input")
                .hasMessageContaining("copy()");
        Op<X, Tensor> view =
                Op.define("test::part", X.class, Tensor.class).returningReference(a -> a.x().slice(0, 0, 0));
        assertThatThrownBy(() -> view.call(new X(Tensor.of(1f)))).isInstanceOf(AliasException.class);
        Tensor strided = Tensor.of(new float[4], 2, 2).transpose(0, 1);
        assertThatThrownBy(() -> op.call(new X(strided))).as("its copy").isInstanceOf(AliasException.class);
    }

    @Test
    void aNonDifferentiableWriteToSomethingInAGraphIsRefused() {
        Tensor leaf = Tensor.of(1f).requiresGrad(true);
        assertThatThrownBy(() -> addInto().call(new XY(leaf, Tensor.of(1f))))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("requires a gradient");
        Autograd.noGrad(() -> addInto().call(new XY(leaf, Tensor.of(1f))));
        assertThat(leaf.item()).isEqualTo(2);
    }

    public record Both(List<Tensor> xs, Tensor step) {}

    @Test
    void listsOfDestinationsAreWritten() {
        Op<Both, Void> op = Op.define("test::decrease", Both.class, Result.none())
                .mutates("xs")
                .reference((a, out) -> a.xs().forEach(x -> Elements.of(x)
                        .setDouble(
                                0,
                                Elements.of(x).getDouble(0)
                                        - Elements.of(a.step()).getDouble(0))))
                .nonDifferentiable();
        Tensor a = Tensor.of(5f);
        Tensor b = Tensor.of(7f);
        Tensor step = Tensor.of(1f);
        assertThat(op.call(new Both(List.of(a, b), step))).isNull();
        assertThat(a.item()).isEqualTo(4);
        assertThat(b.item()).isEqualTo(6);
        assertThat(a.version()).isEqualTo(1);
        assertThat(step.version()).isZero();
    }

    // ---------------------------------------------------------------- checked mode

    @Test
    void checkedModeFindsAnUndeclaredWriteOfOneBit() {
        Op<X, Tensor> op = Op.define("test::sly", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    Elements.of(out).setDouble(0, 1);
                    Elements.of(a.x())
                            .setDouble(0, Math.nextUp(Elements.of(a.x()).getDouble(0)));
                });
        op.call(new X(Tensor.of(1.0)));
        Merapi.checked(true);
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1.0))))
                .isInstanceOf(AliasException.class)
                .hasMessageContaining("test::sly: its kernel wrote to argument 'x'");
    }

    @Test
    void checkedModeFindsUnwrittenOutputsAndRandomOnes() {
        Merapi.checked(true);
        Op<X, Tensor> partial = Op.define("test::partial", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, 1));
        assertThat(partial.call(new X(Tensor.of(1f))).item()).isEqualTo(1);
        assertThatThrownBy(() -> partial.call(new X(Tensor.of(1f, 2f))))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("element 1 of 'output'")
                .hasMessageContaining("not written");
        int[] calls = {0};
        Op<X, Tensor> random = Op.define("test::random", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, calls[0]++));
        assertThatThrownBy(() -> random.call(new X(Tensor.of(1f))))
                .hasMessageContaining("differs between two runs")
                .hasMessageContaining("nondeterministic()");
        random.nondeterministic().call(new X(Tensor.of(1f)));
    }

    @Test
    void checkedModeFindsADeclaredWriteThatNeverHappens() {
        Op<XY, Tensor> op = Op.define("test::idle", XY.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(XY::x)
                .reference((a, out) -> {})
                .nonDifferentiable();
        Merapi.checked(true);
        op.call(new XY(Tensor.of(1f), Tensor.of(1f)));
        Context.current().setStrictMutation(true);
        assertThatThrownBy(() -> op.call(new XY(Tensor.of(1f), Tensor.of(1f))))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("nothing changed");
    }

    @Test
    void checkedModeFindsABackwardThatWritesIntoItsGradient() {
        Op<X, Tensor> op = doubling().autograd((a, out) -> null, (context, s, g) -> Grads.of("x", g.mul_(2)));
        Tensor x = Tensor.of(1f).requiresGrad(true);
        Merapi.checked(true);
        assertThatThrownBy(() -> Autograd.backward(op.call(new X(x))))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("wrote into the gradient");
    }

    @Test
    void determinismRefusesOpsThatCannotPromiseIt() {
        Op<X, Tensor> op = doubling().nondeterministic();
        Merapi.deterministic(true);
        try {
            assertThatThrownBy(() -> op.call(new X(Tensor.of(1f))))
                    .isInstanceOf(MissingKernelException.class)
                    .hasMessageContaining("not deterministic");
        } finally {
            Merapi.deterministic(false);
        }
    }

    // ---------------------------------------------------------------- composites, internal outputs, layers

    @Test
    void aCompositeExpandsAboveAutogradAndFreesWhatItMadeOnTheWay() {
        List<Tensor> made = new ArrayList<>();
        Op<X, Tensor> op = Op.define("test::composite", X.class, Tensor.class).compose(a -> {
            Tensor square = a.x().mul(a.x());
            made.add(square);
            return square.mul(a.x());
        });
        Tensor x = Tensor.of(2.0).requiresGrad(true);
        Tensor y = op.call(new X(x));
        assertThat(made.get(0).isClosed()).isTrue();
        assertThat(y.isClosed()).isFalse();
        Autograd.backward(y);
        assertThat(x.grad().item()).isEqualTo(12);
        assertThat(op.call(new X(Tensor.meta(x))).isMeta()).isTrue();
    }

    @Test
    void compositionServesWhereThereIsNoKernel() {
        Op<X, Tensor> op = Op.define("test::composed", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .compose(a -> a.x().mul(a.x()));
        assertThat(op.call(new X(Tensor.of(3f))).item()).isEqualTo(9);
        assertThat(op.kernel(TOY, (a, out) -> Elements.of(out).setDouble(0, -1))
                        .call(new X(Tensor.of(3f).to(Device.of("toy"))))
                        .item())
                .isEqualTo(-1);
    }

    public record Normed(Tensor y, Tensor mean) {}

    static Op<X, Normed> normed() {
        return Op.define("test::normed", X.class, Normed.class)
                .internal("mean")
                .shape(a -> new Normed(Tensor.meta(a.x()), Tensor.meta(a.x(), Shape.SCALAR)))
                .reference((a, out) -> {
                    double sum = 0;
                    for (long i = 0; i < a.x().numel(); i++) {
                        sum += Elements.of(a.x()).getDouble(i);
                    }
                    Elements.of(out.mean()).setDouble(0, sum / a.x().numel());
                    for (long i = 0; i < a.x().numel(); i++) {
                        double v = Elements.of(a.x()).getDouble(i);
                        Elements.of(out.y()).setDouble(i, v * sum / a.x().numel());
                    }
                })
                .autograd(
                        (a, out) -> new Normed(a.x(), out.mean()),
                        (context, s, g) -> Grads.of(
                                "x",
                                g.y().mul(s.mean()).add(g.y().mul(s.y()).sum().mul(1.0 / s.y().numel()))));
    }

    @Test
    void internalOutputsAreClosedWhenTheCallReturns() {
        Normed inference = normed().call(new X(Tensor.of(1.0, 2.0)));
        assertThat(inference.mean().isClosed()).isTrue();
        assertThat(inference.y().toDoubleArray()).containsExactly(1.5, 3);
        Tensor x = Tensor.of(1.0, 2.0).requiresGrad(true);
        Normed recorded = normed().call(new X(x));
        assertThat(recorded.mean().isClosed()).isTrue();
        Autograd.backward(recorded.y().sum());
        assertThat(x.grad().toDoubleArray()).containsExactly(3, 3);
    }

    @Test
    void aLayerSeesEveryCallAndMayRebuildArguments() {
        List<String> names = new ArrayList<>();
        DispatchLayer tracer = new DispatchLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
                names.add(op.name());
                return Layers.below(op, args, context, below);
            }
        };
        CallLayer half = new CallLayer() {
            @Override
            public <A extends Record, R> R call(Definition<A, R> op, A args, Context context, int below) {
                Tensor[] tensors = op.schema().tensors(op.name(), args);
                for (int i = 0; i < tensors.length; i++) {
                    tensors[i] = tensors[i] == null || !tensors[i].dtype().isFloating()
                            ? tensors[i]
                            : tensors[i].to(DType.BFLOAT16);
                }
                return Dispatcher.below(op, op.schema().rebuild(args, tensors), context, below);
            }
        };
        Context context = Context.current();
        Tensor x = Tensor.of(2f).requiresGrad(true);
        Tensor y;
        try (Layers.Pushed trace = Layers.push(tracer)) {
            context.setAutocast(half);
            y = x.mul(x);
        } finally {
            context.setAutocast(null);
        }
        assertThat(names).containsExactly("merapi::mul");
        assertThat(y.dtype()).isEqualTo(DType.BFLOAT16);
        Autograd.backward(y);
        assertThat(x.grad().dtype()).as("the casts were recorded").isEqualTo(DType.FLOAT32);
        assertThat(x.grad().item()).isEqualTo(4);
    }

    @Test
    void exceptionsOfKernelsLeaveTheThreadAsItWas() {
        Op<X, Tensor> op = Op.define("test::throws", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> {
                    throw new IllegalArgumentException("kernel");
                });
        assertThatThrownBy(() -> op.call(new X(Tensor.of(1f)))).hasMessage("kernel");
        Tensor x = Tensor.of(3f).requiresGrad(true);
        Tensor y = x.mul(x);
        assertThat(y.requiresGrad()).isTrue();
        long limbo = BackendChoice.allocator(Device.CPU).stats().liveBlocks();
        Tensor big = Tensor.zeros(4096);
        big.close();
        assertThat(BackendChoice.allocator(Device.CPU).stats().liveBlocks()).isEqualTo(limbo);
    }
}
