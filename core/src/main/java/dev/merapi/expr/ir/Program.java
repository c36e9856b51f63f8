// SPDX-License-Identifier: Apache-2.0
package dev.merapi.expr.ir;

import dev.merapi.expr.Expr;
import dev.merapi.types.DType;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Expressions specialised for concrete dtypes: a flat list of typed instructions over registers, immutable and safe to
 * share. Native code takes {@link #text}, a CUDA printer {@link #instructions}, plain Java {@link #run}.
 *
 * <p>Types follow PyTorch's promotion, and {@link Promotion} says where operands are converted. Small floats compute in float32, and are rounded when stored; arithmetic on integers
 * of 8 and 16 bits wraps after each op; integer division by zero gives 0.
 */
public final class Program {
    private final List<DType> inputDTypes;
    private final List<DType> outputDTypes;
    private final @Nullable DType[] scalars;
    private final List<Instruction> instructions;
    private final int prologue;
    private final List<RegType> registers;
    private final List<BitSet> used;
    private final String text;

    private Program(
            List<DType> inputDTypes,
            List<DType> outputDTypes,
            @Nullable DType[] scalars,
            Registers.Allocation allocation,
            List<BitSet> used) {
        this.inputDTypes = inputDTypes;
        this.outputDTypes = outputDTypes;
        this.scalars = scalars;
        this.instructions = allocation.instructions();
        this.prologue = allocation.prologue();
        this.registers = allocation.registers();
        this.used = used;
        this.text = print();
    }

    /**
     * Specialises expressions.
     *
     * @param roots one expression an output; free of {@code output} and {@code gradient} variables
     * @param inputDTypes dtype of each input
     * @param rank0 whether each input is a tensor of rank 0: beside tensors with dimensions only its category counts
     * @param scalarKinds kind of each scalar parameter, weakly typed
     * @param forcedOutputDTypes dtypes to convert the outputs to, or null for the inferred ones
     * @param promotion where operands of different dtypes are converted
     * @throws dev.merapi.error.DTypeException if an op is not defined for the dtypes it meets
     * @throws IllegalArgumentException if variables are out of range
     */
    public static Program compile(
            List<Expr> roots,
            List<DType> inputDTypes,
            boolean[] rank0,
            List<DType.Kind> scalarKinds,
            @Nullable List<DType> forcedOutputDTypes,
            Promotion promotion) {
        return compile(roots, inputDTypes, rank0, scalarKinds, forcedOutputDTypes, promotion, false);
    }

    /**
     * As the full form, for one value that a sum is made of: it is not converted to the dtype of the sum when it is done,
     * but computed in it as far as the promotion allows.
     */
    public static Program compileTerm(
            Expr root,
            List<DType> inputDTypes,
            boolean[] rank0,
            List<DType.Kind> scalarKinds,
            DType sum,
            Promotion promotion) {
        return compile(List.of(root), inputDTypes, rank0, scalarKinds, List.of(sum), promotion, true);
    }

    private static Program compile(
            List<Expr> roots,
            List<DType> inputDTypes,
            boolean[] rank0,
            List<DType.Kind> scalarKinds,
            @Nullable List<DType> forcedOutputDTypes,
            Promotion promotion,
            boolean term) {
        return DeepStack.call(
                ExprNode.depth(roots),
                () -> lowered(roots, inputDTypes, rank0, scalarKinds, forcedOutputDTypes, promotion, term));
    }

    private static Program lowered(
            List<Expr> roots,
            List<DType> inputDTypes,
            boolean[] rank0,
            List<DType.Kind> scalarKinds,
            @Nullable List<DType> forcedOutputDTypes,
            Promotion promotion,
            boolean term) {
        checkSize("rank-0 flags", rank0.length, inputDTypes.size(), "inputs");
        if (forcedOutputDTypes != null) {
            checkSize("forced output dtypes", forcedOutputDTypes.size(), roots.size(), "roots");
        }
        Typing typing = new Typing(inputDTypes, rank0, scalarKinds);
        if (promotion == Promotion.TOGETHER) {
            typing.promoteTogether(roots);
        }
        Lowering lowering = new Lowering(new Values(), typing, promotion);
        List<Value> values = new ArrayList<>();
        List<DType> outputs = new ArrayList<>();
        List<BitSet> used = new ArrayList<>();
        for (int k = 0; k < roots.size(); k++) {
            DType dtype = forcedOutputDTypes != null
                    ? forcedOutputDTypes.get(k)
                    : typing.of(roots.get(k)).dtype();
            Value value =
                    term ? lowering.at(roots.get(k), dtype) : unrounded(lowering.converted(roots.get(k), dtype), dtype);
            values.add(value);
            outputs.add(dtype);
            used.add(loads(value));
        }
        @Nullable DType[] scalars = new DType[scalarKinds.size()];
        for (int k = 0; k < scalars.length; k++) {
            scalars[k] = lowering.integersOf(k);
        }
        return new Program(
                List.copyOf(inputDTypes), List.copyOf(outputs), scalars, Registers.allocate(values), List.copyOf(used));
    }

    /** What is stored in 16 bits is rounded by the store alone: a double that went through float32 would be rounded twice. */
    private static Value unrounded(Value value, DType stored) {
        boolean narrowed = value.is(Opcode.CAST) && value.type == RegType.F64 && value.resultType() == RegType.F32;
        return narrowed && stored.byteSize() == 2 ? value.operand(0) : value;
    }

    /** As the full form, with the promotion of people's own expressions. */
    public static Program compile(
            List<Expr> roots,
            List<DType> inputDTypes,
            boolean[] rank0,
            List<DType.Kind> scalarKinds,
            @Nullable List<DType> forcedOutputDTypes) {
        return compile(roots, inputDTypes, rank0, scalarKinds, forcedOutputDTypes, Promotion.STEPWISE);
    }

    /** As the full form, when all inputs have dimensions and there are no scalars. */
    public static Program compile(List<Expr> roots, List<DType> inputDTypes) {
        return compile(roots, inputDTypes, new boolean[inputDTypes.size()], List.of(), null);
    }

    private static void checkSize(String what, int got, int wanted, String of) {
        if (got != wanted) {
            throw new IllegalArgumentException(
                    "compile: " + got + " " + what + " for " + wanted + " " + of + "\n  fix: give one each");
        }
    }

    public List<DType> inputDTypes() {
        return inputDTypes;
    }

    public List<DType> outputDTypes() {
        return outputDTypes;
    }

    /** Number of scalar parameters to pass. */
    public int scalarCount() {
        return scalars.length;
    }

    /**
     * The integer dtype that a scalar parameter is converted to, so that its values must fit into it; null where it is
     * used as a floating number, a bool, or not at all.
     */
    public @Nullable DType integersOf(int scalar) {
        return scalars[scalar];
    }

    /** All steps: first those that depend on no input, then the rest, then the stores. */
    public List<Instruction> instructions() {
        return instructions;
    }

    /** How many leading instructions depend on no input, and write registers that nothing later overwrites. */
    public int prologue() {
        return prologue;
    }

    /** Type of each register. */
    public List<RegType> registers() {
        return registers;
    }

    /** The inputs that any output needs, after simplification. */
    public BitSet usedInputs() {
        BitSet all = new BitSet();
        used.forEach(all::or);
        return all;
    }

    /** The inputs that one output needs. */
    public BitSet usedInputs(int output) {
        return (BitSet) used.get(output).clone();
    }

    /** The program as native code reads it; equal texts are equal programs. */
    public String text() {
        return text;
    }

    /**
     * Interprets elements {@code start … end − 1} in Java: floats in double, rounded only by comparisons, by
     * conversions to and from float32, and by the sinks; integers exactly. All loads of a block come before its stores.
     *
     * @param inputs one source each; those that are not used may be null
     * @param outputs one sink each
     * @param doubles scalar parameters as doubles
     * @param longs the same as longs; bools as 0 and 1
     */
    public void run(
            long start, long end, @Nullable BlockSource[] inputs, BlockSink[] outputs, double[] doubles, long[] longs) {
        checkSize("sources", inputs.length, inputDTypes.size(), "inputs");
        checkSize("sinks", outputs.length, outputDTypes.size(), "outputs");
        checkSize("doubles", doubles.length, scalars.length, "scalars");
        checkSize("longs", longs.length, scalars.length, "scalars");
        Interpreter.run(this, start, end, inputs, outputs, doubles, longs);
    }

    private static BitSet loads(Value root) {
        BitSet found = new BitSet();
        collect(root, found, new BitSet());
        return found;
    }

    private static void collect(Value value, BitSet found, BitSet seen) {
        if (seen.get(value.id)) {
            return;
        }
        seen.set(value.id);
        if (value.is(Opcode.LOAD)) {
            found.set((int) value.imm);
        }
        for (Value operand : value.operands) {
            collect(operand, found, seen);
        }
    }

    private String print() {
        StringBuilder lines = new StringBuilder();
        for (int k = 0; k < inputDTypes.size(); k++) {
            lines.append("in ")
                    .append(k)
                    .append(' ')
                    .append(inputDTypes.get(k).shortName())
                    .append('\n');
        }
        for (int k = 0; k < outputDTypes.size(); k++) {
            lines.append("out ")
                    .append(k)
                    .append(' ')
                    .append(outputDTypes.get(k).shortName())
                    .append('\n');
        }
        for (Instruction instruction : instructions) {
            lines.append(instruction).append('\n');
        }
        return lines.toString();
    }

    @Override
    public String toString() {
        return text;
    }
}
