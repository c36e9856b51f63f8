// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static dev.merapi.dispatch.EngineAccess.TENSORS;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.error.GradientException;
import dev.merapi.error.MissingBackwardException;
import dev.merapi.error.MissingKernelException;
import dev.merapi.error.OpResultException;
import dev.merapi.error.RegistrationException;
import dev.merapi.error.SchemaException;
import dev.merapi.op.CastPolicy;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.Grads;
import dev.merapi.op.Kernel;
import dev.merapi.op.LayerRule;
import dev.merapi.op.Op;
import dev.merapi.op.OpRegistry;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * Each piece that can be declared, on each kind of op, in each order: either its effect can be seen, or it is refused by
 * an error that names it, what it does not go with, and a fix. Nothing is ignored.
 */
class PiecesTest {
    public record X(Tensor x, double slope) {}

    /** What kernels and rules of the op under test have seen. */
    private static final class Seen {
        boolean strided;
        DType dtype;
        int shapes;
        int types;
        int devices;
    }

    /** A kind of op that doubles, or only looks at, its argument. */
    private record Kind(String name, Map<String, Consumer<Op<X, Tensor>>> pieces) {}

    /** A piece, words of which one must stand in a refusal, and how its effect shows. */
    private record Piece(String name, Consumer<Op<X, Tensor>> declare, Predicate<Op<X, Tensor>> effect) {}

    private static Seen seen = new Seen();

    @AfterEach
    void forget() {
        for (Op<?, ?> op : OpRegistry.all()) {
            if (op.name().startsWith("pieces::")) {
                OpRegistry.destroy(op.name());
            }
        }
    }

    // ---------------------------------------------------------------- kinds

    private static void look(Tensor x) {
        seen.strided |= !x.isContiguous();
        seen.dtype = x.dtype();
    }

    private static Kernel<X, Tensor> filling(double factor) {
        return (a, out) -> {
            look(a.x());
            Elements from = Elements.of(a.x());
            Elements to = Elements.of(out);
            for (long i = 0; i < to.numel(); i++) {
                to.setDouble(i, factor * from.getDouble(i));
            }
        };
    }

    private static Kernel.Returning<X, Tensor> returning(double factor) {
        return a -> {
            look(a.x());
            return a.x().mul(factor);
        };
    }

    private static Map<String, Consumer<Op<X, Tensor>>> map(Object... all) {
        Map<String, Consumer<Op<X, Tensor>>> map = new LinkedHashMap<>();
        for (int i = 0; i < all.length; i += 2) {
            @SuppressWarnings("unchecked")
            Consumer<Op<X, Tensor>> piece = (Consumer<Op<X, Tensor>>) all[i + 1];
            map.put((String) all[i], piece);
        }
        return map;
    }

