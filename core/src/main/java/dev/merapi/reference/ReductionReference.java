// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.expr.ir.BlockSink;
import dev.merapi.expr.ir.BlockSource;
import dev.merapi.op.Kernel;
import dev.merapi.ops.Combine;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.Shape;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Any reduction: its expression by the Java interpreter, accumulated in float64 or long, in row-major order. */
public final class ReductionReference {
    private ReductionReference() {}

    /** The kernel of an op with this code. */
    static Kernel<ReduceArgs, Tensor> kernel(String name, ReduceCode code) {
        return (args, out) -> run(name, code, args, out);
    }

    private static void run(String name, ReduceCode code, ReduceArgs args, Tensor out) {
        ReduceCode.Specialized s = code.specialize(args);
        Shape shape = args.common(name);
        Positions positions = new Positions(shape, ReduceArgs.mask(name, shape, args.dims()));
        int results = Math.toIntExact(out.numel());
        boolean floating = s.program().outputDTypes().get(0).isFloating();
        Accumulator into =
                floating ? new Doubles(s.combine(), positions, results) : new Longs(s.combine(), positions, results);
        Tensor[] inputs = args.tensors();
        @Nullable BlockSource[] sources = new BlockSource[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            sources[i] = PointwiseReference.source(inputs[i], shape);
        }
        List<Number> scalars = args.scalars();
        s.program()
                .run(
                        0,
                        shape.numel(),
                        sources,
                        new BlockSink[] {into},
                        scalars.stream().mapToDouble(Number::doubleValue).toArray(),
                        scalars.stream().mapToLong(Number::longValue).toArray());
        Elements e = Elements.of(out);
        for (int i = 0; i < results; i++) {
            into.finish(i, e, args.correction());
        }
    }

    /** For each element of a shape: which result it belongs to, and its index within that group. */
    private static final class Positions {
        private final long[] sizes;
        private final boolean[] mask;

        Positions(Shape shape, boolean[] mask) {
            this.sizes = shape.toArray();
            this.mask = mask;
        }

        int result(long i) {
            return (int) at(i, false);
        }

        long index(long i) {
            return at(i, true);
        }

        private long at(long i, boolean reduced) {
            long rest = i;
            long at = 0;
            long stride = 1;
            for (int d = sizes.length - 1; d >= 0; d--) {
                if (mask[d] == reduced) {
                    at += rest % sizes[d] * stride;
                    stride *= sizes[d];
                }
                rest /= sizes[d];
            }
            return at;
        }
    }

    private interface Accumulator extends BlockSink {
        void finish(int i, Elements out, double correction);
    }

    private static final class Doubles implements Accumulator {
        private final Combine combine;
        private final Positions positions;
        private final double[] values;
        private final double[] second; // sums of squared distances for VAR
        private final long[] counts;

        Doubles(Combine combine, Positions positions, int results) {
            this.combine = combine;
            this.positions = positions;
            this.values = new double[results];
            this.second = new double[combine == Combine.VAR ? results : 0];
            this.counts = new long[results];
            Arrays.fill(values, combine == Combine.PROD ? 1 : 0);
        }

        @Override
        public void store(long start, int count, double[] from) {
            for (int k = 0; k < count; k++) {
                add(positions.result(start + k), start + k, from[k]);
            }
        }

        @Override
        public void store(long start, int count, long[] from) {
            throw new IllegalStateException("a floating reduction was given integers");
        }

        private void add(int r, long i, double v) {
            switch (combine) {
                case SUM, MEAN -> values[r] += v;
                case PROD -> values[r] *= v;
                case VAR -> {
                    double distance = v - values[r];
                    values[r] += distance / (counts[r] + 1);
                    second[r] += distance * (v - values[r]);
                }
                case MIN -> values[r] = counts[r] == 0 ? v : Math.min(values[r], v);
                case MAX -> values[r] = counts[r] == 0 ? v : Math.max(values[r], v);
                default -> {
                    // An index plus one in counts; 0 means that nothing was seen.
                    boolean better = combine == Combine.ARGMAX ? v > values[r] : v < values[r];
                    if (counts[r] == 0 || better || Double.isNaN(v) && !Double.isNaN(values[r])) {
                        if (counts[r] == 0 || !Double.isNaN(values[r])) {
                            values[r] = v;
                            counts[r] = positions.index(i) + 1;
                        }
                    }
                    return;
                }
            }
            counts[r]++;
        }

        @Override
        public void finish(int i, Elements out, double correction) {
            switch (combine) {
                case MEAN -> out.setDouble(i, values[i] / counts[i]);
                case VAR -> out.setDouble(i, second[i] / Math.max(0, counts[i] - correction));
                case ARGMIN, ARGMAX -> out.setLong(i, counts[i] - 1);
                default -> out.setDouble(i, values[i]);
            }
        }
    }

    private static final class Longs implements Accumulator {
        private final Combine combine;
        private final Positions positions;
        private final long[] values;
        private final long[] counts;

        Longs(Combine combine, Positions positions, int results) {
            this.combine = combine;
            this.positions = positions;
            this.values = new long[results];
            this.counts = new long[results];
            Arrays.fill(values, combine == Combine.PROD || combine == Combine.ALL ? 1 : 0);
        }

        @Override
        public void store(long start, int count, double[] from) {
            throw new IllegalStateException("an integer reduction was given floats");
        }

        @Override
        public void store(long start, int count, long[] from) {
            for (int k = 0; k < count; k++) {
                add(positions.result(start + k), start + k, from[k]);
            }
        }

        private void add(int r, long i, long v) {
            switch (combine) {
                case SUM -> values[r] += v;
                case PROD -> values[r] *= v;
                case MIN -> values[r] = counts[r] == 0 ? v : Math.min(values[r], v);
                case MAX -> values[r] = counts[r] == 0 ? v : Math.max(values[r], v);
                case ANY -> values[r] |= v;
                case ALL -> values[r] &= v;
                default -> {
                    boolean better = combine == Combine.ARGMAX ? v > values[r] : v < values[r];
                    if (counts[r] == 0 || better) {
                        values[r] = v;
                        counts[r] = positions.index(i) + 1;
                    }
                    return;
                }
            }
            counts[r]++;
        }

        @Override
        public void finish(int i, Elements out, double correction) {
            out.setLong(i, combine.isIndex() ? counts[i] - 1 : values[i]);
        }
    }
}
