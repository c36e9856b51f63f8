// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import static dev.merapi.testkit.OpSamples.samples;

import dev.merapi.ops.Optimizers;
import dev.merapi.ops.RandomOps;
import dev.merapi.ops.StepOp;
import dev.merapi.tensor.Tensor;
import dev.merapi.testkit.Kinds;
import dev.merapi.testkit.Maker;
import dev.merapi.testkit.OpRows;
import dev.merapi.testkit.OpSamples;
import dev.merapi.types.DType;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Samples of the ops that tests of their own hold against their definitions: optimiser steps and random numbers. */
final class RowlessOps {
    /** What no program calls, and why. */
    static final Map<String, String> NEVER = Map.of(
            "merapi::empty", "its contents are undefined",
            "merapi::randperm", "its result lies on the CPU, wherever the program runs");

    private static final long SEED = 7;

    private RowlessOps() {}

    static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> all = new ArrayList<>(List.of(
                samples(Optimizers.ADAM).sample("a step", RowlessOps::adam),
                samples(Optimizers.SGD).sample("a step", m -> sgd(m, 0)).sample("momentum", m -> sgd(m, 0.9)),
                samples(Optimizers.GRAD_NORM)
                        .sample("clipped", m -> new Optimizers.GradNorm(gradients(m), 0.5, real(m, 0.25))),
                samples(Optimizers.SCALE_GRADS)
                        .sample("halves", m -> new Optimizers.ScaleGrads(gradients(m), real(m, 0.5))),
                samples(Optimizers.NON_FINITE).sample("finite", m -> new Optimizers.NonFinite(gradients(m))),
                samples(Optimizers.UPDATE_SCALE)
                        .dtypes(DType.FLOAT32)
                        .sample(
                                "a good step",
                                m -> new Optimizers.UpdateScale(single(m, 1024), count(m, 1), single(m, 0), 2, 0.5, 2)),
                samples(RandomOps.RANDN)
                        .sample(
                                "normal",
                                m -> new RandomOps.Randn(
                                        new long[] {2, 3}, 0.5, 2, m.dtype(), m.device(), SEED, 3, null)),
                samples(RandomOps.RAND)
                        .sample(
                                "uniform",
                                m -> new RandomOps.Rand(
                                        new long[] {5}, -1, 2, m.dtype(), m.device(), SEED, 1, count(m, 2))),
                samples(RandomOps.RANDINT)
                        .dtypes(Kinds.integers())
                        .sample(
                                "range",
                                m -> new RandomOps.Randint(
                                        new long[] {3, 3}, 2, 100, m.dtype(), m.device(), SEED, 0, null)),
                samples(RandomOps.INTEGERS)
                        .dtypes(Kinds.integers())
                        .sample(
                                "range",
                                m -> new RandomOps.Integers(m.constant(0, 9, 2, 5), 0, 200, SEED, 5, count(m, 1)))));
        for (StepOp step : OpRows.steps()) {
            all.add(samples(step.op())
                    .sample("a step", m -> step(step, m, List.of()))
                    .sample("masters", m -> step(step, m, List.of(state(m, 4, 3), state(m, 5)))));
        }
        return all;
    }

    private static StepOp.Args step(StepOp op, Maker m, List<Tensor> master) {
        List<Tensor> states = new ArrayList<>();
        for (int k = 0; k < op.states().size(); k++) {
            states.addAll(List.of(state(m, 4, 3), state(m, 5)));
        }
        return new StepOp.Args(
                gradients(m),
                gradients(m),
                states,
                master,
                List.of(count(m, 0), count(m, 3)),
                real(m, 0.01),
                real(m, 0.5),
                single(m, 0),
                0.125,
                op.settings().stream().<Number>map(name -> 0.25).toList());
    }

    private static Optimizers.Adam adam(Maker m) {
        return new Optimizers.Adam(
                gradients(m),
                gradients(m),
                List.of(state(m, 4, 3), state(m, 5)),
                List.of(state(m, 4, 3), state(m, 5)),
                List.of(),
                List.of(count(m, 0), count(m, 3)),
                real(m, 0.01),
                real(m, 0.5),
                single(m, 0),
                0.9,
                0.99,
                1e-6,
                0.125,
                true);
    }

    private static Optimizers.Sgd sgd(Maker m, double momentum) {
        return new Optimizers.Sgd(
                gradients(m),
                gradients(m),
                momentum == 0 ? List.of() : List.of(state(m, 4, 3), state(m, 5)),
                List.of(state(m, 4, 3), state(m, 5)),
                List.of(count(m, 0), count(m, 3)),
                real(m, 0.01),
                real(m, 0.5),
                single(m, 0),
                momentum,
                momentum / 4,
                momentum > 0,
                0.125);
    }

    private static List<Tensor> gradients(Maker m) {
        return List.of(m.constant(-1, 1, 4, 3), m.constant(-1, 1, 5));
    }

    /** In the dtype that the arithmetic has. */
    private static Tensor state(Maker m, long... shape) {
        return m.constant(0, 1, shape).to(m.dtype().computeType());
    }

    private static Tensor real(Maker m, double value) {
        return Tensor.full(Shape.SCALAR, value, DType.FLOAT64, m.device());
    }

    private static Tensor single(Maker m, double value) {
        return Tensor.full(Shape.SCALAR, value, DType.FLOAT32, m.device());
    }

    private static Tensor count(Maker m, long value) {
        return Tensor.full(Shape.SCALAR, value, DType.INT64, m.device());
    }
}
