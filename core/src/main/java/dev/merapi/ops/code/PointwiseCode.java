// SPDX-License-Identifier: Apache-2.0
package dev.merapi.ops.code;

import dev.merapi.error.DTypeException;
import dev.merapi.error.Message;
import dev.merapi.expr.Expr;
import dev.merapi.expr.ir.Program;
import dev.merapi.expr.ir.Promotion;
import dev.merapi.op.Op;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;

/** The expressions of a pointwise op, and their programs for the dtypes that were met. What backends build kernels from. */
public final class PointwiseCode {
    /** A program: one object for each that there is, by which backends know what they made of it. */
    public static final class Specialized {
        private final OperandTypes types;
        private final Program program;
        private final DType[] outputs;
        /** Of scalars that become integers, the dtype; null if there are none. */
        private final @Nullable DType @Nullable [] integers;

        private Specialized(OperandTypes types, Program program) {
            this.types = types;
            this.program = program;
            this.outputs = program.outputDTypes().toArray(new DType[0]);
            @Nullable DType[] found = new DType[program.scalarCount()];
            boolean any = false;
            for (int k = 0; k < found.length; k++) {
                found[k] = program.integersOf(k);
                any |= found[k] != null;
            }
            this.integers = any ? found : null;
        }

        /** @throws DTypeException if a scalar does not fit into the integers that it is converted to */
        public void requireFitting(String op, Signature signature, List<Number> scalars) {
            if (integers == null) {
                return;
            }
            for (int k = 0; k < integers.length; k++) {
                DType dtype = integers[k];
                if (dtype != null && !dtype.holds(scalars.get(k).longValue())) {
                    throw new DTypeException(
                            Message.of(op + ": " + signature.scalars().get(k) + " = " + scalars.get(k)
                                            + " does not fit into " + dtype)
                                    .fix("convert the tensor to a wider dtype first, as with to(DType.INT64)"));
                }
            }
        }

        public Program program() {
            return program;
        }

        public DType output(int i) {
            return outputs[i];
        }
    }

    private final List<Expr> roots;
    private final int inputs;
    private final Promotion promotion;
    private final ConcurrentMap<OperandTypes, Specialized> programs = new ConcurrentHashMap<>();
    /** The program that was asked for last, with the inferred and with a given output dtype. */
    private volatile @Nullable Specialized last;

    private volatile @Nullable Specialized lastForced;

    public PointwiseCode(List<Expr> roots, int inputs, Promotion promotion) {
        this.roots = List.copyOf(roots);
        this.inputs = inputs;
        this.promotion = promotion;
    }

    /** That of an op. */
    public static PointwiseCode of(Op<?, ?> op) {
        return (PointwiseCode) Objects.requireNonNull(op.definition().code());
    }

    public List<Expr> roots() {
        return roots;
    }

    /** Number of tensors that it takes. */
    public int inputs() {
        return inputs;
    }

    /** The program for these operands: their dtypes, and which of them have rank 0 and so count less in promotion. */
    public Specialized specialize(Tensor[] operands, List<Number> scalars) {
        return specialize(operands, scalars, (DType) null);
    }

    /** The program that stores into this one output, converting if its dtype is not the inferred one. */
    public Specialized specialize(Tensor[] operands, List<Number> scalars, Tensor output) {
        Specialized inferred = specialize(operands, scalars, (DType) null);
        return output.dtype() != inferred.outputs[0] ? specialize(operands, scalars, output.dtype()) : inferred;
    }

    private Specialized specialize(Tensor[] operands, List<Number> scalars, @Nullable DType forced) {
        Specialized found = forced == null ? last : lastForced;
        if (found != null && found.types.match(operands, scalars, forced)) {
            return found;
        }
        OperandTypes types = new OperandTypes(operands, scalars, forced);
        found = programs.get(types);
        if (found == null) {
            Specialized made = new Specialized(types, compile(types, forced));
            Specialized there = programs.putIfAbsent(types, made);
            found = there == null ? made : there;
        }
        if (forced == null) {
            last = found;
        } else {
            lastForced = found;
        }
        return found;
    }

    private Program compile(OperandTypes types, @Nullable DType forced) {
        return Program.compile(
                roots,
                types.dtypes(),
                types.rank0(),
                types.scalars(),
                forced == null ? null : List.of(forced),
                promotion);
    }
}