    private static final Consumer<Op<X, Tensor>> SHAPE = op -> op.shape(a -> {
        seen.shapes++;
        return Tensor.meta(a.x());
    });
    private static final Consumer<Op<X, Tensor>> KERNEL = op -> op.kernel(DeviceType.CPU, filling(2));
    private static final Consumer<Op<X, Tensor>> COMPOSE = op -> op.compose(a -> {
        look(a.x());
        return a.x().mul(2);
    });
    private static final Consumer<Op<X, Tensor>> FORMULA =
            op -> op.autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.mul(100)));
    private static final Consumer<Op<X, Tensor>> WRITES = op -> op.mutates("x").returnsMutated();

    private static final Consumer<Op<X, Tensor>> NOTHING = op -> {}; // a name more for the pieces of a kind

    private static List<Kind> kinds() {
        return List.of(
                new Kind("kernel", map("shape", SHAPE, "kernel", KERNEL)),
                new Kind("kernel with formula", map("shape", SHAPE, "kernel", KERNEL, "backward", FORMULA)),
                new Kind("reference", map("shape", SHAPE, "reference", (Consumer<Op<X, Tensor>>)
                        op -> op.reference(filling(2)))),
                new Kind("returning kernel", map("returning kernel", (Consumer<Op<X, Tensor>>)
                        op -> op.returningKernel(DeviceType.CPU, returning(2)))),
                new Kind("composition", map("compose", COMPOSE)),
                new Kind("composition with formula", map("compose", COMPOSE, "backward", FORMULA)),
                new Kind("composition with shape", map("compose", COMPOSE, "shape", SHAPE)),
                new Kind("composition beside kernel", map("shape", SHAPE, "kernel", KERNEL, "compose", COMPOSE)),
                new Kind("non-differentiable composition", map("compose", COMPOSE, "nonDifferentiable", (Consumer<
                                Op<X, Tensor>>)
                        op -> op.nonDifferentiable())),
                new Kind("view", map("view", (Consumer<Op<X, Tensor>>) op -> op.view("x", a -> a.x().layout()))),
                new Kind(
                        "view with formula",
                        map(
                                "view",
                                (Consumer<Op<X, Tensor>>) op -> op.view("x", a -> a.x().layout()),
                                "backward",
                                FORMULA)),
                new Kind(
                        "in place",
                        map("returnsMutated", NOTHING, "mutates", WRITES, "kernel", KERNEL, "shape", (Consumer<
                                        Op<X, Tensor>>)
                                op -> op.shape(X::x))),
                new Kind(
                        "in place with formula",
                        map(
                                "returnsMutated",
                                NOTHING,
                                "mutates",
                                WRITES,
                                "kernel",
                                KERNEL,
                                "backward",
                                FORMULA,
                                "shape",
                                (Consumer<Op<X, Tensor>>) op -> op.shape(X::x))),
                new Kind("composition in place", map("returnsMutated", NOTHING, "mutates", WRITES, "compose", (Consumer<
                                Op<X, Tensor>>)
                        op -> op.compose(a -> {
                            look(a.x());
                            return a.x().mul_(2);
                        }))));
    }

    // ---------------------------------------------------------------- effects

    private static Tensor data() {
        return Tensor.of(new double[] {1, 2, 3, 4, 5, 6}, 2, 3);
    }

    private static Tensor run(Op<X, Tensor> op, Tensor x) {
        return op.call(new X(x, 1));
    }

    /** The gradient of the first element; of a copy, so that ops may write in place. */
    private static double gradient(Op<X, Tensor> op) {
        Tensor x = data().requiresGrad(true);
        Autograd.backward(run(op, x.mul(1)).sum());
        return x.grad().toDoubleArray()[0];
    }

    /** What the op makes of 1, through whatever kernel is registered now. */
    private static double value(Op<X, Tensor> op) {
        return run(op, data()).toDoubleArray()[0];
    }

    private static double valueWithoutKernel(Op<X, Tensor> op) {
        if (op.definition().registeredKernels().stream().noneMatch(k -> k.startsWith("cpu"))) {
            return value(op);
        }
        try (var off = op.override().disable(DeviceType.CPU)) {
            return value(op);
        }
    }

    private static boolean refusesGradient(Op<X, Tensor> op) {
        try {
            Tensor x = data().requiresGrad(true);
            return !run(op, x.mul(1)).requiresGrad();
        } catch (GradientException e) {
            return e.getMessage().contains(op.name());
        }
    }

    private static boolean isRandom(Op<X, Tensor> op) {
        Merapi.deterministic(true);
        try {
            run(op, data());
            return false;
        } catch (UnsupportedOperationException e) {
            return e.getMessage().contains(op.name());
        } finally {
            Merapi.deterministic(false);
        }
    }

    private static Tensor seven(X a) {
        return a.x().mul(7);
    }

    private static List<Piece> pieces() {
        return List.of(
                new Piece("shape", SHAPE, op -> {
                    seen = new Seen();
                    return run(op, Tensor.meta(data())).isMeta() && seen.shapes > 0;
                }),
                new Piece("view", op -> op.view("x", a -> a.x().layout()), op -> {
                    Tensor x = data();
                    return TENSORS.storage(run(op, x)) == TENSORS.storage(x);
                }),
                new Piece("mutates", op -> op.mutates("x"), op -> {
                    Tensor x = data();
                    int before = x.version();
                    run(op, x);
                    // A composition is held to it by the ops that it is made of.
                    return op.schemaText().contains("!")
                            && (x.version() > before || op.definition().isComposite());
                }),
                new Piece("returnsMutated", op -> op.returnsMutated(), op -> {
                    Tensor x = data();
                    return run(op, x) == x;
                }),
                new Piece("kernel", op -> op.kernel(DeviceType.CPU, filling(7)), op -> value(op) == 7),
                new Piece(
                        "returningKernel",
                        op -> op.returningKernel(DeviceType.CPU, PiecesTest::seven),
                        op -> value(op) == 7),
                new Piece("reference", op -> op.reference(filling(7)), op -> valueWithoutKernel(op) == 7),
                new Piece(
                        "returningReference",
                        op -> op.returningReference(PiecesTest::seven),
                        op -> valueWithoutKernel(op) == 7),
                new Piece("compose", op -> op.compose(PiecesTest::seven), op -> {
                    boolean reference = op.definition().reference() != null;
                    // Beside other kernels it is what gradients are derived from, where there is no formula.
                    return !reference && valueWithoutKernel(op) == 7
                            || !op.definition().hasBackward() && gradient(op) == 7
                            || op.definition().compose() != null && reference;
                }),
                new Piece("autograd", FORMULA, op -> gradient(op) == 100),
                new Piece(
                        "backward",
                        op -> op.saveForBackward((a, out) -> null)
                                .backward(DeviceType.CPU, (c, s, g) -> Grads.of("x", g.mul(50))),
                        op -> gradient(op) == 50),
                new Piece("nonDifferentiable", op -> op.nonDifferentiable(), PiecesTest::refusesGradient),
                new Piece("differentiableOutputs", op -> op.differentiableOutputs(false), PiecesTest::refusesGradient),
                new Piece(
                        "kernelType",
                        op -> op.kernelType(a -> {
                            seen.types++;
                            return DType.INT32;
                        }),
                        op -> {
                            seen = new Seen();
                            run(op, data());
                            return seen.types > 0;
                        }),
                new Piece("device", op -> op.device(a -> Device.CPU), op -> false), // its tensor decides
                new Piece("nondeterministic", op -> op.nondeterministic(), PiecesTest::isRandom),
                new Piece("stridesOk", op -> op.stridesOk(), op -> {
                    seen = new Seen();
                    run(op, data().transpose(0, 1));
                    return seen.strided;
                }),
                new Piece("autocast", op -> op.autocast(CastPolicy.LOWER), op -> {
                    seen = new Seen();
                    try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                        run(op, data().to(DType.FLOAT32));
                    }
                    return seen.dtype == DType.BFLOAT16;
                }),
                new Piece(
                        "default",
                        op -> op.defaultValue("slope", 0.5),
                        op -> op.call(Map.of("x", data())).numel() == 6),
                new Piece(
                        "code",
                        op -> op.code("source"),
                        op -> "source".equals(op.definition().code())));
    }

    // ---------------------------------------------------------------- the test

    @Test
    void everyPieceOfEveryKindOfOpTakesEffectOrIsRefused() {
        List<String> wrong = new ArrayList<>();
        int effects = 0;
        int refusals = 0;
        for (Kind kind : kinds()) {
            for (Piece piece : pieces()) {
                for (int order = 0; order < 3; order++) {
                    String what = kind.name + " + " + piece.name + ", "
                            + List.of("last", "first", "registered").get(order);
                    Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class);
                    try {
                        declare(op, kind, piece, order);
                        if (!piece.effect.test(op)) { // what needs more pieces is refused by its first call
                            wrong.add(what + ": ignored");
                        }
                        effects++;
                    } catch (RegistrationException | SchemaException | OpResultException e) {
                        if (!isClear(e.getMessage(), kind, piece)) {
                            wrong.add(what + ": refused by " + e.getMessage());
                        }
                        refusals++;
                    } catch (RuntimeException e) {
                        wrong.add(what + ": " + e);
                    } finally {
                        forget();
                    }
                }
            }
        }
        assertThat(wrong).as(effects + " effects, " + refusals + " refusals").isEmpty();
        assertThat(effects).isGreaterThan(250);
        assertThat(refusals).isGreaterThan(250);
    }

    private static void declare(Op<X, Tensor> op, Kind kind, Piece piece, int order) {
        if (order == 1) {
            piece.declare.accept(op);
        }
        kind.pieces.values().forEach(p -> p.accept(op));
        if (order == 2) {
            op.register();
        }
        if (order != 1) {
            piece.declare.accept(op);
        }
        if (order != 2) {
            op.register();
        }
    }

    private static boolean names(String text, Iterable<String> pieces) {
        String flat = text.toLowerCase(Locale.ROOT).replace(" ", "");
        for (String piece : pieces) {
            String word = piece.toLowerCase(Locale.ROOT).replace(" ", "");
            if (flat.contains(word)
                    || word.equals("autograd") && flat.contains("save")
                    || word.startsWith("returning") && (flat.contains("kernel") || flat.contains("reference"))) {
                return true;
            }
        }
        return false;
    }

    /** It names the piece, what it does not go with or what it needs, and a fix. */
    private static boolean isClear(String text, Kind kind, Piece piece) {
        boolean ofRecord = text.contains("has no effect");
        boolean needsMore = text.contains("fix: declare ");
        if (text.contains("not made of the written tensors")) {
            return text.contains("returnsMutated"); // of a rule or kernel that makes a fresh one
        }
        return text.contains("fix: ")
                && names(text, List.of(piece.name))
                && (ofRecord || needsMore || names(text, kind.pieces.keySet()));
    }

    // ---------------------------------------------------------------- factories, several results

    public record Count(long n) {}

    private static Tensor ones(long n) {
        return Tensor.ones(n).requiresGrad(true).mul(1); // a composition could hold a parameter
    }

    @Test
    void factoriesRefuseWhatNeedsTensors() {
        Map<String, Supplier<Op<Count, Tensor>>> kinds = Map.of(
                "kernel",
                () -> Op.define("pieces::op", Count.class, Tensor.class)
                        .device(a -> Device.CPU)
                        .shape(a -> Tensor.meta(Shape.of(a.n()), DType.FLOAT32, Device.CPU))
                        .kernel(DeviceType.CPU, (a, out) -> out.fill_(1)),
                "composition",
                () -> Op.define("pieces::op", Count.class, Tensor.class).compose(a -> ones(a.n())));
        kinds.forEach((name, kind) -> {
            for (Consumer<Op<Count, Tensor>> piece : List.<Consumer<Op<Count, Tensor>>>of(
                    op -> op.autograd((a, out) -> null, (c, s, g) -> Grads.none()),
                    op -> op.backward(DeviceType.CPU, Object.class, (c, s, g) -> Grads.none()),
                    op -> op.autocast(CastPolicy.LOWER))) {
                assertThatThrownBy(() -> piece.accept(kind.get()))
                        .as(name)
                        .isInstanceOf(RegistrationException.class)
                        .hasMessageContaining("has no effect: there are no tensor arguments")
                        .hasMessageContaining("fix: ");
            }
            assertThat(kind.get().nonDifferentiable().call(new Count(2)).requiresGrad())
                    .as(name)
                    .isFalse();
            Op<Count, Tensor> random = kind.get().nondeterministic();
            Merapi.deterministic(true);
            try {
                assertThatThrownBy(() -> random.call(new Count(2))).as(name).hasMessageContaining("pieces::op");
            } finally {
                Merapi.deterministic(false);
            }
        });
        assertThatThrownBy(() ->
                        kinds.get("composition").get().device(a -> Device.CPU).register())
                .hasMessageContaining("device and compose do not go together");
    }

    public record Two(Tensor y, Tensor aux) {}

    @Test
    void outputsOfSeveralAreWhatTheyAreDeclaredToBe() {
        for (boolean composed : new boolean[] {false, true}) {
            for (boolean formula : new boolean[] {false, true}) {
                if (!composed && !formula) {
                    continue; // no gradient at all
                }
                Op<X, Two> op = Op.define("pieces::op", X.class, Two.class).differentiableOutputs(true, false);
                if (composed) {
                    op.compose(a -> new Two(a.x().mul(2), a.x().mul(3)));
                } else {
                    op.shape(a -> new Two(Tensor.meta(a.x()), Tensor.meta(a.x())))
                            .kernel(DeviceType.CPU, (a, out) -> {
                                out.y().fill_(2);
                                out.aux().fill_(3);
                            });
                }
                if (formula) {
                    op.autograd((a, out) -> null, (c, s, g) -> Grads.of("x", g.y().mul(100)));
                }
                String what = composed + " " + formula;
                Tensor x = data().requiresGrad(true);
                Two two = op.call(new X(x, 1));
                assertThat(two.y().requiresGrad()).as(what).isTrue();
                assertThat(two.aux().requiresGrad()).as(what).isFalse();
                Autograd.backward(two.y().sum());
                assertThat(x.grad().toDoubleArray()[0]).as(what).isEqualTo(formula ? 100 : 2);
                Two hidden = op.internal("aux").call(new X(x, 1));
                assertThat(hidden.aux().isClosed()).as(what).isTrue();
                assertThat(hidden.y().isClosed()).as(what).isFalse();
            }
        }
    }

    @Test
    void declarationsOfOutputsThatSayNothingAreRefused() {
        assertThatThrownBy(() -> Op.define("pieces::op", X.class, Two.class)
                        .internal("aux")
                        .differentiableOutputs(true, true))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("differentiableOutputs and internal do not go together");
        assertThatThrownBy(() -> Op.define("pieces::op", X.class, Tensor.class)
                        .mutates("x")
                        .returnsMutated()
                        .differentiableOutputs(false))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("differentiableOutputs and returnsMutated do not go together");
        assertThatThrownBy(() -> Op.define("pieces::op", X.class, Long.class).returnsMutated())
                .hasMessageContaining("the result holds no tensors");
        assertThatThrownBy(() -> Op.define("pieces::op", X.class, Two.class).view("x", a -> a.x().layout()))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("a view is one tensor");
    }

    /** Before anything is written, and however it is called. */
    @Test
    void anOpThatReturnsWhatItWritesReturnsJustThat() {
        Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class)
                .mutates("x")
                .returnsMutated()
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> a.x().fill_(9));
        Tensor x = data();
        assertThatThrownBy(() -> op.call(new X(x, 1)))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("pieces::op")
                .hasMessageContaining("returnsMutated");
        assertThat(x.toDoubleArray()).containsExactly(1, 2, 3, 4, 5, 6);
    }

    @Test
    void aCompositionKeepsToTheShapeRule() {
        Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .compose(a -> a.x().sum());
        assertThatThrownBy(() -> run(op, data()))
                .isInstanceOf(OpResultException.class)
                .hasMessageContaining("composition and its shape rule do not agree");
    }

    @Test
    void piecesThatAreNothingAreRefused() {
        Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class);
        assertThatThrownBy(() -> op.mutates())
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("fix: ");
        assertThatThrownBy(() -> op.internal())
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("fix: ");
        assertThatThrownBy(() -> op.shape(null))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("pieces::op: piece 'shape' is null");
        assertThatThrownBy(() -> op.kernel(DeviceType.CPU, (Kernel<X, Tensor>) null))
                .isInstanceOf(RegistrationException.class);
        assertThatThrownBy(() -> op.override().disable(DeviceType.CPU))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("there is no cpu kernel to disable");
    }

    /** Code for another device is not passed over in silence. */
    @Test
    void codeThatABackendCannotRunIsRefused() {
        Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, CudaKernel.body("out[i] = 1;"))
                .reference(filling(2))
                .nonDifferentiable();
        assertThatThrownBy(() -> value(op))
                .isInstanceOf(MissingKernelException.class)
                .hasMessageContaining("pieces::op: its cpu kernel is code that this backend cannot run");
        Op<X, Tensor> backward = Op.define("pieces::op", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, filling(2))
                .saveForBackward((a, out) -> null)
                .backward(DeviceType.CPU, CudaKernel.body("d_x[i] = 1;"))
                .and();
        assertThatThrownBy(() -> gradient(backward))
                .isInstanceOf(MissingBackwardException.class)
                .hasMessageContaining("backward of pieces::op");
    }

    @Test
    void aFormulaIsToldWhatWasSaved() {
        Op<X, Tensor> op = Op.define("pieces::op", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, filling(2))
                .backward(String.class, (c, s, g) -> Grads.of("x", g));
        op.saveForBackward((a, out) -> 3L);
        assertThatThrownBy(() -> gradient(op))
                .isInstanceOf(GradientException.class)
                .hasMessageContaining("takes a java.lang.String, but saveForBackward gave a java.lang.Long");
    }

    // ---------------------------------------------------------------- overrides

    /** A formula of somebody else's, on every kind of built-in op, and only as long as it is there. */
    @Test
    void overriddenGradientsHoldForEveryKindOfBuiltInOp() {
        Map<String, UnaryOperator<Tensor>> calls = new TreeMap<>(Map.of(
                "merapi::tanh", x -> x.tanh(),
                "merapi::sum", x -> x.sum(),
                "merapi::transpose", x -> x.transpose(0, 1),
                "merapi::slice", x -> x.slice(0, 0, 1),
                "merapi::roll", x -> x.roll(1, 0),
                "merapi::softmax", x -> x.softmax(-1),
                "merapi::cast", x -> x.to(DType.FLOAT32),
                "merapi::tril", x -> x.tril(0)));
        calls.forEach((name, call) -> {
            double before = first(call);
            try (var over = marked(OpRegistry.get(name))) {
                assertThat(first(call)).as(name).isEqualTo(100);
            }
            assertThat(first(call)).as(name).isEqualTo(before);
        });
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Op.Override<?, ?> marked(Op<?, ?> op) {
        Op.Override over = op.override();
        return over.autograd(
                (a, out) -> null,
                (c, s, g) -> Grads.of("x", Tensor.full(100, 2, 3).to(DType.FLOAT64)));
    }

    private static double first(UnaryOperator<Tensor> call) {
        Tensor x = data().requiresGrad(true);
        Autograd.backward(call.apply(x).sum());
        return x.grad().toDoubleArray()[0];
    }

    private interface Counting {}

    private interface Cost<A extends Record, R> extends LayerRule<Counting, A, R> {
        long flops(A args);
    }

    @Test
    void rulesOfLayersAreFoundByTheLayerAndOverriddenForAWhile() {
        Op<PointwiseArgs.X, Tensor> op = Op.define("pieces::ruled", PointwiseArgs.X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .rule(Counting.class, (Cost<PointwiseArgs.X, Tensor>) a -> a.x().numel());
        PointwiseArgs.X args = new PointwiseArgs.X(Tensor.ones(3), List.of());
        assertThat(cost(op, args)).isEqualTo(3);
        assertThat(op.definition().rule(Runnable.class)).isNull();
        assertThatThrownBy(() -> op.rule(Counting.class, (Cost<PointwiseArgs.X, Tensor>) a -> 0))
                .isInstanceOf(RegistrationException.class)
                .hasMessageContaining("there is already a piece 'rule/" + Counting.class.getName());
        try (Op.Override<PointwiseArgs.X, Tensor> override = op.override()) {
            override.rule(Counting.class, (Cost<PointwiseArgs.X, Tensor>) a -> 7);
            assertThat(cost(op, args)).isEqualTo(7);
        }
        assertThat(cost(op, args)).isEqualTo(3);
    }

    private static <A extends Record> long cost(Op<A, Tensor> op, A args) {
        return op.definition().rule(Counting.class) instanceof Cost<A, Tensor> rule ? rule.flops(args) : -1;
    }
}
