// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.MissingKernelException;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SchemaException;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.op.Result;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Names, schemas, pieces and their registration. */
class RegistrationTest {
    public record X(Tensor x) {}

    private static <A extends Record> Kernel<A, Tensor> filling(double value) {
        return (a, out) -> {
            Elements e = Elements.of(out);
            for (long i = 0; i < e.numel(); i++) {
                e.setDouble(i, value);
            }
        };
    }

    private static Op<X, Tensor> unary(String name) {
        return Op.define(name, X.class, Tensor.class).shape(a -> Tensor.meta(a.x()));
    }

    private static double run(Op<X, Tensor> op) {
        return op.call(new X(Tensor.of(0f))).item();
    }

    @AfterEach
    void forgetOps() {
        for (Op<?, ?> op : OpRegistry.all()) {
            if (op.name().startsWith("regtest::")) {
                OpRegistry.destroy(op.name());
            }
        }
    }

    // ---------------------------------------------------------------- names

    @ParameterizedTest
    @ValueSource(strings = {"prim", "prims", "aten", "at", "torch", "pytorch", "merapi"})
    void reservedNamespacesAreRefused(String namespace) {
        // This test lives in a package of the engine's, so it asks as somebody else would.
        if (!namespace.equals("merapi")) {
            assertThatThrownBy(() -> unary(namespace + "::f"))
                    .isInstanceOf(SchemaException.class)
                    .hasMessageContaining("'" + namespace + "' is a reserved namespace");
        }
    }

    @Test
    void aNameNeedsANamespace() {
        assertThatThrownBy(() -> unary("foo"))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("expected a namespace")
                .hasMessageContaining("mylib::foo");
    }

    @ParameterizedTest
    @ValueSource(strings = {"a.b::f", "ns::f.overload", "a::b::c", "::f", "ns::", "1a::f", "ns::f g"})
    void malformedNamesAreRefused(String name) {
        assertThatThrownBy(() -> unary(name))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining(name);
    }

    @Test
    void aSecondDefinitionNamesBothPlaces() {
        unary("regtest::twice").register();
        assertThatThrownBy(() -> unary("regtest::twice").register())
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("first: RegistrationTest.java:")
                .hasMessageContaining("second: RegistrationTest.java:");
    }

    @Test
    void destroyFreesTheName() {
        unary("regtest::gone").register();
        OpRegistry.destroy("regtest::gone");
        assertThatThrownBy(() -> OpRegistry.get("regtest::gone"))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("could not find the op regtest::gone");
        Op<X, Tensor> again = unary("regtest::gone").register();
        assertThat(OpRegistry.get("regtest::gone")).isSameAs(again);
        assertThatThrownBy(() -> OpRegistry.destroy("regtest::never")).isInstanceOf(RegistrationException.class);
    }

    // ---------------------------------------------------------------- schemas

    public enum Mode {
        MEAN,
        SUM
    }

    public record Inner(Tensor weight, @Nullable Tensor bias) {}

    public record Everything(
            Tensor x,
            @Nullable Tensor mask,
            Optional<Tensor> other,
            List<Tensor> parts,
            List<@Nullable Tensor> holes,
            @Nullable List<Tensor> rest,
            long n,
            int k,
            double slope,
            boolean flag,
            String name,
            DType dtype,
            Device device,
            Number scalar,
            Mode mode,
            long[] sizes,
            int[] dims,
            double[] values,
            List<Boolean> flags,
            Inner inner) {}

    @Test
    void theSchemaIsReadOffTheRecord() {
        Op<Everything, Tensor> op = Op.define("regtest::everything", Everything.class, Tensor.class)
                .mutates("mask", "parts")
                .defaultValue("slope", 0.5)
                .defaultValue("name", "a")
                .defaultValue("other", null);
        assertThat(op.schemaText())
                .isEqualTo("regtest::everything(Tensor x, Tensor(a1!)? mask, Tensor? other=None, Tensor(a3!)[] parts,"
                        + " Tensor?[] holes, Tensor[]? rest, int n, int k, float slope=0.5, bool flag, str name=\"a\","
                        + " DType dtype, Device device, Scalar scalar, Mode mode, int[] sizes, int[] dims,"
                        + " float[] values, bool[] flags, (Tensor weight, Tensor? bias) inner) -> Tensor");
        assertThat(op.toString()).isEqualTo("Op(regtest::everything)");
    }

