// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda;

import dev.merapi.op.Kernel;
import dev.merapi.ops.Collapsed;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** Any reduction with its prologue, in as many stages as the size asks for: every sum is a tree of bounded depth. */
final class ReduceKernel implements Kernel<Object, Object> {
    /** Elements that a thread adds up by itself. */
    private static final long SERIAL = 32;
    /** Bytes of the largest accumulator: a pair of float64, and a count. */
    private static final long ACCUMULATOR = 24;

    private record Key(ReduceCode.Specialized code, int kept, int reduced, boolean wide, int device) {}

    private record Functions(long reduce, long again) {}

    /** How a stage is cut. */
    private record Plan(int tx, int ty, boolean rows, long chunk, long chunks, long tiles) {
        /**
         * @param results how many there are
         * @param elements that make one
         * @param rows whether neighbours in memory belong to one result
         */
        static Plan of(long results, long elements, boolean rows) {
            int all = log2(ReducePrinter.THREADS);
            int ty = rows ? Math.min(all, log2((elements + 3) / 4)) : Math.max(all - log2(Math.min(results, 32)), 0);
            ty = Math.max(0, Math.min(ty, log2(elements)));
            int tx = all - ty;
            long chunk = SERIAL << ty;
            long chunks = Math.max(1, (elements + chunk - 1) / chunk);
            return new Plan(tx, ty, rows, chunk, chunks, (results + (1L << tx) - 1) >> tx);
        }

        /** Rounded up. */
        private static int log2(long n) {
            return n <= 1 ? 0 : 64 - Long.numberOfLeadingZeros(n - 1);
        }

        CudaRuntime.Grid grid() {
            return CudaRuntime.Grid.of(tiles * chunks, ReducePrinter.THREADS);
        }
    }

    private final String op;
    private final ReduceCode code;
    private final Kernels kernels;
    private final ConcurrentMap<Key, Functions> functions = new ConcurrentHashMap<>();

    ReduceKernel(String op, ReduceCode code, Kernels kernels) {
        this.op = op;
        this.code = code;
        this.kernels = kernels;
    }

    @Override
    public void run(Object arguments, Object result) {
        ReduceArgs args = (ReduceArgs) arguments;
        Tensor out = (Tensor) result;
        long results = out.numel();
        if (results == 0) {
            return;
        }
        ReduceCode.Specialized s = code.specialize(args);
        Tensor[] inputs = args.tensors();
        Shape shape = args.common(op);
        boolean[] mask = ReduceArgs.mask(op, shape, args.dims());
        long elements = ReduceArgs.count(shape, mask);
        Collapsed kept = Collapsed.of(shape, inputs, mask, false);
        Collapsed reduced = Collapsed.of(shape, inputs, mask, true);
        boolean wide = PointwiseVariant.isWide(Math.max(results, elements)) || wide(kept, reduced, inputs.length);
        Device device = out.device();
        Key key = new Key(s, kept.rank(), reduced.rank(), wide, device.index());
        Functions f = functions.get(key);
        if (f == null) {
            f = compile(key);
            functions.put(key, f);
        }

        Plan plan = Plan.of(results, elements, isRowWise(kept, reduced, inputs));
        Tensor partial = partial(plan, results, device);
        try {
            Arguments a = Arguments.begin().next().word(out.address()).word(address(partial));
            for (Tensor t : inputs) {
                a.word(t.address());
            }
            sizes(a, plan, results, elements).real(args.correction());
            for (Number n : args.scalars()) {
                a.real(n.doubleValue()).word(n.longValue());
            }
            dimensions(a, kept, inputs.length);
            dimensions(a, reduced, inputs.length);
            regions(a, out, partial, inputs);
            kernels.launch(op, device.index(), f.reduce, plan.grid(), a);
            while (partial != null) {
                long parts = plan.chunks;
                plan = Plan.of(results, parts, results == 1);
                Tensor next = partial(plan, results, device);
                a = Arguments.begin()
                        .next()
                        .word(out.address())
                        .word(address(next))
                        .word(partial.address());
                sizes(a, plan, results, parts).word(elements).real(args.correction());
                regions(a, out, next, partial);
                kernels.launch(op, device.index(), f.again, plan.grid(), a);
                partial.close();
                partial = next;
            }
        } finally {
            if (partial != null) {
                partial.close();
            }
        }
    }

    private Functions compile(Key key) {
        KernelSource source = ReducePrinter.source(op, key.code, key.kept, key.reduced, key.wide);
        return new Functions(
                kernels.function(key.device, source, "reduce"), kernels.function(key.device, source, "again"));
    }

    private void regions(Arguments a, Tensor out, @Nullable Tensor partial, Tensor... inputs) {
        if (!kernels.runtime().checks()) {
            return;
        }
        a.region("y", out, true, partial == null);
        if (partial != null) {
            a.region("partial", partial, true, false);
        }
        for (int k = 0; k < inputs.length; k++) {
            a.region("x" + k, inputs[k], false, false);
        }
    }

    private static @Nullable Tensor partial(Plan plan, long results, Device device) {
        return plan.chunks == 1
                ? null
                : Tensor.allocate(Shape.of(plan.chunks * results * ACCUMULATOR), DType.UINT8, device);
    }

    private static long address(@Nullable Tensor partial) {
        return partial == null ? 0 : partial.address();
    }

    private static Arguments sizes(Arguments a, Plan plan, long results, long elements) {
        return a.word(results)
                .word(elements)
                .word(plan.chunk)
                .word(plan.tiles)
                .word(plan.tx)
                .word(plan.ty)
                .word(plan.rows ? 1 : 0);
    }

    private static void dimensions(Arguments a, Collapsed space, int inputs) {
        for (int d = 0; d < space.rank(); d++) {
            a.word(space.size(d)).word(PointwiseKernel.magic(space.size(d)));
            for (int k = 0; k < inputs; k++) {
                a.word(space.stride(k, d));
            }
        }
    }

    /** Whether the smallest step in memory is along a dimension that is reduced. */
    private static boolean isRowWise(Collapsed kept, Collapsed reduced, Tensor[] inputs) {
        return smallest(reduced, inputs.length) <= smallest(kept, inputs.length);
    }

    private static long smallest(Collapsed space, int inputs) {
        long smallest = Long.MAX_VALUE;
        for (int k = 0; k < inputs; k++) {
            for (int d = 0; d < space.rank(); d++) {
                long stride = space.stride(k, d);
                smallest = stride == 0 ? smallest : Math.min(smallest, stride);
            }
        }
        return smallest;
    }

    private static boolean wide(Collapsed kept, Collapsed reduced, int inputs) {
        for (int k = 0; k < inputs; k++) {
            if (PointwiseVariant.isWide(kept.reach(k) + reduced.reach(k))) {
                return true;
            }
        }
        return false;
    }
}
