// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.ops.StepOp;
import dev.merapi.ops.code.StepCode;
import dev.merapi.reference.StepReference;
import dev.merapi.tensor.Tensor;

/** An optimiser's step by its formula, in the native block interpreter: a call for each parameter, in place. */
final class StepKernel implements Kernel<StepOp.Args, Void> {
    private final Definition<?, ?> definition;
    private final StepCode code;
    private final Programs programs = new Programs();

    StepKernel(Definition<?, ?> definition, StepCode code) {
        this.definition = definition;
        this.code = code;
    }

    @Override
    public void run(StepOp.Args a, Void none) {
        NativeProgram program = programs.of(code.specialize(
                a.params().get(0).dtype(), a.grads().get(0).dtype(), !a.master().isEmpty(), a.gradScale() != null));
        if (program.isBeyondLimits()) {
            PointwiseKernel.runInJava(definition, a, none);
        } else if (!StepReference.isSkipped(a)) {
            double[] scalars = StepReference.scalars(code, a);
            for (int i = 0; i < a.params().size(); i++) {
                if (!a.steps().isEmpty()) {
                    scalars[code.stepAt()] = StepReference.count(a.steps().get(i));
                }
                if (a.params().get(i).numel() != 0) {
                    Scratch operands = operands(a, i, scalars);
                    PointwiseKernel.check(definition.name(), Native.program_run(program.handle, operands.address()));
                }
            }
        }
        program.used();
    }

    /** One dimension of elements side by side; each output lies where an input lies. */
    private Scratch operands(StepOp.Args a, int i, double[] scalars) {
        int n = a.params().size();
        Tensor p = a.params().get(i);
        Tensor master = a.master().isEmpty() ? null : a.master().get(i);
        int outputs = 1 + (master == null ? 0 : 1) + code.states();
        int inputs = 2 + code.states();
        Scratch s = Scratch.begin().reserve(5 + 2 * (outputs + inputs) + 2 * scalars.length);
        s.put(1).put(outputs).put(inputs).put(scalars.length).put(p.numel());
        put(s, p);
        if (master != null) {
            put(s, master);
        }
        for (int k = 0; k < code.states(); k++) {
            put(s, a.states().get(k * n + i));
        }
        put(s, master == null ? p : master);
        put(s, a.grads().get(i));
        for (int k = 0; k < code.states(); k++) {
            put(s, a.states().get(k * n + i));
        }
        for (double value : scalars) {
            s.putScalar(value);
        }
        return s;
    }

    private static void put(Scratch s, Tensor t) {
        s.put(t.address()).put(t.dtype().byteSize());
    }
}
