// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.expr.ir.BlockSink;
import dev.merapi.expr.ir.BlockSource;
import dev.merapi.op.Kernel;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Any pointwise op by the Java interpreter: floats in float64, integers exactly. */
public final class PointwiseReference {
    private PointwiseReference() {}

    /** The kernel of an op with this code. */
    static Kernel<PointwiseArgs, Object> kernel(PointwiseCode code) {
        return (args, out) -> run(code, args, outputs(out));
    }

    @SuppressWarnings("unchecked")
    private static Tensor[] outputs(Object result) {
        return result instanceof Tensor t ? new Tensor[] {t} : ((List<Tensor>) result).toArray(new Tensor[0]);
    }

    private static void run(PointwiseCode code, PointwiseArgs args, Tensor[] outputs) {
        Tensor[] inputs = args.tensors();
        PointwiseCode.Specialized s = outputs.length == 1
                ? code.specialize(inputs, args.scalars(), outputs[0])
                : code.specialize(inputs, args.scalars());
        Shape shape = outputs[0].shape();
        @Nullable BlockSource[] sources = new BlockSource[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            sources[i] = new Source(walk(inputs[i], shape));
        }
        BlockSink[] sinks = new BlockSink[outputs.length];
        for (int i = 0; i < outputs.length; i++) {
            sinks[i] = new Sink(walk(outputs[i], shape));
        }
        List<Number> scalars = args.scalars();
        double[] doubles = new double[scalars.size()];
        long[] longs = new long[scalars.size()];
        for (int i = 0; i < doubles.length; i++) {
            doubles[i] = scalars.get(i).doubleValue();
            longs[i] = scalars.get(i).longValue();
        }
        s.program().run(0, shape.numel(), sources, sinks, doubles, longs);
    }

    /** The elements of a tensor, expanded to a shape, in row-major order. */
    static BlockSource source(Tensor t, Shape shape) {
        return new Source(walk(t, shape));
    }

    /** Where the elements of a tensor go, in row-major order. */
    static BlockSink sink(Tensor t, Shape shape) {
        return new Sink(walk(t, shape));
    }

    /** The elements of a tensor in the order of a shape that it broadcasts to. */
    private static Walk walk(Tensor t, Shape shape) {
        Layout expanded = t.layout().expand(shape);
        return new Walk(Elements.of(t), expanded, expanded.isContiguous());
    }

    private record Walk(Elements elements, Layout layout, boolean contiguous) {
        /** Distance from the tensor's first element. */
        long position(long i) {
            if (contiguous) {
                return i;
            }
            long at = 0;
            long rest = i;
            for (int d = layout.rank() - 1; d >= 0; d--) {
                long size = layout.size(d);
                at += rest % size * layout.stride(d);
                rest /= size;
            }
            return at;
        }
    }

    private record Source(Walk walk) implements BlockSource {
        @Override
        public void load(long start, int count, double[] into) {
            for (int i = 0; i < count; i++) {
                into[i] = walk.elements.doubleAt(walk.position(start + i));
            }
        }

        @Override
        public void load(long start, int count, long[] into) {
            for (int i = 0; i < count; i++) {
                into[i] = walk.elements.longAt(walk.position(start + i));
            }
        }
    }

    private record Sink(Walk walk) implements BlockSink {
        @Override
        public void store(long start, int count, double[] from) {
            for (int i = 0; i < count; i++) {
                walk.elements.setDoubleAt(walk.position(start + i), from[i]);
            }
        }

        @Override
        public void store(long start, int count, long[] from) {
            for (int i = 0; i < count; i++) {
                walk.elements.setLongAt(walk.position(start + i), from[i]);
            }
        }
    }
}