    public record WithMap(Tensor x, Map<String, Tensor> extra) {}

    public record WithArray(Tensor x, boolean[] flags) {}

    public record Hidden(Tensor x) {}

    private record Private(Tensor x) {}

    @Test
    void unsupportedTypesAreNamedWithWhatIsAllowed() {
        assertThatThrownBy(() -> Op.define("regtest::map", WithMap.class, Tensor.class))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("component extra has the unsupported type")
                .hasMessageContaining("allowed: Tensor, long,");
        assertThatThrownBy(() -> Op.define("regtest::array", WithArray.class, Tensor.class))
                .hasMessageContaining("use List<Boolean>");
        assertThatThrownBy(() -> Op.define("regtest::result", X.class, String.class))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("result type java.lang.String is not supported");
    }

    @Test
    void privateRecordsNeedALookup() {
        assertThatThrownBy(() -> Op.define("regtest::private", Private.class, Tensor.class))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("Op.define(MethodHandles.lookup()");
        Op<Private, Tensor> op = Op.define(
                        java.lang.invoke.MethodHandles.lookup(), "regtest::private", Private.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .reference(filling(3));
        assertThat(op.call(new Private(Tensor.of(0f))).item()).isEqualTo(3);
    }

    @Test
    void absentValuesForRequiredArgumentsAreRefused() {
        Op<X, Tensor> op = unary("regtest::required").reference(filling(1));
        assertThatThrownBy(() -> op.call(new X(null)))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("argument 'x' is null")
                .hasMessageContaining("declare the component @Nullable");
    }

    // ---------------------------------------------------------------- calls by name

    public record Named(
            Tensor x,
            double slope,
            long n,
            boolean flag,
            @Nullable Tensor bias) {}

    private static Op<Named, Tensor> named() {
        return Op.define("regtest::named", Named.class, Tensor.class)
                .defaultValue("slope", 0.25)
                .defaultValue("n", 3)
                .defaultValue("flag", true)
                .shape(a -> Tensor.meta(a.x()))
                .reference((a, out) -> Elements.of(out).setDouble(0, a.slope() * a.n() + (a.flag() ? 100 : 0)));
    }

    @Test
    void callsByNameTakeDefaults() {
        Tensor x = Tensor.of(0f);
        assertThat(named().call(Map.of("x", x)).item()).isEqualTo(100.75);
        assertThat(named().call(Map.of("x", x, "n", 4, "flag", false)).item()).isEqualTo(1);
        assertThat(named().call(Map.of("x", x, "slope", 2)).item())
                .as("int to double")
                .isEqualTo(106);
        assertThat(OpRegistry.all()).noneMatch(op -> op.name().equals("regtest::named"));
    }

    @Test
    void callsByNameRefuseWhatDoesNotFit() {
        Tensor x = Tensor.of(0f);
        assertThatThrownBy(() -> named().call(Map.of("slope", 1.0)))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("is missing a value for argument 'x'")
                .hasMessageContaining("schema: regtest::named(Tensor x, float slope=0.25");
        assertThatThrownBy(() -> named().call(Map.of("x", x, "y", 1))).hasMessageContaining("unknown arguments [y]");
        assertThatThrownBy(() -> named().call(Map.of("x", x, "n", 1.5)))
                .hasMessageContaining("argument 'n' takes long, but got Double 1.5");
        assertThatThrownBy(() -> named().call(Map.of("x", 1))).hasMessageContaining("argument 'x' takes Tensor");
        assertThatThrownBy(() -> named().call(Map.of("x", x, "flag", 1))).hasMessageContaining("takes boolean");
    }

    @Test
    void defaultsMustFitTheirArgument() {
        assertThatThrownBy(() -> named().defaultValue("nosuch", 1)).isInstanceOf(SchemaException.class);
        Op<Named, Tensor> bare = Op.define("regtest::bare", Named.class, Tensor.class);
        assertThatThrownBy(() -> bare.defaultValue("n", "many")).hasMessageContaining("'n' takes long");
        assertThatThrownBy(() -> bare.defaultValue("x", null)).hasMessageContaining("not optional");
        assertThatThrownBy(() -> bare.defaultValue("x", Tensor.of(1f))).hasMessageContaining("can only be null");
    }

    // ---------------------------------------------------------------- pieces

    @Test
    void aSecondPieceNamesBothPlacesAndChangesNothing() {
        Op<X, Tensor> op = unary("regtest::dup").kernel(DeviceType.CPU, filling(1));
        assertThatThrownBy(() -> op.kernel(DeviceType.CPU, filling(2)))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("regtest::dup")
                .hasMessageContaining("registered at RegistrationTest.java:")
                .hasMessageContaining("second registration: RegistrationTest.java:");
        assertThat(run(op)).isEqualTo(1);
        assertThatThrownBy(() -> op.shape(a -> Tensor.meta(a.x()))).isInstanceOf(RegistrationException.class);
    }

    @Test
    void aFailedRegistrationOfSeveralPiecesLeavesNoTrace() {
        Op<X, Tensor> op = unary("regtest::atomic").kernel(DeviceType.CPU, filling(1), DType.FLOAT64);
        assertThatThrownBy(() -> op.kernel(DeviceType.CPU, filling(2), DType.FLOAT32, DType.FLOAT64))
                .isInstanceOf(RegistrationException.class);
        assertThatThrownBy(() -> run(op)).isInstanceOf(MissingKernelException.class);
        op.backward(X.class, (context, s, g) -> Grads.of("x", g));
        assertThatThrownBy(() -> op.autograd((a, out) -> null, (context, s, g) -> Grads.of("x", g)))
                .isInstanceOf(RegistrationException.class);
        assertThat(op.definition().hasSave()).isFalse();
    }

    @Test
    void replaceTakesThePlaceForGood() {
        Op<X, Tensor> op = unary("regtest::replace").kernel(DeviceType.CPU, filling(1));
        assertThat(run(op)).isEqualTo(1);
        op.replaceKernel(DeviceType.CPU, filling(2));
        assertThat(run(op)).isEqualTo(2);
    }

    @Test
    void overridesHoldForAWhileAndNest() {
        Op<X, Tensor> op = unary("regtest::over").kernel(DeviceType.CPU, filling(1));
        try (Op.Override<X, Tensor> outer = op.override().kernel(DeviceType.CPU, filling(2))) {
            assertThat(run(op)).isEqualTo(2);
            try (Op.Override<X, Tensor> inner = op.override().kernel(DeviceType.CPU, filling(3))) {
                assertThat(run(op)).isEqualTo(3);
                outer.close();
                assertThat(run(op)).as("closed in another order").isEqualTo(3);
            }
            assertThat(run(op)).isEqualTo(1);
            assertThatThrownBy(() -> outer.kernel(DeviceType.CPU, filling(4)))
                    .isInstanceOf(RegistrationException.class)
                    .hasMessageContaining("closed");
        }
        assertThat(run(op)).isEqualTo(1);
    }

    @Test
    void aPermanentPieceMayArriveUnderAnOverride() {
        Op<X, Tensor> op = unary("regtest::under");
        try (var over = op.override().kernel(DeviceType.CPU, filling(2))) {
            op.kernel(DeviceType.CPU, filling(1));
            assertThat(run(op)).isEqualTo(2);
        }
        assertThat(run(op)).isEqualTo(1);
    }

    @Test
    void disabledKernelsFallBackToTheReference() {
        Op<X, Tensor> op =
                unary("regtest::disable").kernel(DeviceType.CPU, filling(2)).reference(filling(1));
        assertThat(run(op)).isEqualTo(2);
        try (var off = op.override().disable(DeviceType.CPU)) {
            assertThat(run(op)).isEqualTo(1);
            try (var again = op.override().disable(DeviceType.CPU)) {
                assertThat(run(op)).isEqualTo(1);
            }
            assertThat(run(op)).isEqualTo(1);
            op.replaceKernel(DeviceType.CPU, filling(3));
            assertThat(run(op)).as("registered while disabled").isEqualTo(1);
        }
        assertThat(run(op)).isEqualTo(3);
    }

    @Test
    void aKernelForADtypeGoesBeforeOneForAll() {
        Op<X, Tensor> op = unary("regtest::dtypes")
                .kernel(DeviceType.CPU, filling(1))
                .kernel(DeviceType.CPU, filling(2), DType.FLOAT64, DType.INT64);
        assertThat(op.call(new X(Tensor.of(0f))).item()).isEqualTo(1);
        assertThat(op.call(new X(Tensor.of(0.0))).item()).isEqualTo(2);
        assertThat(op.call(new X(Tensor.of(0L))).item()).isEqualTo(2);
    }

    @Test
    void kernelTypeChoosesByAnotherDtype() {
        Op<X, Tensor> op = Op.define("regtest::kerneltype", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x(), DType.BOOL))
                .kernelType(a -> a.x().dtype())
                .kernel(DeviceType.CPU, filling(1), DType.FLOAT64);
        assertThat(op.call(new X(Tensor.of(0.0))).item()).isEqualTo(1);
        assertThatThrownBy(() -> op.call(new X(Tensor.of(0f))))
                .isInstanceOf(MissingKernelException.class)
                .hasMessageContaining("regtest::kerneltype: no cpu kernel for float32")
                .hasMessageContaining("registered: cpu {float64}");
    }

