// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import dev.merapi.error.DTypeException;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.op.Op;
import dev.merapi.ops.Combine;
import dev.merapi.ops.ReduceArgs;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/**
 * A reduction with a pointwise expression in front, and perhaps one behind, with their programs for the dtypes that were
 * met: what backends build kernels from. One pass over memory, whatever stands around it.
 */
public final class ReduceCode {
    /** A program whose one output is what is combined: one object for each, by which backends know what they made of it. */
    public static final class Specialized {
        private final OperandTypes types;
        private final Program program;
        private final Combine combine;
        private final DType result;
        private final @Nullable Program epilogue;
        private final String text;

        private Specialized(
                OperandTypes types, Program program, Combine combine, DType result, @Nullable Program epilogue) {
            this.types = types;
            this.program = program;
            this.combine = combine;
            this.result = result;
            this.epilogue = epilogue;
            this.text = program.text() + "reduce " + combine.name().toLowerCase(Locale.ROOT) + " " + result.shortName()
                    + "\n";
        }

        /** The expression in front; its output has the type that is accumulated. */
        public Program program() {
            return program;
        }

        /** As in the code, except that the smallest and largest of bools are {@code ALL} and {@code ANY}. */
        public Combine combine() {
            return combine;
        }

        /** Dtype of the result. */
        public DType result() {
            return result;
        }

        /** From the combined value, in the type that is accumulated, to the result; null if that is all. */
        public @Nullable Program epilogue() {
            return epilogue;
        }

        /** The program in front with its line {@code reduce <op> <dtype>}, as native code reads it. */
        public String text() {
            return text;
        }
    }

    private final String name;
    private final Expr prologue;
    private final int inputs;
    private final Combine combine;
    private final @Nullable Expr epilogue;
    private final Promotion promotion;
    private final ConcurrentMap<OperandTypes, Specialized> programs = new ConcurrentHashMap<>();
    private volatile @Nullable Specialized last;

    public ReduceCode(String name, Expr prologue, int inputs, Combine combine) {
        this(name, prologue, inputs, combine, null);
    }

    /** @param epilogue over the combined value, its only input, and the same scalars */
    public ReduceCode(String name, Expr prologue, int inputs, Combine combine, @Nullable Expr epilogue) {
        this.name = name;
        this.prologue = prologue;
        this.inputs = inputs;
        this.combine = combine;
        this.epilogue = epilogue;
        this.promotion = Promotion.of(name);
    }

    /** That of an op. */
    public static ReduceCode of(Op<?, ?> op) {
        return (ReduceCode) Objects.requireNonNull(op.definition().code());
    }

    public Expr prologue() {
        return prologue;
    }

    /** Number of tensors that it takes. */
    public int inputs() {
        return inputs;
    }

    public Combine combine() {
        return combine;
    }

    /** What is done to the combined value, as an expression of {@code input(0)}; null for nothing. */
    public @Nullable Expr epilogue() {
        return epilogue;
    }

    /** The programs for these arguments. */
    public Specialized specialize(ReduceArgs args) {
        return specialize(args.tensors(), args.scalars(), args.dtype());
    }

    private Specialized specialize(Tensor[] operands, List<Number> scalars, @Nullable DType dtype) {
        Specialized found = last;
        if (found != null && found.types.match(operands, scalars, dtype)) {
            return found;
        }
        OperandTypes types = new OperandTypes(operands, scalars, dtype);
        found = programs.get(types);
        if (found == null) {
            Specialized made = compile(types, dtype);
            Specialized there = programs.putIfAbsent(types, made);
            found = there == null ? made : there;
        }
        last = found;
        return found;
    }

    private Specialized compile(OperandTypes types, @Nullable DType dtype) {
        List<Expr> roots = List.of(prologue);
        DType inferred;
        try {
            inferred = Program.compile(roots, types.dtypes(), types.rank0(), types.scalars(), null, promotion)
                    .outputDTypes()
                    .get(0);
        } catch (DTypeException e) {
            throw new DTypeException(name + ": " + e.getMessage());
        }
        Combine effective = combine;
        if (inferred == DType.BOOL && (combine == Combine.MIN || combine == Combine.MAX)) {
            effective = combine == Combine.MIN ? Combine.ALL : Combine.ANY;
        }
        DType result = result(effective, inferred, dtype);
        DType accumulated = accumulated(effective, inferred, result);
        boolean picks =
                effective.isLogical() || effective.isIndex() || effective == Combine.MIN || effective == Combine.MAX;
        Program program = picks
                ? Program.compile(
                        roots, types.dtypes(), types.rank0(), types.scalars(), List.of(accumulated), promotion)
                : Program.compileTerm(prologue, types.dtypes(), types.rank0(), types.scalars(), accumulated, promotion);
        return new Specialized(types, program, effective, result, behind(types, accumulated, result));
    }

    private @Nullable Program behind(OperandTypes types, DType accumulated, DType result) {
        if (epilogue == null) {
            return null;
        }
        if (!result.isFloating()) {
            throw new DTypeException(name + ": needs a floating dtype, but this is " + result
                    + "\n  fix: convert with to(DType.FLOAT32).");
        }
        return Program.compile(
                List.of(epilogue), List.of(accumulated), new boolean[1], types.scalars(), List.of(result));
    }

    private DType result(Combine effective, DType inferred, @Nullable DType asked) {
        if (effective.isLogical()) {
            return DType.BOOL;
        }
        if (effective.isIndex()) {
            return DType.INT64;
        }
        boolean floatingOnly = effective == Combine.MEAN || effective == Combine.VAR;
        DType result = asked != null
                ? asked
                : inferred.isFloating() || floatingOnly || effective == Combine.MIN || effective == Combine.MAX
                        ? inferred
                        : DType.INT64;
        if (floatingOnly && !result.isFloating()) {
            throw new DTypeException(name + ": needs a floating dtype, but this is " + result
                    + "\n  fix: convert with to(DType.FLOAT32)"
                    + (effective == Combine.MEAN ? ", or pass the dtype of the result." : "."));
        }
        if (result == DType.BOOL) {
            throw new DTypeException(
                    name + ": cannot give " + result + "\n  fix: ask for INT64, or use any() or all().");
        }
        return result;
    }

    private static DType accumulated(Combine effective, DType inferred, DType result) {
        if (effective.isLogical()) {
            return DType.BOOL;
        }
        boolean extremum = effective == Combine.MIN || effective == Combine.MAX;
        // The largest after conversion is the conversion of the largest; kernels do not change the kind at the end.
        if (effective.isIndex() || extremum && inferred.isFloating() == result.isFloating()) {
            return inferred.isFloating() ? inferred.computeType() : inferred == DType.INT64 ? DType.INT64 : DType.INT32;
        }
        return result.isFloating() ? result.computeType() : DType.INT64;
    }
}
