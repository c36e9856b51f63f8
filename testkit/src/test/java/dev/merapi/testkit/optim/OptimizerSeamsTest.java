// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.SchemaException;
import dev.merapi.error.ShapeException;
import dev.merapi.error.StateDictException;
import dev.merapi.expr.Expr;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.ops.StepOp;
import dev.merapi.optim.Adagrad;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.FormulaOptimizer;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Lion;
import dev.merapi.optim.Muon;
import dev.merapi.optim.Optimizer;
import dev.merapi.optim.RmsProp;
import dev.merapi.optim.Sgd;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.tensor.Trainable;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Every optimiser where it meets the rest: moves, resumed runs, mixed precision, parameters that are empty, unused, closed. */
class OptimizerSeamsTest {
    private static final Map<String, Function<List<? extends Trainable>, Optimizer>> KINDS = new LinkedHashMap<>();

    static {
        KINDS.put("sgd", p -> new Sgd(p, 0.02, 0.9, true, 0.1));
        KINDS.put("adamw", p -> new AdamW(p, 0.02, 0.1));
        KINDS.put("amsgrad", p -> new AdamW(p, 0.02, 0.9, 0.9, 1e-8, 0.1, true));
        KINDS.put("adagrad", p -> new Adagrad(p, 0.02, 0.1, 0.1, 0.5, 1e-8));
        KINDS.put("rmsprop", p -> new RmsProp(p, 0.02, 0.9, 1e-3, 0.1, 0.5, true));
        KINDS.put("lion", p -> new Lion(p, 0.02, 0.1));
        KINDS.put(
                "muon",
                p -> new Muon(p.stream().filter(x -> x.tensor().rank() == 2).toList(), 0.02));
    }

    private static Sequential model(StateDict start) {
        Sequential model =
                new Sequential().then(new Linear(4, 6)).then(Tensor::tanh).then(new Linear(6, 2));
        if (!start.names().isEmpty()) {
            model.loadStateDict(start);
        }
        return model;
    }

    private static void step(Sequential model, Optimizer optimizer, int t) {
        try (Scope scope = Scope.open()) {
            DType dtype = model.parameters().get(0).tensor().dtype();
            Tensor x = Tensor.linspace(-1, 1 + t, 12).view(3, 4).to(dtype);
            Autograd.backward(model.forward(x).square().sum());
            optimizer.step();
            optimizer.zeroGrad();
        }
    }

    private static double[] values(Sequential model) {
        List<Tensor> all = new ArrayList<>();
        model.parameters()
                .forEach(p -> all.add(p.tensor().detach().to(DType.FLOAT64).view(-1)));
        return Tensor.cat(all, 0).toDoubleArray();
    }