    @Test
    void contradictionsAreRefusedWhenTheyArise() {
        assertThatThrownBy(() -> unary("regtest::a")
                        .nonDifferentiable()
                        .autograd((a, out) -> null, (context, s, g) -> Grads.of("x", g)))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("non-differentiable");
        assertThatThrownBy(() -> unary("regtest::b").view("x", a -> a.x().layout()))
                .isInstanceOf(RegistrationException.class);
        assertThatThrownBy(() -> Op.define("regtest::c", X.class, Tensor.class)
                        .view("x", a -> a.x().layout())
                        .reference(filling(1)))
                .hasMessageContaining("no kernels");
        assertThatThrownBy(() -> unary("regtest::d").returningReference(a -> a.x()))
                .hasMessageContaining("returning kernel");
        assertThatThrownBy(() -> unary("regtest::e").differentiableOutputs(true, false))
                .hasMessageContaining("one value for each of the 1 tensor outputs");
        assertThatThrownBy(() -> unary("regtest::f").returnsMutated().register())
                .hasMessageContaining("returns a mutated argument");
        assertThatThrownBy(() -> Op.define("regtest::g", X.class, Result.none())
                        .autograd((a, out) -> null, (context, s, g) -> Grads.of("x", null)))
                .hasMessageContaining("nothing to differentiate");
        assertThatThrownBy(() -> unary("regtest::h").mutates("y"))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("'y' is not a tensor argument");
        assertThatThrownBy(() -> named().mutates("slope")).hasMessageContaining("'slope' is not a tensor argument");
        assertThatThrownBy(() -> unary("regtest::i").internal("mean")).isInstanceOf(SchemaException.class);
    }

