// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.expr.ir.BlockSink;
import dev.merapi.expr.ir.BlockSource;
import dev.merapi.op.Kernel;
import dev.merapi.ops.StepOp;
import dev.merapi.ops.code.StepCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** An optimiser's step by its formula, in the Java interpreter: in float64, rounded when it is stored. */
public final class StepReference {
    private StepReference() {}

    /** The kernel of an op with this code. */
    static Kernel<StepOp.Args, Void> kernel(StepCode code) {
        return (args, none) -> run(code, args);
    }

    private static void run(StepCode code, StepOp.Args a) {
        if (isSkipped(a)) {
            return;
        }
        int n = a.params().size();
        double[] scalars = scalars(code, a);
        for (int i = 0; i < n; i++) {
            Tensor p = a.params().get(i);
            List<Tensor> outputs = new ArrayList<>(List.of(p));
            if (!a.master().isEmpty()) {
                outputs.add(a.master().get(i));
            }
            List<Tensor> inputs = new ArrayList<>(List.of(
                    a.master().isEmpty() ? p : a.master().get(i), a.grads().get(i)));
            for (int k = 0; k < code.states(); k++) {
                outputs.add(a.states().get(k * n + i));
                inputs.add(a.states().get(k * n + i));
            }
            if (!a.steps().isEmpty()) {
                scalars[code.stepAt()] = count(a.steps().get(i));
            }
            StepCode.Specialized s = code.specialize(
                    p.dtype(), a.grads().get(i).dtype(), !a.master().isEmpty(), a.gradScale() != null);
            s.program()
                    .run(
                            0,
                            p.numel(),
                            inputs.stream()
                                    .map(t -> PointwiseReference.source(t, t.shape()))
                                    .toArray(BlockSource[]::new),
                            outputs.stream()
                                    .map(t -> PointwiseReference.sink(t, t.shape()))
                                    .toArray(BlockSink[]::new),
                            scalars,
                            new long[scalars.length]);
        }
    }

    /** Whether the step is left out. */
    public static boolean isSkipped(StepOp.Args a) {
        return a.skip() != null && Elements.of(a.skip()).getDouble(0) != 0;
    }

    /** The scalars of a program, but for the number of the step. */
    public static double[] scalars(StepCode code, StepOp.Args a) {
        double[] scalars = new double[code.scalars()];
        for (int k = 0; k < code.settings(); k++) {
            scalars[k] = a.settings().get(k).doubleValue();
        }
        scalars[code.decayAt()] = a.weightDecay();
        scalars[code.rateAt()] = Elements.of(a.rate()).getDouble(0);
        scalars[code.scaleAt()] =
                a.gradScale() == null ? 1 : Elements.of(a.gradScale()).getDouble(0);
        return scalars;
    }

    /** Counts one step more, and says which it is. */
    public static long count(Tensor steps) {
        Elements counted = Elements.of(steps);
        long now = counted.getLong(0) + 1;
        counted.setLong(0, now);
        return now;
    }
}
