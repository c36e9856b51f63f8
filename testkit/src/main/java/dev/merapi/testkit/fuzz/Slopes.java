// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.autograd.Autograd;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Device;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Gradients against differences: a program that ends with gradients of its leaves runs again in float64, with the leaves
 * moved forth and back along a direction. Where both sides do not have one slope, at a kink, or a result jumps in between
 * ({@link Jumps}), nothing is said.
 */
final class Slopes {
    static final double SHIFT = 0x1p-17;

    /**
     * Their gradients leave something out on purpose: a row of padding, sources that others replace. What is converted is
     * the same tensor in float64, and not a copy.
     */
    private static final Set<String> CHOOSING =
            Set.of("scatter", "merapi::scatter", "merapi::embedding", "to", "merapi::cast");

    private Slopes() {}

    /** Whether the program of a seed is one of these: tame contents, and nothing that cuts the graph. */
    static boolean apply(long seed) {
        return (seed >>> 3 & 3) == 1;
    }

    static boolean apply(Program program) {
        int n = program.steps().size();
        return apply(program.seed())
                && n > 0
                && program.steps().get(n - 1).callee() == Action.GRAD
                && program.steps().stream()
                        .limit(n - 1)
                        .noneMatch(s -> s.callee() instanceof Action && !isGradientToGoOnWith(s)
                                || CHOOSING.contains(s.callee().name()));
    }

    private static boolean isGradientToGoOnWith(Step s) {
        return s.callee() == Action.GRAD && s.args().contains(Autograd.Graph.CREATE);
    }

    static void check(Program program, Device java, Features features, List<Finding> findings) {
        try {
            Value middle = value(program, java, 0);
            Value forth = value(program, java, SHIFT);
            Value back = value(program, java, -SHIFT);
            if (middle.jumps(forth) || middle.jumps(back)) {
                features.count(Features.Feature.JUMPS);
                return;
            }
            double right = (forth.sum - middle.sum) / SHIFT;
            double left = (middle.sum - back.sum) / SHIFT;
            double[] slope = slope(program, java);
            // Whether the differences agree is their own affair: beside a wild claim any two of them would.
            double own = Math.max(Math.abs(right), Math.abs(left));
            double size = Math.max(slope[1], own);
            double noise = 1e-14 * Math.max(1, Math.max(Math.abs(middle.sum), slope[2])) / SHIFT;
            // NaN where 0 meets infinity on the way is the formula's, as in PyTorch; SingularPointsContract has those.
            boolean clear = Double.isFinite(size) && Math.abs(right - left) <= 2e-4 * own + noise;
            double central = (right + left) / 2;
            if (clear && Double.isFinite(central)) {
                boolean second = program.steps().stream().anyMatch(Slopes::isGradientToGoOnWith);
                features.count(second ? Features.Feature.SLOPES_OF_GRADIENTS : Features.Feature.SLOPES);
            }
            if (clear && !(Math.abs(central - slope[0]) <= 1e-3 * size + 4 * noise) && Double.isFinite(central)) {
                // Once more at half the distance: a third derivative may be large.
                Value above = value(program, java, SHIFT / 4);
                Value below = value(program, java, -SHIFT / 4);
                double near = (above.sum - below.sum) / (SHIFT / 2);
                if (!middle.jumps(above)
                        && !middle.jumps(below)
                        && Math.abs(near - central) <= 1e-4 * own + 4 * noise) {
                    findings.add(new Finding(
                            Finding.Kind.WRONG_GRADIENT,
                            culprit(program),
                            program.steps().size() - 1,
                            "along a direction " + slope[0] + ", by differences " + near));
                }
            }
        } catch (RuntimeException e) {
            // A step that is refused in float64 says nothing about gradients, nor do results that are narrower.
        }
    }

    /** The last step before the gradients that is no leaf. */
    private static String culprit(Program program) {
        for (int i = program.steps().size() - 2; i >= 0; i--) {
            if (!(program.steps().get(i).callee() instanceof Leaf)) {
                return program.steps().get(i).callee().name();
            }
        }
        return "grad";
    }

    /** The outputs of the last step, weighted by their gradients, and what was chosen on the way. */
    private record Value(double sum, long chosen) {
        boolean jumps(Value to) {
            return chosen != to.chosen;
        }
    }

    /** With the leaves moved. */
    private static Value value(Program program, Device java, double shift) {
        Jumps jumps = new Jumps();
        try (Run run = new Run(java, program.seed(), jumps, true, shift, inputs(program))) {
            Step last = forward(program, run);
            Tensor out = run.tensor((Ref) ((List<?>) nonNull(last.args().get(0))).get(0));
            Tensor weight = run.tensor((Ref) ((List<?>) nonNull(last.args().get(2))).get(0));
            double[] a = Bits.doubles(out);
            double[] b = Bits.doubles(weight);
            double sum = 0;
            for (int i = 0; i < a.length; i++) {
                sum += a[i] * b[i];
            }
            return new Value(sum, jumps.chosen());
        }
    }

    /** What the gradients are taken of. */
    private static Set<Integer> inputs(Program program) {
        Step last = program.steps().get(program.steps().size() - 1);
        return ((List<?>) nonNull(last.args().get(1)))
                .stream().map(r -> ((Ref) r).number()).collect(Collectors.toSet());
    }

    private static Step forward(Program program, Run run) {
        List<Step> steps = program.steps();
        for (Step s : steps.subList(0, steps.size() - 1)) {
            run.step(s);
        }
        if (run.hasNarrowVariables()) {
            throw new ArithmeticException("differences of what is rounded to float32 are no slopes");
        }
        return steps.get(steps.size() - 1);
    }

    /** The gradients along the direction, the sum of the sizes of its parts, and of the outputs. */
    private static double[] slope(Program program, Device java) {
        try (Run run = new Run(java, program.seed(), null, true, 0, Set.of())) {
            Step last = forward(program, run);
            List<Tensor> outputs = tensors(run, last.args().get(0));
            List<Tensor> inputs = tensors(run, last.args().get(1));
            List<@Nullable Tensor> gradients =
                    Autograd.grad(outputs, inputs, tensors(run, last.args().get(2)), Autograd.Graph.FREE, true);
            double sum = 0;
            double size = 0;
            for (int k = 0; k < inputs.size(); k++) {
                Tensor g = gradients.get(k);
                Ref ref = (Ref) ((List<?>) nonNull(last.args().get(1))).get(k);
                if (g == null) {
                    continue;
                }
                Elements place = Elements.of(inputs.get(k));
                double[] values = Bits.doubles(g);
                for (int i = 0; i < values.length; i++) {
                    double part = values[i] * Run.direction(ref.number(), place.position(i));
                    sum += part;
                    size += Math.abs(part);
                }
            }
            double out = 0;
            for (double v : Bits.doubles(outputs.get(0))) {
                out += Math.abs(v);
            }
            return new double[] {sum, size, out};
        }
    }

    private static List<Tensor> tensors(Run run, @Nullable Object refs) {
        return ((List<?>) nonNull(refs)).stream().map(r -> run.tensor((Ref) r)).toList();
    }

    private static Object nonNull(@Nullable Object o) {
        return java.util.Objects.requireNonNull(o);
    }
}