    @Test
    void piecesComeInAnyOrder() {
        Op<X, Tensor> op = Op.define("regtest::order", X.class, Tensor.class)
                .returnsMutated()
                .reference((a, out) -> Elements.of(out).setDouble(0, 7))
                .mutates("x")
                .shape(X::x)
                .register();
        Tensor x = Tensor.of(0f);
        assertThat(op.call(new X(x))).isSameAs(x);
        assertThat(x.item()).isEqualTo(7);
    }

    // ---------------------------------------------------------------- factories, missing kernels, devices

    public record Ones(long n, Device device) {}

    @Test
    void aFactoryRunsWhereItsDeviceArgumentSays() {
        Op<Ones, Tensor> op = Op.define("regtest::ones", Ones.class, Tensor.class)
                .device(Ones::device)
                .shape(a -> Tensor.meta(Shape.of(a.n()), DType.FLOAT32, a.device()))
                .kernel(DeviceType.CPU, filling(1));
        assertThat(op.call(new Ones(3, Device.CPU)).toDoubleArray()).containsExactly(1, 1, 1);
        assertThatThrownBy(() -> op.call(new Ones(-1, Device.CPU))).hasMessageContaining("negative size -1");
    }

    public record Count(long n) {}

    public record Many(List<Tensor> xs) {}

