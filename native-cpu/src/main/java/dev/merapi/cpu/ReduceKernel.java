// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cpu;

import dev.merapi.op.Definition;
import dev.merapi.op.Kernel;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;

/** Any reduction with its pointwise prologue, in one pass of the native reducer. */
final class ReduceKernel implements Kernel<Object, Object> {
    private final Definition<?, ?> definition;
    private final String op;
    private final ReduceCode code;
    private final Programs programs = new Programs();

    ReduceKernel(Definition<?, ?> definition, ReduceCode code) {
        this.definition = definition;
        this.op = definition.name();
        this.code = code;
    }

    @Override
    public void run(Object arguments, Object result) {
        ReduceArgs args = (ReduceArgs) arguments;
        Tensor out = (Tensor) result;
        Tensor[] inputs = args.tensors();
        NativeProgram program = programs.of(code.specialize(args));
        boolean beyond = program.isBeyondLimits() || !runNatively(program.handle, args, out, inputs);
        program.used();
        if (beyond) {
            PointwiseKernel.runInJava(definition, arguments, result);
        }
    }

    private boolean runNatively(long handle, ReduceArgs args, Tensor out, Tensor[] inputs) {
        Shape shape = args.common(op);
        boolean[] mask = ReduceArgs.mask(op, shape, args.dims());
        int rank = mask.length;
        int reduced = 0;
        for (boolean m : mask) {
            reduced += m ? 1 : 0;
        }
        int kept = rank - reduced;
        Scratch scratch = Scratch.begin()
                .reserve(5
                        + rank
                        + 2 * (1 + kept)
                        + inputs.length * (1 + rank)
                        + 2 * args.scalars().size());
        scratch.put(kept).put(reduced).put(inputs.length).put(args.scalars().size());
        scratch.put(Double.doubleToRawLongBits(args.correction()));
        putSizes(scratch, shape, mask, false);
        putSizes(scratch, shape, mask, true);
        scratch.put(out.address());
        putResultStrides(scratch, out, mask, args.keepDim());
        scratch.put(0);
        for (int d = 0; d < kept; d++) {
            scratch.put(0);
        }
        for (Tensor t : inputs) {
            scratch.put(t.address());
            putStrides(scratch, t, mask, false);
            putStrides(scratch, t, mask, true);
        }
        for (Number n : args.scalars()) {
            scratch.putScalar(n);
        }
        return PointwiseKernel.succeeds(op, Native.reduce_run(handle, scratch.address()));
    }

    private static void putSizes(Scratch scratch, Shape shape, boolean[] mask, boolean which) {
        for (int d = 0; d < mask.length; d++) {
            if (mask[d] == which) {
                scratch.put(shape.size(d));
            }
        }
    }

    private static void putResultStrides(Scratch scratch, Tensor out, boolean[] mask, boolean keepDim) {
        int at = 0;
        for (int d = 0; d < mask.length; d++) {
            if (!mask[d]) {
                scratch.put(out.layout().stride(at) * out.dtype().byteSize());
            }
            at += mask[d] && !keepDim ? 0 : 1;
        }
    }

    private static void putStrides(Scratch scratch, Tensor t, boolean[] mask, boolean which) {
        Layout layout = t.layout();
        int shift = mask.length - layout.rank();
        for (int d = 0; d < mask.length; d++) {
            if (mask[d] == which) {
                int own = d - shift;
                scratch.put(
                        own < 0 || layout.size(own) == 1
                                ? 0
                                : layout.stride(own) * t.dtype().byteSize());
            }
        }
    }
}
