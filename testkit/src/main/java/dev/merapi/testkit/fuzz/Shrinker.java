// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Makes a program smaller while it still shows the same. */
final class Shrinker {
    private final Device java;
    private final Predicate<Program> shows;

    /** @param shows whether a program still shows the fault */
    Shrinker(Device java, Predicate<Program> shows) {
        this.java = java;
        this.shows = shows;
    }

    Program shrink(Program program, int culprit) {
        Program best = program;
        if (culprit >= 0 && culprit + 1 < program.steps().size()) {
            best = better(best, best.upTo(culprit + 1));
        }
        Program before;
        do {
            before = best;
            best = fewerSteps(best);
            best = leavesForSteps(best);
            best = shorterChains(best);
            best = shorterLists(best);
            best = simplerLeaves(best);
        } while (best != before);
        return best;
    }

    private Program better(Program best, Program candidate) {
        return shows.test(candidate) ? candidate : best;
    }

    private Program fewerSteps(Program program) {
        Program best = program;
        for (int i = best.steps().size() - 1; i >= 0; i--) {
            if (i < best.steps().size()) {
                best = better(best, best.without(i));
            }
        }
        return best;
    }

    /** What a step is given in place of what it makes: those after it stay. */
    private Program shorterChains(Program program) {
        Program best = program;
        for (int i = best.steps().size() - 1; i >= 0; i--) {
            for (Ref given : best.steps().get(i).uses()) {
                Program shorter = better(best, best.bypassing(i, given));
                if (shorter != best) {
                    best = shorter;
                    break;
                }
            }
        }
        return best;
    }

    /** What a step makes given as values. */
    private Program leavesForSteps(Program program) {
        Program best = program;
        for (int i = best.steps().size() - 1; i >= 0; i--) {
            Step step = best.steps().get(i);
            if (step.callee() instanceof Leaf || step.count() == 0) {
                continue;
            }
            List<Leaf> values = values(best, i);
            if (values.size() != step.count()) {
                continue;
            }
            List<Step> changed = new ArrayList<>(best.steps().subList(0, i));
            for (int k = 0; k < values.size(); k++) {
                changed.add(new Step(values.get(k), List.of(), step.first() + k, 1));
            }
            changed.addAll(best.steps().subList(i + 1, best.steps().size()));
            best = better(best, new Program(best.seed(), changed));
        }
        return best;
    }

    /** Lists of tensors with one less. */
    private Program shorterLists(Program program) {
        Program best = program;
        for (int i = 0; i < best.steps().size(); i++) {
            for (int k = 0; k < best.steps().get(i).args().size(); k++) {
                Step step = best.steps().get(i);
                if (step.args().get(k) instanceof List<?> list && list.size() > 1) {
                    for (int e = list.size() - 1; e >= 0; e--) {
                        List<Object> shorter = new ArrayList<>(list);
                        shorter.remove(e);
                        List<@Nullable Object> args = new ArrayList<>(step.args());
                        args.set(k, shorter);
                        // Of fewer inputs there are fewer gradients.
                        int count = step.callee() == Action.GRAD && k == 1 ? step.count() - 1 : step.count();
                        Program candidate = best.with(i, new Step(step.callee(), args, step.first(), count));
                        if (shows.test(candidate)) {
                            best = candidate;
                            break;
                        }
                    }
                }
            }
        }
        return best;
    }

    private List<Leaf> values(Program program, int at) {
        List<Leaf> leaves = new ArrayList<>();
        try (Run run = new Run(java, program.seed(), null)) {
            for (int i = 0; i <= at; i++) {
                Step step = program.steps().get(i);
                List<Tensor> made;
                try {
                    made = run.step(step);
                } catch (RuntimeException e) {
                    made = List.of();
                }
                for (Tensor t : i == at ? made : List.<Tensor>of()) {
                    Object values = t.dtype().isFloating() ? Bits.doubles(t) : Bits.longs(t);
                    leaves.add(new Leaf(t.dtype(), t.shape().toArray(), Leaf.Form.DENSE, values, t.requiresGrad()));
                }
            }
        }
        return leaves;
    }

    private Program simplerLeaves(Program program) {
        Program best = program;
        for (int i = 0; i < best.steps().size(); i++) {
            if (best.steps().get(i).callee() instanceof Leaf leaf) {
                if (leaf.wantsGrad()) {
                    best = replaced(best, i, leaf.withGrad(false));
                }
                best = replaced(best, i, leaf(best, i).with(Leaf.Form.DENSE));
                best = replaced(best, i, ones(leaf(best, i)));
            }
        }
        return best;
    }

    private static Leaf leaf(Program program, int i) {
        return (Leaf) program.steps().get(i).callee();
    }

    private Program replaced(Program best, int i, Leaf leaf) {
        Step step = best.steps().get(i);
        return same((Leaf) step.callee(), leaf) ? best : better(best, best.with(i, step.with(leaf)));
    }

    private static boolean same(Leaf a, Leaf b) {
        return a.form() == b.form() && a.wantsGrad() == b.wantsGrad() && a.values() == b.values();
    }

    private static Leaf ones(Leaf leaf) {
        if (leaf.values() instanceof double[] v) {
            double[] ones = new double[v.length];
            Arrays.fill(ones, 1);
            return Arrays.equals(ones, v)
                    ? leaf
                    : new Leaf(leaf.dtype(), leaf.shape(), leaf.form(), ones, leaf.wantsGrad());
        }
        long[] v = (long[]) leaf.values();
        long[] ones = new long[v.length];
        Arrays.fill(ones, leaf.dtype() == DType.BOOL ? 1 : 0);
        return Arrays.equals(ones, v) ? leaf : new Leaf(leaf.dtype(), leaf.shape(), leaf.form(), ones, false);
    }
}
