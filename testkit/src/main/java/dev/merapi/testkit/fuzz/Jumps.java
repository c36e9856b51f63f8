// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.fuzz;

import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Apply;
import dev.merapi.expr.ir.BlockSink;
import dev.merapi.expr.ir.BlockSource;
import dev.merapi.expr.ir.Call;
import dev.merapi.expr.ir.Cast;
import dev.merapi.expr.ir.Opcode;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.layer.CallContext;
import dev.merapi.layer.DispatchLayer;
import dev.merapi.layer.Layers;
import dev.merapi.op.Definition;
import dev.merapi.ops.PointwiseArgs;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.ops.code.PointwiseCode;
import dev.merapi.ops.code.ReduceCode;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What a run chose where results jump: by comparing, rounding to whole numbers, taking signs, converting to integers. Two
 * runs that chose the same lie on one smooth piece of all their ops; where they did not, a difference of their results is
 * no slope, however straight it looks: floor(1/x) climbs its many stairs as evenly as 1/x.
 *
 * <p>The choices are read from the expressions that ops are made of, so that it holds for each op that ever joins, and
 * from results that are no floating numbers, as indices of the largest are.
 */
final class Jumps implements DispatchLayer {
    /** Constant between their jumps. */
    private static final Set<Opcode> STEPS = EnumSet.of(
            Opcode.SIGN, Opcode.FLOOR, Opcode.CEIL, Opcode.ROUND, Opcode.TRUNC, Opcode.FLOORDIV, Opcode.TRUNCDIV);

    private final Map<Object, List<Expr>> known = new HashMap<>();
    private long chosen = 1;

    /** The same number for the same choices. */
    long chosen() {
        return chosen;
    }

    @Override
    public <A extends Record, R> R call(Definition<A, R> op, A args, CallContext context, int below) {
        if (op.isComposite()) {
            return Layers.below(op, args, context, below); // its parts are seen one by one
        }
        RuntimeException failed = null;
        try {
            see(op, args);
        } catch (RuntimeException e) {
            failed = e;
        }
        R result = Layers.whole(op, args, context);
        if (failed != null) { // and the op did not refuse its arguments
            throw new AssertionError("jumps of " + op.name(), failed);
        }
        for (Tensor t : op.result().tensors(op.name(), result)) {
            if (t != null && !t.dtype().isFloating()) {
                see(Bits.of(new Tensor[] {t}));
            }
        }
        return result;
    }

    private void see(Definition<?, ?> op, Record args) {
        List<Expr> steps = op.code() == null ? List.of() : known.computeIfAbsent(op.code(), Jumps::steps);
        if (!steps.isEmpty() && args instanceof PointwiseArgs p) {
            see(steps, p.tensors(), p.scalars());
        } else if (!steps.isEmpty() && args instanceof ReduceArgs r) {
            see(steps, r.tensors(), r.scalars());
        }
    }

    private void see(long value) {
        chosen = (chosen ^ value) * 0xbf58476d1ce4e5b9L;
        chosen ^= chosen >>> 29;
    }

    private void see(double value) {
        see(Double.doubleToLongBits(value + 0.0)); // −0 is 0
    }

    // ---------------------------------------------------------------- expressions

    /** Whether a quotient is rounded to its dtype, and then to a whole number: it may be the next one. */
    static boolean truncatesQuotient(@Nullable Object code) {
        return code != null && steps(code).stream().anyMatch(e -> e instanceof Apply a && a.op() == Opcode.TRUNCDIV);
    }

    /** Whether it compares numbers that it has computed: at a tie, rounding decides. */
    static boolean comparesWhatIsRounded(@Nullable Object code) {
        return code != null
                && steps(code).stream()
                        .anyMatch(e -> e instanceof Apply a
                                && a.op().isPredicate()
                                && a.operands().stream()
                                        .anyMatch(o -> !o.operands().isEmpty()));
    }

    /** The parts of an op that are constant between jumps. */
    private static List<Expr> steps(Object code) {
        Set<Expr> found = new LinkedHashSet<>();
        Set<Expr> seen = Collections.newSetFromMap(new IdentityHashMap<>());
        if (code instanceof PointwiseCode p) {
            p.roots().forEach(e -> collect(e, found, seen));
        } else if (code instanceof ReduceCode r) {
            collect(r.prologue(), found, seen);
        }
        return new ArrayList<>(found);
    }

