// SPDX-License-Identifier: Apache-2.0
package dev.merapi.cuda.kernels;

import static dev.merapi.dispatch.EngineAccess.TENSORS;

import dev.merapi.cuda.launch.KernelFunction;
import dev.merapi.cuda.launch.Kernels;
import dev.merapi.cuda.print.Combiner;
import dev.merapi.cuda.print.ReducePrinter;
import dev.merapi.cuda.print.ReduceVariant;
import dev.merapi.cuda.runtime.Arguments;
import dev.merapi.cuda.runtime.KernelSource;
import dev.merapi.op.Kernel;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.code.Collapsed;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Device;
import dev.merapi.types.Shape;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** Any reduction with what stands around it, in as many stages as its size asks for: every sum is a tree of bounded depth. */
public final class ReduceKernel implements Kernel<Object, Object> {
    private record Key(ReduceCode.Specialized code, ReduceVariant variant, int device) {}

    /** {@code again} is null until a result has stages. */
    private record Functions(
            KernelFunction reduce, @Nullable KernelFunction again) {}

    private final String op;
    private final ReduceCode code;
    private final Kernels kernels;
    private final ConcurrentMap<Key, Functions> functions = new ConcurrentHashMap<>();

    public ReduceKernel(String op, ReduceCode code, Kernels kernels) {
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
        ReduceVariant variant = ReduceVariant.of(kept, reduced, inputs, results, elements);
        Device device = out.device();
        Key key = new Key(s, variant, device.index());

        long accumulator =
                results * Combiner.bytes(s.combine(), s.program().outputDTypes().get(0));
        ReducePlan plan = variant.rows()
                ? ReducePlan.of(results, elements / variant.pack(), true)
                : ReducePlan.of(results / variant.pack(), elements, false);
        Functions f = functions(key, plan.chunks() > 1);
        Tensor partial = partial(plan, accumulator, device);
        try {
            Arguments a = Arguments.begin().next().word(out.address()).word(address(partial));
            for (Tensor t : inputs) {
                a.word(t.address());
            }
            sizes(a, plan, results, elements).real(args.correction());
            scalars(a, args);
            dimensions(a, kept, inputs.length);
            dimensions(a, reduced, inputs.length);
            regions(a, out, partial, inputs);
            kernels.launch(op, device.index(), f.reduce, plan.grid(), a);
            while (partial != null) {
                long parts = plan.chunks();
                plan = ReducePlan.again(results, parts);
                Tensor next = partial(plan, accumulator, device);
                a = Arguments.begin()
                        .next()
                        .word(out.address())
                        .word(address(next))
                        .word(partial.address());
                sizes(a, plan, results, parts)
                        .word(results == 1 ? 1 : 0)
                        .word(elements)
                        .real(args.correction());
                scalars(a, args);
                regions(a, out, next, partial);
                kernels.launch(op, device.index(), Objects.requireNonNull(f.again), plan.grid(), a);
                partial.close();
                partial = next;
            }
        } finally {
            if (partial != null) {
                partial.close();
            }
        }
    }

    private Functions functions(Key key, boolean stages) {
        Functions known = functions.get(key);
        if (known != null && (known.again != null || !stages)) {
            return known;
        }
        KernelSource source = ReducePrinter.source(op, key.code, key.variant);
        KernelFunction again = stages ? kernels.function(key.device, source, "again") : null;
        Functions f = new Functions(kernels.function(key.device, source, "reduce"), again);
        functions.put(key, f);
        return f;
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

    private static @Nullable Tensor partial(ReducePlan plan, long bytes, Device device) {
        return plan.chunks() == 1 ? null : TENSORS.allocate(Shape.of(plan.chunks() * bytes), DType.UINT8, device);
    }

    private static long address(@Nullable Tensor partial) {
        return partial == null ? 0 : partial.address();
    }

    private static Arguments sizes(Arguments a, ReducePlan plan, long results, long elements) {
        return a.word(results)
                .word(elements)
                .word(plan.chunk())
                .word(plan.tiles())
                .word(plan.tx())
                .word(plan.ty());
    }

    private static void scalars(Arguments a, ReduceArgs args) {
        for (Number n : args.scalars()) {
            a.real(n.doubleValue()).word(n.longValue());
        }
    }

    private static void dimensions(Arguments a, Collapsed space, int inputs) {
        for (int d = 0; d < space.rank(); d++) {
            a.word(space.size(d)).word(PointwiseKernel.magic(space.size(d)));
            for (int k = 0; k < inputs; k++) {
                a.word(space.stride(k, d));
            }
        }
    }
}
