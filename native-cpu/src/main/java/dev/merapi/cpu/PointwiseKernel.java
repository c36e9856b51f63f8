// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.error.MissingKernelException;
import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.List;

/** Any pointwise op, by its program in the native block interpreter. */
final class PointwiseKernel implements Kernel<Object, Object> {
    private static final int FLAT_INPUTS = 3;

    private final Definition<?, ?> definition;
    private final String op;
    private final PointwiseCode code;
    private final Programs programs = new Programs();

    PointwiseKernel(Definition<?, ?> definition, PointwiseCode code) {
        this.definition = definition;
        this.op = definition.name();
        this.code = code;
    }

    @Override
    @SuppressWarnings("unchecked")
    public void run(Object args, Object out) {
        Tensor[] inputs = ((PointwiseArgs) args).tensors();
        List<Number> scalars = ((PointwiseArgs) args).scalars();
        if (out instanceof Tensor t) {
            if (t.numel() != 0) {
                NativeProgram program = programs.of(code.specialize(inputs, scalars, t));
                boolean beyond = program.isBeyondLimits()
                        || (inputs.length > FLAT_INPUTS || !runFlat(program.handle, t, inputs, scalars))
                                && !runStrided(program.handle, new Tensor[] {t}, inputs, scalars);
                program.used();
                if (beyond) {
                    runInJava(definition, args, out);
                }
            }
            return;
        }
        Tensor[] outputs = ((List<Tensor>) out).toArray(new Tensor[0]);
        if (outputs[0].numel() != 0) {
            NativeProgram program = programs.of(code.specialize(inputs, scalars));
            boolean beyond = program.isBeyondLimits() || !runStrided(program.handle, outputs, inputs, scalars);
            program.used();
            if (beyond) {
                runInJava(definition, args, out);
            }
        }
    }

    /** Runs a program that is too long for the native interpreter. */
    @SuppressWarnings("unchecked")
    static void runInJava(Definition<?, ?> op, Object args, Object out) {
        if (!(BackendChoice.javaKernel(op, null) instanceof Kernel<?, ?> kernel)) {
            throw new MissingKernelException(
                    op.name() + ": its expression, or its operands' dimensions, are beyond the limits of the native"
                            + " interpreter, and there is no plain-Java kernel\n  fix: split it into several ops.");
        }
        ((Kernel<Object, Object>) kernel).run(args, out);
    }

    private boolean runFlat(long handle, Tensor out, Tensor[] inputs, List<Number> scalars) {
        if (!out.isContiguous()) {
            return false;
        }
        Shape shape = out.shape();
        long n = shape.numel();
        int broadcast = 0;
        for (int i = 0; i < inputs.length; i++) {
            Tensor t = inputs[i];
            if (t.isContiguous() && (t.shape() == shape || t.shape().equals(shape))) {
                continue;
            }
            if (!t.layout().isUniform()) {
                return false;
            }
            broadcast |= 1 << i;
        }
        long values = 0;
        if (!scalars.isEmpty()) {
            Scratch scratch = Scratch.begin().reserve(2 * scalars.size());
            for (int i = 0; i < scalars.size(); i++) {
                scratch.putScalar(scalars.get(i));
            }
            values = scratch.address();
        }
        check(
                op,
                Native.program_run_flat(
                        handle,
                        n,
                        out.address(),
                        inputs.length > 0 ? inputs[0].address() : 0,
                        inputs.length > 1 ? inputs[1].address() : 0,
                        inputs.length > 2 ? inputs[2].address() : 0,
                        broadcast,
                        values));
        return true;
    }

    /** False if the space has more dimensions than native code has room for. */
    private boolean runStrided(long handle, Tensor[] outputs, Tensor[] inputs, List<Number> scalars) {
        Tensor[] all = new Tensor[outputs.length + inputs.length];
        System.arraycopy(outputs, 0, all, 0, outputs.length);
        System.arraycopy(inputs, 0, all, outputs.length, inputs.length);
        Collapsed space = Collapsed.of(outputs[0].shape(), all);
        Scratch scratch =
                Scratch.begin().reserve(4 + space.rank() + all.length * (1 + space.rank()) + 2 * scalars.size());
        scratch.put(space.rank()).put(outputs.length).put(inputs.length).put(scalars.size());
        for (int d = 0; d < space.rank(); d++) {
            scratch.put(space.size(d));
        }
        for (int k = 0; k < all.length; k++) {
            int width = all[k].dtype().byteSize();
            scratch.put(all[k].address());
            for (int d = 0; d < space.rank(); d++) {
                scratch.put(space.stride(k, d) * width);
            }
        }
        for (Number n : scalars) {
            scratch.putScalar(n);
        }
        return succeeds(op, Native.program_run(handle, scratch.address()));
    }

    /** False if a call is beyond the limits of the native interpreter. */
    static boolean succeeds(String op, int status) {
        if (status == NativeProgram.BEYOND_LIMITS) {
            return false;
        }
        check(op, status);
        return true;
    }

    static void check(String op, int status) {
        if (status != 0) {
            throw new IllegalStateException(
                    op + ": the native interpreter returned status " + status + "; please report this");
        }
    }
}