    private static void collect(Expr e, Set<Expr> found, Set<Expr> seen) {
        if (!seen.add(e)) {
            return;
        }
        if (e instanceof Call call) {
            collect(call.body(), found, seen);
        } else if (e instanceof Cast cast && !cast.dtype().isFloating()) {
            found.add(e);
        } else if (e instanceof Apply a) {
            Opcode op = a.op();
            List<Expr> operands = a.operands();
            if (STEPS.contains(op) || op.isPredicate()) {
                found.add(e);
            } else if (op == Opcode.SELECT) {
                found.add(operands.get(0).not()); // the condition may be any number
            } else if (op == Opcode.FMOD || op == Opcode.REM) {
                found.add(Apply.of(
                        op == Opcode.REM ? Opcode.FLOORDIV : Opcode.TRUNCDIV, operands.get(0), operands.get(1)));
            } else if (op == Opcode.MIN || op == Opcode.MAX) {
                found.add(operands.get(0).lt(operands.get(1))); // at a tie its gradient is of neither side
            } else if (op == Opcode.ABS || op == Opcode.RELU) {
                found.add(operands.get(0).sign());
            } else if (op == Opcode.COPYSIGN) {
                found.add(operands.get(1).sign());
            } else if (op == Opcode.ATAN2) {
                found.add(operands.get(0).sign()); // it jumps by 2π on one side
            }
        }
        e.operands().forEach(o -> collect(o, found, seen));
    }

    private void see(List<Expr> steps, Tensor[] inputs, List<Number> scalars) {
        Shape shape = inputs[0].shape();
        List<DType> dtypes = new ArrayList<>();
        boolean[] rank0 = new boolean[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            shape = Shape.broadcast("jumps", shape, inputs[i].shape());
            dtypes.add(inputs[i].dtype());
            rank0[i] = inputs[i].rank() == 0;
        }
        BlockSource[] sources = new BlockSource[inputs.length];
        for (int i = 0; i < inputs.length; i++) {
            sources[i] = source(inputs[i], inputs[i].layout().expand(shape));
        }
        List<DType.Kind> kinds = scalars.stream()
                .map(n -> n instanceof Double || n instanceof Float ? DType.Kind.FLOATING : DType.Kind.INTEGRAL)
                .toList();
        BlockSink[] sinks = new BlockSink[steps.size()];
        java.util.Arrays.fill(sinks, new Sink());
        Program.compile(steps, dtypes, rank0, kinds, null, Promotion.TOGETHER)
                .run(
                        0,
                        shape.numel(),
                        sources,
                        sinks,
                        scalars.stream().mapToDouble(Number::doubleValue).toArray(),
                        scalars.stream().mapToLong(Number::longValue).toArray());
    }

    private static BlockSource source(Tensor t, Layout expanded) {
        int n = (int) expanded.numel();
        double[] doubles = new double[n];
        long[] longs = new long[n];
        Elements e = n == 0 ? null : Elements.of(t);
        long[] at = new long[expanded.rank()];
        for (int i = 0; e != null && i < n; i++) {
            long position = 0;
            for (int d = 0; d < at.length; d++) {
                position += at[d] * expanded.stride(d);
            }
            if (t.dtype().isFloating()) {
                doubles[i] = e.doubleAt(position);
            } else {
                longs[i] = e.longAt(position);
            }
            for (int d = at.length - 1; d >= 0 && ++at[d] == expanded.size(d); d--) {
                at[d] = 0;
            }
        }
        return t.dtype().isFloating() ? BlockSource.of(doubles) : BlockSource.of(longs);
    }

    private final class Sink implements BlockSink {
        @Override
        public void store(long start, int count, double[] from) {
            for (int i = 0; i < count; i++) {
                see(from[i]);
            }
        }

        @Override
        public void store(long start, int count, long[] from) {
            for (int i = 0; i < count; i++) {
                see(from[i]);
            }
        }
    }
}
