// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.ClosedTensorException;
import dev.merapi.error.DTypeException;
import dev.merapi.error.StateDictException;
import dev.merapi.optim.Lbfgs;
import dev.merapi.optim.Plateau;
import dev.merapi.optim.Schedule;
import dev.merapi.optim.Sgd;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;

/** Learning rates, and the steps of L-BFGS, as PyTorch has them. */
class SchedulesTest {
    private static final int STEPS = 24;
    private static final double[] METRICS = {
        5, 4, 4, 3.9999, 4.2, Double.NaN, 3, 3, 3, 3, 3, 3, 2.9, 2.9, 2.9, 2.9, 2.9, 1, 2, 2, 2, 2, 2, 2
    };

    private static Map<String, double[]> golden() {
        Map<String, double[]> all = new LinkedHashMap<>();
        try (InputStream in = Objects.requireNonNull(SchedulesTest.class.getResourceAsStream("schedules.txt"))) {
            for (String line : new String(in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
                String[] words = line.split(" ");
                if (!words[0].equals("#")) {
                    all.put(
                            words[0],
                            Arrays.stream(words)
                                    .skip(1)
                                    .mapToDouble(Double::parseDouble)
                                    .toArray());
                }
            }
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
        return all;
    }

    @Test
    void ratesAreThoseOfPyTorch() {
        Map<String, Schedule> schedules = new LinkedHashMap<>();
        schedules.put("step", Schedule.step(0.5, 5, 0.3));
        schedules.put("multi_step", Schedule.multiStep(0.5, 0.5, 3, 7, 7, 20));
        schedules.put("exponential", Schedule.exponential(0.5, 0.9));
        schedules.put("linear", Schedule.linear(0.5, 0.25, 0.75, 10));
        schedules.put("polynomial", Schedule.polynomial(0.5, 20, 2.5));
        schedules.put("cosine", Schedule.cosine(0.5, 0.01, STEPS));
        schedules.put("cosine_restarts", Schedule.cosineRestarts(0.5, 0.01, 4, 2));
        schedules.put("cosine_restarts_equal", Schedule.cosineRestarts(0.5, 0, 5, 1));
        schedules.put("one_cycle", Schedule.oneCycle(2, STEPS));
        schedules.put("one_cycle_momentum", Schedule.oneCycle(0.95, 0.85, 0.95, STEPS, 0.3));
        schedules.put("one_cycle_half", Schedule.oneCycle(0.5, 2, 0.5 / 8, STEPS, 0.5));
        schedules.put(
                "sequential",
                Schedule.sequential(
                        List.of(
                                Schedule.linear(0.5, 0.1, 1, 5),
                                Schedule.exponential(0.5, 0.9),
                                Schedule.constant(0.5)),
                        5,
                        15));
        Map<String, double[]> golden = golden();
        schedules.forEach((name, schedule) -> {
            double[] expected = Objects.requireNonNull(golden.get(name), name);
            assertThat(expected).hasSize(STEPS);
            for (int i = 0; i < STEPS; i++) {
                assertThat(schedule.at(i)).as(name + " " + i).isCloseTo(expected[i], within(1e-14));
            }
        });
    }

    @Test
    void afterTheirEndsSchedulesStay() {
        assertThat(Schedule.cosine(1, 0.25, 4).at(100)).isEqualTo(0.25);
        assertThat(Schedule.oneCycle(1, 4).at(100)).isCloseTo(4e-6, within(1e-18));
        assertThat(Schedule.polynomial(1, 4, 2).at(100)).isZero();
        assertThat(Schedule.oneCycle(3, 2, 1, 1, 1).at(0)).isEqualTo(2);
        Schedule warm = Schedule.step(1, 2, 0.5).warmup(4);
        assertThat(new double[] {warm.at(0), warm.at(3), warm.at(4), warm.at(6)})
                .containsExactly(0.25, 1, 1, 0.5);
        assertThat(Schedule.constant(2).warmup(0).at(0)).isEqualTo(2);
        for (Runnable wrong : List.<Runnable>of(
                () -> Schedule.step(1, 0, 0.5),
                () -> Schedule.cosine(1, 0, 0),
                () -> Schedule.oneCycle(1, 1, 1, 5, 1.5),
                () -> Schedule.multiStep(1, 0.5, 3, 2),
                () -> Schedule.sequential(List.of(Schedule.constant(1)), 3),
                () -> Schedule.constant(1).warmup(-1),
                () -> Schedule.cosineRestarts(1, 0, 4, 0))) {
            assertThatThrownBy(wrong::run)
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("fix: ");
        }
    }

    @Test
    void plateausAreThoseOfPyTorchAlsoWhenARunGoesOn() {
        for (String name : List.of("plateau", "plateau_larger")) {
            double[] expected = Objects.requireNonNull(golden().get(name));
            Tensor p = Tensor.zeros(1).requiresGrad(true);
            try (Sgd sgd = new Sgd(List.of(p), 0.5)) {
                Plateau plateau = plateau(name, sgd);
                for (int i = 0; i < METRICS.length; i++) {
                    double before = sgd.learningRate();
                    boolean changed = plateau.step(METRICS[i]);
                    assertThat(sgd.learningRate()).as(name + " " + i).isCloseTo(expected[i], within(1e-15));
                    assertThat(changed).isEqualTo(sgd.learningRate() != before);
                    Plateau next = plateau(name, sgd);
                    next.loadStateDict(plateau.stateDict());
                    plateau = next;
                }
                Plateau last = plateau;
                assertThat(last.best()).isEqualTo(name.equals("plateau") ? 1 : 5);
                assertThatThrownBy(() -> last.loadStateDict(last.stateDict().with("bad", -1L)))
                        .isInstanceOf(StateDictException.class);
                assertThatThrownBy(() -> new Plateau(sgd, false, 1, 1, 0, true, 0, 0))
                        .isInstanceOf(IllegalArgumentException.class);
            }
        }
    }

    private static Plateau plateau(String name, Sgd sgd) {
        return name.equals("plateau")
                ? new Plateau(sgd, false, 0.5, 2, 1e-4, true, 0, 0)
                : new Plateau(sgd, true, 0.1, 1, 0.05, false, 3, 0.01);
    }

    // ---------------------------------------------------------------- L-BFGS

    private static Tensor rosenbrock(Tensor p) {
        Tensor x = p.at(0);
        return x.neg()
                .add(1)
                .square()
                .add(p.at(1).sub(x.square()).square().mul(100))
                .add(p.at(2).sub(3).pow(4));
    }

    private static Tensor fit(Tensor p) {
        Tensor x = Tensor.linspace(-1, 1, 9).to(p.dtype());
        if (p.dtype() == DType.FLOAT64) {
            x = Tensor.of(-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1.0);
        }
        return x.mul(p.at(0))
                .add(p.at(1))
                .tanh()
                .mul(p.at(2))
                .sub(x.mul(2).sin())
                .square()
                .mean();
    }

    /** {@code stops} is where the run is stopped and gone on with in another optimiser; −1 for never. */
    private static double[] minimise(String name, int stops) {
        boolean rosenbrock = name.contains("rosenbrock");
        boolean wolfe = name.contains("strong_wolfe");
        DType dtype = DType.valueOf(name.substring(name.lastIndexOf('_') + 1).toUpperCase(Locale.ROOT));
        Tensor p = Tensor.of(rosenbrock ? new double[] {-1, 1.5, 0.5} : new double[] {0.5, -0.25, 0.75})
                .to(dtype)
                .requiresGrad(true);
        UnaryOperator<Tensor> loss = rosenbrock ? SchedulesTest::rosenbrock : SchedulesTest::fit;
        double rate = wolfe ? 1 : rosenbrock ? 0.001 : 0.1;
        List<Double> values = new ArrayList<>();
        Lbfgs lbfgs = new Lbfgs(List.of(p), rate, 5, 6, 1e-7, 1e-9, 3, wolfe);
        for (int t = 0; t < (rosenbrock ? 4 : 3); t++) {
            if (t == stops) {
                Lbfgs next = new Lbfgs(List.of(p), rate, 5, 6, 1e-7, 1e-9, 3, wolfe);
                next.loadStateDict(lbfgs.stateDict());
                lbfgs.close();
                lbfgs = next;
            }
            Lbfgs current = lbfgs;
            values.add(current.step(() -> {
                current.zeroGrad();
                Tensor value = loss.apply(p);
                Autograd.backward(value);
                return value;
            }));
        }
        lbfgs.close();
        for (double v : p.detach().to(DType.FLOAT64).toDoubleArray()) {
            values.add(v);
        }
        return values.stream().mapToDouble(v -> v).toArray();
    }

    @Test
    void lbfgsStepsAreThoseOfPyTorch() {
        Map<String, double[]> golden = golden();
        golden.keySet().removeIf(name -> !name.startsWith("lbfgs"));
        assertThat(golden).hasSize(8);
        golden.forEach((name, expected) -> {
            double[] actual = minimise(name, -1);
            double eps = name.endsWith("float64") ? 1e-9 : 2e-3;
            for (int i = 0; i < expected.length; i++) {
                assertThat(actual[i])
                        .as(name + " " + i)
                        .isCloseTo(expected[i], within(eps * Math.max(1e-3, Math.abs(expected[i]))));
            }
            assertThat(minimise(name, 2)).as(name + " resumed").isEqualTo(actual);
        });
    }

    @Test
    void lbfgsFollowsMovesAndRefusesWhatItCannotStep() {
        Tensor p = Tensor.of(4f, -3).requiresGrad(true);
        Tensor unused = Tensor.ones(2).requiresGrad(true);
        Tensor empty = Tensor.zeros(0).requiresGrad(true);
        dev.merapi.nn.Linear layer = new dev.merapi.nn.Linear(2, 1);
        try (Lbfgs lbfgs = new Lbfgs(List.of(p, unused, empty), 1);
                Lbfgs moving = new Lbfgs(layer.parameters(), 1)) {
            for (int t = 0; t < 2; t++) {
                lbfgs.step(() -> {
                    lbfgs.zeroGrad();
                    Tensor loss = p.sub(1).square().mul(Tensor.of(1f, 10)).sum();
                    Autograd.backward(loss);
                    return loss;
                });
                moving.step(() -> {
                    moving.zeroGrad();
                    Tensor x = Tensor.eye(2).to(layer.weight().dtype());
                    Tensor loss = layer.forward(x).sub(2).square().sum();
                    Autograd.backward(loss);
                    return loss;
                });
                layer.to(DType.FLOAT64);
            }
            assertThat(p.toFloatArray()).usingComparatorWithPrecision(1e-4f).containsExactly(1, 1);
            assertThat(unused.toFloatArray()).containsOnly(1);
            assertThat(layer.forward(Tensor.eye(2).to(DType.FLOAT64)).detach().toDoubleArray())
                    .usingComparatorWithPrecision(1e-4)
                    .containsOnly(2);
            assertThatThrownBy(() -> moving.loadStateDict(lbfgs.stateDict())).isInstanceOf(StateDictException.class);
            layer.to(DType.BFLOAT16);
            assertThatThrownBy(() -> moving.step(() -> p)).isInstanceOf(DTypeException.class);
            unused.close();
            assertThatThrownBy(() -> lbfgs.step(() -> p)).isInstanceOf(ClosedTensorException.class);
        }
    }
}
