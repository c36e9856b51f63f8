// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.seams;

import static org.assertj.core.api.Assertions.assertThat;

import dev.merapi.autograd.Autocast;
import dev.merapi.autograd.Autograd;
import dev.merapi.autograd.Checkpoint;
import dev.merapi.backend.Backends;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Sequential;
import dev.merapi.optim.AdamW;
import dev.merapi.optim.Clip;
import dev.merapi.optim.GradScaler;
import dev.merapi.optim.Optimizer;
import dev.merapi.reference.JavaBackend;
import dev.merapi.state.StateDict;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** A model that moves, to another dtype or device and back, between and within the parts of a step: it trains as one that stays. */
class MoveSeamsTest {
    private static final DeviceType THERE = DeviceType.register("move-seams");

    @BeforeAll
    static void device() {
        Backends.register(new JavaBackend(THERE));
    }

    private static Sequential model() {
        Sequential model =
                new Sequential().then(new Linear(3, 4)).then(Tensor::tanh).then(new Linear(4, 2));
        int[] next = {0};
        model.namedParameters().values().forEach(p -> {
            double[] values = new double[(int) p.tensor().numel()];
            for (int i = 0; i < values.length; i++) {
                values[i] = (next[0]++ * 5 % 11 - 5) / 8.0;
            }
            Autograd.noGrad(() -> p.tensor().copyFrom(values));
        });
        return model;
    }

    private static Tensor input(Sequential model) {
        Tensor p = model.parameters().get(0).tensor();
        return Tensor.of(new float[] {1, -0.5f, 0.25f, 2, 0.125f, -1}, 2, 3)
                .to(p.dtype())
                .to(p.device());
    }

    private static double[] weights(Sequential model) {
        List<Double> all = new ArrayList<>();
        model.parameters().forEach(p -> {
            for (double v : p.tensor().detach().to(DType.FLOAT64).toDoubleArray()) {
                all.add(v);
            }
        });
        return all.stream().mapToDouble(Double::doubleValue).toArray();
    }

    /** What a step is made of; a move may come before each of these. */
    private static final int PLACES = 6;

    private record Ways(Consumer<Sequential> away, Consumer<Sequential> back) {}

    private static Map<String, Ways> ways() {
        Map<String, Ways> ways = new LinkedHashMap<>();
        ways.put("dtype", new Ways(m -> m.to(DType.FLOAT64), m -> m.to(DType.FLOAT32)));
        ways.put("device", new Ways(m -> m.to(Device.of(THERE, 0)), m -> m.to(Device.CPU)));
        ways.put("inference mode", around(m -> {
            try (Autograd.Mode mode = Autograd.inference()) {
                m.to(DType.FLOAT64);
                m.to(DType.FLOAT32);
            }
        }));
        ways.put("autocast", around(m -> {
            try (Autocast mode = Autocast.on(DType.BFLOAT16)) {
                m.to(DType.FLOAT64);
                m.to(DType.FLOAT32);
            }
        }));
        ways.put("a scope", around(m -> {
            try (Scope scope = Scope.open()) {
                m.to(DType.FLOAT64);
                m.to(DType.FLOAT32);
            }
        }));
        ways.put("another thread", around(m -> {
            Thread t = new Thread(() -> {
                m.to(DType.FLOAT64);
                m.to(DType.FLOAT32);
            });
            t.start();
            try {
                t.join();
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }));
        ways.put("a state that is loaded", around(m -> {
            StateDict state = m.stateDict();
            Map<String, Tensor> copies = new LinkedHashMap<>();
            state.all(Tensor.class)
                    .forEach((name, t) -> copies.put(name, t.detach().to(DType.FLOAT64)));
            m.to(DType.FLOAT64);
            m.loadStateDict(StateDict.of(copies));
            m.to(DType.FLOAT32);
        }));
        return ways;
    }

    private static Ways around(Consumer<Sequential> both) {
        return new Ways(both, m -> {});
    }

    private record Trained(double[] weights, List<String> hooks, double scale) {}

    private static Trained train(Ways way, int place) {
        Sequential model = model();
        List<String> hooks = new ArrayList<>();
        Runnable unused = Autograd.hookAfterAccumulate(
                model.parameters().get(0).tensor(),
                leaf -> hooks.add(leaf.grad().shape().toString()));
        Runnable also = Autograd.hook(model.parameters().get(1).tensor(), g -> g.mul(0.5));
        BiConsumer<Integer, Integer> at = (step, here) -> {
            if (way != null && here == place) {
                (step % 2 == 0 ? way.away : way.back).accept(model);
            }
        };
        try (Optimizer adam = new AdamW(model.parameters(), 0.05, 0.1);
                GradScaler scaler = new GradScaler(8, 2, 0.5, 2, true)) {
            for (int step = 0; step < 4; step++) {
                at.accept(step, 0);
                Tensor loss = Checkpoint.checkpoint(model::forward, input(model))
                        .square()
                        .sum();
                at.accept(step, 1);
                Autograd.backward(scaler.scale(loss));
                at.accept(step, 2);
                scaler.unscale_(adam);
                at.accept(step, 3);
                Tensor norm = Clip.norm_(model.parameters(), 0.5);
                assertThat(norm.item()).isPositive();
                at.accept(step, 4);
                scaler.step(adam);
                scaler.update();
                at.accept(step, 5);
                adam.loadStateDict(adam.stateDict());
                adam.zeroGrad();
            }
            assertThat(adam.steps()).isEqualTo(4);
            return new Trained(weights(model), hooks, scaler.scale());
        }
    }

    @Test
    void trainingGoesOnWhereverItMoves() {
        Trained expected = train(null, -1);
        ways().forEach((name, way) -> {
            for (int place = 0; place < PLACES; place++) {
                if (place == 1) {
                    continue; // a part that is computed again sees what it was computed with; see below
                }
                String what = name + " at " + place;
                Trained found;
                try {
                    found = train(way, place);
                } catch (RuntimeException e) {
                    throw new AssertionError(what, e);
                }
                assertThat(found.weights)
                        .as(what)
                        .usingComparatorWithPrecision(2e-5)
                        .containsExactly(expected.weights);
                assertThat(found.hooks).as(what).isEqualTo(expected.hooks);
                assertThat(found.scale).as(what).isEqualTo(expected.scale);
            }
        });
    }
}
