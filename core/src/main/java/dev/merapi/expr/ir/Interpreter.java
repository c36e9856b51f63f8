// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Runs programs in plain Java, a block of elements at a time: each instruction is one loop over arrays that stay in the
 * first-level cache.
 */
final class Interpreter {
    private static final int BLOCK = 256;
    private static final double[] NO_DOUBLES = {};
    private static final long[] NO_LONGS = {};

    private final double[][] floats;
    private final long[][] integers;

    private Interpreter(List<RegType> registers, int block) {
        floats = new double[registers.size()][];
        integers = new long[registers.size()][];
        for (int r = 0; r < registers.size(); r++) {
            boolean floating = registers.get(r).isFloating();
            floats[r] = floating ? new double[block] : NO_DOUBLES;
            integers[r] = floating ? NO_LONGS : new long[block];
        }
    }

    static void run(
            Program program,
            long start,
            long end,
            @Nullable BlockSource[] inputs,
            BlockSink[] outputs,
            double[] doubles,
            long[] longs) {
        if (end <= start) {
            return;
        }
        int block = (int) Math.min(BLOCK, end - start);
        Interpreter interpreter = new Interpreter(program.registers(), block);
        List<Instruction> steps = program.instructions();
        for (int i = 0; i < program.prologue(); i++) {
            interpreter.step(steps.get(i), start, block, inputs, outputs, doubles, longs);
        }
        for (long at = start; at < end; at += block) {
            int count = (int) Math.min(block, end - at);
            for (int i = program.prologue(); i < steps.size(); i++) {
                interpreter.step(steps.get(i), at, count, inputs, outputs, doubles, longs);
            }
        }
    }

    /** The bits of a result whose operands are constants, rounded to its type. */
    static long fold(Opcode op, RegType type, List<Value> operands, long imm) {
        RegType result = Instruction.resultType(op, type, imm);
        List<RegType> types = new ArrayList<>();
        operands.forEach(operand -> types.add(operand.resultType()));
        types.add(result);
        Interpreter one = new Interpreter(types, 1);
        for (int k = 0; k < operands.size(); k++) {
            one.constant(operands.get(k).resultType(), k, operands.get(k).imm, 1);
        }
        int last = operands.size();
        one.compute(new Instruction(op, type, last, 0, last > 1 ? 1 : -1, last > 2 ? 2 : -1, imm), 1);
        return switch (result) {
            case F32 -> Float.floatToIntBits((float) one.floats[last][0]);
            case F64 -> Double.doubleToLongBits(one.floats[last][0]);
            default -> one.integers[last][0];
        };
    }

    private void step(
            Instruction step,
            long at,
            int count,
            @Nullable BlockSource[] inputs,
            BlockSink[] outputs,
            double[] doubles,
            long[] longs) {
        int imm = (int) step.imm();
        switch (step.op()) {
            case LOAD -> {
                BlockSource source = inputs[imm];
                if (source == null) {
                    throw new IllegalArgumentException("run: input " + imm + " is used but null");
                }
                if (step.type().isFloating()) {
                    source.load(at, count, floats[step.dst()]);
                } else {
                    source.load(at, count, integers[step.dst()]);
                }
            }
            case STORE -> {
                if (step.type().isFloating()) {
                    outputs[imm].store(at, count, floats[step.a()]);
                } else {
                    outputs[imm].store(at, count, integers[step.a()]);
                }
            }
            case CONST -> constant(step.type(), step.dst(), step.imm(), count);
            case SCALAR -> scalar(step.type(), step.dst(), doubles[imm], longs[imm], count);
            default -> compute(step, count);
        }
    }

    private void constant(RegType type, int dst, long bits, int count) {
        switch (type) {
            case F32 -> Arrays.fill(floats[dst], 0, count, Float.intBitsToFloat((int) bits));
            case F64 -> Arrays.fill(floats[dst], 0, count, Double.longBitsToDouble(bits));
            default -> Arrays.fill(integers[dst], 0, count, bits);
        }
    }

    private void scalar(RegType type, int dst, double real, long integer, int count) {
        switch (type) {
            case F32 -> Arrays.fill(floats[dst], 0, count, (float) real);
            case F64 -> Arrays.fill(floats[dst], 0, count, real);
            case I32 -> Arrays.fill(integers[dst], 0, count, (int) integer);
            case I64 -> Arrays.fill(integers[dst], 0, count, integer);
            case BOOL -> Arrays.fill(integers[dst], 0, count, integer != 0 ? 1 : 0);
        }
    }

    private void compute(Instruction step, int count) {
        Opcode op = step.op();
        if (op == Opcode.CAST) {
            cast(step, count);
        } else if (op == Opcode.SELECT) {
            select(step, count);
        } else if (step.type().isFloating()) {
            double[] a = floats[step.a()];
            double[] b = step.b() < 0 ? NO_DOUBLES : floats[step.b()];
            if (op.isPredicate() || op.isStep()) {
                settle(step.type(), a, count);
                settle(step.type(), b, count);
            }
            if (op.isPredicate()) {
                FloatKernels.predicate(op, integers[step.dst()], a, b, count);
            } else if (op == Opcode.FMA) {
                FloatKernels.fma(floats[step.dst()], a, b, floats[step.c()], count);
            } else if (op.arity() == 1) {
                FloatKernels.unary(op, floats[step.dst()], a, count);
            } else {
                FloatKernels.binary(op, floats[step.dst()], a, b, count);
            }
        } else {
            long[] b = step.b() < 0 ? NO_LONGS : integers[step.b()];
            IntegerKernels.compute(op, step.type(), integers[step.dst()], integers[step.a()], b, count);
        }
    }

    /**
     * What is compared, rounded to a whole number, or leaves its type, has the digits of its type: as in compiled kernels, which
     * have no others.
     */
    private static void settle(RegType type, double[] a, int count) {
        if (type == RegType.F32 && a.length > 0) {
            FloatKernels.round(type, a, a, count);
        }
    }

    private void select(Instruction step, int count) {
        long[] condition = integers[step.a()];
        if (step.type().isFloating()) {
            double[] into = floats[step.dst()];
            double[] a = floats[step.b()];
            double[] b = floats[step.c()];
            for (int i = 0; i < count; i++) {
                into[i] = condition[i] != 0 ? a[i] : b[i];
            }
        } else {
            long[] into = integers[step.dst()];
            long[] a = integers[step.b()];
            long[] b = integers[step.c()];
            for (int i = 0; i < count; i++) {
                into[i] = condition[i] != 0 ? a[i] : b[i];
            }
        }
    }

    private void cast(Instruction step, int count) {
        RegType to = step.resultType();
        if (step.type().isFloating()) {
            double[] a = floats[step.a()];
            if (to != RegType.F32) {
                settle(step.type(), a, count);
            }
            if (to.isFloating()) {
                FloatKernels.round(to, floats[step.dst()], a, count);
            } else {
                FloatKernels.toInteger(to, integers[step.dst()], a, count);
            }
        } else if (to.isFloating()) {
            IntegerKernels.toFloat(to, floats[step.dst()], integers[step.a()], count);
        } else {
            IntegerKernels.narrow(to, integers[step.dst()], integers[step.a()], count);
        }
    }
}