    @Test
    void aResumedRunIsTheSameBits() {
        KINDS.forEach((name, kind) -> {
            for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16)) {
                Sequential whole = model(new StateDict());
                Sequential part = model(whole.stateDict());
                whole.to(dtype);
                part.to(dtype);
                Sequential later = model(new StateDict());
                later.to(dtype);
                try (Optimizer a = kind.apply(whole.parameters());
                        Optimizer b = kind.apply(part.parameters());
                        Optimizer c = kind.apply(later.parameters())) {
                    a.maximize(true);
                    b.maximize(true);
                    for (int t = 0; t < 6; t++) {
                        step(whole, a, t);
                        if (t < 3) {
                            step(part, b, t);
                        } else if (t == 3) {
                            later.loadStateDict(part.stateDict());
                            c.loadStateDict(b.stateDict());
                        }
                        if (t >= 3) {
                            step(later, c, t);
                        }
                    }
                    assertThat(values(later)).as(name + " " + dtype).isEqualTo(values(whole));
                }
            }
        });
    }

    @Test
    void statesFollowAModelThatMoves() {
        KINDS.forEach((name, kind) -> {
            Sequential moved = model(new StateDict());
            Sequential stays = model(moved.stateDict());
            stays.to(DType.FLOAT64);
            try (Optimizer a = kind.apply(moved.parameters());
                    Optimizer b = kind.apply(stays.parameters())) {
                for (int t = 0; t < 4; t++) {
                    if (t == 2) {
                        moved.to(DType.FLOAT64);
                    }
                    step(moved, a, t);
                    step(stays, b, t);
                }
                assertThat(values(moved))
                        .as(name)
                        .usingComparatorWithPrecision(2e-5)
                        .containsExactly(values(stays));
                moved.to(DType.BFLOAT16);
                step(moved, a, 4);
                assertThat(a.stateDict().names()).anyMatch(n -> n.endsWith(".master"));
            }
        });
    }

    @Test
    void mixedPrecisionWithAScaledLoss() {
        KINDS.forEach((name, kind) -> {
            Sequential model = model(new StateDict());
            Tensor x = Tensor.linspace(-1, 1, 12).view(3, 4);
            double[] before = values(model);
            try (Optimizer optimizer = kind.apply(model.parameters());
                    GradScaler scaler = new GradScaler(1024, 2, 0.5, 10, true)) {
                double[] losses = new double[5];
                for (int t = 0; t < losses.length; t++) {
                    try (Scope scope = Scope.open()) {
                        Tensor loss;
                        try (Autocast mode = Autocast.on(DType.FLOAT16)) {
                            loss = model.forward(x).square().sum();
                        }
                        losses[t] = loss.item();
                        Autograd.backward(scaler.scale(t == 1 ? loss.mul(Double.POSITIVE_INFINITY) : loss));
                        scaler.step(optimizer);
                        scaler.update();
                        optimizer.zeroGrad();
                    }
                    if (t == 1) {
                        assertThat(optimizer.steps()).as(name).isEqualTo(1);
                    }
                }
                assertThat(scaler.scale()).isEqualTo(512);
                assertThat(losses[2]).as(name).isEqualTo(losses[1]);
                assertThat(losses[4]).as(name).isLessThan(losses[0]);
                assertThat(values(model)).isNotEqualTo(before).doesNotContain(Double.NaN);
            }
        });
    }

    @Test
    void emptyUnusedAndClosedParameters() {
        KINDS.forEach((name, kind) -> {
            Tensor used = Tensor.ones(2, 3).requiresGrad(true);
            Tensor unused = Tensor.ones(2, 3).requiresGrad(true);
            Tensor empty = Tensor.zeros(0, 3).requiresGrad(true);
            try (Optimizer optimizer = kind.apply(List.of(unused, empty, used))) {
                optimizer.step(); // nothing has a gradient
                assertThat(optimizer.steps()).isZero();
                used.setGrad(Tensor.ones(2, 3));
                empty.setGrad(Tensor.zeros(0, 3));
                optimizer.step();
                assertThat(unused.toFloatArray()).as(name).containsOnly(1);
                assertThat(used.toFloatArray()).as(name).doesNotContain(1);
                assertThat(optimizer.steps()).isEqualTo(1);
                float[] before = used.toFloatArray();
                unused.close();
                assertThatThrownBy(optimizer::step).isInstanceOf(ClosedTensorException.class);
                assertThat(used.toFloatArray()).as(name).isEqualTo(before);
            }
        });
    }

    // ---------------------------------------------------------------- groups and settings

    @Test
    void groupsHaveRatesOfTheirOwn() {
        Tensor slow = Tensor.zeros(2).requiresGrad(true);
        Tensor fast = Tensor.zeros(2).requiresGrad(true);
        try (Optimizer sgd = new Sgd(List.of(slow), 0.5);
                Optimizer other = new Sgd(List.of(slow, fast), 0.5)) {
            sgd.add(List.of(fast), 0, 4);
            slow.setGrad(Tensor.ones(2));
            fast.setGrad(Tensor.ones(2));
            sgd.step();
            sgd.setLearningRate(0.25);
            sgd.step();
            assertThat(slow.toFloatArray()).containsOnly(-0.75f);
            assertThat(fast.toFloatArray()).containsOnly(-3);
            other.loadStateDict(sgd.stateDict());
            other.step();
            assertThat(slow.toFloatArray()).containsOnly(-1);
            assertThat(fast.toFloatArray()).containsOnly(-4);
            assertThatThrownBy(() -> sgd.add(List.of(Tensor.ones(2).requiresGrad(true)), 0, -1))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("rate factor -1.0");
            assertThatThrownBy(() -> other.loadStateDict(sgd.stateDict().with("parameters.1.rate_factor", Double.NaN)))
                    .isInstanceOf(StateDictException.class)
                    .hasMessageContaining("rate_factor");
        }
    }

    @Test
    void momentumCanBeCycled() {
        Tensor p = Tensor.zeros(1).requiresGrad(true);
        p.setGrad(Tensor.ones(1));
        try (Sgd sgd = new Sgd(List.of(p), 1, 0.5, false, 0);
                Sgd plain = new Sgd(List.of(p), 1);
                AdamW adam = new AdamW(List.of(p), 1, 0)) {
            sgd.step();
            sgd.setMomentum(0.25);
            sgd.step();
            assertThat(p.item()).isEqualTo(-1 - 1.25);
            adam.setMomentum(0.5);
            assertThat(adam.stateDict().get("beta1", Double.class)).isEqualTo(0.5);
            for (Runnable wrong : List.<Runnable>of(
                    () -> plain.setMomentum(0.5), () -> sgd.setMomentum(0), () -> adam.setMomentum(1))) {
                assertThatThrownBy(wrong::run).isInstanceOf(IllegalArgumentException.class);
            }
        }
    }

    @Test
    void gradientsAreClippedByValue() {
        Tensor a = Tensor.zeros(3).requiresGrad(true);
        Tensor b = Tensor.zeros(DType.BFLOAT16, 2).requiresGrad(true);
        Tensor none = Tensor.zeros(2).requiresGrad(true);
        a.setGrad(Tensor.of(0.25f, -3, Float.NaN));
        b.setGrad(Tensor.of(7f, -0.5f).to(DType.BFLOAT16));
        Clip.value_(List.of(a, b, none), 0.5);
        assertThat(a.grad().toFloatArray()).containsExactly(0.25f, -0.5f, Float.NaN);
        assertThat(b.grad().toFloatArray()).containsExactly(0.5f, -0.5f);
        assertThatThrownBy(() -> Clip.value_(List.of(a), 0)).isInstanceOf(IllegalArgumentException.class);
    }

    // ---------------------------------------------------------------- formulas of one's own

    private static final StepOp OWN = StepOp.define("stepstest::lion_", List.of("m"), List.of("beta1", "beta2"), s -> {
        Expr m = s.state("m");
        Expr g = s.gradient();
        Expr moved =
                m.mul(s.setting("beta1")).add(g.mul(s.setting("beta1").neg().add(1.0)));
        Expr kept = m.mul(s.setting("beta2")).add(g.mul(s.setting("beta2").neg().add(1.0)));
        return List.of(s.parameter().sub(s.rate().mul(moved.sign())), kept);
    });

    @Test
    void anOptimizerOfOnesOwnIsAFormula() {
        Sequential a = model(new StateDict());
        Sequential b = model(a.stateDict());
        try (Optimizer own = new FormulaOptimizer(a.parameters(), 0.01, 0, OWN, Map.of("beta1", 0.9, "beta2", 0.99));
                Optimizer lion = new Lion(b.parameters(), 0.01, 0)) {
            for (int t = 0; t < 4; t++) {
                step(a, own, t);
                step(b, lion, t);
            }
            assertThat(values(a)).isEqualTo(values(b));
            assertThat(own.stateDict().names()).contains("beta1", "parameters.0.weight.m");
            assertThatThrownBy(() -> own.loadStateDict(lion.stateDict())).isInstanceOf(StateDictException.class);
        }
    }

    @Test
    void formulasThatDoNotFitAreRefused() {
        List<Tensor> p = List.of(Tensor.ones(2).requiresGrad(true));
        assertThatThrownBy(() -> new FormulaOptimizer(p, 0.1, 0, OWN, Map.of("beta1", 0.9)))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("[beta1, beta2]");
        assertThatThrownBy(() -> new FormulaOptimizer(p, 0.1, 0, OWN, Map.of("beta1", 0.9, "beta2", Double.NaN)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("beta2 NaN");
        assertThatThrownBy(() -> StepOp.define("stepstest::a_", List.of("m"), List.of(), s -> List.of(s.parameter())))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("gives 1 values");
        assertThatThrownBy(() -> StepOp.define("stepstest::b_", List.of(), List.of(), s -> List.of(s.state("v"))))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("no state 'v'");
        Tensor x = Tensor.ones(2);
        Tensor rate = Tensor.scalar(0.1);
        for (StepOp.Args wrong : List.of(
                new StepOp.Args(
                        List.of(x), List.of(x), List.of(), List.of(), List.of(), rate, null, null, 0, List.of(1, 1)),
                new StepOp.Args(
                        List.of(x),
                        List.of(x),
                        List.of(x.copy()),
                        List.of(),
                        List.of(),
                        rate,
                        null,
                        null,
                        0,
                        List.of()),
                new StepOp.Args(
                        List.of(x),
                        List.of(Tensor.ones(3)),
                        List.of(x.copy()),
                        List.of(),
                        List.of(),
                        rate,
                        null,
                        null,
                        0,
                        List.of(1, 1)))) {
            assertThatThrownBy(() -> OWN.call(wrong)).isInstanceOf(ShapeException.class);
        }
        assertThat(x.toFloatArray()).containsOnly(1);
        for (Runnable wrong : List.<Runnable>of(
                () -> new RmsProp(p, 0.1, 1, 1e-8, 0, 0, false),
                () -> new RmsProp(p, 0.1, 0.9, -1, 0, 0, false),
                () -> new Lion(p, 0.1, 0.9, 1, 0),
                () -> new Adagrad(p, 0.1, -1, 0, 0, 0),
                () -> new Adagrad(p, 0.1, 0, 0, -1, 0),
                () -> new Muon(p, 0.1),
                () -> new Muon(List.of(), 0.1, 0, 1, true, 5, Muon.Scaling.ORIGINAL))) {
            assertThatThrownBy(wrong::run).isInstanceOf(IllegalArgumentException.class);
        }
        try (Optimizer lion = new Lion(p, 0.1, 0)) {
            assertThatThrownBy(() -> lion.loadStateDict(lion.stateDict().with("beta1", 1.5)))
                    .isInstanceOf(StateDictException.class)
                    .hasMessageContaining("betas must lie in [0, 1)");
        }
    }
}