    @Test
    void withoutTensorsOrADeviceThereIsNoKernelToChoose() {
        Op<Count, Long> op =
                Op.define("regtest::count", Count.class, Long.class).returningKernel(DeviceType.CPU, a -> a.n() + 1);
        assertThatThrownBy(() -> op.call(new Count(1)))
                .isInstanceOf(MissingKernelException.class)
                .hasMessageContaining("there are no tensor inputs to choose a kernel by")
                .hasMessageContaining("declare .device(");
        Op<Many, Long> many = Op.define("regtest::many", Many.class, Long.class)
                .returningKernel(DeviceType.CPU, a -> (long) a.xs().size());
        assertThatThrownBy(() -> many.call(new Many(List.of()))).isInstanceOf(MissingKernelException.class);
        assertThat(many.call(new Many(List.of(Tensor.of(1f), Tensor.of(2f))))).isEqualTo(2);
    }

    @Test
    void aMissingKernelSaysWhichExistAndHowToAddOne() {
        Op<X, Tensor> op = unary("regtest::missing").kernel(DeviceType.CUDA, filling(1), DType.FLOAT32);
        assertThatThrownBy(() -> run(op))
                .isInstanceOf(MissingKernelException.class)
                .hasMessageContaining("regtest::missing: no cpu kernel for float32")
                .hasMessageContaining("registered: cuda {float32}")
                .hasMessageContaining("fix:");
    }

    @Test
    void listElementsThatMayNotBeAbsentAreNamed() {
        Op<Many, Long> many =
                Op.define("regtest::holes", Many.class, Long.class).returningKernel(DeviceType.CPU, a -> 0L);
        assertThatThrownBy(() -> many.call(new Many(Arrays.asList(Tensor.of(1f), null))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("element 1 of argument 'xs' is null");
    }

    // ---------------------------------------------------------------- concurrency

    @Test
    void callsWhileKernelsAreReplacedSeeOneOrTheOther() throws InterruptedException {
        Op<X, Tensor> op = unary("regtest::swap").kernel(DeviceType.CPU, filling(1));
        AtomicInteger wrong = new AtomicInteger();
        Thread caller = new Thread(() -> {
            for (int i = 0; i < 2_000; i++) {
                double v = run(op);
                if (v != 1 && v != 2) {
                    wrong.incrementAndGet();
                }
            }
        });
        caller.start();
        while (caller.isAlive()) {
            op.replaceKernel(DeviceType.CPU, filling(2));
            op.replaceKernel(DeviceType.CPU, filling(1));
        }
        caller.join();
        assertThat(wrong.get()).isZero();
    }

    @Test
    void viewRulesMustStayInsideTheStorage() {
        Op<X, Tensor> op =
                Op.define("regtest::beyond", X.class, Tensor.class).view("x", a -> Layout.contiguous(Shape.of(100)));
        assertThatThrownBy(() -> op.call(new X(Tensor.of(0f)))).hasMessageContaining("regtest::beyond");
    }
}
