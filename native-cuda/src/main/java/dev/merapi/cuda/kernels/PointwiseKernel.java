// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.print.PointwisePrinter;
import dev.merapi.cuda.print.PointwiseVariant;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.op.Kernel;
import dev.merapi.ops.CopyOps;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Tensor;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;

/**
 * Any pointwise op: its program is printed for the way that its operands lie in memory, and compiled at first use. Copies
 * that transpose go to {@link TransposeKernel}.
 */
public final class PointwiseKernel implements Kernel<Object, Object> {
    private record Key(PointwiseCode.Specialized code, PointwiseVariant variant, int device) {}

    private final String op;
    private final PointwiseCode code;
    private final Kernels kernels;
    private final ConcurrentMap<Key, KernelFunction> functions = new ConcurrentHashMap<>();

    public PointwiseKernel(String op, PointwiseCode code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.kernels = kernels;
    }

    @Override
    @SuppressWarnings("unchecked")
    public void run(Object args, Object out) {
        Tensor[] inputs = ((PointwiseArgs) args).tensors();
        List<Number> scalars = ((PointwiseArgs) args).scalars();
        Tensor[] outputs = out instanceof Tensor t ? new Tensor[] {t} : ((List<Tensor>) out).toArray(new Tensor[0]);
        long numel = outputs[0].numel();
        if (numel == 0) {
            return;
        }
        PointwiseCode.Specialized specialized =
                outputs.length == 1 ? code.specialize(inputs, scalars, outputs[0]) : code.specialize(inputs, scalars);
        Tensor[] operands = new Tensor[outputs.length + inputs.length];
        System.arraycopy(outputs, 0, operands, 0, outputs.length);
        System.arraycopy(inputs, 0, operands, outputs.length, inputs.length);
        Collapsed space = Collapsed.of(outputs[0].shape(), operands);
        TransposeKernel transposed =
                args instanceof CopyOps.CopyArgs ? TransposeKernel.of(space, outputs[0], inputs[0]) : null;
        if (transposed != null) {
            transposed.run(kernels, op, inputs[0], outputs[0]);
            return;
        }
        PointwiseVariant variant = PointwiseVariant.of(space, numel, operands);
        int device = outputs[0].device().index();
        KernelFunction function = function(specialized, variant, device);

        Arguments a = Arguments.begin().next();
        for (Tensor t : operands) {
            a.word(t.address());
        }
        a.word(numel);
        for (Number s : scalars) {
            a.real(s.doubleValue()).word(s.longValue());
        }
        for (int d = 0; d < variant.rank(); d++) {
            a.word(space.size(d)).word(magic(space.size(d)));
            for (int k = 0; k < operands.length; k++) {
                a.word(space.stride(k, d));
            }
        }
        if (kernels.runtime().checks()) {
            for (int k = 0; k < operands.length; k++) {
                boolean written = k < outputs.length;
                a.region(written ? "y" + k : "x" + (k - outputs.length), operands[k], written, false);
            }
        }
        long packs = (numel + variant.vector() - 1) / variant.vector();
        kernels.launch(op, device, function, kernels.spread(device, packs, PointwisePrinter.THREADS), a);
    }

    private KernelFunction function(PointwiseCode.Specialized specialized, PointwiseVariant variant, int device) {
        Key key = new Key(specialized, variant, device);
        KernelFunction known = functions.get(key);
        if (known == null) {
            known = kernels.function(device, PointwisePrinter.source(op, specialized.program(), variant));
            functions.put(key, known);
        }
        return known;
    }

    /** What the prelude's {@code divide} takes for a divisor below 2³¹: a multiplier, and above it a shift. */
    static long magic(long divisor) {
        int shift = divisor <= 1 ? 0 : 64 - Long.numberOfLeadingZeros(divisor - 1);
        if (divisor <= 0 || shift > 31) {
            return 0; // not used: nothing is there, or the 64-bit kernel divides
        }
        long multiplier = ((1L << 32) * ((1L << shift) - divisor)) / divisor + 1;
        return multiplier & 0xffffffffL | (long) shift << 32;
    }
}
